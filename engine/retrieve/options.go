package retrieve

import (
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Option is a choice for one call.
type Option func(*choices)

type choices struct {
	defaults any
	options  any
}

// WithConfig sets the action's own options, encoded as JSON.
func WithConfig(v any) Option { return func(c *choices) { c.options = v } }

// Ref is a retriever, an indexer or a reranker by name, with options of its own for
// every call.
type Ref struct {
	name   string
	config any
}

// NewRef returns a reference. config is encoded as JSON; nil for none.
func NewRef(name string, config any) Ref { return Ref{name, config} }

// Name returns the name of what is referred to.
func (r Ref) Name() string { return r.name }

// Config returns the options of the reference.
func (r Ref) Config() any { return r.config }

// Defaults gives the reference's options to a call, whose [WithConfig] wins key by key.
func (r Ref) Defaults() Option { return func(c *choices) { c.defaults = r.config } }

func choose(options []Option) (json.RawMessage, error) {
	c := &choices{}
	for _, o := range options {
		o(c)
	}
	own, err := encode(c.options)
	if err != nil {
		return nil, err
	}
	defaults, err := encode(c.defaults)
	switch {
	case err != nil:
		return nil, err
	case own == nil:
		return defaults, nil
	case defaults == nil:
		return own, nil
	}
	return merge(defaults, own)
}

func encode(v any) (json.RawMessage, error) {
	if v == nil {
		return nil, nil
	}
	raw, err := rawjson.Encode(v)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "options: %w", err)
	}
	return raw, nil
}

// merge puts the members of one object over those of another.
func merge(under, over json.RawMessage) (json.RawMessage, error) {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(under, &a) != nil || json.Unmarshal(over, &b) != nil {
		return nil, status.Errorf(status.InvalidArgument, "options of a reference and of a call can be joined as objects only")
	}
	maps.Copy(a, b)
	return rawjson.Encode(a)
}
