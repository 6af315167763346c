//go:build peers

package prompts_test

import (
	"encoding/json"
	"testing"

	"github.com/google/dotprompt/go/dotprompt"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// The prompt of bench/prompt_test.go.
const (
	benchPartial = "Be brief and friendly, {{name}}."
	benchSource  = `---
model: test/model
config:
  temperature: 0.5
input:
  schema:
    name: string
    items(array): string
---
{{role "system"}}You help {{name}}. {{> tone}}
{{history}}
{{role "user"}}
{{#each items}}
- {{@index}}: {{this}}{{#if @last}} (last){{/if}}
{{/each}}
`
	benchInput = `{"name":"Ann","items":["one","two","three","four","five"]}`
)

// BenchmarkRender renders one prompt of a running application: here from its parsed
// form, with the input checked; by Genkit's own library with a new instance for each
// rendering, the only way in which it may be used by more than one goroutine.
func BenchmarkRender(b *testing.B) {
	b.Run("by=ours", func(b *testing.B) {
		reg := registry.New(nil)
		if err := prompt.DefinePartial(reg, "tone", benchPartial); err != nil {
			b.Fatal(err)
		}
		p, err := prompt.Load(reg, "p", benchSource)
		if err != nil {
			b.Fatal(err)
		}
		b.ReportAllocs()
		for b.Loop() {
			opts, err := p.Render(b.Context(), json.RawMessage(benchInput), nil)
			if err != nil || len(opts.Messages) != 2 {
				b.Fatal(opts, err)
			}
		}
	})
	b.Run("by=dotprompt_go", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			dp := dotprompt.NewDotprompt(&dotprompt.DotpromptOptions{Partials: map[string]string{"tone": benchPartial}})
			var input map[string]any
			if err := json.Unmarshal([]byte(benchInput), &input); err != nil {
				b.Fatal(err)
			}
			out, err := dp.Render(benchSource, &dotprompt.DataArgument{Input: input}, nil)
			if err != nil || len(out.Messages) != 2 {
				b.Fatal(out, err)
			}
		}
	})
}
