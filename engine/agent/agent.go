// Package agent is a conversation that an agent leads: turn by turn, with a state that is
// kept by the agent's store or by its caller.
//
// It owns agents and the three actions of each (/agent/<name>, /agent-snapshot/<name>,
// /agent-abort/<name>), the loop over the turns of an invocation, sessions, snapshots and
// where a conversation goes on, the checks of what resumes a turn, work in the background,
// and two stores: in memory and in a directory. The behaviour follows Genkit JS
// (js/ai/src/agent.ts); docs/agents.md lists where Genkit's SDKs disagree, and what is done
// here. Use:
//
//	a, err := agent.DefinePrompt(reg, "helper", agent.PromptConfig{}, agent.Config{Store: agent.NewMemory(agent.MemoryConfig{})})
//	out, err := a.Run(ctx, agent.Init{}, agent.Input{Message: &hi})
//	out, err = a.Run(ctx, agent.Init{SnapshotID: out.SnapshotID}, agent.Input{Message: &more})
//
// An *Agent is safe for concurrent use. Two invocations that go on from one snapshot make two
// branches. Ids of sessions and snapshots name them and grant nothing: a server has to check
// who may use which.
//
// Experimental: Genkit's agents are in beta. Stores and agents may still change with them.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Config describes an agent. Its zero value is one whose callers keep the state.
type Config struct {
	Description string
	// Store keeps the conversations; nil hands them to the caller.
	Store Store
	// StateSchema is a JSON Schema of the custom state; nil takes any.
	StateSchema json.RawMessage
	// ShowState returns what a caller may see of a conversation, which it may change; nil
	// shows nothing of it. It applies to outputs, snapshots and the patches of the custom state,
	// and may be called from several goroutines, in a turn too: it must not use the session.
	// What a caller of an agent without a store was not shown is lost for the next turn.
	ShowState func(ctx context.Context, s *State) (*State, error)
	// ShowChunk returns what a caller may see of a chunk; nil drops it. An error of either
	// function fails the invocation, and nothing more is shown.
	ShowChunk func(ctx context.Context, c *Chunk) (*Chunk, error)
	// MaxStateBytes bounds a conversation, encoded as JSON: 4 MiB. A turn that exceeds it
	// fails with RESOURCE_EXHAUSTED.
	MaxStateBytes int
	// Logger gets what goes wrong in the background; nil drops it.
	Logger *slog.Logger
}

const defaultStateBytes = 4 << 20

// Func is the work of an agent: it goes through the turns with [Run.Turns] and says at the
// end what came of them, such as [Run.Result]; nil is that. It has to return when ctx ends.
type Func func(ctx context.Context, run *Run) (*Result, error)

// Agent is a registered agent. Make one with [Define] or [DefinePrompt]. Close it where
// turns go on in the background.
type Agent struct {
	name   string
	config Config
	state  *schema.Schema
	fn     Func
	bidi   *action.BidiDef[Init, Input, Output, Chunk]

	mu         sync.Mutex // guards the fields below
	closed     bool
	background map[string]*Run // by the snapshot's id
	running    sync.WaitGroup  // added to while not closed
}

// Define makes an agent of a function of one's own and registers its actions. It fails with
// INVALID_ARGUMENT when the name or the schema is broken and with ALREADY_EXISTS when the
// name is taken.
func Define(reg *registry.Registry, name string, fn Func, c Config) (*Agent, error) {
	if c.MaxStateBytes <= 0 {
		c.MaxStateBytes = defaultStateBytes
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	a := &Agent{name: name, config: c, fn: fn, background: map[string]*Run{}}
	var err error
	if a.state, err = schema.Compile(c.StateSchema, schema.AssertFormats()); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "state schema of agent %q: %w", name, err)
	}
	all, err := a.actions()
	if err != nil {
		return nil, err
	}
	for i, one := range all {
		if err := reg.Register(one); err != nil {
			for _, done := range all[:i] {
				reg.Unregister(done.Desc().Key())
			}
			return nil, err
		}
	}
	return a, nil
}

// metadata is Genkit's AgentMetadata.
type metadata struct {
	StateManagement string          `json:"stateManagement"`
	Abortable       bool            `json:"abortable"`
	StateSchema     json.RawMessage `json:"stateSchema,omitempty"`
}

func (a *Agent) actions() ([]action.Action, error) {
	m := metadata{StateManagement: "client", StateSchema: a.config.StateSchema}
	if a.config.Store != nil {
		m.StateManagement = "server"
		_, m.Abortable = a.config.Store.(Watcher)
	}
	described, err := rawjson.Encode(m)
	if err != nil {
		return nil, status.Publicf(status.InvalidArgument, "state schema of agent %q: %w", a.name, err)
	}
	b, err := action.NewBidi(action.Desc{
		Kind: action.Agent, Name: a.name, Description: a.config.Description,
		InitSchema: json.RawMessage(initSchema), InputSchema: json.RawMessage(inputSchema),
		OutputSchema: json.RawMessage(outputSchema), StreamSchema: json.RawMessage(chunkSchema),
		Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"agent"`), "agent": described},
		Stored:   true, // the schemas are this package's
	}, a.invoke)
	if err != nil {
		return nil, err
	}
	a.bidi = &action.BidiDef[Init, Input, Output, Chunk]{Bidi: b}
	get, err := action.Define(action.Desc{
		Kind: action.AgentSnapshot, Name: a.name, Description: "Returns a snapshot of the agent " + a.name + ".",
		InputSchema: json.RawMessage(querySchema), OutputSchema: json.RawMessage(snapshotSchema), Stored: true,
	}, func(ctx context.Context, q Query, _ func(struct{}) error) (*Snapshot, error) {
		return a.Snapshot(ctx, q)
	})
	if err != nil {
		return nil, err
	}
	abort, err := action.Define(action.Desc{
		Kind: action.AgentAbort, Name: a.name, Description: "Aborts a turn of the agent " + a.name + " that runs in the background.",
		InputSchema: json.RawMessage(abortSchema), OutputSchema: json.RawMessage(abortedSchema), Stored: true,
	}, func(ctx context.Context, q abortRequest, _ func(struct{}) error) (abortResponse, error) {
		was, err := a.Abort(ctx, q.SnapshotID)
		return abortResponse{SnapshotID: q.SnapshotID, Status: was}, err
	})
	return []action.Action{b, get, abort}, err
}

// Name returns the agent's name.
func (a *Agent) Name() string { return a.name }

// Run runs one turn and drops its chunks; see [Agent.Connect].
func (a *Agent) Run(ctx context.Context, init Init, in Input) (*Output, error) {
	out, err := a.bidi.Run(ctx, init, in)
	if err != nil {
		return nil, err
	}
	return &out, nil
}

// Connect starts an invocation, in which each input is a turn; see [action.Connection]. What
// goes wrong in a turn is told by the [Output], with finishReason failed and the error. The
// invocation itself fails with INVALID_ARGUMENT for an init or input that breaks its schema and
// for a snapshot of another session, with FAILED_PRECONDITION where state and store do not go
// together and for a detach without a store, with UNAVAILABLE for a detach once the agent
// is closed, and like ctx when that ends.
func (a *Agent) Connect(ctx context.Context, init Init) (*action.Connection[Input, Output, Chunk], error) {
	return a.bidi.Connect(ctx, init)
}

// checkState reports whether the custom state fits the schema.
func (a *Agent) checkState(raw json.RawMessage) error {
	if !a.state.Demanding() {
		return nil
	}
	if len(raw) == 0 {
		raw = json.RawMessage("null")
	}
	if err := a.state.Validate(raw); err != nil {
		e := status.Publicf(status.InvalidArgument, "the custom state breaks the schema of agent %q: %v", a.name, err)
		if v, ok := errors.AsType[*schema.ValidationError](err); ok {
			e = e.WithDetails(v.Details())
		}
		return e.WithCause(err)
	}
	return nil
}

// Close lets no more turns go on in the background and waits for those that do. When ctx
// ends first they are cancelled, stored as aborted and waited for, and ctx's error is returned.
func (a *Agent) Close(ctx context.Context) error {
	a.mu.Lock()
	a.closed = true
	a.mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.running.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	a.mu.Lock()
	for _, r := range a.background {
		r.abort()
	}
	a.mu.Unlock()
	<-done
	return status.Convert(ctx.Err())
}

// begin counts a turn that goes on in the background.
func (a *Agent) begin(id string, r *Run) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return status.Publicf(status.Unavailable, "agent %q is shutting down", a.name)
	}
	a.running.Add(1)
	a.background[id] = r
	return nil
}

func (a *Agent) end(id string) {
	a.mu.Lock()
	delete(a.background, id)
	a.mu.Unlock()
	a.running.Done()
}
