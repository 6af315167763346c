// Package builtin lists the first-party plugins that the binary links.
//
// It owns nothing but the list; each plugin lives in a folder of its own below.
// Use:
//
//	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All()})
package builtin

import (
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// All returns the plugins that need no configuration, in the order in which they
// are registered. The slice is the caller's own.
func All() []registry.Plugin {
	return []registry.Plugin{
		scripted.Plugin(),
	}
}
