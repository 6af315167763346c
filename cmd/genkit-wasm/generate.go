package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"mime"
	"net/http"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// generateFlags are the flags of generate.
type generateFlags struct {
	model, prompt, system, config string
	format, schema                string
	tools, use, files             []string
	maxTurns                      int
	stream, returnRequests        bool
}

// generateOptions is the part of Genkit's GenerateActionOptions that the command
// sends.
type generateOptions struct {
	Model              string            `json:"model,omitempty"`
	Messages           []content.Message `json:"messages"`
	Tools              []string          `json:"tools,omitempty"`
	Config             json.RawMessage   `json:"config,omitempty"`
	Use                []useRef          `json:"use,omitempty"`
	Output             *outputOptions    `json:"output,omitempty"`
	MaxTurns           *int              `json:"maxTurns,omitempty"`
	ReturnToolRequests bool              `json:"returnToolRequests,omitempty"`
}

// useRef names a middleware, with its configuration.
type useRef struct {
	Name   string          `json:"name"`
	Config json.RawMessage `json:"config,omitempty"`
}

type outputOptions struct {
	Format     string          `json:"format,omitempty"`
	JSONSchema json.RawMessage `json:"jsonSchema,omitempty"`
}

func (a *app) generateCommand() *cobra.Command {
	var f generateFlags
	cmd := &cobra.Command{
		Use:   "generate [PROMPT]",
		Short: "Ask a model on the server, with the tenant's tools",
		Long: "Generate prints the model's text; with -o json the whole response. With --stream the text is printed as it comes; " +
			"with -o json then each frame is one line: {\"message\": chunk} …, {\"result\": response}.",
		Example: "  genkit-wasm generate --model openai/gpt-5-mini --tool slugify \"Slugify: Hello, World\"\n" +
			"  genkit-wasm generate --model googleai/gemini-2.5-flash --file photo.jpg \"What is this?\"",
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 1 {
				if f.prompt != "" {
					return usagef("the prompt is given twice: as an argument and with --prompt")
				}
				f.prompt = args[0]
			}
			return a.generate(cmd, &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.model, "model", "", "the model (default: the server's)")
	flags.StringVar(&f.prompt, "prompt", "", "the prompt: `TEXT`, @FILE or -")
	flags.StringArrayVar(&f.files, "file", nil, "a picture or another `FILE` that the model is shown with the prompt; may be given again")
	flags.StringVar(&f.system, "system", "", "the system message: `TEXT` or @FILE")
	flags.StringArrayVar(&f.tools, "tool", nil, "a tool that the model may call, or a module's tools as NAME/*; may be given again")
	flags.StringArrayVar(&f.use, "use", nil, "a middleware, `NAME` or NAME=JSON with its configuration; may be given again")
	flags.StringVar(&f.format, "format", "", "the output format: text, json, array, enum, jsonl, or a module's, such as guard/csv")
	flags.StringVar(&f.schema, "schema", "", "the JSON Schema of the output: `JSON`, @FILE or -")
	flags.StringVar(&f.config, "config", "", "the model's configuration: `JSON`, @FILE or -")
	wholeFlag(flags, &f.maxTurns, "max-turns", 0, math.MaxInt32, "how often the model may answer with tool calls (default: the server's)")
	flags.BoolVar(&f.stream, "stream", false, "print the answer as it comes")
	completeFlag(cmd, "model", a.actionsOf(action.Model, nil))
	completeFlag(cmd, "tool", a.actionsOf(action.Tool, ofModule))
	completeFlag(cmd, "use", a.middlewareWords())
	completeFlag(cmd, "format", a.formatWords())
	flags.BoolVar(&f.returnRequests, "return-tool-requests", false, "return the model's tool calls instead of running them")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) generate(cmd *cobra.Command, f *generateFlags) (err error) {
	defer func() {
		var failed *failure
		if errors.As(err, &failed) && f.model == "" && strings.HasPrefix(failed.text, "Must supply a `model`") {
			failed.hint = "name one with --model, which \"genkit-wasm ls --actions\" lists, or start the server with --default-model"
		}
	}()
	options, err := a.options(f)
	if err != nil {
		return err
	}
	if cmd.Flags().Changed("max-turns") { // 0 is a number too: no tool may be called
		options.MaxTurns = &f.maxTurns
	}
	body, err := json.Marshal(options)
	if err != nil {
		return err
	}
	r := request{method: http.MethodPost, path: "/generate", body: bytes.NewReader(body), kind: "application/json"}
	if f.stream {
		return a.generateStream(cmd, r)
	}
	raw, err := a.call(cmd.Context(), r)
	if err != nil {
		return err
	}
	if a.json() {
		return a.printJSON(raw)
	}
	resp, err := response(raw)
	if err != nil {
		return err
	}
	if text := resp.Text(); text != "" {
		if err := a.line("%s", text); err != nil {
			return err
		}
	}
	a.afterword(resp)
	return nil
}

func (a *app) options(f *generateFlags) (*generateOptions, error) {
	if f.prompt == "" {
		return nil, usagef("give a prompt: --prompt TEXT")
	}
	options := &generateOptions{Model: f.model, Tools: f.tools, ReturnToolRequests: f.returnRequests}
	for _, m := range []struct {
		role       content.Role
		flag, text string
	}{{content.RoleSystem, "system", f.system}, {content.RoleUser, "prompt", f.prompt}} {
		if m.text == "" {
			continue
		}
		text, err := a.value(m.flag, m.text)
		if err != nil {
			return nil, err
		}
		options.Messages = append(options.Messages, content.Message{Role: m.role, Content: []content.Part{content.NewTextPart(text)}})
	}
	shown := &options.Messages[len(options.Messages)-1] // the user's
	for _, name := range f.files {
		part, err := a.filePart(name)
		if err != nil {
			return nil, err
		}
		shown.Content = append(shown.Content, part)
	}
	var err error
	if options.Config, err = a.jsonValue("config", f.config); err != nil {
		return nil, err
	}
	schema, err := a.jsonValue("schema", f.schema)
	if err != nil {
		return nil, err
	}
	if f.format != "" || schema != nil {
		options.Output = &outputOptions{Format: f.format, JSONSchema: schema}
	}
	for _, text := range f.use {
		name, value, given := strings.Cut(text, "=")
		config, err := a.jsonValue("use", value)
		if err != nil || name == "" || given && value == "" {
			return nil, &failure{exit: exitUsage, text: fmt.Sprintf("--use %q: want NAME or NAME=JSON", text), cause: err}
		}
		options.Use = append(options.Use, useRef{Name: name, Config: config})
	}
	return options, nil
}

// filePart is a file as a part of a message: its type is that of its name's extension, else
// what its first bytes say.
func (a *app) filePart(name string) (content.Part, error) {
	data, err := a.value("file", "@"+name)
	if err != nil {
		return content.Part{}, err
	}
	kind := cmp.Or(mime.TypeByExtension(filepath.Ext(name)), http.DetectContentType([]byte(data)))
	kind, _, _ = strings.Cut(kind, ";")
	return content.NewMediaPart(kind, "data:"+kind+";base64,"+base64.StdEncoding.EncodeToString([]byte(data))), nil
}

func response(raw json.RawMessage) (*model.Response, error) {
	resp := &model.Response{}
	if err := json.Unmarshal(raw, resp); err != nil {
		return nil, fmt.Errorf("the server's answer is not a GenerateResponse: %w", err)
	}
	return resp, nil
}

// afterword adds to a text that the answer is not complete.
func (a *app) afterword(resp *model.Response) {
	for _, p := range resp.ToolRequests() {
		if raw, err := json.Marshal(p); err == nil {
			a.note("%s %s", colour(a.err, yellow, "tool request:"), raw)
		}
	}
	if resp.FinishReason != "" && resp.FinishReason != model.FinishStop {
		a.note("%s %s", colour(a.err, yellow, "finish reason:"), strings.TrimSpace(string(resp.FinishReason)+" "+resp.FinishMessage))
	}
}

func (a *app) generateStream(cmd *cobra.Command, r request) error {
	wrote := false
	return a.stream(cmd.Context(), r, func(f frame, raw json.RawMessage) error {
		if a.json() {
			return a.line("%s", raw)
		}
		if f.Message != nil {
			var chunk model.Chunk
			if err := json.Unmarshal(f.Message, &chunk); err != nil {
				return fmt.Errorf("the server's stream holds what is not a chunk: %w", err)
			}
			wrote = wrote || chunk.Text() != ""
			_, err := fmt.Fprint(a.out, chunk.Text())
			return err
		}
		resp, err := response(f.Result)
		if err != nil {
			return err
		}
		text := resp.Text()
		if wrote {
			text = "" // it has been printed
		}
		if wrote || text != "" {
			err = a.line("%s", text)
		}
		a.afterword(resp)
		return err
	})
}

// compact writes JSON on one line.
func compact(raw json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if json.Compact(&b, raw) != nil {
		return raw
	}
	return b.Bytes()
}
