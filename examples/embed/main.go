// Command embed gives one customer of a Go service an isolated set of Wasm tools and
// lets a model use one of them.
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
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

func main() {
	if err := run(context.Background(), "examples/calc/calc.wasm"); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("embed", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	host, err := wasmhost.New(ctx, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {Limits: policy.Limits{TimeoutMS: 500}}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close(ctx)) }()

	// Modules of acme are visible to acme alone.
	acme := eng.Child()
	if err := acme.AddProvider(host.Provider("acme")); err != nil {
		return err
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	rec, err := host.Load(ctx, "acme", wasmhost.Upload{Wasm: wasm})
	if err != nil {
		return err
	}
	fmt.Println("loaded", rec.Name, rec.Actions)

	script := json.RawMessage(`{"script": [
		{"message": {"role": "model", "content": [{"toolRequest": {"name": "add", "ref": "1", "input": {"a": 40, "b": 2}}}]}},
		{"message": {"role": "model", "content": [{"text": "The answer is 42."}]}}]}`)
	text, err := engine.GenerateText(ctx, acme, engine.WithPrompt("What is 40 + 2?"), engine.WithTools(engine.ToolName("add")), engine.WithConfig(script))
	if err != nil {
		return err
	}
	fmt.Println(text)
	return nil
}
