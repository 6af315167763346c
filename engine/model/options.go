package model

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
)

// GenerateOptions is Genkit's GenerateActionOptions: what the generate loop is
// asked, the input of /util/generate.
type GenerateOptions struct {
	// Model is a name or a key; empty means the default model.
	Model    string             `json:"model,omitempty"`
	Docs     []content.Document `json:"docs,omitzero"`
	Messages []content.Message  `json:"messages"`
	// Tools are names or keys, as registry.Resolve reads them.
	Tools      []string        `json:"tools,omitzero"`
	Resources  []string        `json:"resources,omitzero"`
	ToolChoice ToolChoice      `json:"toolChoice,omitempty"`
	Config     json.RawMessage `json:"config,omitempty"`
	Output     *OutputOptions  `json:"output,omitempty"`
	Resume     *Resume         `json:"resume,omitempty"`
	// ReturnToolRequests ends the loop at the first tool request, unexecuted.
	ReturnToolRequests bool `json:"returnToolRequests,omitempty"`
	// MaxTurns bounds how often tools may be executed; empty means 5.
	MaxTurns json.Number     `json:"maxTurns,omitempty"`
	StepName string          `json:"stepName,omitempty"`
	Use      []MiddlewareRef `json:"use,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// OutputOptions says what output is wanted and how the model is told.
type OutputOptions struct {
	Format      string `json:"format,omitempty"`
	ContentType string `json:"contentType,omitempty"`
	// Instructions is a JSON boolean (force or forbid the format's text) or a
	// string (in its place); nothing leaves it to the format.
	Instructions json.RawMessage `json:"instructions,omitempty"`
	JSONSchema   json.RawMessage `json:"jsonSchema,omitempty"`
	Constrained  *bool           `json:"constrained,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Resume answers the interrupts of the last message.
type Resume struct {
	// Respond holds tool response parts that stand for the tools' outputs.
	Respond []content.Part `json:"respond,omitzero"`
	// Restart holds tool request parts that are executed again.
	Restart  []content.Part  `json:"restart,omitzero"`
	Metadata json.RawMessage `json:"metadata,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// MiddlewareRef names a registered middleware and configures it for one call.
type MiddlewareRef struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

type (
	plainGenerateOptions GenerateOptions
	plainOutputOptions   OutputOptions
	plainResume          Resume
	plainMiddlewareRef   MiddlewareRef
)

// UnmarshalJSON keeps unknown fields in Extra.
func (o *GenerateOptions) UnmarshalJSON(b []byte) (err error) {
	*o = GenerateOptions{}
	o.Extra, err = rawjson.Unmarshal(b, (*plainGenerateOptions)(o))
	return err
}

// MarshalJSON writes the fields of Extra too; nil messages become [].
func (o GenerateOptions) MarshalJSON() ([]byte, error) {
	if o.Messages == nil {
		o.Messages = []content.Message{}
	}
	return rawjson.Marshal(plainGenerateOptions(o), o.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (o *OutputOptions) UnmarshalJSON(b []byte) (err error) {
	*o = OutputOptions{}
	o.Extra, err = rawjson.Unmarshal(b, (*plainOutputOptions)(o))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (o OutputOptions) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainOutputOptions(o), o.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Resume) UnmarshalJSON(b []byte) (err error) {
	*r = Resume{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainResume)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r Resume) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainResume(r), r.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (r *MiddlewareRef) UnmarshalJSON(b []byte) (err error) {
	*r = MiddlewareRef{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainMiddlewareRef)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r MiddlewareRef) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainMiddlewareRef(r), r.Extra)
}
