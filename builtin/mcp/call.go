package mcp

import (
	"context"
	"encoding/json"
	"strings"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// remote is a tool of a server.
type remote struct {
	c      *client
	name   string
	def    definition // as it was listed for who calls it
	output *schema.Schema
}

func compiled(raw json.RawMessage) (*schema.Schema, error) {
	s, err := schema.Compile(raw)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "its output schema: %w", err)
	}
	return s, nil
}

func (c *client) timeout() time.Duration {
	if c.server.Timeout > 0 {
		return c.server.Timeout
	}
	return c.host.CallTimeout
}

// run calls the tool. A tool that fails is an answer for the model, {"error": text}, as in Genkit; what the server or the
// connection fails with is an error.
func (r *remote) run(ctx context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
	if in == nil {
		in = json.RawMessage("{}")
	}
	answered, err := r.c.parked(ctx, r.name, in)
	if err != nil {
		return nil, err
	}
	if answered != nil {
		return r.outcome(ctx, answered)
	}
	o, err := r.c.get(ctx)
	if err != nil {
		return nil, err
	}
	if err := r.c.unchanged(ctx, r, o); err != nil {
		return nil, err
	}
	p, err := r.c.begin(ctx, r.name, in, o.conn)
	if err != nil {
		return nil, err
	}
	return r.outcome(ctx, p)
}

// outcome waits for a call, whose server may ask something first.
func (r *remote) outcome(ctx context.Context, p *call) (json.RawMessage, error) {
	result, err := r.c.await(ctx, p)
	if err != nil {
		return nil, err
	}
	out, err := r.result(ctx, result)
	if err != nil {
		return nil, err
	}
	return rawjson.Encode(out)
}

// unchanged compares the tool with what is known of it. One that has changed since it was first listed is run when the caller,
// who is asked by an interrupt, has answered it: the description that somebody has agreed to must not become another one unseen.
func (c *client) unchanged(ctx context.Context, r *remote, o *offer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, there := o.tools[r.name]
	known := c.known[r.name]
	switch {
	case !there:
		return status.Publicf(status.NotFound, "MCP server %q no longer has a tool %q", c.name, r.name)
	case now != r.def:
		return c.failure(status.Aborted, "the tool %q has changed since it was listed for this call; list it again", r.name)
	case now == known:
		return nil
	case tool.IsResumed(ctx) && c.shown[r.name] == now:
		delete(c.shown, r.name)
		c.known[r.name] = now
		return nil
	}
	c.shown[r.name] = now
	return tool.InterruptWith(map[string]any{
		"message": "The tool " + r.name + " of the MCP server " + c.name + " is no longer what it was when it was first listed: its " +
			strings.Join(differences(known, now), ", ") + " changed. May it run as it is?",
		"mcp": map[string]any{"server": c.name, "tool": r.name, "changed": differences(known, now)},
	})
}

func differences(a, b definition) (names []string) {
	for _, part := range []struct {
		name string
		same bool
	}{
		{"description", a.description == b.description},
		{"inputSchema", a.input == b.input},
		{"outputSchema", a.output == b.output},
		{"annotations", a.annotations == b.annotations},
	} {
		if !part.same {
			names = append(names, part.name)
		}
	}
	return names
}

// result is what a call has brought: text or structured content as the output, and other content as parts.
func (r *remote) result(ctx context.Context, result *sdk.CallToolResult) (*tool.Multipart, error) {
	var texts []string
	out := &tool.Multipart{}
	for _, piece := range result.Content {
		part, text := partOf(piece)
		switch {
		case part != nil:
			out.Content = append(out.Content, *part)
		case text != nil:
			texts = append(texts, *text)
		}
	}
	text := strings.Join(texts, "\n")
	var err error
	switch {
	case result.IsError:
		out.Output, err = rawjson.Encode(map[string]string{"error": text})
		return out, err
	case result.StructuredContent != nil:
		if out.Output, err = structured(result.StructuredContent, texts); err != nil {
			return nil, err
		}
	case len(texts) == 0:
	case looksLikeJSON(text):
		out.Output = abi.Escape([]byte(text))
	default:
		if out.Output, err = rawjson.Encode(text); err != nil {
			return nil, err
		}
	}
	if result.StructuredContent == nil && r.output.Demanding() {
		return nil, r.c.failure(status.Internal, "the result of the tool %q has no structured content, which its schema wants", r.name)
	}
	if result.StructuredContent != nil {
		if err := r.output.In(ctx).Validate(out.Output); err != nil {
			return nil, r.c.failure(status.Internal, "the result of the tool %q breaks its schema: %s", r.name, abi.Line(err.Error(), maxErrorText))
		}
	}
	return out, nil
}

// structured is structured content with all digits, where the text beside it has them, as the protocol wants.
func structured(v any, texts []string) (json.RawMessage, error) {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return nil, err
	}
	for _, text := range texts {
		var same any
		if json.Unmarshal([]byte(text), &same) == nil && rawjson.EqualAny(v, same) {
			raw = []byte(text)
			break
		}
	}
	if err := schema.Check(raw); err != nil {
		return nil, err
	}
	return abi.Escape(raw), nil
}

// looksLikeJSON reports whether text is an object or array, which Genkit reads as one.
func looksLikeJSON(text string) bool {
	trimmed := strings.TrimSpace(text)
	return (strings.HasPrefix(trimmed, "{") || strings.HasPrefix(trimmed, "[")) && schema.Check(json.RawMessage(text)) == nil
}

// partOf is content as a part for the model, or as text.
func partOf(piece sdk.Content) (*content.Part, *string) {
	switch p := piece.(type) {
	case *sdk.TextContent:
		text := abi.Clean(p.Text, len(p.Text))
		return nil, &text
	case *sdk.ImageContent:
		return media(p.MIMEType, p.Data), nil
	case *sdk.AudioContent:
		return media(p.MIMEType, p.Data), nil
	case *sdk.EmbeddedResource:
		if p.Resource == nil {
			return nil, nil
		}
		return contentsOf(p.Resource)
	case *sdk.ResourceLink:
		// No resource part: the engine would fetch what the server names.
		text := "resource: " + abi.Line(p.Name, 256) + " <" + abi.Line(p.URI, 8<<10) + ">"
		return nil, &text
	}
	return nil, nil
}
