// Package model is the noun "model": its request, response and chunk as they go
// over the wire, the description of a model, and how one is made.
//
// It owns the Go form of Genkit's GenerateRequest, GenerateResponse and
// ModelResponseChunk. Use:
//
//	m, err := model.New("acme/m1", model.Info{…}, func(ctx context.Context, req *model.Request, send model.Send) (*model.Response, error) { … })
//
// Models are safe for concurrent use when their function is.
package model

import (
	"context"
	"encoding/json"
	"runtime/debug"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Send passes one chunk on. A nil Send means that nobody streams. An error means
// that the reader is gone; the model should return it.
type Send func(*Chunk) error

// Func answers a request. It must not keep or change req after it has returned.
type Func func(ctx context.Context, req *Request, send Send) (*Response, error)

// Model answers requests. RunJSON of its action does the same on JSON.
type Model interface {
	action.Action
	Name() string
	Generate(ctx context.Context, req *Request, send Send) (*Response, error)
	Info() Info
}

type nativeModel struct {
	action.Action
	info   Info
	config *schema.Schema
	fn     Func
}

// New makes a model of fn; INVALID_ARGUMENT when the name or the config schema is
// not usable. A request whose config breaks the schema does not reach fn.
func New(name string, info Info, fn Func) (Model, error) {
	metadata, err := info.metadata(name)
	if err != nil {
		return nil, err
	}
	m := &nativeModel{info: info, fn: fn}
	if m.config, err = schema.Compile(info.ConfigSchema); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "config schema of model %q: %w", name, err)
	}
	desc := action.Desc{Kind: action.Model, Name: name, Description: info.Label, Metadata: metadata}
	m.Action, err = action.New(desc, m.runJSON)
	if err != nil {
		return nil, err
	}
	return m, nil
}

func (m *nativeModel) Info() Info { return m.info }

func (m *nativeModel) Name() string { return m.Action.Desc().Name }

// Desc describes the model with the schemas of a request and a response, for listings.
// Requests are not checked against them: fields are checked where they are read.
func (m *nativeModel) Desc() action.Desc {
	d := m.Action.Desc()
	d.InputSchema, d.OutputSchema = requestSchema, responseSchema
	return d
}

func (m *nativeModel) runJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	req := &Request{}
	if err := json.Unmarshal(in, req); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "model request: %w", err)
	}
	resp, err := m.call(ctx, req, sendTo(emit))
	if err != nil {
		return nil, err
	}
	return rawjson.Encode(resp)
}

// Generate calls the function on the Go values; they are encoded only for spans
// that record bodies.
func (m *nativeModel) Generate(ctx context.Context, req *Request, send Send) (resp *Response, err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	bodies := telemetry.Bodies(ctx)
	desc := m.Desc()
	ctx, span := telemetry.Start(ctx, telemetry.Span{
		Name: desc.Name, Type: telemetry.TypeAction, Subtype: string(desc.Kind), Key: desc.Key().String(), Input: body(bodies, req),
	})
	defer func() { err = span.End(err) }()
	resp, err = m.guarded(ctx, req, send)
	if err == nil && bodies {
		span.Output(body(bodies, resp))
	}
	return resp, err
}

func body(wanted bool, v any) json.RawMessage {
	if !wanted {
		return nil
	}
	raw, err := rawjson.Encode(v)
	if err != nil { // a span is no reason to fail the call
		return nil
	}
	return raw
}

// guarded turns a panic of the function into an error; on the JSON path the
// action does it.
func (m *nativeModel) guarded(ctx context.Context, req *Request, send Send) (resp *Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			resp, err = nil, status.Errorf(status.Internal, "%s panicked: %v\n%s", m.Desc().Key(), r, debug.Stack())
		}
	}()
	return m.call(ctx, req, send)
}

func (m *nativeModel) call(ctx context.Context, req *Request, send Send) (*Response, error) {
	if len(req.Config) > 0 && string(req.Config) != "null" {
		if err := m.config.Validate(req.Config); err != nil {
			return nil, action.InvalidInput(m.Desc(), err)
		}
	}
	resp, err := m.fn(ctx, req, send)
	if err != nil {
		return nil, err
	}
	if resp == nil {
		return nil, status.Errorf(status.Internal, "model %q returned nothing", m.Desc().Name)
	}
	answer := telemetry.Answer{FinishReason: string(resp.FinishReason)}
	if resp.Usage != nil {
		answer.InputTokens, _ = resp.Usage.Told("inputTokens")
		answer.OutputTokens, _ = resp.Usage.Told("outputTokens")
	}
	telemetry.Answered(ctx, m.Desc().Name, answer)
	return resp, nil
}

// From returns a as a [Model]: itself when it is one, else an adapter that speaks
// JSON to it.
func From(a action.Action) Model {
	if m, ok := a.(Model); ok {
		return m
	}
	return &jsonModel{Action: a}
}

type jsonModel struct{ action.Action }

func (m *jsonModel) Name() string { return m.Desc().Name }

func (m *jsonModel) Generate(ctx context.Context, req *Request, send Send) (*Response, error) {
	return callJSON(ctx, m.Action, req, send)
}

// Info reads the capabilities from the action's metadata.
func (m *jsonModel) Info() Info {
	var info Info
	_ = json.Unmarshal(m.Desc().Metadata["model"], &info) // a model that declares nothing has none
	return info
}

func callJSON(ctx context.Context, a action.Action, req *Request, send Send) (*Response, error) {
	in, err := rawjson.Encode(req)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the model request: %w", err)
	}
	var emit action.Emit
	if send != nil {
		emit = func(raw json.RawMessage) error {
			chunk := &Chunk{}
			if err := json.Unmarshal(raw, chunk); err != nil {
				return status.Errorf(status.Internal, "chunk of model %q: %w", a.Desc().Name, err)
			}
			return send(chunk)
		}
	}
	out, err := a.RunJSON(ctx, in, emit)
	if err != nil {
		return nil, err
	}
	resp := &Response{}
	if err := json.Unmarshal(out, resp); err != nil {
		return nil, status.Errorf(status.Internal, "response of model %q: %w", a.Desc().Name, err)
	}
	return resp, nil
}

func sendTo(emit action.Emit) Send {
	if emit == nil {
		return nil
	}
	return func(c *Chunk) error {
		raw, err := rawjson.Encode(c)
		if err != nil {
			return status.Errorf(status.Internal, "encode a chunk: %w", err)
		}
		return emit(raw)
	}
}
