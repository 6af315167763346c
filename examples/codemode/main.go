// Command codemode has a model write code that calls tools: it looks at ten orders at the same time, refunds the largest when
// a person has approved that, and answers with two numbers.
//
//	go run ./examples/codemode qjs.wasm    # of the Go module github.com/fastschema/qjs v0.0.6
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/codemode"
	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/toolapproval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// answers stand for a model's: the code, and what it makes of the result.
const answers = `{"script": [
  {"message": {"content": [{"toolRequest": {"name": "run_code", "ref": "1", "input": {"code":
    "const ids = await tools.orders({});\nconst all = await Promise.all(ids.map((id) => tools.order({ id })));\nconst sum = all.reduce((n, o) => n + o.cents, 0);\nconst most = all.reduce((a, b) => (b.cents > a.cents ? b : a));\nconsole.log('refunding', most.id);\nreturn { sum, refund: await tools.refund({ id: most.id }) };"}}}]}},
  {"message": {"content": [{"text": "All is settled."}]}}]}`

func main() {
	javascript, err := os.ReadFile(os.Args[len(os.Args)-1])
	if err == nil {
		err = run(context.Background(), wasmhost.Config{JavaScript: javascript}, os.Stdout)
	}
	if err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("codemode", slog.Any("error", err))
		os.Exit(1)
	}
}

type id struct {
	ID int `json:"id"`
}

type order struct {
	ID    int `json:"id"`
	Cents int `json:"cents"`
}

func run(ctx context.Context, config wasmhost.Config, out io.Writer) error {
	host, err := wasmhost.New(ctx, config)
	if err != nil {
		return err
	}
	defer func() { _ = host.Close(ctx) }()
	eng, err := engine.New(ctx, engine.Config{Plugins: []registry.Plugin{scripted.Plugin(), toolapproval.Plugin(), codemode.Plugin(codemode.Options{})}})
	if err != nil {
		return err
	}
	defer func() { _ = eng.Close(ctx) }()
	if err := eng.AddProvider(host.Provider(wasmhost.DefaultTenant)); err != nil {
		return err
	}
	tools := []engine.ToolRef{
		engine.DefineTool(eng, "orders", "Lists the open orders.", func(context.Context, struct{}) ([]int, error) { return []int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, nil }),
		engine.DefineTool(eng, "order", "Looks at an order.", func(_ context.Context, in id) (order, error) { return order{in.ID, in.ID * 7 % 11 * 100}, nil }),
		engine.DefineTool(eng, "refund", "Refunds an order.", func(_ context.Context, in id) (string, error) { return fmt.Sprintf("order %d is refunded", in.ID), nil }),
	}

	options := []engine.GenerateOption{
		engine.WithModelName(scripted.Name), engine.WithConfig(json.RawMessage(answers)), engine.WithTools(tools...),
		// The middleware behind codeMode sees each call that the code makes.
		engine.WithUse(engine.UseName(codemode.Name, nil), engine.UseName(toolapproval.Name, toolapproval.Config{Approved: []string{"orders", "order"}})),
	}
	resp, err := engine.Generate(ctx, eng, append(options, engine.WithPrompt("Refund the largest order."))...)
	if err != nil {
		return err
	}
	question := resp.Interrupts()[0]
	asked, _ := tool.InterruptAs[struct {
		CodeMode struct {
			Pending []struct {
				Tool  string `json:"tool"`
				Input id     `json:"input"`
			} `json:"pending"`
		} `json:"codeMode"`
	}](question)
	fmt.Fprintf(out, "may it %s %d?\n", asked.CodeMode.Pending[0].Tool, asked.CodeMode.Pending[0].Input.ID)
	yes, err := tool.Restart(question, tool.WithResumedMetadata(map[string]bool{"toolApproved": true}))
	if err != nil {
		return err
	}
	resp, err = engine.Generate(ctx, eng, append(options, engine.WithMessages(resp.History()...), engine.WithToolRestarts(yes))...)
	if err != nil {
		return err
	}
	history := resp.History()
	fmt.Fprintf(out, "%s\n%s\n", history[len(history)-2].Content[0].ToolResponse.Output, resp.Text())
	return nil
}
