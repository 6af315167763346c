// Package retrieve holds the nouns of retrieval: retrievers find documents, indexers
// store them, rerankers put them in order.
//
// It owns their wire types, what they declare of themselves, and the check of their
// options. Each is an action of its kind. The type of a function's options is their
// JSON Schema; json.RawMessage leaves the schema to the Info. Use:
//
//	r, err := retrieve.New("acme/docs", retrieve.Info{}, func(ctx context.Context, query content.Document, o retrieve.Common) ([]content.Document, error) { … })
//	docs, err := retrieve.Retrieve(ctx, r, content.DocumentFromText("which fish?", nil), retrieve.WithConfig(retrieve.Common{K: 3}))
//
// All of them are safe for concurrent use when their function is.
package retrieve

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Info describes a retriever or a reranker: Genkit's RetrieverInfo
// and RerankerInfo.
type Info struct {
	Label    string    `json:"label,omitempty"`
	Supports *Supports `json:"supports,omitempty"`
	// OptionsSchema describes the options where their Go type is json.RawMessage or
	// any; it wins over the schema of another type.
	OptionsSchema json.RawMessage `json:"-"`
}

// Supports lists capabilities.
type Supports struct {
	// Media says that a query may hold media.
	Media bool `json:"media,omitempty"`
}

// Common are the options that most retrievers and rerankers share: Genkit's
// CommonRetrieverOptions and CommonRerankerOptions.
type Common struct {
	// K is how many documents are wanted; 0 leaves it to the retriever.
	K int `json:"k,omitempty" jsonschema_description:"Number of documents to retrieve" jsonschema:"minimum=0"`
}

// Func finds the documents for a query, the best first. Without options in the request
// it gets the zero value.
type Func[O any] func(ctx context.Context, query content.Document, options O) ([]content.Document, error)

// New makes a retriever of fn; INVALID_ARGUMENT when the name or the schema of the
// options is not usable. Options that break their schema do not reach fn.
func New[O any](name string, info Info, fn Func[O]) (Retriever, error) {
	d, err := describe[O](action.Retriever, name, info.OptionsSchema, &info)
	if err != nil {
		return nil, err
	}
	return d.action(retrieverIn, retrieverOut, func(ctx context.Context, in json.RawMessage) (any, error) {
		req := &Request{}
		options, err := request[O](d, in, req, &req.Options)
		if err != nil {
			return nil, err
		}
		docs, err := fn(ctx, req.Query, options)
		if err != nil {
			return nil, err
		}
		return Response{Documents: docs}, nil
	})
}

// Retrieve runs a retriever.
func Retrieve(ctx context.Context, a action.Action, query content.Document, options ...Option) ([]content.Document, error) {
	raw, err := choose(options)
	if err != nil {
		return nil, err
	}
	resp := &Response{}
	if err := run(ctx, a, action.Retriever, Request{Query: query, Options: raw}, resp); err != nil {
		return nil, err
	}
	return resp.Documents, nil
}

// wrongKind guards against an action of another kind, whose JSON might fit by chance.
func wrongKind(a action.Action, want action.Kind) error {
	if d := a.Desc(); d.Kind != want {
		return status.Publicf(status.InvalidArgument, "%q is not a %s", d.Key(), want)
	}
	return nil
}
