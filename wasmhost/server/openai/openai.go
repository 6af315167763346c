// Package openai reads the requests of clients of OpenAI's API as Genkit's, and writes Genkit's answers as OpenAI's.
//
// It owns the translation of chat completions, embeddings and lists of models, as OpenAI's reference of the API has
// them (version 2.3.0); it sends nothing, and knows no server:
//
//	chat, err := openai.ReadChat(body)
//	resp, err := generate.Run(ctx, registry, chat.Options, send, generate.WithTools(chat.Tools...))
//	answer := chat.Answer(id, now, resp)
//
// Members of a request that say how a model is to work are passed on where Genkit has a name for them, and refused
// where an answer without them would be another one than was asked for; the others, such as store and user, are
// passed over, as OpenAI's clients expect of servers that are not OpenAI's.
package openai

import (
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of one request.
const (
	MaxTools  = 128  // that a request brings or names, as OpenAI has it
	MaxInputs = 2048 // of one request for embeddings, as OpenAI has it
)

// Error is a failure as OpenAI writes it: the member "error" of the answer.
//
//	{"message": "…", "type": "invalid_request_error", "param": null, "code": "INVALID_ARGUMENT"}
type Error struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    string  `json:"code"`
}

// types are OpenAI's names for what went wrong.
var types = map[status.Code]string{
	status.Unauthenticated: "authentication_error", status.PermissionDenied: "permission_error",
	status.ResourceExhausted: "rate_limit_error", status.NotFound: "not_found_error",
	status.Internal: "server_error", status.Unknown: "server_error", status.DataLoss: "server_error",
	status.Unavailable: "server_error", status.DeadlineExceeded: "server_error", status.Cancelled: "server_error",
}

// ErrorOf returns the failure of a status code and its text.
func ErrorOf(code status.Code, message string) Error {
	e := Error{Message: message, Type: types[code], Code: code.String()}
	if e.Type == "" {
		e.Type = "invalid_request_error"
	}
	return e
}

// read decodes a part of a request; members that v does not name are passed over.
func read(raw json.RawMessage, v any, what string) error {
	if err := schema.Decode(raw, v, schema.IgnoreUnknown); err != nil {
		return status.Publicf(status.InvalidArgument, "%s: %w", what, err)
	}
	return nil
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }
