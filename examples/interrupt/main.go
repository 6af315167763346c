// Command interrupt lets a tool ask before it pays: the call stops, somebody answers,
// and the conversation goes on.
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
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

type payment struct {
	To     string `json:"to"`
	Amount int    `json:"amount"`
}

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("interrupt", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	pay := engine.DefineTool(eng, "pay", "Pays somebody.", func(ctx context.Context, in payment) (string, error) {
		if _, answered := tool.Resumed(ctx); !answered && in.Amount > 10 {
			return "", tool.InterruptWith(in) // stop and ask
		}
		return fmt.Sprintf("paid %d to %s", in.Amount, in.To), nil
	})
	script := json.RawMessage(`{"script": [
		{"message": {"content": [{"toolRequest": {"name": "pay", "ref": "1", "input": {"to": "Ada", "amount": 50}}}]}},
		{"message": {"content": [{"text": "Ada has her money."}]}}]}`)
	resp, err := engine.Generate(ctx, eng, engine.WithPrompt("Pay Ada 50."), engine.WithTools(pay), engine.WithConfig(script))
	if err != nil {
		return err
	}
	request := resp.Interrupts()[0]
	asked, _ := tool.InterruptAs[payment](request)
	fmt.Printf("%s: may I pay %d to %s?\n", resp.FinishReason, asked.Amount, asked.To)

	// The answer is yes, but less. Respond would answer in the tool's place.
	restart, err := pay.RestartWith(request, tool.WithNewInput(payment{"Ada", 40}))
	if err != nil {
		return err
	}
	resp, err = engine.Generate(ctx, eng, engine.WithMessages(resp.History()...), engine.WithTools(pay), engine.WithConfig(script),
		engine.WithToolRestarts(restart))
	if err != nil {
		return err
	}
	fmt.Println(string(resp.Request.Messages[2].Content[0].ToolResponse.Output))
	fmt.Println(resp.Text())
	return nil
}
