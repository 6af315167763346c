package sandbox

import (
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/meter"
)

// wordOptions name what the meter lets guests do by eight words: Extism's convention moves payloads by one.
func wordOptions(tableElements uint32) meter.Options {
	return meter.Options{
		MaxTableElements: tableElements,
		Reads:            meter.Import{Module: abi.ModuleExtism, Name: "input_load_u64"},
		Writes:           meter.Import{Module: abi.ModuleExtism, Name: "store_u64"},
	}
}

// words are the globals through which an instance reads input ahead, and leaves words for the host to store in its
// [arena]. The zero value is that of an instance that does neither.
type words struct {
	ahead, pending, next api.MutableGlobal
	behind               [meter.Words]api.Global
}

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

// reset forgets what the call before has left.
func (w *words) reset() {
	if w.ahead != nil {
		w.ahead.Set(0)
	}
	if w.pending != nil {
		w.pending.Set(0)
	}
}

// storeWords puts the words that wait where they belong. It is called before anything else that the host does for the
// guest, and when the guest has ended; it fails when they lie outside the arena.
func (in *instance) storeWords() error {
	w := &in.words
	if w.pending == nil {
		return nil
	}
	n := min(w.pending.Get(), meter.Words)
	if n == 0 {
		return nil
	}
	w.pending.Set(0)
	to, ok := in.arena.slice(w.next.Get()-8*n, 8*n)
	if !ok {
		return errOutside(8*n, w.next.Get()-8*n)
	}
	for i := range n {
		binary.LittleEndian.PutUint64(to[8*i:], w.behind[i].Get())
	}
	return nil
}

// errOutside reports bytes that a guest named outside Extism's memory.
func errOutside(length, offset uint64) error {
	return status.Publicf(status.Internal, "the module named bytes outside Extism's memory: %d at %d", length, offset)
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

// exportAhead gives guests what they read ahead.
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
