// Package embed is the noun "embedder": documents in, vectors out.
//
// It owns the wire types, the description of an embedder, and the cutting of
// many documents into batches. An embedder is an action of kind embedder. Use:
//
//	e, err := embed.New("acme/e1", embed.Info{Dimensions: 256}, func(ctx context.Context, req *embed.Request) (*embed.Response, error) { … })
//	vectors, err := embed.Many(ctx, e, docs, embed.WithParallel(8))
//
// Embedders are safe for concurrent use when their function is.
package embed

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Info describes an embedder: Genkit's EmbedderInfo.
type Info struct {
	Label      string    `json:"label,omitempty"`
	Supports   *Supports `json:"supports,omitempty"`
	Dimensions int       `json:"dimensions,omitempty"`
	// ConfigSchema describes Request.Options, or nil.
	ConfigSchema json.RawMessage `json:"-"`
	// BatchSize is the most documents that one request may hold, 0 for any number. It
	// is published as metadata.embedder.batchSize, which Genkit does not know, and
	// [Many] keeps to it.
	BatchSize int `json:"-"`
}

// Supports lists an embedder's capabilities.
type Supports struct {
	// Input is a list of "text", "image" and "video".
	Input        []string `json:"input,omitempty"`
	Multilingual bool     `json:"multilingual,omitempty"`
}

// Func embeds the documents of a request, which it must not keep or change. The
// response holds the embeddings in the order of the documents.
type Func func(ctx context.Context, req *Request) (*Response, error)

var (
	inputSchema = json.RawMessage(`{"type":"object","properties":{"input":{"type":"array","items":{"type":"object","properties":{` +
		`"content":{"type":"array","items":{"type":"object"}},"metadata":{"type":"object"}},"required":["content"]}},"options":{}},"required":["input"],"additionalProperties":true}`)
	outputSchema = json.RawMessage(`{"type":"object","properties":{"embeddings":{"type":"array","items":{"type":"object","properties":{` +
		`"embedding":{"type":"array","items":{"type":"number"}},"metadata":{"type":"object"}},"required":["embedding"]}}},"required":["embeddings"],"additionalProperties":true}`)
)

// New makes an embedder of fn; INVALID_ARGUMENT when the name or the config schema is
// not usable. A request whose options break the schema does not reach fn.
func New(name string, info Info, fn Func) (Embedder, error) {
	if info.Label == "" {
		info.Label = name
	}
	metadata, err := info.metadata()
	if err != nil {
		return nil, status.Errorf(status.Internal, "metadata of embedder %q: %w", name, err)
	}
	config, err := schema.Compile(info.ConfigSchema)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "config schema of embedder %q: %w", name, err)
	}
	desc := action.Desc{
		Kind: action.Embedder, Name: name, Description: info.Label,
		InputSchema: inputSchema, OutputSchema: outputSchema, Metadata: metadata,
	}
	a, err := action.New(desc, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		req := &Request{}
		if err := json.Unmarshal(in, req); err != nil {
			return nil, action.InvalidInput(desc, err)
		}
		if len(req.Options) > 0 && string(req.Options) != "null" {
			if err := config.Validate(req.Options); err != nil {
				return nil, action.InvalidInput(desc, err)
			}
		}
		resp, err := fn(ctx, req)
		if err != nil {
			return nil, err
		}
		if resp == nil {
			return nil, status.Errorf(status.Internal, "embedder %q returned nothing", name)
		}
		return rawjson.Encode(resp)
	})
	if err != nil {
		return nil, err
	}
	return From(a), nil
}

// Embedder is an action of kind embedder.
type Embedder interface {
	action.Action
	Name() string
	// Embed answers one request; see [One], [Many] and [All] for documents.
	Embed(ctx context.Context, req *Request) (*Response, error)
}

// From returns an action as an [Embedder]: itself when it is one.
func From(a action.Action) Embedder {
	if e, ok := a.(Embedder); ok {
		return e
	}
	return embedder{a}
}

type embedder struct{ action.Action }

func (e embedder) Name() string { return e.Desc().Name }

func (e embedder) Embed(ctx context.Context, req *Request) (*Response, error) {
	return Do(ctx, e.Action, req)
}

func (i Info) metadata() (map[string]json.RawMessage, error) {
	info, err := rawjson.Encode(i)
	if err != nil {
		return nil, err
	}
	options := map[string]json.RawMessage{}
	if len(i.ConfigSchema) > 0 {
		options["customOptions"] = i.ConfigSchema
	}
	if i.BatchSize > 0 {
		options["batchSize"] = json.RawMessage(strconv.Itoa(i.BatchSize))
	}
	own, err := rawjson.Encode(options)
	return map[string]json.RawMessage{"type": json.RawMessage(`"embedder"`), "info": info, "embedder": own}, err
}

// Do runs an embedder on one request.
func Do(ctx context.Context, a action.Action, req *Request) (*Response, error) {
	in, err := rawjson.Encode(req)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "encode the embed request: %w", err)
	}
	out, err := a.RunJSON(ctx, in, nil)
	if err != nil {
		return nil, err
	}
	resp := &Response{}
	if err := json.Unmarshal(out, resp); err != nil {
		return nil, status.Errorf(status.Internal, "response of embedder %q: %w", a.Desc().Name, err)
	}
	return resp, nil
}
