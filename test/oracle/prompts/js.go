//go:build peers

package prompts

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// ErrNoJS is returned when Node or Genkit JS are not installed.
var ErrNoJS = errors.New("genkit JS is not installed: run npm install --no-package-lock in test/oracle/js")

// GenkitJS runs cases through Genkit JS, installed in dir.
func GenkitJS(ctx context.Context, dir string, list []Case) ([]*Observation, error) {
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "genkit")); err != nil {
		return nil, ErrNoJS
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, ErrNoJS
	}
	in, err := json.Marshal(list)
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, node, "prompts.mjs")
	cmd.Dir, cmd.Stdin = dir, bytes.NewReader(in)
	cmd.Env = append(os.Environ(), "GENKIT_ENV=prod")
	var failed bytes.Buffer
	cmd.Stderr = &failed
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("node: %w\n%s", err, failed.String())
	}
	var observed []*Observation
	d := json.NewDecoder(bytes.NewReader(out))
	d.UseNumber()
	return observed, d.Decode(&observed)
}
