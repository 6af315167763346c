// Package mcp shows a registry to clients of the Model Context Protocol: its tools, prompts and resources.
//
// It owns the names and schemas that clients see, the answers of tools, prompts and resources in the protocol's form, and
// how an interrupt becomes a question to the client's user. Transports and JSON-RPC are those of MCP's own Go SDK. It
// knows no HTTP server, no host and no identity: who may call, and under which limits, is said by the functions of
// [Config]. Use:
//
//	face := mcp.New(mcp.Config{Registry: reg})
//	err := face.Serve(ctx, &sdk.StdioTransport{})   // one client, for as long as it stays
//	face.ServeHTTP(w, r)                            // or one request of the streamable HTTP transport
//
// Experimental: its form follows the protocol's, whose next revision is under way.
//
// Revisions from 2024-11-05 to 2026-07-28 are spoken. Over HTTP there are no sessions, in none of them: a request has all
// that its answer needs.
package mcp

import (
	"context"
	"net/http"
	"runtime/debug"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Serve serves one client on a transport until it leaves, or ctx ends.
func (f *Face) Serve(ctx context.Context, t sdk.Transport) error {
	server := f.server(f.c.Changed != nil)
	ctx, cancel := context.WithCancel(ctx)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		f.watch(ctx, server)
	}()
	err := server.Run(ctx, t)
	cancel()
	<-watched
	return ended(err)
}

// ServeHTTP answers one request of the streamable HTTP transport, as a stream where the request accepts one, else as
// JSON. The body must have been bounded; guards against pages of other sites and foreign names of the host are the
// caller's. What the request runs ends with it, and is waited for.
func (f *Face) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithCancel(r.Context())
	r = r.Clone(ctx)
	streams := strings.Contains(strings.Join(r.Header.Values("Accept"), ","), "text/event-stream")
	r.Header.Set("Accept", "application/json, text/event-stream")
	one := *f
	one.request, one.handlers = ctx, &handlers{}
	defer one.handlers.wait()
	defer cancel()
	server := one.server(f.c.Changed != nil && r.Header.Get("Mcp-Protocol-Version") >= newRevision)
	sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return server }, &sdk.StreamableHTTPOptions{
		Stateless: true, JSONResponse: !streams, PropagateRequestCancellation: true, DisableLocalhostProtection: true, MaxRequestBodyBytes: -1,
	}).ServeHTTP(w, r)
}

// server makes the SDK's server. Its lists and its one tool are the face's: the names of the registry's tools are looked
// up when one is called, so that nothing is copied for each request.
func (f *Face) server(changes bool) *sdk.Server {
	server := sdk.NewServer(&sdk.Implementation{Name: "genkit-wasm", Version: f.c.Version}, &sdk.ServerOptions{
		Capabilities: &sdk.ServerCapabilities{
			Tools: &sdk.ToolCapabilities{ListChanged: changes}, Prompts: &sdk.PromptCapabilities{}, Resources: &sdk.ResourceCapabilities{},
		},
		SetCacheable: func(_ context.Context, _ sdk.Request, c *sdk.Cacheable) { c.CacheScope = "private" },
	})
	f.addTool(server)
	server.AddReceivingMiddleware(func(next sdk.MethodHandler) sdk.MethodHandler {
		return func(ctx context.Context, method string, req sdk.Request) (result sdk.Result, err error) {
			if !f.handlers.begin() {
				return nil, f.failure(status.Publicf(status.Cancelled, "the request has ended"))
			}
			defer f.handlers.end()
			defer func() {
				if r := recover(); r != nil { // it would end the process: the SDK has its own goroutines
					result, err = nil, f.failure(status.Errorf(status.Internal, "%s panicked: %v\n%s", method, r, debug.Stack()))
				}
			}()
			return f.handle(ctx, server, method, req, next)
		}
	})
	return server
}

func (f *Face) addTool(server *sdk.Server) {
	server.AddTool(&sdk.Tool{Name: anyTool, InputSchema: anyObject}, f.callTool)
}

// watch tells the server's clients of changes until ctx ends. To put a tool in again is how the SDK is told.
func (f *Face) watch(ctx context.Context, server *sdk.Server) {
	if f.c.Changed == nil {
		return
	}
	for {
		changed := f.c.Changed()
		select {
		case <-ctx.Done():
			return
		case <-changed:
			f.addTool(server)
		}
	}
}

func (f *Face) handle(ctx context.Context, server *sdk.Server, method string, req sdk.Request, next sdk.MethodHandler) (sdk.Result, error) {
	switch p := req.GetParams().(type) {
	case *sdk.CallToolParamsRaw:
		if call, ok := req.(*sdk.CallToolRequest); ok && p != nil {
			return callNamed(ctx, call, p, next)
		}
	case *sdk.ListToolsParams:
		return f.listTools(f.under(ctx), p)
	case *sdk.ListPromptsParams:
		return f.listPrompts(f.under(ctx), p)
	case *sdk.ListResourcesParams:
		return f.listResources(f.under(ctx), p)
	case *sdk.ListResourceTemplatesParams:
		return f.listTemplates(f.under(ctx), p)
	case *sdk.GetPromptParams:
		return f.getPrompt(ctx, p)
	case *sdk.ReadResourceParams:
		return f.readResource(ctx, p)
	case *sdk.SubscriptionsListenParams:
		done, err := f.c.Listen(f.under(ctx))
		if err != nil {
			return nil, f.failure(err)
		}
		defer done()
		ctx, cancel := context.WithCancel(ctx)
		watched := make(chan struct{})
		go func() {
			defer close(watched)
			f.watch(ctx, server)
		}()
		defer func() {
			cancel()
			<-watched
		}()
		return next(ctx, method, req)
	}
	return next(ctx, method, req)
}
