package wasmhost

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
)

// wasmMiddleware runs one exported function as the hooks of a middleware.
//
// A guest is not trusted with more than it needs. It never sees config.apiKey. It may
// change what is said and how the model is asked, but it can't write system messages,
// offer tools that the caller did not, choose another model or other middleware, resume
// for the caller, or answer a tool request other than the one it was given.
type wasmMiddleware struct {
	guest *guest
	about abi.Middleware
}

// newMiddleware makes the factory that a registry holds.
func newMiddleware(g *guest, about abi.Middleware) (middleware.Factory, error) {
	w := &wasmMiddleware{guest: g, about: about}
	return middleware.New(middleware.Desc{Name: g.name, Description: about.Description, ConfigSchema: about.ConfigSchema}, w.hooks)
}

func (w *wasmMiddleware) hooks(_ context.Context, config json.RawMessage) (*middleware.Hooks, error) {
	if len(config) == 0 {
		config = json.RawMessage("null")
	}
	at := &atWork{wasmMiddleware: w, config: slices.Clone(config)}
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

// atWork is the middleware in one generate call.
type atWork struct {
	*wasmMiddleware
	config json.RawMessage
}

// hookInput is what a hook's function is given.
type hookInput struct {
	Hook    abi.Hook        `json:"hook"`
	Config  json.RawMessage `json:"config"`
	Model   string          `json:"model,omitempty"`
	Request any             `json:"request"`
}

// continued remembers how the latest call of next ended, for what a guest can't say:
// an interrupt of an inner tool, and errors that are not public.
type continued struct{ err error }

// run calls the guest. wrapped continues the chain.
func (w *atWork) run(ctx context.Context, in hookInput, emit func(json.RawMessage) error, wrapped func(ctx context.Context, request []byte) (any, error)) ([]byte, error) {
	in.Config = w.config
	raw, err := marshal(in)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the call of middleware %q: %w", w.guest.name, err)
	}
	var last continued
	next := func(ctx context.Context, request []byte) (json.RawMessage, error) {
		value, err := wrapped(ctx, request)
		if last.err = err; err != nil {
			return nil, err
		}
		return marshal(value)
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

func (w *atWork) model(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	request, key := withoutKey(call.Request.Config)
	shown := *call.Request
	shown.Config = request
	in := hookInput{Hook: abi.HookModel, Request: &shown}
	if call.Model != nil {
		in.Model = call.Model.Desc().Name
	}
	out, err := w.run(ctx, in, sendJSON(call.Send), func(ctx context.Context, raw []byte) (any, error) {
		req := &model.Request{}
		if err := parse(raw, req); err != nil {
			return nil, err
		}
		if err := sameSystem(call.Request.Messages, req.Messages); err != nil {
			return nil, err
		}
		if err := sameTools(call.Request.Tools, req.Tools); err != nil {
			return nil, err
		}
		config, err := withKey(req.Config, key)
		if err != nil {
			return nil, err
		}
		req.Config = config
		inner := *call
		inner.Request, inner.Send = req, w.inner(call.Send)
		return next(ctx, &inner)
	})
	if err != nil {
		return nil, err
	}
	return w.response(out)
}

func (w *atWork) generate(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
	given := call.Options
	config, key := withoutKey(given.Config)
	shown, options := *call, *given
	options.Config = config
	shown.Options = &options
	out, err := w.run(ctx, hookInput{Hook: abi.HookGenerate, Model: given.Model, Request: &shown}, sendJSON(call.Send), func(ctx context.Context, raw []byte) (any, error) {
		asked := &middleware.GenerateCall{}
		if err := parse(raw, asked); err != nil {
			return nil, err
		}
		if asked.Options == nil {
			return nil, status.Publicf(status.InvalidArgument, "next: want {\"request\": …}, the options of the call")
		}
		if err := sameReach(given, asked.Options); err != nil {
			return nil, err
		}
		config, err := withKey(asked.Options.Config, key)
		if err != nil {
			return nil, err
		}
		asked.Options.Config = config
		inner := *call // the turn and the index are the loop's
		inner.Options, inner.Send = asked.Options, w.inner(call.Send)
		return next(ctx, &inner)
	})
	if err != nil {
		return nil, err
	}
	return w.response(out)
}

func (w *atWork) tool(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
	out, err := w.run(ctx, hookInput{Hook: abi.HookTool, Request: call.Part}, call.Emit, func(ctx context.Context, raw []byte) (any, error) {
		var part content.Part
		if err := parse(raw, &part); err != nil {
			return nil, err
		}
		if part.ToolRequest == nil {
			return nil, status.Publicf(status.InvalidArgument, "next: want a part with a toolRequest")
		}
		inner := *call
		request := *call.Part.ToolRequest // which tool, and for which request, is settled
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
	if err := w.read(out, &part); err != nil {
		return nil, err
	}
	if part.ToolResponse == nil {
		return nil, w.bad("a part without a toolResponse")
	}
	part.ToolResponse.Name, part.ToolResponse.Ref = call.Part.ToolRequest.Name, call.Part.ToolRequest.Ref
	return &part, nil
}

// inner is where chunks of what is wrapped go.
func (w *atWork) inner(send model.Send) model.Send {
	if send == nil || w.about.Chunks == abi.ChunksPass {
		return send
	}
	return func(*model.Chunk) error { return nil } // somebody streams: the model may as well
}

// response reads what a generate or model hook gives.
func (w *atWork) response(out []byte) (*model.Response, error) {
	resp := &model.Response{}
	if err := w.read(out, resp); err != nil {
		return nil, err
	}
	if m := resp.Message; m != nil && m.Role != content.RoleModel {
		return nil, w.bad("a message of the role " + abi.Line(string(m.Role), 40))
	}
	return resp, nil
}

func (w *atWork) read(out []byte, v any) error {
	if err := parse(out, v); err != nil {
		return w.bad(status.Convert(err).Message)
	}
	return nil
}

func (w *atWork) bad(what string) error {
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
		if chunk.Role == content.RoleSystem {
			return status.Publicf(status.PermissionDenied, "chunk: a module may not speak as the system")
		}
		return send(chunk)
	}
}
