package generate

import (
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// serve returns req as a model of these capabilities can serve it. The chain of
// model hooks ends in middleware.Serve, which does it for the model itself; this is
// for a chain that does not know its model.
func serve(req *model.Request, supports model.Supports) *model.Request {
	return middleware.FitTo(supports, req)
}
