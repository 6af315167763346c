package engine

import (
	"context"
	"encoding/json"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Prompt is a prompt that an engine runs. Make one with [DefinePrompt], load it from
// files, or find it with [LookupPrompt].
type Prompt struct {
	e *Engine
	p *prompt.Prompt
}

// DefinePrompt makes and registers a prompt; "<name>.<variant>" is a variant. The texts of
// [WithPrompt] and [WithSystem] are templates. It panics when the name is taken, or an
// option or a template is broken.
func DefinePrompt(e *Engine, name string, options ...PromptOption) *Prompt {
	d := &definition{}
	for _, o := range options {
		o.applyPrompt(d)
	}
	return d.define(e, name)
}

func (d *definition) define(e *Engine, name string) *Prompt {
	c, err := d.promptConfig()
	must(err)
	p, err := prompt.Define(e.reg, name, c)
	must(err)
	return &Prompt{e, p}
}

// LoadPrompt registers a prompt from a file: its name is the file's without ".prompt",
// under namespace unless that is "". It fails like [prompt.LoadFile].
func LoadPrompt(e *Engine, path, namespace string) (*Prompt, error) {
	p, err := prompt.LoadFile(e.reg, path, namespace)
	if err != nil {
		return nil, err
	}
	return &Prompt{e, p}, nil
}

// LoadPromptSource registers a prompt of the source of a prompt file, under a name or, if
// that is "", the name in the front matter. It fails like [prompt.Load].
func LoadPromptSource(e *Engine, name, source string) (*Prompt, error) {
	p, err := prompt.Load(e.reg, name, source)
	if err != nil {
		return nil, err
	}
	return &Prompt{e, p}, nil
}

// LoadPromptDir registers the prompt files of a directory; see [prompt.LoadDir] for what
// the error means beside a set.
func LoadPromptDir(e *Engine, dir, namespace string) (*prompt.Set, error) {
	return prompt.LoadDir(e.reg, dir, namespace)
}

// LoadPromptDirFromFS is [LoadPromptDir] for a directory of a file system.
func LoadPromptDirFromFS(e *Engine, fsys fs.FS, dir, namespace string) (*prompt.Set, error) {
	return prompt.LoadFS(e.reg, fsys, dir, namespace)
}

// DefinePartial registers a template for {{> name}}. It panics when the name is taken or
// the template is broken.
func DefinePartial(e *Engine, name, source string) { must(prompt.DefinePartial(e.reg, name, source)) }

// DefineHelper registers a function that templates call by its name. It panics when the
// name is taken, also by a helper that is built in.
func DefineHelper(e *Engine, name string, fn prompt.Helper) {
	must(prompt.DefineHelper(e.reg, name, fn))
}

// LookupPrompt finds a prompt by its name; "<name>.<variant>" is a variant.
func LookupPrompt(ctx context.Context, e *Engine, name string) (*Prompt, error) {
	p, err := prompt.Lookup(ctx, e.reg, name)
	if err != nil {
		return nil, err
	}
	return &Prompt{e, p}, nil
}

// Name returns the prompt's name, and the variant behind a dot where there is one.
func (p *Prompt) Name() string { return p.p.Name() }

// Tool returns the prompt for [WithTools]: as a tool, a prompt returns the request that it
// renders to, as in Genkit JS since 1.40.
func (p *Prompt) Tool() Tool {
	t, err := tool.From(p.p.Action())
	must(err) // the action is of kind prompt
	return t
}

// Render returns the options of the generate call that the prompt makes of input,
// which is encoded as JSON; nil is no input. The options override the prompt's own:
// messages are the history, the config is merged key by key, all else replaces.
func (p *Prompt) Render(ctx context.Context, input any, options ...PromptExecuteOption) (*model.GenerateOptions, error) {
	r, err := overrides(append(slices.Clip(options), WithInput(input)))
	if err != nil {
		return nil, err
	}
	raw, err := r.inputJSON()
	if err != nil {
		return nil, err
	}
	return p.p.Render(p.e.Context(p.p.Context(ctx)), raw, &r.opts)
}

// Execute renders the prompt for the input of [WithInput] and runs the call.
func (p *Prompt) Execute(ctx context.Context, options ...PromptExecuteOption) (*ModelResponse, error) {
	return p.execute(ctx, options, nil)
}

// ExecuteStream is [Prompt.Execute] as an iterator; see [GenerateStream].
func (p *Prompt) ExecuteStream(ctx context.Context, options ...PromptExecuteOption) iter.Seq2[ModelStreamValue, error] {
	return streamed(ctx, func(ctx context.Context, send model.Send) (*ModelResponse, error) {
		return p.execute(ctx, options, send)
	})
}

func (p *Prompt) execute(ctx context.Context, options []PromptExecuteOption, send model.Send) (*ModelResponse, error) {
	r, err := overrides(options)
	if err != nil {
		return nil, err
	}
	raw, err := r.inputJSON()
	if err != nil {
		return nil, err
	}
	ctx, end, err := p.e.running.begin(p.e.Context(p.p.Context(ctx)))
	if err != nil {
		return nil, err
	}
	defer end()
	return p.p.Execute(ctx, p.e.reg, raw, &r.opts, r.sender(ctx, send), append(r.more, generate.WithLogger(p.e.logger))...)
}

// overrides collects the options of a call that override the prompt's own.
func overrides(options []PromptExecuteOption) (*request, error) {
	r := &request{}
	for _, o := range options {
		if o == nil {
			return nil, status.Publicf(status.InvalidArgument, "an option is nil")
		}
		o.applyExecute(r)
	}
	if err := r.finish(); err != nil {
		return nil, err
	}
	if r.returnRequests != nil { // a false has to be said, since it replaces a true
		r.opts.ReturnToolRequests = *r.returnRequests
		r.opts.Extra = map[string]json.RawMessage{"returnToolRequests": json.RawMessage(strconv.FormatBool(*r.returnRequests))}
	}
	return r, nil
}

// inputJSON encodes the input of a prompt; nil is none.
func (r *request) inputJSON() (json.RawMessage, error) {
	if r.input == nil {
		return nil, nil //nolint:nilnil // nothing is a value here
	}
	raw, err := rawjson.Encode(r.input)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "encode the prompt's input: %w", err)
	}
	return raw, nil
}

// DataPrompt is a prompt whose input and output are Go types.
type DataPrompt[In, Out any] struct{ Prompt }

// DefineDataPrompt is [DefinePrompt] with the schemas of Go types, where the options give
// none. An Out of string asks for no schema.
func DefineDataPrompt[In, Out any](e *Engine, name string, options ...PromptOption) *DataPrompt[In, Out] {
	d := &definition{}
	for _, o := range options {
		o.applyPrompt(d)
	}
	if d.cfg.InputSchema == nil {
		in, err := schema.Infer[In]()
		must(err)
		d.cfg.InputSchema = in
	}
	if out := d.opts.Output; !isText[Out]() && (out == nil || out.JSONSchema == nil) {
		raw, err := schema.Infer[Out]()
		must(err)
		d.output().JSONSchema = raw
		if out == nil {
			d.output().Format = "json"
		}
	}
	return &DataPrompt[In, Out]{*d.define(e, name)}
}

// AsDataPrompt reads the input and output of a prompt as Go types.
func AsDataPrompt[In, Out any](p *Prompt) *DataPrompt[In, Out] { return &DataPrompt[In, Out]{*p} }

// LookupDataPrompt is [LookupPrompt] for a prompt whose input and output are read as
// Go types, such as one from a file.
func LookupDataPrompt[In, Out any](ctx context.Context, e *Engine, name string) (*DataPrompt[In, Out], error) {
	p, err := LookupPrompt(ctx, e, name)
	if err != nil {
		return nil, err
	}
	return AsDataPrompt[In, Out](p), nil
}

func isText[Out any]() bool {
	var v Out
	_, text := any(v).(string)
	return text
}

// Render is [Prompt.Render].
func (p *DataPrompt[In, Out]) Render(ctx context.Context, input In, options ...PromptExecuteOption) (*model.GenerateOptions, error) {
	return p.Prompt.Render(ctx, input, options...)
}

// Execute is [Prompt.Execute] for the output as a Go value. A response without output,
// such as an interrupted one, fails with FAILED_PRECONDITION and is returned all the
// same, and so is what [Prompt.Execute] returns beside its error.
func (p *DataPrompt[In, Out]) Execute(ctx context.Context, input In, options ...PromptExecuteOption) (Out, *ModelResponse, error) {
	resp, err := p.Prompt.Execute(ctx, append(slices.Clip(options), WithInput(input))...)
	if err != nil {
		var none Out
		return none, resp, err
	}
	out, err := promptData[Out](resp)
	return out, resp, err
}

func promptData[Out any](resp *ModelResponse) (Out, error) {
	if isText[Out]() {
		out, _ := any(resp.Text()).(Out)
		return out, nil
	}
	return dataOf[Out](resp)
}

// ExecuteStream is [DataPrompt.Execute] as an iterator: it yields the output as far as each
// chunk reveals it, and then, with Done set, the output; see [GenerateDataStream].
func (p *DataPrompt[In, Out]) ExecuteStream(ctx context.Context, input In, options ...PromptExecuteOption) iter.Seq2[StreamValue[Out, Out], error] {
	options = append(slices.Clip(options), WithInput(input))
	chunks := func(ctx context.Context) (*format.Stream, error) { return p.outputStream(ctx, options) }
	call := func(ctx context.Context, send model.Send) (*ModelResponse, error) {
		return p.execute(ctx, options, send)
	}
	return dataStreamed(ctx, chunks, call, promptData[Out])
}

// outputStream reads chunks in the format that the call or the prompt asks for.
func (p *DataPrompt[In, Out]) outputStream(ctx context.Context, options []PromptExecuteOption) (*format.Stream, error) {
	r, err := overrides(options)
	if err != nil {
		return nil, err
	}
	out := r.opts.Output
	if out == nil {
		if out, err = p.p.Output(); err != nil {
			return nil, err
		}
	}
	name := "json"
	if isText[Out]() {
		name = "text"
	}
	return p.e.streamOf(ctx, out, name)
}

// promptFiles is the directory of prompts that an engine was configured with.
type promptFiles struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// loadPrompts loads the directory of the Config. Faults of a file go to the
// logger, and to callers of its prompt; a directory that can't be read fails the
// engine. In development (GENKIT_ENV=dev) a directory of the disk is watched until the
// engine is closed.
func (e *Engine) loadPrompts(c Config) error {
	var set *prompt.Set
	var err error
	switch {
	case c.PromptFS != nil:
		set, err = prompt.LoadFS(e.reg, c.PromptFS, c.PromptDir, "")
	case c.PromptDir != "":
		set, err = prompt.LoadDir(e.reg, c.PromptDir, "")
	default:
		return nil
	}
	if set == nil {
		return err
	}
	if err != nil {
		e.logger.Error("some prompts can't be used", slog.Any("error", err))
	}
	if c.PromptFS != nil || os.Getenv("GENKIT_ENV") != "dev" {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // the engine's life, which Close ends
	e.prompts = &promptFiles{stop: cancel}
	e.prompts.wg.Go(func() { set.Watch(ctx, prompt.DefaultInterval, e.logger) })
	return nil
}

// close ends the watch; the nil *promptFiles watches nothing.
func (f *promptFiles) close() {
	if f != nil {
		f.stop()
		f.wg.Wait()
	}
}
