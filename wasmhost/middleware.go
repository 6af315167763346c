package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/rules"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// wasmMiddleware runs one exported function as the hooks of a middleware.
//
// A guest is not trusted with more than it needs. It never sees config.apiKey. Package
// rules lists the parts of a request that it may change; all others must be returned
// unchanged. It answers no tool request other than the one it was given, and its answers
// hold no note of the loop or of the caller that it was not given ([model.AdmitBut]). How
// often hooks within hooks ask a model is bounded for the whole request (engine/allowance).
type wasmMiddleware struct {
	guest *guest
	about abi.Middleware
}

// newMiddleware makes the factory that a registry holds.
func newMiddleware(g *guest, about abi.Middleware, stored bool) (middleware.Factory, error) {
	w := &wasmMiddleware{guest: g, about: about}
	return middleware.New(middleware.Desc{Name: g.name, Description: about.Description, ConfigSchema: about.ConfigSchema, Stored: stored}, w.hooks)
}

func (w *wasmMiddleware) hooks(_ context.Context, config json.RawMessage) (*middleware.Hooks, error) {
	if len(config) == 0 {
		config = json.RawMessage("null")
	}
	at := &hookCall{wasmMiddleware: w, config: slices.Clone(config)}
	hooks := &middleware.Hooks{}
	for _, h := range w.about.Hooks {
		switch h {
		case abi.HookGenerate:
			hooks.Generate = at.generate
		case abi.HookModel:
			hooks.Model = at.model
		case abi.HookTool:
			hooks.Tool = at.tool
		}
	}
	return hooks, nil
}

// hookCall is the middleware in one generate call.
type hookCall struct {
	*wasmMiddleware
	config json.RawMessage
}

// hookInput is the input of a hook's function.
type hookInput struct {
	Hook    abi.Hook        `json:"hook"`
	Config  json.RawMessage `json:"config"`
	Model   string          `json:"model,omitempty"`
	Request any             `json:"request"`

	weight int // about the bytes of Request
}

// work runs work on so many bytes of JSON, in their tenant's slot, and counts it as the
// time of the guest that waits for it.
func work(ctx context.Context, bytes int, work func() error) error {
	return schema.InTurn(ctx, bytes, func() error {
		began := time.Now()
		defer func() { sandbox.Work(ctx, time.Since(began)) }()
		return work()
	})
}

// weigh returns about the bytes of messages, as JSON.
func weigh(messages []content.Message) (bytes int) {
	for i := range messages {
		bytes += 32
		for j := range messages[i].Content {
			bytes += 32
			if text := messages[i].Content[j].Text; text != nil {
				bytes += len(*text)
			}
		}
	}
	return bytes
}

// continued remembers how the latest call of next ended, for what a guest can't say:
// an interrupt of an inner tool, and errors that are not public.
type continued struct{ err error }

// run calls the guest. wrapped continues the chain.
func (w *hookCall) run(ctx context.Context, in hookInput, emit func(json.RawMessage) error, wrapped func(ctx context.Context, request []byte) (any, error)) ([]byte, error) {
	in.Config = w.config
	var raw json.RawMessage
	err := work(ctx, in.weight, func() (err error) {
		raw, err = marshal(in)
		return err
	})
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the call of middleware %q: %w", w.guest.name, err)
	}
	var last continued
	next := func(ctx context.Context, request []byte) (json.RawMessage, error) {
		value, err := wrapped(ctx, request)
		if last.err = err; err != nil {
			return nil, err
		}
		var raw json.RawMessage
		err = work(ctx, len(request), func() (err error) { // an answer repeats its request
			raw, err = marshal(value)
			return err
		})
		return raw, err
	}
	res, err := w.guest.call(ctx, sandbox.Call{Export: w.about.Export, Input: raw, Emit: emit, Next: next})
	switch interrupt, interrupted := tool.AsInterrupt(last.err); {
	case interrupted:
		return nil, interrupt
	case err != nil && last.err != nil && (errors.Is(err, abi.ErrSilent) || bytes.Equal(abi.ErrorReply(err), abi.ErrorReply(last.err))):
		return nil, last.err // it passes on what it got; the caller gets all of it
	case err != nil:
		return nil, err
	case res.Interrupted && in.Hook != abi.HookTool:
		return nil, status.Publicf(status.Internal, "middleware %q interrupted a %s hook; only a tool can be interrupted", w.guest.name, in.Hook)
	case res.Interrupted:
		return nil, tool.Interrupt(res.Interrupt)
	}
	return res.Output, nil
}

func (w *hookCall) model(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	_, secrets := model.SplitConfig(call.Request.Config)
	shown := call.Request.WithoutSecrets()
	in := hookInput{Hook: abi.HookModel, Request: shown, weight: weigh(shown.Messages)}
	if call.Model != nil {
		in.Model = call.Model.Desc().Name
	}
	out, err := w.run(ctx, in, sendJSON(call.Send), func(ctx context.Context, raw []byte) (any, error) {
		req := &model.Request{}
		err := work(ctx, len(raw), func() (err error) {
			if err := parse(raw, req); err != nil {
				return err
			}
			if err := w.rules().Request(shown, req); err != nil {
				return err
			}
			req.Config, err = model.JoinConfig(req.Config, secrets) // a guest has no say in them
			return err
		})
		if err != nil {
			return nil, err
		}
		inner := *call
		inner.Request, inner.Send = req, w.inner(call.Send)
		return next(ctx, &inner)
	})
	if err != nil {
		return nil, err
	}
	return w.response(ctx, out)
}

func (w *hookCall) generate(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
	given := call.Options
	_, secrets := model.SplitConfig(given.Config)
	shown, options := *call, given.WithoutSecrets()
	shown.Options = options
	var made []*content.Message // the loop's answers
	out, err := w.run(ctx, hookInput{Hook: abi.HookGenerate, Model: given.Model, Request: &shown, weight: weigh(options.Messages)}, sendJSON(call.Send), func(ctx context.Context, raw []byte) (any, error) {
		asked := &middleware.GenerateCall{}
		err := work(ctx, len(raw), func() (err error) {
			if err := parse(raw, asked); err != nil {
				return err
			}
			if asked.Options == nil {
				return status.Publicf(status.InvalidArgument, "next: want {\"request\": …}, the options of the call")
			}
			if err := w.rules().Options(options, asked.Options); err != nil {
				return err
			}
			asked.Options.Config, err = model.JoinConfig(asked.Options.Config, secrets)
			return err
		})
		if err != nil {
			return nil, err
		}
		asked.Options.Use = given.Use
		inner := *call // MaxTurns and the index are the loop's
		inner.Options, inner.Send = asked.Options, w.inner(call.Send)
		resp, err := next(ctx, &inner)
		if err == nil && resp != nil && resp.Message != nil {
			made = append(made, resp.Message)
		}
		return resp, err
	})
	if err != nil {
		return nil, err
	}
	resp, err := w.response(ctx, out)
	if err != nil {
		return nil, err
	}
	resp.Message = model.AdmitBut(resp.Message, made) // a guest passes interrupts on, and makes no notes of its own
	return resp, nil
}

func (w *hookCall) tool(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
	out, err := w.run(ctx, hookInput{Hook: abi.HookTool, Request: call.Part}, call.Emit, func(ctx context.Context, raw []byte) (any, error) {
		var part content.Part
		if err := work(ctx, len(raw), func() error { return parse(raw, &part) }); err != nil {
			return nil, err
		}
		if part.ToolRequest == nil {
			return nil, status.Publicf(status.InvalidArgument, "next: want a part with a toolRequest")
		}
		inner := *call
		request := *call.Part.ToolRequest // the tool and its request are fixed
		request.Input = part.ToolRequest.Input
		inner.Part.ToolRequest = &request
		if w.about.Chunks != abi.ChunksPass {
			inner.Emit = nil
		}
		return next(ctx, &inner)
	})
	if err != nil {
		return nil, err
	}
	if len(out) == 0 || string(bytes.TrimSpace(out)) == "null" {
		return nil, nil //nolint:nilnil // the hook wants no response
	}
	var part content.Part
	if err := w.read(ctx, out, &part); err != nil {
		return nil, err
	}
	if part.ToolResponse == nil {
		return nil, w.bad("a part without a toolResponse")
	}
	part.ToolResponse.Name, part.ToolResponse.Ref = call.Part.ToolRequest.Name, call.Part.ToolRequest.Ref
	return &part, nil
}

// inner takes the chunks of the wrapped chain.
func (w *hookCall) inner(send model.Send) model.Send {
	if send == nil || w.about.Chunks == abi.ChunksPass {
		return send
	}
	return func(*model.Chunk) error { return nil } // somebody streams: the model may as well
}

// response decodes the output of a generate or model hook.
func (w *hookCall) response(ctx context.Context, out []byte) (*model.Response, error) {
	resp := &model.Response{}
	if err := w.read(ctx, out, resp); err != nil {
		return nil, err
	}
	if m := resp.Message; m != nil && m.Role != content.RoleModel {
		return nil, w.bad("a message of the role " + abi.Line(string(m.Role), 40))
	}
	return resp, nil
}

func (w *hookCall) read(ctx context.Context, out []byte, v any) error {
	return work(ctx, len(out), func() error {
		if err := parse(out, v); err != nil {
			return w.bad(status.Convert(err).Message)
		}
		return nil
	})
}

func (w *hookCall) bad(what string) error {
	w.guest.log.Warn("bad output of a middleware", slog.String("problem", what))
	return status.Publicf(status.Internal, "the output of middleware %q is %s", w.guest.name, what)
}

// sendJSON lets a guest stream.
func sendJSON(send model.Send) func(json.RawMessage) error {
	if send == nil {
		return nil
	}
	return func(raw json.RawMessage) error {
		chunk := &model.Chunk{}
		if err := parse(raw, chunk); err != nil {
			return err
		}
		if chunk.Role != "" && chunk.Role != content.RoleModel && chunk.Role != content.RoleTool {
			return status.Publicf(status.PermissionDenied, "chunk: a module may speak as the model or a tool, not as %q", abi.Line(string(chunk.Role), 40))
		}
		return send(model.AdmitChunk(chunk))
	}
}

// rules are those of the middleware's module.
func (w *hookCall) rules() rules.Rules {
	return rules.Rules{Rewrite: w.guest.services.Grants().Rewrite}
}
