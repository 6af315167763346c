package reflection

import (
	"context"
	"log/slog"
	"maps"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// Routes and Methods name what the recorded exchanges have to cover.
func Routes(s *Server) []string {
	var all []string
	for _, r := range s.routes() {
		all = append(all, r.method+" "+r.path)
	}
	return all
}

func Methods() []string {
	all := []string{"register", "runActionState", "streamChunk"}
	for _, m := range (&connection{}).methods() {
		all = append(all, m.name)
	}
	return all
}

var BackOff = backOff

// Lister returns a function that gives the keys of the list of actions.
func Lister(app App, log *slog.Logger) func(ctx context.Context) ([]string, error) {
	s := &Server{app: app, log: log}
	return func(ctx context.Context) ([]string, error) {
		all, err := s.describe(ctx)
		return slices.Collect(maps.Keys(all)), err
	}
}

// Resolve finds the action of a key.
func Resolve(ctx context.Context, reg *registry.Registry, key string) (action.Action, error) {
	return resolve(ctx, reg, key)
}
