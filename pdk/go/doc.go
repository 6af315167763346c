// Package pdk is the kit for genkit-wasm tools written in Go: it reads the
// call's input, sets its output or its error, and reaches the host's
// capabilities, over the native convention ("genkit_v1", see ../abi.md).
//
// It needs the standard library and the standard Go toolchain only:
//
//	package main
//
//	import "github.com/genkit-wasm/genkit-wasm/pdk/go"
//
//	type in struct {
//		Name string `json:"name" description:"who to greet"`
//	}
//	type out struct {
//		Text string `json:"text"`
//	}
//
//	func hello(i in) (out, error) { return out{"hello " + i.Name}, nil }
//
//	//go:wasmexport greet
//	func greet() int32 { return pdk.Tool(hello) }
//
//	//go:wasmexport genkit_describe
//	func describe() int32 {
//		return pdk.Describe(pdk.Module{Name: "greeter", Version: "1.0.0",
//			Tools: []pdk.ToolInfo{pdk.Info("greet", "Greets somebody.", hello)}})
//	}
//
//	func main() {}
//
// Build it as a reactor; a command (without -buildmode=c-shared) can't be called:
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared -trimpath -ldflags='-s -w' -o greeter.wasm .
//
// Every call starts from the state that the package had after initialisation:
// package variables that one call sets are not seen by the next. Random numbers
// from crypto/rand are fresh for each call; math/rand's global source is seeded
// during initialisation, so it repeats the same numbers in every call.
//
// The package also compiles natively, where package pdktest stands in for the
// host, so that a tool can be tested with plain "go test".
//
// Nothing here may be called from more than one goroutine at a time.
package pdk
