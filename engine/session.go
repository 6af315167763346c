package engine

import (
	"context"
	"iter"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/session"
)

// Chat is a conversation with a model over a thread of a session. It is safe for
// concurrent use: turns run one after the other.
type Chat struct {
	e    *Engine
	chat *session.Chat
	base []GenerateOption
}

// NewChat returns a chat over a thread of s, "" for the main one. The options hold for
// every turn; a system message and messages among them are the preamble, which stands
// before the thread.
func NewChat(e *Engine, s *session.Session, thread string, options ...GenerateOption) (*Chat, error) {
	r, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	return &Chat{e: e, chat: s.Chat(thread, r.opts.Messages...), base: options}, nil
}

// Session returns the chat's session.
func (c *Chat) Session() *session.Session { return c.chat.Session() }

// Messages returns the conversation up to now, with its preamble.
func (c *Chat) Messages() ([]content.Message, error) { return c.chat.Messages() }

// Send says text and returns the answer, which is in the thread by then; see
// [session.Chat.Send]. The options hold for this turn. An empty text adds no message, as
// for [WithToolResponses]. Tools find the session with [session.From].
func (c *Chat) Send(ctx context.Context, text string, options ...GenerateOption) (*ModelResponse, error) {
	return c.send(ctx, turn(text, options), nil)
}

// SendStream is [Chat.Send] as an iterator; see [GenerateStream].
func (c *Chat) SendStream(ctx context.Context, text string, options ...GenerateOption) iter.Seq2[ModelStreamValue, error] {
	return streamed(ctx, func(ctx context.Context, send model.Send) (*ModelResponse, error) {
		return c.send(ctx, turn(text, options), send)
	})
}

// turn adds the user's message to the options.
func turn(text string, options []GenerateOption) []GenerateOption {
	if text == "" {
		return options
	}
	return append(slices.Clip(options), WithPrompt(text))
}

func (c *Chat) send(ctx context.Context, options []GenerateOption, send model.Send) (*ModelResponse, error) {
	own, err := newRequest(options)
	if err != nil {
		return nil, err
	}
	whole, err := newRequest(append(slices.Clip(c.base), options...))
	if err != nil {
		return nil, err
	}
	ctx, end, err := c.e.running.begin(c.e.Context(ctx))
	if err != nil {
		return nil, err
	}
	defer end()
	return c.chat.Send(ctx, own.opts.Messages, func(ctx context.Context, messages []content.Message) (*model.Response, error) {
		opts := whole.opts
		opts.Messages = messages
		return generate.Run(ctx, c.e.reg, &opts, whole.sender(ctx, send), append(whole.more, generate.WithLogger(c.e.logger))...)
	})
}
