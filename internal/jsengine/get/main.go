// Command get writes the file of the JavaScript engine to where the build embeds it:
//
//	go run ./internal/jsengine/get cmd/genkit-wasm/engines
//
// It leaves a file alone that is there already and right.
package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: get FOLDER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) //nolint:forbidigo // the whole program's
	err := get(ctx, filepath.Join(os.Args[1], script.EngineFile))
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "the JavaScript engine:", err)
		os.Exit(1)
	}
}

func get(ctx context.Context, path string) error {
	there, err := os.ReadFile(path)
	if err == nil {
		if _, err := script.Engine(bytes.Clone(there)); err == nil {
			return nil
		}
	}
	file, err := jsengine.Get(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	return os.WriteFile(path, file, 0o600)
}
