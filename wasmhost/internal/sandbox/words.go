package sandbox

import (
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// bind finds the globals; false when one is missing.
func (w *words) bind(guest api.Module, names *meter.WordGlobals) bool {
	for _, g := range []struct {
		into *api.MutableGlobal
		name string
	}{{&w.ahead, names.Ahead}, {&w.pending, names.Pending}, {&w.next, names.Next}} {
		if g.name == "" {
			continue
		}
		var ok bool
		if *g.into, ok = guest.ExportedGlobal(g.name).(api.MutableGlobal); !ok {
			return false
		}
	}
	if w.pending == nil {
		return true
	}
	if len(names.Behind) != len(w.behind) {
		return false
	}
	for i, name := range names.Behind {
		if w.behind[i] = guest.ExportedGlobal(name); w.behind[i] == nil {
			return false
		}
	}
	return true
}

// reset forgets the words of the call before.
func (w *words) reset() {
	if w.ahead != nil {
		w.ahead.Set(0)
	}
	if w.pending != nil {
		w.pending.Set(0)
	}
}

// inputWord gives the eight bytes of the input at an offset, zero beyond its end.
func (st *state) inputWord(at uint64) uint64 {
	input := st.call.Input
	if at < uint64(len(input)) && uint64(len(input))-at >= 8 {
		return binary.LittleEndian.Uint64(input[at:])
	}
	var word [8]byte
	if at < uint64(len(input)) {
		copy(word[:], input[at:])
	}
	return binary.LittleEndian.Uint64(word[:])
}

// exportAhead exports the function that reads words ahead.
func exportAhead(b wazero.HostModuleBuilder) {
	results := make([]api.ValueType, meter.Words)
	for i := range results {
		results[i] = i64
	}
	export(b, meter.AheadFunc, types(i64), results, func(in *instance, _ api.Module, stack []uint64) {
		at := stack[0]
		for i := range uint64(meter.Words) {
			stack[i] = in.state.inputWord(at + 8*i)
		}
	})
}
