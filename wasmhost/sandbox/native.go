package sandbox

import (
	"context"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/meter"
)

const (
	i32 = api.ValueTypeI32
	i64 = api.ValueTypeI64
)

func types(t ...api.ValueType) []api.ValueType { return t }

// hostFunc is a host function that knows its instance.
type hostFunc func(in *instance, mod api.Module, stack []uint64)

func export(b wazero.HostModuleBuilder, name string, params, results []api.ValueType, fn hostFunc) {
	b.NewFunctionBuilder().WithGoModuleFunction(api.GoModuleFunc(func(ctx context.Context, mod api.Module, stack []uint64) {
		in, ok := ctx.Value(instanceKey{}).(*instance)
		if !ok || in.state == nil {
			halt(status.Internal, "the host was called outside a call")
		}
		in.state.worked(0)
		if err := in.storeWords(); err != nil {
			panic(&stop{err})
		}
		fn(in, mod, stack)
	}), params, results).Export(name)
}

// view returns guest memory without copying; it ends the guest when the range lies
// outside. The view is valid until the guest runs on.
func view(mod api.Module, ptr, length uint64) []byte {
	mem := mod.Memory()
	if mem == nil {
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

func meterModule(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(meter.YieldModule)
	export(b, meter.YieldFunc, nil, nil, func(in *instance, _ api.Module, _ []uint64) { in.yield() })
	exportAhead(b)
	return b
}

// nativeModule is the convention genkit_v1: whole buffers, copied once.
func nativeModule(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(abi.ModuleNative)
	export(b, "input_len", nil, types(i32), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = uint64(len(in.state.call.Input))
	})
	export(b, "input", types(i32), nil, func(in *instance, mod api.Module, stack []uint64) {
		in.state.worked(len(in.state.call.Input))
		store(mod, stack[0], in.state.call.Input)
	})
	export(b, "output", types(i32, i32), nil, func(in *instance, mod api.Module, stack []uint64) {
		in.state.setOutput(view(mod, stack[0], stack[1]))
	})
	export(b, "error", types(i32, i32), nil, func(in *instance, mod api.Module, stack []uint64) {
		in.state.setError(view(mod, stack[0], stack[1]))
	})
	export(b, "log", types(i32, i32, i32), nil, func(in *instance, mod api.Module, stack []uint64) {
		in.state.log(Level(int32(uint32(stack[0]))), view(mod, stack[1], stack[2]))
	})
	export(b, "reply", types(i32), nil, func(in *instance, mod api.Module, stack []uint64) {
		in.state.worked(len(in.state.reply))
		store(mod, stack[0], in.state.reply)
	})
	for _, c := range abi.Capabilities() {
		export(b, string(c), types(i32, i32), types(i32), func(in *instance, mod api.Module, stack []uint64) {
			in.state.reply = in.capability(c, view(mod, stack[0], stack[1]))
			stack[0] = uint64(len(in.state.reply))
		})
	}
	return b
}
