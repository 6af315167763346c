package prompt

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

// Input is the argument of a function that makes content.
type Input struct {
	// JSON is the prompt's input with the defaults filled in.
	JSON json.RawMessage
	// Context is the action context, "{}" when there is none.
	Context json.RawMessage
	// State is that of [WithState], nil when there is none.
	State json.RawMessage
	// History holds the messages that the call brought.
	History []content.Message
}

// Content is the content of a message: a template, parts, or the result of a function.
// Its zero value is no message at all.
type Content struct {
	template *string
	parts    []content.Part
	fn       func(ctx context.Context, in Input) ([]content.Part, error)
}

// Template is content that is rendered. It must render to one message: it may hold
// {{media}} and {{section}}, but not begin a second message.
func Template(source string) Content { return Content{template: &source} }

// Parts is content that is used as it is.
func Parts(parts ...content.Part) Content { return Content{parts: parts} }

// Text is content of one text that is used as it is.
func Text(text string) Content { return Parts(content.NewTextPart(text)) }

// Func is content that fn makes for each rendering. It is used as it is: nothing in it
// is taken for a template.
func Func(fn func(ctx context.Context, in Input) ([]content.Part, error)) Content {
	return Content{fn: fn}
}

// Messages is the middle of a prompt: a template of several messages, messages, or
// what a function returns. Its zero value is the history alone.
type Messages struct {
	template *string
	list     []content.Message
	fn       func(ctx context.Context, in Input) ([]content.Message, error)
}

// MessagesTemplate is a template that may begin messages with {{role}} and place the
// history with {{history}}; without the latter the history stands before the last
// message when that is the user's, else behind all.
func MessagesTemplate(source string) Messages { return Messages{template: &source} }

// MessageList is messages that are used as they are. As in Genkit JS, the history of a
// call has no place in them and is left out.
func MessageList(messages ...content.Message) Messages {
	return Messages{list: append([]content.Message{}, messages...)}
}

// MessagesFunc is messages that fn makes for each rendering, the history included,
// which fn finds in its input.
func MessagesFunc(fn func(ctx context.Context, in Input) ([]content.Message, error)) Messages {
	return Messages{fn: fn}
}

// Docs is the documents of a prompt: a list, or the result of a function.
type Docs struct {
	list []content.Document
	fn   func(ctx context.Context, in Input) ([]content.Document, error)
}

// DocList is documents that are used as they are.
func DocList(docs ...content.Document) Docs { return Docs{list: docs} }

// DocsFunc is documents that fn finds for each rendering.
func DocsFunc(fn func(ctx context.Context, in Input) ([]content.Document, error)) Docs {
	return Docs{fn: fn}
}

type stateKey struct{}

// WithState gives templates below ctx the value of {{@state}}, a JSON value such as
// that of a session. Without it, {{@state}} is the key of the action context.
func WithState(ctx context.Context, state json.RawMessage) context.Context {
	return context.WithValue(ctx, stateKey{}, state)
}

func stateOf(ctx context.Context) json.RawMessage {
	raw, _ := ctx.Value(stateKey{}).(json.RawMessage)
	return raw
}
