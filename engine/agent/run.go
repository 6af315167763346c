package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/uuid"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

const (
	// maxWaiting bounds the inputs that are read ahead, so that a detach is seen behind them.
	maxWaiting = 64
	// storeTime bounds how long the end of a turn waits for the store.
	storeTime = 30 * time.Second
)

// Run is one invocation of an agent, as its function sees it. Its methods may be called from
// several goroutines, but for [Run.Turns].
type Run struct {
	agent   *Agent
	session *Session
	ctx     context.Context //nolint:containedctx // the work's own: it outlives the invocation when it is detached
	cancel  context.CancelFunc
	out     action.Emit
	inputs  chan *Input
	done    chan struct{} // closed when the function has returned; result and err are set then
	result  *Result
	err     error

	commit chan struct{} // who holds the one token stores a turn, or detaches
	// The holder of commit may use the fields below.
	turns   int
	turnID  string // of the turn under way, where there is a store
	parent  string // the snapshot that the next one goes on from
	written int    // the session's version in that snapshot

	mu       sync.Mutex // guards the fields below
	detached bool
	aborted  bool
	broken   error // of ShowState or ShowChunk
	failed   error // of the turn that ended the loop
	reason   FinishReason
}

// errForeign marks a snapshot of another session.
var errForeign = errors.New("a snapshot of another session")

// invoke is the agent's action.
func (a *Agent) invoke(ctx context.Context, raw json.RawMessage, next action.NextInput, emit action.Emit) (json.RawMessage, error) {
	var init Init
	if len(raw) > 0 {
		if err := json.Unmarshal(raw, &init); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "init of agent %q: %w", a.name, err)
		}
	}
	if err := a.checkInit(init); err != nil {
		return nil, err
	}
	r, err := a.open(ctx, init)
	var out *Output
	switch {
	case errors.Is(err, errForeign) || err != nil && ctx.Err() != nil:
		return nil, err
	case err != nil: // as in Genkit JS, what is wrong with the conversation is told by the output
		out = &Output{SessionID: init.SessionID, State: init.State, FinishReason: FinishFailed, Error: new(status.ToWire(err, false))}
	default:
		r.out = emit
		if out, err = r.serve(ctx, next); err != nil {
			return nil, err
		}
	}
	encoded, err := rawjson.Encode(out)
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the output of agent %q: %w", a.name, err)
	}
	return encoded, nil
}

// checkInit refuses what does not go with how the agent's state is kept. The texts begin as those of Genkit JS.
func (a *Agent) checkInit(init Init) error {
	switch {
	case init.State != nil && a.config.Store != nil:
		return status.Publicf(status.FailedPrecondition, "Cannot send 'state' to agent %q: its store keeps the state; send a snapshotId or a sessionId.", a.name)
	case init.SnapshotID != "" && a.config.Store == nil:
		return status.Publicf(status.FailedPrecondition, "Cannot use 'snapshotId' with agent %q: it has no store; send the state.", a.name)
	case init.SessionID != "" && a.config.Store == nil:
		return status.Publicf(status.FailedPrecondition, "Cannot use 'sessionId' with agent %q: it has no store; send the state.", a.name)
	}
	id := init.SessionID
	if init.State != nil {
		id = init.State.SessionID
	}
	if id == "" {
		return nil
	}
	return checkID("session id", id)
}

// open returns a run on the conversation that init names.
func (a *Agent) open(ctx context.Context, init Init) (*Run, error) {
	id, state, parent := init.SessionID, init.State, ""
	if a.config.Store != nil {
		from, err := a.resumed(ctx, init)
		if err != nil {
			return nil, err
		}
		if from != nil {
			id, state, parent = from.SessionID, from.State, from.SnapshotID
		}
	} else if state != nil {
		id = state.SessionID
	}
	if state != nil && len(state.Custom) > 0 {
		if err := a.checkState(state.Custom); err != nil {
			return nil, err
		}
	}
	if id == "" {
		id = uuid.New()
	}
	telemetry.AnnotateString(ctx, "genkit:metadata:agent:sessionId", id)
	r := &Run{agent: a, parent: parent, inputs: make(chan *Input, maxWaiting), done: make(chan struct{}), commit: make(chan struct{}, 1)}
	r.session = newSession(r, id, state)
	return r, nil
}

// serve runs the function beside the inputs, until it returns or is detached.
func (r *Run) serve(ctx context.Context, next action.NextInput) (*Output, error) {
	work, cancel := context.WithCancel(context.WithoutCancel(ctx)) // a detached turn outlives its caller
	r.ctx, r.cancel = context.WithValue(work, sessionKey{}, r.session), cancel
	attached := context.AfterFunc(ctx, cancel)
	pump, stop := context.WithCancel(ctx)
	defer stop()
	go func() {
		defer stop() // nobody reads inputs any more
		defer close(r.done)
		r.err = status.Errorf(status.Internal, "agent %q ended its goroutine", r.agent.name)
		r.result, r.err = r.guarded(func() (*Result, error) { return r.agent.fn(r.ctx, r) })
	}()
	detach, err := r.read(pump, next)
	if detach != nil {
		return r.detach(ctx, detach, attached)
	}
	if err != nil {
		cancel()
	}
	<-r.done
	defer cancel()
	if err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, status.Convert(ctx.Err())
	}
	return r.output(ctx), nil
}

func (r *Run) over() bool {
	select {
	case <-r.done:
		return true
	default:
		return false
	}
}

// read hands inputs to the function. It returns at the end of the stream, when the function
// has returned, and with the input that detaches.
func (r *Run) read(ctx context.Context, next action.NextInput) (detach *Input, err error) {
	for {
		raw, more, err := next(ctx)
		switch {
		case err != nil && r.over():
			return nil, nil
		case err != nil:
			return nil, err
		case !more:
			close(r.inputs)
			return nil, nil
		}
		in := &Input{}
		if len(raw) > 0 {
			if err := json.Unmarshal(raw, in); err != nil {
				return nil, status.Publicf(status.InvalidArgument, "input of agent %q: %w", r.agent.name, err)
			}
		}
		if in.Detach {
			if r.agent.config.Store == nil {
				return nil, status.Publicf(status.FailedPrecondition, "agent %q can't be detached: it has no store", r.agent.name)
			}
			return in, nil
		}
		select {
		case r.inputs <- in:
		case <-r.done:
			return nil, nil
		}
	}
}

func (r *Run) guarded(work func() (*Result, error)) (result *Result, err error) {
	defer func() {
		if p := recover(); p != nil {
			result, err = nil, status.Errorf(status.Internal, "agent %q panicked: %v\n%s", r.agent.name, p, debug.Stack())
		}
	}()
	return work()
}

// Session returns the conversation.
func (r *Run) Session() *Session { return r.session }

// Send streams a chunk of a model to the caller. An error means that nobody reads it any
// more, and the run should end.
func (r *Run) Send(c *model.Chunk) error { return r.emit(&Chunk{ModelChunk: c}) }

// Result returns the last message and the artifacts, which is what most agents return.
func (r *Run) Result() *Result {
	result := &Result{Artifacts: r.session.Artifacts()}
	if all := r.session.Messages(); len(all) > 0 {
		result.Message = &all[len(all)-1]
	}
	return result
}

func (r *Run) isDetached() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.detached
}

// abort ends the work; it is told as aborted.
func (r *Run) abort() {
	r.mu.Lock()
	r.aborted = true
	r.mu.Unlock()
	r.cancel()
}

// breakOff ends the work because what it made can't be shown.
func (r *Run) breakOff(err error) error {
	r.mu.Lock()
	if r.broken == nil {
		r.broken = err
	}
	err = r.broken
	r.mu.Unlock()
	r.cancel()
	return err
}

// emit streams a chunk as the caller may see it; a detached run streams nothing.
func (r *Run) emit(c *Chunk) error {
	r.mu.Lock()
	detached, broken := r.detached, r.broken
	r.mu.Unlock()
	if detached || broken != nil {
		return broken
	}
	if show := r.agent.config.ShowChunk; show != nil {
		var own Chunk
		err := copyJSON(c, &own)
		if err == nil {
			c, err = guard("ShowChunk", func() (*Chunk, error) { return show(r.ctx, &own) })
		}
		if err != nil {
			return r.breakOff(err)
		}
		if c == nil {
			return nil
		}
	}
	raw, err := rawjson.Encode(c)
	if err != nil {
		return status.Errorf(status.Internal, "encode a chunk of agent %q: %w", r.agent.name, err)
	}
	if err = r.out(raw); err != nil && r.isDetached() {
		return nil
	}
	return err
}

// shown returns a conversation as the caller may see it.
func (r *Run) shown(s *State) (*State, error) {
	out, err := r.agent.show(r.ctx, s)
	if err != nil {
		return nil, r.breakOff(err)
	}
	return out, nil
}

// show returns a conversation as callers may see it, nil for nothing.
func (a *Agent) show(ctx context.Context, s *State) (*State, error) {
	if a.config.ShowState == nil {
		return s, nil
	}
	var own State
	if err := copyJSON(s, &own); err != nil {
		return nil, err
	}
	out, err := guard("ShowState", func() (*State, error) { return a.config.ShowState(ctx, &own) })
	if err != nil || out == nil {
		return nil, err
	}
	out.SessionID = s.SessionID
	return out, nil
}

func guard[T any](what string, work func() (*T, error)) (v *T, err error) {
	defer func() {
		if p := recover(); p != nil {
			v, err = nil, status.Errorf(status.Internal, "%s panicked: %v\n%s", what, p, debug.Stack())
		}
	}()
	return work()
}

func copyJSON(from, to any) error {
	raw, err := rawjson.Encode(from)
	if err == nil {
		err = json.Unmarshal(raw, to)
	}
	if err != nil {
		return status.Errorf(status.Internal, "copy what is shown: %w", err)
	}
	return nil
}

// ending is how the work has ended, once done is closed.
func (r *Run) ending() (FinishReason, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case r.broken != nil:
		return FinishFailed, r.broken
	case r.aborted, r.ctx.Err() != nil:
		return FinishAborted, nil
	case r.failed != nil:
		return FinishFailed, r.failed
	case r.err != nil:
		return FinishFailed, r.err
	case r.result != nil && r.result.FinishReason != "":
		return r.result.FinishReason, nil
	}
	return r.reason, nil
}

// output tells the caller how an invocation has ended that was not detached.
func (r *Run) output(ctx context.Context) *Output {
	r.commit <- struct{}{}
	defer func() { <-r.commit }()
	reason, err := r.ending()
	if err == nil && r.agent.config.Store != nil && r.session.changes() != r.written {
		// The function changed the conversation after its last turn.
		err = r.store(ctx, uuid.New(), &Snapshot{Status: Completed, FinishReason: reason})
	}
	out := &Output{SessionID: r.session.id, FinishReason: reason}
	if r.agent.config.Store != nil {
		out.SnapshotID = r.parent
	} else if r.broken == nil {
		var shown error
		if out.State, shown = r.shown(r.session.copy()); err == nil {
			err = shown
		}
	}
	if err != nil {
		out.FinishReason, out.Error = FinishFailed, new(status.ToWire(err, false))
		return out
	}
	result := r.result
	if result == nil {
		result = r.Result()
	}
	out.Message, out.Artifacts = result.Message, result.Artifacts
	return out
}

// store writes a new snapshot of the conversation as it is; commit is held.
func (r *Run) store(ctx context.Context, id string, s *Snapshot) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime) // what was done is kept, whoever has left
	defer cancel()
	version := r.session.changes()
	at := now()
	s.SessionID, s.ParentID, s.CreatedAt, s.UpdatedAt, s.State = r.session.id, r.parent, at, at, r.session.copy()
	if s.Status == Pending {
		s.HeartbeatAt = at
	}
	_, err := r.agent.config.Store.Update(ctx, id, func(stored *Snapshot) (*Snapshot, error) {
		if stored != nil {
			return nil, status.Errorf(status.AlreadyExists, "snapshot %q exists", id)
		}
		next := *s
		return &next, nil
	})
	if err == nil {
		r.parent, r.written = id, version
	}
	return err
}

// detach has the work go on in the background, and in its turn is the last one. attached takes the
// caller's end off the work.
func (r *Run) detach(ctx context.Context, in *Input, attached func() bool) (*Output, error) {
	r.commit <- struct{}{}
	id := r.turnID
	if id == "" {
		id = uuid.New()
	}
	err := r.agent.begin(id, r)
	if err == nil {
		before := r.parent
		if err = r.store(ctx, id, &Snapshot{Status: Pending}); err != nil {
			r.agent.end(id)
		}
		r.parent = before
	}
	if err != nil {
		<-r.commit
		r.cancel()
		<-r.done
		return nil, err
	}
	attached()
	r.mu.Lock()
	r.detached = true
	r.mu.Unlock()
	<-r.commit
	if in.Message != nil || !in.Resume.empty() {
		select {
		case r.inputs <- in:
		case <-r.done:
		}
	}
	close(r.inputs)
	go r.background(id)
	return &Output{SessionID: r.session.id, SnapshotID: id, FinishReason: FinishDetached}, nil
}

// background waits for the work, says meanwhile that it is there, and stores how it ended.
// The agent's Close waits for it.
func (r *Run) background(id string) {
	defer r.agent.end(id)
	defer r.cancel()
	ctx, stop := context.WithCancel(context.WithoutCancel(r.ctx)) // the end is stored also of work that was cancelled
	defer stop()
	var news <-chan Status
	if w, ok := r.agent.config.Store.(Watcher); ok {
		var err error
		if news, err = w.Watch(ctx, id); err != nil {
			r.complain("watch", id, err)
		}
	}
	ticker := time.NewTicker(heartbeatEvery)
	defer ticker.Stop()
	for !r.over() {
		select {
		case <-r.done:
		case <-ticker.C:
			r.beat(ctx, id)
		case now, more := <-news:
			if !more {
				news = nil
			}
			if now == Aborted || now == Aborting {
				r.abort()
			}
		}
	}
	r.settle(ctx, id)
}

func (r *Run) complain(doing, id string, err error) {
	r.agent.config.Logger.WarnContext(r.ctx, "a turn in the background can't use its store",
		slog.String("doing", doing), slog.String("agent", r.agent.name), slog.String("snapshot", id), slog.Any("error", err))
}

// beat says that the work is there.
func (r *Run) beat(ctx context.Context, id string) {
	ctx, cancel := context.WithTimeout(ctx, heartbeatEvery)
	defer cancel()
	ended := false
	_, err := r.agent.config.Store.Update(ctx, id, func(stored *Snapshot) (*Snapshot, error) {
		if ended = stored == nil || stored.Status != Pending; ended {
			return nil, nil
		}
		stored.HeartbeatAt = now()
		return stored, nil
	})
	if err != nil {
		r.complain("beat", id, err)
	} else if ended {
		r.abort()
	}
}

// How often the end of a turn in the background is tried to be stored, and the delay before
// the second attempt, which doubles.
const (
	settleAttempts = 6
	settleDelay    = 250 * time.Millisecond
)

// settle stores how the work has ended. A snapshot that can't be written stays pending, and
// is told as expired after a while.
func (r *Run) settle(ctx context.Context, id string) {
	reason, failed := r.ending()
	for attempt := range settleAttempts {
		err := r.settleOnce(ctx, id, reason, failed)
		if err == nil {
			return
		}
		r.complain("settle", id, err)
		timer := time.NewTimer(settleDelay << attempt)
		<-timer.C
	}
}

func (r *Run) settleOnce(ctx context.Context, id string, reason FinishReason, failed error) error {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	_, err := r.agent.config.Store.Update(ctx, id, func(stored *Snapshot) (*Snapshot, error) {
		if stored == nil || stored.Status.Settled() && stored.Status != Aborted {
			return nil, nil // it was pruned, or somebody else has settled it
		}
		next := *stored
		next.State, next.UpdatedAt, next.HeartbeatAt, next.FinishReason, next.Error = r.session.copy(), now(), time.Time{}, reason, nil
		switch {
		case stored.Status == Aborted, stored.Status == Aborting, reason == FinishAborted: // a late abort wins
			next.Status, next.FinishReason = Aborted, FinishAborted
		case failed != nil:
			next.Status, next.Error = Failed, new(status.ToWire(failed, false))
		default:
			next.Status = Completed
		}
		return &next, nil
	})
	return err
}
