// Command guard is a whole plug-in in one module, written with the Go PDK: a tool, a middleware,
// an output format, an embedder, an evaluator, a resource and a prompt.
package main

import pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"

//go:wasmexport find
func exportFind() int32 { return pdk.Tool(find) }

//go:wasmexport redact
func exportRedact() int32 { return pdk.Middleware(redact) }

//go:wasmexport csv
func exportCSV() int32 {
	return pdk.ServeFormat(pdk.Format{Instructions: csvInstructions, Parse: parseCSV})
}

//go:wasmexport words
func exportWords() int32 { return pdk.Embedder(words) }

//go:wasmexport leaks
func exportLeaks() int32 { return pdk.Evaluator(leaks) }

//go:wasmexport rule
func exportRule() int32 { return pdk.Resource(rule) }

//go:wasmexport genkit_describe
func describe() int32 { //nolint:unused // the host calls it
	return pdk.Describe(pdk.Module{
		Name:        "guard",
		Version:     "1.1.0",
		Description: "Keeps e-mail addresses from the model, and reads CSV.",
		Tools:       []pdk.ToolInfo{pdk.Info("find", "Finds the e-mail addresses in a text.", find)},
		Middleware: []pdk.MiddlewareInfo{{
			Name:         "redact",
			Description:  "Replaces e-mail addresses, and the words it is given, before the model sees them, and puts them back into its answer.",
			Hooks:        []string{pdk.HookModel},
			ConfigSchema: pdk.Schema[config](),
		}},
		Formats: []pdk.FormatInfo{{
			Name: "csv", Description: "Comma-separated values as a list of objects.", ContentType: "text/csv",
		}},
		Embedders: []pdk.ActionInfo{{
			Name: "words", Description: "Counts words; addresses leave no trace.",
			Info: map[string]any{"dimensions": dimensions, "supports": map[string]any{"input": []string{"text"}, "multilingual": true}},
		}},
		Evaluators: []pdk.ActionInfo{{
			Name: "leaks", Description: "The output tells no e-mail address.", ConfigSchema: pdk.Schema[allowed](),
			Info: map[string]any{"label": "Leaks"},
		}},
		Resources: []pdk.ActionInfo{{Name: "rule", Description: "What is hidden, and how.", Template: "rules/{name}"}},
		Prompts:   []pdk.ActionInfo{{Name: "reply", Source: reply}},
	})
}

func main() {}
