package generate_test

import (
	"context"
	"errors"
	"runtime"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// A caller who ends a call gets what is known: the turns before, and of the last answer
// what was streamed.
func TestACancelledCallReturnsWhatIsKnown(t *testing.T) {
	reg := newRegistry(t)
	newTool(t, reg, "look", gives("seen"))
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	turn := 0
	m, err := model.New("slow", model.Info{}, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		if turn++; turn == 1 {
			return decode[model.Response](t, []byte(calls("look"))), nil
		}
		for _, word := range []string{"I ", "saw "} {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(word)}}); err != nil {
				return nil, err
			}
		}
		cancel()
		<-ctx.Done()
		return nil, ctx.Err()
	})
	register(t, reg)(m, err)
	opts := ask("look")
	opts.Model = "slow"
	resp, err := generate.Run(ctx, reg, opts, func(*model.Chunk) error { return nil })
	require.ErrorIs(t, err, status.ErrCancelled)
	require.NotNil(t, resp)
	assert.Equal(t, model.FinishAborted, resp.FinishReason)
	assert.Equal(t, "I saw ", resp.Text())
	require.Len(t, resp.Request.Messages, 3, "the first turn and its tool are part of the history")
	assert.Contains(t, string(resp.Request.Messages[2].Content[0].ToolResponse.Output), "seen")
	assert.Contains(t, string(status.Convert(err).Details), `"finishReason":"aborted"`)
}

// A receiver that leaves because the caller's context ended takes nothing of it away.
func TestACancelledReceiverHidesNothing(t *testing.T) {
	reg := newRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	register(t, reg)(model.New("m", model.Info{}, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		for _, word := range []string{"I ", "saw"} {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(word)}}); err != nil {
				return nil, err
			}
		}
		return nil, ctx.Err()
	}))
	opts := ask()
	opts.Model = "m"
	resp, err := generate.Run(ctx, reg, opts, func(c *model.Chunk) error {
		if c.Text() == "I " {
			return nil
		}
		cancel()
		return errors.Join(errors.New("the reader left"), ctx.Err())
	})
	require.ErrorIs(t, err, status.ErrCancelled)
	require.NotNil(t, resp)
	assert.Equal(t, "I saw", resp.Text())
}

func TestACallThatNeverAskedReturnsNothing(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says("hi"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	resp, err := generate.Run(ctx, reg, ask(), nil)
	require.ErrorIs(t, err, status.ErrCancelled)
	assert.Nil(t, resp)
}

// A chunk that is refused is in no history: not that of the answer, which is the
// model's own, and not that of the call that is ended later.
func TestARefusedChunkIsNotRemembered(t *testing.T) {
	reg := newRegistry(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var late model.Send
	answer := decode[model.Response](t, []byte(calls("look")))
	answer.Message.Content[0].ToolRequest.Ref = "1"
	register(t, reg)(model.New("m", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		late = send
		return answer, nil
	}))
	newTool(t, reg, "look", func(context.Context) (any, error) {
		assert.Error(t, late(&model.Chunk{Content: []content.Part{content.NewTextPart("late")}}))
		cancel()
		return "seen", nil
	})
	resp, err := generate.Run(ctx, reg, ask("look"), func(*model.Chunk) error { return nil })
	require.ErrorIs(t, err, status.ErrCancelled)
	require.NotNil(t, resp)
	assert.Empty(t, resp.Text())
	assert.Len(t, resp.Message.Content, 1)
	assert.Len(t, answer.Message.Content, 1, "what the model returned")
}

// Chunks from a goroutine that outlives the model do not race with readers of the
// response; the race detector watches.
func TestLateChunksDoNotRaceWithTheReader(t *testing.T) {
	reg := newRegistry(t)
	started, stop, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	register(t, reg)(model.New("m", everything, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		go func() {
			defer close(ended)
			for i := 0; ; i++ {
				_ = send(&model.Chunk{Content: []content.Part{content.NewTextPart("x")}})
				if i == 0 {
					close(started)
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		}()
		<-started
		return &model.Response{Message: new(content.NewModelTextMessage("answer"))}, nil
	}))
	resp, err := generate.Run(t.Context(), reg, ask(), func(*model.Chunk) error { return nil })
	defer func() {
		close(stop)
		<-ended
	}()
	require.NoError(t, err)
	for range 200 {
		require.Len(t, resp.Text(), len("answer"))
	}
}

// A stream of four times as many chunks takes about four times the memory, and not the
// square of that.
func TestAStreamCostsItsLength(t *testing.T) {
	reg := newRegistry(t)
	chunks := 0
	register(t, reg)(model.New("m", model.Info{}, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		for range chunks {
			if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart("a few words ")}}); err != nil {
				return nil, err
			}
		}
		return &model.Response{Message: new(content.NewModelTextMessage("done")), FinishReason: model.FinishStop}, nil
	}))
	cost := func(n int) float64 {
		chunks = n
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		opts := ask("")
		opts.Model, opts.Tools = "m", nil
		_, err := generate.Run(t.Context(), reg, opts, func(*model.Chunk) error { return nil })
		require.NoError(t, err)
		runtime.ReadMemStats(&after)
		return float64(after.TotalAlloc - before.TotalAlloc)
	}
	cost(100)
	assert.Less(t, cost(40_000)/cost(10_000), 8.0)
}
