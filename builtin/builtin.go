// Package builtin lists the first-party plugins that the binary links.
//
// It owns nothing but the list; each plugin lives in a folder of its own below.
// Use:
//
//	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All()})
package builtin

import (
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/budget"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/cache"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/fallback"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/filesystem"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/retry"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/skills"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/toolapproval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// All returns the plugins that need no configuration, in the order in which they
// are registered. The slice is the caller's own.
//
// A generate request that comes from outside may use any of this middleware by name, so
// that it is safe for that: filesystem opens no directory, and skills only
// .agents/skills and skills. An operator who allows more leaves "middleware:filesystem"
// out of the list and adds filesystem.Plugin with options, and so does one whose interrupted code
// is to go on after a restart, with codemode.Plugin and a key. The middleware that makes
// the process fetch URLs (middleware/downloadmedia) is not on the list.
func All() []registry.Plugin {
	return []registry.Plugin{
		scripted.Plugin(),
		retry.Plugin(retry.Options{}),
		fallback.Plugin(fallback.Options{}),
		toolapproval.Plugin(),
		codemode.Plugin(codemode.Options{}),
		skills.Plugin(skills.Options{}),
		filesystem.Plugin(filesystem.Options{}),
		cache.Plugin(cache.Options{}),
		budget.Plugin(budget.Options{}),
	}
}
