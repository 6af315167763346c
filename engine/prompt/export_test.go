package prompt

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// LoadWithDefault is Load with the default input of a dotprompt call's options.
func LoadWithDefault(reg *registry.Registry, name, source string, input json.RawMessage) (*Prompt, error) {
	f, err := ParseFile(name, source)
	if err != nil {
		return nil, err
	}
	c, err := f.config(name, "")
	if err != nil {
		return nil, err
	}
	c.InputDefault = input
	d, err := newDefinition(c, f)
	if err != nil {
		return nil, err
	}
	return register(reg, d)
}
