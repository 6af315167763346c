package engine

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
)

// Reflect shows e to Genkit's command line and Dev UI, where GENKIT_ENV is dev;
// elsewhere it does nothing and returns a nil server, whose methods do nothing. From
// then on the calls of e and its children are traced there, with inputs and outputs,
// whichever code makes them. Close the server before the engine.
func Reflect(ctx context.Context, e *Engine, c reflection.Config) (*reflection.Server, error) {
	s, err := reflection.Start(ctx, e, c)
	if s != nil {
		observe := s.Context
		e.observer.Store(&observe)
	}
	return s, err
}
