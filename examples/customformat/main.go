// Command customformat teaches the engine an output format of its own, CSV, and reads
// the records while the model writes them.
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

type city struct {
	Name  string `json:"name"`
	River string `json:"river"`
}

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("customformat", slog.Any("error", err))
		os.Exit(1)
	}
}

func run(ctx context.Context) (err error) {
	eng, err := engine.New(ctx, engine.Config{Plugins: builtin.All(), DefaultModel: "test/scripted"})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	engine.DefineFormat(eng, csvFormat{})

	// The scripted model streams its answer in these pieces.
	script := json.RawMessage(`{
		"chunks": [[{"content": [{"text": "name,river\nPa"}]}, {"content": [{"text": "ris,Seine\nVienna,"}]}, {"content": [{"text": "Danube\n"}]}]],
		"script": [{"message": {"content": [{"text": "name,river\nParis,Seine\nVienna,Danube\n"}]}}]}`)
	stream := engine.GenerateDataStream[[]city](ctx, eng, engine.WithPrompt("Cities and their rivers?"),
		engine.WithOutputFormat("csv"), engine.WithConfig(script))
	for event, err := range stream {
		if err != nil {
			return err
		}
		if event.Done {
			fmt.Println("all:", event.Output)
			continue
		}
		fmt.Println("new:", event.Chunk)
	}
	return nil
}
