package mcp

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Stream is a transport over a reader and a writer, such as the standard input and output: one message a line.
func Stream(in io.Reader, out io.Writer) sdk.Transport {
	return &sdk.IOTransport{Reader: io.NopCloser(in), Writer: nopCloser{out}}
}

type nopCloser struct{ io.Writer }

func (nopCloser) Close() error { return nil }

// Relay serves one client on a transport with what a server offers at an endpoint, until the client leaves or ctx ends. It
// speaks the newest revision to the server, so that questions to the user and news of changes reach clients of earlier
// ones, too. UNAVAILABLE when the server can't be reached.
func Relay(ctx context.Context, t sdk.Transport, endpoint string, client *http.Client) error {
	r := &relay{progress: map[string]func(*sdk.ProgressNotificationParams){}}
	r.server = sdk.NewServer(&sdk.Implementation{Name: "genkit-wasm"}, &sdk.ServerOptions{Capabilities: &sdk.ServerCapabilities{
		Tools: &sdk.ToolCapabilities{ListChanged: true}, Prompts: &sdk.PromptCapabilities{}, Resources: &sdk.ResourceCapabilities{},
	}})
	r.addTool()
	r.server.AddReceivingMiddleware(r.relayed)
	remote := sdk.NewClient(&sdk.Implementation{Name: "genkit-wasm"}, &sdk.ClientOptions{
		Capabilities:           &sdk.ClientCapabilities{Elicitation: &sdk.ElicitationCapabilities{Form: &sdk.FormElicitationCapabilities{}}},
		MultiRoundTrip:         &sdk.MultiRoundTripOptions{Disabled: true}, // the client of the relay is asked, not this one
		ToolListChangedHandler: func(context.Context, *sdk.ToolListChangedRequest) { r.addTool() },
	})
	watched := *client
	watched.Transport = progressWatch{client.Transport, r}
	client = &watched
	session, err := remote.Connect(ctx, &sdk.StreamableClientTransport{Endpoint: endpoint, HTTPClient: client, DisableStandaloneSSE: true}, nil)
	if err != nil {
		return status.Publicf(status.Unavailable, "connect to %s: %s", endpoint, abi.Line(err.Error(), maxErrorText)).WithCause(err)
	}
	r.remote = session
	err = ended(r.server.Run(ctx, t))
	return errors.Join(err, ended(session.Close()))
}

type relay struct {
	server *sdk.Server
	remote *sdk.ClientSession

	mu       sync.Mutex // guards progress
	calls    int64
	progress map[string]func(*sdk.ProgressNotificationParams) // by the token of a call
}

func (r *relay) addTool() {
	r.server.AddTool(&sdk.Tool{Name: anyTool, InputSchema: anyObject}, r.callTool)
}

func (r *relay) relayed(next sdk.MethodHandler) sdk.MethodHandler {
	return func(ctx context.Context, method string, req sdk.Request) (sdk.Result, error) {
		switch p := req.GetParams().(type) {
		case *sdk.CallToolParamsRaw:
			if call, ok := req.(*sdk.CallToolRequest); ok && p != nil {
				return callNamed(ctx, call, p, next)
			}
		case *sdk.ListToolsParams:
			return passed(r.remote.ListTools(ctx, p))
		case *sdk.ListPromptsParams:
			return passed(r.remote.ListPrompts(ctx, p))
		case *sdk.ListResourcesParams:
			return passed(r.remote.ListResources(ctx, p))
		case *sdk.ListResourceTemplatesParams:
			return passed(r.remote.ListResourceTemplates(ctx, p))
		case *sdk.GetPromptParams:
			return passed(r.remote.GetPrompt(ctx, &sdk.GetPromptParams{Name: p.Name, Arguments: p.Arguments}))
		case *sdk.ReadResourceParams:
			return passed(r.remote.ReadResource(ctx, &sdk.ReadResourceParams{URI: p.URI}))
		}
		return next(ctx, method, req)
	}
}

// passed is a result of the server for the client.
func passed[R sdk.Result](result R, err error) (sdk.Result, error) {
	if err != nil {
		return nil, passedError(err)
	}
	return result, nil
}

// passedError is the server's own error where it has answered with one.
func passedError(err error) error {
	if own, ok := errors.AsType[*jsonrpc.Error](err); ok {
		return own
	}
	return &jsonrpc.Error{Code: jsonrpc.CodeInternalError, Message: abi.Clean(err.Error(), maxErrorText)}
}

func (r *relay) callTool(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	name, _ := ctx.Value(nameKey{}).(string)
	p := req.Params
	out := &sdk.CallToolParams{Name: name, InputResponses: p.InputResponses, RequestState: p.RequestState}
	if !isNothing(p.Arguments) {
		out.Arguments = p.Arguments
	}
	if given, ok := p.Meta[contextKey]; ok {
		out.Meta = sdk.Meta{contextKey: given}
	}
	if token := p.GetProgressToken(); token != nil {
		own, done := r.watch(func(chunk *sdk.ProgressNotificationParams) {
			told := *chunk
			told.Meta, told.ProgressToken = nil, token
			_ = req.Session.NotifyProgress(ctx, &told) // a client that has left ends the call by itself
		})
		defer done()
		out.SetProgressToken(own)
	}
	result, err := r.remote.CallTool(ctx, out)
	if err != nil {
		return nil, passedError(err)
	}
	if len(result.Content) > 0 && result.StructuredContent != nil {
		// The client has read it into float64s: the text beside it has all digits.
		if text, ok := result.Content[0].(*sdk.TextContent); ok && strings.HasPrefix(text.Text, "{") && json.Valid([]byte(text.Text)) {
			result.StructuredContent = json.RawMessage(text.Text)
		}
	}
	if result.NeedsInput() {
		if why := cannotAsk(req); why != "" {
			return &sdk.CallToolResult{IsError: true, Content: []sdk.Content{&sdk.TextContent{Text: why + ": " + asked(result)}}}, nil
		}
	}
	return result, nil
}

// asked is the text of the question that a result asks.
func asked(result *sdk.CallToolResult) string {
	if p, ok := result.InputRequests[question].(*sdk.ElicitParams); ok {
		return abi.Clean(p.Message, maxQuestion)
	}
	return "(a question of another kind)"
}

// watch returns a token for the progress of a call, which tell is told of.
func (r *relay) watch(tell func(*sdk.ProgressNotificationParams)) (token string, done func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	token = strconv.FormatInt(r.calls, 10)
	r.progress[token] = tell
	return token, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.progress, token)
	}
}

func (r *relay) tell(p *sdk.ProgressNotificationParams) {
	token, _ := p.ProgressToken.(string)
	r.mu.Lock()
	tell := r.progress[token]
	r.mu.Unlock()
	if tell != nil {
		tell(p)
	}
}

// progressWatch tells the relay of the progress in the streams that it reads, before the SDK reads what follows: the SDK
// itself may hand on the result of a call before the progress that came first.
type progressWatch struct {
	http.RoundTripper
	relay *relay
}

// RoundTrip implements [http.RoundTripper].
func (w progressWatch) RoundTrip(r *http.Request) (*http.Response, error) {
	next := w.RoundTripper
	if next == nil {
		next = http.DefaultTransport
	}
	resp, err := next.RoundTrip(r)
	if err == nil && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/event-stream") {
		resp.Body = &progressBody{ReadCloser: resp.Body, relay: w.relay}
	}
	return resp, err
}

type progressBody struct {
	io.ReadCloser
	relay *relay
	line  []byte // that has begun
}

// maxProgressLine bounds a line that may tell of progress; longer ones are results.
const maxProgressLine = 64 << 10

// Read implements [io.Reader].
func (b *progressBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	for rest := p[:n]; len(rest) > 0; {
		part, after, whole := bytes.Cut(rest, []byte("\n"))
		if len(b.line)+len(part) <= maxProgressLine {
			b.line = append(b.line, part...)
		}
		if whole {
			b.end()
		}
		rest = after
	}
	return n, err
}

func (b *progressBody) end() {
	defer func() { b.line = b.line[:0] }()
	data, ok := bytes.CutPrefix(b.line, []byte("data:"))
	if !ok || !bytes.Contains(data, []byte(`"notifications/progress"`)) {
		return
	}
	var message struct {
		Method string                          `json:"method"`
		Params *sdk.ProgressNotificationParams `json:"params"`
	}
	if json.Unmarshal(data, &message) == nil && message.Method == "notifications/progress" && message.Params != nil {
		b.relay.tell(message.Params)
	}
}
