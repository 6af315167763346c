// Command middleware writes a middleware of its own: it keeps words from the model,
// in what is asked, and is used by name like those that are shipped.
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// Redact is the config: its JSON Schema follows from the type, and a call that breaks
// it is refused before anything runs.
type Redact struct {
	Words []string `json:"words" jsonschema:"minItems=1" jsonschema_description:"What the model must not see."`
}

func redact(_ context.Context, config Redact) (*middleware.Hooks, error) {
	var pairs []string
	for _, word := range config.Words {
		pairs = append(pairs, word, "[redacted]")
	}
	words := strings.NewReplacer(pairs...)
	return &middleware.Hooks{
		Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			c, req := *call, *call.Request
			c.Request, req.Messages = &req, slices.Clone(req.Messages) // the request is shared: change copies
			for i, m := range req.Messages {
				req.Messages[i].Content = slices.Clone(m.Content)
				for j, p := range m.Content {
					if p.Text != nil {
						req.Messages[i].Content[j] = content.Part{Text: new(words.Replace(*p.Text)), Metadata: p.Metadata}
					}
				}
			}
			return next(ctx, &c)
		},
	}, nil
}

func run(ctx context.Context) (err error) {
	mine := middleware.Plugin("redact", func() (middleware.Factory, error) {
		return middleware.Define(middleware.Desc{Name: "redact", Description: "Keeps words from the model."}, redact)
	})
	eng, err := engine.New(ctx, engine.Config{Plugins: append(builtin.All(), mine), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	text, err := engine.GenerateText(ctx, eng, engine.WithPrompt("Write to Ann at 12 Elm Street."),
		engine.WithUse(engine.UseName("retry", nil)), engine.WithUse(engine.UseName("redact", Redact{Words: []string{"Ann", "12 Elm Street"}})))
	fmt.Println(text)
	return err
}

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("middleware", slog.Any("error", err))
		os.Exit(1)
	}
}
