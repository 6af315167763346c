package inspect_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// touch reads and writes each of n locals.
func touch(n int) []byte {
	var out []byte
	for i := range uint32(n) {
		out = w.Cat(out, []byte{0x20}, w.U32(i), []byte{0x41, 1, 0x6a, 0x21}, w.U32(i))
	}
	return out
}

func withLocals(n int, parts ...[]byte) []byte {
	return code(w.Body(strings.Repeat("i", n), w.Cat(parts...)...))
}

// Each of these takes wazero's compiler from two seconds to minutes, or did so in a bigger version.
func TestCompileBombsAreRefused(t *testing.T) {
	loop := []byte{0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b}
	test := []byte{0x20, 0, 0x0d, 0, 0x0b}
	bombs := map[string][]byte{
		"500 locals over 1000 loops":              withLocals(500, touch(500), repeat(1000, loop...), touch(500)),
		"50 locals over 8000 loops":               withLocals(50, touch(50), repeat(8000, loop...), touch(50)),
		"200 locals over 1000 nested loops":       withLocals(200, touch(200), repeat(1000, 0x03, 0x40), touch(200), repeat(1000, test...)),
		"locals set on one path of nested loops":  withLocals(200, repeat(1000, 0x03, 0x40), []byte{0x02, 0x40, 0x20, 0, 0x0d, 0}, touch(200), []byte{0x0b}, touch(200), repeat(1000, test...)),
		"4000 locals over 100 ifs":                withLocals(4000, touch(4000), repeat(100, 0x20, 0, 0x04, 0x40, 0x41, 1, 0x21, 0, 0x0b), touch(4000)),
		"20,000 blocks without locals":            withLocals(1, repeat(20_000, 0x02, 0x40, 0x20, 0, 0x0d, 0, 0x0b)),
		"20,000 straight-line memory.fill":        instructions(repeat(20_000, 0x41, 0, 0x41, 0, 0x41, 5, 0xfc, 11, 0)...),
		"20,000 straight-line table.copy":         instructions(repeat(20_000, 0x41, 0, 0x41, 0, 0x41, 5, 0xfc, 14, 0, 0)...),
		"200,000 indirect calls":                  instructions(repeat(200_000, 0x41, 0, 0x11, 0, 0)...),
		"five br_tables of 20,000 labels":         withLocals(1, repeat(5, w.Cat([]byte{0x02, 0x40, 0x20, 0, 0x0e}, w.U32(19_999), make([]byte, 20_000), []byte{0x0b})...)),
		"many functions, each below any limit":    many(60, w.Body(strings.Repeat("i", 100), w.Cat(touch(100), repeat(200, loop...), touch(100))...)),
		"30 results at each of a thousand merges": withResults(30, 1000),
	}
	for name, wasm := range bombs {
		t.Run(name, func(t *testing.T) {
			_, err := inspect.Parse(wasm, inspect.Limits{})
			assertCode(t, inspect.CodeCompileExplosion, err)
		})
	}
}

func many(n int, body []byte) []byte {
	bodies := make([][]byte, n)
	for i := range bodies {
		bodies[i] = body
	}
	return code(bodies...)
}

// withResults branches n times out of each of many blocks that carry values.
func withResults(values, blocks int) []byte {
	push := repeat(values, 0x41, 0)
	block := w.Cat([]byte{0x02, 1}, push, repeat(60, 0x41, 0, 0x0d, 0), []byte{0x0b}, repeat(values, 0x1a))
	return w.Module(w.Types(w.FuncType("", ""), w.FuncType("", strings.Repeat("i", values))), w.Funcs(0), w.Code(w.Body("", repeat(blocks, block...)...)))
}

// Functions that only look like bombs must pass: many locals that live briefly, and many blocks in many functions.
func TestShapesOfRealCodePass(t *testing.T) {
	brief := func(n int) []byte {
		var out []byte
		for i := range uint32(n) {
			out = w.Cat(out, []byte{0x41, 1, 0x21}, w.U32(i+1), []byte{0x20}, w.U32(i+1), []byte{0x04, 0x40, 0x01, 0x0b})
		}
		return out
	}
	for name, wasm := range map[string][]byte{
		"3000 locals that live briefly in a loop": withLocals(3001, []byte{0x03, 0x40}, brief(3000), []byte{0x0b}),
		"2000 functions of 20 loops":              many(2000, w.Body("iiii", w.Cat(touch(4), repeat(20, 0x03, 0x40, 0x20, 0, 0x0d, 0, 0x0b), touch(4))...)),
		"1700 nested blocks":                      withLocals(20, repeat(1700, 0x02, 0x40), touch(20), repeat(1700, 0x0b)),
	} {
		t.Run(name, func(t *testing.T) {
			m, err := inspect.Parse(wasm, inspect.Limits{})
			require.NoError(t, err)
			assert.Less(t, m.CompileCost, 1_000_000)
		})
	}
}
