// Command resource puts content that is named by URI into what a model is asked: one
// resource with a fixed URI, one with a template, one made for a single call.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/resource"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("resource", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	text := func(s string) ([]content.Part, error) { return []content.Part{content.NewTextPart(s)}, nil }
	engine.DefineResource(eng, "", resource.Config{URI: "menu://today"}, func(context.Context, resource.Input) ([]content.Part, error) {
		return text("soup and bread; ")
	})
	engine.DefineResource(eng, "guest", resource.Config{Template: "guest://{name}"}, func(_ context.Context, in resource.Input) ([]content.Part, error) {
		return text(in.Variables["name"] + " likes soup; ")
	})
	once, err := resource.New("", resource.Config{URI: "note://1", Dynamic: true}, func(context.Context, resource.Input) ([]content.Part, error) {
		return text("be brief.")
	})
	if err != nil {
		return err
	}
	ask := content.Message{Role: content.RoleUser}
	for _, uri := range []string{"menu://today", "guest://Ada", "note://1"} {
		ask.Content = append(ask.Content, content.Part{Resource: &content.Resource{URI: uri}})
	}
	answer, err := engine.GenerateText(ctx, eng, engine.WithMessages(ask), engine.WithResources(once))
	if err != nil {
		return err
	}
	fmt.Println(answer)
	return nil
}
