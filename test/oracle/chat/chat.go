// Package chat holds the same conversations with this engine's chats and with those that
// Genkit JS had until 1.34, and compares what the model was asked and what the store holds
// after each turn.
//
// It owns the cases (testdata/cases.json) and what JS makes of them (testdata/js.json,
// recorded, and checked against JS itself where that is installed). Use:
//
//	outcome, err := chat.Ours(ctx, c)
//
// Functions here are safe for concurrent use.
package chat

import (
	"context"
	"encoding/json"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Case is a session with its chats.
type Case struct {
	Name    string            `json:"name"`
	State   json.RawMessage   `json:"state,omitempty"`
	Turns   []Turn            `json:"turns"`
	Answers []json.RawMessage `json:"answers"` // each the content of a message, or {"error"}
}

// Turn is a chat over a thread, and what is said in it.
type Turn struct {
	Thread   string            `json:"thread,omitempty"`
	System   string            `json:"system,omitempty"`
	Messages []content.Message `json:"messages,omitempty"`
	Tools    []string          `json:"tools,omitempty"`
	Schema   json.RawMessage   `json:"schema,omitempty"`
	Texts    []string          `json:"texts"`
	// Patch is put into the state afterwards.
	Patch json.RawMessage `json:"patch,omitempty"`
}

// Outcome is the observed result of a case, as JSON values.
type Outcome struct {
	After []After `json:"after"`
	// Seen are the messages that the model was given, call by call.
	Seen []any `json:"seen"`
}

// After is the state after a turn.
type After struct {
	Status  string         `json:"status"`
	State   any            `json:"state"`
	Threads map[string]any `json:"threads"`
}

// Differences are the deliberate deviations from Genkit JS, by name.
var Differences = map[string]string{
	"stored at once": "a new session is stored when it is made; JS stores it with its first update",
	"unknown tool":   "a tool that nobody has fails with NOT_FOUND; JS throws an error without a status",
}

// model answers from a list and keeps what it was asked.
type script struct {
	mu      sync.Mutex
	answers []json.RawMessage
	seen    []any
}

func (s *script) answer(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	seen, err := value(req.Messages)
	if err != nil {
		return nil, err
	}
	s.seen = append(s.seen, seen)
	if len(s.answers) == 0 {
		return nil, status.Errorf(status.OutOfRange, "the script is over")
	}
	next := s.answers[0]
	s.answers = s.answers[1:]
	msg := &content.Message{Role: content.RoleModel}
	if err := json.Unmarshal(next, &msg.Content); err != nil {
		return nil, status.Errorf(status.Internal, "down")
	}
	return &model.Response{Message: msg, FinishReason: model.FinishStop}, nil
}

func value(v any) (out any, err error) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, &out)
	}
	return out, err
}

// Ours runs a case through this engine.
func Ours(ctx context.Context, c *Case) (*Outcome, error) {
	eng, err := engine.New(ctx, engine.Config{DefaultModel: "test/m"})
	if err != nil {
		return nil, err
	}
	defer eng.Close(ctx) //nolint:errcheck // the process ends
	s := &script{answers: c.Answers}
	engine.DefineModel(eng, "test/m", model.Info{Supports: model.Supports{Multiturn: true, SystemRole: true, Tools: true}}, s.answer)
	engine.DefineTool(eng, "visit", "", visit)
	config := session.Config{ID: "s", Store: session.NewMemory(session.MemoryConfig{})}
	if c.State != nil {
		config.State = c.State
	}
	held, err := session.New(ctx, config)
	if err != nil {
		return nil, err
	}
	o := &Outcome{}
	for _, t := range c.Turns {
		after, err := turn(ctx, eng, config, held, t)
		if err != nil {
			return nil, err
		}
		o.After = append(o.After, *after)
	}
	o.Seen = s.seen
	return o, nil
}

func visit(ctx context.Context, _ any) (string, error) {
	s, ok := session.From(ctx)
	if !ok {
		return "", status.Errorf(status.Internal, "there is no session")
	}
	state, err := session.StateOf[struct{ Visits int }](s)
	if err != nil {
		return "", err
	}
	return "noted", s.UpdateState(ctx, map[string]int{"visits": state.Visits + 1})
}

func turn(ctx context.Context, eng *engine.Engine, config session.Config, held *session.Session, t Turn) (*After, error) {
	var options []engine.GenerateOption
	if t.System != "" {
		options = append(options, engine.WithSystem(t.System))
	}
	options = append(options, engine.WithMessages(t.Messages...))
	for _, name := range t.Tools {
		options = append(options, engine.WithTools(engine.ToolName(name)))
	}
	if t.Schema != nil {
		options = append(options, engine.WithOutputSchema(t.Schema))
	}
	chat, err := engine.NewChat(eng, held, t.Thread, options...)
	if err != nil {
		return nil, err
	}
	after := &After{Status: "OK"}
	for _, text := range t.Texts {
		if _, err := chat.Send(ctx, text); err != nil {
			after.Status = status.Of(err).String()
			break
		}
	}
	if t.Patch != nil {
		if err := held.UpdateState(ctx, t.Patch); err != nil {
			return nil, err
		}
	}
	stored, err := session.Load(ctx, config)
	if err != nil {
		return nil, err
	}
	data, err := stored.Data()
	if err != nil {
		return nil, err
	}
	if after.State, err = value(data.State); err != nil {
		return nil, err
	}
	after.Threads = map[string]any{}
	for name, messages := range data.Threads {
		if after.Threads[name], err = value(messages); err != nil {
			return nil, err
		}
	}
	return after, nil
}
