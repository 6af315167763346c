package model

import (
	"encoding/json"
	"maps"
	"math"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
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
	// MaxTurns bounds how often tools may be executed; nil means 5. On the wire it keeps
	// its digits while nobody changes it; a value that is no whole number stays in Extra,
	// and a call refuses it.
	MaxTurns *int            `json:"-"`
	StepName string          `json:"stepName,omitempty"`
	Use      []MiddlewareRef `json:"use,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// OutputOptions describe the output that is wanted and how the model is told.
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
	// Respond holds tool response parts, which take the place of the tools' outputs.
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

const maxTurnsField = "maxTurns"

// UnmarshalJSON keeps unknown fields in Extra.
func (o *GenerateOptions) UnmarshalJSON(b []byte) (err error) {
	*o = GenerateOptions{}
	o.Extra, err = rawjson.Unmarshal(b, (*plainGenerateOptions)(o))
	n, ok := wholeNumber(o.Extra[maxTurnsField])
	if !ok {
		return err
	}
	o.MaxTurns = &n
	if string(o.Extra[maxTurnsField]) == strconv.Itoa(n) {
		delete(o.Extra, maxTurnsField)
	}
	if len(o.Extra) == 0 {
		o.Extra = nil
	}
	return err
}

// wholeNumber reads a JSON number without a fraction, such as 5, 5.0 and 5e0.
func wholeNumber(raw json.RawMessage) (int, bool) {
	f, err := strconv.ParseFloat(string(raw), 64)
	n := int(f)
	return n, err == nil && math.Abs(f) < math.MaxInt32 && float64(n) == f
}

// MarshalJSON writes the fields of Extra too; nil messages become [].
func (o GenerateOptions) MarshalJSON() ([]byte, error) {
	if o.Messages == nil {
		o.Messages = []content.Message{}
	}
	extra := o.Extra
	if o.MaxTurns != nil {
		if n, kept := wholeNumber(extra[maxTurnsField]); !kept || n != *o.MaxTurns {
			extra = maps.Clone(extra)
			if extra == nil {
				extra = map[string]json.RawMessage{}
			}
			extra[maxTurnsField] = json.RawMessage(strconv.Itoa(*o.MaxTurns))
		}
	}
	return rawjson.Marshal(plainGenerateOptions(o), extra)
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
