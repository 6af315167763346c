// Command session holds a conversation that survives the process: state and messages are
// kept in a directory, and a tool reads and changes the state.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func main() {
	for range 2 { // as two runs of a program would
		if err := run(context.Background(), "sessions"); err != nil {
			slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("session", slog.Any("error", err))
			os.Exit(1)
		}
	}
}

// visits is the state.
type visits struct {
	Visits int `json:"visits"`
}

// count is a tool that works on the session of the chat that runs it.
func count(ctx context.Context, _ struct{}) (visits, error) {
	s, ok := session.From(ctx)
	if !ok {
		return visits{}, status.Publicf(status.FailedPrecondition, "there is no session")
	}
	v, err := session.StateOf[visits](s)
	if err != nil {
		return v, err
	}
	v.Visits++
	return v, s.UpdateState(ctx, v)
}

func run(ctx context.Context, dir string) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	engine.DefineTool(eng, "count", "Counts the visits.", count)
	store, err := session.OpenDir(dir, session.DirConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()

	c := session.Config{Store: store, ID: "ada"}
	s, err := session.Load(ctx, c)
	if errors.Is(err, status.ErrNotFound) {
		s, err = session.New(ctx, c)
	}
	if err != nil {
		return err
	}
	chat, err := engine.NewChat(eng, s, "", engine.WithSystem("Be brief."), engine.WithTools(engine.ToolName("count")), engine.WithConfig(json.RawMessage(`{"script": [
		{"message": {"content": [{"toolRequest": {"name": "count", "input": {}}}]}},
		{"message": {"content": [{"text": "Welcome."}]}}]}`)))
	if err != nil {
		return err
	}
	resp, err := chat.Send(ctx, "Hello, it is me.")
	if err != nil {
		return err
	}
	state, err := s.State()
	if err != nil {
		return err
	}
	messages, err := chat.Messages()
	fmt.Println(resp.Text(), string(state), len(messages), "messages")
	return err
}
