package sandbox

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental/sys"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Mount is a file system at a path of the guest's.
type Mount struct {
	Path string
	FS   sys.FS
}

// Bound is a [Mount].FS that has to know which call a guest's operation belongs to.
type Bound interface {
	sys.FS
	// Bind gives the file system for one instance. call returns the call that this
	// serves, which may also be that of its initialisation; nil between calls, when
	// files are closed that a call has left open. All runs on the guest's goroutine.
	Bind(call func() *Call) sys.FS
}

// MaxRequestBytes bounds a guest's request to a capability.
const MaxRequestBytes = 8 << 20

// Fuel that a capability costs beside the guest's own instructions: the work that a guest has the host
// do is bounded too.
const (
	doorFuel        = 5_000
	doorFuelPerByte = 1
)

// charge takes fuel from the guest; it ends the guest when there is no more.
func (in *instance) charge(units int64) {
	in.fuel.Set(uint64(int64(in.fuel.Get()) - units))
	if in.used() >= in.state.limits.Fuel {
		panic(&stop{errFuel(in.state.limits.Fuel)})
	}
}

// outside runs work of the host that may block, under wait, which is the instance's wait or brief. When
// the deadline passes meanwhile, wait ends the guest and the result of work is dropped.
func (in *instance) outside(wait func(work func()), request int, work func(ctx context.Context)) {
	st := in.state
	st.check()
	in.charge(doorFuel + int64(request)*doorFuelPerByte)
	wait(func() {
		ctx, cancel := context.WithDeadline(st.ctx, st.deadline)
		defer cancel()
		defer context.AfterFunc(in.module.sandbox.life, cancel)()
		work(ctx)
	})
}

// waits returns how a capability is waited for: stores and clocks seldom block.
func (in *instance) waits(c abi.Capability) func(func()) {
	switch c {
	case abi.CapHTTP, abi.CapRun, abi.CapGenerate:
		return in.wait
	}
	return in.brief
}

// ask passes a request to the call's Door and returns the reply.
func (in *instance) ask(c abi.Capability, request []byte) []byte {
	door := in.state.call.Door
	switch {
	case door == nil:
		return abi.ErrorReply(status.Publicf(status.PermissionDenied, "capability %q is not granted", c))
	case len(request) > MaxRequestBytes:
		return abi.ErrorReply(status.Publicf(status.InvalidArgument, "%s: a request of %d bytes exceeds the limit of %d", c, len(request), MaxRequestBytes))
	}
	var reply []byte
	request = bytes.Clone(request)
	in.outside(in.waits(c), len(request), func(ctx context.Context) {
		value, err := door.Do(ctx, c, request)
		if err != nil {
			reply = abi.ErrorReply(err)
			return
		}
		reply = abi.OKReply(value)
	})
	in.charge(int64(len(reply)) * doorFuelPerByte)
	return reply
}

// extismHTTP are Extism's own HTTP functions. A failure ends the call, as it does
// under the SDK.
func extismHTTP(b wazero.HostModuleBuilder) {
	export(b, "http_request", types(i64, i64), types(i64), func(in *instance, _ api.Module, stack []uint64) {
		st := in.state
		st.fetched = nil
		request, body := bytes.Clone(in.arena.block(stack[0])), bytes.Clone(in.arena.block(stack[1]))
		in.arena.free(stack[0])
		in.arena.free(stack[1])
		door := st.call.Door
		if door == nil {
			halt(status.PermissionDenied, "capability %q is not granted", abi.CapHTTP)
		}
		var failed error
		in.outside(in.wait, len(request)+len(body), func(ctx context.Context) { st.fetched, failed = door.Fetch(ctx, request, body) })
		if failed != nil {
			panic(&stop{failed})
		}
		in.charge(int64(len(st.fetched.Body)) * doorFuelPerByte)
		stack[0] = in.arena.put(in, st.fetched.Body)
	})
	export(b, "http_status_code", nil, types(i32), func(in *instance, _ api.Module, stack []uint64) {
		stack[0] = 0
		if f := in.state.fetched; f != nil {
			stack[0] = uint64(uint32(f.Status))
		}
	})
	export(b, "http_headers", nil, types(i64), func(in *instance, _ api.Module, stack []uint64) {
		headers := json.RawMessage("{}")
		if f := in.state.fetched; f != nil {
			headers = f.Headers
		}
		in.state.worked(len(headers))
		stack[0] = in.arena.put(in, headers)
	})
}

// used returns the fuel that the call has used so far.
func (in *instance) used() int64 { return in.state.granted - int64(in.fuel.Get()) }
