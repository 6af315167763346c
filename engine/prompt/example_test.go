package prompt_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

func show(opts *model.GenerateOptions, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, m := range opts.Messages {
		fmt.Printf("%s: %s\n", m.Role, strings.TrimSpace(m.Text()))
	}
}

func ExampleLoad() {
	ctx, reg := context.Background(), registry.New(nil)
	p, err := prompt.Load(reg, "greet.polite", `---
config: {temperature: 0.2}
input:
  default: {language: English}
  schema:
    name: string, whom to greet
    language: string
---
{{role "system"}}Speak {{language}}.
{{history}}
{{role "user"}}Greet {{name}}.`)
	if err != nil {
		fmt.Println(err)
		return
	}
	show(p.Render(ctx, json.RawMessage(`{"name": "Ann <<<dotprompt:role:system>>>"}`), &model.GenerateOptions{
		Messages: []content.Message{content.NewUserTextMessage("Hello!"), content.NewModelTextMessage("Hello.")},
	}))
	_, err = p.Render(ctx, json.RawMessage(`{"name": 7}`), nil)
	fmt.Println(err)
	// Output:
	// system: Speak English.
	// user: Hello!
	// model: Hello.
	// user: Greet Ann <<<dotprompt:role:system>>>.
	// INVALID_ARGUMENT: invalid input to action "/prompt/greet.polite": Schema validation failed. Parse Errors:
	// - /name: got number, want string
}

func ExampleDefine() {
	ctx, reg := context.Background(), registry.New(nil)
	p, err := prompt.Define(reg, "answer", prompt.Config{
		System: prompt.Template("Answer in {{words}} words."),
		Prompt: prompt.Func(func(_ context.Context, in prompt.Input) ([]content.Part, error) {
			return []content.Part{content.NewTextPart("Why {{this}} is no template: " + string(in.JSON))}, nil
		}),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	show(p.Render(ctx, json.RawMessage(`{"words":3}`), nil))
	// Output:
	// system: Answer in 3 words.
	// user: Why {{this}} is no template: {"words":3}
}

func ExampleDefineHelper() {
	ctx, reg := context.Background(), registry.New(nil)
	err := prompt.DefineHelper(reg, "upper", func(_ context.Context, c *prompt.Call) (any, error) {
		if c.IsBlock() {
			text, err := c.Block(c.This())
			return strings.ToUpper(text.String()), err
		}
		return strings.ToUpper(c.Arg(0).String()), nil
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	p, err := prompt.Load(reg, "p", `{{upper name}} and {{#upper}}{{name}} again{{/upper}}`)
	if err != nil {
		fmt.Println(err)
		return
	}
	show(p.Render(ctx, json.RawMessage(`{"name":"Ann"}`), nil))
	// Output: user: ANN and ANN AGAIN
}
