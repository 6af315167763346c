package action

import (
	"context"
	"encoding/json"
	"maps"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// MultipartSchema is the output schema of every action of kind tool.v2: Genkit's
// MultipartToolResponse {output?, content?, metadata?}.
var MultipartSchema = json.RawMessage(`{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","properties":{` +
	`"output":{},"content":{"type":"array","items":{"type":"object"}},"metadata":{"type":"object"}},"additionalProperties":true}`)

// multipart is a plain tool in its second form.
type multipart struct {
	plain Action
	desc  Desc
}

var _ Action = (*multipart)(nil)

// HasMultipart reports whether the action that d describes has a second form: it
// is a plain tool and not one that only interrupts (Genkit JS: defineTool registers
// both kinds, defineInterrupt registers /tool alone).
func (d Desc) HasMultipart() bool {
	return d.Kind == Tool && string(d.Metadata["interrupt"]) != "true"
}

// Multipart describes the second form of a plain tool: /tool.v2/<name>, which
// returns a MultipartToolResponse.
func (d Desc) Multipart() Desc {
	metadata := make(map[string]json.RawMessage, len(d.Metadata)+2)
	maps.Copy(metadata, d.Metadata)
	metadata["type"] = json.RawMessage(`"tool.v2"`)
	metadata["tool"] = flagged(metadata["tool"], "multipart")
	d.Kind, d.OutputSchema, d.Metadata = ToolV2, MultipartSchema, metadata
	return d
}

// flagged returns the JSON object raw with key set to true; what a user put there
// stays (genkit/js, #5414).
func flagged(raw json.RawMessage, key string) json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(raw, &object) != nil || object == nil {
		object = map[string]json.RawMessage{}
	}
	object[key] = json.RawMessage("true")
	out, err := rawjson.Encode(object)
	if err != nil {
		return json.RawMessage(`{"` + key + `":true}`)
	}
	return out
}

// AsMultipart returns a plain tool in its second form, whose run wraps the plain
// one's output as {"output": …}. The run is one span, the plain tool's. Other
// actions are returned as they are.
func AsMultipart(a Action) Action {
	d := a.Desc()
	if d.Kind != Tool {
		return a
	}
	return &multipart{plain: a, desc: d.Multipart()}
}

// Plain returns the tool behind its second form, and any other action as it is.
func Plain(a Action) Action {
	if m, ok := a.(*multipart); ok {
		return m.plain
	}
	return a
}

func (m *multipart) Desc() Desc { return m.desc }

func (m *multipart) RunJSON(ctx context.Context, in json.RawMessage, emit Emit) (json.RawMessage, error) {
	out, err := m.plain.RunJSON(ctx, in, emit)
	if err != nil {
		return nil, err
	}
	raw, err := rawjson.Encode(struct {
		Output json.RawMessage `json:"output"`
	}{out})
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the output of %q: %w", m.desc.Key(), err)
	}
	return raw, nil
}
