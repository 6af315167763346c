// Package fallback asks other models when one fails.
//
// It owns the middleware "fallback". The alternates are tried in order, each through
// the middleware further in and with what its own capabilities need. Use:
//
//	f, err := fallback.New(fallback.Options{})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("fallback", fallback.Config{Models: []fallback.Model{{Name: "local/small"}}}))
//
// It follows Genkit JS (js/plugins/middleware/src/fallback.ts), with these choices:
// an inherited config loses its version, which is the first model's, and its apiKey,
// unless the alternate is of the same provider; chunks are streamed from whichever
// model answers, and once one with content was passed on no other model is asked.
package fallback

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Name is the middleware's name.
const Name = "fallback"

// Config is the config of a generate call.
type Config struct {
	Models        []Model  `json:"models" jsonschema:"minItems=1,maxItems=16" jsonschema_description:"The models to ask, in order, when the first one fails."`
	Statuses      []string `json:"statuses,omitempty" jsonschema:"enum=CANCELLED,enum=UNKNOWN,enum=INVALID_ARGUMENT,enum=DEADLINE_EXCEEDED,enum=NOT_FOUND,enum=ALREADY_EXISTS,enum=PERMISSION_DENIED,enum=RESOURCE_EXHAUSTED,enum=FAILED_PRECONDITION,enum=ABORTED,enum=OUT_OF_RANGE,enum=UNIMPLEMENTED,enum=INTERNAL,enum=UNAVAILABLE,enum=DATA_LOSS,enum=UNAUTHENTICATED" jsonschema_description:"The statuses on which the next model is asked. Default: UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED, INTERNAL, NOT_FOUND and UNIMPLEMENTED."`
	IsolateConfig bool     `json:"isolateConfig,omitempty" jsonschema_description:"Gives the models their own config only; without it those that have none get the request's."`
}

// Model names an alternate.
type Model struct {
	Name    string          `json:"name" jsonschema:"minLength=1" jsonschema_description:"Name or key of the model."`
	Config  json.RawMessage `json:"config,omitempty" jsonschema_description:"The config for this model."`
	Version string          `json:"version,omitempty" jsonschema_description:"Set as version in its config."`
}

// Options are the operator's; the zero value is useful.
type Options struct {
	// OnFallback is told which model is asked next and why. It is called
	// concurrently.
	OnFallback func(ctx context.Context, next string, err error)
}

// Statuses are those on which the next model is asked by default.
func Statuses() []status.Code {
	return []status.Code{
		status.Unavailable, status.DeadlineExceeded, status.ResourceExhausted, status.Aborted, status.Internal,
		status.NotFound, status.Unimplemented,
	}
}

// New makes the factory.
func New(o Options) (middleware.Factory, error) {
	return middleware.Define(middleware.Desc{Name: Name, Description: "Asks other models when a model fails."},
		func(ctx context.Context, c Config) (*middleware.Hooks, error) {
			if len(c.Models) == 0 {
				return nil, status.Publicf(status.InvalidArgument, "middleware %q needs models", Name)
			}
			f := &fallback{Config: c, options: o, reg: middleware.RegistryOf(ctx), codes: Statuses()}
			if c.Statuses != nil {
				f.codes = nil
				for _, name := range c.Statuses {
					code, ok := status.Parse(name)
					if !ok {
						return nil, status.Publicf(status.InvalidArgument, "middleware %q: %q is not a status", Name, name)
					}
					f.codes = append(f.codes, code)
				}
			}
			return &middleware.Hooks{Model: f.call}, nil
		})
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

type fallback struct {
	Config
	options Options
	reg     *registry.Registry
	codes   []status.Code
}

func (f *fallback) call(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	c, sent := middleware.WatchSend(call)
	resp, err := next(ctx, c)
	for _, alternate := range f.Models {
		if err == nil || sent() || ctx.Err() != nil || !f.applies(err) {
			return resp, err
		}
		if f.options.OnFallback != nil {
			f.options.OnFallback(ctx, alternate.Name, err)
		}
		resp, err = f.ask(ctx, alternate, c, next)
	}
	return resp, err
}

// applies reports whether the next model is worth a try: an error without a status
// is a programmer's, which another model won't mend.
func (f *fallback) applies(err error) bool {
	e, classified := errors.AsType[*status.Error](err)
	return classified && !errors.Is(err, middleware.ErrFinal) && slices.Contains(f.codes, e.Code)
}

func (f *fallback) ask(ctx context.Context, alternate Model, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	a, err := f.reg.Resolve(ctx, alternate.Name, action.Model)
	if errors.Is(err, status.ErrNotFound) {
		return nil, status.Publicf(status.NotFound, "fallback model %q not found", alternate.Name).WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	config, err := f.config(alternate, call, a)
	if err != nil {
		return nil, err
	}
	req := *call.Request
	req.Config = config
	return next(ctx, &middleware.ModelCall{Request: &req, Send: call.Send, Model: a})
}

// config returns the config of an alternate: its own, or the part of the request's that it may have.
func (f *fallback) config(alternate Model, call *middleware.ModelCall, a action.Action) (json.RawMessage, error) {
	raw := alternate.Config
	inherited := len(raw) == 0 && !f.IsolateConfig
	if inherited {
		raw = call.Request.Config
		if call.Model == nil || provider(call.Model) != provider(a) {
			raw, _ = model.SplitConfig(raw)
		}
	}
	if !inherited && alternate.Version == "" || len(raw) == 0 && alternate.Version == "" {
		return raw, nil
	}
	fields := map[string]json.RawMessage{}
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &fields); err != nil {
			if alternate.Version == "" {
				return raw, nil // a config that is no object holds neither
			}
			return nil, status.Publicf(status.InvalidArgument, "config of fallback model %q is not an object that could hold its version", alternate.Name)
		}
	}
	if fields == nil {
		fields = map[string]json.RawMessage{}
	}
	if inherited {
		delete(fields, "version")
	}
	if alternate.Version != "" {
		version, err := json.Marshal(alternate.Version)
		if err != nil {
			return nil, status.Errorf(status.Internal, "encode a version: %w", err)
		}
		fields["version"] = version
	}
	if len(fields) == 0 {
		return nil, nil
	}
	out, err := json.Marshal(fields)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode a config: %w", err)
	}
	return out, nil
}

// provider is the first segment of a model's name; a name of one segment is its own.
func provider(a action.Action) string {
	name, _, _ := strings.Cut(a.Desc().Name, "/")
	return name
}
