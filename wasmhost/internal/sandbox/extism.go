package sandbox

import (
	"encoding/binary"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// extismModule is Extism's host/env with the kernel in Go: the same functions over
// an [arena] instead of a second Wasm memory. Behaviour follows the kernel of
// extism/go-sdk v1.7.1, which the tests hold it against.
func extismModule(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(abi.ModuleExtism)
	extismMemory(b)
	extismInput(b)
	extismResult(b)
	extismVars(b)
	extismHTTP(b)
	for _, l := range []struct {
		name  string
		level Level
	}{{"log_trace", LevelTrace}, {"log_debug", LevelDebug}, {"log_info", LevelInfo}, {"log_warn", LevelWarn}, {"log_error", LevelError}} {
		export(b, l.name, types(i64), nil, func(in *instance, _ api.Module, stack []uint64) {
			in.state.log(l.level, in.arena.block(stack[0]))
			in.arena.free(stack[0])
		})
	}
	export(b, "get_log_level", nil, types(i32), func(_ *instance, _ api.Module, stack []uint64) { stack[0] = uint64(LevelTrace) })
	return b
}

func extismMemory(b wazero.HostModuleBuilder) {
	export(b, "alloc", types(i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = in.arena.alloc(in, stack[0])
	})
	export(b, "free", types(i64), nil, func(in *instance, _ api.Module, stack []uint64) { in.arena.free(stack[0]) })
	length := func(in *instance, _ api.Module, stack []uint64) { stack[0] = uint64(len(in.arena.block(stack[0]))) }
	export(b, "length", types(i64), types(i64), length)
	export(b, "length_unsafe", types(i64), types(i64), length)
	export(b, "load_u8", types(i64), types(i32), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = uint64(in.arena.at(stack[0], 1)[0])
	})
	export(b, "load_u64", types(i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = binary.LittleEndian.Uint64(in.arena.at(stack[0], 8))
	})
	export(b, "store_u8", types(i64, i32), nil, func(in *instance, _ api.Module, stack []uint64) {
		in.arena.at(stack[0], 1)[0] = byte(stack[1])
	})
	export(b, "store_u64", types(i64, i64), nil, func(in *instance, _ api.Module, stack []uint64) {
		binary.LittleEndian.PutUint64(in.arena.at(stack[0], 8), stack[1])
		if in.words.next != nil {
			in.words.next.Set(stack[0] + 8)
		}
	})
	export(b, "memory_bytes", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = uint64(len(in.arena.mem))
	})
}

func extismInput(b wazero.HostModuleBuilder) {
	export(b, "input_length", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = uint64(len(in.state.call.Input))
	})
	export(b, "input_offset", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = in.arena.inputOffset(in)
	})
	export(b, "input_load_u8", types(i64), types(i32), func(in *instance, _ api.Module, stack []uint64) {
		input, at := in.state.call.Input, stack[0]
		stack[0] = 0
		if at < uint64(len(input)) {
			stack[0] = uint64(input[at])
		}
	})
	export(b, "input_load_u64", types(i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = in.state.inputWord(stack[0])
	})
}

func extismResult(b wazero.HostModuleBuilder) {
	export(b, "output_set", types(i64, i64), nil, func(in *instance, _ api.Module, stack []uint64) {
		if limit := uint64(in.state.maxOutput); stack[1] > limit {
			halt(status.ResourceExhausted, "output of %d bytes exceeds the limit of %d", stack[1], limit)
		}
		in.arena.at(stack[0], stack[1]) // refuses what lies outside
		in.arena.output = span{stack[0], stack[1]}
		in.arena.hasOutput = true
	})
	export(b, "output_offset", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) { stack[0] = in.arena.output.offset })
	export(b, "output_length", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) { stack[0] = in.arena.output.length })
	export(b, "error_set", types(i64), nil, func(in *instance, _ api.Module, stack []uint64) { in.arena.err = stack[0] })
	export(b, "error_get", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) { stack[0] = in.arena.err })
}

func extismVars(b wazero.HostModuleBuilder) {
	export(b, "config_get", types(i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
		key := in.arena.block(stack[0])
		in.state.worked(len(key))
		value, ok := in.module.config[string(key)]
		stack[0] = 0
		if ok {
			stack[0] = in.arena.put(in, []byte(value))
		}
	})
	export(b, "var_get", types(i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
		key := in.arena.block(stack[0])
		in.state.worked(len(key))
		value, ok := in.arena.vars[string(key)]
		stack[0] = 0
		if ok {
			stack[0] = in.arena.put(in, value)
		}
	})
	export(b, "var_set", types(i64, i64), nil, func(in *instance, _ api.Module, stack []uint64) {
		key := in.arena.block(stack[0])
		in.state.worked(len(key) + len(in.arena.block(stack[1])))
		in.arena.setVar(string(key), stack[1])
	})
}

// extismUserModule gives the capabilities in Extism's convention: a block with the
// request in, a block with the reply out.
func extismUserModule(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(abi.ModuleExtismUser)
	for _, c := range abi.Capabilities() {
		export(b, abi.ExtismPrefix+string(c), types(i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
			stack[0] = in.arena.put(in, in.capability(c, in.arena.block(stack[0])))
		})
	}
	return b
}
