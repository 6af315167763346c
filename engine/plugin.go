package engine

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// PluginConfig is a plugin as a list of its parts; see [NewPlugin]. Actions of Init,
// Resolve and List are named "<plugin>/<name>".
type PluginConfig struct {
	Name string
	// Middleware, Formats, Schemas and Actions are registered when the plugin is added.
	Middleware []middleware.Factory
	Formats    []format.Format
	Schemas    map[string]json.RawMessage
	Actions    []action.Action
	// Init makes actions when the first of them is needed; see [registry.Initializer].
	Init func(ctx context.Context) ([]action.Action, error)
	// Resolve makes an action that nothing else has; see [registry.ActionResolver].
	Resolve func(ctx context.Context, key action.Key) (action.Action, error)
	// List describes the plugin's actions without starting it; see
	// [registry.ActionLister].
	List func(ctx context.Context) ([]action.Desc, error)
}

// NewPlugin returns a plugin of c. It fails with INVALID_ARGUMENT for one without a name,
// or with a List without Init or Resolve.
func NewPlugin(c PluginConfig) (Plugin, error) {
	if c.Name == "" {
		return nil, status.Publicf(status.InvalidArgument, "a plugin needs a name")
	}
	p := pluginOf{c}
	switch {
	case c.Init == nil && c.Resolve == nil && c.List == nil:
		return p, nil
	case c.Init == nil && c.Resolve == nil:
		return nil, status.Publicf(status.InvalidArgument, "plugin %q lists actions and can't make them: it needs Init or Resolve", c.Name)
	case c.List == nil:
		return startingPlugin{p}, nil
	}
	return listingPlugin{startingPlugin{p}}, nil
}

// pluginOf brings all it has at once; the other two have later phases.
type pluginOf struct{ c PluginConfig }

func (p pluginOf) Name() string { return p.c.Name }

// Register adds all or nothing: what is checked one by one goes into a registry of its
// own first.
func (p pluginOf) Register(_ context.Context, r *registry.Registry) error {
	own := registry.New(nil)
	for _, f := range p.c.Middleware {
		if err := middleware.Register(own, f); err != nil {
			return err
		}
	}
	for _, f := range p.c.Formats {
		if err := format.Register(own, f); err != nil {
			return err
		}
	}
	for name, raw := range p.c.Schemas {
		if err := generate.RegisterSchema(own, name, raw); err != nil {
			return err
		}
	}
	all := registry.Changes{Add: p.c.Actions}
	for _, kind := range []string{middleware.Kind, format.Kind, generate.SchemaKind} {
		for name, v := range own.Values(kind) {
			all.Values = append(all.Values, registry.Value{Kind: kind, Name: name, Value: v})
		}
	}
	return r.Apply(all)
}

type startingPlugin struct{ pluginOf }

var (
	_ registry.Initializer    = startingPlugin{}
	_ registry.ActionResolver = startingPlugin{}
	_ registry.ActionLister   = listingPlugin{}
)

func (p startingPlugin) Init(ctx context.Context) ([]action.Action, error) {
	if p.c.Init == nil {
		return nil, nil
	}
	return p.c.Init(ctx)
}

func (p startingPlugin) ResolveAction(ctx context.Context, key action.Key) (action.Action, error) {
	if p.c.Resolve == nil {
		return nil, status.ErrNotFound
	}
	return p.c.Resolve(ctx, key)
}

type listingPlugin struct{ startingPlugin }

func (p listingPlugin) ListActions(ctx context.Context) ([]action.Desc, error) { return p.c.List(ctx) }

// AddPlugin adds a plugin while the engine runs; see [registry.Registry.AddPlugin].
func (e *Engine) AddPlugin(ctx context.Context, p Plugin) error { return e.reg.AddPlugin(ctx, p) }

// InitPlugins starts the plugins that have not started, for an application that wants to
// know at its own start whether they can.
func (e *Engine) InitPlugins(ctx context.Context) error { return e.reg.InitPlugins(ctx) }

// DefineDynamicActionProvider makes and adds a source of actions that are fetched when
// they are needed: they are named "<provider>:<kind>/<name>". It panics when the name is
// taken or not usable.
func DefineDynamicActionProvider(e *Engine, name string, c registry.DynamicConfig, fetch registry.Fetch) *registry.Dynamic {
	d, err := registry.NewDynamic(name, c, fetch)
	must(err)
	must(e.reg.AddProvider(d))
	return d
}
