// Package jsengine gets the file of the JavaScript engine from the Go module that carries it: for the build of the
// binary, and for tests. It owns nothing else; wasmhost/script says which file that is and checks it. Use:
//
//	file, err := jsengine.Get(ctx)
package jsengine

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// Get returns the file, which Go downloads into its module cache where it is not there yet. It blocks meanwhile.
func Get(ctx context.Context) ([]byte, error) {
	dir, err := Dir(ctx, script.EngineModule+"@"+script.EngineVersion)
	if err != nil {
		return nil, err
	}
	file, err := os.ReadFile(filepath.Join(dir, script.EngineFile))
	if err != nil {
		return nil, err
	}
	if _, err := script.Engine(file); err != nil {
		return nil, err
	}
	return file, nil
}

// Dir returns the folder of a Go module, "path@version", as Get has it.
func Dir(ctx context.Context, module string) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "mod", "download", "-json", module).Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s%s", err, out, exit.Stderr)
		}
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	var found struct {
		Dir string `json:"Dir"` //nolint:tagliatelle // Go's
	}
	if err := json.Unmarshal(out, &found); err != nil {
		return "", fmt.Errorf("download %s: %w", module, err)
	}
	return found.Dir, nil
}
