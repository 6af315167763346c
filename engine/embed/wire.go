package embed

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Request is Genkit's EmbedRequest.
type Request struct {
	Input   []content.Document `json:"input"`
	Options json.RawMessage    `json:"options,omitempty"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// Response is Genkit's EmbedResponse: one embedding for each document, or several
// where a provider cuts a document up (see Embedding.Metadata).
type Response struct {
	Embeddings []Embedding `json:"embeddings"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Embedding is a vector. Its numbers are float64, JSON's and JavaScript's: what a
// provider wrote arrives and leaves unchanged. A store that keeps float32 narrows
// them itself.
type Embedding struct {
	Vector   []float64        `json:"embedding"`
	Metadata content.Metadata `json:"metadata,omitzero"`

	Extra map[string]json.RawMessage `json:"-"`
}

type (
	plainRequest   Request
	plainResponse  Response
	plainEmbedding Embedding
)

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Request) UnmarshalJSON(b []byte) (err error) {
	*r = Request{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil input becomes [].
func (r Request) MarshalJSON() ([]byte, error) {
	if r.Input == nil {
		r.Input = []content.Document{}
	}
	return rawjson.Marshal(plainRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Response) UnmarshalJSON(b []byte) (err error) {
	*r = Response{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainResponse)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil embeddings become [].
func (r Response) MarshalJSON() ([]byte, error) {
	if r.Embeddings == nil {
		r.Embeddings = []Embedding{}
	}
	return rawjson.Marshal(plainResponse(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (e *Embedding) UnmarshalJSON(b []byte) (err error) {
	*e = Embedding{}
	e.Extra, err = rawjson.Unmarshal(b, (*plainEmbedding)(e))
	return err
}

// MarshalJSON writes the fields of Extra too; a nil vector becomes [].
func (e Embedding) MarshalJSON() ([]byte, error) {
	if e.Vector == nil {
		e.Vector = []float64{}
	}
	return rawjson.Marshal(plainEmbedding(e), e.Extra)
}
