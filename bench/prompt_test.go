package bench_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// The prompt of the benchmarks; test/oracle/prompts measures the same one beside
// Genkit's own library.
const (
	promptPartial = "Be brief and friendly, {{name}}."
	promptSource  = `---
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
	promptInput = `{"name":"Ann","items":["one","two","three","four","five"]}`
)

func benchPrompt(b *testing.B) (*registry.Registry, *prompt.Prompt) {
	b.Helper()
	reg := registry.New(nil)
	require.NoError(b, prompt.DefinePartial(reg, "tone", promptPartial))
	p, err := prompt.Load(reg, "p", promptSource)
	require.NoError(b, err)
	return reg, p
}

// BenchmarkPromptRender renders a prompt that is loaded: input checked, messages made.
func BenchmarkPromptRender(b *testing.B) {
	_, p := benchPrompt(b)
	over := &model.GenerateOptions{Messages: []content.Message{content.NewUserTextMessage("hi"), content.NewModelTextMessage("hello")}}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := p.Render(b.Context(), json.RawMessage(promptInput), over); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPromptRenderParallel is the same prompt, shared by as many goroutines as
// there are processors.
func BenchmarkPromptRenderParallel(b *testing.B) {
	_, p := benchPrompt(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := p.Render(b.Context(), json.RawMessage(promptInput), nil); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

// BenchmarkPromptLoad reads, parses and registers a prompt and renders it once.
func BenchmarkPromptLoad(b *testing.B) {
	reg, _ := benchPrompt(b)
	b.ReportAllocs()
	for b.Loop() {
		p, err := prompt.Load(registry.New(reg), "q", promptSource)
		if err != nil {
			b.Fatal(err)
		}
		if _, err := p.Render(b.Context(), json.RawMessage(promptInput), nil); err != nil {
			b.Fatal(err)
		}
	}
}
