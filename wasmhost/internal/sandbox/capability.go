package sandbox

import (
	"bytes"
	"encoding/json"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// capability serves a guest's request and returns the reply. Modules are
// refused at upload for capabilities that they may not have; a call that comes
// through all the same is refused by name.
func (in *instance) capability(c abi.Capability, request []byte) []byte {
	st := in.state
	st.check()
	switch c {
	case abi.CapEmit:
		return in.emit(request)
	case abi.CapInterrupt:
		return st.setInterrupt(request)
	case abi.CapContext:
		if len(st.call.Context) == 0 {
			return abi.OKReply(json.RawMessage("{}"))
		}
		return abi.OKReply(st.call.Context)
	case abi.CapNext:
		return in.next(request)
	}
	return in.ask(c, request)
}

func (in *instance) emit(request []byte) []byte {
	st := in.state
	if len(request) > st.maxOutput {
		halt(status.ResourceExhausted, "chunk of %d bytes exceeds the limit of %d", len(request), st.maxOutput)
	}
	if st.chunks++; st.chunks > MaxChunks {
		halt(status.ResourceExhausted, "the module emitted more than %d chunks", MaxChunks)
	}
	if err := schema.Check(request); err != nil {
		return abi.ErrorReply(status.Publicf(status.InvalidArgument, "chunk: %w", err))
	}
	if st.call.Emit != nil {
		request = bytes.Clone(request)
		var err error
		in.brief(func() {
			if st.call.WriteBy != nil {
				st.call.WriteBy(st.deadline)
			}
			err = st.call.Emit(request)
		})
		if err != nil {
			panic(&stop{err})
		}
	}
	return abi.OKReply(nil)
}

func (st *state) setInterrupt(request []byte) []byte {
	if len(request) > MaxInterruptBytes {
		halt(status.ResourceExhausted, "interrupt metadata of %d bytes exceeds the limit of %d", len(request), MaxInterruptBytes)
	}
	request = bytes.TrimSpace(request)
	if len(request) == 0 || string(request) == "null" {
		st.interrupted, st.interrupt = true, nil
		return abi.OKReply(nil)
	}
	if err := schema.Check(request); err != nil || request[0] != '{' {
		return abi.ErrorReply(status.Publicf(status.InvalidArgument, "interrupt: want a JSON object or null"))
	}
	st.interrupted, st.interrupt = true, bytes.Clone(request)
	return abi.OKReply(nil)
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
