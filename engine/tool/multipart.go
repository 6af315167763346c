package tool

import (
	"bytes"
	"context"
	"encoding/json"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Result is the result of a multipart tool: Genkit's MultipartToolResponse.
type Result struct {
	// Output is the value, encoded as JSON; nil leaves it out.
	Output any `json:"output,omitempty"`
	// Content are further parts for the model, such as media.
	Content []content.Part `json:"content,omitzero"`
	// Metadata is merged onto the tool response's part.
	Metadata content.Metadata `json:"metadata,omitzero"`
}

// originalOutputSchema is the metadata key for the schema of a multipart tool's
// output; the action's own output schema is that of the whole response.
const originalOutputSchema = "originalOutputSchema"

// NewMultipart makes a tool that returns content parts and metadata beside its
// output: an action of kind tool.v2. [WithOutputSchema] describes Result.Output. It fails
// like [New].
func NewMultipart[In any](name, description string, fn func(ctx context.Context, in In) (*Result, error), options ...Option) (*Def[In, Result], error) {
	desc, output, err := describeMultipart(name, description, options)
	if err != nil {
		return nil, err
	}
	work := func(ctx context.Context, in In, send func(json.RawMessage) error) (json.RawMessage, error) {
		ctx, attached := collecting(begin(ctx, send))
		result, err := fn(ctx, in)
		if err != nil {
			return nil, err
		}
		if result == nil {
			result = &Result{}
		}
		c := *result
		c.Content = append(append([]content.Part{}, result.Content...), attached.all()...)
		if len(c.Content) == 0 {
			c.Content = nil
		}
		raw, err := encode(c)
		if err != nil {
			return nil, err
		}
		return raw, checkMultipart(desc, output.In(ctx), raw)
	}
	d, err := action.Define(forInput[In](desc), work)
	if err != nil {
		return nil, err
	}
	return &Def[In, Result]{&action.Def[In, Result, json.RawMessage]{Action: d.Action}}, nil
}

// NewMultipartRaw is [NewMultipart] on raw JSON: fn returns the whole response,
// {"output"?, "content"?, "metadata"?}, which is checked. outputSchema describes the
// output in it. Schemas may be nil.
func NewMultipartRaw(name, description string, inputSchema, outputSchema json.RawMessage, fn action.Func, options ...Option) (Tool, error) {
	desc, output, err := describeMultipart(name, description, append([]Option{WithInputSchema(inputSchema), WithOutputSchema(outputSchema)}, options...))
	if err != nil {
		return nil, err
	}
	return newErased(desc, func(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		raw, err := fn(begin(ctx, emit), in, emit)
		if err != nil {
			return nil, err
		}
		return raw, checkMultipart(desc, output.In(ctx), raw)
	})
}

func describeMultipart(name, description string, options []Option) (action.Desc, *schema.Schema, error) {
	desc := describe(action.ToolV2, name, description, options)
	output, err := schema.Compile(desc.OutputSchema, desc.SchemaOptions()...)
	if err != nil {
		return desc, nil, status.Publicf(status.InvalidArgument, "output schema of %q: %w", name, err)
	}
	if len(desc.OutputSchema) > 0 {
		desc.Metadata[originalOutputSchema] = desc.OutputSchema
	}
	desc.OutputSchema = action.MultipartSchema
	desc.Metadata["type"] = json.RawMessage(`"tool.v2"`)
	setFlag(&desc, "multipart", content.True())
	return desc, output, nil
}

// Multipart is a multipart tool's response as the loop reads it.
type Multipart struct {
	Output   json.RawMessage  `json:"output,omitempty"`
	Content  []content.Part   `json:"content,omitzero"`
	Metadata content.Metadata `json:"metadata,omitzero"`
}

// ParseMultipart reads the response of a tool of kind tool.v2; INTERNAL when it is
// none.
func ParseMultipart(name string, raw json.RawMessage) (*Multipart, error) {
	m := &Multipart{}
	if text := bytes.TrimSpace(raw); len(text) == 0 || text[0] != '{' {
		return nil, status.Publicf(status.Internal, "multipart tool %q must return an object {output, content, metadata}", name)
	}
	if err := json.Unmarshal(raw, m); err != nil {
		return nil, status.Publicf(status.Internal, "multipart tool %q must return {output, content, metadata}: %w", name, err)
	}
	return m, nil
}

func checkMultipart(desc action.Desc, output *schema.Schema, raw json.RawMessage) error {
	m, err := ParseMultipart(desc.Name, raw)
	if err != nil {
		return err
	}
	if m.Output == nil && !output.Demanding() {
		return nil
	}
	value := m.Output
	if value == nil {
		value = json.RawMessage("null")
	}
	if err := output.Validate(value); err != nil {
		return status.Publicf(status.Internal, "invalid output from action %q: %w", desc.Key(), err)
	}
	return nil
}

type attachKey struct{}

// attachments are the parts that a running multipart tool adds.
type attachments struct {
	mu    sync.Mutex // guards parts
	parts []content.Part
}

func (a *attachments) all() []content.Part {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.parts
}

func collecting(ctx context.Context) (context.Context, *attachments) {
	a := &attachments{}
	return context.WithValue(ctx, attachKey{}, a), a
}

// AttachParts adds parts to the response of the multipart tool that runs in ctx,
// after those of its Result. It fails with FAILED_PRECONDITION anywhere else. It may
// be called concurrently, until the tool returns.
func AttachParts(ctx context.Context, parts ...content.Part) error {
	a, ok := ctx.Value(attachKey{}).(*attachments)
	if !ok || a == nil {
		return status.Publicf(status.FailedPrecondition, "parts can only be attached in a tool made with NewMultipart")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.parts = append(a.parts, parts...)
	return nil
}
