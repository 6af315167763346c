// Command dap offers a model tools that are fetched when they are needed, and tools of
// Wasm modules by the same kind of expression.
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
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

func main() {
	if err := run(context.Background(), "examples/calc/calc.wasm"); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("dap", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context, file string) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	engine.DefineDynamicActionProvider(eng, "shop", registry.DynamicConfig{}, func(context.Context) ([]action.Action, error) {
		fmt.Println("asking the shop what it has")
		price, err := tool.New("price", "Tells the price of a thing.", func(_ context.Context, thing string) (int, error) { return len(thing), nil })
		return []action.Action{price}, err
	})
	host, err := wasmhost.New(ctx, wasmhost.Config{Tenants: map[string]wasmhost.TenantConfig{"acme": {}}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, host.Close(ctx)) }()
	if err := eng.AddProvider(host.Provider("acme")); err != nil {
		return err
	}
	wasm, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if _, err := host.Load(ctx, "acme", wasmhost.Upload{Wasm: wasm}); err != nil {
		return err
	}

	all, err := eng.Registry().Catalog(ctx)
	if err != nil {
		return err
	}
	for _, e := range all {
		if e.Desc.Kind == action.Tool || e.Desc.Kind == action.DynamicActionProvider {
			fmt.Println(e.Key)
		}
	}
	resp, err := engine.Generate(ctx, eng, engine.WithPrompt("What do a pear and a plum cost?"), engine.WithTools(engine.ToolName("shop:tool/*"), engine.ToolName("wasm/acme:tool/calc/a*")),
		engine.WithConfig(json.RawMessage(`{"script": [
			{"message": {"content": [{"toolRequest": {"name": "price", "input": "pear"}}, {"toolRequest": {"name": "price", "input": "plum"}}]}},
			{"message": {"content": [{"toolRequest": {"name": "add", "input": {"a": 4, "b": 4}}}]}},
			{"message": {"content": [{"text": "Eight."}]}}]}`)))
	if err != nil {
		return err
	}
	fmt.Println(resp.Text())
	return nil
}
