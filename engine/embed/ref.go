package embed

import (
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Ref is an embedder by name, with options of its own for every call: Genkit's
// EmbedderReference.
type Ref struct {
	Name string
	// Version is the option "version"; "" leaves it out.
	Version string
	// Config is encoded as JSON; nil for none.
	Config any
}

// Defaults gives the reference's version and options to a call. As in Genkit JS,
// Config wins over Version, and the call's [Options] over both, key by key.
func (r Ref) Defaults() Option {
	return func(c *choices) { c.defaults = r }
}

func merged(defaults, options any) (json.RawMessage, error) {
	layers := []any{options}
	if r, ok := defaults.(Ref); ok {
		layers = []any{r.Config, options}
		if r.Version != "" {
			layers = append([]any{map[string]string{"version": r.Version}}, layers...)
		}
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
