package sandbox_test

import (
	"bytes"
	"context"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// touch reads and writes each of n locals.
func touch(n int) []byte {
	var out []byte
	for i := range uint32(n) {
		out = w.Cat(out, []byte{0x20}, w.U32(i), []byte{0x41, 1, 0x6a, 0x21}, w.U32(i))
	}
	return out
}

func repeat(n int, code ...byte) []byte { return bytes.Repeat(code, n) }

func withLocals(n int, parts ...[]byte) []byte {
	code := w.Cat(parts...)
	return withOK([][]byte{w.Body(strings.Repeat("i", n), append(code, opI32Const, 0)...)})
}

// bombs make wazero's compiler take seconds to minutes, or gigabytes, out of at most 83
// KB. The inspection refuses all of them by an estimate; here they come past it.
func bombs() map[string][]byte {
	loop := []byte{opLoop, void, 0x20, 0, 0x0d, 0, opEnd}
	functions := make([][]byte, 30)
	for i := range functions {
		functions[i] = w.Body(strings.Repeat("i", 100), w.Cat(touch(100), repeat(120, loop...), touch(100), []byte{opI32Const, 0})...)
	}
	return map[string][]byte{
		"500 locals over 1000 loops":        withLocals(500, touch(500), repeat(1000, loop...), touch(500)),
		"2000 locals over 4000 loops":       withLocals(2000, touch(2000), repeat(4000, loop...), touch(2000)),
		"200 locals over 1000 nested loops": withLocals(200, touch(200), repeat(1000, opLoop, void), touch(200), repeat(1000, 0x20, 0, 0x0d, 0, opEnd)),
		"10,000 blocks":                     withLocals(1, repeat(10_000, 0x02, void, 0x20, 0, 0x0d, 0, opEnd)),
		"br_table of 80,000 labels":         withLocals(1, []byte{0x02, void, 0x20, 0, 0x0e}, w.U32(79_999), make([]byte, 80_000), []byte{opEnd}),
		"8,000 straight-line memory.fill": withOK([][]byte{w.Body("", append(repeat(8000, opI32Const, 0, opI32Const, 0, opI32Const, 5, 0xfc, 11, 0), opI32Const, 0)...)},
			w.Memories(w.Limits(1))),
		"30 functions of loops": withOK(functions),
	}
}

// unbounded lets everything pass that is well-formed.
func unbounded() inspect.Limits {
	return inspect.Limits{CompileCost: math.MaxInt32, BrTableTargets: math.MaxInt32, Depth: math.MaxInt32}
}

func TestABombEndsTheCompilingProcessAndNothingElse(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{Compiler: compiler})
	before := resident(t)
	refused := 0
	for name, wasm := range bombs() {
		t.Run(name, func(t *testing.T) {
			require.LessOrEqual(t, len(wasm), 83<<10)
			parsed, err := inspect.Parse(wasm, unbounded())
			require.NoError(t, err)
			start := time.Now()
			m, err := sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
			took := time.Since(start)
			t.Logf("%d bytes, %v: %v", len(wasm), took, err)
			// The measured time is below 2 s; a loaded machine gets more.
			assert.Less(t, took, 30*time.Second*buildFactor)
			if err != nil {
				refused++
				require.ErrorIs(t, err, status.ErrResourceExhausted)
				assert.True(t, status.Convert(err).Public())
				assert.Contains(t, err.Error(), "compiling the module")
				return
			}
			_, err = m.Call(t.Context(), sandbox.Call{Export: "ok"})
			require.NoError(t, err)
			m.Close()
		})
	}
	if buildFactor > 1 {
		return // the race detector's limits let them pass, and its memory is not the server's
	}
	assert.GreaterOrEqual(t, refused, 2, "the bombs were none")
	if before > 0 {
		t.Logf("the server has grown by %d KiB", (resident(t)-before)>>10)
		assert.Less(t, resident(t)-before, int64(64<<20), "the server has paid for the bombs")
	}
	m := compile(t, sb, read(t, conformance), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "counter"})
	require.NoError(t, err)
}

// resident returns the memory of this process, 0 where it can't be told.
func resident(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			var kib int64
			for _, d := range strings.TrimSpace(rest) {
				if d < '0' || d > '9' {
					break
				}
				kib = kib*10 + int64(d-'0')
			}
			return kib << 10
		}
	}
	return 0
}

func TestACompilingProcessCompilesWhatIsHonest(t *testing.T) {
	dir, temporary := t.TempDir(), t.TempDir()
	t.Setenv("TMPDIR", temporary)
	for name, config := range map[string]sandbox.Config{"no disk": {Compiler: compiler}, "a disk": {Compiler: compiler, CacheDir: dir}} {
		t.Run(name, func(t *testing.T) {
			m := compile(t, newSandbox(t, config), read(t, conformance), limits())
			res, err := m.Call(t.Context(), sandbox.Call{Export: "upper", Input: []byte(`"hello"`)})
			require.NoError(t, err)
			assert.Equal(t, `"HELLO"`, string(res.Output))
		})
	}
	left, err := os.ReadDir(temporary)
	require.NoError(t, err)
	for _, d := range left { // the sandboxes are closed after the test; its own subtests made folders
		assert.NotContains(t, d.Name(), "genkit-wasm-compile-")
	}
}

func TestAModuleThatIsNotValidIsRefusedByTheChild(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{Compiler: compiler})
	wasm := w.Module(w.Types(w.FuncType("", "i")), w.Funcs(0), w.Exports(w.Export("f", 0, 0)), w.Code(w.Body("")))
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	_, err = sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "not a valid WebAssembly module")
}

func TestACompilerThatCannotBeStartedIsSaid(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{Compiler: []string{filepath.Join(t.TempDir(), "absent")}})
	wasm := read(t, conformance)
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	_, err = sb.Compile(t.Context(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
	require.ErrorIs(t, err, status.ErrUnavailable)
	assert.NotContains(t, status.Convert(err).Message, "absent", "a path of this machine")
}

// An uploader who leaves, or a server that shuts down, ends the child.
func TestACompilationEndsWithItsCaller(t *testing.T) {
	wasm := bombs()["2000 locals over 4000 loops"]
	parsed, err := inspect.Parse(wasm, unbounded())
	require.NoError(t, err)
	sb := newSandbox(t, sandbox.Config{Compiler: compiler})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = sb.Compile(ctx, sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
	require.ErrorIs(t, err, status.ErrDeadlineExceeded)

	done := make(chan error, 1)
	go func() {
		_, err := sb.Compile(context.Background(), sandbox.Source{Wasm: wasm, Module: parsed, Limits: limits()})
		done <- err
	}()
	require.NoError(t, sb.Close(t.Context()))
	require.Error(t, <-done)
}
