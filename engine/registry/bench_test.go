package registry_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// BenchmarkLookup finds one of a thousand actions, two levels up, by its key, by a name
// of a plugin that has started, and through a dynamic provider that has fetched.
func BenchmarkLookup(b *testing.B) {
	root := registry.New(nil)
	var actions []action.Action
	for i := range 1000 {
		a := newAction(b, action.Tool, fmt.Sprintf("acme/t%d", i), `1`)
		actions = append(actions, a)
		if err := root.Register(newAction(b, action.Tool, fmt.Sprintf("own/t%d", i), `1`)); err != nil {
			b.Fatal(err)
		}
	}
	d := newDynamic(b, registry.DynamicConfig{TTL: time.Hour}, &shelf{fetch: offers(actions...)})
	if err := root.AddProvider(d); err != nil {
		b.Fatal(err)
	}
	if err := root.AddPlugin(b.Context(), starting("acme", offers(actions...))); err != nil {
		b.Fatal(err)
	}
	child := registry.New(registry.New(root))
	for name, key := range map[string]action.Key{
		"own":     {Kind: action.Tool, Name: "own/t500"},
		"plugin":  {Kind: action.Tool, Name: "acme/t500"},
		"dynamic": {Kind: action.DynamicActionProvider, Name: "mcp:tool/acme/t500"},
	} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if _, err := child.Lookup(b.Context(), key); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
