package mcp

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// Hints are what a tool can do, by what its module imports and was granted.
type Hints struct {
	// ReadOnly tools change nothing. OpenWorld tools reach what is outside of the server, such as the network.
	ReadOnly, OpenWorld bool
	// Text tools take a string, where no schema says so.
	Text bool
}

// HintsOf says of a module's tool what it can do: what the module imports and is granted. What it says of itself counts
// for nothing. It is false for an action that is none of the module's, and for a policy that can't be read.
func HintsOf(rec module.Record, key action.Key) (h Hints, known bool) {
	p, err := policy.Parse(rec.Policy)
	if err != nil || !slices.Contains(rec.Actions, key.String()) {
		return h, false
	}
	imports := func(all ...abi.Capability) bool {
		return slices.ContainsFunc(all, func(c abi.Capability) bool { return slices.Contains(rec.Capabilities, string(c)) })
	}
	writes := func(f policy.FileGrant) bool { return f.Write }
	sends := func(g policy.HTTPGrant) bool {
		return slices.ContainsFunc(g.Methods, func(m string) bool { return m != http.MethodGet && m != http.MethodHead })
	}
	h.OpenWorld = imports(abi.CapHTTP, abi.CapRun, abi.CapGenerate)
	changes := imports(abi.CapKVSet, abi.CapKVDelete, abi.CapRun) || slices.ContainsFunc(p.Grants.Files, writes) ||
		imports(abi.CapHTTP) && slices.ContainsFunc(p.Grants.HTTP, sends)
	h.ReadOnly = !changes
	h.Text = takesText(rec, key)
	return h, true
}

func takesText(rec module.Record, key action.Key) bool {
	var d struct {
		Tools []struct {
			Name string `json:"name"`
			IO   string `json:"io"`
		} `json:"tools"`
	}
	if json.Unmarshal(rec.Descriptor, &d) != nil {
		return false
	}
	_, name, _ := strings.Cut(key.Name, "/")
	for _, t := range d.Tools {
		if t.Name == name {
			return t.IO == string(abi.IOText)
		}
	}
	return false
}
