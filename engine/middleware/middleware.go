// Package middleware wraps the steps of a generate call: hooks
// that wrap each iteration, each model call and each tool execution, and that
// may contribute tools.
//
// It owns the hooks, the factories that make them fresh for each generate call,
// and the order of the chain: the first in `use` is outermost. Factories are
// registry values of kind [Kind]. Use:
//
//	f, err := middleware.New(middleware.Desc{Name: "acme/loud"}, func(ctx context.Context, _ json.RawMessage) (*middleware.Hooks, error) {
//		return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
//			return next(ctx, call)
//		}}, nil
//	})
//	err = middleware.Register(reg, f)
//
// Hooks of one generate call share its state; the Tool hook is called
// concurrently, the others are not.
package middleware

import (
	"context"
	"encoding/json"
	"runtime/debug"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Kind is the kind of registry value that a [Factory] is.
const Kind = "middleware"

// Hooks is one middleware at work in one generate call. Any field may be nil. A
// hook gets the rest of the chain as next, which it may call with other arguments, more
// than once, or not at all; it must not change its arguments in place.
type Hooks struct {
	// Generate wraps an iteration of the loop: next returns the outcome of this iteration
	// and those after it.
	Generate func(ctx context.Context, call *GenerateCall, next GenerateFunc) (*model.Response, error)
	// Model wraps each call of the model.
	Model func(ctx context.Context, call *ModelCall, next ModelFunc) (*model.Response, error)
	// Tool wraps each execution of a tool, restarts included. A nil part
	// without an error means that the request gets no response. It may return a
	// tool.Interrupt, and must pass on one that next returns.
	Tool func(ctx context.Context, call *ToolCall, next ToolFunc) (*content.Part, error)
	// Tools are offered to the model besides those that the caller named.
	Tools []action.Action
	// Close is called once, when the generate call has ended.
	Close func()
}

// GenerateCall is one iteration. Its JSON is Genkit's envelope {request,
// currentTurn, messageIndex}.
type GenerateCall struct {
	Options      *model.GenerateOptions `json:"request"`
	Turn         int                    `json:"currentTurn"`
	MessageIndex int                    `json:"messageIndex"`
	// Send passes chunks to the caller; nil when nobody streams. A chunk without
	// role or index gets the model's and this iteration's.
	Send model.Send `json:"-"`
}

// ModelCall is one call of the model.
type ModelCall struct {
	Request *model.Request
	Send    model.Send // nil when nobody streams
	// Model is the model that is called; nil when it is not known. A hook that replaces it
	// replaces the model that is called, and the hooks further in wrap that call.
	Model action.Action
}

// ToolCall is one execution of a tool.
type ToolCall struct {
	// Part is the request with its metadata; Part.ToolRequest is not nil.
	Part content.Part
	// Tool is the tool of the request. A hook that replaces it replaces the
	// tool that is run.
	Tool action.Action
	// Emit passes on the tool's chunks; nil when nobody streams.
	Emit action.Emit
}

// The links of a chain.
type (
	// GenerateFunc runs one iteration of the loop and those after it.
	GenerateFunc func(ctx context.Context, call *GenerateCall) (*model.Response, error)
	// ModelFunc calls the model.
	ModelFunc func(ctx context.Context, call *ModelCall) (*model.Response, error)
	// ToolFunc runs one tool.
	ToolFunc func(ctx context.Context, call *ToolCall) (*content.Part, error)
)

// Desc describes a middleware: Genkit's MiddlewareDesc.
type Desc struct {
	Name         string                     `json:"name"`
	Description  string                     `json:"description,omitempty"`
	ConfigSchema json.RawMessage            `json:"configSchema,omitempty"`
	Metadata     map[string]json.RawMessage `json:"metadata,omitempty"`
	// Stored says that the schema was compiled before: it is compiled again when it is
	// first used.
	Stored bool `json:"-"`
}

// Factory gives fresh hooks for each generate call. It is called concurrently.
type Factory interface {
	Desc() Desc
	// New makes hooks. config is nil when the caller gave none. [RegistryOf] gives
	// what the generate call sees.
	New(ctx context.Context, config json.RawMessage) (*Hooks, error)
}

type registryKey struct{}

// WithRegistry lets factories below ctx see reg; [Resolve] does it.
func WithRegistry(ctx context.Context, reg *registry.Registry) context.Context {
	return context.WithValue(ctx, registryKey{}, reg)
}

// RegistryOf returns the registry of the generate call that hooks are made for, its
// own tools and middleware included; an empty one outside of a call.
func RegistryOf(ctx context.Context) *registry.Registry {
	if reg, ok := ctx.Value(registryKey{}).(*registry.Registry); ok && reg != nil {
		return reg
	}
	return registry.New(nil)
}

// NewFunc is the work of a [Factory].
type NewFunc func(ctx context.Context, config json.RawMessage) (*Hooks, error)

type factory struct {
	desc   Desc
	config *schema.Schema
	fn     NewFunc
}

// New makes a factory of fn that validates the config; INVALID_ARGUMENT when the
// name is empty or the config schema is broken.
func New(desc Desc, fn NewFunc) (Factory, error) {
	if desc.Name == "" {
		return nil, status.Publicf(status.InvalidArgument, "a middleware needs a name")
	}
	var options []schema.Option
	if desc.Stored {
		options = append(options, schema.Deferred())
	}
	config, err := schema.Compile(desc.ConfigSchema, options...)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "config schema of middleware %q: %w", desc.Name, err)
	}
	return &factory{desc: desc, config: config, fn: fn}, nil
}

// Define makes a factory whose config is a Go type. The schema follows from the
// type unless desc gives one; a call without config gets the zero value.
func Define[Config any](desc Desc, fn func(ctx context.Context, config Config) (*Hooks, error)) (Factory, error) {
	if desc.ConfigSchema == nil {
		var err error
		if desc.ConfigSchema, err = schema.Infer[Config](); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "config of middleware %q: %w", desc.Name, err)
		}
	}
	return New(desc, func(ctx context.Context, raw json.RawMessage) (*Hooks, error) {
		var config Config // fresh for each call: nobody shares a prototype
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, &config); err != nil {
				return nil, status.Publicf(status.InvalidArgument, "config of middleware %q: %w", desc.Name, err)
			}
		}
		return fn(ctx, config)
	})
}

func (f *factory) Desc() Desc { return f.desc }

func (f *factory) New(ctx context.Context, config json.RawMessage) (hooks *Hooks, err error) {
	if string(config) == "null" {
		config = nil
	}
	if len(config) > 0 {
		if err := f.config.Validate(config); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "config of middleware %q: %w", f.desc.Name, err)
		}
	}
	defer func() {
		if r := recover(); r != nil {
			hooks, err = nil, panicked(f.desc.Name, r)
		}
	}()
	if hooks, err = f.fn(ctx, config); err != nil {
		return nil, err
	}
	if hooks == nil {
		return nil, status.Errorf(status.Internal, "middleware %q made no hooks", f.desc.Name)
	}
	return hooks, nil
}

func panicked(name string, r any) error {
	return status.Errorf(status.Internal, "middleware %q panicked: %v\n%s", name, r, debug.Stack())
}

// Register adds a factory to reg. It fails with ALREADY_EXISTS when the name is
// taken and with INVALID_ARGUMENT when the config schema is broken. A factory that
// was not made by [New] is wrapped so that its config is validated too.
func Register(reg *registry.Registry, f Factory) error {
	checked, err := checked(f)
	if err != nil {
		return err
	}
	return reg.RegisterValue(Kind, checked.desc.Name, checked)
}

func checked(f Factory) (*factory, error) {
	if ours, ok := f.(*factory); ok {
		return ours, nil
	}
	made, err := New(f.Desc(), f.New)
	if err != nil {
		return nil, err
	}
	ours, _ := made.(*factory)
	return ours, nil
}

// Ref returns the reference by which a generate call uses a middleware. config is
// encoded as JSON; nil leaves it out.
func Ref(name string, config any) (model.MiddlewareRef, error) {
	ref := model.MiddlewareRef{Name: name}
	if config == nil {
		return ref, nil
	}
	raw, err := rawjson.Encode(config)
	if err != nil {
		return ref, status.Errorf(status.InvalidArgument, "config of middleware %q: %w", name, err)
	}
	ref.Config = raw
	return ref, nil
}
