// Package session is a conversation that lasts: state, threads of messages, and a store
// that keeps both.
//
// It owns sessions, chats over a thread, the rule by which two writers don't lose each
// other's changes, and two stores: in memory and in a directory. The function that runs a
// turn is given from outside. Use:
//
//	s, err := session.New(ctx, session.Config{Store: store, State: map[string]any{"name": "Ada"}})
//	err = s.UpdateState(ctx, map[string]any{"visits": 2})
//	resp, err := s.Chat("main").Send(ctx, []content.Message{content.NewUserTextMessage("hi")}, run)
//
// A *Session is safe for concurrent use, and so are several of the same id over one
// store. Changes are made by compare and swap: what a change is based on is read anew
// when somebody was faster. Everything a session returns is the caller's own.
//
// Experimental: Genkit's sessions are in beta. Stores and chats may still change with them.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/uuid"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Bounds and defaults.
const (
	// MaxIDBytes bounds the ids of sessions and the names of threads.
	MaxIDBytes = 128
	// MaxThreads bounds the threads of a session.
	MaxThreads = 100
	// DefaultMaxBytes bounds a session, encoded as JSON.
	DefaultMaxBytes = 4 << 20
	// attempts is how often a change is tried when others are faster. One of those who
	// compete always gets through, so that it bounds how many there may be.
	attempts = 1000
)

// Store keeps sessions. It is called concurrently; its arguments and results are
// nobody's to change afterwards. New stores are held to enginetest.SessionStore.
type Store interface {
	// Get returns a session and its revision, which is not empty. NOT_FOUND when there is
	// none, DATA_LOSS when its data can't be read.
	Get(ctx context.Context, id string) (doc json.RawMessage, revision string, err error)
	// Save stores a session in the place of the one of a revision, "" for none, and
	// returns its new revision. ABORTED when the stored one has another.
	Save(ctx context.Context, id string, doc json.RawMessage, revision string) (string, error)
	// Delete removes a session; one that is not there is no failure.
	Delete(ctx context.Context, id string) error
}

// Data is a session as it is stored: Genkit's SessionData.
type Data struct {
	ID string `json:"id"`
	// State is a JSON value, or nil.
	State   json.RawMessage              `json:"state,omitempty"`
	Threads map[string][]content.Message `json:"threads,omitempty"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

type plainData Data

// UnmarshalJSON keeps unknown fields in Extra.
func (d *Data) UnmarshalJSON(b []byte) (err error) {
	*d = Data{}
	d.Extra, err = rawjson.Unmarshal(b, (*plainData)(d))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (d Data) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainData(d), d.Extra) }

// Config configures a session.
type Config struct {
	// ID names the session; empty means a random UUID.
	ID string
	// State is the initial state, encoded as JSON; nil for none.
	State any
	// Store keeps the session; nil means one in memory, of its own.
	Store Store
	// MaxBytes bounds the session; 0 means [DefaultMaxBytes].
	MaxBytes int
}

// Session is a stored conversation. Make one with [New] or [Load].
type Session struct {
	id    string
	store Store
	limit int
	token chan struct{} // who holds the one token asks the store, so that what is kept never grows older

	mu       sync.Mutex // guards the fields below
	doc      json.RawMessage
	revision string
	turns    map[string]*queue // of each thread with a turn
}

// New stores a new session. It fails with INVALID_ARGUMENT for an id or a state that is
// not usable, and with ALREADY_EXISTS when there is a session of that id.
func New(ctx context.Context, c Config) (*Session, error) {
	if c.ID == "" {
		c.ID = uuid.New()
	}
	s, err := open(c)
	if err != nil {
		return nil, err
	}
	data := Data{ID: c.ID}
	if c.State != nil {
		if data.State, err = encodeState(c.State); err != nil {
			return nil, err
		}
	}
	if err := s.save(ctx, &data, ""); errors.Is(err, status.ErrAborted) {
		return nil, status.Publicf(status.AlreadyExists, "session %q exists already", c.ID)
	} else if err != nil {
		return nil, err
	}
	return s, nil
}

// Load returns a stored session; NOT_FOUND when there is none. The state of the Config is
// not used.
func Load(ctx context.Context, c Config) (*Session, error) {
	s, err := open(c)
	if err != nil {
		return nil, err
	}
	return s, s.Refresh(ctx)
}

func open(c Config) (*Session, error) {
	if err := CheckID(c.ID); err != nil {
		return nil, err
	}
	s := &Session{id: c.ID, store: c.Store, limit: c.MaxBytes, token: make(chan struct{}, 1), turns: map[string]*queue{}}
	if s.store == nil {
		s.store = NewMemory(MemoryConfig{MaxSessions: 1})
	}
	if s.limit <= 0 {
		s.limit = DefaultMaxBytes
	}
	return s, nil
}

// CheckID reports whether a session may have the id: 1 to [MaxIDBytes] bytes of UTF-8
// that can be shown. Ids name sessions and grant nothing: a server has to check who may
// use which.
func CheckID(id string) error { return checkName("session id", id) }

func checkName(what, name string) error {
	hidden := func(r rune) bool { return !unicode.IsGraphic(r) }
	if name == "" || len(name) > MaxIDBytes || !utf8.ValidString(name) || slices.ContainsFunc([]rune(name), hidden) {
		return status.Publicf(status.InvalidArgument, "%s: want 1 to %d bytes that can be shown", what, MaxIDBytes)
	}
	return nil
}

func encodeState(v any) (json.RawMessage, error) {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "session state: %w", err)
	}
	return raw, nil
}

// ID returns the session's id.
func (s *Session) ID() string { return s.id }

// Data returns the session as it was when it was last read or written here.
func (s *Session) Data() (*Data, error) {
	data, _, err := s.last()
	return data, err
}

func (s *Session) last() (*Data, string, error) {
	s.mu.Lock()
	doc, revision := s.doc, s.revision
	s.mu.Unlock()
	data := &Data{}
	if err := json.Unmarshal(doc, data); err != nil {
		return nil, "", status.Errorf(status.DataLoss, "session %q: %w", s.id, err)
	}
	if data.ID != s.id {
		return nil, "", status.Errorf(status.DataLoss, "the file of session %q holds another session", s.id)
	}
	return data, revision, nil
}

// Refresh reads the session anew; NOT_FOUND when it is gone.
func (s *Session) Refresh(ctx context.Context) error {
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	doc, revision, err := s.store.Get(ctx, s.id)
	if errors.Is(err, status.ErrNotFound) {
		return status.Publicf(status.NotFound, "session %q not found", s.id)
	}
	if err != nil {
		return err
	}
	s.keep(doc, revision)
	_, _, err = s.last()
	return err
}

func (s *Session) enter(ctx context.Context) (leave func(), err error) {
	select {
	case s.token <- struct{}{}:
		return func() { <-s.token }, nil
	case <-ctx.Done():
		return nil, status.Convert(ctx.Err())
	}
}

func (s *Session) keep(doc json.RawMessage, revision string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.doc, s.revision = doc, revision
}

// save stores data in the place of a revision.
func (s *Session) save(ctx context.Context, data *Data, revision string) error {
	if data.ID != s.id {
		return status.Errorf(status.InvalidArgument, "the id of session %q was changed", s.id)
	}
	if len(data.Threads) > MaxThreads {
		return status.Publicf(status.ResourceExhausted, "a session has at most %d threads", MaxThreads)
	}
	for name := range data.Threads {
		if err := checkName("thread name", name); err != nil {
			return err
		}
	}
	doc, err := rawjson.Encode(data)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "encode session %q: %w", s.id, err)
	}
	if len(doc) > s.limit {
		return status.Publicf(status.ResourceExhausted, "session %q would take %d bytes, more than %d", s.id, len(doc), s.limit)
	}
	leave, err := s.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if revision, err = s.store.Save(ctx, s.id, doc, revision); err != nil {
		return err
	}
	s.keep(doc, revision)
	return nil
}

// Modify changes the session: fn gets a copy of the stored data and changes it. When
// another writer was faster, it is called again with that writer's data, so that it must
// do nothing but change its argument. An error of fn ends it, and nothing is changed.
// Modify fails with RESOURCE_EXHAUSTED when the data exceeds a bound and with ABORTED when
// others are faster for too long.
func (s *Session) Modify(ctx context.Context, fn func(*Data) error) error {
	for range attempts {
		data, revision, err := s.last()
		if err != nil {
			return err
		}
		if err := fn(data); err != nil {
			return err
		}
		if err = s.save(ctx, data, revision); !errors.Is(err, status.ErrAborted) {
			return err
		}
		if err := ctx.Err(); err != nil {
			return status.Convert(err)
		}
		if err := s.Refresh(ctx); err != nil {
			return err
		}
	}
	return status.Publicf(status.Aborted, "session %q is changed by too many at once", s.id)
}

// State returns the state, nil when there is none.
func (s *Session) State() (json.RawMessage, error) {
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	return data.State, nil
}

// StateOf decodes the state; the zero value when there is none.
func StateOf[T any](s *Session) (v T, err error) {
	raw, err := s.State()
	if err != nil || raw == nil {
		return v, err
	}
	if err := json.Unmarshal(raw, &v); err != nil {
		return v, status.Publicf(status.FailedPrecondition, "state of session %q: %w", s.id, err)
	}
	return v, nil
}

// UpdateState patches the state: each member of patch, which must be a JSON object, takes
// the place of the state's member of that name, and the others stay (Genkit JS:
// updateState). A state that is no object is replaced.
func (s *Session) UpdateState(ctx context.Context, patch any) error {
	raw, err := encodeState(patch)
	if err != nil {
		return err
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(raw, &members) != nil || members == nil {
		return status.Publicf(status.InvalidArgument, "a patch of the state must be an object")
	}
	return s.Modify(ctx, func(d *Data) error {
		state := map[string]json.RawMessage{}
		if json.Unmarshal(d.State, &state) != nil || state == nil {
			state = map[string]json.RawMessage{}
		}
		maps.Copy(state, members)
		d.State, err = encodeState(state)
		return err
	})
}

// SetState replaces the state; nil removes it.
func (s *Session) SetState(ctx context.Context, state any) error {
	var raw json.RawMessage
	if state != nil {
		var err error
		if raw, err = encodeState(state); err != nil {
			return err
		}
	}
	return s.Modify(ctx, func(d *Data) error {
		d.State = raw
		return nil
	})
}

// Messages returns the messages of a thread, nil when it has none.
func (s *Session) Messages(thread string) ([]content.Message, error) {
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	return data.Threads[thread], nil
}

// Threads returns the names of the threads, sorted.
func (s *Session) Threads() ([]string, error) {
	data, err := s.Data()
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(data.Threads)), nil
}

// UpdateMessages replaces the messages of a thread; none removes it.
func (s *Session) UpdateMessages(ctx context.Context, thread string, messages []content.Message) error {
	if err := checkName("thread name", thread); err != nil {
		return err
	}
	return s.Modify(ctx, func(d *Data) error {
		d.set(thread, messages)
		return nil
	})
}

func (d *Data) set(thread string, messages []content.Message) {
	if len(messages) == 0 {
		delete(d.Threads, thread)
		return
	}
	if d.Threads == nil {
		d.Threads = map[string][]content.Message{}
	}
	d.Threads[thread] = messages
}

// Delete removes the session from its store.
func (s *Session) Delete(ctx context.Context) error { return s.store.Delete(ctx, s.id) }
