//go:build wasip1

// Command benchguest is the guest in Go of the repository's benchmarks: two tools written as an author writes them, each once more
// with encoding/json alone, for comparison.
package main

import (
	"encoding/json"

	pdk "github.com/genkit-wasm/genkit-wasm/pdk/go"
)

type pair struct {
	A   int64  `json:"a"`
	B   int64  `json:"b"`
	Pad string `json:"pad"`
}

type sum struct {
	Sum int64 `json:"sum"`
}

func add(in pair) (sum, error) { return sum{Sum: in.A + in.B}, nil }

type order struct {
	ID       string   `json:"id"`
	Customer customer `json:"customer"`
	Items    []item   `json:"items"`
	Note     *string  `json:"note,omitempty"`
	Paid     bool     `json:"paid"`
	Total    float64  `json:"total"`
}

type customer struct {
	Name    string `json:"name"`
	Address struct {
		Street string `json:"street"`
		City   string `json:"city"`
	} `json:"address"`
}

type item struct {
	SKU      string   `json:"sku"`
	Quantity int      `json:"quantity"`
	Price    float64  `json:"price"`
	Tags     []string `json:"tags,omitempty"`
}

func total(o order) (order, error) {
	for _, i := range o.Items {
		o.Total += float64(i.Quantity) * i.Price
	}
	return o, nil
}

var _, _ = pdk.Warm(add), pdk.Warm(total)

//go:wasmexport add
func exportAdd() int32 { return pdk.Tool(add) }

//go:wasmexport total
func exportTotal() int32 { return pdk.Tool(total) }

//go:wasmexport add_standard
func exportAddStandard() int32 { return standard(add) }

//go:wasmexport total_standard
func exportTotalStandard() int32 { return standard(total) }

// standard runs a tool with encoding/json, which has learnt its types in [pdk.Warm].
func standard[In, Out any](fn func(In) (Out, error)) int32 {
	var in In
	if err := json.Unmarshal(pdk.Input(), &in); err != nil {
		return pdk.Fail(err)
	}
	out, err := fn(in)
	if err != nil {
		return pdk.Fail(err)
	}
	encoded, err := json.Marshal(out)
	if err != nil {
		return pdk.Fail(err)
	}
	pdk.Output(encoded)
	return 0
}

//go:wasmexport echo
func echo() int32 {
	pdk.Output(pdk.Input())
	return 0
}

func main() {}
