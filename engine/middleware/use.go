package middleware

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Middleware is one use of a middleware: a config that makes hooks. It is called for each
// generate call, concurrently. [Of] makes a [Factory] of one, by which others use it by
// name.
type Middleware interface {
	// Name returns its name, which must not depend on the config.
	Name() string
	// New makes hooks. [RegistryOf] returns the registry of the generate call.
	New(ctx context.Context) (*Hooks, error)
}

// Func is a middleware without a name or a config.
type Func func(ctx context.Context) (*Hooks, error)

// Name returns "inline".
func (Func) Name() string { return "inline" }

// New calls the function.
func (f Func) New(ctx context.Context) (*Hooks, error) { return f(ctx) }

// Named is the use of a registered middleware; see [NewNamed].
type Named struct {
	name   string
	config any
}

// NewNamed returns the use of a registered middleware. config is encoded as JSON; nil for
// none.
func NewNamed(name string, config any) Named { return Named{name, config} }

// Name returns the middleware's name.
func (n Named) Name() string { return n.name }

// Ref returns the reference that a generate call's options hold.
func (n Named) Ref() (model.MiddlewareRef, error) { return Ref(n.name, n.config) }

// New makes the hooks of the middleware in [RegistryOf].
func (n Named) New(ctx context.Context) (*Hooks, error) {
	ref, err := n.Ref()
	if err != nil {
		return nil, err
	}
	return instantiate(ctx, RegistryOf(ctx), ref)
}

// Inline returns a factory of m that takes no config.
func Inline(name string, m Middleware) (Factory, error) {
	return New(Desc{Name: name}, func(ctx context.Context, _ json.RawMessage) (*Hooks, error) { return m.New(ctx) })
}

// Of returns a factory whose config is a copy of prototype into which the JSON of the
// call is decoded; its schema follows from the type. Fields of the prototype that are not
// exported, such as a client, are copied too.
func Of[M Middleware](description string, prototype M) (Factory, error) {
	t := reflect.TypeOf(prototype)
	if t == nil || t.Kind() == reflect.Pointer && reflect.ValueOf(prototype).IsNil() {
		return nil, status.Publicf(status.InvalidArgument, "the prototype of a middleware is nil")
	}
	configType := t
	if t.Kind() == reflect.Pointer {
		configType = t.Elem()
	}
	config, err := schema.InferType(configType)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "config of middleware %q: %w", prototype.Name(), err)
	}
	desc := Desc{Name: prototype.Name(), Description: description, ConfigSchema: config}
	return New(desc, func(ctx context.Context, raw json.RawMessage) (*Hooks, error) {
		c := reflect.New(configType)
		c.Elem().Set(reflect.Indirect(reflect.ValueOf(prototype)))
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, c.Interface()); err != nil {
				return nil, status.Publicf(status.InvalidArgument, "config of middleware %q: %w", desc.Name, err)
			}
		}
		if t.Kind() != reflect.Pointer {
			c = c.Elem()
		}
		m, _ := reflect.TypeAssert[M](c) // it is of M's type
		return m.New(ctx)
	})
}

// Lookup finds a registered factory by its name; NOT_FOUND when there is none.
func Lookup(reg *registry.Registry, name string) (Factory, error) { return lookup(reg, name) }
