// Command guard is a module with a middleware and an output format, written with the Go
// PDK.
package main

import pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"

//go:wasmexport redact
func exportRedact() int32 { return pdk.Middleware(redact) }

//go:wasmexport csv
func exportCSV() int32 {
	return pdk.ServeFormat(pdk.Format{Instructions: csvInstructions, Parse: parseCSV})
}

//go:wasmexport genkit_describe
func describe() int32 { //nolint:unused // the host calls it
	return pdk.Describe(pdk.Module{
		Name:        "guard",
		Version:     "1.0.0",
		Description: "Keeps e-mail addresses from the model, and reads CSV.",
		Middleware: []pdk.MiddlewareInfo{{
			Name:         "redact",
			Description:  "Replaces e-mail addresses, and the words it is given, before the model sees them, and puts them back into its answer.",
			Hooks:        []string{pdk.HookModel},
			ConfigSchema: pdk.Schema[config](),
		}},
		Formats: []pdk.FormatInfo{{
			Name: "csv", Description: "Comma-separated values as a list of objects.", ContentType: "text/csv",
		}},
	})
}

func main() {}
