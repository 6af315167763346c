// Package codemode lets a model write code that calls tools, in the place of calling them one by one.
//
// It owns the middleware "codeMode" and its tool run_code. The model is shown one tool whose description has the TypeScript
// types of the caller's tools; the code runs in a sandbox that reaches nothing else. Use:
//
//	f, err := codemode.New(codemode.Options{Key: key})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("codeMode", codemode.Config{}))
//
// What runs the code is the registry's value "javascript" of the kind "interpreter", which wasmhost provides; see
// [Interpreter]. Each call of a tool goes through the middleware behind this one, counts as a run of a tool, and has a
// span. Calls that are made before the code waits run at the same time.
//
// A tool that interrupts ends the run. The interrupt of run_code says which calls are pending, and holds a sealed log of those
// that have run; when the caller restarts it, the code runs again, gets the logged results, and goes on from there.
package codemode

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Name is the middleware's name, ToolName that of the tool.
const (
	Name     = "codeMode"
	ToolName = "run_code"
)

// Limits of one run.
const (
	MaxCodeBytes = 64 << 10
	MaxCalls     = 256       // of tools
	MaxTogether  = 16        // calls that run at the same time
	MaxLogBytes  = 512 << 10 // of what a run may log to be continued, as JSON
)

// Config is the config of a generate call.
type Config struct {
	Only   []string `json:"only,omitempty" jsonschema_description:"The tools that code calls, by the names that the model is shown, or full names. Others stay as they are. All, when it is left out."`
	Beside bool     `json:"beside,omitempty" jsonschema_description:"Keeps the tools beside run_code, so that the model may call them directly, too."`
}

// Options are the operator's.
type Options struct {
	// Key seals the logs of interrupted runs. Who knows it can make up results of tools. Empty for a random one, with
	// which only this factory continues what it interrupted.
	Key []byte
}

// Interpreter runs code. It is safe for concurrent use.
type Interpreter interface {
	// Run evaluates {"code", "tools", "seed"} and returns {"result"?, "error"?, "console"}, with the result as the text of its
	// JSON. Calls of tools come through next, as {"calls": [{"tool", "input"}]} with inputs as the text of their JSON;
	// it answers {"outcomes": [{"output"} or {"error": {"code", "message"}}]}.
	Run(ctx context.Context, request json.RawMessage, next func(context.Context, json.RawMessage) (json.RawMessage, error)) (json.RawMessage, error)
	// Scope names whose code this runs. A log continues in the scope in which it began alone.
	Scope() (string, error)
}

// The value of a registry that is the interpreter.
const (
	interpreterKind = "interpreter"
	interpreterName = "javascript"
)

// New makes the factory.
func New(o Options) (middleware.Factory, error) {
	s, err := newSealer(o.Key)
	if err != nil {
		return nil, err
	}
	return middleware.Define(middleware.Desc{Name: Name, Description: "Shows the model one tool that runs code, which calls the others."},
		func(ctx context.Context, c Config) (*middleware.Hooks, error) { return hooks(ctx, c, s) })
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

// mode is the middleware at work in one generate call.
type mode struct {
	config Config
	reg    *registry.Registry
	runs   Interpreter
	scope  string
	sealer *sealer
	tool   tool.Tool

	mu      sync.Mutex // guards the fields below
	tools   toolset    // of the latest request
	pending map[string]string
}

func hooks(ctx context.Context, c Config, s *sealer) (*middleware.Hooks, error) {
	m := &mode{config: c, reg: middleware.RegistryOf(ctx), sealer: s, pending: map[string]string{}}
	value, err := m.reg.ResolveValue(interpreterKind, interpreterName)
	if err != nil && !errors.Is(err, status.ErrNotFound) {
		return nil, err
	}
	var ok bool
	if m.runs, ok = value.(Interpreter); !ok {
		return nil, status.Publicf(status.FailedPrecondition, "middleware %q needs an interpreter of JavaScript, and there is none; \"make build\" puts one into the server, and --engine adds one", Name)
	}
	if m.scope, err = m.runs.Scope(); err != nil {
		return nil, err
	}
	if m.tool, err = tool.NewRaw(ToolName, description, inputSchema, nil, m.run); err != nil {
		return nil, err
	}
	return &middleware.Hooks{Generate: m.generate, Model: m.model, Tool: m.call, Tools: []action.Action{m.tool}}, nil
}

var inputSchema = json.RawMessage(`{"type":"object","properties":{"code":{"type":"string","description":"The body of an async JavaScript function."}},"required":["code"],"additionalProperties":false}`)

const description = `Runs JavaScript that calls tools. "code" is the body of an async function: use await, and return the result, which must be JSON. ` +
	`Each tool is a function of the object tools: await tools.name(input). Call tools that do not depend on each other together, with Promise.all. ` +
	`Do loops, filters and sums in the code, and return only what you need. A tool that fails throws an Error with "code" and "message". ` +
	`console.log is shown to you. There is no network, no file and no clock, and nothing is kept between two runs. ` +
	`Write plain JavaScript, without type annotations. The types of the tools:`

// model shows the model run_code in the place of the tools that code may call.
func (m *mode) model(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	tools, rest, own := m.split(ctx, call.Request.Tools)
	m.mu.Lock()
	m.tools = tools
	m.mu.Unlock()
	req := *call.Request
	switch {
	case own == nil: // a middleware around this one has left it out
		return next(ctx, call)
	case len(tools) == 0:
		req.Tools = rest
	default:
		shown := *own
		shown.Description = description + "\n\n" + tools.types()
		req.Tools = append(rest, shown)
		if m.config.Beside {
			req.Tools = append(slices.DeleteFunc(slices.Clone(call.Request.Tools), func(d model.ToolDefinition) bool { return d.Name == ToolName }), shown)
		}
	}
	inner := *call
	inner.Request = &req
	return next(ctx, &inner)
}

// split tells the tools that code may call from the rest, and from run_code. Tools that no registry has, which other middleware
// brings, stay as they are.
func (m *mode) split(ctx context.Context, all []model.ToolDefinition) (tools toolset, rest []model.ToolDefinition, own *model.ToolDefinition) {
	m.mu.Lock()
	known := m.tools
	m.mu.Unlock()
	for i := range all {
		if all[i].Name == ToolName {
			own = &all[i]
			continue
		}
		if !m.wanted(&all[i]) {
			rest = append(rest, all[i])
			continue
		}
		ref := reference(&all[i])
		a := known.at(ref)
		if a == nil {
			a = find(ctx, m.reg, ref)
		}
		if a == nil {
			rest = append(rest, all[i])
			continue
		}
		tools = append(tools, entry{definition: all[i], key: ref, action: a})
	}
	return tools, rest, own
}

func (m *mode) wanted(d *model.ToolDefinition) bool {
	if len(m.config.Only) == 0 {
		return true
	}
	return slices.ContainsFunc(m.config.Only, func(name string) bool {
		_, short, _ := strings.Cut(reference(d), "/tool/")
		return name == d.Name || name == d.Key || name == short
	})
}

// reference is what the registry knows a tool by.
func reference(d *model.ToolDefinition) string {
	if d.Key != "" {
		return d.Key
	}
	return d.Name
}

// find returns the tool of a reference; nil where the registry has none, or several.
func find(ctx context.Context, reg *registry.Registry, ref string) action.Action {
	kinds := []action.Kind{action.Tool, action.ToolV2}
	if a, err := reg.Resolve(ctx, ref, kinds...); err == nil {
		return action.Plain(a)
	}
	if list, found, err := reg.Expand(ctx, ref, kinds...); found && err == nil && len(list) == 1 {
		return action.Plain(list[0].Action)
	}
	return nil
}

// call runs run_code, and passes on other tools. The middleware behind this one sees the calls that the code makes, not the
// run itself.
func (m *mode) call(ctx context.Context, call *middleware.ToolCall, next middleware.ToolFunc) (*content.Part, error) {
	request := call.Part.ToolRequest
	if call.Tool != action.Action(m.tool) {
		return next(ctx, call)
	}
	r := &run{mode: m, ref: request.Ref, next: next, resumed: call.Part.Metadata["resumed"]}
	if !call.Part.Metadata.Truthy("resumed") {
		r.resumed = nil
	}
	output, err := m.tool.RunJSON(context.WithValue(ctx, runKey{}, r), request.Input, nil)
	if err != nil {
		return nil, err
	}
	return &content.Part{ToolResponse: &content.ToolResponse{Name: request.Name, Ref: request.Ref, Output: output}}, nil
}

type runKey struct{}

// generate finds the logs of runs that the caller continues. A run that interrupts again becomes an answer that asks, like the
// first one.
func (m *mode) generate(ctx context.Context, call *middleware.GenerateCall, next middleware.GenerateFunc) (*model.Response, error) {
	messages := call.Options.Messages
	if call.Options.Resume == nil || len(messages) == 0 {
		return next(ctx, call)
	}
	last := messages[len(messages)-1]
	m.mu.Lock()
	for _, part := range last.ToolRequests() {
		if part.ToolRequest.Name == ToolName {
			m.pending[part.ToolRequest.Ref] = logOf(part.Metadata["interrupt"])
		}
	}
	m.mu.Unlock()
	resp, err := next(ctx, call)
	if err == nil {
		return resp, nil
	}
	var details struct {
		Message *content.Message `json:"message"`
	}
	if e := status.Convert(err); e.Code != status.FailedPrecondition || json.Unmarshal(e.Details, &details) != nil || !m.asks(details.Message) {
		return nil, err
	}
	return &model.Response{
		Message: details.Message, FinishReason: model.FinishInterrupted, FinishMessage: "The code needs another answer.",
		Usage: &model.Usage{}, Custom: json.RawMessage("{}"), Request: (&model.Request{Messages: slices.Clone(messages[:len(messages)-1]), Config: call.Options.Config}).WithoutSecrets(),
	}, nil
}

// asks reports whether a message has a run of code that is interrupted.
func (m *mode) asks(message *content.Message) bool {
	return message != nil && slices.ContainsFunc(message.ToolRequests(), func(p content.Part) bool {
		return p.ToolRequest.Name == ToolName && logOf(p.Metadata["interrupt"]) != ""
	})
}

// logOf is the sealed log in the metadata of an interrupt.
func logOf(interrupt json.RawMessage) string {
	var of struct {
		Code struct {
			Log string `json:"log"`
		} `json:"codeMode"`
	}
	_ = json.Unmarshal(interrupt, &of) // it may be anybody's
	return of.Code.Log
}
