package sandbox

import (
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/compile"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// A module can be made ready in one process and run in another: the first checks, meters
// and compiles it, the second, which may touch no file, is handed the result. Use:
//
//	p, err := here.Prepare(ctx, sandbox.Source{…})      // runs no guest code
//	m, err := there.Adopt(ctx, p, sandbox.Source{…})    // Config.Adopts is set

// Prepared is a module that is ready to run in another process of this program.
type Prepared struct {
	compile.Prepared

	Shape Shape `json:"shape"`
}

// Shape holds the facts about a module that a sandbox needs beside its code.
type Shape struct {
	HasMemory bool `json:"hasMemory"`
	Extism    bool `json:"extism"` // it speaks Extism's convention
	// SingleUse modules change state that an image can't restore.
	SingleUse    bool          `json:"singleUse"`
	FixedBytes   int64         `json:"fixedBytes"` // of an instance, beside its memory
	Initialisers []Initialiser `json:"initialisers"`
}

// Initialiser is a function that is called once in a new instance.
type Initialiser struct {
	Name string   `json:"name"`
	Args []uint64 `json:"args"`
}

// ShapeOf reads the shape from a parsed module.
func ShapeOf(m *inspect.Module) *Shape {
	s := &Shape{
		HasMemory:  m.Memory != nil,
		Extism:     slices.ContainsFunc(m.Imports, func(i inspect.Import) bool { return i.Module == abi.ModuleExtism }),
		SingleUse:  m.MutatesTables || m.DropsData,
		FixedBytes: fixedBytes(m), Initialisers: initialisers(m),
	}
	for _, g := range m.Globals {
		switch g.Type {
		case inspect.I32, inspect.I64, inspect.F32, inspect.F64:
		default: // vectors and references can't be restored
			s.SingleUse = s.SingleUse || g.Mutable
		}
	}
	return s
}

// fixedBytes estimates the memory of an instance beside its linear memory: wazero's structures, the
// first stack, and each table at its largest.
func fixedBytes(m *inspect.Module) int64 {
	const perInstance, perEntry = 24 << 10, 64
	entries := int64(0)
	for _, t := range m.Tables {
		entries += int64(t.Min)
	}
	return perInstance + perEntry*entries
}

// initialisers lists the functions that are called once in a new instance, as WASI reactors and
// the Extism SDK have it.
func initialisers(m *inspect.Module) []Initialiser {
	has := func(name string, params int) bool {
		e, ok := m.Export(name)
		return ok && e.Kind == inspect.ExternFunc && len(m.FuncType(e.Index).Params) == params
	}
	var list []Initialiser
	switch {
	case has("_initialize", 0):
		list = append(list, Initialiser{Name: "_initialize"})
	case has("__wasm_call_ctors", 0):
		list = append(list, Initialiser{Name: "__wasm_call_ctors"})
	}
	if has("hs_init", 2) {
		list = append(list, Initialiser{Name: "hs_init", Args: []uint64{0, 0}})
	}
	return list
}
