// Command gocalc is the benchmarks' guest in Go: encoding/json in, a sum out. Build
// tags choose the calling convention: genkit_v1, or Extism's with -tags extism.
package main

import (
	"encoding/json"

	_ "github.com/genkit-wasm/genkit-wasm/pdk/go" // for what it does at start-up
)

type pair struct {
	A   json.Number `json:"a"`
	B   json.Number `json:"b"`
	Pad string      `json:"pad"`
}

type result struct {
	Sum int64 `json:"sum"`
}

// Work done at start-up is part of the image that calls start from:
// encoding/json's knowledge of the types, for one, and the kit's care for the heap.
func init() {
	var in pair
	_ = json.Unmarshal([]byte(`{"a":1,"b":2,"pad":""}`), &in)
	_, _ = json.Marshal(result{})
}

//go:wasmexport add
func add() int32 {
	var in pair
	if err := json.Unmarshal(input(), &in); err != nil {
		return 1
	}
	a, errA := in.A.Int64()
	b, errB := in.B.Int64()
	if errA != nil || errB != nil {
		return 1
	}
	out, err := json.Marshal(result{Sum: a + b})
	if err != nil {
		return 1
	}
	output(out)
	return 0
}

//go:wasmexport echo
func echo() int32 {
	output(input())
	return 0
}

func main() {}
