package sandbox

import (
	"context"
	"encoding/binary"
	"reflect"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

type instanceKey struct{}

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

func types(t ...api.ValueType) []api.ValueType { return t }

// hostFunc is a host function that knows its instance.
type hostFunc func(in *instance, mod api.Module, stack []uint64)

func export(b wazero.HostModuleBuilder, name string, params, results []api.ValueType, fn hostFunc) {
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
		fn(calling(ctx), mod, stack)
	}), params, results).Export(name)
}

// calling is the instance whose guest has called a host function.
func calling(ctx context.Context) *instance {
	in, ok := ctx.Value(instanceKey{}).(*instance)
	if !ok || in.state == nil {
		halt(status.Internal, "the host was called outside a call")
	}
	in.state.worked(0)
	if err := in.storeWords(); err != nil {
		panic(&stop{err})
	}
	return in
}

// view returns guest memory without copying; it ends the guest when the range lies
// outside. The view is valid until the guest runs on.
func view(mod api.Module, ptr, length uint64) []byte {
	mem := mod.Memory()
	if mem == nil || reflect.ValueOf(mem).IsNil() { // wazero gives a nil pointer for a module without a memory
		halt(status.Internal, "the module has no memory to exchange bytes through")
	}
	b, ok := mem.Read(uint32(ptr), uint32(length))
	if !ok {
		halt(status.Internal, "the module named bytes outside its memory: %d at %d", uint32(length), uint32(ptr))
	}
	return b
}

func store(mod api.Module, ptr uint64, b []byte) {
	copy(view(mod, ptr, uint64(len(b))), b)
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
