package format

import (
	"encoding/json"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// purposeOutput marks the part that holds instructions.
var purposeOutput = json.RawMessage(`"output"`)

// InstructionsFor returns the text to inject for a request, "" for none: asked is
// the caller's output.instructions, which forbids (false), forces (true) or
// replaces (a string) the handler's own text.
func InstructionsFor(h Handler, asked json.RawMessage) string {
	switch string(asked) {
	case "false":
		return ""
	case "", "null", `""`:
		if h.Config().NoDefaultInstructions {
			return ""
		}
		return h.Instructions()
	}
	var text string
	if json.Unmarshal(asked, &text) == nil {
		return text
	}
	return h.Instructions()
}

// Inject returns messages with the instructions placed as Genkit does: nowhere
// when some part is marked as instructions already; else in the first system
// message, else in the last user message, in the place of a part that is marked as
// pending or at the end. The given messages are not changed.
func Inject(messages []content.Message, instructions string) []content.Message {
	target := slices.IndexFunc(messages, func(m content.Message) bool { return m.Role == content.RoleSystem })
	if target < 0 {
		target = LastUser(messages)
	}
	return injectAt(messages, instructions, target)
}

// InjectFor is [Inject] for the text that h, or the caller in its place, gives: what an
// [Untrusted] handler gives goes into the last user message.
func InjectFor(h Handler, messages []content.Message, asked json.RawMessage) []content.Message {
	text := InstructionsFor(h, asked)
	if _, untrusted := h.(Untrusted); untrusted && text == h.Instructions() {
		return injectAt(messages, text, LastUser(messages))
	}
	return Inject(messages, text)
}

func injectAt(messages []content.Message, instructions string, target int) []content.Message {
	if instructions == "" || target < 0 || slices.ContainsFunc(messages, hasInstructions) {
		return messages
	}
	part := content.NewTextPart(instructions)
	part.Metadata = content.Metadata{"purpose": purposeOutput}
	return PutPart(messages, target, part, "output")
}

// PutPart returns messages in which part stands in messages[target]: in the place
// of the part that waits for its purpose, or at the end.
func PutPart(messages []content.Message, target int, part content.Part, purpose string) []content.Message {
	messages = slices.Clone(messages)
	m := &messages[target]
	pending := slices.IndexFunc(m.Content, func(p content.Part) bool { return hasPurpose(p, purpose) && p.Metadata.Truthy("pending") })
	if pending < 0 {
		m.Content = append(slices.Clone(m.Content), part)
		return messages
	}
	m.Content = slices.Clone(m.Content)
	m.Content[pending] = part
	return messages
}

// LastUser returns the index of the last user message, -1 when there is none.
func LastUser(messages []content.Message) int {
	for i, message := range slices.Backward(messages) {
		if message.Role == content.RoleUser {
			return i
		}
	}
	return -1
}

// HasPart reports whether a message holds a part of that purpose that is not
// pending.
func HasPart(m content.Message, purpose string) bool {
	return slices.ContainsFunc(m.Content, func(p content.Part) bool { return hasPurpose(p, purpose) && !p.Metadata.Truthy("pending") })
}

func hasInstructions(m content.Message) bool { return HasPart(m, "output") }

func hasPurpose(p content.Part, purpose string) bool {
	return string(p.Metadata["purpose"]) == `"`+purpose+`"`
}

// Simulate returns req as a model can serve it: when the output is constrained by
// a schema and the model does not enforce schemas (or not beside tools), the
// schema goes into the messages as instructions and leaves the output (Genkit:
// js/ai/src/model/middleware.ts, simulateConstrainedGeneration). req is not
// changed.
func Simulate(req *model.Request, supports model.Supports) *model.Request {
	out := req.Output
	if out == nil || out.Constrained == nil || !*out.Constrained || len(out.Schema) == 0 {
		return req
	}
	switch supports.Constrained {
	case "all":
		return req
	case "no-tools":
		if len(req.Tools) == 0 {
			return req
		}
	}
	c := *req
	c.Messages = Inject(req.Messages, schemaInstructions(out.Schema))
	c.Output = &model.Output{Constrained: new(false), Extra: out.Extra}
	return &c
}
