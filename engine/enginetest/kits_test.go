package enginetest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// faultEnv names the fault that the child of [TestTheKitsFindFaults] has.
const faultEnv = "GENKIT_WASM_TEST_FAULT"

// faulty is a store in memory with one fault.
type faulty struct {
	*session.Memory
	fault string
	last  json.RawMessage
}

func (f *faulty) Get(ctx context.Context, id string) (json.RawMessage, string, error) {
	doc, revision, err := f.Memory.Get(ctx, f.id(id))
	if f.fault == "forgets its last" && err == nil && f.last != nil {
		return f.last, revision, nil
	}
	return doc, revision, err
}

func (f *faulty) id(id string) string {
	if f.fault == "folds case" && id == "A" {
		return "a"
	}
	return id
}

func (f *faulty) Save(ctx context.Context, id string, doc json.RawMessage, revision string) (string, error) {
	if f.fault == "overwrites" {
		_, revision, _ = f.Memory.Get(ctx, f.id(id))
	}
	if f.fault == "ignores contexts" {
		ctx = context.WithoutCancel(ctx)
	}
	if f.fault == "forgets its last" {
		f.last = doc
	}
	return f.Memory.Save(ctx, f.id(id), doc, revision)
}

// prefixless lists actions without its name as prefix.
type prefixless struct{ fault string }

func (prefixless) Name() string                                       { return "p" }
func (prefixless) Register(context.Context, *registry.Registry) error { return nil }
func (p prefixless) Init(context.Context) ([]action.Action, error) {
	if p.fault == "can't start" {
		return nil, status.ErrUnavailable
	}
	return nil, nil
}

func (p prefixless) ListActions(context.Context) ([]action.Desc, error) {
	if p.fault == "lists what it has not" {
		return []action.Desc{{Kind: action.Model, Name: "p/m"}}, nil
	}
	return nil, nil
}

var faults = []string{"forgets its last", "folds case", "overwrites", "ignores contexts", "can't start", "lists what it has not"}

// TestChild is run by [TestTheKitsFindFaults] in a process of its own, where it fails.
func TestChild(t *testing.T) {
	fault := os.Getenv(faultEnv)
	if fault == "" {
		t.Skip("is run by TestTheKitsFindFaults")
	}
	if fault == "can't start" || fault == "lists what it has not" {
		enginetest.Plugin(t, func(*testing.T) registry.Plugin { return prefixless{fault} })
		return
	}
	enginetest.SessionStore(t, func(*testing.T) session.Store {
		return &faulty{Memory: session.NewMemory(session.MemoryConfig{}), fault: fault}
	})
}

func TestTheKitsFindFaults(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for _, fault := range append(faults, "none") {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestChild$")
		cmd.Env = append(os.Environ(), faultEnv+"="+fault)
		out, err := cmd.CombinedOutput()
		if fault == "none" {
			assert.NoError(t, err, "%s", out)
			continue
		}
		assert.Error(t, err, "the kit does not find a store or plugin that %s", fault)
		assert.Contains(t, string(out), "--- FAIL: TestChild", fault)
	}
}
