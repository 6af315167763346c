//go:build javascript

package main

import _ "embed"

// builtinEngine is the JavaScript engine that the program was built with; "make engines" puts the file there.
//
//go:embed engines/qjs.wasm
var builtinEngine []byte
