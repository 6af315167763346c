package verify_test

import (
	"bytes"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// section is the content of a section.
func section(m *inspect.Module, id byte) []byte {
	for _, s := range m.Sections {
		if s.ID == id {
			return m.Bytes()[s.Start:s.End]
		}
	}
	return nil
}

// swap replaces the n-th occurrence of some bytes in a section.
func swap(id byte, n int, old, with []byte) func(*testing.T, *inspect.Module) []byte {
	return func(t *testing.T, m *inspect.Module) []byte {
		t.Helper()
		content, at := section(m, id), 0
		for ; n >= 0; n-- {
			i := bytes.Index(content[at:], old)
			require.GreaterOrEqual(t, i, 0, "% x in % x", old, content)
			at += i + 1
		}
		at--
		return withSection(m, m.Bytes(), id, slices.Concat(content[:at], with, content[at+len(old):]))
	}
}

func TestDamagedModulesAreRefused(t *testing.T) {
	wasm := victim()
	original, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	res, err := meter.Rewrite(wasm, original, meter.Options{})
	require.NoError(t, err)
	appended := func(id byte, item []byte) func(*testing.T, *inspect.Module) []byte {
		return func(_ *testing.T, m *inspect.Module) []byte {
			content := bytes.Clone(section(m, id))
			content[0]++ // fewer than 128 items
			return withSection(m, m.Bytes(), id, append(content, item...))
		}
	}
	helper := func(from, to []byte) func(*testing.T, *inspect.Module) []byte { // in the functions that the meter adds
		return func(t *testing.T, m *inspect.Module) []byte {
			t.Helper()
			added := m.Bodies[len(original.Bodies)].Start
			i := bytes.Index(m.Bytes()[added:], from)
			require.GreaterOrEqual(t, i, 0)
			out := bytes.Clone(m.Bytes())
			copy(out[added+i:], to)
			return out
		}
	}
	for name, edit := range map[string]func(*testing.T, *inspect.Module) []byte{
		"a table without a maximum": func(_ *testing.T, m *inspect.Module) []byte {
			return withSection(m, m.Bytes(), inspect.SectionTable, w.Vec(w.Table("r", w.Limits(4)), w.Table("r", w.Limits(2, 5))))
		},
		"a table with a large maximum": func(_ *testing.T, m *inspect.Module) []byte {
			return withSection(m, m.Bytes(), inspect.SectionTable, w.Vec(w.Table("r", w.Limits(4, 1<<20)), w.Table("r", w.Limits(2, 5))))
		},
		"a table with the maximum of the limit, above its own": func(_ *testing.T, m *inspect.Module) []byte {
			return withSection(m, m.Bytes(), inspect.SectionTable, w.Vec(w.Table("r", w.Limits(4, 10000)), w.Table("r", w.Limits(2, 10000))))
		},
		"a table of another kind": func(_ *testing.T, m *inspect.Module) []byte {
			return withSection(m, m.Bytes(), inspect.SectionTable, w.Vec(w.Table("r", w.Limits(4, 10000)), w.Table("x", w.Limits(2, 5))))
		},
		"a larger memory": func(_ *testing.T, m *inspect.Module) []byte {
			return withSection(m, m.Bytes(), inspect.SectionMemory, w.Vec(w.Limits(1, 5)))
		},
		"a function exported by another name":    swap(inspect.SectionExport, 0, []byte("run"), []byte("ran")),
		"another function exported":              swap(inspect.SectionExport, 0, []byte("run\x00\x02"), []byte("run\x00\x03")),
		"the fuel exported by another name":      swap(inspect.SectionExport, 0, []byte("/fuel"), []byte("/Fuel")),
		"another global exported as the fuel":    swap(inspect.SectionExport, 0, []byte("/fuel\x03\x03"), []byte("/fuel\x03\x01")),
		"a global exported as another":           swap(inspect.SectionExport, 0, []byte("/global/0\x03\x00"), []byte("/global/0\x03\x01")),
		"an export more":                         appended(inspect.SectionExport, w.Export("more", 3, 3)),
		"other elements":                         swap(inspect.SectionElement, 0, []byte{3, 2, 3, 0}, []byte{3, 2, 2, 0}),
		"elements at another offset":             swap(inspect.SectionElement, 0, []byte{0x41, 0}, []byte{0x41, 1}),
		"other data":                             swap(inspect.SectionData, 0, []byte("some"), []byte("Some")),
		"data at another offset":                 swap(inspect.SectionData, 0, []byte{0x41, 16}, []byte{0x41, 17}),
		"a global that begins as something else": swap(inspect.SectionGlobal, 0, []byte{0x41, 5}, []byte{0x41, 6}),
		"a global that refers to another":        swap(inspect.SectionGlobal, 0, []byte{0xd2, 3}, []byte{0xd2, 4}),
		"a global that has become a constant":    swap(inspect.SectionGlobal, 0, []byte{0x7f, 1}, []byte{0x7f, 0}),
		"fuel to begin with":                     swap(inspect.SectionGlobal, 0, []byte{0x42, 0}, []byte{0x42, 1}),
		"a global more":                          appended(inspect.SectionGlobal, w.Global("I", true, 0x42, 0)),
		"another module imported":                swap(inspect.SectionImport, 0, []byte("env"), []byte("eNv")),
		"yield from elsewhere":                   swap(inspect.SectionImport, 0, []byte("yield"), []byte("Yield")),
		"an import more":                         func(_ *testing.T, m *inspect.Module) []byte { return m.Bytes()[:8] },
		"another type":                           swap(inspect.SectionType, 0, []byte{0x60, 1, 0x7f, 0}, []byte{0x60, 1, 0x7e, 0}),
		"a function of another type":             swap(inspect.SectionFunction, 0, []byte{0, 0, 0}, []byte{0, 2, 0}),
		"a custom section that was not there": func(_ *testing.T, m *inspect.Module) []byte {
			return append(bytes.Clone(m.Bytes()), w.Custom("more", nil)...)
		},
		"a custom section that was changed": func(_ *testing.T, m *inspect.Module) []byte {
			return bytes.Replace(m.Bytes(), []byte("\x04kept"), []byte("\x04kepT"), 1)
		},
		"names of functions": func(_ *testing.T, m *inspect.Module) []byte {
			return append(bytes.Clone(m.Bytes()), w.Custom("name", nil)...)
		},
		"a helper that does not check":   helper([]byte{0x42, 0, 0x59}, []byte{0x42, 0, 0x53}),
		"a helper with larger pieces":    helper(w.Cat([]byte{0x41}, w.S64(65536)), w.Cat([]byte{0x41}, w.S64(98304))),
		"a helper that fills too little": helper([]byte{0x20, 0, 0x20, 3, 0x6a}, []byte{0x20, 0, 0x20, 3, 0x6b}),
		"a helper that pays less":        helper([]byte{0x42, 4, 0x88}, []byte{0x42, 5, 0x88}),
		"locals of another type":         swap(inspect.SectionCode, 0, []byte{1, 1, 0x7e}, []byte{1, 1, 0x7d}),
		"the original":                   func(*testing.T, *inspect.Module) []byte { return wasm },
	} {
		t.Run(name, func(t *testing.T) {
			m, err := inspect.Parse(res.Wasm, roomy)
			require.NoError(t, err)
			rewritten, err := inspect.Parse(edit(t, m), roomy)
			require.NoError(t, err)
			_, err = verify.Check(original, rewritten, claim(res, meter.Options{}))
			require.Error(t, err)
			t.Log(err)
		})
	}
}

// The meter's claims about its result are checked as well.
func TestWrongClaimsAreRefused(t *testing.T) {
	wasm := victim()
	original, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	res, err := meter.Rewrite(wasm, original, meter.Options{})
	require.NoError(t, err)
	rewritten, err := inspect.Parse(res.Wasm, roomy)
	require.NoError(t, err)
	for name, edit := range map[string]func(*verify.Claim){
		"another export for the fuel":     func(c *verify.Claim) { c.Fuel = "g" },
		"a mutable global forgotten":      func(c *verify.Claim) { c.Globals = c.Globals[1:] },
		"a global too many":               func(c *verify.Claim) { c.Globals = append(c.Globals, c.Globals[0]) },
		"a global of another type":        func(c *verify.Claim) { c.Globals[0].Type = inspect.I64 },
		"a global that can't be put back": func(c *verify.Claim) { c.Globals[0].Unrestorable = true },
		"words that nobody keeps":         func(c *verify.Claim) { c.Words = &verify.Words{Ahead: "g"} },
		"other limits of tables":          func(c *verify.Claim) { c.MaxTableElements = 100 },
		"no order":                        func(c *verify.Claim) { c.Order = nil },
		"an order that repeats":           func(c *verify.Claim) { c.Order[0] = c.Order[1] },
		"an order beyond the functions":   func(c *verify.Claim) { c.Order[0] = 1 << 31 },
		"a hub forgotten":                 func(c *verify.Claim) { c.Hubs = nil },
		"a hub beyond the functions":      func(c *verify.Claim) { c.Hubs[0].Func = 99 },
		"a hub that claims too little":    func(c *verify.Claim) { c.Hubs[0].Pre = 1 },
		"a hub that claims below zero":    func(c *verify.Claim) { c.Hubs[0].Pre = -1 },
		"a hub that claims the world":     func(c *verify.Claim) { c.Hubs[0].Pre = 1 << 60 },
	} {
		t.Run(name, func(t *testing.T) {
			c := claim(res, meter.Options{})
			c.Order, c.Globals, c.Hubs = slices.Clone(c.Order), slices.Clone(c.Globals), slices.Clone(c.Hubs)
			edit(&c)
			_, err := verify.Check(original, rewritten, c)
			require.Error(t, err)
			t.Log(err)
		})
	}
	_, err = verify.Check(nil, rewritten, verify.Claim{})
	assert.Error(t, err)
	_, err = verify.Check(rewritten, original, claim(res, meter.Options{}))
	assert.Error(t, err)
}

// The two tables of weights were written down separately.
func TestWorkIsPricedAsItIsWeighed(t *testing.T) {
	for op := range inspect.Op(0x100) {
		assert.Equal(t, meter.Weight(op), verify.Weight(op), "%#x", op)
		assert.Equal(t, meter.Weight(0xfd00|op), verify.Weight(0xfd00|op), "%#x", 0xfd00|op)
	}
	for op := range inspect.Op(18) {
		assert.Equal(t, meter.Weight(0xfc00|op), verify.Weight(0xfc00|op), "%#x", 0xfc00|op)
	}
}
