// Package hosttest has two kits for tests. One holds a module against the contract: it
// loads any .wasm in a host of its own and runs the vectors of pdk/vectors through it. The
// other holds a host against people who mean harm: it runs a corpus of hostile uploads,
// guests and callers, and looks at what each leaves behind.
//
// It owns the reading of vectors and the comparison of what came out, the corpus, and the
// three oracles. It is for tests, of this repository, of those who write modules, and of
// those who embed the host with a configuration of their own:
//
//	hosttest.RunVectors(t, wasm, "pdk/vectors")
//	hosttest.RunHostile(t, openHost)
//
// Experimental: cases and vectors are added in any version, and a host or a module that passed may fail the new ones.
package hosttest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// Vector is one conversation with the module "conformance"; pdk/vectors/README.md
// explains the fields.
type Vector struct {
	Name    string          `json:"name"`
	Says    string          `json:"says"`
	Clauses []string        `json:"clauses"` // of pdk/abi.md that it shows
	Tool    string          `json:"tool"`
	Input   json.RawMessage `json:"input"`
	Context json.RawMessage `json:"context"`
	Limits  json.RawMessage `json:"limits"`
	// Requires names the capabilities that the host must have; ours has all of them.
	Requires []string `json:"requires"`
	Repeat   int      `json:"repeat"`
	Expect   struct {
		Output      json.RawMessage   `json:"output"`
		OutputMatch string            `json:"outputMatch"`
		Error       *expectedError    `json:"error"`
		Interrupt   json.RawMessage   `json:"interrupt"`
		Chunks      []json.RawMessage `json:"chunks"`
		Logs        []LogLine         `json:"logs"`
	} `json:"expect"`
}

type expectedError struct {
	Code            string          `json:"code"`
	Codes           []string        `json:"codes"`
	MessageContains string          `json:"messageContains"`
	Details         json.RawMessage `json:"details"`
}

// LogLine is a line that a guest logged.
type LogLine struct {
	Level   string `json:"level"`
	Message string `json:"message"`
}

// ReadVectors reads every vector of a folder, sorted by name.
func ReadVectors(tb testing.TB, dir string) []Vector {
	tb.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	require.NoError(tb, err)
	require.NotEmpty(tb, files, "no vectors in %s", dir)
	var vectors []Vector
	for _, f := range files {
		raw, err := os.ReadFile(f)
		require.NoError(tb, err)
		dec := json.NewDecoder(bytes.NewReader(raw))
		dec.DisallowUnknownFields()
		var v Vector
		require.NoError(tb, dec.Decode(&v), f)
		require.Equal(tb, strings.TrimSuffix(filepath.Base(f), ".json"), v.Name)
		vectors = append(vectors, v)
	}
	return vectors
}

// RunVectors runs the vectors of dir against wasm, a build of the conformance
// module. Vectors with the same limits share one loaded module. configure may change the
// host's configuration, such as where it runs guests.
func RunVectors(t *testing.T, wasm []byte, dir string, configure ...func(*wasmhost.Config)) {
	t.Helper()
	vectors := ReadVectors(t, dir)
	logs := &recorder{}
	config := wasmhost.Config{Logger: slog.New(logs)}
	for _, f := range configure {
		f(&config)
	}
	host, err := wasmhost.New(t.Context(), config)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, host.Close(context.Background())) })
	modules := map[string]string{} // limits → name of the module loaded under them
	for _, v := range vectors {
		t.Run(v.Name, func(t *testing.T) {
			name, ok := modules[string(v.Limits)]
			if !ok {
				name = fmt.Sprintf("conformance-%d", len(modules))
				_, err := host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Name: name, Wasm: wasm, Policy: policyOf(v.Limits)})
				require.NoError(t, err)
				modules[string(v.Limits)] = name
			}
			for range max(v.Repeat, 1) {
				v.run(t, host, name, logs)
			}
		})
	}
}

func policyOf(limits json.RawMessage) []byte {
	if len(limits) == 0 {
		return nil
	}
	return []byte(`{"limits":` + string(limits) + `}`)
}

func (v *Vector) run(t *testing.T, host *wasmhost.Host, module string, logs *recorder) {
	t.Helper()
	a, err := host.Provider(wasmhost.DefaultTenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: module + "/" + v.Tool})
	require.NoError(t, err)
	ctx := t.Context()
	if len(v.Context) > 0 {
		ctx = action.WithContext(ctx, v.Context)
	}
	logs.take()
	var chunks []json.RawMessage
	out, err := a.RunJSON(ctx, v.Input, func(chunk json.RawMessage) error {
		chunks = append(chunks, chunk)
		return nil
	})
	v.checkOutcome(t, out, err)
	if v.Expect.Chunks != nil {
		require.Len(t, chunks, len(v.Expect.Chunks), v.Says)
		for i, want := range v.Expect.Chunks {
			assert.True(t, EqualJSON(want, chunks[i]), "%s: chunk %d: got %s, want %s", v.Says, i, chunks[i], want)
		}
	}
	if v.Expect.Logs != nil {
		assert.Equal(t, v.Expect.Logs, logs.take(), v.Says)
	}
}

func (v *Vector) checkOutcome(t *testing.T, out json.RawMessage, err error) {
	t.Helper()
	interrupt, interrupted := tool.AsInterrupt(err)
	switch {
	case v.Expect.Error != nil:
		v.Expect.Error.check(t, v.Says, out, err)
	case v.Expect.Interrupt != nil:
		require.True(t, interrupted, "%s: got %s and %v", v.Says, out, err)
		got := interrupt.Metadata
		if got == nil {
			got = json.RawMessage("null")
		}
		assert.True(t, EqualJSON(v.Expect.Interrupt, got), "%s: got %s, want %s", v.Says, got, v.Expect.Interrupt)
	default:
		require.NoError(t, err, v.Says)
		equal := EqualJSON(v.Expect.Output, out)
		if v.Expect.OutputMatch == "subset" {
			equal = subset(v.Expect.Output, out)
		}
		assert.True(t, equal, "%s: got %.300s, want %.300s", v.Says, out, v.Expect.Output)
	}
}

func (e *expectedError) check(t *testing.T, says string, out json.RawMessage, err error) {
	t.Helper()
	require.Error(t, err, "%s: got %.300s", says, out)
	codes := e.Codes
	if e.Code != "" {
		codes = append(slices.Clone(codes), e.Code)
	}
	wire := status.ToWire(err, false)
	assert.Contains(t, codes, wire.Status, "%s: %v", says, err)
	assert.Contains(t, wire.Message, e.MessageContains, says)
	assert.NotContains(t, wire.Message, "goroutine ", says)
	if len(e.Details) > 0 {
		assert.True(t, EqualJSON(e.Details, wire.Details), "%s: details: got %s, want %s", says, wire.Details, e.Details)
	}
	var se *status.Error
	assert.ErrorAs(t, err, &se, says)
}

// EqualJSON compares by value: objects without order, numbers exactly.
func EqualJSON(a, b json.RawMessage) bool {
	x, errX := decode(a)
	y, errY := decode(b)
	return errX == nil && errY == nil && equal(x, y, false)
}

func subset(want, got json.RawMessage) bool {
	x, errX := decode(want)
	y, errY := decode(got)
	return errX == nil && errY == nil && equal(x, y, true)
}

func decode(raw json.RawMessage) (v any, err error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	err = dec.Decode(&v)
	return v, err
}

// equal tells whether got has the value want; with loose set, members that want
// does not name are allowed.
func equal(want, got any, loose bool) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		if !ok || (!loose && len(g) != len(w)) {
			return false
		}
		for key, value := range w {
			other, found := g[key]
			if !found || !equal(value, other, loose) {
				return false
			}
		}
		return true
	case []any:
		g, ok := got.([]any)
		return ok && slices.EqualFunc(w, g, func(x, y any) bool { return equal(x, y, loose) })
	case json.Number:
		g, ok := got.(json.Number)
		return ok && rawjson.EqualNumber(string(w), string(g))
	}
	return want == got
}

// recorder is a slog.Handler that keeps the guests' lines.
type recorder struct {
	mu    sync.Mutex // guards lines
	lines []LogLine
}

var _ slog.Handler = (*recorder)(nil)

func (r *recorder) take() []LogLine {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := r.lines
	r.lines = nil
	return lines
}

// Enabled lets every level through.
func (r *recorder) Enabled(context.Context, slog.Level) bool { return true }

// Handle keeps the record when a guest wrote it.
func (r *recorder) Handle(_ context.Context, rec slog.Record) error {
	if rec.Message != wasmhost.GuestLog {
		return nil
	}
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "line" {
			level := strings.ToLower(rec.Level.String())
			if rec.Level == wasmhost.LevelTrace {
				level = "trace"
			}
			r.mu.Lock()
			r.lines = append(r.lines, LogLine{Level: level, Message: a.Value.String()})
			r.mu.Unlock()
		}
		return true
	})
	return nil
}

// WithAttrs keeps the handler: who logged does not matter here.
func (r *recorder) WithAttrs([]slog.Attr) slog.Handler { return r }

// WithGroup keeps the handler.
func (r *recorder) WithGroup(string) slog.Handler { return r }
