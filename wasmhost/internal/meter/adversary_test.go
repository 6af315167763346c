package meter_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// bombs are programs that would run for seconds, hours or ever. Each has an export run, and an export ok that sets
// memory and returns.
func bombs() map[string][]byte {
	build := func(table []byte, memory []byte, bodies ...[]byte) []byte {
		types := make([]uint32, len(bodies)+1)
		ok := w.Body("", 0x41, 0, 0x41, 0, 0x28, 2, 0, 0x41, 1, 0x6a, 0x36, 2, 0, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0)
		return w.Module(
			w.Types(w.FuncType("", "")), w.Funcs(types...), w.Tables(table), w.Memories(memory), w.Globals(w.Global("i", true, 0x41, 0)),
			w.Exports(w.Export("run", 0, 0), w.Export("ok", 0, uint32(len(bodies))), w.Export("memory", 2, 0)),
			w.Elements(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(w.U32(0)))),
			w.Code(append(bodies, ok)...),
		)
	}
	table, memory := w.Table("r", w.Limits(1)), w.Limits(512)
	tree := make([][]byte, 0, 33)
	for i := range uint32(32) {
		tree = append(tree, w.Body("", w.Cat([]byte{0x10}, w.U32(i+1), []byte{0x10}, w.U32(i+1))...))
	}
	fill := []byte{0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 0x80, 0x10, 0xfc, 11, 0} // 32 MiB
	return map[string][]byte{
		"an empty infinite loop":             build(table, memory, w.Body("", 0x03, 0x40, 0x0c, 0, 0x0b)),
		"an infinite loop with a br_table":   build(table, memory, w.Body("", 0x03, 0x40, 0x41, 0, 0x0e, 1, 0, 0, 0x0b)),
		"an infinite loop that writes":       build(table, memory, w.Body("i", 0x03, 0x40, 0x20, 0, 0x41, 1, 0x36, 2, 0, 0x23, 0, 0x41, 1, 0x6a, 0x24, 0, 0x0c, 0, 0x0b)),
		"nested infinite loops":              build(table, memory, w.Body("", 0x03, 0x40, 0x03, 0x40, 0x41, 1, 0x0d, 1, 0x41, 1, 0x0d, 0, 0x0b, 0x0c, 0, 0x0b)),
		"a loop that takes a value":          w.Module(w.Types(w.FuncType("", ""), w.FuncType("i", "i")), w.Funcs(0, 0), w.Memories(memory), w.Globals(w.Global("i", true, 0x41, 0)), w.Exports(w.Export("run", 0, 0), w.Export("ok", 0, 1), w.Export("memory", 2, 0)), w.Code(w.Body("", 0x41, 1, 0x03, 1, 0x0c, 0, 0x0b, 0x1a), w.Body("", 0x41, 0, 0x41, 1, 0x36, 2, 0))),
		"a tree of 2^32 calls without loops": build(table, memory, append(tree, w.Body("", 0x01))...),
		"endless recursion of two functions": build(table, memory, w.Body("", 0x10, 1), w.Body("", 0x10, 0)),
		"endless recursion through a table":  build(table, memory, w.Body("", 0x41, 0, 0x11, 0, 0)),
		"straight-line memory.fill":          build(table, memory, w.Body("", bytes.Repeat(fill, 1000)...)),
		"memory.fill in a loop":              build(table, memory, w.Body("", w.Cat([]byte{0x03, 0x40}, fill, []byte{0x0c, 0, 0x0b})...)),
		"memory.copy in a loop":              build(table, memory, w.Body("", 0x03, 0x40, 0x41, 0, 0x41, 1, 0x41, 0x80, 0x80, 0x80, 0x08, 0xfc, 10, 0, 0, 0x0c, 0, 0x0b)),
		"table.grow in a loop":               build(table, memory, w.Body("", 0x03, 0x40, 0xd0, 0x70, 0x41, 100, 0xfc, 15, 0, 0x1a, 0x0c, 0, 0x0b)),
		"memory.grow in a loop":              build(table, w.Limits(1), w.Body("", 0x03, 0x40, 0x41, 1, 0x40, 0, 0x1a, 0x0c, 0, 0x0b)),
	}
}

// Every bomb yields slice after slice, lets the garbage collector run, is ended by a panic in the host, and leaves an
// instance that works once its state is put back.
func TestBombsAreEnded(t *testing.T) {
	for name, wasm := range bombs() {
		for engine, config := range engines() {
			t.Run(name+"/"+engine, func(t *testing.T) {
				res := rewrite(t, wasm)
				h := newHost(t, config)
				instance := h.run(t, res)
				before, ok := instance.ExportedMemory("memory").Read(0, 64)
				require.True(t, ok)
				before = bytes.Clone(before)
				h.budget = 400 * h.slice
				if engine == "interpreter" {
					h.budget = 20 * h.slice
				}
				collected := make(chan struct{})
				go func() {
					runtime.GC()
					close(collected)
				}()
				start := time.Now()
				_, err := instance.ExportedFunction("run").Call(ctx)
				elapsed := time.Since(start)
				require.Error(t, err)
				if !strings.Contains(err.Error(), "stack overflow") { // as good an end, when it comes first
					require.Negative(t, h.budget, "ended by %v", err)
				}
				<-collected
				assert.Positive(t, h.yields)
				t.Logf("%d slices in %v", h.yields, elapsed)

				h.budget, h.yields = 1<<40, 0
				h.fuel.Set(0)
				instance.ExportedMemory("memory").Write(0, before)
				for _, g := range res.Globals {
					instance.ExportedGlobal(g.Export).(interface{ Set(uint64) }).Set(0)
				}
				_, err = instance.ExportedFunction("ok").Call(ctx)
				require.NoError(t, err, "the instance works afterwards")
				v, _ := instance.ExportedMemory("memory").ReadUint32Le(0)
				assert.Equal(t, uint32(1), v)
			})
		}
	}
}

// A module that names the global that the rewriting adds is invalid, and validation must come first.
func TestTheFuelGlobalIsOutOfReach(t *testing.T) {
	wasm := w.Module(w.Types(w.FuncType("", "")), w.Funcs(0), w.Exports(w.Export("run", 0, 0)), w.Code(w.Body("", 0x42, 1, 0x24, 0)))
	m, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err, "Parse does not type-check")
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	_, err = r.CompileModule(ctx, wasm)
	require.ErrorContains(t, err, "invalid global index", "wazero refuses the original")

	res, err := meter.Rewrite(wasm, m, meter.Options{})
	require.NoError(t, err)
	_, err = newHost(t, wazero.NewRuntimeConfigInterpreter()).CompileModule(ctx, res.Wasm)
	require.NoError(t, err, "which is why: rewritten, it would set its own fuel")
}

func TestExportsNeverCollide(t *testing.T) {
	wasm := w.Module(w.Memories(w.Limits(1)), w.Globals(w.Global("i", true, 0x41, 0), w.Global("v", true, append([]byte{0xfd, 12}, make([]byte, 16)...)...), w.Global("x", true, 0xd0, 0x6f), w.Global("i", false, 0x41, 0)),
		w.Exports(w.Export("genkit:meter/fuel", 2, 0), w.Export("genkit:meter_/global/0", 2, 0)))
	res := rewrite(t, wasm)
	assert.Equal(t, "genkit:meter__/fuel", res.FuelExport)
	assert.Equal(t, []meter.Global{
		{Index: 0, Export: "genkit:meter__/global/0", Type: inspect.I32},
		{Index: 1, Export: "genkit:meter__/global/1", Type: inspect.V128, Unrestorable: true},
		{Index: 2, Export: "genkit:meter__/global/2", Type: inspect.ExternRef, Unrestorable: true},
	}, res.Globals)
	newHost(t, wazero.NewRuntimeConfigInterpreter()).run(t, res)
}

func TestTablesGetAMaximum(t *testing.T) {
	wasm := w.Module(w.Tables(w.Table("r", w.Limits(1)), w.Table("r", w.Limits(2, 1000)), w.Table("x", w.Limits(3, 5)), w.Table("r", w.Limits(50))))
	m, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	res, err := meter.Rewrite(wasm, m, meter.Options{MaxTableElements: 10})
	require.NoError(t, err)
	after, err := inspect.Parse(res.Wasm, inspect.Limits{})
	require.NoError(t, err)
	var got []uint32
	for _, table := range after.Tables {
		assert.True(t, table.HasMax)
		got = append(got, table.Max)
	}
	assert.Equal(t, []uint32{10, 10, 5, 50}, got)
}

func TestCustomSectionsThatStillHoldAreKept(t *testing.T) {
	wasm := w.Module(w.Custom("genkit.module", []byte("{}")), w.Types(w.FuncType("", "")), w.Custom(".debug_info", nil), w.Funcs(0), w.Custom("name", nil), w.Code(w.Body("")), w.Custom("producers", []byte("x")))
	after, err := inspect.Parse(rewrite(t, wasm).Wasm, inspect.Limits{})
	require.NoError(t, err)
	var names []string
	for _, c := range after.Custom {
		names = append(names, c.Name)
	}
	assert.Equal(t, []string{"genkit.module", "producers"}, names)
	descriptor, _, err := after.CustomSection("genkit.module")
	require.NoError(t, err)
	assert.Equal(t, "{}", string(descriptor))
}

func TestRewriteRefusesAnotherModulesDescription(t *testing.T) {
	wasm := w.Module(w.Memories(w.Limits(1)))
	m, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	_, err = meter.Rewrite(wasm[:8], m, meter.Options{})
	assert.Error(t, err)
	_, err = meter.Rewrite(wasm, nil, meter.Options{})
	assert.Error(t, err)
}
