package symbols_test

import (
	"debug/dwarf"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/symbols"
)

// module has an import and two functions, of which the first is exported, and the sections.
func module(sections ...[]byte) []byte {
	return w.Module(append([][]byte{
		w.Types(w.FuncType("", "")), w.Imports(w.ImportFunc("env", "host", 0)), w.Funcs(0, 0), w.Exports(w.Export("run", 0, 1)),
		w.Code(w.Body("", 0x10, 2, 0x10, 0), w.Body("", 0x01, 0x01, 0x00)),
	}, sections...)...)
}

func read(t require.TestingT, wasm []byte) (*symbols.Table, *meter.Result) {
	m, err := inspect.Parse(wasm, inspect.DefaultLimits())
	require.NoError(t, err)
	metered, err := meter.Rewrite(wasm, m, meter.Options{Map: true})
	require.NoError(t, err)
	return symbols.Read(wasm, m), metered
}

func TestFunctionsHaveNames(t *testing.T) {
	table, metered := read(t, module(w.Custom("name", w.Cat([]byte{0, 1, 0, 1, 6, 1, 2, 3}, []byte("two")))))
	assert.Equal(t, metered.Wasm, table.Attach(metered), "without lines nothing is added")
	for index, want := range []string{"env.host", "host", "run", "two", "function 3"} { // the meter's import comes second
		assert.Equal(t, want, table.Function(uint32(index)))
	}
	assert.Equal(t, symbols.Frame{Function: "two"}, table.Frame(3, 5))
}

// The lines that are attached are found by the engine's reader, at the places to which the code has moved.
func TestLinesMoveWithTheirCode(t *testing.T) {
	plain := module()
	m, err := inspect.Parse(plain, inspect.DefaultLimits())
	require.NoError(t, err)
	code := m.Bodies[1].Code // nop nop unreachable
	digits := func(v int) string {
		const of = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		v <<= 1
		return string([]byte{of[v&31|32], of[v>>5]})
	}
	table, metered := read(t, module(w.Custom(symbols.SourceMapSection, []byte(`{"version":3,"sources":["a.ts"],"mappings":"`+digits(code)+`AAA,CACA,CABA"}`))))
	wasm := table.Attach(metered)
	parsed, err := inspect.Parse(wasm, inspect.DefaultLimits())
	require.NoError(t, err)
	custom := map[string][]byte{}
	for _, c := range parsed.Custom {
		custom[c.Name] = wasm[c.Offset : c.Offset+c.Size]
	}
	d, err := dwarf.New(custom[".debug_abbrev"], nil, nil, custom[".debug_info"], custom[".debug_line"], nil, nil, nil)
	require.NoError(t, err)
	unit, err := d.Reader().Next()
	require.NoError(t, err)
	lines, err := d.LineReader(unit)
	require.NoError(t, err)
	content := 0
	for _, s := range parsed.Sections {
		if s.ID == inspect.SectionCode {
			content = s.Start
		}
	}
	at := uint64(parsed.Bodies[1].End - content - 2) // the unreachable, before the end
	var e, found dwarf.LineEntry
	for lines.Next(&e) == nil {
		if e.Address <= at && !e.EndSequence {
			found = e
		}
	}
	assert.Equal(t, symbols.RowPrefix, found.File.Name+":")
	assert.Equal(t, symbols.Frame{Function: "function 2", File: "a.ts", Line: 3 - 1}, table.Frame(3, found.Line-0), "the third segment goes back a line")
	assert.Equal(t, symbols.Frame{Function: "function 2"}, table.Frame(3, 1<<20))
	assert.Equal(t, symbols.Frame{Function: "function 2"}, table.Frame(3, 0))
}

// FuzzRead holds the readers of foreign sections to ending, and what is attached to being a module.
func FuzzRead(f *testing.F) {
	f.Add([]byte{1, 6, 1, 2, 3, 't', 'w', 'o'}, []byte(nil), []byte(nil), []byte(nil), []byte(`{"version":3,"sources":["a"],"mappings":"gCAAA"}`))
	abbrev := []byte{1, 0x11, 0, 0x10, 0x17, 0x11, 0x01, 0x12, 0x06, 0, 0, 0}
	info := []byte{20, 0, 0, 0, 4, 0, 0, 0, 0, 0, 4, 1, 0, 0, 0, 0, 1, 0, 0, 0, 255, 0, 0, 0}
	line := []byte{39, 0, 0, 0, 4, 0, 24, 0, 0, 0, 1, 1, 1, 0, 1, 13, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 1, 0, 'x', 0, 0, 0, 0, 0, 2, 5, 3, 2, 1, 0, 1, 1}
	f.Add([]byte(nil), abbrev, info, line, []byte(nil))
	f.Fuzz(func(t *testing.T, names, abbrev, info, line, mapped []byte) {
		wasm := module(w.Custom(".debug_abbrev", abbrev), w.Custom(".debug_info", info), w.Custom(".debug_line", line), w.Custom(symbols.SourceMapSection, mapped))
		m, err := inspect.Parse(wasm, inspect.DefaultLimits())
		if err != nil {
			return
		}
		metered, err := meter.Rewrite(wasm, m, meter.Options{Map: true})
		require.NoError(t, err)
		table := symbols.Read(wasm, m)
		attached := table.Attach(metered)
		_, err = inspect.Parse(attached, inspect.DefaultLimits())
		require.NoError(t, err)
		for i := range 6 {
			table.Frame(uint32(i), i)
		}
		named := module(w.Custom("name", names))
		if m, err := inspect.Parse(named, inspect.DefaultLimits()); err == nil {
			symbols.Read(named, m).Function(1)
		}
	})
}
