package wasmhost

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
)

// intercepted is what a guest may ask of the host, with somebody in between.
type intercepted struct {
	*services.Call
	by intercept.Interceptor
}

var _ sandbox.Door = intercepted{}

// interceptor returns call with the interceptor in it that ctx names for it, and the function to tell of its end.
func interceptor(ctx context.Context, kind, name string, call *sandbox.Call, calls *services.Call) (ended func(*sandbox.Result, int64, error)) {
	by := intercept.For(ctx, intercept.Call{Kind: kind, Name: name, Input: call.Input})
	if by == nil {
		return func(*sandbox.Result, int64, error) {}
	}
	call.Door, call.Sources = intercepted{calls, by}, by
	logged, emit := call.Log, call.Emit
	call.Log = func(level sandbox.Level, line string) {
		by.Line(slogLevel(level), line)
		logged(level, line)
	}
	call.Emit = func(chunk json.RawMessage) error {
		by.Chunk(chunk)
		if emit == nil {
			return nil
		}
		return emit(chunk)
	}
	profiler, profiles := by.(intercept.Profiler)
	if profiles {
		call.Profile = &sandbox.Profile{}
	}
	profile := call.Profile
	return func(res *sandbox.Result, fuel int64, err error) {
		if profiles {
			profiler.Profile(profileOf(profile))
		}
		o := intercept.Outcome{Err: err, Fuel: fuel}
		if res != nil {
			o.Output, o.Interrupted, o.Interrupt = res.Output, res.Interrupted, res.Interrupt
		}
		by.End(o)
	}
}

// Do implements [sandbox.Door].
func (i intercepted) Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	return i.by.Ask(ctx, c, request, func(ctx context.Context) (json.RawMessage, error) { return i.Call.Do(ctx, c, request) })
}

// Fetch implements [sandbox.Door].
func (i intercepted) Fetch(ctx context.Context, request, body []byte) (*sandbox.Fetched, error) {
	f, err := i.by.Fetch(ctx, request, body, func(ctx context.Context) (*intercept.Fetched, error) {
		f, err := i.Call.Fetch(ctx, request, body)
		return (*intercept.Fetched)(f), err
	})
	return (*sandbox.Fetched)(f), err
}

func profileOf(p *sandbox.Profile) (out intercept.Profile) {
	for _, n := range p.Nodes {
		out.Nodes = append(out.Nodes, intercept.Node{Parent: int(n.Parent), Function: n.Function, Calls: n.Calls, Fuel: n.Fuel})
	}
	for _, f := range p.Trace {
		out.Trace = append(out.Trace, intercept.Frame(f))
	}
	return out
}
