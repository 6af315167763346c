package inspect_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// everything is a valid module with every kind of section and of segment.
func everything() []byte {
	return w.Module(
		w.Custom("first", []byte("hello")),
		w.Types(w.FuncType("", ""), w.FuncType("ii", "i"), w.FuncType("v", "iI")),
		w.Imports(w.ImportFunc("env", "log", 0), w.ImportFunc("env", "add", 1)),
		w.Funcs(0, 1, 0),
		w.Tables(w.Table("r", w.Limits(4, 10)), w.Table("x", w.Limits(0))),
		w.Memories(w.Limits(1, 2)),
		w.Globals(w.Global("i", true, 0x41, 7), w.Global("r", false, 0xd2, 2), w.Global("v", true, append([]byte{0xfd, 12}, make([]byte, 16)...)...)),
		w.Exports(w.Export("_start", 0, 2), w.Export("memory", 2, 0), w.Export("g", 3, 0), w.Export("t", 1, 0)),
		w.Elements(
			w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(w.U32(0), w.U32(3))),
			w.Cat([]byte{1, 0}, w.Vec(w.U32(1))),
			w.Cat([]byte{2, 0, 0x41, 1, 0x0b, 0}, w.Vec(w.U32(2))),
			w.Cat([]byte{3, 0}, w.Vec(w.U32(2))),
			w.Cat([]byte{4, 0x41, 2, 0x0b}, w.Vec([]byte{0xd2, 4, 0x0b})),
			w.Cat([]byte{5, 0x70}, w.Vec([]byte{0xd0, 0x70, 0x0b})),
			w.Cat([]byte{6, 0, 0x41, 3, 0x0b, 0x70}, w.Vec([]byte{0xd2, 0, 0x0b})),
			w.Cat([]byte{7, 0x6f}, w.Vec([]byte{0xd0, 0x6f, 0x0b})),
		),
		w.DataCount(3),
		w.Code(
			w.Body("iI", 0x03, 0x40, 0x41, 0, 0x0d, 0, 0x0b, 0x41, 0, 0x41, 0, 0x41, 5, 0xfc, 8, 1, 0),
			w.Body("", 0x20, 0, 0x04, 0x7f, 0x41, 1, 0x05, 0x41, 2, 0x0b),
			w.Body("", 0x41, 0, 0xd2, 2, 0x26, 0, 0x41, 1, 0x40, 0, 0x1a, 0x02, 0x40, 0x41, 0, 0x0e, 1, 0, 1, 0x0b,
				0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 11, 0, 0xfc, 9, 1, 0xfd, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xfd, 0x80, 1, 0x1a),
		),
		w.Data(
			w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Name("abc")),
			w.Cat([]byte{1}, w.Name("passive")),
			w.Cat([]byte{2, 0, 0x41, 8, 0x0b}, w.Name("x")),
		),
		w.Custom("second", nil),
		w.Custom("name", w.Cat([]byte{0}, w.RawBody(w.Name("m")), []byte{1}, w.RawBody(w.Vec(w.Cat(w.U32(0), w.Name("log")))), []byte{2}, w.RawBody(w.Vec(w.Cat(w.U32(2), w.Vec(w.Cat(w.U32(0), w.Name("x")))))))),
	)
}

func TestParseFindsEverything(t *testing.T) {
	wasm := everything()
	m, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)

	assert.Equal(t, len(wasm), m.Size)
	assert.Equal(t, []inspect.Import{{Module: "env", Name: "log", Type: 0}, {Module: "env", Name: "add", Type: 1}}, m.Imports)
	assert.Equal(t, inspect.FuncType{Params: []inspect.ValType{inspect.V128}, Results: []inspect.ValType{inspect.I32, inspect.I64}}, m.Types[2])
	assert.Equal(t, []uint32{0, 1, 0}, m.Functions)
	assert.Equal(t, &inspect.MemoryType{Min: 1, Max: 2, HasMax: true}, m.Memory)
	assert.Equal(t, []inspect.TableType{{Elem: inspect.FuncRef, Min: 4, Max: 10, HasMax: true}, {Elem: inspect.ExternRef}}, m.Tables)
	assert.Equal(t, []inspect.Global{{Type: inspect.I32, Mutable: true}, {Type: inspect.FuncRef}, {Type: inspect.V128, Mutable: true}}, m.Globals)
	assert.Equal(t, 8, m.ElemSegments)
	assert.Equal(t, 4, m.PassiveElem)
	assert.Equal(t, 3, m.DataSegments)
	assert.Equal(t, 1, m.PassiveData)
	assert.Len(t, m.FuncUses, 1+1+7, "an export, a global and seven entries of segments")
	assert.Len(t, m.Bodies, 3)
	assert.Equal(t, uint32(2), m.Bodies[0].Locals)
	assert.True(t, m.UsesSIMD && m.MutatesTables && m.DropsData && m.GrowsMemory && m.UsesBulkMemory)
	assert.False(t, m.HasStart)
	assert.Equal(t, 1, m.MaxDepth)
	assert.Equal(t, inspect.KindCommand, m.Kind())

	for _, use := range m.FuncUses {
		assert.Equal(t, w.U32(use.Index), wasm[use.Offset:use.End])
	}
	assert.Equal(t, m.Types[1], m.FuncType(1), "imported")
	assert.Equal(t, m.Types[1], m.FuncType(3), "defined")
	assert.Equal(t, inspect.FuncType{}, m.FuncType(99))
	export, ok := m.Export("g")
	assert.True(t, ok)
	assert.Equal(t, inspect.Export{Name: "g", Kind: inspect.ExternGlobal}, export)
	_, ok = m.Export("absent")
	assert.False(t, ok)

	data, ok, err := m.CustomSection("first")
	require.NoError(t, err)
	assert.True(t, ok)
	assert.Equal(t, "hello", string(data))
	_, ok, err = m.CustomSection("absent")
	require.NoError(t, err)
	assert.False(t, ok)
}

func TestInstructionsWalkEachBody(t *testing.T) {
	m, err := inspect.Parse(everything(), inspect.Limits{})
	require.NoError(t, err)
	var ops []inspect.Op
	var targets []uint32
	walk := m.Instructions(m.Bodies[2])
	end := m.Bodies[2].Code
	for in := walk.Next(); in != nil; in = walk.Next() {
		assert.Equal(t, end, in.Offset)
		end = in.End
		ops = append(ops, in.Op)
		if in.Op == inspect.OpBrTable {
			targets = append(targets, in.Targets...)
		}
	}
	assert.Equal(t, m.Bodies[2].End, end)
	assert.Equal(t, []uint32{0, 1}, targets)
	assert.Contains(t, ops, inspect.OpMemoryFill)
	assert.Contains(t, ops, inspect.Op(0xfd80))
	assert.Equal(t, inspect.OpEnd, ops[len(ops)-1])
}

func TestKind(t *testing.T) {
	for kind, exports := range map[inspect.Kind][][]byte{
		inspect.KindReactor: {w.Export("_initialize", 0, 0), w.Export("_start", 0, 0)},
		inspect.KindCommand: {w.Export("_start", 0, 0)},
		inspect.KindPlain:   {w.Export("run", 0, 0)},
	} {
		m, err := inspect.Parse(w.Module(w.Types(w.FuncType("", "")), w.Funcs(0), w.Exports(exports...), w.Code(w.Body(""))), inspect.Limits{})
		require.NoError(t, err)
		assert.Equal(t, kind, m.Kind())
	}
}

func TestCustomSectionTwiceIsRefusedWhenAskedFor(t *testing.T) {
	m, err := inspect.Parse(w.Module(w.Custom("a", []byte("1")), w.Custom("a", []byte("2"))), inspect.Limits{})
	require.NoError(t, err)
	_, _, err = m.CustomSection("a")
	assertCode(t, inspect.CodeDuplicateCustom, err)
}

// A prefix that ends between two sections may be a module of its own; every other one must be refused.
func TestEveryPrefixIsRefused(t *testing.T) {
	wasm := everything()
	whole, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	boundary := map[int]bool{8: true}
	for _, s := range whole.Sections {
		boundary[s.End] = true
	}
	for n := range wasm {
		prefix := bytes.Clone(wasm[:n])
		_, err := inspect.Parse(prefix, inspect.Limits{})
		if boundary[n] && err == nil {
			continue
		}
		var refusal *inspect.Refusal
		require.ErrorAs(t, err, &refusal, "prefix of %d bytes", n)
		require.NotEmpty(t, refusal.Message)
	}
}

func assertCode(t *testing.T, code string, err error) {
	t.Helper()
	var refusal *inspect.Refusal
	if assert.ErrorAs(t, err, &refusal) {
		assert.Equal(t, code, refusal.Code, "%v", err)
		assert.NotEmpty(t, refusal.Message)
	}
}
