package wire

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// NewEmbedder makes an embedder of texts whose requests may bring an API key in their
// options, as those of [NewModel] in their config. vectors gives one vector for each text; it
// is not called without any. A document's text parts are joined; media is INVALID_ARGUMENT.
func NewEmbedder(name string, info embed.Info, vectors func(ctx context.Context, texts []string, options json.RawMessage) ([][]float64, error)) (action.Action, error) {
	a, err := embed.New(name, info, func(ctx context.Context, req *embed.Request) (*embed.Response, error) {
		texts := make([]string, len(req.Input))
		for i := range req.Input {
			for _, part := range req.Input[i].Content {
				if part.Media != nil {
					return nil, status.Publicf(status.InvalidArgument, "input[%d]: media can't be embedded, only text", i)
				}
			}
			texts[i] = content.TextOf(req.Input[i].Content)
		}
		if len(texts) == 0 {
			return &embed.Response{}, nil
		}
		all, err := vectors(ctx, texts, req.Options)
		if err != nil {
			return nil, err
		}
		if len(all) != len(texts) {
			return nil, status.Publicf(status.Internal, "the server gave %d embeddings for %d texts", len(all), len(texts))
		}
		resp := &embed.Response{Embeddings: make([]embed.Embedding, len(all))}
		for i, v := range all {
			if len(v) == 0 {
				return nil, status.Publicf(status.Internal, "an embedding of the server is empty")
			}
			resp.Embeddings[i].Vector = v
		}
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	return KeyedEmbedder(a), nil
}
