package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/client"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// flowFlags are the flags of flow.
type flowFlags struct {
	input, streamID, url string
	headers              []string
	stream               bool
}

func (a *app) flowCommand() *cobra.Command {
	var f flowFlags
	cmd := &cobra.Command{
		Use:   "flow NAME",
		Short: "Run a flow of the server",
		Long: "Flow runs a flow of the tenant and prints its result as JSON. With --stream what comes is printed as it comes, one JSON object a line: " +
			"{\"message\": …}, then {\"result\": …}; where the server keeps streams, the stream's id goes to the standard error, and --stream-id reads it again.\n\n" +
			"With --url the flow is that of any server that speaks Genkit's flow protocol, and NAME is left out.",
		Example: "  genkit-wasm flow menu --input '\"pirates\"' --stream\n  genkit-wasm flow --url https://flows.example.com/menu --header 'Authorization: KEY' --input @menu.json",
		Args:    cobra.MaximumNArgs(1), ValidArgsFunction: firstOnly(a.actionsOf(action.Flow, nil)),
		RunE: func(cmd *cobra.Command, args []string) error {
			target, err := a.flowURL(&f, args)
			if err != nil {
				return err
			}
			return a.flow(cmd.Context(), &f, target)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.input, "input", "", "the input: `JSON`, @FILE or - (default: none)")
	flags.BoolVar(&f.stream, "stream", false, "print chunks and result as they come, one JSON object a line")
	flags.StringVar(&f.streamID, "stream-id", "", "read the stream with this `ID` again in place of running the flow")
	flags.StringArrayVar(&f.headers, "header", nil, "a header to send, `NAME: VALUE`; may be given again")
	flags.StringVar(&f.url, "url", "", "the flow's `URL` on a server of another kind")
	a.serverFlags(cmd)
	return cmd
}

func (a *app) flowURL(f *flowFlags, args []string) (string, error) {
	switch {
	case f.url == "" && len(args) == 0:
		return "", usagef("say which flow: its name, or --url")
	case f.url != "" && len(args) > 0:
		return "", usagef("the flow is given twice: as a name and with --url")
	case f.url != "":
		a.server = f.url
		return f.url, nil
	}
	return a.url(request{path: "/flows/" + url.PathEscape(args[0])})
}

func (a *app) flow(ctx context.Context, f *flowFlags, target string) error {
	input, err := a.jsonValue("input", f.input)
	if err != nil {
		return err
	}
	if f.url != "" && os.Getenv(caEnv) == "" {
		a.ca = "" // that of a profile's server
	}
	over, err := a.client()
	if err != nil {
		return err
	}
	opts := []client.Option{client.WithHTTPClient(over), client.WithHeader("User-Agent", "genkit-wasm/"+buildVersion())}
	if a.key != "" && f.url == "" {
		opts = append(opts, client.WithHeader("Authorization", "Bearer "+a.key))
	}
	for _, h := range f.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || strings.TrimSpace(name) == "" {
			return usagef("--header is %q, want NAME: VALUE", h)
		}
		opts = append(opts, client.WithHeader(strings.TrimSpace(name), strings.TrimSpace(value)))
	}
	if !f.stream && f.streamID == "" {
		out, err := client.RunFlow[json.RawMessage, json.RawMessage](ctx, target, input, opts...)
		if err != nil {
			return a.flowFailure(ctx, err)
		}
		return a.printJSON(out)
	}
	opts = append(opts, client.WithStreamID(f.streamID), client.OnStreamID(func(id string) {
		if id != "" && f.streamID == "" {
			a.note("stream id: %s", id)
		}
	}))
	for event, err := range client.StreamFlow[json.RawMessage, json.RawMessage, json.RawMessage](ctx, target, input, opts...) {
		if err != nil {
			return a.flowFailure(ctx, err)
		}
		member, value := "message", event.Chunk
		if event.Done {
			member, value = "result", event.Output
		}
		if err := a.line(`{"%s":%s}`, member, compact(value)); err != nil {
			return err
		}
	}
	return nil
}

// flowFailure makes a failure of the client's error.
func (a *app) flowFailure(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if _, ok := errors.AsType[*url.Error](err); ok {
		return a.unreachable(ctx, err)
	}
	e := status.Convert(err)
	retryAfter := ""
	if e.RetryAfter > 0 {
		retryAfter = fmt.Sprintf("%.0f", e.RetryAfter.Seconds())
	}
	return &failure{exit: exitOf(e.Code, false), code: e.Code.String(), text: e.Message, details: e.Details, hint: a.hint(e.Code, false, retryAfter, e.Details), cause: err}
}
