package engine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// The kinds of options, as in Genkit Go: to which calls an option applies is known when the
// program compiles. Options that hold collections add up, of the others the last one
// counts.
type (
	// GenerateOption is a choice for one [Generate] call and its kin.
	GenerateOption interface{ applyGenerate(r *request) }
	// PromptOption is a choice that is made when a prompt is defined; see [DefinePrompt].
	PromptOption interface{ applyPrompt(d *definition) }
	// PromptExecuteOption is a choice for one execution of a prompt; it overrides the
	// prompt's own, but for the config, which is merged key by key.
	PromptExecuteOption interface{ applyExecute(r *request) }

	// CommonGenOption applies to generate calls, and to prompts when they are defined
	// and when they are executed.
	CommonGenOption interface {
		GenerateOption
		PromptOption
		PromptExecuteOption
	}
	// OutputOption describes the output that is wanted.
	OutputOption interface{ CommonGenOption }
	// PromptingOption sets messages that are a prompt's own: it applies to generate calls
	// and to prompts when they are defined.
	PromptingOption interface {
		GenerateOption
		PromptOption
	}
	// ExecutionOption applies to generate calls and to executions of prompts.
	ExecutionOption interface {
		GenerateOption
		PromptExecuteOption
	}
	// DocumentOption brings documents: context for a model, or what an embedder, a
	// retriever, an indexer or a reranker works on.
	DocumentOption interface {
		CommonGenOption
		EmbedderOption
		RetrieverOption
		IndexerOption
		RerankerOption
	}
	// ConfigOption applies to everything that has a config.
	ConfigOption interface {
		DocumentOption
		EvaluatorOption
	}
)

// The forms of options that work on a request.
type (
	common    func(r *request)
	prompting func(r *request)
	execution func(r *request)
	defining  func(d *definition)
	executing func(r *request)
)

func (o common) applyGenerate(r *request)     { o(r) }
func (o common) applyPrompt(d *definition)    { o(&d.request) }
func (o common) applyExecute(r *request)      { o(r) }
func (o prompting) applyGenerate(r *request)  { o(r) }
func (o prompting) applyPrompt(d *definition) { o(&d.request) }
func (o execution) applyGenerate(r *request)  { o(r) }
func (o execution) applyExecute(r *request)   { o(r) }
func (o defining) applyPrompt(d *definition)  { o(d) }
func (o executing) applyExecute(r *request)   { o(r) }

// request collects the options of one call.
type request struct {
	opts   model.GenerateOptions
	system said
	prompt said
	config json.RawMessage // of WithConfig, which wins over that of a model reference
	// returnRequests is nil when nothing is said of returning tool requests.
	returnRequests *bool
	input          any // of a prompt
	stream         func(ctx context.Context, chunk *model.Chunk) error
	more           []generate.Option
	brought        []string // keys of the tools among more
	inline         int      // how many middlewares are brought by value
	errs           []error
}

// said is the content of one message: parts, or in a prompt the source of a template.
type said struct {
	parts  []content.Part
	source *string
}

func newRequest(options []GenerateOption) (*request, error) {
	r := &request{}
	for _, o := range options {
		if o == nil {
			return nil, status.Publicf(status.InvalidArgument, "an option is nil")
		}
		o.applyGenerate(r)
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	messages := make([]content.Message, 0, len(r.opts.Messages)+2)
	if len(r.system.parts) > 0 {
		messages = append(messages, content.NewSystemMessage(r.system.parts...))
	}
	messages = append(messages, r.opts.Messages...)
	if len(r.prompt.parts) > 0 {
		messages = append(messages, content.NewUserMessage(r.prompt.parts...))
	}
	r.opts.Messages = messages
	if r.returnRequests != nil {
		r.opts.ReturnToolRequests = *r.returnRequests
	}
	return r, nil
}

// finish merges options that concern the same field.
func (r *request) finish() error {
	if r.config != nil {
		r.opts.Config = mergeObjects(r.opts.Config, r.config)
	}
	return errors.Join(r.errs...)
}

// mergeObjects returns the object under with the keys of over added or replaced; a value that is no object
// replaces the other.
func mergeObjects(under, over json.RawMessage) json.RawMessage {
	var a, b map[string]json.RawMessage
	if json.Unmarshal(under, &a) != nil || json.Unmarshal(over, &b) != nil || a == nil || b == nil {
		return over
	}
	maps.Copy(a, b)
	raw, err := rawjson.Encode(a)
	if err != nil { // both were read a moment ago
		return over
	}
	return raw
}

func (r *request) fail(err error) { r.errs = append(r.errs, err) }

func (r *request) output() *model.OutputOptions {
	if r.opts.Output == nil {
		r.opts.Output = &model.OutputOptions{}
	}
	return r.opts.Output
}

// ModelArg is an argument of [WithModel]: a [Model], registered or not, or a [ModelRef].
type ModelArg interface{ Name() string }

// ModelRef is a model by name, with a config of its own.
type ModelRef struct {
	name   string
	config any
}

// NewModelRef returns a reference. config is encoded as JSON; nil for none.
func NewModelRef(name string, config any) ModelRef { return ModelRef{name, config} }

// Name returns the model's name.
func (m ModelRef) Name() string { return m.name }

// Config returns the reference's config.
func (m ModelRef) Config() any { return m.config }

// WithModel sets the model: one that is registered or not, or a [ModelRef] with a config,
// over which [WithConfig] is laid key by key. A prompt keeps the name of a model only.
func WithModel(m ModelArg) CommonGenOption {
	return common(func(r *request) {
		switch m := m.(type) {
		case nil:
			r.fail(status.Publicf(status.InvalidArgument, "the model given to WithModel is nil"))
		case action.Action:
			r.opts.Model = m.Desc().Key().String()
			r.more = append(r.more, generate.WithModel(m))
		case ModelRef:
			r.opts.Model = m.name
			if m.config != nil {
				r.opts.Config = r.encode("config", m.config)
			}
		default:
			r.opts.Model = m.Name()
		}
	})
}

// WithModelName is [WithModel] for the name or key of a registered model.
func WithModelName(name string) CommonGenOption {
	return common(func(r *request) { r.opts.Model = name })
}

func (r *request) encode(what string, v any) json.RawMessage {
	raw, err := rawjson.Encode(v)
	if err != nil {
		r.fail(status.Errorf(status.InvalidArgument, "%s: %w", what, err))
	}
	return raw
}

// formatted is text with its arguments filled in. Without arguments it is the text as it
// is, percent signs included.
func formatted(text string, args []any) string {
	if len(args) == 0 {
		return text
	}
	return fmt.Sprintf(text, args...)
}

func text(source string, args []any) said {
	source = formatted(source, args)
	return said{parts: []content.Part{content.NewTextPart(source)}, source: &source}
}

// WithPrompt sets the user's last message. The arguments are filled in as by
// [fmt.Sprintf]; without them the text is used as it is. In [DefinePrompt] it is a
// template.
func WithPrompt(source string, args ...any) PromptingOption {
	return prompting(func(r *request) { r.prompt = text(source, args) })
}

// WithPromptParts is [WithPrompt] for media and other parts, which are used as they are.
func WithPromptParts(parts ...content.Part) PromptingOption {
	return prompting(func(r *request) { r.prompt = said{parts: parts} })
}

// WithSystem sets the system message, under the terms of [WithPrompt].
func WithSystem(source string, args ...any) PromptingOption {
	return prompting(func(r *request) { r.system = text(source, args) })
}

// WithSystemParts is [WithSystem] for parts, which are used as they are.
func WithSystemParts(parts ...content.Part) PromptingOption {
	return prompting(func(r *request) { r.system = said{parts: parts} })
}

// WithMessages adds messages, which stand between the system message and the prompt. In
// an execution of a prompt they are the history.
func WithMessages(messages ...content.Message) CommonGenOption {
	return common(func(r *request) { r.opts.Messages = append(r.opts.Messages, messages...) })
}

// WithTools offers tools: each is a [ToolName], for one that is registered, or a [Tool],
// registered or not. A prompt keeps the keys of its tools, which have to be registered
// when it is executed.
func WithTools(tools ...ToolRef) CommonGenOption {
	return common(func(r *request) {
		for _, t := range tools {
			switch {
			case t == nil:
				r.fail(status.Publicf(status.InvalidArgument, "a tool given to WithTools is nil"))
			case tool.Target(t) != nil:
				r.more = append(r.more, generate.WithTools(tool.Target(t)))
				r.brought = append(r.brought, tool.Target(t).Desc().Key().String())
			default:
				r.opts.Tools = append(r.opts.Tools, t.Name())
			}
		}
	})
}

// WithResources brings resources for the resource parts of the messages, looked at
// before all others: each is a [ResourceName], for one that is registered, or a
// [Resource].
func WithResources(resources ...ResourceRef) ExecutionOption {
	return execution(func(r *request) {
		for _, x := range resources {
			switch {
			case x == nil:
				r.fail(status.Publicf(status.InvalidArgument, "a resource given to WithResources is nil"))
			case resource.Target(x) != nil:
				r.more = append(r.more, generate.WithResources(resource.Target(x)))
			default:
				r.opts.Resources = append(r.opts.Resources, x.Name())
			}
		}
	})
}

// WithMaxTurns bounds how often tools may be executed.
func WithMaxTurns(n int) CommonGenOption {
	return common(func(r *request) { r.opts.MaxTurns = &n })
}

// WithReturnToolRequests says whether the call ends at the first tool request,
// unexecuted.
func WithReturnToolRequests(returnRequests bool) CommonGenOption {
	return common(func(r *request) { r.returnRequests = &returnRequests })
}

// WithToolChoice says whether the model may or must call tools.
func WithToolChoice(c model.ToolChoice) CommonGenOption {
	return common(func(r *request) { r.opts.ToolChoice = c })
}

// WithToolResponses answers interrupts of the last message in the tools' place; see
// [tool.Respond].
func WithToolResponses(parts ...content.Part) ExecutionOption {
	return execution(func(r *request) { r.resume().Respond = append(r.resume().Respond, parts...) })
}

// WithToolRestarts runs interrupted tools of the last message again; see [tool.Restart].
func WithToolRestarts(parts ...content.Part) ExecutionOption {
	return execution(func(r *request) { r.resume().Restart = append(r.resume().Restart, parts...) })
}

// WithResumeMetadata notes an object on the message that answers the interrupts; it is
// encoded as JSON.
func WithResumeMetadata(v any) ExecutionOption {
	return execution(func(r *request) { r.resume().Metadata = r.encode("resume metadata", v) })
}

func (r *request) resume() *model.Resume {
	if r.opts.Resume == nil {
		r.opts.Resume = &model.Resume{}
	}
	return r.opts.Resume
}

// WithStepName names the call's span.
func WithStepName(name string) ExecutionOption {
	return execution(func(r *request) { r.opts.StepName = name })
}

// WithStreaming calls fn with each chunk of the answer, one at a time. An error of it ends
// the call. The iterators, such as [GenerateStream], call it before they yield a chunk.
func WithStreaming(fn func(ctx context.Context, chunk *model.Chunk) error) ExecutionOption {
	return execution(func(r *request) { r.stream = fn })
}

// sender passes chunks to the function of [WithStreaming] and then to send; nil when
// nobody streams.
func (r *request) sender(ctx context.Context, send model.Send) model.Send {
	if r.stream == nil {
		return send
	}
	return func(c *model.Chunk) error {
		if err := r.stream(ctx, c); err != nil || send == nil {
			return err
		}
		return send(c)
	}
}

// WithOutputFormat names the output format; "json" is the default when a schema
// is given.
func WithOutputFormat(name string) OutputOption {
	return common(func(r *request) { r.output().Format = name })
}

// WithOutputSchema asks for output that obeys a JSON Schema.
func WithOutputSchema(raw json.RawMessage) OutputOption {
	return common(func(r *request) { r.output().JSONSchema = raw })
}

// WithOutputSchemaName asks for output that obeys a schema that was registered by
// name; a call fails with NOT_FOUND when there is none.
func WithOutputSchemaName(name string) OutputOption {
	return WithOutputSchema(generate.SchemaRef(name))
}

// WithOutputType asks for output of the Go type of v, whose value does not matter.
func WithOutputType(v any) OutputOption { return outputOf(reflect.TypeOf(v)) }

func outputOf(t reflect.Type) common {
	return func(r *request) {
		if t == nil {
			r.output().Format = "json"
			return
		}
		raw, err := schema.InferType(t)
		if err != nil {
			r.fail(status.Errorf(status.InvalidArgument, "output: %w", err))
		}
		r.output().JSONSchema = raw
		if raw == nil {
			r.output().Format = "json"
		}
	}
}

// WithOutputEnums asks for one of the values: the format "enum", with a schema of them.
func WithOutputEnums[T ~string](values ...T) OutputOption {
	return common(func(r *request) {
		r.output().Format = "enum"
		r.output().JSONSchema = r.encode("enum", map[string]any{"type": "string", "enum": values})
	})
}

// WithOutputInstructions describes the wanted output to the model in these words, in
// place of the format's own; "" tells it nothing. As in Genkit Go, the provider is then not
// asked to hold the model to the schema; see [WithCustomConstrainedOutput].
func WithOutputInstructions(instructions string) OutputOption {
	return common(func(r *request) {
		r.output().Constrained = new(false)
		if instructions == "" {
			r.output().Instructions = json.RawMessage("false")
			return
		}
		r.output().Instructions = r.encode("output instructions", instructions)
	})
}

// WithCustomConstrainedOutput has the model told of the schema in words, also where it
// could be held to it by the provider.
func WithCustomConstrainedOutput() OutputOption {
	return common(func(r *request) { r.output().Constrained = new(false) })
}

// WithUse adds middleware. The first one added is outermost. Each is one that the call
// brings along, or the name of a registered one with a config; see [UseName].
func WithUse(use ...Middleware) CommonGenOption {
	return common(func(r *request) {
		for _, m := range use {
			r.use(m)
		}
	})
}

func (r *request) use(m Middleware) {
	if m == nil {
		r.fail(status.Publicf(status.InvalidArgument, "a middleware given to WithUse is nil"))
		return
	}
	if named, ok := m.(middleware.Named); ok {
		ref, err := named.Ref()
		if err != nil {
			r.fail(err)
		}
		r.opts.Use = append(r.opts.Use, ref)
		return
	}
	r.inline++
	f, err := middleware.Inline(fmt.Sprintf("%s#%d", m.Name(), r.inline), m)
	if err != nil {
		r.fail(err)
		return
	}
	r.more = append(r.more, generate.WithMiddleware(f))
	r.opts.Use = append(r.opts.Use, model.MiddlewareRef{Name: f.Desc().Name})
}

// WithMiddleware is [WithUse] for functions that wrap the model's calls alone.
func WithMiddleware(hooks ...middleware.ModelHook) CommonGenOption {
	return common(func(r *request) {
		for _, hook := range hooks {
			r.use(middleware.Func(func(context.Context) (*middleware.Hooks, error) {
				return &middleware.Hooks{Model: hook}, nil
			}))
		}
	})
}

// UseName is the use of a registered middleware, for [WithUse]; config is encoded as
// JSON, nil for none.
func UseName(name string, config any) Middleware { return middleware.NewNamed(name, config) }

// WithConfig sets the config of a model, an embedder, a retriever, an indexer, a reranker
// or an evaluator; it is encoded as JSON.
func WithConfig(config any) ConfigOption { return configOption{config} }

type configOption struct{ config any }

func (o configOption) applyGenerate(r *request)   { r.config = r.encode("config", o.config) }
func (o configOption) applyPrompt(d *definition)  { o.applyGenerate(&d.request) }
func (o configOption) applyExecute(r *request)    { o.applyGenerate(r) }
func (o configOption) applyEmbedder(c *nounCall)  { c.config = o.config }
func (o configOption) applyRetriever(c *nounCall) { c.config = o.config }
func (o configOption) applyIndexer(c *nounCall)   { c.config = o.config }
func (o configOption) applyReranker(c *nounCall)  { c.config = o.config }
func (o configOption) applyEvaluator(c *nounCall) { c.config = o.config }

// WithDocs adds documents: for a model to draw on, to be embedded, indexed or ranked.
// For a retriever it is the query, one document.
func WithDocs(docs ...content.Document) DocumentOption { return docsOption(docs) }

// WithTextDocs is [WithDocs] for documents of one text each.
func WithTextDocs(texts ...string) DocumentOption {
	docs := make(docsOption, len(texts))
	for i, t := range texts {
		docs[i] = content.DocumentFromText(t, nil)
	}
	return docs
}

type docsOption []content.Document

func (o docsOption) applyGenerate(r *request)   { r.opts.Docs = append(r.opts.Docs, o...) }
func (o docsOption) applyPrompt(d *definition)  { o.applyGenerate(&d.request) }
func (o docsOption) applyExecute(r *request)    { o.applyGenerate(r) }
func (o docsOption) applyEmbedder(c *nounCall)  { c.docs = append(c.docs, o...) }
func (o docsOption) applyRetriever(c *nounCall) { c.docs = append(c.docs, o...) }
func (o docsOption) applyIndexer(c *nounCall)   { c.docs = append(c.docs, o...) }
func (o docsOption) applyReranker(c *nounCall)  { c.docs = append(c.docs, o...) }
