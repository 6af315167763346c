package engine

import (
	"context"
	"encoding/json"
	"io/fs"
	"iter"
	"log/slog"
	"os"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Prompt is a prompt that an engine runs. Make one with [DefinePrompt], load it from
// files, or find it with [LookupPrompt].
type Prompt struct {
	e *Engine
	p *prompt.Prompt
}

// DefinePrompt makes and registers a prompt. It panics when the name is taken or a
// template is broken.
func DefinePrompt(e *Engine, c prompt.Config) *Prompt {
	p, err := prompt.Define(e.reg, c)
	must(err)
	return &Prompt{e, p}
}

// LoadPrompt registers a prompt of the source of a prompt file, under a name or, if
// that is "", the name in the front matter. It fails like [prompt.Load].
func LoadPrompt(e *Engine, name, source string) (*Prompt, error) {
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

// LoadPromptFS is [LoadPromptDir] for a directory of a file system.
func LoadPromptFS(e *Engine, fsys fs.FS, dir, namespace string) (*prompt.Set, error) {
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

// LookupPrompt finds a prompt by its name and variant, "" for none.
func LookupPrompt(ctx context.Context, e *Engine, name, variant string) (*Prompt, error) {
	p, err := prompt.Lookup(ctx, e.reg, name, variant)
	if err != nil {
		return nil, err
	}
	return &Prompt{e, p}, nil
}

// Name returns the prompt's name, and the variant behind a dot where there is one.
func (p *Prompt) Name() string { return p.p.Name() }

// Action returns the action /prompt/<name>, for [WithTools]: as a tool, a prompt returns
// the request that it renders to, as in Genkit JS since 1.40.
func (p *Prompt) Action() action.Action { return p.p.Action() }

// Render returns the options of the generate call that the prompt makes of input,
// which is encoded as JSON; nil is no input. The options lay over what the prompt says:
// messages are the history, the config is merged key by key, all else replaces.
func (p *Prompt) Render(ctx context.Context, input any, options ...GenerateOption) (*model.GenerateOptions, error) {
	raw, r, err := overlay(input, options)
	if err != nil {
		return nil, err
	}
	return p.p.Render(p.e.Context(p.p.Context(ctx)), raw, &r.opts)
}

// Execute renders the prompt and runs the call.
func (p *Prompt) Execute(ctx context.Context, input any, options ...GenerateOption) (*Response, error) {
	return p.execute(ctx, input, options, nil)
}

// Stream is [Prompt.Execute] as an iterator; see [GenerateStream].
func (p *Prompt) Stream(ctx context.Context, input any, options ...GenerateOption) iter.Seq2[StreamEvent, error] {
	return action.Iterate(ctx, func(ctx context.Context, send func(StreamEvent) error) error {
		resp, err := p.execute(ctx, input, options, func(c *model.Chunk) error { return send(StreamEvent{Chunk: c}) })
		if err != nil {
			return err
		}
		return send(StreamEvent{Done: true, Output: resp})
	})
}

func (p *Prompt) execute(ctx context.Context, input any, options []GenerateOption, send model.Send) (*Response, error) {
	raw, r, err := overlay(input, options)
	if err != nil {
		return nil, err
	}
	ctx, end, err := p.e.running.begin(p.e.Context(p.p.Context(ctx)))
	if err != nil {
		return nil, err
	}
	defer end()
	return p.p.Execute(ctx, p.e.reg, raw, &r.opts, send, append(r.more, generate.WithLogger(p.e.logger))...)
}

// overlay reads what a call lays over a prompt.
func overlay(input any, options []GenerateOption) (json.RawMessage, *request, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, nil, err
	}
	if r.system != nil || r.prompt != nil {
		return nil, nil, status.Publicf(status.InvalidArgument, "the system message and the prompt are the prompt's own: use WithMessages for the history")
	}
	if input == nil {
		return nil, r, nil
	}
	raw, err := rawjson.Encode(input)
	if err != nil {
		return nil, nil, status.Errorf(status.InvalidArgument, "encode the prompt's input: %w", err)
	}
	return raw, r, nil
}

// WithToolRequestsExecuted executes tools in a call of a prompt that asks to return
// their requests.
func WithToolRequestsExecuted() GenerateOption {
	return func(r *request) {
		r.opts.ReturnToolRequests = false
		r.opts.Extra = map[string]json.RawMessage{"returnToolRequests": json.RawMessage("false")}
	}
}

// DataPrompt is a prompt whose input and output are Go types.
type DataPrompt[In, Out any] struct{ Prompt }

// DefineDataPrompt is [DefinePrompt] with the schemas of Go types, where the config has
// none of its own. An Out of string asks for no schema.
func DefineDataPrompt[In, Out any](e *Engine, c prompt.Config) *DataPrompt[In, Out] {
	if c.InputSchema == nil {
		in, err := schema.Infer[In]()
		must(err)
		c.InputSchema = in
	}
	if c.Output == nil || c.Output.JSONSchema == nil {
		if asked := dataOutput[Out](); asked != nil {
			if c.Output != nil {
				own := *c.Output
				own.JSONSchema = asked.JSONSchema
				asked = &own
			}
			c.Output = asked
		}
	}
	return &DataPrompt[In, Out]{*DefinePrompt(e, c)}
}

// LookupDataPrompt is [LookupPrompt] for a prompt whose input and output are read as
// Go types, such as one from a file.
func LookupDataPrompt[In, Out any](ctx context.Context, e *Engine, name, variant string) (*DataPrompt[In, Out], error) {
	p, err := LookupPrompt(ctx, e, name, variant)
	if err != nil {
		return nil, err
	}
	return &DataPrompt[In, Out]{*p}, nil
}

func dataOutput[Out any]() *model.OutputOptions {
	if isText[Out]() {
		return nil
	}
	raw, err := schema.Infer[Out]()
	must(err)
	return &model.OutputOptions{Format: "json", JSONSchema: raw}
}

func isText[Out any]() bool {
	var v Out
	_, text := any(v).(string)
	return text
}

// Render is [Prompt.Render].
func (p *DataPrompt[In, Out]) Render(ctx context.Context, input In, options ...GenerateOption) (*model.GenerateOptions, error) {
	return p.Prompt.Render(ctx, input, options...)
}

// Execute is [Prompt.Execute] for the output as a Go value. A response without output,
// such as an interrupted one, fails with FAILED_PRECONDITION and is returned all the
// same.
func (p *DataPrompt[In, Out]) Execute(ctx context.Context, input In, options ...GenerateOption) (Out, *Response, error) {
	resp, err := p.Prompt.Execute(ctx, input, options...)
	if err != nil {
		var none Out
		return none, resp, err
	}
	out, err := promptData[Out](resp)
	return out, resp, err
}

func promptData[Out any](resp *Response) (Out, error) {
	if isText[Out]() {
		out, _ := any(resp.Text()).(Out)
		return out, nil
	}
	return dataOf[Out](resp)
}

// Stream is [DataPrompt.Execute] as an iterator: it yields what is known of the output
// while the model writes it, and then, with Done set, the output; see
// [GenerateDataStream].
func (p *DataPrompt[In, Out]) Stream(ctx context.Context, input In, options ...GenerateOption) iter.Seq2[DataEvent[Out], error] {
	return action.Iterate(ctx, func(ctx context.Context, send func(DataEvent[Out]) error) error {
		stream, err := p.outputStream(input, options)
		if err != nil {
			return err
		}
		resp, err := p.execute(ctx, input, options, func(c *model.Chunk) error {
			raw, err := stream.Next(ctx, c)
			if err != nil || raw == nil {
				return err
			}
			var known Out
			if decodeData(raw, &known) != nil {
				return nil
			}
			return send(DataEvent[Out]{Value: known})
		})
		if err != nil {
			return err
		}
		out, err := promptData[Out](resp)
		if err != nil {
			return err
		}
		return send(DataEvent[Out]{Value: out, Done: true, Response: resp})
	})
}

// outputStream reads chunks in the format that the call or the prompt asks for.
func (p *DataPrompt[In, Out]) outputStream(input In, options []GenerateOption) (*format.Stream, error) {
	_, r, err := overlay(input, options)
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
	return p.e.streamOf(out, name)
}

// promptFiles is the directory of prompts that an engine was configured with.
type promptFiles struct {
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// loadPrompts loads the directory of the Config. What is wrong with a file goes to the
// logger, and to whoever uses its prompt; a directory that can't be read fails the
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
	ctx, cancel := context.WithCancel(context.Background())
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
