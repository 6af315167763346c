package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/experimental/sysfs"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Door does for a guest what reaches beyond its call. Its functions run on the guest's
// goroutine; their context ends at the call's deadline, when the caller leaves or when
// the sandbox closes, and they have to end with it. Errors go to the guest as far as
// they are public.
type Door interface {
	// Do serves every capability but emit, interrupt and context. The request
	// is Do's own; it may be any bytes.
	Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error)
	// Fetch is Extism's http_request: a request in Extism's JSON, and a body.
	Fetch(ctx context.Context, request, body []byte) (*Fetched, error)
}

// Fetched is what Extism's HTTP functions give a guest.
type Fetched struct {
	Status  int
	Headers json.RawMessage // an object of strings
	Body    []byte
}

// Mount is a file system at a path of the guest's.
type Mount struct {
	Path string
	FS   sys.FS
}

// files makes mounts a part of an instance's configuration.
func files(mounts []Mount) wazero.FSConfig {
	config := wazero.NewFSConfig()
	for _, m := range mounts {
		config = config.(sysfs.FSConfig).WithSysFSMount(m.FS, m.Path) // wazero's own way to it
	}
	return config
}

// MaxRequestBytes bounds what a guest hands to a capability.
const MaxRequestBytes = 8 << 20

// What a capability costs in fuel, beside the time that it takes: a guest that has the
// host work for it can't do so for ever.
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

// outside runs work of the host that may block.
func (in *instance) outside(request int, work func(ctx context.Context)) {
	st := in.state
	st.check()
	in.charge(doorFuel + int64(request)*doorFuelPerByte)
	st.leave() // whoever answers may be slow
	ctx, cancel := context.WithDeadline(st.ctx, st.deadline)
	defer cancel()
	defer context.AfterFunc(in.module.sandbox.life, cancel)()
	began := time.Now()
	work(ctx)
	st.lane.back(began)
	st.check() // what took too long is no answer
}

// ask hands a request out of the sandbox and returns the reply.
func (in *instance) ask(c abi.Capability, request []byte) []byte {
	door := in.state.call.Door
	switch {
	case door == nil:
		return abi.ErrorReply(status.Publicf(status.PermissionDenied, "capability %q is not granted", c))
	case len(request) > MaxRequestBytes:
		return abi.ErrorReply(status.Publicf(status.InvalidArgument, "%s: a request of %d bytes exceeds the limit of %d", c, len(request), MaxRequestBytes))
	}
	var reply []byte
	in.outside(len(request), func(ctx context.Context) {
		request := bytes.Clone(request)
		work := func() (json.RawMessage, error) { return door.Do(ctx, c, request) }
		var value json.RawMessage
		var err error
		if c == abi.CapRun || c == abi.CapGenerate {
			value, err = in.module.aside(work) // it may call this module again
		} else {
			value, err = work()
		}
		if err != nil {
			reply = abi.ErrorReply(err)
			return
		}
		reply = abi.OKReply(value)
	})
	in.charge(int64(len(reply)) * doorFuelPerByte)
	return reply
}

// extismHTTP are Extism's own HTTP functions. What fails ends the call, as it does
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
		in.outside(len(request)+len(body), func(ctx context.Context) { st.fetched, failed = door.Fetch(ctx, request, body) })
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
