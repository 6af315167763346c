package sandbox

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// capability does what a guest asks for and returns the reply. Modules are
// refused at upload for capabilities that they may not have; a call that comes
// through all the same is refused by name.
func (in *instance) capability(c abi.Capability, request []byte) []byte {
	st := in.state
	st.check()
	switch c {
	case abi.CapEmit:
		return st.emit(request)
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

func (st *state) emit(request []byte) []byte {
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
		st.leave() // whoever reads may be slow
		began := time.Now()
		if err := st.call.Emit(bytes.Clone(request)); err != nil {
			panic(&stop{err})
		}
		st.lane.back(began)
		st.check()
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
