// Package prompt makes generate calls out of templates: prompt files in the dotprompt
// format, or the same in Go.
//
// It owns prompt files and how directories of them are loaded and loaded again, the
// partials and helpers that templates share, rendering, the overrides of a
// prompt, and the two actions that each prompt is: /prompt/<name> renders to a model
// request, /executable-prompt/<name> to the options of a generate call. Templates are
// Handlebars, parsed once and rendered by this package's own engine, in which a mark
// such as {{role "system"}} is never text: no input can open a message. Use:
//
//	p, err := prompt.Define(reg, "greet", prompt.Config{Prompt: prompt.Template("Greet {{name}}.")})
//	loaded, err := prompt.LoadDir(reg, "prompts", "")
//	resp, err := p.Execute(ctx, reg, json.RawMessage(`{"name": "Ann"}`), nil, nil)
//
// Everything here is safe for concurrent use. A prompt is immutable but for
// [Prompt.replace], which a reload does in one step: each rendering sees one version.
package prompt

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Config describes a prompt that is defined in Go. All of it may be left out.
type Config struct {
	name, variant string // which together are the actions' name; see Define

	Description string
	// Model is a name or a key; empty means the default model.
	Model string
	// Config is passed to the model: a JSON object, or nothing.
	Config json.RawMessage
	// InputSchema is a JSON Schema, or {"$ref": "genkit:<name>"} for a registered
	// one. Input that breaks it is refused.
	InputSchema json.RawMessage
	// InputDefault is a JSON object whose keys stand in for those that the input
	// does not have.
	InputDefault json.RawMessage

	// System, Messages and Prompt make the messages, in this order. History stands
	// where Messages puts it; without Messages, before Prompt.
	System   Content
	Messages Messages
	Prompt   Content
	Docs     Docs

	Output             *model.OutputOptions
	Tools              []string
	ToolChoice         model.ToolChoice
	MaxTurns           *int
	ReturnToolRequests bool
	Use                []model.MiddlewareRef
	// Metadata is added to the actions' metadata.
	Metadata content.Metadata
	// Context is the action context of calls that bring none: a JSON object.
	Context json.RawMessage
}

// Prompt is a registered prompt. Make one with [Define], load it from files, or bring it
// with [Carry].
type Prompt struct {
	reg        *registry.Registry
	find       func() (*registry.Registry, error) // of a carried prompt: whose partials and tools it uses, in the place of reg
	name       string                             // with the variant
	definition atomic.Pointer[definition]
}

// Define makes a prompt and registers its two actions. The name may hold slashes;
// "<name>.<variant>" is a variant. It fails with INVALID_ARGUMENT
// when the name or a template is broken (a schema's fault is told when the prompt is
// used, since it may name one that is registered later), with ALREADY_EXISTS when
// the name is taken.
func Define(reg *registry.Registry, name string, c Config) (*Prompt, error) {
	if strings.HasSuffix(name, ".") {
		return nil, status.Publicf(status.InvalidArgument, "the prompt's name %q ends in a dot, behind which a variant is missing", name)
	}
	c.name, c.variant = splitVariant(name)
	d, err := newDefinition(c, nil)
	if err != nil {
		return nil, err
	}
	return register(reg, d)
}

func register(reg *registry.Registry, d *definition) (*Prompt, error) {
	p := &Prompt{reg: reg, name: d.key()}
	p.definition.Store(d)
	probe := action.Desc{Kind: action.ExecutablePrompt, Name: p.name}
	if _, err := action.New(probe, nil); err != nil { // the name is checked there
		return nil, err
	}
	if err := reg.Register(&promptAction{p, action.Prompt}); err != nil {
		return nil, err
	}
	if err := reg.Register(&promptAction{p, action.ExecutablePrompt}); err != nil {
		reg.Unregister(action.Key{Kind: action.Prompt, Name: p.name})
		return nil, err
	}
	return p, nil
}

// replace puts another definition in the place of the prompt's, for all renderings
// that begin later.
func (p *Prompt) replace(d *definition) { p.definition.Store(d) }

// remove takes the prompt's actions out of the registry.
func (p *Prompt) remove() {
	p.reg.Unregister(action.Key{Kind: action.Prompt, Name: p.name})
	p.reg.Unregister(action.Key{Kind: action.ExecutablePrompt, Name: p.name})
}

// Name returns the name, and the variant behind a dot where there is one.
func (p *Prompt) Name() string { return p.name }

// Action returns the action /prompt/<name>, which may be offered as a tool.
func (p *Prompt) Action() action.Action { return &promptAction{p, action.Prompt} }

// Context returns ctx with the prompt's own action context, unless ctx has one.
func (p *Prompt) Context(ctx context.Context) context.Context {
	if c := p.definition.Load().cfg.Context; len(c) > 0 && !action.HasContext(ctx) {
		return action.WithContext(ctx, c)
	}
	return ctx
}

// Lookup finds a prompt by its name or key; "<name>.<variant>" is a variant. It fails with
// NOT_FOUND, or with UNIMPLEMENTED for an action of kind prompt that is not of this
// package.
func Lookup(ctx context.Context, reg *registry.Registry, name string) (*Prompt, error) {
	a, err := reg.Resolve(ctx, name, action.Prompt)
	if errors.Is(err, status.ErrNotFound) {
		shown, variant := splitVariant(name)
		if variant != "" {
			shown += " (variant " + variant + ")"
		}
		return nil, status.Publicf(status.NotFound, "Prompt %s not found", shown).WithCause(err)
	}
	if err != nil {
		return nil, err
	}
	own, ok := a.(*promptAction)
	if !ok {
		return nil, status.Publicf(status.Unimplemented, "prompt %q can only be run as an action", name)
	}
	return own.p, nil
}

// Prompts returns the prompts of this package that reg has, by name. Like
// [registry.Registry.List] it returns what it could find beside an error.
func Prompts(ctx context.Context, reg *registry.Registry) ([]*Prompt, error) {
	descs, err := reg.List(ctx)
	errs := []error{err}
	var found []*Prompt
	for _, d := range descs {
		if d.Kind != action.Prompt {
			continue
		}
		a, err := reg.LookupListed(ctx, d.Key())
		if own, ok := a.(*promptAction); ok {
			found = append(found, own.p)
		}
		if !errors.Is(err, status.ErrNotFound) { // else it has gone meanwhile
			errs = append(errs, err)
		}
	}
	slices.SortFunc(found, func(a, b *Prompt) int { return strings.Compare(a.name, b.name) })
	return found, errors.Join(errs...)
}
