package mcp

import (
	"bytes"
	"context"
	"encoding/json"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// maxProgress bounds the text of a progress notification, in bytes.
const maxProgress = 4 << 10

// callTool runs the tool that the context names. A tool that fails is a result, which a model reads; a tool that does
// not exist is an error of the protocol.
func (f *Face) callTool(ctx context.Context, req *sdk.CallToolRequest) (*sdk.CallToolResult, error) {
	name, _ := ctx.Value(nameKey{}).(string)
	inner, stop := f.running(ctx)
	defer stop()
	a, err := f.find(inner, name, action.Tool, action.ToolV2)
	if status.Of(err) == status.NotFound {
		return nil, f.failureOf(err, "unknown tool")
	}
	if err != nil {
		return f.toolError(err), nil
	}
	d := a.Desc()
	in, err := f.toolInput(d, req.Params.Arguments)
	if err != nil {
		return f.toolError(err), nil
	}
	answered, err := answerOf(req, d)
	if err != nil {
		return f.toolError(err), nil
	}
	if answered.output != nil {
		if err := tool.CheckOutput(inner, d, answered.output); err != nil {
			return f.toolError(err), nil
		}
		return resultOf(d, answered.output)
	}
	if answered.resumed != nil {
		inner = tool.WithResumed(inner, answered.resumed)
	}
	if inner, err = f.withContext(inner, req.Params.Meta); err != nil {
		return f.toolError(err), nil
	}
	out, err := f.c.Run(inner, a, in, f.progress(ctx, req))
	if i, ok := tool.AsInterrupt(err); ok {
		return f.ask(req, d, i)
	}
	if err != nil {
		return f.toolError(err), nil
	}
	result, err := resultOf(d, out)
	if err != nil {
		return f.toolError(err), nil
	}
	return result, nil
}

// contextKey is the key in _meta under which a caller gives the action context, an object that the tool can read.
const contextKey = "genkit-wasm/context"

func (f *Face) withContext(ctx context.Context, meta sdk.Meta) (context.Context, error) {
	given, ok := meta[contextKey]
	if !ok {
		return ctx, nil
	}
	if _, object := given.(map[string]any); !object {
		return ctx, status.Publicf(status.InvalidArgument, "_meta: %q wants a JSON object", contextKey)
	}
	raw, err := rawjson.Encode(given)
	if err != nil {
		return ctx, status.Errorf(status.Internal, "encode the context: %w", err)
	}
	return f.c.Context(ctx, raw)
}

// progress sends what a tool emits, where the client wants to know; each chunk counts as one.
func (f *Face) progress(ctx context.Context, req *sdk.CallToolRequest) action.Emit {
	token := req.Params.GetProgressToken()
	if token == nil {
		return nil
	}
	sent := 0.0
	return func(chunk json.RawMessage) error {
		sent++
		err := req.Session.NotifyProgress(ctx, &sdk.ProgressNotificationParams{ProgressToken: token, Progress: sent, Message: textOf(chunk, maxProgress)})
		if err != nil {
			return status.Errorf(status.Cancelled, "send progress: %w", err)
		}
		return nil
	}
}

// resultOf is a tool's output as a result: text for models, structured where it is an object, and the parts of a
// multipart tool.
func resultOf(d action.Desc, out json.RawMessage) (*sdk.CallToolResult, error) {
	result := &sdk.CallToolResult{Content: []sdk.Content{}}
	var parts []sdk.Content
	if d.Kind == action.ToolV2 {
		m, err := tool.ParseMultipart(d.Name, out)
		if err != nil {
			return nil, err
		}
		out, parts = m.Output, contents(m.Content)
	}
	out = bytes.TrimSpace(out)
	if len(out) > 0 && out[0] == '{' {
		result.StructuredContent = json.RawMessage(abi.Escape(out))
	}
	if !isNothing(out) || len(parts) == 0 {
		if len(out) == 0 {
			out = json.RawMessage("null")
		}
		result.Content = append(result.Content, &sdk.TextContent{Text: textOf(out, 2*len(out)+8)})
	}
	result.Content = append(result.Content, parts...)
	return result, nil
}

// anyTool is the name of the one tool that the SDK knows, which stands for all.
const anyTool = "any"

type nameKey struct{}

// callNamed has the SDK call that tool, under a context with the name that the client has used.
func callNamed(ctx context.Context, call *sdk.CallToolRequest, p *sdk.CallToolParamsRaw, next sdk.MethodHandler) (sdk.Result, error) {
	named, params := *call, *p
	params.Name, named.Params = anyTool, &params
	return next(context.WithValue(ctx, nameKey{}, p.Name), "tools/call", &named)
}

// toolInput is a tool's input out of a call's arguments.
func (f *Face) toolInput(d action.Desc, arguments json.RawMessage) (json.RawMessage, error) {
	if isNothing(arguments) {
		arguments = json.RawMessage("{}")
	}
	if bytes.TrimSpace(arguments)[0] != '{' {
		return nil, status.Publicf(status.InvalidArgument, "\"arguments\" wants a JSON object")
	}
	hints := Hints{}
	if isNothing(d.InputSchema) {
		hints, _ = f.c.Hints(d.Key())
	}
	if _, wraps := inputSchema(d, hints); !wraps {
		return arguments, nil
	}
	var members map[string]json.RawMessage
	if err := json.Unmarshal(arguments, &members); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "\"arguments\" wants a JSON object")
	}
	in, ok := members[wrapped]
	if !ok || len(members) != 1 {
		return nil, status.Publicf(status.InvalidArgument, "\"arguments\" wants {%q: …} and nothing else", wrapped)
	}
	return in, nil
}
