package agent

import (
	"context"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/uuid"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// TurnFunc is the work of one turn. The input's message is in the session already; ctx holds
// the session for tools and templates. The reason is "" where there is nothing to say.
type TurnFunc func(ctx context.Context, in *Input) (FinishReason, error)

// Turns runs a turn for each input, one after the other, until there are no more. After each
// the conversation is stored, where the agent has a store, and the caller is told that the
// turn has ended. A turn that fails is the last one: Turns returns its error, and the
// invocation ends with it, whatever the function makes of that. What a failed turn has changed is
// kept, so that it can be tried again from there.
func (r *Run) Turns(turn TurnFunc) error {
	for {
		var in *Input
		select {
		case next, more := <-r.inputs:
			if !more {
				return nil
			}
			in = next
		case <-r.ctx.Done():
			return status.Convert(r.ctx.Err())
		}
		if err := r.turn(in, turn); err != nil {
			return err
		}
	}
}

func (r *Run) turn(in *Input, turn TurnFunc) (err error) {
	id := ""
	if r.agent.config.Store != nil {
		id = uuid.New()
	}
	r.commit <- struct{}{}
	r.turns++
	r.turnID = id
	name := "runTurn-" + strconv.Itoa(r.turns)
	<-r.commit
	span := telemetry.Span{Name: name, Type: telemetry.TypeFlowStep}
	if telemetry.Bodies(r.ctx) {
		if raw, encErr := rawjson.Encode(in); encErr == nil { // a span is no reason to fail the turn
			span.Input = raw
		}
	}
	ctx, running := telemetry.Start(r.ctx, span)
	defer func() { err = running.End(err) }()
	version := r.session.beginTurn()
	reason, err := r.work(ctx, in, turn)
	end, err := r.endTurn(ctx, id, version, reason, err)
	if end.SnapshotID != "" {
		running.Set("agent:snapshotId", end.SnapshotID)
	}
	if telemetry.Bodies(ctx) {
		if raw, encErr := rawjson.Encode(map[string]any{"state": r.session.copy()}); encErr == nil {
			running.Output(raw)
		}
	}
	if told := r.emit(&Chunk{TurnEnd: end}); err == nil {
		err = told
	}
	return err
}

// work runs the turn's function; a panic becomes an error.
func (r *Run) work(ctx context.Context, in *Input, turn TurnFunc) (reason FinishReason, err error) {
	if in.Message != nil {
		m := *in.Message
		if err := checkMessage(&m); err != nil {
			return "", err
		}
		r.session.AddMessages(m)
	}
	_, err = r.guarded(func() (*Result, error) {
		var err error
		reason, err = turn(prompt.WithState(ctx, r.session.State()), in)
		return nil, err
	})
	if err == nil && r.ctx.Err() != nil {
		err = status.Convert(r.ctx.Err())
	}
	r.mu.Lock()
	broken := r.broken
	r.mu.Unlock()
	if broken != nil {
		return "", broken
	}
	return reason, err
}

// checkMessage refuses what only a model or a tool may say.
func checkMessage(m *content.Message) error {
	if m.Role == "" {
		m.Role = content.RoleUser
	}
	if m.Role != content.RoleUser {
		return status.Publicf(status.InvalidArgument, "the message of an input has the role %q, want %q", m.Role, content.RoleUser)
	}
	for i := range m.Content {
		if m.Content[i].ToolRequest != nil || m.Content[i].ToolResponse != nil {
			return status.Publicf(status.InvalidArgument, "the message of an input holds a part of a tool; answer an interrupt with resume")
		}
	}
	return nil
}

// endTurn stores a turn, and returns what the caller is told of it and the error with which
// it has failed.
func (r *Run) endTurn(ctx context.Context, id string, version int, reason FinishReason, err error) (*TurnEnd, error) {
	r.commit <- struct{}{}
	defer func() { <-r.commit }()
	r.turnID = ""
	changed := r.session.changes() != version
	if err == nil {
		if err = r.checkSize(); err != nil {
			id = ""
		}
	}
	s := &Snapshot{Status: Completed, FinishReason: reason}
	if err != nil {
		s = &Snapshot{Status: Failed, FinishReason: FinishFailed, Error: new(status.ToWire(err, false))}
		if r.cancelled() {
			s.FinishReason = FinishAborted
		}
	}
	end := &TurnEnd{FinishReason: s.FinishReason}
	// A turn that was cancelled leaves the conversation where it was; in the background, the whole is stored at the end.
	if id != "" && !r.isDetached() && (err == nil || changed && s.FinishReason == FinishFailed) {
		if stored := r.store(ctx, id, s); stored == nil {
			end.SnapshotID = id
		} else if err == nil {
			err, end.FinishReason = stored, FinishFailed
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reason = end.FinishReason
	if err != nil && r.failed == nil {
		r.failed = err
	}
	return end, err
}

// cancelled reports whether the work was ended from outside.
func (r *Run) cancelled() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.broken == nil && (r.aborted || r.ctx.Err() != nil)
}

// checkSize refuses a conversation that is too large.
func (r *Run) checkSize() error {
	raw, err := rawjson.Encode(r.session.copy())
	if err != nil {
		return status.Errorf(status.Internal, "encode the state of agent %q: %w", r.agent.name, err)
	}
	if most := r.agent.config.MaxStateBytes; len(raw) > most {
		return status.Publicf(status.ResourceExhausted, "the conversation would take %d bytes, more than %d", len(raw), most)
	}
	return nil
}
