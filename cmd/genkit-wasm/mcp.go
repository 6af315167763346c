package main

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/mcp"
)

func (a *app) mcpCommand() *cobra.Command {
	var f hostFlags
	cmd := &cobra.Command{
		Use:   "mcp [FILE|DIR…]",
		Short: "Serve tools to an MCP client on the standard input and output",
		Long: "Mcp is a server of the Model Context Protocol for one client, such as Claude or an IDE, which starts it: messages come and go on the " +
			"standard input and output.\n\n" +
			"With modules or scripts (a DIR means those in it) their tools run in this process, with the checks and limits of a server. " +
			"Beside FILE.wasm, FILE.policy.json and FILE.descriptor.json go with it, and what policies grant, these flags have to allow: " +
			"the user who runs a module here is its operator.\n\n" +
			"Without, the client gets what a running server offers the tenant.",
		Example: "  genkit-wasm mcp textkit.wasm greet.ts\n  genkit-wasm mcp --server https://tools.example.com --tenant acme\n\n" +
			"  {\"mcpServers\": {\"tools\": {\"command\": \"genkit-wasm\", \"args\": [\"mcp\", \"/path/to/textkit.wasm\"]}}}",
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return a.mcpLocal(cmd.Context(), args, &f)
			}
			return a.mcpRelay(cmd.Context())
		},
	}
	f.add(cmd)
	a.serverFlags(cmd)
	return cmd
}

// mcpLocal serves modules that run in this process.
func (a *app) mcpLocal(ctx context.Context, paths []string, f *hostFlags) error {
	modules := modulesOf(paths)
	if len(modules) == 0 {
		return usagef("there is no module and no script in %s", strings.Join(paths, " "))
	}
	var uploads []wasmhost.Upload
	for _, file := range modules {
		up, err := sidecars(file).readFiles()
		if err != nil {
			return err
		}
		if up.Name, err = a.moduleName(ctx, up, file); err != nil {
			return err
		}
		uploads = append(uploads, up)
	}
	f.also = uploads[1:]
	host, err := a.openHost(ctx, uploads[0], f)
	if err != nil {
		return err
	}
	defer host.close()
	face := mcp.New(mcp.Config{Registry: host.registry, Log: a.guestLog(f.verbose), Version: buildVersion(), Hints: func(key action.Key) (mcp.Hints, bool) {
		name, _, _ := strings.Cut(key.Name, "/")
		rec, err := host.Module(wasmhost.DefaultTenant, name)
		if err != nil {
			return mcp.Hints{}, false
		}
		return mcp.HintsOf(rec, key)
	}})
	return local(face.Serve(ctx, mcp.Stream(a.in, a.out)), false)
}

// mcpRelay serves what the server offers.
func (a *app) mcpRelay(ctx context.Context) error {
	// The same checks of the server's URL, key and certificate as all commands have, before the client is answered.
	resp, err := a.send(ctx, request{method: http.MethodGet, path: "/actions", query: url.Values{"limit": {"1"}}})
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	endpoint, err := a.url(request{path: "/mcp"})
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	with := *client
	with.Transport = authorizing{a, client.Transport}
	return local(mcp.Relay(ctx, mcp.Stream(a.in, a.out), endpoint, &with), false)
}

// authorizing has each request carry the key.
type authorizing struct {
	*app
	http.RoundTripper
}

// RoundTrip implements [http.RoundTripper].
func (t authorizing) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	t.authorize(r.Header)
	return t.RoundTripper.RoundTrip(r)
}
