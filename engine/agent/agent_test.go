package agent_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// world is one agent with a turn of the test's.
type world struct {
	t   *testing.T
	ctx context.Context //nolint:containedctx // the test's
	reg *registry.Registry
	*agent.Agent
}

func newWorld(t *testing.T, c agent.Config, turn func(run *agent.Run, in *agent.Input) error) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), reg: registry.New(nil)}
	var err error
	w.Agent, err = agent.Define(w.reg, "a", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
		return nil, run.Turns(func(_ context.Context, in *agent.Input) (agent.FinishReason, error) { return "stop", turn(run, in) })
	}, c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, w.Close(context.Background())) })
	return w
}

func says(text string) agent.Input {
	return agent.Input{Message: new(content.NewUserTextMessage(text))}
}

func detached(in agent.Input) agent.Input {
	in.Detach = true
	return in
}

// try makes an invocation and returns all that comes of it.
func (w *world) try(init agent.Init, inputs ...agent.Input) (agent.Output, []agent.Chunk, error) {
	w.t.Helper()
	c, err := w.Connect(w.ctx, init)
	require.NoError(w.t, err)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		defer c.Close()
		for _, in := range inputs {
			if c.Send(w.ctx, in) != nil {
				return
			}
		}
	}()
	var chunks []agent.Chunk
	for chunk, err := range c.Receive() {
		if err == nil {
			chunks = append(chunks, chunk)
		}
	}
	out, err := c.Output()
	<-sent
	return out, chunks, err
}

func (w *world) send(init agent.Init, inputs ...agent.Input) (agent.Output, []agent.Chunk) {
	w.t.Helper()
	out, chunks, err := w.try(init, inputs...)
	require.NoError(w.t, err)
	return out, chunks
}

func (w *world) snapshot(id string) *agent.Snapshot {
	w.t.Helper()
	s, err := w.Snapshot(context.WithoutCancel(w.ctx), agent.Query{SnapshotID: id})
	require.NoError(w.t, err)
	return s
}

func memory() *agent.Memory { return agent.NewMemory(agent.MemoryConfig{}) }

func quiet(*agent.Run, *agent.Input) error { return nil }

func TestAnAgentIsThreeActions(t *testing.T) {
	w := newWorld(t, agent.Config{Description: "Helps.", Store: memory(), StateSchema: json.RawMessage(`{"type":"object"}`)}, quiet)
	a, err := w.reg.Lookup(t.Context(), action.Key{Kind: action.Agent, Name: "a"})
	require.NoError(t, err)
	d := a.Desc()
	assert.Equal(t, "Helps.", d.Description)
	assert.JSONEq(t, `{"stateManagement":"server","abortable":true,"stateSchema":{"type":"object"}}`, string(d.Metadata["agent"]))
	assert.JSONEq(t, `true`, string(d.Metadata["bidi"]))
	for _, schema := range []json.RawMessage{d.InitSchema, d.InputSchema, d.OutputSchema, d.StreamSchema} {
		assert.NotEmpty(t, schema)
	}
	for _, kind := range []action.Kind{action.AgentSnapshot, action.AgentAbort} {
		_, err := w.reg.Lookup(t.Context(), action.Key{Kind: kind, Name: "a"})
		require.NoError(t, err)
	}
	_, err = agent.Define(w.reg, "a", nil, agent.Config{})
	require.ErrorIs(t, err, status.ErrAlreadyExists)
	_, err = agent.Define(w.reg, "b", nil, agent.Config{StateSchema: json.RawMessage(`{"type":1}`)})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = agent.Define(w.reg, "", nil, agent.Config{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)

	plain := newWorld(t, agent.Config{}, quiet)
	a, err = plain.reg.Lookup(t.Context(), action.Key{Kind: action.Agent, Name: "a"})
	require.NoError(t, err)
	assert.JSONEq(t, `{"stateManagement":"client","abortable":false}`, string(a.Desc().Metadata["agent"]))
	_, err = plain.Snapshot(t.Context(), agent.Query{SnapshotID: "x"})
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = plain.Abort(t.Context(), "x")
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, _, err = plain.try(agent.Init{}, detached(says("hi")))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
}

func TestWhatACallerMaySendIsChecked(t *testing.T) {
	w := newWorld(t, agent.Config{}, quiet)
	for _, in := range []string{`{"extra":1}`, `{"message":{}}`, `{"message":{"role":"king","content":[]}}`, `{"resume":{"respond":[{}]}}`, `{"resume":{"restart":[{"text":"x"}]}}`, `{"detach":"yes"}`, `[]`} {
		_, err := w.run(`{}`, in)
		require.ErrorIs(t, err, action.ErrInvalidInput, in)
	}
	for _, init := range []string{`{"extra":1}`, `{"state":{"messages":[{}]}}`, `{"state":{"artifacts":[{"name":"x"}]}}`, `{"state":{"sessionId":""}}`, `{"state":{"sessionId":"a/b"}}`} {
		_, err := w.run(init, `{}`)
		require.ErrorIs(t, err, status.ErrInvalidArgument, init)
	}
	for _, in := range []string{
		`{"message":{"role":"model","content":[{"text":"x"}]}}`, `{"message":{"role":"system","content":[{"text":"x"}]}}`,
		`{"message":{"role":"user","content":[{"toolResponse":{"name":"t","output":1}}]}}`, `{"message":{"content":[{"toolRequest":{"name":"t"}}]}}`,
	} {
		out, err := w.run(`{}`, in)
		require.NoError(t, err, in)
		assert.Contains(t, out, `"finishReason":"failed"`, in)
		assert.Contains(t, out, `INVALID_ARGUMENT`, in)
	}
	out, err := w.run(`{}`, `{"message":{"content":[{"text":"x"}]}}`)
	require.NoError(t, err)
	assert.Contains(t, out, `"role":"user"`, "a role that is left out")
}

func (w *world) run(init, in string) (string, error) {
	a, err := w.reg.Lookup(w.ctx, action.Key{Kind: action.Agent, Name: "a"})
	require.NoError(w.t, err)
	b, ok := a.(action.Bidi)
	require.True(w.t, ok)
	out, err := b.RunBidiJSON(w.ctx, json.RawMessage(init), action.OneInput(json.RawMessage(in)), nil)
	return string(out), err
}

func TestTheCustomStateKeepsToItsSchema(t *testing.T) {
	c := agent.Config{StateSchema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}},"required":["n"]}`)}
	w := newWorld(t, c, func(run *agent.Run, in *agent.Input) error {
		return run.Session().SetState(json.RawMessage(in.Message.Text()))
	})
	out, _ := w.send(agent.Init{}, says(`{"n":1}`))
	assert.JSONEq(t, `{"n":1}`, string(out.State.Custom))
	out, _ = w.send(agent.Init{}, says(`{"n":"x"}`))
	assert.Equal(t, "INVALID_ARGUMENT", out.Error.Status)
	assert.Empty(t, out.State.Custom)
	theirs := &agent.State{SessionID: "s", Custom: json.RawMessage(`{"n":"x"}`)}
	out, chunks := w.send(agent.Init{State: theirs}, says(`{"n":1}`))
	assert.Equal(t, agent.FinishFailed, out.FinishReason)
	assert.Equal(t, "INVALID_ARGUMENT", out.Error.Status)
	assert.Equal(t, theirs, out.State, "it is handed back as it came")
	assert.Empty(t, chunks)
}

func TestAConversationIsBounded(t *testing.T) {
	w := newWorld(t, agent.Config{Store: memory(), MaxStateBytes: 1000}, quiet)
	first, _ := w.send(agent.Init{}, says("small"))
	out, _ := w.send(agent.Init{SnapshotID: first.SnapshotID}, says(strings.Repeat("x", 1000)))
	assert.Equal(t, "RESOURCE_EXHAUSTED", out.Error.Status)
	assert.Equal(t, first.SnapshotID, out.SnapshotID, "it goes on from where it was")
}

func TestFailuresOfAFunctionAreTold(t *testing.T) {
	store := memory()
	for name, c := range map[string]struct {
		turn   func(run *agent.Run, in *agent.Input) error
		status string
		text   string
	}{
		"a public error":  {func(*agent.Run, *agent.Input) error { return status.Publicf(status.NotFound, "no such bird") }, "NOT_FOUND", "no such bird"},
		"a private error": {func(*agent.Run, *agent.Input) error { return errors.New("password 42") }, "INTERNAL", "internal error"},
		"a panic":         {func(*agent.Run, *agent.Input) error { panic("password 42") }, "INTERNAL", "internal error"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, agent.Config{Store: store}, c.turn)
			out, chunks := w.send(agent.Init{}, says("one"), says("two"))
			assert.Equal(t, agent.FinishFailed, out.FinishReason)
			assert.Equal(t, c.status, out.Error.Status)
			assert.Equal(t, c.text, out.Error.Message)
			require.Len(t, chunks, 1, "the second input is no turn")
			assert.Equal(t, agent.FinishFailed, chunks[0].TurnEnd.FinishReason)
			assert.Equal(t, out.SnapshotID, chunks[0].TurnEnd.SnapshotID)
			s := w.snapshot(out.SnapshotID)
			assert.Equal(t, agent.Failed, s.Status)
			assert.Equal(t, c.text, s.Error.Message)
			require.Len(t, s.State.Messages, 1)
		})
	}
}

// A function that makes nothing of a failed turn does not hide it.
func TestAFailedTurnEndsTheInvocation(t *testing.T) {
	reg := registry.New(nil)
	a, err := agent.Define(reg, "a", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
		_ = run.Turns(func(context.Context, *agent.Input) (agent.FinishReason, error) {
			return "", status.Publicf(status.Aborted, "no")
		})
		return &agent.Result{FinishReason: "stop"}, nil
	}, agent.Config{})
	require.NoError(t, err)
	out, err := a.Run(t.Context(), agent.Init{}, says("hi"))
	require.NoError(t, err)
	assert.Equal(t, agent.FinishFailed, out.FinishReason)
	assert.Equal(t, "ABORTED", out.Error.Status)
}

func TestWhatChangesAfterTheLastTurnIsStored(t *testing.T) {
	reg := registry.New(nil)
	a, err := agent.Define(reg, "a", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
		if err := run.Turns(func(context.Context, *agent.Input) (agent.FinishReason, error) { return "stop", nil }); err != nil {
			return nil, err
		}
		return nil, run.Session().SetState("after")
	}, agent.Config{Store: memory()})
	require.NoError(t, err)
	out, err := a.Run(t.Context(), agent.Init{}, says("hi"))
	require.NoError(t, err)
	s, err := a.Snapshot(t.Context(), agent.Query{SnapshotID: out.SnapshotID})
	require.NoError(t, err)
	assert.JSONEq(t, `"after"`, string(s.State.Custom))
	assert.NotEmpty(t, s.ParentID)
}

// failing is a store whose writes fail at times.
type failing struct {
	agent.Store
	mu    sync.Mutex
	fails int
}

func (f *failing) Update(ctx context.Context, id string, change func(*agent.Snapshot) (*agent.Snapshot, error)) (*agent.Snapshot, error) {
	f.mu.Lock()
	fail := f.fails > 0
	f.fails--
	f.mu.Unlock()
	if fail {
		return nil, status.Publicf(status.Unavailable, "the disk is full")
	}
	return f.Store.Update(ctx, id, change)
}

func TestATurnThatCantBeStoredHasFailed(t *testing.T) {
	store := &failing{Store: memory(), fails: 1}
	w := newWorld(t, agent.Config{Store: store}, quiet)
	out, chunks := w.send(agent.Init{}, says("hi"))
	assert.Equal(t, agent.FinishFailed, out.FinishReason)
	assert.Equal(t, "the disk is full", out.Error.Message)
	assert.Empty(t, out.SnapshotID)
	assert.Empty(t, chunks[0].TurnEnd.SnapshotID)
}

func TestATurnInTheBackgroundIsStoredWhenTheStoreIsBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, free := &failing{Store: memory()}, make(chan struct{})
		w := newWorld(t, agent.Config{Store: store}, func(*agent.Run, *agent.Input) error { <-free; return nil })
		out, _ := w.send(agent.Init{}, detached(says("hi")))
		store.mu.Lock()
		store.fails = 3
		store.mu.Unlock()
		close(free)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Equal(t, agent.Completed, w.snapshot(out.SnapshotID).Status)
	})
}

func TestWorkInTheBackgroundSaysThatItIsThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, free := memory(), make(chan struct{})
		w := newWorld(t, agent.Config{Store: store}, func(*agent.Run, *agent.Input) error { <-free; return nil })
		out, chunks := w.send(agent.Init{SessionID: "s"}, detached(says("hi")))
		assert.Equal(t, agent.FinishDetached, out.FinishReason)
		assert.Empty(t, chunks)
		for range 10 {
			time.Sleep(45 * time.Second)
			synctest.Wait()
			s := w.snapshot(out.SnapshotID)
			assert.Equal(t, agent.Pending, s.Status)
			assert.Less(t, time.Since(s.HeartbeatAt), 31*time.Second)
			assert.Equal(t, s.CreatedAt, s.UpdatedAt)
		}
		close(free)
		synctest.Wait()
		s := w.snapshot(out.SnapshotID)
		assert.Equal(t, agent.Completed, s.Status)
		assert.Equal(t, agent.FinishReason("stop"), s.FinishReason)
		assert.True(t, s.HeartbeatAt.IsZero())
		assert.True(t, s.UpdatedAt.After(s.CreatedAt))
		require.Len(t, s.State.Messages, 1)
	})
}

func TestAWorkerThatIsGoneIsToldAsExpired(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory()
		w := newWorld(t, agent.Config{Store: store}, quiet)
		first, _ := w.send(agent.Init{SessionID: "s"}, says("hi"))
		for id, state := range map[string]agent.Status{"gone": agent.Pending, "going": agent.Aborting} {
			put(t, store, id, &agent.Snapshot{SessionID: "s", ParentID: first.SnapshotID, CreatedAt: time.Now(), HeartbeatAt: time.Now(), Status: state})
		}
		put(t, store, "old", &agent.Snapshot{SessionID: "o", CreatedAt: time.Now(), Status: agent.Pending})
		time.Sleep(59 * time.Second)
		assert.Equal(t, agent.Pending, w.snapshot("gone").Status)
		time.Sleep(2 * time.Second)
		assert.Equal(t, agent.Expired, w.snapshot("gone").Status)
		assert.Equal(t, agent.Expired, w.snapshot("going").Status)
		assert.Equal(t, agent.Pending, w.snapshot("old").Status, "one without a heartbeat never expires")
		out, _ := w.send(agent.Init{SessionID: "s"}, says("more"))
		assert.Equal(t, agent.FinishReason("stop"), out.FinishReason)
		assert.Equal(t, first.SnapshotID, w.snapshot(out.SnapshotID).ParentID, "the session goes on from before it")
		failed, _ := w.send(agent.Init{SnapshotID: "gone"}, says("more"))
		assert.Equal(t, "INVALID_ARGUMENT", failed.Error.Status)
		was, err := w.Abort(t.Context(), "gone")
		require.NoError(t, err)
		assert.Equal(t, agent.Expired, was)
		assert.Equal(t, agent.Aborted, w.snapshot("gone").Status)
	})
}

// unwatched is a store that tells nobody.
type unwatched struct{ agent.Store }

func TestAnAbortReachesTheWork(t *testing.T) {
	for name, hide := range map[string]bool{"told by the store": false, "found by the heartbeat": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var store agent.Store = memory()
				if hide {
					store = unwatched{store}
				}
				w := newWorld(t, agent.Config{Store: store}, nil)
				ended := make(chan error, 1)
				a, err := agent.Define(w.reg, "blocks", func(ctx context.Context, run *agent.Run) (*agent.Result, error) {
					return nil, run.Turns(func(ctx context.Context, _ *agent.Input) (agent.FinishReason, error) {
						<-ctx.Done()
						ended <- ctx.Err()
						return "", ctx.Err()
					})
				}, agent.Config{Store: store})
				require.NoError(t, err)
				out, err := a.Run(t.Context(), agent.Init{}, detached(says("hi")))
				require.NoError(t, err)
				synctest.Wait()
				was, err := w.Abort(t.Context(), out.SnapshotID) // another process's agent over the same store
				require.NoError(t, err)
				assert.Equal(t, agent.Pending, was)
				start := time.Now()
				require.ErrorIs(t, <-ended, context.Canceled)
				assert.Equal(t, hide, time.Since(start) > 0)
				require.NoError(t, a.Close(t.Context()))
				s := w.snapshot(out.SnapshotID)
				assert.Equal(t, agent.Aborted, s.Status)
				assert.Equal(t, agent.FinishAborted, s.FinishReason)
				require.Len(t, s.State.Messages, 1)
			})
		})
	}
}

func TestCloseEndsWorkInTheBackground(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.Config{Store: memory()}, func(run *agent.Run, _ *agent.Input) error {
			return run.Turns(func(context.Context, *agent.Input) (agent.FinishReason, error) { return "", nil })
		})
		a, err := agent.Define(w.reg, "blocks", func(ctx context.Context, _ *agent.Run) (*agent.Result, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		}, agent.Config{Store: memory()})
		require.NoError(t, err)
		out, err := a.Run(t.Context(), agent.Init{}, detached(says("hi")))
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, a.Close(ctx), status.ErrDeadlineExceeded)
		s, err := a.Snapshot(t.Context(), agent.Query{SnapshotID: out.SnapshotID, MetadataOnly: true})
		require.NoError(t, err)
		assert.Equal(t, agent.Aborted, s.Status)
		assert.Nil(t, s.State)
		_, err = a.Run(t.Context(), agent.Init{}, detached(says("hi")))
		require.ErrorIs(t, err, status.ErrUnavailable)
	})
}

// Work that was detached does not end with its caller, and streams nothing any more.
func TestDetachedWorkOutlivesItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		w := newWorld(t, agent.Config{Store: memory()}, func(run *agent.Run, in *agent.Input) error {
			if err := run.Session().SetState(in.Message.Text()); err != nil {
				return err
			}
			<-free
			return run.Session().AddArtifacts(agent.Artifact{Name: "late", Parts: []content.Part{}})
		})
		ctx, cancel := context.WithCancel(t.Context())
		w.ctx = ctx
		out, chunks := w.send(agent.Init{}, says("one"), says("two"), agent.Input{Detach: true}, says("never read"))
		assert.Equal(t, agent.FinishDetached, out.FinishReason)
		for _, c := range chunks {
			assert.Nil(t, c.TurnEnd)
		}
		cancel()
		synctest.Wait()
		assert.Equal(t, agent.Pending, w.snapshot(out.SnapshotID).Status)
		close(free)
		synctest.Wait()
		s := w.snapshot(out.SnapshotID)
		assert.Equal(t, agent.Completed, s.Status)
		assert.JSONEq(t, `"two"`, string(s.State.Custom))
		require.Len(t, s.State.Messages, 2, "what was sent before is worked off")
		require.Len(t, s.State.Artifacts, 1)
	})
}

// A reader that has left must not hold up the detach.
func TestADetachDoesNotWaitForTheReader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, agent.Config{Store: memory()}, func(run *agent.Run, _ *agent.Input) error {
			for range 5 {
				if err := run.Session().SetState(time.Now().UnixNano()); err != nil {
					return err
				}
				time.Sleep(time.Second)
			}
			return nil
		})
		c, err := w.Connect(t.Context(), agent.Init{})
		require.NoError(t, err)
		require.NoError(t, c.Send(t.Context(), says("hi")))
		time.Sleep(10 * time.Second) // the second chunk has no room
		require.NoError(t, c.Send(t.Context(), agent.Input{Detach: true}))
		<-c.Done()
		out, err := c.Output()
		require.NoError(t, err)
		time.Sleep(time.Minute)
		assert.Equal(t, agent.Completed, w.snapshot(out.SnapshotID).Status)
	})
}

func TestACallerWhoLeavesEndsTheTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, begun := memory(), make(chan struct{})
		reg := registry.New(nil)
		a, err := agent.Define(reg, "a", func(_ context.Context, run *agent.Run) (*agent.Result, error) {
			return nil, run.Turns(func(ctx context.Context, _ *agent.Input) (agent.FinishReason, error) {
				close(begun)
				<-ctx.Done()
				return "", ctx.Err()
			})
		}, agent.Config{Store: store})
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		go func() { <-begun; cancel() }()
		_, err = a.Run(ctx, agent.Init{SessionID: "s"}, says("hi"))
		require.ErrorIs(t, err, status.ErrCancelled)
		_, err = store.Latest(t.Context(), "s")
		require.ErrorIs(t, err, status.ErrNotFound, "the conversation stays where it was")
	})
}

func TestAnInputThatIsRefusedEndsTheInvocation(t *testing.T) {
	w := newWorld(t, agent.Config{}, quiet)
	a, err := w.reg.Lookup(t.Context(), action.Key{Kind: action.Agent, Name: "a"})
	require.NoError(t, err)
	b, ok := a.(action.Bidi)
	require.True(t, ok)
	c := action.Connect[json.RawMessage, json.RawMessage, json.RawMessage](t.Context(), b, nil)
	require.NoError(t, c.Send(t.Context(), json.RawMessage(`{"extra":1}`)))
	_, err = c.Output()
	require.ErrorIs(t, err, action.ErrInvalidInput)
}

func TestWhatIsShownIsShaped(t *testing.T) {
	c := agent.Config{
		Store: memory(),
		ShowState: func(_ context.Context, s *agent.State) (*agent.State, error) {
			var custom map[string]any
			if len(s.Custom) > 0 {
				if err := json.Unmarshal(s.Custom, &custom); err != nil {
					return nil, err
				}
				delete(custom, "secret")
				s.Custom, _ = json.Marshal(custom)
			}
			s.SessionID, s.Messages = "forged", nil
			return s, nil
		},
		ShowChunk: func(_ context.Context, c *agent.Chunk) (*agent.Chunk, error) {
			if c.Artifact != nil && c.Artifact.Name == "hidden" {
				return nil, nil
			}
			return c, nil
		},
	}
	turn := func(run *agent.Run, _ *agent.Input) error {
		if err := run.Session().AddArtifacts(agent.Artifact{Name: "hidden", Parts: []content.Part{}}, agent.Artifact{Name: "shown", Parts: []content.Part{}}); err != nil {
			return err
		}
		for _, secret := range []string{"42", "43"} {
			if err := run.Session().SetState(map[string]any{"secret": secret, "n": 1}); err != nil {
				return err
			}
		}
		return nil
	}
	w := newWorld(t, c, turn)
	out, chunks := w.send(agent.Init{SessionID: "s"}, says("hi"))
	raw, err := json.Marshal(chunks)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "secret")
	assert.NotContains(t, string(raw), "hidden")
	require.Len(t, chunks, 3, "%s", raw) // an artifact, the first patch, the end: what only changes a secret is no change
	s := w.snapshot(out.SnapshotID)
	assert.JSONEq(t, `{"n":1}`, string(s.State.Custom))
	assert.Equal(t, "s", s.State.SessionID)
	assert.Empty(t, s.State.Messages)
	stored, err := c.Store.Get(t.Context(), out.SnapshotID)
	require.NoError(t, err)
	assert.JSONEq(t, `{"secret":"43","n":1}`, string(stored.State.Custom), "what is stored is whole")

	c.Store = nil
	out, _ = newWorld(t, c, turn).send(agent.Init{}, says("hi"))
	assert.JSONEq(t, `{"n":1}`, string(out.State.Custom))
}

// What can't be shaped is not shown.
func TestShapingFailsClosed(t *testing.T) {
	refuse := status.Publicf(status.PermissionDenied, "not for you")
	for name, c := range map[string]agent.Config{
		"state": {ShowState: func(context.Context, *agent.State) (*agent.State, error) { return nil, refuse }},
		"chunk": {ShowChunk: func(context.Context, *agent.Chunk) (*agent.Chunk, error) { return nil, refuse }},
	} {
		w := newWorld(t, c, func(run *agent.Run, _ *agent.Input) error { _ = run.Session().SetState("secret"); return nil })
		out, chunks := w.send(agent.Init{}, says("hi"))
		assert.Empty(t, chunks, name)
		assert.Equal(t, agent.FinishFailed, out.FinishReason, name)
		assert.Equal(t, "PERMISSION_DENIED", out.Error.Status, name)
		assert.Nil(t, out.State, name)
		assert.Nil(t, out.Message, name)
	}
	w := newWorld(t, agent.Config{ShowState: func(context.Context, *agent.State) (*agent.State, error) { panic("secret") }}, quiet)
	out, _ := w.send(agent.Init{}, says("hi"))
	assert.Equal(t, "internal error", out.Error.Message)
	assert.Nil(t, out.State)
}

// A turn that fails before it has changed anything leaves nothing behind.
func TestAFailedTurnThatChangedNothingIsNotStored(t *testing.T) {
	w := newWorld(t, agent.Config{Store: memory()}, func(_ *agent.Run, in *agent.Input) error {
		if in.Message == nil {
			return status.Publicf(status.InvalidArgument, "no")
		}
		return nil
	})
	first, _ := w.send(agent.Init{}, says("hi"))
	out, chunks := w.send(agent.Init{SnapshotID: first.SnapshotID}, agent.Input{})
	assert.Equal(t, agent.FinishFailed, out.FinishReason)
	assert.Equal(t, first.SnapshotID, out.SnapshotID)
	assert.Empty(t, chunks[0].TurnEnd.SnapshotID)
}

func TestArtifactsOfOneNameAreOne(t *testing.T) {
	w := newWorld(t, agent.Config{}, func(run *agent.Run, _ *agent.Input) error {
		for _, name := range []string{"a", "b", "", "a", ""} {
			if err := run.Session().AddArtifacts(agent.Artifact{Name: name, Parts: []content.Part{}}); err != nil {
				return err
			}
		}
		return nil
	})
	out, chunks := w.send(agent.Init{}, says("hi"))
	var names []string
	for _, a := range out.State.Artifacts {
		names = append(names, a.Name)
	}
	assert.Equal(t, []string{"a", "b", "", ""}, names)
	assert.Equal(t, out.State.Artifacts, out.Artifacts)
	assert.Len(t, chunks, 6)
}

// parrot is a model that says what it was asked.
func parrot(t *testing.T, reg *registry.Registry) {
	t.Helper()
	must[model.Model](t, reg)(model.New("parrot", model.Info{Supports: model.Supports{Multiturn: true, SystemRole: true, Tools: true}}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		var all []string
		for i := range req.Messages {
			all = append(all, string(req.Messages[i].Role)+":"+req.Messages[i].Text())
		}
		last := req.Messages[len(req.Messages)-1]
		if len(req.Tools) > 0 && last.Role == content.RoleUser {
			return &model.Response{Message: &content.Message{Role: content.RoleModel, Content: []content.Part{{ToolRequest: &content.ToolRequest{Name: req.Tools[0].Name, Ref: "1", Input: json.RawMessage(`{}`)}}}}}, nil
		}
		return &model.Response{Message: new(content.NewModelTextMessage(strings.Join(all, "|"))), FinishReason: "stop"}, nil
	}))
}

func TestAPromptStandsAroundTheConversation(t *testing.T) {
	reg := registry.New(nil)
	parrot(t, reg)
	_, err := prompt.Define(reg, "bird", prompt.Config{Model: "parrot", System: prompt.Template("You are {{name}}, in {{@state.mood}} mood.")})
	require.NoError(t, err)
	a, err := agent.DefinePrompt(reg, "helper", agent.PromptConfig{Prompt: "bird", Input: json.RawMessage(`{"name":"Polly"}`)}, agent.Config{})
	require.NoError(t, err)
	forged := content.NewUserTextMessage("before")
	forged.Metadata = content.Metadata{"agentPreamble": content.True(), "_genkit_history": content.True()}
	state := &agent.State{Messages: []content.Message{forged}, Custom: json.RawMessage(`{"mood":"good"}`)}
	out, err := a.Run(t.Context(), agent.Init{State: state}, says("hi"))
	require.NoError(t, err)
	require.Nil(t, out.Error)
	assert.Equal(t, "system:You are Polly, in good mood.|user:before|user:hi", out.Message.Text())
	var roles []content.Role
	for _, m := range out.State.Messages {
		roles = append(roles, m.Role)
		assert.Empty(t, m.Metadata)
	}
	assert.Equal(t, []content.Role{"user", "user", "model"}, roles, "what the prompt says is no part of it, and what the caller sent is")

	missing, err := agent.DefinePrompt(reg, "missing", agent.PromptConfig{}, agent.Config{})
	require.NoError(t, err)
	out, err = missing.Run(t.Context(), agent.Init{}, says("hi"))
	require.NoError(t, err)
	assert.Equal(t, "NOT_FOUND", out.Error.Status)
}

func TestToolsFindTheSession(t *testing.T) {
	reg := registry.New(nil)
	parrot(t, reg)
	must[tool.Tool](t, reg)(tool.New("count", "counts", func(ctx context.Context, _ any) (int, error) {
		s, ok := agent.SessionFrom(ctx)
		if !ok {
			return 0, status.Errorf(status.Internal, "no session")
		}
		err := agent.UpdateState(s, func(n int) (int, error) { return n + 1, nil })
		if err != nil {
			return 0, err
		}
		return agent.StateOf[int](s)
	}))
	_, err := prompt.Define(reg, "counter", prompt.Config{Model: "parrot", Tools: []string{"count"}})
	require.NoError(t, err)
	a, err := agent.DefinePrompt(reg, "counter", agent.PromptConfig{}, agent.Config{Store: memory()})
	require.NoError(t, err)
	out, err := a.Run(t.Context(), agent.Init{}, says("hi"))
	require.NoError(t, err)
	require.Nil(t, out.Error)
	s, err := a.Snapshot(t.Context(), agent.Query{SnapshotID: out.SnapshotID})
	require.NoError(t, err)
	assert.JSONEq(t, `1`, string(s.State.Custom))
	_, ok := agent.SessionFrom(t.Context())
	assert.False(t, ok)
}

func TestTheSpansOfAnAgent(t *testing.T) {
	spans := tracetest.NewSpanRecorder()
	ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))))
	w := newWorld(t, agent.Config{Store: memory()}, quiet)
	w.ctx = ctx
	out, chunks := w.send(agent.Init{SessionID: "s"}, says("one"), says("two"))
	require.Len(t, spans.Ended(), 3)
	names := []string{"runTurn-1", "runTurn-2", "a"}
	for i, s := range spans.Ended() {
		all := map[string]string{}
		for _, kv := range s.Attributes() {
			all[string(kv.Key)] = kv.Value.String()
		}
		assert.Equal(t, names[i], s.Name())
		if i == 2 {
			assert.Equal(t, "s", all["genkit:metadata:agent:sessionId"])
			assert.Equal(t, "agent", all["genkit:metadata:subtype"])
			continue
		}
		assert.Equal(t, "flowStep", all["genkit:type"])
		assert.Equal(t, chunks[i].TurnEnd.SnapshotID, all["genkit:metadata:agent:snapshotId"])
		assert.Contains(t, all["genkit:output"], `"state":{"sessionId":"s"`)
		assert.Contains(t, all["genkit:input"], `"message"`)
	}
	assert.Equal(t, out.SnapshotID, chunks[1].TurnEnd.SnapshotID)
}
