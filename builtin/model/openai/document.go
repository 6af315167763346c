package openai

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// document writes a stream's answer as the document that it would have been.
func (a *answer) document() (json.RawMessage, error) {
	reply := &wireReply{Role: json.RawMessage(`"assistant"`), ExtraContent: a.opaque["extra_content"]}
	opaque, err := a.opaqueFields()
	if err != nil {
		return nil, err
	}
	reply.ReasoningDetails = opaque["reasoning_details"]
	reasoning := &reply.ReasoningContent
	if a.field == Reasoning {
		reasoning = &reply.Reasoning
	}
	for _, f := range []struct {
		to   *json.RawMessage
		text string
	}{{&reply.Content, a.text.String()}, {reasoning, a.reasoning.String()}, {&reply.Refusal, a.refusal.String()}} {
		if f.text == "" {
			continue
		}
		raw, err := rawjson.Encode(f.text)
		if err != nil {
			return nil, err
		}
		*f.to = raw
	}
	for _, call := range a.calls {
		c := wireCallPiece{ID: call.id, Type: "function", extra: call.extra}
		c.Function.Name, c.Function.extra = call.name, call.function
		raw, err := rawjson.Encode(call.arguments.String())
		if err != nil {
			return nil, err
		}
		c.Function.Arguments = raw
		reply.ToolCalls = append(reply.ToolCalls, c)
	}
	if len(a.notes) > 0 {
		raw, err := rawjson.Encode(a.notes)
		if err != nil {
			return nil, err
		}
		reply.Annotations = raw
	}
	doc := a.head
	doc.Object = json.RawMessage(`"chat.completion"`)
	doc.Choices = []wireChoice{{Message: reply, FinishReason: reasonText(a.finish.Reason), Error: a.failed}}
	return rawjson.Encode(doc)
}
