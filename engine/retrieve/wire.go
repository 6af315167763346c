package retrieve

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Request is Genkit's RetrieverRequest.
type Request struct {
	Query   content.Document `json:"query"`
	Options json.RawMessage  `json:"options,omitempty"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// Response is Genkit's RetrieverResponse.
type Response struct {
	Documents []content.Document `json:"documents"`

	Extra map[string]json.RawMessage `json:"-"`
}

// IndexRequest is Genkit's request to an indexer.
type IndexRequest struct {
	Documents []content.Document `json:"documents"`
	Options   json.RawMessage    `json:"options,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// RerankRequest is Genkit's RerankerRequest.
type RerankRequest struct {
	Query     content.Document   `json:"query"`
	Documents []content.Document `json:"documents"`
	Options   json.RawMessage    `json:"options,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// RerankResponse is Genkit's RerankerResponse; each document's metadata has a score.
type RerankResponse struct {
	Documents []content.Document `json:"documents"`

	Extra map[string]json.RawMessage `json:"-"`
}

type (
	plainRequest        Request
	plainResponse       Response
	plainIndexRequest   IndexRequest
	plainRerankRequest  RerankRequest
	plainRerankResponse RerankResponse
)

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Request) UnmarshalJSON(b []byte) (err error) {
	*r = Request{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r Request) MarshalJSON() ([]byte, error) {
	return rawjson.Marshal(plainRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Response) UnmarshalJSON(b []byte) (err error) {
	*r = Response{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainResponse)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil documents become [].
func (r Response) MarshalJSON() ([]byte, error) {
	if r.Documents == nil {
		r.Documents = []content.Document{}
	}
	return rawjson.Marshal(plainResponse(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *IndexRequest) UnmarshalJSON(b []byte) (err error) {
	*r = IndexRequest{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainIndexRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil documents become [].
func (r IndexRequest) MarshalJSON() ([]byte, error) {
	if r.Documents == nil {
		r.Documents = []content.Document{}
	}
	return rawjson.Marshal(plainIndexRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *RerankRequest) UnmarshalJSON(b []byte) (err error) {
	*r = RerankRequest{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainRerankRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil documents become [].
func (r RerankRequest) MarshalJSON() ([]byte, error) {
	if r.Documents == nil {
		r.Documents = []content.Document{}
	}
	return rawjson.Marshal(plainRerankRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (r *RerankResponse) UnmarshalJSON(b []byte) (err error) {
	*r = RerankResponse{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainRerankResponse)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; nil documents become [].
func (r RerankResponse) MarshalJSON() ([]byte, error) {
	if r.Documents == nil {
		r.Documents = []content.Document{}
	}
	return rawjson.Marshal(plainRerankResponse(r), r.Extra)
}
