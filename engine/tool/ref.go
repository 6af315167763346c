package tool

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Ref says which tool is meant: a [Name], or a [Tool] itself. Only this package makes
// references, so that only tools can be offered to a model, which is checked when the program
// compiles.
type Ref interface {
	// Name returns the name of the tool, or the name or expression by which it is
	// found.
	Name() string
	// target returns the tool, nil when only its name is known.
	target() action.Action
}

// Name is a reference to a registered tool: its name or key, or an expression for the
// tools of a provider such as "wasm/default:tool/*".
type Name string

// Name returns the name itself.
func (n Name) Name() string { return string(n) }

func (Name) target() action.Action { return nil }

// Target returns the tool that a reference holds; nil for a [Name].
func Target(r Ref) action.Action { return r.target() }

// Tool is a tool, registered or not. [New] and its kin make one; [From] makes one of an
// action.
type Tool interface {
	action.Action
	Ref
	// Definition returns the tool as a model sees it.
	Definition() model.ToolDefinition
}

// From returns an action of kind tool or tool.v2 as a [Tool]. An action of kind prompt is
// taken too: as a tool, it returns the request that it renders to. Other actions fail
// with INVALID_ARGUMENT.
func From(a action.Action) (Tool, error) {
	if t, ok := a.(Tool); ok {
		return t, nil
	}
	if a == nil {
		return nil, status.Publicf(status.InvalidArgument, "the tool is nil")
	}
	switch key := a.Desc().Key(); key.Kind {
	case action.Tool, action.ToolV2, action.Prompt:
		return erased{a}, nil
	default:
		return nil, status.Publicf(status.InvalidArgument, "action %q is not a tool", key)
	}
}

// erased is a tool whose Go types are not known.
type erased struct{ action.Action }

func (t erased) Name() string                     { return t.Desc().Name }
func (t erased) Definition() model.ToolDefinition { return Definition(t.Action) }
func (t erased) target() action.Action            { return t.Action }

// Def is a tool with Go types at its edge. Its zero value is not usable; see [New].
type Def[In, Out any] struct {
	*action.Def[In, Out, json.RawMessage]
}

var _ Tool = (*Def[int, int])(nil)

// Definition returns the tool as a model sees it.
func (d *Def[In, Out]) Definition() model.ToolDefinition { return Definition(d) }

func (d *Def[In, Out]) target() action.Action { return d }

// RespondWith is [Respond] for an interrupt of this tool, whose schema the output obeys.
func (d *Def[In, Out]) RespondWith(part content.Part, output Out, options ...AnswerOption) (content.Part, error) {
	return Respond(part, output, append([]AnswerOption{WithTool(d)}, options...)...)
}

// RestartWith is [Restart] for an interrupt of this tool, whose input schema a new input
// obeys.
func (d *Def[In, Out]) RestartWith(part content.Part, options ...AnswerOption) (content.Part, error) {
	return Restart(part, append([]AnswerOption{WithTool(d)}, options...)...)
}
