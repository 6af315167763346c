package engine_test

import (
	"context"
	"fmt"
	"log"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
)

// newEngine returns an engine whose default model answers from a script.
func newEngine(ctx context.Context) *engine.Engine {
	eng, err := engine.New(ctx, engine.Config{DefaultModel: "test/scripted", Plugins: builtin.All()})
	if err != nil {
		log.Fatal(err)
	}
	return eng
}

// script is the config of the scripted model.
type script struct {
	Script []any `json:"script"`
}

type pair struct {
	A int `json:"a"`
	B int `json:"b"`
}

func ExampleDefineTool() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	add := engine.DefineTool(eng, "math/add", "Adds two numbers.", func(_ context.Context, in pair) (int, error) {
		return in.A + in.B, nil
	})
	sum, err := add.Run(ctx, pair{A: 19, B: 23})
	fmt.Println(sum, err)
	// Output: 42 <nil>
}

func ExampleDefineFlow() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	shout := engine.DefineFlow(eng, "shout", func(ctx context.Context, name string) (string, error) {
		greeting, err := flow.Run(ctx, "greet", func(ctx context.Context) (string, error) {
			return engine.GenerateText(ctx, eng, engine.WithPrompt("Hello, "+name))
		})
		return strings.ToUpper(greeting), err
	})
	fmt.Println(shout.Run(ctx, "Ada"))
	// Output: YOU SAID: HELLO, ADA <nil>
}

func ExampleGenerate() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	add := engine.DefineTool(eng, "math/add", "Adds two numbers.", func(_ context.Context, in pair) (int, error) {
		return in.A + in.B, nil
	})
	resp, err := engine.Generate(ctx, eng,
		engine.WithPrompt("What is 19 + 23?"),
		engine.WithTools(add),
		engine.WithConfig(script{Script: []any{
			map[string]any{"message": map[string]any{"content": []any{
				map[string]any{"toolRequest": map[string]any{"name": "add", "ref": "1", "input": pair{A: 19, B: 23}}},
			}}},
			map[string]any{"message": map[string]any{"content": []any{map[string]any{"text": "It is 42."}}}},
		}}),
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range resp.Request.Messages {
		for _, p := range m.Content {
			switch {
			case p.ToolRequest != nil:
				fmt.Printf("%s asks for %s(%s)\n", m.Role, p.ToolRequest.Name, p.ToolRequest.Input)
			case p.ToolResponse != nil:
				fmt.Printf("%s answers %s\n", m.Role, p.ToolResponse.Output)
			default:
				fmt.Printf("%s: %s\n", m.Role, *p.Text)
			}
		}
	}
	fmt.Println(resp.Text())
	// Output:
	// user: What is 19 + 23?
	// model asks for add({"a":19,"b":23})
	// tool answers 42
	// It is 42.
}

func ExampleGenerateStream() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	for event, err := range engine.GenerateStream(ctx, eng, engine.WithPrompt("one two")) {
		switch {
		case err != nil:
			log.Fatal(err)
		case event.Done:
			fmt.Printf("done: %s\n", event.Response.FinishReason)
		default:
			fmt.Printf("%q\n", event.Chunk.Text())
		}
	}
	// Output:
	// "You "
	// "said: "
	// "one "
	// "two"
	// done: stop
}

func ExampleGenerateData() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	sum, _, err := engine.GenerateData[pair](ctx, eng,
		engine.WithPrompt("Two numbers, please."),
		engine.WithConfig(script{Script: []any{
			map[string]any{"message": map[string]any{"content": []any{map[string]any{"text": "Sure!\n```json\n{\"a\": 1, \"b\": 2}\n```"}}}},
		}}),
	)
	fmt.Println(sum, err)
	// Output: {1 2} <nil>
}

func ExampleEngine_Child() {
	ctx := context.Background()
	eng := newEngine(ctx)
	defer eng.Close(ctx)
	acme, globex := eng.Child(), eng.Child()
	engine.DefineTool(acme, "crm/lookup", "Looks a customer up.", func(context.Context, string) (string, error) { return "acme's", nil })
	_, errAcme := engine.LookupTool(ctx, acme, "lookup")
	_, errGlobex := engine.LookupTool(ctx, globex, "lookup")
	fmt.Println(errAcme)
	fmt.Println(errGlobex)
	// Output:
	// <nil>
	// NOT_FOUND: tool "lookup" not found
}
