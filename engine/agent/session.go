package agent

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Session is the conversation that an invocation works on. Changes of the custom state and
// of artifacts are streamed to the caller in the order in which they are made. It is safe
// for concurrent use. What it returns is the caller's, but for the parts of messages and
// artifacts, which nobody may change.
type Session struct {
	run   *Run
	id    string
	token chan struct{} // who holds the one token changes what is streamed, and streams it

	mu        sync.Mutex // guards the fields below; the token is taken first
	messages  []content.Message
	custom    json.RawMessage
	artifacts []Artifact
	version   int  // grows with each change
	patched   bool // a patch was sent in this turn; sent is what it made
	sent      json.RawMessage

	delegations int // invocations of other agents whose artifacts were added
}

type sessionKey struct{}

// SessionFrom returns the session of the agent whose turn runs in ctx, for its tools; false
// when there is none.
func SessionFrom(ctx context.Context) (*Session, bool) {
	s, ok := ctx.Value(sessionKey{}).(*Session)
	return s, ok
}

func newSession(run *Run, id string, from *State) *Session {
	s := &Session{run: run, id: id, token: make(chan struct{}, 1)}
	if from != nil {
		s.messages, s.custom, s.artifacts = slices.Clone(from.Messages), slices.Clone(from.Custom), slices.Clone(from.Artifacts)
	}
	if string(s.custom) == "null" {
		s.custom = nil
	}
	return s
}

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Messages returns the messages up to now, the turn's own among them.
func (s *Session) Messages() []content.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// AddMessages puts messages behind those that are there.
func (s *Session) AddMessages(messages ...content.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = append(slices.Clip(s.messages), messages...)
	s.version++
}

// SetMessages replaces the messages.
func (s *Session) SetMessages(messages []content.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.messages = slices.Clone(messages)
	s.version++
}

// State returns the custom state, a JSON value, or nil.
func (s *Session) State() json.RawMessage {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.custom)
}

// StateOf decodes the custom state; the zero value when there is none.
func StateOf[T any](s *Session) (v T, err error) {
	raw := s.State()
	if raw == nil {
		return v, nil
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, status.Publicf(status.FailedPrecondition, "the custom state of session %q: %w", s.id, err)
	}
	return v, nil
}

// SetState replaces the custom state by v, encoded as JSON, and streams the change. It fails
// with INVALID_ARGUMENT when v breaks the agent's schema of the state.
func (s *Session) SetState(v any) error {
	s.token <- struct{}{}
	defer func() { <-s.token }()
	return s.setState(v)
}

// UpdateState changes the custom state in one step: change gets it decoded, and returns what
// takes its place. It must not use the session.
func UpdateState[T any](s *Session, change func(T) (T, error)) error {
	s.token <- struct{}{}
	defer func() { <-s.token }()
	v, err := StateOf[T](s)
	if err != nil {
		return err
	}
	if v, err = change(v); err != nil {
		return err
	}
	return s.setState(v)
}

// setState is SetState; the token is held.
func (s *Session) setState(v any) error {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "encode the custom state: %w", err)
	}
	if err := s.run.agent.checkState(raw); err != nil {
		return err
	}
	s.mu.Lock()
	s.custom = slices.Clone(raw)
	if string(s.custom) == "null" {
		s.custom = nil
	}
	s.version++
	s.mu.Unlock()
	return s.sendPatch()
}

// sendPatch streams how the custom state has changed, as the caller may see it; the token is held.
func (s *Session) sendPatch() error {
	shown, err := s.run.shown(s.copy())
	if err != nil {
		return err
	}
	var now json.RawMessage
	if shown != nil {
		now = shown.Custom
	}
	s.mu.Lock()
	first, before := !s.patched, s.sent
	s.patched, s.sent = true, now
	s.mu.Unlock()
	patch := replaceAll(now)
	if !first {
		if patch, err = diff(before, now); err != nil || len(patch) == 0 {
			return err
		}
	}
	return s.run.emit(&Chunk{CustomPatch: patch})
}

// Artifacts returns the artifacts up to now.
func (s *Session) Artifacts() []Artifact {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.artifacts)
}

// AddArtifacts adds artifacts, each in the place of the one of its name if it has a name
// that is there already, and streams them.
func (s *Session) AddArtifacts(artifacts ...Artifact) error {
	s.token <- struct{}{}
	defer func() { <-s.token }()
	for _, a := range artifacts {
		s.mu.Lock()
		all := slices.Clone(s.artifacts)
		at := slices.IndexFunc(all, func(o Artifact) bool { return a.Name != "" && o.Name == a.Name })
		if at < 0 {
			at, all = len(all), append(all, a)
		}
		all[at] = a
		s.artifacts = all
		s.version++
		s.mu.Unlock()
		if err := s.run.emit(&Chunk{Artifact: &a}); err != nil {
			return err
		}
	}
	return nil
}

// holds reports whether an artifact's name begins with prefix; mu is held.
func (s *Session) holds(prefix string) bool {
	return slices.ContainsFunc(s.artifacts, func(a Artifact) bool { return strings.HasPrefix(a.Name, prefix) })
}

// copy returns the conversation as it is.
func (s *Session) copy() *State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &State{SessionID: s.id, Messages: slices.Clone(s.messages), Custom: slices.Clone(s.custom), Artifacts: slices.Clone(s.artifacts)}
}

// beginTurn returns the version with which a turn begins. Its first patch replaces the whole.
func (s *Session) beginTurn() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.patched, s.sent = false, nil
	return s.version
}

func (s *Session) changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.version
}
