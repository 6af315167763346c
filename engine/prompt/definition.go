package prompt

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"runtime/debug"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/handlebars"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// definition is one version of a prompt: parsed, and resolved when it is first used.
// It is not changed once it is made, but for that.
type definition struct {
	cfg      Config
	file     *File // where it was read from, nil for one made in Go
	broken   error // the error in the file, for a prompt that can't be used
	system   *compiled
	messages *handlebars.Template
	prompt   *compiled
	defaults *value.Object

	done atomic.Pointer[resolved]
}

// compiled is content whose template is parsed.
type compiled struct {
	content  Content
	template *handlebars.Template
}

// resolved holds the models, tools and schemas that the names of a definition resolve to.
type resolved struct {
	input  *schema.Schema
	output *model.OutputOptions
	desc   action.Desc // of the kind prompt
}

// newDefinition parses the templates of c; file is where it was read from, or nil.
func newDefinition(c Config, file *File) (*definition, error) {
	d := &definition{cfg: c, file: file}
	if slices.Contains(strings.Split(c.name, "/"), "") || strings.Contains(c.variant, "/") {
		return nil, status.Publicf(status.InvalidArgument, "a prompt's name wants text around its slashes, its variant no slash: %q, %q", c.name, c.variant)
	}
	var err error
	if d.system, err = d.compile("system", c.System); err != nil {
		return nil, err
	}
	if d.prompt, err = d.compile("prompt", c.Prompt); err != nil {
		return nil, err
	}
	if c.Messages.template != nil {
		if d.messages, err = d.parse("messages", *c.Messages.template); err != nil {
			return nil, err
		}
	}
	if d.defaults, err = object("the default input", c.InputDefault); err != nil {
		return nil, err
	}
	if _, err = object("the config", c.Config); err != nil {
		return nil, err
	}
	_, err = object("the context", c.Context)
	return d, err
}

func (d *definition) compile(what string, c Content) (*compiled, error) {
	if c.template == nil && c.parts == nil && c.fn == nil {
		return nil, nil
	}
	own := &compiled{content: c}
	if c.template == nil {
		return own, nil
	}
	var err error
	own.template, err = d.parse(what, *c.template)
	return own, err
}

func (d *definition) parse(what, source string) (*handlebars.Template, error) {
	t, err := handlebars.Parse(source)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "prompt %q: %w", d.key(), d.explain(what, err))
	}
	return t, nil
}

// object reads a JSON object; nothing and null are none.
func object(what string, raw json.RawMessage) (*value.Object, error) {
	if len(raw) == 0 {
		return nil, nil
	}
	v, err := value.Decode(raw)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "%s: %w", what, err)
	}
	if v == nil {
		return nil, nil
	}
	o, ok := v.(*value.Object)
	if !ok {
		return nil, status.Publicf(status.InvalidArgument, "%s is no JSON object", what)
	}
	return o, nil
}

// key is the name with the variant.
func (d *definition) key() string {
	if d.cfg.variant == "" {
		return d.cfg.name
	}
	return d.cfg.name + "." + d.cfg.variant
}

// explained is an error with the place of a file or a template in front.
type explained struct {
	place string
	err   error
}

func (e *explained) Error() string { return e.place + ": " + e.err.Error() }
func (e *explained) Unwrap() error { return e.err }

// explain puts the file and the line in front of an error of a template.
func (d *definition) explain(what string, err error) error {
	t, ok := errors.AsType[*handlebars.Error](err)
	switch {
	case !ok || t.Partial != "":
		return err
	case d.file != nil:
		return &explained{fmt.Sprintf("%s:%d", d.file.Path, d.file.body.BodyLine+t.Line-1), t.Err}
	}
	return &explained{fmt.Sprintf("%s template, line %d", what, t.Line), t.Err}
}

// head is the value of {{@metadata.prompt}}: a file's front matter without the input.
func (d *definition) head() *value.Object {
	if d.file != nil {
		return d.file.metadata(nil)
	}
	return &value.Object{}
}

// resolve finds the schemas that the prompt names, compiles them and describes the
// actions. A success is cached (two first callers may both do the work); a failure is
// not, since a schema may be registered later.
func (d *definition) resolve(reg *registry.Registry) (*resolved, error) {
	if r := d.done.Load(); r != nil {
		return r, nil
	}
	if d.broken != nil {
		return nil, d.broken
	}
	in, output, err := d.schemas(reg)
	if err != nil {
		return nil, err
	}
	r := &resolved{output: output}
	if r.input, err = schema.Compile(in, schema.AssertFormats()); err != nil {
		return nil, d.fault("input", "input schema", err)
	}
	if output != nil && len(output.JSONSchema) > 0 {
		if _, err := schema.Compile(output.JSONSchema); err != nil {
			return nil, d.fault("output", "output schema", err)
		}
	}
	r.desc = d.describe(in, output)
	d.done.Store(r)
	return r, nil
}

// fault reports a schema that is broken.
func (d *definition) fault(key, what string, err error) error {
	if d.file != nil {
		err = &explained{fmt.Sprintf("%s:%d", d.file.Path, d.file.head.Line(key, "schema")), err}
	}
	return status.Publicf(status.InvalidArgument, "prompt %q: %s: %w", d.key(), what, err)
}

// schemas returns the schema of the input and the wanted output, named ones looked up.
func (d *definition) schemas(reg *registry.Registry) (json.RawMessage, *model.OutputOptions, error) {
	if d.file != nil {
		return d.file.schemas(reg, d.cfg.Output)
	}
	in, err := generate.ResolveSchema(reg, d.cfg.InputSchema)
	if err != nil || d.cfg.Output == nil {
		return in, nil, err
	}
	out := *d.cfg.Output
	out.JSONSchema, err = generate.ResolveSchema(reg, out.JSONSchema)
	return in, &out, err
}

// describe makes the descriptor of both actions, but for the kind.
func (d *definition) describe(in json.RawMessage, output *model.OutputOptions) action.Desc {
	var m *value.Object
	if d.file != nil {
		m = d.file.metadata(output)
		m.Set("template", d.file.body.Body)
	} else {
		m = &value.Object{}
		if given, err := object("", d.cfg.Metadata["prompt"]); err == nil && given != nil {
			m = given.Merge(nil)
		}
		setRaw(m, "config", d.cfg.Config)
	}
	input := value.NewObject(2)
	setRaw(input, "schema", in)
	if d.defaults != nil {
		input.Set("default", d.defaults)
	}
	m.Set("input", input)
	m.Set("name", d.cfg.name)
	if d.cfg.Model != "" {
		m.Set("model", d.cfg.Model)
	}
	tools := []any{}
	for _, t := range d.cfg.Tools {
		tools = append(tools, t)
	}
	m.Set("tools", tools)
	if d.cfg.ToolChoice != "" {
		m.Set("toolChoice", string(d.cfg.ToolChoice))
	}
	m.Set("use", d.use())
	if d.cfg.variant != "" {
		m.Set("variant", d.cfg.variant)
	}
	metadata := maps.Clone(map[string]json.RawMessage(d.cfg.Metadata))
	if metadata == nil {
		metadata = map[string]json.RawMessage{}
	}
	metadata["type"] = json.RawMessage(`"prompt"`)
	metadata["prompt"] = model.HideSecrets(value.Encode(m)) // the list of actions is for everybody
	return action.Desc{Kind: action.Prompt, Name: d.key(), Description: d.cfg.Description, InputSchema: in, Metadata: metadata}
}

// use is the prompt's middleware as metadata shows it.
func (d *definition) use() []any {
	list := []any{}
	for _, ref := range d.cfg.Use {
		if raw, err := rawjson.Encode(ref); err == nil {
			if v, err := value.Decode(raw); err == nil {
				list = append(list, v)
			}
		}
	}
	return list
}

// setRaw sets a key to JSON that was checked before.
func setRaw(o *value.Object, key string, raw json.RawMessage) {
	if len(raw) == 0 {
		return
	}
	if v, err := value.Decode(raw); err == nil {
		o.Set(key, v)
	}
}

// undescribed is the descriptor of a prompt that can't be resolved (yet).
func (d *definition) undescribed() action.Desc {
	return action.Desc{
		Name: d.key(), Description: d.cfg.Description,
		Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"prompt"`), "prompt": nameOnly(d.cfg)},
	}
}

func nameOnly(c Config) json.RawMessage {
	o := value.NewObject(2)
	o.Set("name", c.name)
	if c.variant != "" {
		o.Set("variant", c.variant)
	}
	return value.Encode(o)
}

// options returns the prompt's own options, without messages: a copy, so that what is
// done to it does not stick to the prompt.
func (d *definition) options(r *resolved) *model.GenerateOptions {
	o := &model.GenerateOptions{
		Model: d.cfg.Model, Config: slices.Clone(d.cfg.Config), Tools: slices.Clone(d.cfg.Tools), ToolChoice: d.cfg.ToolChoice,
		MaxTurns: d.cfg.MaxTurns, ReturnToolRequests: d.cfg.ReturnToolRequests, Use: slices.Clone(d.cfg.Use),
	}
	if r.output != nil {
		output := *r.output
		output.JSONSchema = slices.Clone(output.JSONSchema)
		o.Output = &output
	}
	return o
}

// guard turns a panic of a function that makes content into an error.
func guard[T any](name, what string, fn func() (T, error)) (out T, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = status.Errorf(status.Internal, "prompt %q: the %s function panicked: %v\n%s", name, what, r, debug.Stack())
		}
	}()
	return fn()
}
