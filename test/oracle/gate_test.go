//go:build !peers

package oracle_test

import (
	"context"
	"os/exec"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// downloadLimit bounds the wait for a network that does not answer.
const downloadLimit = 5 * time.Minute

// TestPeers runs the tests behind the build tag, once their modules can be had.
func TestPeers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), downloadLimit)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "go", "list", "-tags", "peers", "-deps", "-test", "./...").CombinedOutput(); err != nil {
		peer.Missing(t, "the peers' modules can't be had: %v\n%.1000s", err, out)
	}
	out, err := exec.CommandContext(t.Context(), "go", "test", "-tags", "peers", "-count=1", "-v", "./...").CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestModels runs the tests of the module models, once its modules can be had.
func TestModels(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), downloadLimit)
	defer cancel()
	list := exec.CommandContext(ctx, "go", "list", "-deps", "-test", "./...")
	list.Dir = "models"
	if out, err := list.CombinedOutput(); err != nil {
		peer.Missing(t, "the vendors' clients can't be had: %v\n%.1000s", err, out)
	}
	run := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "./...")
	run.Dir = "models"
	out, err := run.CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}
