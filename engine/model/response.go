package model

import (
	"bytes"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Text returns the text of the message, "" when there is none.
func (r *Response) Text() string { return r.message().Text() }

// Reasoning returns the text of the message's reasoning parts, joined.
func (r *Response) Reasoning() string { return r.message().Reasoning() }

// Media returns the URL of the message's first media part, "" when there is none.
func (r *Response) Media() string { return r.message().Media() }

// ToolRequests returns the parts of the message that ask for a tool call.
func (r *Response) ToolRequests() []content.Part { return r.message().ToolRequests() }

// Interrupts returns the tool requests of the message that a tool or a middleware stopped.
func (r *Response) Interrupts() []content.Part { return r.message().Interrupts() }

// History returns the conversation after the response: the messages of the request and its
// answer. It is the caller's own.
func (r *Response) History() []content.Message {
	if r == nil {
		return nil
	}
	var messages []content.Message
	if r.Request != nil {
		messages = append(messages, r.Request.Messages...)
	}
	if r.Message != nil {
		messages = append(messages, *r.Message)
	}
	return messages
}

// Output decodes what the asked format read into v, a pointer; numbers in an interface
// keep their digits. It fails with FAILED_PRECONDITION when there is no output, such as
// in an interrupted response, and with INVALID_ARGUMENT when it does not fit v.
func (r *Response) Output(v any) error {
	if r == nil || r.Parsed == nil {
		var reason FinishReason
		if r != nil {
			reason = r.FinishReason
		}
		return status.Publicf(status.FailedPrecondition, "the model gave no output; finish reason %q", reason)
	}
	d := json.NewDecoder(bytes.NewReader(r.Parsed))
	d.UseNumber()
	if err := d.Decode(v); err != nil {
		return status.Publicf(status.InvalidArgument, "the model's output does not fit %T: %w", v, err)
	}
	return nil
}

func (r *Response) message() *content.Message {
	if r == nil {
		return nil
	}
	return r.Message
}
