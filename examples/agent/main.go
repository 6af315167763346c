// Command agent leads a conversation over two runs of a program: its turns are kept in a
// directory, and a tool changes the state, which the caller sees live.
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
	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func main() {
	for range 2 { // as two runs of a program would
		if err := run(context.Background(), "conversations"); err != nil {
			slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("agent", slog.Any("error", err))
			os.Exit(1)
		}
	}
}

// add is a tool that works on the conversation of the agent that runs it.
func add(ctx context.Context, item string) (int, error) {
	s, ok := agent.SessionFrom(ctx)
	if !ok {
		return 0, status.Publicf(status.FailedPrecondition, "there is no conversation")
	}
	n := 0
	return n, agent.UpdateState(s, func(list []string) ([]string, error) {
		list = append(list, item)
		n = len(list)
		return list, nil
	})
}

func run(ctx context.Context, dir string) (err error) {
	store, err := agent.OpenDir(dir, agent.DirConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Close()) }()
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	tool := engine.DefineTool(eng, "add", "Adds an item to the list.", add)
	shopper := engine.DefineAgent(eng, "shopper", agent.Config{Store: store},
		engine.WithSystem("You keep a list, now {{@state}}."), engine.WithTools(tool), engine.WithConfig(json.RawMessage(`{"script": [
			{"message": {"content": [{"toolRequest": {"name": "add", "input": "tea"}}]}},
			{"message": {"content": [{"text": "It is on the list."}]}}]}`)))

	c, err := shopper.Connect(eng.Context(ctx), agent.Init{SessionID: "ada"}) // a new conversation, or where it was
	if err != nil {
		return err
	}
	if err := c.Send(ctx, agent.Input{Message: new(content.NewUserTextMessage("We need tea."))}); err != nil {
		return err
	}
	c.Close()
	for chunk, err := range c.Receive() {
		if err != nil {
			return err
		}
		for _, op := range chunk.CustomPatch {
			fmt.Println(op.Op, string(op.Value))
		}
	}
	out, err := c.Output()
	if err != nil {
		return err
	}
	fmt.Println(out.FinishReason, out.Message.Text())
	return nil
}
