package wasmhost

import (
	"context"
	"encoding/json"
	"errors"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// wasmTool runs one exported function as a tool.
type wasmTool struct {
	guest *guest
	tool  abi.Tool
	// parses is set when text output that is JSON counts as JSON.
	parses bool
}

// newTool makes the action that a registry finds.
func newTool(g *guest, t abi.Tool, stored bool) (action.Action, error) {
	w := &wasmTool{guest: g, tool: t}
	out, err := schema.Compile(t.OutputSchema, schema.Deferred()) // only asked whether it wants anything
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "output schema of tool %q: %w", t.Name, err)
	}
	w.parses = out.Demanding()
	build := tool.NewRaw
	if t.Multipart {
		build = tool.NewMultipartRaw
	}
	options := []tool.Option{tool.WithMetadata(described(t.Metadata))}
	if stored {
		options = append(options, tool.WithStored())
	}
	return build(g.name, t.Description, t.InputSchema, t.OutputSchema, w.run, options...)
}

// described leaves out metadata about the use of an action, which is the host's to decide.
func described(metadata map[string]json.RawMessage) map[string]json.RawMessage {
	kept := map[string]json.RawMessage{}
	for key, value := range metadata {
		switch key {
		case "type", "name", "interrupt", "dynamic", "originalName", "multipart", "restartable", "mcp":
		default:
			kept[key] = value
		}
	}
	return kept
}

// run calls the guest. The input has passed its schema; the output will be checked
// against its own by the action.
func (w *wasmTool) run(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	input, err := w.input(in)
	if err != nil {
		return nil, err
	}
	res, err := w.guest.once(ctx, sandbox.Call{Export: w.tool.Export, WIT: w.tool.WIT, Input: input, Emit: visible(emit)})
	if errors.Is(err, sandbox.ErrClosed) {
		return w.successor(ctx, in, emit, err)
	}
	if err != nil {
		return nil, err
	}
	if res.Interrupted {
		return nil, tool.Interrupt(abi.Escape(res.Interrupt))
	}
	return w.output(res.Output)
}

// successor serves a call that found its module replaced between lookup and call:
// the tool of the same key in the module that is in service now.
func (w *wasmTool) successor(ctx context.Context, in json.RawMessage, emit action.Emit, gone error) (json.RawMessage, error) {
	kind := action.Tool
	if w.tool.Multipart {
		kind = action.ToolV2
	}
	a, err := w.guest.host.actionOf(ctx, w.guest.owner.name, action.Key{Kind: kind, Name: w.guest.name})
	if err != nil {
		return nil, err
	}
	if w.guest.host.isClosed() {
		return nil, gone
	}
	return a.RunJSON(ctx, in, emit)
}

func (w *wasmTool) input(in json.RawMessage) ([]byte, error) {
	if len(in) == 0 {
		in = json.RawMessage("null")
	}
	if w.tool.IO != abi.IOText {
		return w.guest.input(in), nil
	}
	var text string
	if in[0] != '"' || json.Unmarshal(in, &text) != nil {
		return nil, status.Publicf(status.InvalidArgument, "tool %q takes text: its input must be a JSON string", w.guest.name)
	}
	return []byte(text), nil
}

func (w *wasmTool) output(out []byte) (json.RawMessage, error) {
	if w.tool.IO != abi.IOText {
		return abi.Escape(out), nil // nothing at all becomes null
	}
	if !utf8.Valid(out) {
		return nil, status.Publicf(status.Internal, "the output of tool %q is not valid UTF-8", w.guest.name)
	}
	if w.parses && schema.Check(out) == nil {
		return abi.Escape(out), nil
	}
	raw, err := json.Marshal(string(out))
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the output of tool %q: %w", w.guest.name, err)
	}
	return abi.Escape(raw), nil
}

// visible is emit for chunks in which nothing is hidden.
func visible(emit action.Emit) action.Emit {
	if emit == nil {
		return nil
	}
	return func(chunk json.RawMessage) error { return emit(abi.Escape(chunk)) }
}
