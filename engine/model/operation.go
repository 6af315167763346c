package model

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Operation is work that goes on after the call that began it: Genkit's Operation.
type Operation struct {
	// Action is the key of the background model that began it.
	Action string `json:"action,omitempty"`
	ID     string `json:"id"`
	Done   bool   `json:"done,omitempty"`
	// Output is a model response once the operation is done without an error; see
	// [Operation.Response].
	Output   json.RawMessage            `json:"output,omitempty"`
	Error    *OperationError            `json:"error,omitempty"`
	Metadata map[string]json.RawMessage `json:"metadata,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// OperationError says why an operation failed.
type OperationError struct {
	Message string `json:"message"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Response reads the output as a model response, nil when there is none.
func (o *Operation) Response() (*Response, error) {
	if o == nil || len(o.Output) == 0 || string(o.Output) == "null" {
		return nil, nil //nolint:nilnil // an operation that is not done has none
	}
	resp := &Response{}
	return resp, json.Unmarshal(o.Output, resp)
}

type (
	plainOperation      Operation
	plainOperationError OperationError
)

// UnmarshalJSON keeps unknown fields in Extra.
func (o *Operation) UnmarshalJSON(b []byte) (err error) {
	*o = Operation{}
	o.Extra, err = rawjson.Unmarshal(b, (*plainOperation)(o))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (o Operation) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainOperation(o), o.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (e *OperationError) UnmarshalJSON(b []byte) (err error) {
	*e = OperationError{}
	e.Extra, err = rawjson.Unmarshal(b, (*plainOperationError)(e))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (e OperationError) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainOperationError(e), e.Extra)
}
