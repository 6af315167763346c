package generate

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Direct returns a model for those who run it without the loop, by its key or as a
// Go value: documents and output schemas that it does not take natively are put into
// the messages, as the loop does it (Genkit JS wraps the model action itself). Actions
// that are no models are returned as they are. In the loop it changes nothing: what is
// in the messages is not put there again.
func Direct(a action.Action) action.Action {
	if a.Desc().Kind != action.Model {
		return a
	}
	if _, done := a.(*direct); done {
		return a
	}
	return &direct{Model: model.From(a)}
}

type direct struct{ model.Model }

func (d *direct) Generate(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	return d.Model.Generate(ctx, serve(req, d.Info().Supports), send)
}

func (d *direct) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	req := &model.Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	served := serve(req, d.Info().Supports)
	if served == req {
		return d.Model.RunJSON(ctx, in, emit)
	}
	raw, err := rawjson.Encode(served)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the model request: %w", err)
	}
	return d.Model.RunJSON(ctx, raw, emit)
}
