package enginetest_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

func TestTheKitsAcceptWhatIsPlain(t *testing.T) {
	m, err := model.New("acme/echo", model.Info{}, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		said := content.NewModelTextMessage(content.TextOf(req.Messages[len(req.Messages)-1].Content))
		if send != nil {
			if err := send(&model.Chunk{Content: said.Content}); err != nil {
				return nil, err
			}
		}
		return &model.Response{Message: &said, FinishReason: model.FinishStop}, ctx.Err()
	})
	require.NoError(t, err)
	enginetest.TestModel(t, m, enginetest.ModelConfig{})

	f, err := middleware.Define(middleware.Desc{Name: "plain"}, func(context.Context, struct {
		N int `json:"n"`
	},
	) (*middleware.Hooks, error) {
		return &middleware.Hooks{}, nil
	})
	require.NoError(t, err)
	enginetest.TestMiddleware(t, f, enginetest.MiddlewareConfig{Invalid: []json.RawMessage{json.RawMessage(`{"n":"x"}`)}})
}
