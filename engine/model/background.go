package model

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Background is the work of a model whose answers take longer than a call.
type Background struct {
	// Start begins the work and says how to ask for it: an operation with an ID,
	// already done when there was nothing to wait for.
	Start func(ctx context.Context, req *Request) (*Operation, error)
	// Check says how the work is going.
	Check func(ctx context.Context, op *Operation) (*Operation, error)
	// Cancel ends the work; nil when that can't be done.
	Cancel func(ctx context.Context, op *Operation) (*Operation, error)
}

// Keys of a background model's other actions, as Genkit JS writes them.
const (
	checkSuffix  = "/check"
	cancelSuffix = "/cancel"
)

// CheckKey returns the key of the action that checks on a background model's
// operations: /check-operation/<name>/check.
func CheckKey(name string) action.Key {
	return action.Key{Kind: action.CheckOperation, Name: name + checkSuffix}
}

// CancelKey returns the key of the action that cancels them:
// /cancel-operation/<name>/cancel.
func CancelKey(name string) action.Key {
	return action.Key{Kind: action.CancelOperation, Name: name + cancelSuffix}
}

var operationSchema = json.RawMessage(`{"type":"object","properties":{"action":{"type":"string"},"id":{"type":"string"},"done":{"type":"boolean"},` +
	`"output":{},"error":{"type":"object","properties":{"message":{"type":"string"}},"required":["message"],"additionalProperties":true},"metadata":{"type":"object"}},` +
	`"required":["id"],"additionalProperties":true}`)

// requestSchema says of GenerateRequest, and responseSchema of GenerateResponse, what a
// reader of the list of actions needs.
var requestSchema = json.RawMessage(`{"type":"object","properties":{` +
	`"messages":{"type":"array","items":{"type":"object","properties":{"role":{"type":"string","enum":["system","user","model","tool"]},` +
	`"content":{"type":"array","items":{"type":"object"}},"metadata":{"type":"object"}},"required":["role","content"]}},` +
	`"config":{},"tools":{"type":"array","items":{"type":"object"}},"toolChoice":{"type":"string","enum":["auto","required","none"]},` +
	`"output":{"type":"object"},"docs":{"type":"array","items":{"type":"object"}}},"required":["messages"],"additionalProperties":true}`)

var responseSchema = json.RawMessage(`{"type":"object","properties":{"message":{"type":"object"},"finishReason":{"type":"string"}},"additionalProperties":true}`)

// NewBackground makes the actions of a model that works in the background: start,
// check and, when b can cancel, cancel. Each operation they return carries the model's
// key. Info.Supports.LongRunning is set. It fails with INVALID_ARGUMENT when the name
// or the config schema is not usable, or Start or Check is missing.
func NewBackground(name string, info Info, b Background) ([]action.Action, error) {
	if b.Start == nil || b.Check == nil {
		return nil, status.Publicf(status.InvalidArgument, "background model %q needs a start and a check", name)
	}
	info.Supports.LongRunning = true
	metadata, err := info.metadata(name)
	if err != nil {
		return nil, err
	}
	config, err := schema.Compile(info.ConfigSchema)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "config schema of model %q: %w", name, err)
	}
	metadata["type"] = json.RawMessage(`"background-model"`)
	metadata["outputSchema"] = responseSchema
	key := action.Key{Kind: action.BackgroundModel, Name: name}
	desc := action.Desc{Kind: key.Kind, Name: name, Description: info.Label, OutputSchema: operationSchema, Metadata: metadata}
	start, err := action.New(desc, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		req := &Request{}
		if err := json.Unmarshal(in, req); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
		}
		if len(req.Config) > 0 && string(req.Config) != "null" {
			if err := config.Validate(req.Config); err != nil {
				return nil, action.InvalidInput(desc, err)
			}
		}
		op, err := b.Start(ctx, req)
		return stampedOperation(key, op, err)
	})
	if err != nil {
		return nil, err
	}
	actions := []action.Action{backgroundStart{start}}
	for _, more := range []struct {
		key action.Key
		fn  func(context.Context, *Operation) (*Operation, error)
	}{{CheckKey(name), b.Check}, {CancelKey(name), b.Cancel}} {
		if more.fn == nil {
			continue
		}
		a, err := newOperationAction(key, more.key, more.fn)
		if err != nil {
			return nil, err
		}
		actions = append(actions, a)
	}
	return actions, nil
}

// backgroundStart starts an operation. Like a model it is described with the schema of a
// request, to which requests are not held.
type backgroundStart struct{ action.Action }

func (s backgroundStart) Desc() action.Desc {
	d := s.Action.Desc()
	d.InputSchema = requestSchema
	return d
}

func newOperationAction(model, key action.Key, fn func(context.Context, *Operation) (*Operation, error)) (action.Action, error) {
	desc := action.Desc{
		Kind: key.Kind, Name: key.Name, InputSchema: operationSchema, OutputSchema: operationSchema,
		Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"` + string(key.Kind) + `"`)},
	}
	return action.New(desc, func(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
		op := &Operation{}
		if err := json.Unmarshal(in, op); err != nil {
			return nil, action.InvalidInput(desc, err)
		}
		next, err := fn(ctx, op)
		return stampedOperation(model, next, err)
	})
}

// stampedOperation encodes op under the key of its model; op itself is not changed.
func stampedOperation(key action.Key, op *Operation, err error) (json.RawMessage, error) {
	if err != nil {
		return nil, err
	}
	if op == nil {
		return nil, status.Errorf(status.Internal, "background model %q returned nothing", key.Name)
	}
	c := *op
	c.Action = key.String()
	return rawjson.Encode(c)
}
