package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"
)

// callFlags are the flags of call.
type callFlags struct {
	input, context string
	stream         bool
}

func (a *app) callCommand() *cobra.Command {
	var f callFlags
	cmd := &cobra.Command{
		Use:   "call TOOL",
		Short: "Call a tool on the server",
		Long: "Call runs a tool of the tenant, by its full name or by a bare one where only one tool has it, and prints its result as JSON. " +
			"With --stream what it emits is printed as it comes, one JSON object a line: {\"message\": …}, then {\"result\": …}. " +
			"A tool that stops to ask prints {\"interrupt\": …}. The key of another action of a module, such as /embedder/acme/words, runs that, with Genkit's input and result of its kind.",
		Example: "  genkit-wasm call textkit/slugify --input '{\"text\":\"Hello, World\"}'\n  echo '{\"a\":1,\"b\":2}' | genkit-wasm call add --input -",
		Args:    cobra.ExactArgs(1), ValidArgsFunction: firstOnly(a.toolsAndMore()),
		RunE: func(cmd *cobra.Command, args []string) error { return a.callTool(cmd, args[0], &f) },
	}
	cmd.Flags().StringVar(&f.input, "input", "", "the input: `JSON`, @FILE or - (default: none)")
	cmd.Flags().StringVar(&f.context, "context", "", "the action context that the tool can read: a `JSON` object, @FILE or -")
	cmd.Flags().BoolVar(&f.stream, "stream", false, "print chunks and result as they come, one JSON object a line")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) callTool(cmd *cobra.Command, name string, f *callFlags) error {
	body := map[string]json.RawMessage{}
	for member, text := range map[string]string{"input": f.input, "context": f.context} {
		raw, err := a.jsonValue(member, text)
		if err != nil {
			return err
		}
		if raw != nil {
			body[member] = raw
		}
	}
	raw, err := json.Marshal(body)
	if err != nil {
		return err
	}
	r := request{method: http.MethodPost, path: runPath(name), body: bytes.NewReader(raw), kind: "application/json"}
	if f.stream {
		return a.stream(cmd.Context(), r, func(_ frame, raw json.RawMessage) error { return a.line("%s", raw) })
	}
	answer, err := a.call(cmd.Context(), r)
	if err != nil {
		return err
	}
	var outcome struct {
		Result    json.RawMessage `json:"result"`
		Interrupt json.RawMessage `json:"interrupt"`
	}
	if err := json.Unmarshal(answer, &outcome); err != nil {
		return fmt.Errorf("the server's answer is not a tool's result: %w", err)
	}
	if outcome.Interrupt != nil {
		return a.line(`{"interrupt":%s}`, compact(outcome.Interrupt))
	}
	return a.line("%s", compact(outcome.Result))
}

// runPath is where a tool is run, by its name or key, or another action by its key.
func runPath(name string) string {
	base, name := "/tools/", strings.TrimPrefix(name, "/tool/")
	if rest, isKey := strings.CutPrefix(name, "/"); isKey {
		base, name = "/actions/", rest
	}
	segments := strings.Split(name, "/")
	for i, s := range segments {
		segments[i] = url.PathEscape(s)
	}
	return base + strings.Join(segments, "/")
}
