package engine

import (
	"context"
	"encoding/json"
	"reflect"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// definition collects the options of a prompt's definition.
type definition struct {
	request
	cfg prompt.Config
}

// WithDescription sets the description of a prompt.
func WithDescription(text string) PromptOption {
	return defining(func(d *definition) { d.cfg.Description = text })
}

// WithMetadata adds to the metadata of a prompt's actions.
func WithMetadata(metadata content.Metadata) PromptOption {
	return defining(func(d *definition) { d.cfg.Metadata = metadata })
}

// WithActionContext sets the action context of the prompt's executions that bring none;
// it is encoded as JSON.
func WithActionContext(v any) PromptOption {
	return defining(func(d *definition) { d.cfg.Context = d.encode("context", v) })
}

// WithInputType says that a prompt's input is of the Go type of v. The value stands in for
// what an input does not have: its fields that are not zero, or the entries of a map.
func WithInputType(v any) PromptOption {
	return defining(func(d *definition) {
		t := reflect.TypeOf(v)
		if t == nil {
			d.fail(status.Publicf(status.InvalidArgument, "WithInputType needs a value, not nil"))
			return
		}
		raw, err := schema.InferType(t)
		if err != nil {
			d.fail(status.Errorf(status.InvalidArgument, "input: %w", err))
		}
		d.cfg.InputSchema = raw
		d.cfg.InputDefault = d.defaults(v)
	})
}

// defaults is v as a JSON object without the members that a zero value has too; nil when
// none is left.
func (d *definition) defaults(v any) json.RawMessage {
	var given, zero map[string]json.RawMessage
	if json.Unmarshal(d.encode("input", v), &given) != nil {
		return nil // no object has no members to stand in
	}
	if t := reflect.TypeOf(v); t.Kind() == reflect.Struct {
		_ = json.Unmarshal(d.encode("input", reflect.Zero(t).Interface()), &zero)
	}
	for key, value := range zero {
		if string(given[key]) == string(value) {
			delete(given, key)
		}
	}
	if len(given) == 0 {
		return nil
	}
	return d.encode("input", given)
}

// WithInputSchema says that a prompt's input obeys a JSON Schema, or {"$ref":
// "genkit:<name>"} for a registered one.
func WithInputSchema(raw json.RawMessage) PromptOption {
	return defining(func(d *definition) { d.cfg.InputSchema = raw })
}

// WithInputSchemaName is [WithInputSchema] for a schema that was registered by name.
func WithInputSchemaName(name string) PromptOption { return WithInputSchema(generate.SchemaRef(name)) }

// WithPromptFn makes the user's message for each rendering. The result of fn is used as it
// is.
func WithPromptFn(fn func(ctx context.Context, in prompt.Input) ([]content.Part, error)) PromptOption {
	return defining(func(d *definition) { d.cfg.Prompt = prompt.Func(fn) })
}

// WithSystemFn makes the system message for each rendering, as [WithPromptFn] does the
// user's.
func WithSystemFn(fn func(ctx context.Context, in prompt.Input) ([]content.Part, error)) PromptOption {
	return defining(func(d *definition) { d.cfg.System = prompt.Func(fn) })
}

// WithMessagesFn makes the messages between the system message and the prompt for each
// rendering; the history of the call is in its input.
func WithMessagesFn(fn func(ctx context.Context, in prompt.Input) ([]content.Message, error)) PromptOption {
	return defining(func(d *definition) { d.cfg.Messages = prompt.MessagesFunc(fn) })
}

// WithMessagesTemplate is the template of the messages between the system message and the
// prompt; see [prompt.MessagesTemplate].
func WithMessagesTemplate(source string) PromptOption {
	return defining(func(d *definition) { d.cfg.Messages = prompt.MessagesTemplate(source) })
}

// WithDocsFn finds the documents of a prompt for each rendering.
func WithDocsFn(fn func(ctx context.Context, in prompt.Input) ([]content.Document, error)) PromptOption {
	return defining(func(d *definition) { d.cfg.Docs = prompt.DocsFunc(fn) })
}

// WithInput sets the input of an execution; it is encoded as JSON.
func WithInput(input any) PromptExecuteOption {
	return executing(func(r *request) { r.input = input })
}

// promptConfig is the definition as package prompt takes it.
func (d *definition) promptConfig() (prompt.Config, error) {
	c := d.cfg
	if err := d.finish(); err != nil {
		return c, err
	}
	o := &d.opts
	c.Model, c.Config, c.Output, c.ToolChoice, c.MaxTurns, c.Use = o.Model, o.Config, o.Output, o.ToolChoice, o.MaxTurns, o.Use
	c.Tools = append(o.Tools, d.brought...)
	c.ReturnToolRequests = d.returnRequests != nil && *d.returnRequests
	if d.inline > 0 {
		return c, status.Publicf(status.InvalidArgument, "a prompt is run by others too: register its middleware and use it by name (UseName)")
	}
	if d.system.parts != nil {
		c.System = d.system.content()
	}
	if d.prompt.parts != nil {
		c.Prompt = d.prompt.content()
	}
	if o.Messages != nil {
		c.Messages = prompt.MessageList(o.Messages...)
	}
	if o.Docs != nil {
		c.Docs = prompt.DocList(o.Docs...)
	}
	return c, nil
}

func (s said) content() prompt.Content {
	if s.source != nil {
		return prompt.Template(*s.source)
	}
	return prompt.Parts(s.parts...)
}
