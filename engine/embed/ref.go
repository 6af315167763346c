package embed

import (
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Ref is an embedder by name, with options of its own for every call: Genkit's
// EmbedderReference. Its zero value names nothing and sets nothing.
type Ref struct {
	name, version string
	config        any
}

// NewRef returns a reference. config is encoded as JSON; nil for none.
func NewRef(name string, config any) Ref { return Ref{name: name, config: config} }

// WithVersion returns the reference with the option "version"; "" leaves it out.
func (r Ref) WithVersion(version string) Ref {
	r.version = version
	return r
}

// Name returns the embedder's name.
func (r Ref) Name() string { return r.name }

// Config returns the options of the reference.
func (r Ref) Config() any { return r.config }

// Defaults gives the reference's version and options to a call. As in Genkit JS,
// its config wins over its version, and the call's [WithConfig] over both, key by key.
func (r Ref) Defaults() Option {
	return func(c *choices) { c.defaults = r }
}

func merged(r Ref, options any) (json.RawMessage, error) {
	layers := []any{r.config, options}
	if r.version != "" {
		layers = append([]any{map[string]string{"version": r.version}}, layers...)
	}
	var under json.RawMessage
	for _, v := range layers {
		if v == nil {
			continue
		}
		over, err := rawjson.Encode(v)
		if err != nil {
			return nil, status.Errorf(status.InvalidArgument, "embedder options: %w", err)
		}
		if under, err = put(under, over); err != nil {
			return nil, err
		}
	}
	return under, nil
}

// put puts the members of one object over those of another, which may be absent.
func put(under, over json.RawMessage) (json.RawMessage, error) {
	if under == nil {
		return over, nil
	}
	var a, b map[string]json.RawMessage
	if json.Unmarshal(under, &a) != nil || json.Unmarshal(over, &b) != nil {
		return nil, status.Errorf(status.InvalidArgument, "options of a reference and of a call can be joined as objects only")
	}
	maps.Copy(a, b)
	return rawjson.Encode(a)
}
