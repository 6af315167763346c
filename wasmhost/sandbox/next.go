package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Next continues what a middleware wraps: request and answer are those of the hook. It
// may take as long as its caller allows, and has to end with ctx. Errors go to the
// guest as far as they are public.
type Next func(ctx context.Context, request []byte) (json.RawMessage, error)

// MaxNexts is how often a call may continue the chain.
const MaxNexts = 64

// next runs what the guest wraps. While it does, the guest neither counts as one of the
// calls that the module may serve at a time nor spends its time limit: what it waits for
// may be a model, or another call of the same module.
func (in *instance) next(request []byte) []byte {
	st := in.state
	switch {
	case st.call.Next == nil:
		return abi.ErrorReply(status.Publicf(status.FailedPrecondition, "there is nothing to continue: only a middleware's hook has a next"))
	case len(request) > st.limits.InputBytes:
		return abi.ErrorReply(status.Publicf(status.InvalidArgument, "next: a request of %d bytes exceeds the limit of %d", len(request), st.limits.InputBytes))
	}
	if st.nexts++; st.nexts > MaxNexts {
		halt(status.ResourceExhausted, "the module continued the chain more than %d times", MaxNexts)
	}
	st.leave()
	request = bytes.Clone(request)
	began := time.Now()
	ctx, cancel := context.WithCancel(st.ctx)
	stop := context.AfterFunc(in.module.sandbox.life, cancel)
	value, err := in.module.aside(func() (json.RawMessage, error) { return st.call.Next(ctx, request) })
	stop()
	cancel()
	st.deadline = st.deadline.Add(time.Since(began))
	st.lane.back(began)
	st.check()
	if err != nil {
		return abi.ErrorReply(err)
	}
	if len(value) > st.limits.InputBytes {
		return abi.ErrorReply(status.Publicf(status.ResourceExhausted, "next: an answer of %d bytes exceeds the limit of %d", len(value), st.limits.InputBytes))
	}
	return abi.OKReply(value)
}

// aside gives the call's slot to others while work runs.
func (m *Module) aside(work func() (json.RawMessage, error)) (json.RawMessage, error) {
	<-m.slots
	// Those who hold the slots hold them for their time limit at most, so that this
	// ends; the call gives its slot back itself, whatever happens here.
	defer func() { m.slots <- struct{}{} }()
	return work()
}
