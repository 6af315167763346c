package generate_test

import (
	"context"
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
			if err := send(&model.Chunk{Content: []content.Part{content.Text(word)}}); err != nil {
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

func TestACallThatNeverAskedReturnsNothing(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, says("hi"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	resp, err := generate.Run(ctx, reg, ask(), nil)
	require.ErrorIs(t, err, status.ErrCancelled)
	assert.Nil(t, resp)
}
