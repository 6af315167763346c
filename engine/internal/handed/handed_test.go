package handed_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/handed"
)

func TestAValueIsForOneRun(t *testing.T) {
	assert.Nil(t, handed.Of(t.Context()))
	assert.Equal(t, t.Context(), handed.Take(t.Context()))
	assert.Equal(t, t.Context(), handed.With(t.Context(), nil))

	ctx := handed.With(t.Context(), "yes")
	assert.Equal(t, "yes", handed.Of(ctx))
	run := handed.Take(ctx)
	assert.Equal(t, "yes", handed.Of(run))
	type other struct{}
	assert.Equal(t, "yes", handed.Of(context.WithValue(run, other{}, 1)), "all that works for the run finds it")
	assert.Nil(t, handed.Of(handed.Take(run)), "what runs below finds none")
	assert.Nil(t, handed.Of(handed.Take(handed.Take(run))))
	assert.Nil(t, handed.Of(handed.Take(ctx)), "nor what runs next with the same context")

	below := handed.With(run, "other")
	assert.Equal(t, "other", handed.Of(handed.Take(below)))
	assert.Nil(t, handed.Of(handed.With(run, nil)))
	assert.Equal(t, "yes", handed.Of(run))
}

func TestOneOfManyTakesIt(t *testing.T) {
	ctx := handed.With(t.Context(), "yes")
	var got atomic.Int32
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if handed.Of(handed.Take(ctx)) != nil {
				got.Add(1)
			}
		})
	}
	wg.Wait()
	assert.EqualValues(t, 1, got.Load())
}
