// Command structuredstream reads a Go value while a model writes it: each step has what
// is known so far, the last one is checked against the type's schema.
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
)

type recipe struct {
	Title string   `json:"title"`
	Steps []string `json:"steps"`
}

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("structuredstream", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	// The scripted model sends these chunks; a real one would choose its own.
	script := json.RawMessage(`{
		"script": [{"message": {"content": [{"text": "{\"title\": \"Tea\", \"steps\": [\"boil water\", \"wait\"]}"}]}}],
		"chunks": [[
			{"content": [{"text": "{\"title\": \"Te"}]},
			{"content": [{"text": "a\", \"steps\": [\"boil wa"}]},
			{"content": [{"text": "ter\", \"wait\"]}"}]}
		]]}`)
	for event, err := range engine.GenerateDataStream[recipe](ctx, eng, engine.WithPrompt("How do I make tea?"), engine.WithConfig(script)) {
		if err != nil {
			return err
		}
		known := event.Chunk
		if event.Done {
			known = event.Output
		}
		fmt.Printf("done=%v title=%q steps=%q\n", event.Done, known.Title, known.Steps)
	}
	return nil
}
