package genkiteval_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/builtin/evaluator/genkiteval"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

func TestFirstPartyPluginsKeepTheContract(t *testing.T) {
	for i, p := range builtin.All() {
		t.Run(p.Name(), func(t *testing.T) {
			enginetest.Plugin(t, func(*testing.T) registry.Plugin { return builtin.All()[i] })
		})
	}
	t.Run(genkiteval.Name, func(t *testing.T) {
		enginetest.Plugin(t, func(*testing.T) registry.Plugin {
			return genkiteval.Plugin(genkiteval.Config{Metrics: []genkiteval.Metric{{Type: genkiteval.Regex}, {Type: genkiteval.Faithfulness}}, Judge: "j"})
		})
	})
}
