package session

import (
	"context"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// MainThread is the thread of a chat that names none.
const MainThread = "main"

// preambleKey marks the messages of a chat's preamble in their metadata, as in Genkit.
const preambleKey = "preamble"

// Chat is a conversation over one thread of a session. (Genkit: js/ai/src/chat.ts.) It is
// safe for concurrent use.
type Chat struct {
	s        *Session
	thread   string
	preamble []content.Message
}

// Runner runs a turn: it asks a model, given the whole conversation. The session is in
// ctx; see [From].
type Runner func(ctx context.Context, messages []content.Message) (*model.Response, error)

// Chat returns a chat over a thread, "" for [MainThread]. The preamble, such as a system
// message, stands before the thread's messages in every turn, in the place of one that
// the thread was begun with.
func (s *Session) Chat(thread string, preamble ...content.Message) *Chat {
	if thread == "" {
		thread = MainThread
	}
	c := &Chat{s: s, thread: thread, preamble: make([]content.Message, len(preamble))}
	for i, m := range preamble {
		m.Metadata = m.Metadata.With(preambleKey, content.True())
		c.preamble[i] = m
	}
	return c
}

// Session returns the chat's session.
func (c *Chat) Session() *Session { return c.s }

// Thread returns the name of the chat's thread.
func (c *Chat) Thread() string { return c.thread }

// Messages returns the messages with which the next turn begins: the preamble and the thread.
func (c *Chat) Messages() ([]content.Message, error) {
	stored, err := c.s.Messages(c.thread)
	if err != nil {
		return nil, err
	}
	return c.opened(stored), nil
}

// opened puts the preamble before a thread's messages.
func (c *Chat) opened(stored []content.Message) []content.Message {
	if len(c.preamble) == 0 {
		return stored
	}
	messages := append([]content.Message{}, c.preamble...)
	for _, m := range stored {
		if !m.Metadata.Truthy(preambleKey) {
			messages = append(messages, m)
		}
	}
	return messages
}

// Send runs a turn: run gets the conversation with what is added to it, and the thread
// becomes the history of its response. Turns of one thread of a *Session run one after
// the other. When the thread was changed meanwhile by another writer of the store, what
// the turn added is put behind that, so that no message is lost; it fails with ABORTED
// where that makes no sense, because the other's turn waits for the answer of a tool, or
// because the turn changed what was there. A tool that sends to the thread whose turn runs
// it gets FAILED_PRECONDITION.
//
// When the turn succeeds and can't be stored, the response is returned beside the error.
func (c *Chat) Send(ctx context.Context, added []content.Message, run Runner) (resp *model.Response, err error) {
	if err := checkName("thread name", c.thread); err != nil {
		return nil, err
	}
	if within(ctx, c.s, c.thread) {
		return nil, status.Publicf(status.FailedPrecondition, "a turn of thread %q sends to it", c.thread)
	}
	leave, err := c.s.turn(ctx, c.thread)
	if err != nil {
		return nil, err
	}
	defer leave()
	ctx, span := telemetry.Start(enter(ctx, c.s, c.thread), telemetry.Span{Name: "send", Type: "helper"})
	telemetry.AnnotateString(ctx, "genkit:sessionId", c.s.id)
	telemetry.AnnotateString(ctx, "genkit:threadName", c.thread)
	defer func() { err = span.End(err) }()
	r, err := c.begin(ctx, added)
	if err != nil {
		return nil, err
	}
	resp, err = run(ctx, append(slices.Clip(r.before), added...))
	if err != nil {
		return resp, err
	}
	if resp == nil {
		return nil, status.Errorf(status.Internal, "thread %q: the run returned no response", c.thread)
	}
	// The answer is there: a caller who leaves now does not undo it.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	return resp, c.s.Modify(ctx, func(d *Data) error { return c.merge(d, *r, history(resp, *r)) })
}

// storeTime bounds how long a turn's end waits for the store.
const storeTime = 30 * time.Second

// begin reads the thread anew.
func (c *Chat) begin(ctx context.Context, added []content.Message) (*record, error) {
	if err := c.s.Refresh(ctx); err != nil {
		return nil, err
	}
	data, err := c.s.Data()
	if err != nil {
		return nil, err
	}
	stored := data.Threads[c.thread]
	if stored == nil && len(data.Threads) >= MaxThreads { // before a model is paid
		return nil, status.Publicf(status.ResourceExhausted, "a session has at most %d threads", MaxThreads)
	}
	return &record{stored: stored, before: c.opened(stored), added: added}, nil
}

// queue is where the turns of a thread wait.
type queue struct {
	token chan struct{} // who holds the one token runs a turn
	users int           // guarded by the session's mu
}

// turn waits for the thread's token.
func (s *Session) turn(ctx context.Context, thread string) (leave func(), err error) {
	s.mu.Lock()
	q := s.turns[thread]
	if q == nil {
		q = &queue{token: make(chan struct{}, 1)}
		s.turns[thread] = q
	}
	q.users++
	s.mu.Unlock()
	gone := func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if q.users--; q.users == 0 {
			delete(s.turns, thread)
		}
	}
	select {
	case q.token <- struct{}{}:
		return func() { <-q.token; gone() }, nil
	case <-ctx.Done():
		gone()
		return nil, status.Convert(ctx.Err())
	}
}

// record holds the messages that a turn read and added.
type record struct{ stored, before, added []content.Message }

// merge puts the turn's history into d.
func (c *Chat) merge(d *Data, r record, after []content.Message) error {
	now := d.Threads[c.thread]
	if same(now, r.stored) {
		d.set(c.thread, after)
		return nil
	}
	if waiting(now) || waiting(r.before) || !r.follows(after) {
		return status.Publicf(status.Aborted, "thread %q was changed meanwhile by a turn that this one does not go with", c.thread)
	}
	d.set(c.thread, append(slices.Clip(now), after[len(r.before):]...))
	return nil
}

// follows reports whether after is what the turn began with, then what was added, then
// more. A format's instructions may have been put into a message that was added.
func (r *record) follows(after []content.Message) bool {
	n := len(r.before)
	if len(r.added) == 0 || len(after) < n+len(r.added) {
		return false
	}
	for i, m := range r.added {
		got := after[n+i]
		if got.Role != m.Role || len(got.Content) == 0 || len(m.Content) == 0 {
			return false
		}
		if !same([]content.Message{{Content: got.Content[:1]}}, []content.Message{{Content: m.Content[:1]}}) {
			return false
		}
	}
	return true
}

// waiting reports whether a conversation ends with a tool request that nobody answered.
func waiting(messages []content.Message) bool {
	return len(messages) > 0 && len(messages[len(messages)-1].ToolRequests()) > 0
}

// same compares as JSON.
func same(a, b []content.Message) bool {
	if len(a) != len(b) {
		return false
	}
	if len(a) == 0 {
		return true
	}
	return rawjson.EqualAny(a, b)
}

// history is the conversation after a response. One that does not say what was asked
// follows what the turn asked.
func history(resp *model.Response, r record) []content.Message {
	var messages []content.Message
	if resp.Request != nil {
		messages = append(messages, resp.Request.Messages...)
	} else {
		messages = append(append(messages, r.before...), r.added...)
	}
	if resp.Message != nil {
		messages = append(messages, *resp.Message)
	}
	return messages
}
