// Package policy says what a module may do: the capabilities that it is granted,
// the limits under which it runs, and whether state survives a call.
//
// It owns the JSON form, the defaults and the rule that a lower layer can only
// tighten: server → tenant → module. Use:
//
//	p, err := policy.Parse(raw)
//	limits := p.Limits.Within(server)
//
// Policies are plain values.
package policy

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// MaxBytes bounds the text of a policy.
const MaxBytes = 64 << 10

// Policy is what an operator or an owner lays down for a module or a tenant.
type Policy struct {
	Grants Grants `json:"grants,omitzero"`
	Limits Limits `json:"limits,omitzero"`
	// State is "fresh" (also when empty): nothing that a call writes is seen
	// by a later one; or "reuse": an instance keeps its state.
	State State `json:"state,omitempty"`
	// Interpreter has the module interpreted: slower by a factor of tens, with no
	// machine code made of it.
	Interpreter bool `json:"interpreter,omitempty"`
}

// State says whether an instance's state survives a call.
type State string

// The states.
const (
	Fresh State = "fresh"
	Reuse State = "reuse"
)

// Grants are capabilities given. The zero value grants nothing.
type Grants struct {
	HTTP     []HTTPGrant         `json:"http,omitempty"`
	KV       bool                `json:"kv,omitempty"`
	Secrets  map[string][]string `json:"secrets,omitempty"` // name → hosts
	Generate []string            `json:"generate,omitempty"`
	Actions  []string            `json:"actions,omitempty"`
	Clock    bool                `json:"clock,omitempty"`
}

// HTTPGrant allows requests to one host.
type HTTPGrant struct {
	Host       string   `json:"host"`
	Methods    []string `json:"methods,omitempty"`
	PathPrefix string   `json:"pathPrefix,omitempty"`
}

// Parse decodes and checks a policy; nothing gives the zero Policy. A field that
// is not known is refused, because a mistyped limit would be no limit. It fails
// with INVALID_ARGUMENT.
func Parse(raw []byte) (Policy, error) {
	var p Policy
	if len(bytes.TrimSpace(raw)) == 0 {
		return p, nil
	}
	if len(raw) > MaxBytes {
		return p, status.Publicf(status.InvalidArgument, "policy of %d bytes exceeds the limit of %d", len(raw), MaxBytes)
	}
	if err := schema.Check(raw); err != nil {
		return p, status.Publicf(status.InvalidArgument, "policy: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&p); err != nil {
		return p, status.Publicf(status.InvalidArgument, "policy: %s", strings.TrimPrefix(err.Error(), "json: "))
	}
	return p, p.check()
}

func (p *Policy) check() error {
	switch p.State {
	case "":
		p.State = Fresh
	case Fresh, Reuse:
	default:
		return status.Publicf(status.InvalidArgument, "policy: \"state\" is %q, want \"fresh\" or \"reuse\"", abi.Clean(string(p.State), 40))
	}
	return p.Limits.check()
}

// needs gives the grant that each capability rests on; those that are absent need
// none.
var needs = map[abi.Capability]string{
	abi.CapHTTP: "http", abi.CapKVGet: "kv", abi.CapKVSet: "kv", abi.CapKVDelete: "kv", abi.CapKVList: "kv",
	abi.CapGenerate: "generate", abi.CapRun: "actions", abi.CapNow: "clock",
}

func (g Grants) has(grant string) bool {
	switch grant {
	case "http":
		return len(g.HTTP) > 0
	case "kv":
		return g.KV
	case "generate":
		return len(g.Generate) > 0
	case "actions":
		return len(g.Actions) > 0
	case "clock":
		return g.Clock
	}
	return false
}

// provided are the capabilities that this host has.
var provided = []abi.Capability{abi.CapEmit, abi.CapInterrupt, abi.CapContext}

// Check compares what a module imports with what it is granted and what the host
// provides. It fails with PERMISSION_DENIED and lists what is missing, or with
// UNIMPLEMENTED and lists what is granted but not to be had here.
func (g Grants) Check(capabilities []abi.Capability) error {
	var missing, absent []string
	for _, c := range capabilities {
		grant, gated := needs[c]
		switch {
		case slices.Contains(provided, c):
		case gated && !g.has(grant):
			missing = append(missing, fmt.Sprintf("%q (grant %q)", c, grant))
		default:
			absent = append(absent, fmt.Sprintf("%q", c))
		}
	}
	if len(missing) > 0 {
		return status.Publicf(status.PermissionDenied, "the module imports capabilities that its policy does not grant: %s", strings.Join(missing, ", ")).
			WithDetails(map[string]any{"missing": missing})
	}
	if len(absent) > 0 {
		return status.Publicf(status.Unimplemented, "the module imports capabilities that this host does not provide: %s", strings.Join(absent, ", ")).
			WithDetails(map[string]any{"absent": absent})
	}
	return nil
}
