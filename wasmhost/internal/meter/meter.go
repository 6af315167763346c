// Package meter rewrites a WebAssembly module so that it pays fuel for what it executes and comes back to the host
// whenever a slice of fuel is used up. It owns the prices ([Weight]), the places where they are charged, and the
// names of what it adds to a module.
//
//	original, err := inspect.Parse(upload, limits)       // bounds the bytes
//	_, err = runtime.CompileModule(ctx, upload)          // validates them: an interpreter runtime is enough
//	metered, err := meter.Rewrite(upload, original, meter.Options{})
//	// The host exports the function that ends each slice …
//	runtime.NewHostModuleBuilder(meter.YieldModule).NewFunctionBuilder().
//		WithGoModuleFunction(refill, nil, nil).Export(meter.YieldFunc).Instantiate(ctx)
//	// … and gives each instance its first one.
//	fuel := instance.ExportedGlobal(metered.FuelExport).(api.MutableGlobal)
//	fuel.Set(slice)
//
// The original must have been validated before it is rewritten, because rewriting can make an invalid module valid:
// code that sets the global one past the last, which no validator lets through, would set its own fuel afterwards.
//
// A drawing, and a glossary of the words that the code uses, stand in README.md beside it.
//
// # What is charged
//
// Fuel is a mutable i64 global. Straight-line code is charged where control arrives at it: at function entry, at loop
// heads, in the arms of an if, after a conditional branch and after the end of a block. Code that runs exactly when an
// earlier stretch runs is charged with that stretch, and a stretch that is cheaper than charging for it
// ([FoldedCost] units or less) is charged with the one it branches off from, whether or not it runs. So everything
// that executes has been paid for, and the total of a call depends on the path that it takes and on nothing else:
// the same input costs the same on every machine and on both engines of wazero.
//
// Operations whose time depends on a length charge for it before they run: [BytesPerUnit], [UnitsPerPage] and
// [EntriesPerUnit]. A memory.fill or memory.copy of more than [PieceBytes] is done in pieces, and charged piece by
// piece. Loops that make no calls count in a local and pay every [LoopQuantum] units and where they are
// left, so a call that traps inside one may pay that much too little; nothing else escapes.
//
// # When the host is called
//
// Fuel below zero calls the import [YieldModule] [YieldFunc]: in each round of every loop, after the charge for a length,
// and wherever else more than [WindowUnits] might be charged before it is called again, so that no loop, no recursion on its
// way down or up, and no tree of calls goes long without. To have few such places, functions are looked at after those that
// they call. The host adds the next slice to the global, or panics to end the call; the fuel used so far is what was put
// in less what is left, to the unit. Between two calls of the host no more is charged than [Result].MaxDebt and what a length
// costs, and up to [HubReturn] for each frame of a deep recursion on its way up. A charge covers what follows it up to the next
// place where the host may have been called; but for [PrepaidUnits] in each frame, nothing runs after a call of the host, or
// after the return of a recursion, that was paid for before.
//
// The fastest way to refill is to look the global up once for each instance and to keep it: Set on it is a store,
// while ExportedGlobal searches and allocates.
//
// # What else changes
//
// Function indices from the first defined function on move up by one, or two, and functions that do long operations in
// pieces, or keep [Words], may follow the last one. Every mutable global gets an export, so that
// the host can put its value back, and every table gets a maximum. Custom sections that describe the code by index or
// offset are dropped: name, linking, reloc.* and .debug_*; so are those without a name.
package meter

import (
	"errors"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// DefaultTableElements is the maximum of tables when Options gives none.
const DefaultTableElements = 10_000

// Rewrite returns the metered form of wasm, which m describes and wazero has validated; see the package comment for
// why that matters. It changes neither, and is safe for concurrent use. The same input gives the same bytes. It fails
// only when m was not parsed from wasm.
func Rewrite(wasm []byte, m *inspect.Module, opt Options) (*Result, error) {
	w, err := newRewriter(wasm, m, opt)
	if err != nil {
		return nil, err
	}
	return w.rewrite(), nil
}

// nameExports chooses names that begin like no export of the original.
func (w *rewriter) nameExports() {
	prefix := "genkit:meter"
	for taken := true; taken; {
		taken = false
		for _, e := range w.mod.Exports {
			if strings.HasPrefix(e.Name, prefix) {
				prefix += "_"
				taken = true
				break
			}
		}
	}
	w.result.FuelExport = prefix + "/fuel"
	w.nameWords(prefix)
	for i, g := range w.mod.Globals {
		if g.Mutable {
			w.result.Globals = append(w.result.Globals, Global{
				Index:        uint32(i),
				Export:       prefix + "/global/" + strconv.Itoa(i),
				Type:         g.Type,
				Unrestorable: g.Type == inspect.V128 || g.Type == inspect.FuncRef || g.Type == inspect.ExternRef,
			})
		}
	}
}

// newRewriter checks that m belongs to wasm and fixes the indices of everything that is added: the import that ends a
// slice takes the first index of the defined functions, and the fuel is the global one past the last.
func newRewriter(wasm []byte, m *inspect.Module, opt Options) (*rewriter, error) {
	if m == nil || m.Size != len(wasm) {
		return nil, errors.New("meter: the module was not parsed from these bytes")
	}
	if opt.MaxTableElements == 0 {
		opt.MaxTableElements = DefaultTableElements
	}
	w := &rewriter{
		wasm:  wasm,
		mod:   m,
		opt:   opt,
		out:   make([]byte, 0, len(wasm)+len(wasm)/2+256),
		yield: uint32(len(m.Imports)),
		moved: 1,
		fuel:  uint32(len(m.Globals)),
		uses:  m.FuncUses,
	}
	w.findWords()
	return w, nil
}

// rewrite names the new exports before it writes anything, because the export section lists them.
func (w *rewriter) rewrite() *Result {
	w.nameExports()
	w.module()
	w.result.Wasm = w.out
	w.result.First, w.result.Moved = w.yield, w.moved
	return &w.result
}
