// Package script makes tools of scripts: JavaScript and TypeScript become modules of the contract genkit/1 without a
// toolchain.
//
// It owns the JavaScript engine as a module, the prelude that scripts find in it, and the way from an author's text to
// what the engine evaluates. One engine, compiled once, serves all scripts: each script is the input of the engine's
// initialisation, and every call starts from the image that is taken after it. Use:
//
//	engine, err := script.Engine(file)                                  // once
//	s, err := script.Transform("tool.ts", script.TypeScript, source)    // for each script
//	// an instance of engine whose initialisation reads s.Code is that script's
//	input := script.Input("tool", "greet", []byte(`{"name":"Ada"}`))    // of a call of CallExport
//
// Its functions are safe for concurrent use.
package script
