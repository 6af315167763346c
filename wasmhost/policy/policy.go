// Package policy defines the rights of a module: the capabilities that it is granted,
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
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// MaxBytes bounds the text of a policy.
const MaxBytes = 64 << 10

const (
	maxName        = 128
	maxConfigValue = 8 << 10
	maxConfig      = 64
)

// Policy is the set of rules that an operator or an owner makes for a module or a tenant.
type Policy struct {
	Grants Grants `json:"grants,omitzero"`
	Limits Limits `json:"limits,omitzero"`
	// State is "fresh" (also when empty): nothing that a call writes is seen
	// by a later one; or "reuse": an instance keeps its state.
	State State `json:"state,omitempty"`
	// Config holds the values of Extism's config_get: at most 64, with keys of 1 to 128 characters and values of at most 8,192.
	// It is no place for secrets.
	Config map[string]string `json:"config,omitempty"`
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

// Parse decodes and checks a policy; nothing gives the zero Policy. A field that is not
// known, written in another case, or given twice is refused, because a mistyped limit
// would be no limit and two readers may differ in what they grant. It fails with
// INVALID_ARGUMENT.
func Parse(raw []byte) (Policy, error) {
	var p Policy
	if len(bytes.TrimSpace(raw)) == 0 {
		return p, nil
	}
	if len(raw) > MaxBytes {
		return p, status.Publicf(status.InvalidArgument, "policy of %d bytes exceeds the limit of %d", len(raw), MaxBytes)
	}
	if err := schema.Decode(raw, &p, schema.RefuseUnknown); err != nil {
		return Policy{}, status.Publicf(status.InvalidArgument, "policy: %w", err)
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
	if err := p.Grants.check(); err != nil {
		return err
	}
	if len(p.Config) > maxConfig {
		return status.Publicf(status.InvalidArgument, "policy: config has %d values, and at most %d are allowed", len(p.Config), maxConfig)
	}
	for key, value := range p.Config {
		if key == "" || utf8.RuneCountInString(key) > maxName || utf8.RuneCountInString(value) > maxConfigValue {
			return status.Publicf(status.InvalidArgument, "policy: config %q: want a key of 1 to %d characters and a value of at most %d", abi.Line(key, 40), maxName, maxConfigValue)
		}
	}
	return p.Limits.check()
}
