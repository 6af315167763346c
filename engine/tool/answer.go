package tool

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// AnswerOption is a choice for one answer to an interrupt.
type AnswerOption func(*answering)

type answering struct {
	metadata any
	resumed  any
	input    any
	replaces bool
	tool     action.Action
}

// WithResponseMetadata notes an object on a response; without it the note is true.
func WithResponseMetadata(v any) AnswerOption { return func(a *answering) { a.metadata = v } }

// WithResumedMetadata tells a restarted tool an object, which it reads with [Resumed];
// without it that is true.
func WithResumedMetadata(v any) AnswerOption { return func(a *answering) { a.resumed = v } }

// WithNewInput restarts the tool with another input; the model's is kept, and the
// tool can read it with [OriginalInput].
func WithNewInput(v any) AnswerOption {
	return func(a *answering) { a.input, a.replaces = v, true }
}

// WithTool holds the answer to the schemas of the tool that interrupted, so that a
// mistake shows before the loop is asked, which checks it too.
func WithTool(t action.Action) AnswerOption { return func(a *answering) { a.tool = t } }

func answer(options []AnswerOption) *answering {
	a := &answering{}
	for _, o := range options {
		o(a)
	}
	return a
}

// Respond answers an interrupted request in the tool's place: the part goes into
// Resume.Respond. It fails with INVALID_ARGUMENT when part is no tool request, output
// can't be JSON or breaks the schema of the tool in [WithTool].
func Respond(part content.Part, output any, options ...AnswerOption) (content.Part, error) {
	a := answer(options)
	request := part.ToolRequest
	if request == nil {
		return content.Part{}, status.Publicf(status.InvalidArgument, "the part to respond to is no tool request")
	}
	raw, err := encode(output)
	if err != nil {
		return content.Part{}, err
	}
	note, err := objectOf(a.metadata)
	if err != nil {
		return content.Part{}, err
	}
	if note == nil {
		note = content.True()
	}
	if a.tool != nil {
		if err := against(OutputSchemaOf(a.tool.Desc()), raw, "the answer for tool", a.tool.Desc().Name); err != nil {
			return content.Part{}, err
		}
	}
	return content.Part{
		ToolResponse: &content.ToolResponse{Name: request.Name, Ref: request.Ref, Output: raw},
		Metadata:     content.Metadata{"interruptResponse": note},
	}, nil
}

// Restart has an interrupted tool run again: the part goes into Resume.Restart. It
// fails like [Respond], and when the tool in [WithTool] can't be restarted.
func Restart(part content.Part, options ...AnswerOption) (content.Part, error) {
	a := answer(options)
	if part.ToolRequest == nil {
		return content.Part{}, status.Publicf(status.InvalidArgument, "the part to restart is no tool request")
	}
	note, err := objectOf(a.resumed)
	if err != nil {
		return content.Part{}, err
	}
	if note == nil {
		note = content.True()
	}
	request := *part.ToolRequest
	metadata := part.Metadata.Without("interrupt").With("resumed", note)
	if a.replaces {
		original := request.Input
		if original == nil {
			original = json.RawMessage("null")
		}
		metadata["replacedInput"] = original
		if request.Input, err = encode(a.input); err != nil {
			return content.Part{}, err
		}
	}
	if a.tool != nil {
		if err := checkRestart(a.tool.Desc(), request.Input); err != nil {
			return content.Part{}, err
		}
	}
	part.ToolRequest, part.Metadata = &request, metadata
	return part, nil
}

func checkRestart(d action.Desc, input json.RawMessage) error {
	if !Restartable(d) {
		return status.Publicf(status.InvalidArgument, "tool %q can't be restarted: respond to its interrupt", d.Name)
	}
	return against(d.InputSchema, input, "the input of a restart of tool", d.Name)
}

// CheckOutput holds an answer to the output schema of the tool that d describes, of a
// multipart tool to that of its output; INVALID_ARGUMENT when it breaks it.
func CheckOutput(ctx context.Context, d action.Desc, output json.RawMessage) error {
	s, err := schema.Compile(OutputSchemaOf(d), schema.AssertFormats())
	if err != nil {
		return status.Publicf(status.InvalidArgument, "schema of tool %q: %w", d.Name, err)
	}
	return obeys(s.In(ctx), output, "the answer for tool", d.Name)
}

// OutputSchemaOf returns the schema of a tool's output, nil when any will do.
func OutputSchemaOf(d action.Desc) json.RawMessage {
	if d.Kind == action.ToolV2 {
		return d.Metadata[originalOutputSchema]
	}
	return d.OutputSchema
}

func against(raw, value json.RawMessage, what, name string) error {
	s, err := schema.Compile(raw)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "schema of tool %q: %w", name, err)
	}
	return obeys(s, value, what, name)
}

func obeys(s *schema.Schema, value json.RawMessage, what, name string) error {
	if value == nil {
		value = json.RawMessage("null")
	}
	if err := s.Validate(value); err != nil {
		e := status.Publicf(status.InvalidArgument, "%s %q breaks its schema: %w", what, name, err)
		return e
	}
	return nil
}
