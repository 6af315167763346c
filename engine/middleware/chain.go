package middleware

import (
	"context"
	"errors"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Chain is the middleware of one generate call, outermost first. The nil *Chain
// is empty.
type Chain struct {
	links []link
}

type link struct {
	name  string
	hooks *Hooks
}

// Resolve makes the chain of refs from the factories in reg. An unknown name is
// NOT_FOUND, a config that breaks its schema INVALID_ARGUMENT. The caller must
// Close the chain.
func Resolve(ctx context.Context, reg *registry.Registry, refs []model.MiddlewareRef) (*Chain, error) {
	c := &Chain{}
	ctx = WithRegistry(ctx, reg)
	for _, ref := range refs {
		if err := ctx.Err(); err != nil { // making hooks may be work
			c.Close()
			return nil, status.Convert(err)
		}
		hooks, err := instantiate(ctx, reg, ref)
		if err != nil {
			c.Close()
			return nil, err
		}
		c.links = append(c.links, link{name: ref.Name, hooks: hooks})
	}
	return c, nil
}

// goPrefix is the prefix that Genkit Go writes before the names of the shipped middleware;
// without it they are Genkit JS's.
const goPrefix = "genkit-middleware/"

func instantiate(ctx context.Context, reg *registry.Registry, ref model.MiddlewareRef) (*Hooks, error) {
	f, err := lookup(reg, ref.Name)
	if err != nil {
		return nil, err
	}
	return f.New(ctx, ref.Config)
}

func lookup(reg *registry.Registry, name string) (*factory, error) {
	value, err := reg.ResolveValue(Kind, name)
	if short, shipped := strings.CutPrefix(name, goPrefix); shipped && errors.Is(err, status.ErrNotFound) {
		value, err = reg.ResolveValue(Kind, short)
	}
	if errors.Is(err, status.ErrNotFound) {
		return nil, status.Publicf(status.NotFound, "Middleware %s not found in registry.", name)
	}
	if err != nil {
		return nil, err
	}
	f, ok := value.(Factory)
	if !ok {
		return nil, status.Errorf(status.Internal, "value %q of kind %s is a %T, not a factory", name, Kind, value)
	}
	return checked(f)
}

// Close ends the hooks. Panics there are swallowed: the call's result stands.
func (c *Chain) Close() {
	if c == nil {
		return
	}
	for _, l := range c.links {
		if l.hooks.Close == nil {
			continue
		}
		func() {
			defer func() { _ = recover() }()
			l.hooks.Close()
		}()
	}
}

// Tools returns the tools that the middleware contributes, in order.
func (c *Chain) Tools() []action.Action {
	if c == nil {
		return nil
	}
	var tools []action.Action
	for _, l := range c.links {
		tools = append(tools, l.hooks.Tools...)
	}
	return tools
}

// Generate runs an iteration through the hooks and ends in last.
func (c *Chain) Generate(ctx context.Context, call *GenerateCall, last GenerateFunc) (*model.Response, error) {
	next := last
	for i := c.last(); i >= 0; i-- {
		if l, inner := c.links[i], next; l.hooks.Generate != nil {
			next = func(ctx context.Context, call *GenerateCall) (*model.Response, error) {
				return guard(l.name, func() (*model.Response, error) { return l.hooks.Generate(ctx, call, inner) })
			}
		}
	}
	return next(ctx, call)
}

// Model runs a call of call.Model through the hooks. It ends in [Serve] for the model
// of the call, which the hooks may have replaced, and in last when there is none or
// it is a background model.
func (c *Chain) Model(ctx context.Context, call *ModelCall, last ModelFunc) (*model.Response, error) {
	var target action.Action
	if call != nil {
		target = call.Model
	}
	next := func(ctx context.Context, call *ModelCall) (*model.Response, error) {
		call = withModel(call, target)
		if call == nil || call.Model == nil {
			return last(ctx, call)
		}
		if key := call.Model.Desc().Key(); key.Kind == action.BackgroundModel {
			if target == nil || target.Desc().Key() != key {
				return nil, status.Publicf(status.Unimplemented, "a middleware can't replace the model by the background model %q", key.Name)
			}
			return last(ctx, call)
		}
		return Serve(ctx, call.Model, call.Request, call.Send)
	}
	for i := c.last(); i >= 0; i-- {
		if l, inner := c.links[i], next; l.hooks.Model != nil {
			next = func(ctx context.Context, call *ModelCall) (*model.Response, error) {
				call = withModel(call, target)
				return guard(l.name, func() (*model.Response, error) { return l.hooks.Model(ctx, call, same(call, inner)) })
			}
		}
	}
	return next(ctx, call)
}

// same lets a hook that makes the call anew call the model that it was called for.
func same(call *ModelCall, next ModelFunc) ModelFunc {
	if call == nil || call.Model == nil {
		return next
	}
	return func(ctx context.Context, c *ModelCall) (*model.Response, error) {
		return next(ctx, withModel(c, call.Model))
	}
}

// withModel gives a call that a hook made anew the model it is for.
func withModel(call *ModelCall, target action.Action) *ModelCall {
	if call == nil || call.Model != nil || target == nil {
		return call
	}
	c := *call
	c.Model = target
	return &c
}

// Tool runs a tool execution through the hooks and ends in last. The part it
// returns is nil when a hook wants no response.
func (c *Chain) Tool(ctx context.Context, call *ToolCall, last ToolFunc) (*content.Part, error) {
	next := last
	for i := c.last(); i >= 0; i-- {
		if l, inner := c.links[i], next; l.hooks.Tool != nil {
			next = func(ctx context.Context, call *ToolCall) (part *content.Part, err error) {
				defer func() {
					if r := recover(); r != nil {
						part, err = nil, panicked(l.name, r)
					}
				}()
				return l.hooks.Tool(ctx, call, inner)
			}
		}
	}
	return next(ctx, call)
}

func (c *Chain) last() int {
	if c == nil {
		return -1
	}
	return len(c.links) - 1
}

// guard turns a hook's panic, and its silence, into an error.
func guard(name string, hook func() (*model.Response, error)) (resp *model.Response, err error) {
	defer func() {
		if r := recover(); r != nil {
			resp, err = nil, panicked(name, r)
		}
	}()
	resp, err = hook()
	if err == nil && resp == nil {
		return nil, status.Errorf(status.Internal, "middleware %q returned nothing", name)
	}
	return resp, err
}
