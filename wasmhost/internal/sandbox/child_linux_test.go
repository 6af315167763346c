package sandbox_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// The first compiling process is killed as the kernel does when memory runs out.
func TestACompilerThatTheSystemKillsIsTold(t *testing.T) {
	const once = `mkdir "$0" 2>/dev/null && kill -9 $$; exec "$@"`
	program, err := os.Executable() // the command's own path, /proc/self/exe, is the shell there
	require.NoError(t, err)
	command := append([]string{"/bin/sh", "-c", once, filepath.Join(t.TempDir(), "killed"), program}, compiler[1:]...)
	sb := newSandbox(t, sandbox.Config{Compiler: command})
	wasm := withOK(nil)
	parsed, err := inspect.Parse(wasm, unbounded())
	require.NoError(t, err)
	_, err = sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	told := status.Convert(err)
	assert.True(t, told.Public())
	assert.Contains(t, told.Message, "the system ended the process that compiled the module")
	assert.Positive(t, told.RetryAfter)

	// It is compiled afterwards.
	m, err := sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
	require.NoError(t, err)
	m.Close()
}
