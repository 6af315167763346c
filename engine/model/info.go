package model

import (
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Info describes a model and its capabilities: Genkit's ModelInfo.
type Info struct {
	Label    string   `json:"label,omitempty"`
	Versions []string `json:"versions,omitempty"`
	Supports Supports `json:"supports"`
	Stage    string   `json:"stage,omitempty"`
	// ConfigSchema describes Request.Config, or nil.
	ConfigSchema json.RawMessage `json:"customOptions,omitempty"`
}

// Supports lists a model's capabilities.
type Supports struct {
	Multiturn   bool     `json:"multiturn"`
	Media       bool     `json:"media"`
	Tools       bool     `json:"tools"`
	SystemRole  bool     `json:"systemRole"`
	Output      []string `json:"output,omitempty"`
	ContentType []string `json:"contentType,omitempty"`
	Context     bool     `json:"context"`
	// Constrained is "none", "all" or "no-tools"; empty means none.
	Constrained string `json:"constrained,omitempty"`
	ToolChoice  bool   `json:"toolChoice"`
	LongRunning bool   `json:"longRunning,omitempty"`
	// Denied names capabilities, such as "media", that the model refuses: a request that
	// needs one fails. In Go a false alone is not told from silence; reading Supports
	// from JSON names those that are false there.
	Denied []string `json:"-"`
}

// UnmarshalJSON names the capabilities that are false in Denied.
func (s *Supports) UnmarshalJSON(b []byte) error {
	type plain Supports
	var said map[string]json.RawMessage
	if err := json.Unmarshal(b, (*plain)(s)); err != nil {
		return err
	}
	if err := json.Unmarshal(b, &said); err != nil {
		return err
	}
	s.Denied = nil
	for name, value := range said {
		if string(value) == "false" {
			s.Denied = append(s.Denied, name)
		}
	}
	slices.Sort(s.Denied)
	return nil
}

func (i Info) metadata(name string) (map[string]json.RawMessage, error) {
	if i.Label == "" {
		i.Label = name
	}
	raw, err := json.Marshal(i)
	if err != nil {
		return nil, status.Errorf(status.Internal, "metadata of model %q: %w", name, err)
	}
	return map[string]json.RawMessage{"type": json.RawMessage(`"model"`), "model": raw}, nil
}
