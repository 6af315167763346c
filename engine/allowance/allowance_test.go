package allowance_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestWhatATreeCausesIsCountedTogether(t *testing.T) {
	ctx, done, err := allowance.Enter(t.Context(), allowance.Limits{ModelCalls: 100, ToolRuns: 2, Generates: 3})
	require.NoError(t, err)
	defer done()
	inner, _, err := allowance.Enter(ctx, allowance.Limits{ModelCalls: 1_000_000}) // its own limits say nothing
	require.NoError(t, err)
	var granted atomic.Int64
	var wg sync.WaitGroup
	for _, c := range []context.Context{ctx, inner, ctx, inner} {
		wg.Go(func() {
			for range 100 {
				if allowance.ModelCall(c) == nil {
					granted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int64(100), granted.Load())
	require.ErrorIs(t, allowance.ModelCall(inner), status.ErrResourceExhausted)
	require.NoError(t, allowance.ToolRun(inner))
	require.NoError(t, allowance.ToolRun(ctx))
	require.ErrorContains(t, allowance.ToolRun(ctx), "2 tool runs")
	_, _, err = allowance.Enter(inner, allowance.Limits{})
	require.NoError(t, err)
	_, _, err = allowance.Enter(inner, allowance.Limits{})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
}

func TestTokensEndARequestAtItsNextModelCall(t *testing.T) {
	ctx, done, err := allowance.Enter(t.Context(), allowance.Limits{Tokens: 10})
	require.NoError(t, err)
	defer done()
	require.NoError(t, allowance.ModelCall(ctx))
	allowance.Used(ctx, 9)
	allowance.Used(ctx, -100)
	require.NoError(t, allowance.ModelCall(ctx))
	allowance.Used(ctx, 1)
	require.ErrorContains(t, allowance.ModelCall(ctx), "10 tokens")
}

func TestTimeIsADeadlineOfTheWholeTree(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, done, err := allowance.Enter(t.Context(), allowance.Limits{Seconds: 2})
		require.NoError(t, err)
		defer done()
		inner, _, err := allowance.Enter(ctx, allowance.Limits{Seconds: 100})
		require.NoError(t, err)
		began := time.Now()
		<-inner.Done()
		assert.Equal(t, 2*time.Second, time.Since(began))
	})
}

func TestNothingIsBoundWithoutAnAllowance(t *testing.T) {
	for range 100_000 {
		require.NoError(t, allowance.ModelCall(t.Context()))
	}
	require.NoError(t, allowance.ToolRun(t.Context()))
	allowance.Used(t.Context(), 1)
}

func TestLimitsAreReadStrictly(t *testing.T) {
	l, err := allowance.Parse([]byte(`{"modelCalls":5,"seconds":-1}`))
	require.NoError(t, err)
	assert.Equal(t, allowance.Limits{ModelCalls: 5, ToolRuns: 10_000, Generates: 256, Tokens: -1, Seconds: -1, Use: 64, Names: 512, Values: 100_000}, l.Or(allowance.Defaults()))
	l, err = allowance.Parse([]byte(`{"seconds":3153600000,"tokens":9007199254740991}`))
	require.NoError(t, err)
	ctx, done, err := allowance.Enter(t.Context(), l)
	require.NoError(t, err)
	defer done()
	require.NoError(t, ctx.Err(), "a hundred years are not over")
	for _, raw := range []string{
		`{"modelcalls":1}`, `{"tokens":"1"}`, `{"tokens":1,"tokens":2}`, `[]`, ``,
		`{"tokens":-2}`, `{"seconds":3153600001}`, `{"seconds":9999999999}`, `{"values":9007199254740992}`,
	} {
		_, err := allowance.Parse([]byte(raw))
		require.ErrorIs(t, err, status.ErrInvalidArgument, raw)
	}
}
