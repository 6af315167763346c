package sandbox_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// continuing calls next with the first 1,000 bytes of its memory in "small", and with
// 50,000 in "big"; "often" does the latter until it is ended.
func continuing() []byte {
	next := func(size ...byte) []byte {
		return append(append([]byte{opI32Const, 0, opI32Const}, size...), opCall, 0)
	}
	big := next(0xd0, 0x86, 3)
	often := append(append([]byte{opLoop, void}, big...), opDrop, opBr, 0, opEnd, opUnreachable)
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("ii", "i")),
		w.Imports(w.ImportFunc("genkit_v1", "next", 1)),
		w.Funcs(0, 0, 0), w.Memories(w.Limits(1)),
		w.Exports(w.Export("small", 0, 1), w.Export("big", 0, 2), w.Export("often", 0, 3), w.Export("memory", 2, 0)),
		w.Code(w.Body("", append(next(0xe8, 7), opDrop, opI32Const, 0)...), w.Body("", append(big, opDrop, opI32Const, 0)...), w.Body("", often...)))
}

func TestNextCostsByTheBytesThatItMoves(t *testing.T) {
	lim := limits()
	lim.InputBytes, lim.Fuel = 1<<20, 100_000_000
	m := compile(t, newSandbox(t, sandbox.Config{}), continuing(), lim)
	fuel := func(export string, answer int) int64 {
		t.Helper()
		raw := make(json.RawMessage, answer)
		res, err := m.Call(t.Context(), sandbox.Call{Export: export, Next: func(_ context.Context, request []byte) (json.RawMessage, error) {
			return raw, nil
		}})
		require.NoError(t, err)
		return res.Fuel
	}
	small := fuel("small", 10)
	assert.Equal(t, int64(49_000*256), fuel("big", 10)-small, "a request")
	assert.Equal(t, int64(49_000*256), fuel("small", 49_010)-small, "an answer")

	calls := 0
	_, err := m.Call(t.Context(), sandbox.Call{Export: "often", Next: func(context.Context, []byte) (json.RawMessage, error) {
		calls++
		return nil, nil
	}})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.ErrorContains(t, err, "fuel")
	assert.Equal(t, 7, calls, "of 64, at 12.8 million units each")
}

func TestWorkOfTheHostIsTheGuestsTimeAndWaitingIsNot(t *testing.T) {
	lim := limits()
	lim.InputBytes, lim.Timeout = 1<<20, 600*time.Millisecond
	m := compile(t, newSandbox(t, sandbox.Config{}), continuing(), lim)
	often := func(work bool) error {
		_, err := m.Call(t.Context(), sandbox.Call{Export: "often", Next: func(ctx context.Context, _ []byte) (json.RawMessage, error) {
			began := time.Now()
			<-time.After(20 * time.Millisecond)
			if work {
				sandbox.Work(ctx, time.Since(began))
			}
			return nil, nil
		}})
		return err
	}
	require.ErrorContains(t, often(false), "more than 64 times", "it has waited for 1.3 s")
	require.ErrorIs(t, often(true), status.ErrDeadlineExceeded)
}
