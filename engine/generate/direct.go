package generate

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Direct returns a model for those who run it without the loop, by its key or as a
// Go value: a request for what it says it can't do is refused, and documents and
// output schemas that it does not take natively are put into the messages, as the loop
// does it (Genkit JS wraps the model action itself). Actions that are no models are
// returned as they are, and so are models that [middleware.Attach] made. In the loop it changes nothing: what is
// in the messages is not put there again.
func Direct(a action.Action) action.Action {
	if a.Desc().Kind != action.Model {
		return a
	}
	if _, done := a.(*direct); done || middleware.Attached(a) {
		return a
	}
	return &direct{Model: model.From(a), inner: a}
}

type direct struct {
	model.Model
	inner action.Action
}

func (d *direct) Generate(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	return middleware.Serve(ctx, d.inner, req, send)
}

// RunJSON hands the request on as it came when there is nothing to change in it.
func (d *direct) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	req := &model.Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	if err := middleware.Validate(d.inner, req); err != nil {
		return nil, err
	}
	if served := middleware.Fit(d.inner, req); served != req {
		raw, err := rawjson.Encode(served)
		if err != nil {
			return nil, status.Errorf(status.Internal, "encode the model request: %w", err)
		}
		in = raw
	}
	return d.inner.RunJSON(ctx, in, emit)
}
