// Package pdk holds the files of the kits that authors copy beside their sources, for the programs that
// write them there:
//
//	header, err := pdk.Files.ReadFile("c/genkit.h")
//
// It owns no code; the kit in Go is a module of its own, in the folder go.
package pdk

import "embed"

// Files are the kits in C and Rust by their paths below this folder, "c/genkit.h" and "rust/genkit.rs", with
// their readers of JSON and the parts of a module that are no tools, and [Types].
//
//go:embed c/genkit.h c/json.h c/number.h c/actions.h rust/genkit.rs rust/json.rs rust/actions.rs ts/genkit-wasm.d.ts
var Files embed.FS

// Types is the file of [Files] that has the types of what scripts find, for TypeScript.
const Types = "ts/genkit-wasm.d.ts"
