package retrieve

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// The schemas of the requests, less their options, and of the responses.
var (
	document = `{"type":"object","properties":{"content":{"type":"array","items":{"type":"object"}},"metadata":{"type":"object"}},"required":["content"],"additionalProperties":true}`
	ranked   = `{"type":"object","properties":{"content":{"type":"array","items":{"type":"object"}},` +
		`"metadata":{"type":"object","properties":{"score":{"type":"number"}},"required":["score"],"additionalProperties":true}},"required":["content","metadata"],"additionalProperties":true}`

	retrieverIn  = inputs(`"query":`+document, `"query"`)
	retrieverOut = outputs(document)
	indexerIn    = inputs(`"documents":{"type":"array","items":`+document+`}`, `"documents"`)
	rerankerIn   = inputs(`"query":`+document+`,"documents":{"type":"array","items":`+document+`}`, `"query","documents"`)
	rerankerOut  = outputs(ranked)
)

// inputs is a function of the schema of the options.
func inputs(properties, required string) func(options string) json.RawMessage {
	return func(options string) json.RawMessage {
		return json.RawMessage(`{"type":"object","properties":{` + properties + `,"options":` + options + `},"required":[` + required + `],"additionalProperties":true}`)
	}
}

func outputs(items string) json.RawMessage {
	return json.RawMessage(`{"type":"object","properties":{"documents":{"type":"array","items":` + items + `}},"required":["documents"],"additionalProperties":true}`)
}

// description is an action in the making.
type description struct {
	action.Desc
	raw     json.RawMessage // the schema of the options, or nil
	options *schema.Schema
}

// describe makes the parts that all three kinds share: {type, info?, <kind>: {customOptions?}}.
func describe[O any](kind action.Kind, name string, raw json.RawMessage, info *Info) (*description, error) {
	if raw == nil {
		var err error
		if raw, err = schema.Infer[O](); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "options of %s %q: %w", kind, name, err)
		}
	}
	compiled, err := schema.Compile(raw)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "options schema of %s %q: %w", kind, name, err)
	}
	d := &description{Desc: action.Desc{Kind: kind, Name: name, Metadata: map[string]json.RawMessage{}}, raw: raw, options: compiled}
	own := map[string]json.RawMessage{}
	if len(raw) > 0 {
		own["customOptions"] = raw
	}
	if err := d.note(string(kind), own); err != nil {
		return nil, err
	}
	if err := d.note("type", string(kind)); err != nil {
		return nil, err
	}
	if info != nil && (info.Label != "" || info.Supports != nil) {
		d.Description = info.Label
		if err := d.note("info", info); err != nil {
			return nil, err
		}
	}
	return d, nil
}

func (d *description) note(key string, v any) error {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return status.Errorf(status.InvalidArgument, "metadata of %s %q: %w", d.Kind, d.Name, err)
	}
	d.Metadata[key] = raw
	return nil
}

// action makes the action. The schema of the options is part of the input's, as in
// Genkit JS, unless it refers to places in itself, which would be others there.
func (d *description) action(in func(string) json.RawMessage, out json.RawMessage, fn func(context.Context, json.RawMessage) (any, error)) (noun, error) {
	d.InputSchema, d.OutputSchema = in("{}"), out
	if len(d.raw) > 0 && !bytes.Contains(d.raw, []byte(`"$`)) && !bytes.Contains(d.raw, []byte(`\`)) {
		d.InputSchema, d.options = in(string(d.raw)), nil
	}
	a, err := action.New(d.Desc, func(ctx context.Context, raw json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		v, err := fn(ctx, raw)
		if err != nil || v == nil {
			return nil, err
		}
		return rawjson.Encode(v)
	})
	return noun{a}, err
}

// request decodes a request and its options.
func request[O any](d *description, in json.RawMessage, req any, options *json.RawMessage) (o O, err error) {
	if err := json.Unmarshal(in, req); err != nil {
		return o, action.InvalidInput(d.Desc, err)
	}
	if len(*options) == 0 {
		return o, nil
	}
	if err := d.options.Validate(*options); err != nil {
		return o, action.InvalidInput(d.Desc, err)
	}
	if err := json.Unmarshal(*options, &o); err != nil {
		return o, action.InvalidInput(d.Desc, err)
	}
	return o, nil
}

func run(ctx context.Context, a action.Action, kind action.Kind, req, resp any) error {
	if err := wrongKind(a, kind); err != nil {
		return err
	}
	in, err := rawjson.Encode(req)
	if err != nil {
		return status.Errorf(status.InvalidArgument, "encode the request to %q: %w", a.Desc().Key(), err)
	}
	out, err := a.RunJSON(ctx, in, nil)
	if err != nil || resp == nil {
		return err
	}
	if err := json.Unmarshal(out, resp); err != nil {
		return status.Errorf(status.Internal, "response of %q: %w", a.Desc().Key(), err)
	}
	return nil
}
