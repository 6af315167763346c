package inspect_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// component makes one of its sections' ids and contents, in turn.
func component(sections ...any) []byte {
	out := []byte("\x00asm\x0d\x00\x01\x00")
	for i := 0; i < len(sections); i += 2 {
		out = append(out, w.Section(byte(sections[i].(int)), sections[i+1].([]byte))...)
	}
	return out
}

func named(name string, rest ...byte) []byte { return w.Cat([]byte{0}, w.Name(name), rest) }

func TestAComponentIsToldItsWorldAndHowToBuildACoreModule(t *testing.T) {
	world := []any{
		10, w.Vec(named("wasi:io/error@0.2.3", 5, 0), named("add", 1, 0), named("t", 3, 0, 1), named("r", 3, 1), named("m", 0, 0x11, 2)),
		11, w.Vec(named("call", 1, 0, 0), w.Cat([]byte{2}, w.Name("acme:x/y"), w.Name("1.0"), []byte{5, 0, 1, 5, 1})),
	}
	for mark, want := range map[string]string{
		"": "wasm-tools component unbundle", "rustc": "--target wasm32-wasip1", "clang": "-mexec-model=reactor", "TinyGo": "tinygo build -target=wasip1",
		"componentize-js": "genkit-wasm upload FILE.js", "Go cmd/compile": "GOOS=wasip1",
	} {
		_, err := inspect.Parse(component(append(world, 0, w.Cat(w.Name("producers"), []byte(mark)))...), inspect.Limits{})
		r, ok := err.(*inspect.Refusal) //nolint:errorlint // Parse returns nothing else
		require.True(t, ok)
		assert.Equal(t, inspect.CodeComponent, r.Code)
		assert.Contains(t, r.Error(), `its world imports "wasi:io/error@0.2.3", "add", "t", "r", "m" and exports "call", "acme:x/y"`)
		assert.Contains(t, r.Hint, want)
	}
}

// What can't be read of a component is left out; nothing of it steers a terminal or fills a screen.
func TestComponentsThatMakeNoSense(t *testing.T) {
	long := w.Vec(named(strings.Repeat("x", 1000), 1, 0), named("\x1b[2J", 1, 0))
	many := w.Vec(named("a", 1, 0), named("a", 1, 0), named("a", 1, 0), named("a", 1, 0), named("a", 1, 0), named("a", 1, 0), named("a", 1, 0))
	for name, c := range map[string]struct {
		wasm []byte
		want string
	}{
		"nothing":         {component(), "not a core module"},
		"a long name":     {component(10, long), `imports "` + strings.Repeat("x", 80) + `...", "\x1b[2J"`},
		"many":            {component(10, many), ` and 1 more`},
		"cut off":         {component(10, many)[:14], "not a core module"},
		"a count too far": {component(11, w.Cat([]byte{0xff, 0xff, 0xff, 0xff, 0x0f}, named("a", 1, 0, 0))), `exports "a"`},
		"an unknown type": {component(10, w.Vec(named("a", 9))), "not a core module"},
		"an unknown name": {component(10, w.Vec([]byte{7, 1, 'a', 1, 0})), "not a core module"},
		"no number":       {component(10, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}), "not a core module"},
	} {
		_, err := inspect.Parse(c.wasm, inspect.Limits{})
		require.Error(t, err, name)
		assert.Contains(t, err.Error(), c.want, name)
		assert.NotContains(t, err.Error(), "\x1b", name)
		assert.Less(t, len(err.Error()), 1000, name)
	}
}
