package session_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func openDir(t testing.TB) *session.Dir {
	t.Helper()
	d, err := session.OpenDir(t.TempDir(), session.DirConfig{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, d.Close()) })
	return d
}

func TestStoresKeepTheirContract(t *testing.T) {
	t.Run("in memory", func(t *testing.T) {
		enginetest.SessionStore(t, func(*testing.T) session.Store { return session.NewMemory(session.MemoryConfig{}) })
	})
	t.Run("in a directory", func(t *testing.T) {
		enginetest.SessionStore(t, func(t *testing.T) session.Store { return openDir(t) })
	})
}

func newSession(t testing.TB, c session.Config) *session.Session {
	t.Helper()
	s, err := session.New(t.Context(), c)
	require.NoError(t, err)
	return s
}

func state(t testing.TB, s *session.Session) string {
	t.Helper()
	raw, err := s.State()
	require.NoError(t, err)
	return string(raw)
}

func texts(t testing.TB, s *session.Session, thread string) []string {
	t.Helper()
	messages, err := s.Messages(thread)
	require.NoError(t, err)
	list := []string{}
	for _, m := range messages {
		list = append(list, string(m.Role)+": "+m.Text())
	}
	return list
}

func TestStateIsPatchedAndReplaced(t *testing.T) {
	store := session.NewMemory(session.MemoryConfig{})
	s := newSession(t, session.Config{Store: store, State: map[string]any{"name": "Ada", "n": json.Number("1.10")}})
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4`, s.ID())
	require.NoError(t, s.UpdateState(t.Context(), map[string]any{"visits": 2, "name": nil}))
	assert.JSONEq(t, `{"n":1.10,"name":null,"visits":2}`, state(t, s))
	assert.Contains(t, state(t, s), "1.10", "numbers keep their digits")
	other, err := session.Load(t.Context(), session.Config{Store: store, ID: s.ID()})
	require.NoError(t, err)
	assert.Equal(t, state(t, s), state(t, other))
	typed, err := session.StateOf[struct{ Visits int }](other)
	require.NoError(t, err)
	assert.Equal(t, 2, typed.Visits)
	_, err = session.StateOf[[]int](other)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)

	require.NoError(t, other.SetState(t.Context(), []int{1}))
	require.NoError(t, s.UpdateState(t.Context(), struct {
		A int `json:"a"`
	}{7}), "what it had read is old by now")
	assert.JSONEq(t, `{"a":7}`, state(t, s), "a state that is no object is replaced")
	require.NoError(t, s.SetState(t.Context(), nil))
	assert.Empty(t, state(t, s))
	zero, err := session.StateOf[int](s)
	require.NoError(t, err)
	assert.Zero(t, zero)

	for _, bad := range []any{7, []int{1}, nil, "x", make(chan int)} {
		require.ErrorIs(t, s.UpdateState(t.Context(), bad), status.ErrInvalidArgument, "%v", bad)
	}
	require.ErrorIs(t, s.SetState(t.Context(), math.NaN()), status.ErrInvalidArgument)
	raw, err := s.State()
	require.NoError(t, err)
	assert.Nil(t, raw)
}

func TestASessionIsMadeOnceAndFoundAgain(t *testing.T) {
	store := session.NewMemory(session.MemoryConfig{})
	s := newSession(t, session.Config{Store: store, ID: "ada"})
	_, err := session.New(t.Context(), session.Config{Store: store, ID: "ada"})
	require.ErrorIs(t, err, status.ErrAlreadyExists)
	_, err = session.Load(t.Context(), session.Config{Store: store, ID: "bob"})
	require.ErrorIs(t, err, status.ErrNotFound)
	for _, id := range []string{"", "a\x00", "a\nb", "\xff", strings.Repeat("x", 129), "a\u200bb"} {
		_, err = session.Load(t.Context(), session.Config{Store: store, ID: id})
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%q", id)
	}
	_, err = session.New(t.Context(), session.Config{State: make(chan int)})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.NoError(t, s.Delete(t.Context()))
	require.ErrorIs(t, s.Refresh(t.Context()), status.ErrNotFound)
	require.ErrorIs(t, s.UpdateState(t.Context(), map[string]int{}), status.ErrNotFound, "a session that is gone is not made again")
	alone := newSession(t, session.Config{})
	require.NoError(t, alone.UpdateState(t.Context(), map[string]int{"a": 1}))

	_, err = store.Save(t.Context(), "swapped", json.RawMessage(`{"id":"other"}`), "")
	require.NoError(t, err)
	_, err = store.Save(t.Context(), "broken", json.RawMessage(`[]`), "")
	require.NoError(t, err)
	for _, id := range []string{"swapped", "broken"} {
		_, err = session.Load(t.Context(), session.Config{Store: store, ID: id})
		require.ErrorIs(t, err, status.ErrDataLoss, id)
	}
}

func TestSessionsAreBounded(t *testing.T) {
	s := newSession(t, session.Config{MaxBytes: 1000})
	require.ErrorIs(t, s.SetState(t.Context(), strings.Repeat("x", 2000)), status.ErrResourceExhausted)
	assert.Empty(t, state(t, s), "nothing is changed")
	require.ErrorIs(t, s.UpdateMessages(t.Context(), "", nil), status.ErrInvalidArgument)
	require.ErrorIs(t, s.Modify(t.Context(), func(d *session.Data) error {
		d.Threads = map[string][]content.Message{"a\n": nil}
		return nil
	}), status.ErrInvalidArgument)
	require.ErrorIs(t, s.Modify(t.Context(), func(d *session.Data) error { d.ID = "x"; return nil }), status.ErrInvalidArgument)
	own := errors.New("mine")
	require.ErrorIs(t, s.Modify(t.Context(), func(*session.Data) error { return own }), own)

	many := newSession(t, session.Config{})
	for i := range session.MaxThreads {
		require.NoError(t, many.UpdateMessages(t.Context(), fmt.Sprint(i), []content.Message{content.NewUserTextMessage("x")}))
	}
	require.ErrorIs(t, many.UpdateMessages(t.Context(), "more", []content.Message{content.NewUserTextMessage("x")}), status.ErrResourceExhausted)
	asked := false
	_, err := many.Chat("more").Send(t.Context(), []content.Message{content.NewUserTextMessage("x")}, func(context.Context, []content.Message) (*model.Response, error) {
		asked = true
		return answer("y")(nil, nil)
	})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.False(t, asked, "a turn that can't be kept costs nothing")
	require.NoError(t, many.UpdateMessages(t.Context(), "7", nil), "no messages remove a thread")
	threads, err := many.Threads()
	require.NoError(t, err)
	assert.Len(t, threads, session.MaxThreads-1)
	assert.Equal(t, "0", threads[0])

	store := session.NewMemory(session.MemoryConfig{MaxSessions: 2})
	a, b := newSession(t, session.Config{Store: store, ID: "a"}), newSession(t, session.Config{Store: store, ID: "b"})
	require.NoError(t, a.Refresh(t.Context()))
	newSession(t, session.Config{Store: store, ID: "c"})
	require.NoError(t, a.Refresh(t.Context()))
	require.ErrorIs(t, b.Refresh(t.Context()), status.ErrNotFound, "the one that was used longest ago is forgotten")

	narrow := session.NewMemory(session.MemoryConfig{MaxTotal: 1000})
	a, b = newSession(t, session.Config{Store: narrow, ID: "a"}), newSession(t, session.Config{Store: narrow, ID: "b"})
	require.NoError(t, b.SetState(t.Context(), strings.Repeat("x", 700)))
	require.NoError(t, a.SetState(t.Context(), strings.Repeat("x", 100)))
	require.NoError(t, a.SetState(t.Context(), strings.Repeat("y", 200)), "its own old bytes don't count")
	require.NoError(t, b.Refresh(t.Context()))
	require.NoError(t, a.SetState(t.Context(), strings.Repeat("x", 400)))
	require.ErrorIs(t, b.Refresh(t.Context()), status.ErrNotFound)
	require.ErrorIs(t, a.SetState(t.Context(), strings.Repeat("x", 2000)), status.ErrResourceExhausted)
	require.NoError(t, a.Refresh(t.Context()), "what is too large takes nothing with it")
}

func TestWhatASessionReturnsIsTheCallersOwn(t *testing.T) {
	s := newSession(t, session.Config{State: map[string]int{"a": 1}})
	msg := content.NewUserTextMessage("hello")
	require.NoError(t, s.UpdateMessages(t.Context(), "main", []content.Message{msg}))
	*msg.Content[0].Text = "changed"
	got, err := s.Messages("main")
	require.NoError(t, err)
	*got[0].Content[0].Text = "changed"
	raw, err := s.State()
	require.NoError(t, err)
	copy(raw, `{"a":9}`)
	data, err := s.Data()
	require.NoError(t, err)
	data.Threads["main"] = nil
	assert.Equal(t, []string{"user: hello"}, texts(t, s, "main"))
	assert.JSONEq(t, `{"a":1}`, state(t, s))
}

func TestUnknownFieldsSurvive(t *testing.T) {
	store := session.NewMemory(session.MemoryConfig{})
	_, err := store.Save(t.Context(), "a", json.RawMessage(`{"id":"a","later":{"x":1},"threads":{"main":[{"role":"user","content":[],"later":2}]}}`), "")
	require.NoError(t, err)
	s, err := session.Load(t.Context(), session.Config{Store: store, ID: "a"})
	require.NoError(t, err)
	require.NoError(t, s.UpdateState(t.Context(), map[string]int{"b": 1}))
	doc, _, err := store.Get(t.Context(), "a")
	require.NoError(t, err)
	assert.JSONEq(t, `{"id":"a","later":{"x":1},"state":{"b":1},"threads":{"main":[{"role":"user","content":[],"later":2}]}}`, string(doc))
}

func TestManyWritersLoseNothing(t *testing.T) {
	for name, store := range map[string]session.Store{"memory": session.NewMemory(session.MemoryConfig{}), "directory": openDir(t)} {
		t.Run(name, func(t *testing.T) {
			s := newSession(t, session.Config{Store: store, ID: "a", State: map[string]int{}})
			var wg sync.WaitGroup
			for i := range 6 {
				mine := s
				if i%2 == 1 {
					var err error
					mine, err = session.Load(t.Context(), session.Config{Store: store, ID: "a"})
					require.NoError(t, err)
				}
				wg.Go(func() {
					for j := range 10 {
						key := fmt.Sprintf("%d.%d", i, j)
						if !assert.NoError(t, mine.UpdateState(t.Context(), map[string]int{key: 1})) {
							return
						}
						own, err := session.StateOf[map[string]int](mine)
						assert.NoError(t, err)
						assert.Equal(t, 1, own[key], "who wrote sees it")
					}
				})
			}
			wg.Wait()
			require.NoError(t, s.Refresh(t.Context()))
			all, err := session.StateOf[map[string]int](s)
			require.NoError(t, err)
			assert.Len(t, all, 60)
		})
	}
}

// answer runs a turn that says a text.
func answer(text string) session.Runner {
	return func(_ context.Context, messages []content.Message) (*model.Response, error) {
		msg := content.NewModelTextMessage(text)
		return &model.Response{Message: &msg, Request: &model.Request{Messages: messages}}, nil
	}
}

func user(text string) []content.Message { return []content.Message{content.NewUserTextMessage(text)} }

func TestAChatRemembers(t *testing.T) {
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithTracerProvider(t.Context(), spans)
	s := newSession(t, session.Config{State: map[string]string{"name": "Ada"}})
	chat := s.Chat("", content.NewSystemTextMessage("be brief"))
	assert.Equal(t, s, chat.Session())
	assert.Equal(t, session.MainThread, chat.Thread())
	_, err := chat.Send(ctx, user("one"), func(ctx context.Context, messages []content.Message) (*model.Response, error) {
		in, ok := session.From(ctx)
		assert.True(t, ok)
		assert.Equal(t, s, in)
		assert.JSONEq(t, `{"name":"Ada"}`, string(session.StateFrom(ctx)))
		assert.Len(t, messages, 2)
		assert.True(t, messages[0].Metadata.Truthy("preamble"))
		require.NoError(t, in.UpdateState(ctx, map[string]int{"n": 1}), "a tool may change the state")
		return answer("1")(ctx, messages)
	})
	require.NoError(t, err)
	_, err = chat.Send(ctx, user("two"), answer("2"))
	require.NoError(t, err)
	assert.Equal(t, []string{"system: be brief", "user: one", "model: 1", "user: two", "model: 2"}, texts(t, s, "main"))
	assert.JSONEq(t, `{"name":"Ada","n":1}`, state(t, s))

	pirate := s.Chat("", content.NewSystemTextMessage("talk like a pirate"), content.NewUserTextMessage("ahoy"))
	before, err := pirate.Messages()
	require.NoError(t, err)
	assert.Len(t, before, 6, "another preamble stands in the place of the first one")
	plain := s.Chat("main")
	before, err = plain.Messages()
	require.NoError(t, err)
	assert.Equal(t, "be brief", before[0].Text(), "a chat without one keeps the thread's")
	_, err = s.Chat("side").Send(ctx, user("x"), answer("y"))
	require.NoError(t, err)
	assert.Len(t, texts(t, s, "side"), 2)
	assert.Len(t, texts(t, s, "main"), 5)

	last := spans.Ended()[len(spans.Ended())-1]
	assert.Equal(t, "send", last["name"])
	assert.Equal(t, "helper", last["genkit:type"])
	assert.Equal(t, s.ID(), last["genkit:sessionId"])
	assert.Equal(t, "side", last["genkit:threadName"])
	_, ok := session.From(t.Context())
	assert.False(t, ok)
	assert.Nil(t, session.StateFrom(t.Context()))
	in, ok := session.From(session.NewContext(t.Context(), s))
	assert.True(t, ok)
	assert.Equal(t, s, in)
}

func TestATurnThatFailsLeavesTheThread(t *testing.T) {
	s := newSession(t, session.Config{})
	chat := s.Chat("")
	down := status.Errorf(status.Unavailable, "down")
	_, err := chat.Send(t.Context(), user("x"), func(context.Context, []content.Message) (*model.Response, error) { return nil, down })
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = chat.Send(t.Context(), user("x"), func(context.Context, []content.Message) (*model.Response, error) { return nil, nil })
	require.ErrorIs(t, err, status.ErrInternal)
	assert.Empty(t, texts(t, s, "main"))
	_, err = s.Chat("a\n").Send(t.Context(), user("x"), answer("y"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)

	_, err = chat.Send(t.Context(), user("x"), func(ctx context.Context, messages []content.Message) (*model.Response, error) {
		_, inner := chat.Send(ctx, user("y"), answer("z"))
		require.ErrorIs(t, inner, status.ErrFailedPrecondition, "a turn does not wait for itself")
		_, inner = s.Chat("side").Send(ctx, user("y"), func(ctx context.Context, m []content.Message) (*model.Response, error) {
			_, back := chat.Send(ctx, user("y"), answer("z"))
			require.ErrorIs(t, back, status.ErrFailedPrecondition, "nor by a detour")
			return answer("z")(ctx, m)
		})
		require.NoError(t, inner, "another thread is free")
		return answer("y")(ctx, messages)
	})
	require.NoError(t, err)
	assert.Equal(t, []string{"user: x", "model: y"}, texts(t, s, "main"))

	ctx, cancel := context.WithCancel(t.Context())
	_, err = chat.Send(ctx, user("late"), func(ctx context.Context, m []content.Message) (*model.Response, error) {
		cancel()
		return answer("but there")(ctx, m)
	})
	require.NoError(t, err, "an answer that is there is kept")
	assert.Len(t, texts(t, s, "main"), 4)
	small := newSession(t, session.Config{MaxBytes: 300})
	resp, err := small.Chat("").Send(t.Context(), user("x"), answer(strings.Repeat("y", 500)))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.NotNil(t, resp, "what was paid for is returned")
	bare := func(context.Context, []content.Message) (*model.Response, error) {
		msg := content.NewModelTextMessage("bare")
		return &model.Response{Message: &msg}, nil
	}
	_, err = chat.Send(t.Context(), user("q"), bare)
	require.NoError(t, err)
	assert.Equal(t, []string{"user: q", "model: bare"}, texts(t, s, "main")[4:], "a response that does not say what was asked wipes nothing")
}

func TestTurnsOfAThreadWaitForEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSession(t, session.Config{})
		release := make(chan struct{})
		slow := func(text string) session.Runner {
			return func(ctx context.Context, m []content.Message) (*model.Response, error) {
				<-release
				return answer(fmt.Sprintf("%s after %d", text, len(m)))(ctx, m)
			}
		}
		var wg sync.WaitGroup
		for i := range 5 {
			wg.Go(func() {
				_, err := s.Chat("").Send(t.Context(), user(fmt.Sprint(i)), slow("answer"))
				assert.NoError(t, err)
			})
		}
		impatient, leave := context.WithCancel(t.Context())
		synctest.Wait()
		wg.Go(func() {
			_, err := s.Chat("").Send(impatient, user("never"), slow("never"))
			assert.ErrorIs(t, err, status.ErrCancelled)
		})
		_, err := s.Chat("other").Send(t.Context(), user("x"), answer("at once"))
		require.NoError(t, err, "another thread does not wait")
		synctest.Wait()
		leave()
		close(release)
		wg.Wait()
		got := texts(t, s, "main")
		require.Len(t, got, 10)
		for i := range 5 {
			assert.Equal(t, fmt.Sprintf("model: answer after %d", 2*i+1), got[2*i+1], "each turn sees those before it")
		}
	})
}

// during runs what during says while a turn runs.
func during(text string, other func()) session.Runner {
	return func(ctx context.Context, m []content.Message) (*model.Response, error) {
		other()
		return answer(text)(ctx, m)
	}
}

func TestTwoProcessesOnOneThreadLoseNoMessage(t *testing.T) {
	store := session.NewMemory(session.MemoryConfig{})
	open := func() *session.Session {
		s, err := session.Load(t.Context(), session.Config{Store: store, ID: "a"})
		require.NoError(t, err)
		return s
	}
	ours := newSession(t, session.Config{Store: store, ID: "a"})
	system := content.NewSystemTextMessage("be brief")
	_, err := ours.Chat("", system).Send(t.Context(), user("one"), during("1", func() {
		for _, text := range []string{"two", "three"} {
			_, err := open().Chat("", system).Send(t.Context(), user(text), answer("to "+text))
			require.NoError(t, err)
		}
	}))
	require.NoError(t, err)
	require.Equal(t, []string{"system: be brief", "user: two", "model: to two", "user: three", "model: to three", "user: one", "model: 1"}, texts(t, ours, "main"))

	request := content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: "ask", Ref: "1"}}}}
	for name, c := range map[string]struct {
		added []content.Message
		other func(s *session.Session) error
		run   func(func()) session.Runner
		want  error
	}{
		"the other waits for a tool": {user("x"), func(s *session.Session) error {
			return s.UpdateMessages(t.Context(), "t", append(user("y"), request))
		}, func(f func()) session.Runner { return during("z", f) }, status.ErrAborted},
		"the turn answers what is gone": {nil, func(s *session.Session) error {
			return s.UpdateMessages(t.Context(), "t", user("all new"))
		}, func(f func()) session.Runner { return during("z", f) }, status.ErrAborted},
		"the turn has changed what was there": {user("x"), func(s *session.Session) error {
			return s.UpdateMessages(t.Context(), "t", user("all new"))
		}, func(f func()) session.Runner {
			return func(ctx context.Context, _ []content.Message) (*model.Response, error) {
				f()
				return answer("z")(ctx, user("a summary"))
			}
		}, status.ErrAborted},
		"the session is gone": {
			user("x"), func(s *session.Session) error { return s.Delete(t.Context()) },
			func(f func()) session.Runner { return during("z", f) }, status.ErrNotFound,
		},
		"the other has changed something else": {
			user("x"), func(s *session.Session) error { return s.SetState(t.Context(), 7) },
			func(f func()) session.Runner { return during("z", f) }, nil,
		},
	} {
		require.NoError(t, store.Delete(t.Context(), "b"))
		s := newSession(t, session.Config{Store: store, ID: "b"})
		require.NoError(t, s.UpdateMessages(t.Context(), "t", append(user("first"), content.NewModelTextMessage("second"))))
		resp, err := s.Chat("t").Send(t.Context(), c.added, c.run(func() {
			other, err := session.Load(t.Context(), session.Config{Store: store, ID: "b"})
			require.NoError(t, err)
			require.NoError(t, c.other(other))
		}))
		require.ErrorIs(t, err, c.want, name)
		assert.NotNil(t, resp, name)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(`{"id":"a","state":{"x":1},"threads":{"main":[{"role":"user","content":[{"text":"x"}]}]}}`)
	f.Add(`{"id":"a","threads":{"":[]}}`)
	f.Add(`{"ID":"a"}`)
	f.Fuzz(func(t *testing.T, doc string) {
		store := session.NewMemory(session.MemoryConfig{})
		if _, err := store.Save(t.Context(), "a", json.RawMessage(doc), ""); err != nil {
			t.Fatal(err)
		}
		s, err := session.Load(t.Context(), session.Config{Store: store, ID: "a"})
		if err != nil {
			return
		}
		_ = s.UpdateState(t.Context(), map[string]int{"a": 1})
		_, _ = s.Chat("").Send(t.Context(), user("x"), answer("y"))
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatalf("%q can't be read after it was written: %v", doc, err)
		}
	})
}
