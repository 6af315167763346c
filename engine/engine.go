// Package engine is the façade: an engine holds the actions that an application can run
// and runs it.
//
// It owns no logic, only the wiring of the packages below it; whatever it returns
// can be had from them one by one. Use:
//
//	eng, err := engine.New(ctx, engine.Config{DefaultModel: "test/scripted", Plugins: builtin.All()})
//	defer eng.Close(ctx)
//	add := engine.DefineTool(eng, "math/add", "Adds two numbers.", func(ctx context.Context, in Pair) (int, error) { return in.A + in.B, nil })
//	text, err := engine.GenerateText(ctx, eng, engine.WithPrompt("What is 1 + 2?"), engine.WithTools(add))
//
// An *Engine is safe for concurrent use; several may live in one process. Its
// Define functions are for start-up: they panic when the name is taken or a schema
// is broken. Register and the packages' own constructors return errors instead.
package engine

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Config configures an engine. Its zero value is useful.
type Config struct {
	// Name identifies the engine to people.
	Name string
	// DefaultModel is the name or key of the model for calls that name none. It
	// is looked up when it is needed.
	DefaultModel string
	// Plugins are added by New, in order; see [registry.Plugin] for what runs when.
	Plugins []registry.Plugin
	// ClientHeader is the text that model plugins add to the header X-Goog-Api-Client, by which
	// their client tells a provider who it is, such as "acme-app/1.2"; see
	// [registry.ClientHeaderOf]. The environment variable GENKIT_CLIENT_HEADER is added
	// behind it, without its control characters.
	ClientHeader string
	// Logger gets warnings; nil drops them.
	Logger *slog.Logger
	// TracerProvider gets the spans; nil leaves them to OpenTelemetry's default.
	TracerProvider telemetry.TracerProvider
	// Meter counts calls of models and tools, such as otlp's; nil counts nothing.
	Meter *telemetry.Meter
	// RecordBodies puts inputs and outputs on the spans, as the Dev UI shows
	// them. They may hold secrets.
	RecordBodies bool
	// FormatsAsAnnotations leaves the keyword format of schemas to what their draft says:
	// of the common drafts only draft 7 refuses by it. Otherwise inputs and outputs of
	// tools, flows and prompts, and outputs that were asked of models, have to be of
	// their formats, as in Genkit JS; see docs/schema.md.
	FormatsAsAnnotations bool
	// Context is Genkit's action context of calls that bring none, such as
	// {"auth": {…}}; it is encoded as JSON once.
	Context map[string]any
	// PromptDir is a directory of prompt files, loaded by New; empty loads none. With
	// GENKIT_ENV=dev its changes are loaded too, until Close.
	PromptDir string
	// GenerateLimits bound the work of one generate request and everything it causes;
	// fields that are 0 take those of [allowance.Defaults].
	GenerateLimits allowance.Limits
	// PromptFS is where PromptDir is looked for; nil is the disk.
	PromptFS fs.FS
}

// Engine holds the actions of an application. Make one with [New].
type Engine struct {
	name    string
	logger  *slog.Logger
	tracer  telemetry.TracerProvider
	meter   *telemetry.Meter
	bodies  bool
	loose   bool // see Config.FormatsAsAnnotations
	context json.RawMessage
	reg     *registry.Registry
	running *running
	prompts *promptFiles // of New, nil when there is nothing to watch
	// observer is shared with the children; see Reflect.
	observer *atomic.Pointer[func(context.Context) context.Context]
}

// New returns an engine with the built-in formats, /util/generate and the actions
// of the plugins. ctx is for the plugins' start only.
func New(ctx context.Context, c Config) (*Engine, error) {
	e := &Engine{
		name: c.Name, logger: c.Logger, tracer: c.TracerProvider, meter: c.Meter, bodies: c.RecordBodies,
		loose: c.FormatsAsAnnotations,
		reg:   registry.New(nil), running: newRunning(nil), observer: &atomic.Pointer[func(context.Context) context.Context]{},
	}
	if e.logger == nil {
		e.logger = slog.New(slog.DiscardHandler)
	}
	if c.Context != nil {
		raw, err := rawjson.Encode(c.Context)
		if err != nil {
			return nil, status.Errorf(status.InvalidArgument, "engine context: %w", err)
		}
		e.context = raw
	}
	if c.DefaultModel != "" {
		e.reg.SetValue(generate.DefaultModelKind, generate.DefaultModelName, c.DefaultModel)
	}
	if c.GenerateLimits != (allowance.Limits{}) {
		e.reg.SetValue(generate.LimitsKind, generate.LimitsName, c.GenerateLimits)
	}
	if err := e.setClientHeader(c.ClientHeader); err != nil {
		return nil, err
	}
	for _, f := range format.Builtins() {
		if err := format.Register(e.reg, f); err != nil {
			return nil, err
		}
	}
	if err := e.reg.Register(e.generateAction()); err != nil {
		return nil, err
	}
	for _, p := range c.Plugins {
		if err := e.reg.AddPlugin(ctx, p); err != nil {
			return nil, err
		}
	}
	if err := e.loadPrompts(c); err != nil {
		return nil, err
	}
	return e, nil
}

// clientHeaderEnv names the variable that adds to Config.ClientHeader.
const clientHeaderEnv = "GENKIT_CLIENT_HEADER"

func (e *Engine) setClientHeader(text string) error {
	if err := e.reg.SetClientHeader(text); err != nil {
		return err
	}
	more := registry.ScrubHeader(os.Getenv(clientHeaderEnv))
	if more == "" {
		return nil
	}
	if err := e.reg.SetClientHeader(strings.TrimSpace(text + " " + more)); err != nil {
		return status.Publicf(status.InvalidArgument, "with the variable %s, %w", clientHeaderEnv, err)
	}
	return nil
}

func (e *Engine) generateAction() action.Action {
	return generate.Action(e.reg, generate.WithLogger(e.logger))
}

// Name returns the name of the Config.
func (e *Engine) Name() string { return e.name }

// Registry returns the registry, for servers and for programs that need more than the
// functions here.
func (e *Engine) Registry() *registry.Registry { return e.reg }

// Child returns an engine with a registry of its own below e's: it sees the actions of e
// and may add others or shadow them, while e and its other children see nothing of
// that. It gives each customer of an application a set of tools of their own. State
// of a plugin of e (a cache, a budget) is shared by all children: register one
// with the child's registry where customers must not share it. A child ends with e,
// or earlier with a Close of its own.
func (e *Engine) Child() *Engine {
	c := *e
	c.reg = registry.New(e.reg)
	c.running = newRunning(e.running)
	c.prompts = nil                   // they are e's
	c.reg.Replace(c.generateAction()) // the child's sees the child's tools
	return &c
}

// Close lets no new call in and waits for those that run, and for turns of agents in the
// background. When ctx ends first they are cancelled and waited for all the same, and ctx's error is returned. Calls
// that go to the registry's actions directly are not counted.
func (e *Engine) Close(ctx context.Context) error {
	e.prompts.close()
	return e.running.close(ctx)
}

// Context returns ctx with the engine's tracer, its choice to record bodies, its client
// header and its action context, for programs that run an action of the registry
// directly.
func (e *Engine) Context(ctx context.Context) context.Context {
	ctx = e.reg.WithClientHeader(ctx)
	if e.tracer != nil {
		ctx = telemetry.WithTracerProvider(ctx, e.tracer)
	}
	ctx = telemetry.WithMeter(ctx, e.meter)
	if e.bodies {
		ctx = telemetry.WithBodies(ctx)
	}
	if e.loose {
		ctx = schema.WithoutFormats(ctx)
	}
	if observe := e.observer.Load(); observe != nil {
		ctx = (*observe)(ctx)
	}
	if e.context != nil && !action.HasContext(ctx) {
		ctx = action.WithContext(ctx, e.context)
	}
	return ctx
}

// Register adds an action; ALREADY_EXISTS when its key is taken here.
func (e *Engine) Register(a action.Action) error { return e.reg.Register(a) }

// AddProvider adds a source of actions that come and go, such as a Wasm host;
// ALREADY_EXISTS when its name is taken here.
func (e *Engine) AddProvider(p registry.Provider) error { return e.reg.AddProvider(p) }

// must is for the Define functions.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

func define[A action.Action](e *Engine, a A, err error) A {
	must(err)
	must(e.reg.Register(a))
	return a
}
