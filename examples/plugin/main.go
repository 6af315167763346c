// Command plugin adds a plugin to an engine: it starts when the first of its models is
// needed, and makes models that it did not list.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("plugin", slog.Any("error", err))
		os.Exit(1)
	}
}

// parrot is a model that repeats what it is told in a voice of its own.
func parrot(name string, voice func(string) string) (action.Action, error) {
	return model.New(name, model.Info{}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		said := content.NewModelTextMessage(voice(req.Messages[len(req.Messages)-1].Text()))
		return &model.Response{Message: &said, FinishReason: model.FinishStop}, nil
	})
}

func run(ctx context.Context) (err error) {
	plugin, err := engine.NewPlugin(engine.PluginConfig{
		Name: "zoo",
		Init: func(context.Context) ([]action.Action, error) {
			fmt.Println("the zoo opens")
			grey, err := parrot("zoo/grey", strings.ToUpper)
			return []action.Action{grey}, err
		},
		Resolve: func(_ context.Context, key action.Key) (action.Action, error) {
			return parrot(key.Name, func(s string) string { return s + "?" })
		},
		List: func(context.Context) ([]action.Desc, error) {
			return []action.Desc{{Kind: action.Model, Name: "zoo/grey", Description: "A grey parrot."}}, nil
		},
	})
	if err != nil {
		return err
	}
	eng, err := engine.New(ctx, engine.Config{Plugins: []engine.Plugin{plugin}})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	listed, err := eng.Registry().List(ctx) // starts nothing
	if err != nil {
		return err
	}
	fmt.Println("listed:", listed[0].Name)
	for _, name := range []string{"zoo/grey", "zoo/lory"} {
		text, err := engine.GenerateText(ctx, eng, engine.WithModelName(name), engine.WithPrompt("hello"))
		if err != nil {
			return err
		}
		fmt.Println(name, "says", text)
	}
	return nil
}
