package engine

import (
	"encoding/json"
	"errors"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// GenerateOption is a choice for one call. Options that hold collections add up,
// of the others the last one counts.
type GenerateOption func(*request)

type request struct {
	opts   model.GenerateOptions
	system []content.Part
	prompt []content.Part
	more   []generate.Option
	errs   []error
}

func newRequest(options []GenerateOption) (*request, error) {
	r := &request{}
	for _, o := range options {
		o(r)
	}
	if err := errors.Join(r.errs...); err != nil {
		return nil, err
	}
	messages := make([]content.Message, 0, len(r.opts.Messages)+2)
	if len(r.system) > 0 {
		messages = append(messages, content.Message{Role: content.RoleSystem, Content: r.system})
	}
	messages = append(messages, r.opts.Messages...)
	if len(r.prompt) > 0 {
		messages = append(messages, content.Message{Role: content.RoleUser, Content: r.prompt})
	}
	r.opts.Messages = messages
	return r, nil
}

func (r *request) fail(err error) { r.errs = append(r.errs, err) }

func (r *request) output() *model.OutputOptions {
	if r.opts.Output == nil {
		r.opts.Output = &model.OutputOptions{}
	}
	return r.opts.Output
}

// WithModel names the model.
func WithModel(name string) GenerateOption { return func(r *request) { r.opts.Model = name } }

// WithPrompt sets what the user says last; the text is used as it is.
func WithPrompt(text string) GenerateOption { return WithPromptParts(content.Text(text)) }

// WithPromptParts is [WithPrompt] for media and other parts.
func WithPromptParts(parts ...content.Part) GenerateOption {
	return func(r *request) { r.prompt = parts }
}

// WithSystem sets the system message; the text is used as it is.
func WithSystem(text string) GenerateOption {
	return func(r *request) { r.system = []content.Part{content.Text(text)} }
}

// WithMessages adds messages, which stand between the system message and the
// prompt.
func WithMessages(messages ...content.Message) GenerateOption {
	return func(r *request) { r.opts.Messages = append(r.opts.Messages, messages...) }
}

// WithDocs adds documents for the model to draw on.
func WithDocs(docs ...content.Document) GenerateOption {
	return func(r *request) { r.opts.Docs = append(r.opts.Docs, docs...) }
}

// WithTools offers tools: each is the name or key of a registered one (a string), an
// expression for those of a provider such as "wasm/default:tool/*", or an
// [action.Action] of kind tool or tool.v2, registered or not.
func WithTools(tools ...any) GenerateOption {
	return func(r *request) {
		for _, t := range tools {
			switch t := t.(type) {
			case string:
				r.opts.Tools = append(r.opts.Tools, t)
			case action.Action:
				r.more = append(r.more, generate.WithTools(t))
			default:
				r.fail(status.Publicf(status.InvalidArgument, "WithTools takes names and actions, got %T", t))
			}
		}
	}
}

// WithConfig sets the model's config; it is encoded as JSON.
func WithConfig(config any) GenerateOption {
	return func(r *request) {
		raw, err := rawjson.Encode(config)
		if err != nil {
			r.fail(status.Errorf(status.InvalidArgument, "config: %w", err))
		}
		r.opts.Config = raw
	}
}

// WithMaxTurns bounds how often tools may be executed.
func WithMaxTurns(n int) GenerateOption {
	return func(r *request) { r.opts.MaxTurns = json.Number(strconv.Itoa(n)) }
}

// WithReturnToolRequests ends the call at the first tool request, unexecuted.
func WithReturnToolRequests() GenerateOption {
	return func(r *request) { r.opts.ReturnToolRequests = true }
}

// WithToolChoice says whether the model may or must call tools.
func WithToolChoice(c model.ToolChoice) GenerateOption {
	return func(r *request) { r.opts.ToolChoice = c }
}

// WithOutputFormat names the output format; "json" is the default when a schema
// is given.
func WithOutputFormat(name string) GenerateOption {
	return func(r *request) { r.output().Format = name }
}

// WithOutputSchema asks for output that obeys a JSON Schema.
func WithOutputSchema(raw json.RawMessage) GenerateOption {
	return func(r *request) { r.output().JSONSchema = raw }
}

// WithOutputType asks for output of a Go type.
func WithOutputType[T any]() GenerateOption {
	return func(r *request) {
		raw, err := schema.Infer[T]()
		if err != nil {
			r.fail(status.Errorf(status.InvalidArgument, "output: %w", err))
		}
		r.output().JSONSchema = raw
		if raw == nil {
			r.output().Format = "json"
		}
	}
}

// WithUse adds a registered middleware; config is encoded as JSON, nil for none.
// The first one added is outermost.
func WithUse(name string, config any) GenerateOption {
	return func(r *request) {
		ref, err := middleware.Ref(name, config)
		if err != nil {
			r.fail(err)
		}
		r.opts.Use = append(r.opts.Use, ref)
	}
}

// WithMiddleware is [WithUse] for a middleware that need not be registered.
func WithMiddleware(f middleware.Factory, config any) GenerateOption {
	return func(r *request) {
		WithUse(f.Desc().Name, config)(r)
		r.more = append(r.more, generate.WithMiddleware(f))
	}
}

// WithResume answers the interrupts of the last message.
func WithResume(resume model.Resume) GenerateOption {
	return func(r *request) { r.opts.Resume = &resume }
}
