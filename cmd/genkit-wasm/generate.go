package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// generateFlags are the flags of generate.
type generateFlags struct {
	model, prompt, system, config string
	tools                         []string
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
	MaxTurns           int               `json:"maxTurns,omitempty"`
	ReturnToolRequests bool              `json:"returnToolRequests,omitempty"`
}

func (a *app) generateCommand() *cobra.Command {
	var f generateFlags
	cmd := &cobra.Command{
		Use:   "generate [PROMPT]",
		Short: "Ask a model on the server, with the tenant's tools",
		Long: "Generate prints the model's text; with -o json the whole response. With --stream the text is printed as it comes; " +
			"with -o json then each frame is one line: {\"message\": chunk} …, {\"result\": response}.",
		Example: "  genkit-wasm generate --model openai/gpt-5-mini --tool slugify \"Slugify: Hello, World\"",
		Args:    cobra.MaximumNArgs(1),
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
	flags.StringVar(&f.prompt, "prompt", "", "what to ask: `TEXT`, @FILE or -")
	flags.StringVar(&f.system, "system", "", "the system message: `TEXT` or @FILE")
	flags.StringArrayVar(&f.tools, "tool", nil, "a tool that the model may call; may be given again")
	flags.StringVar(&f.config, "config", "", "the model's configuration: `JSON`, @FILE or -")
	flags.IntVar(&f.maxTurns, "max-turns", 0, "how often the model may answer with tool calls (default: the server's)")
	flags.BoolVar(&f.stream, "stream", false, "print the answer as it comes")
	flags.BoolVar(&f.returnRequests, "return-tool-requests", false, "return the model's tool calls instead of running them")
	a.tenantFlag(cmd)
	return cmd
}

func (a *app) generate(cmd *cobra.Command, f *generateFlags) error {
	options, err := a.options(f)
	if err != nil {
		return err
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
		return nil, usagef("say what to ask: --prompt TEXT")
	}
	options := &generateOptions{Model: f.model, Tools: f.tools, MaxTurns: f.maxTurns, ReturnToolRequests: f.returnRequests}
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
		options.Messages = append(options.Messages, content.Message{Role: m.role, Content: []content.Part{content.Text(text)}})
	}
	var err error
	options.Config, err = a.jsonValue("config", f.config)
	return options, err
}

func response(raw json.RawMessage) (*model.Response, error) {
	resp := &model.Response{}
	if err := json.Unmarshal(raw, resp); err != nil {
		return nil, fmt.Errorf("the server's answer is not a GenerateResponse: %w", err)
	}
	return resp, nil
}

// afterword tells what the text does not: that the answer is not complete.
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
