package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

type workKey struct{}

// CountWork returns a context under which [Work] adds to the count, in nanoseconds.
func CountWork(ctx context.Context) (context.Context, *atomic.Int64) {
	count := &atomic.Int64{}
	return context.WithValue(ctx, workKey{}, count), count
}

// Work tells that the host has worked for so long for the guest that waits for its [Next],
// which counts as the guest's time; waiting for what it has asked for does not.
func Work(ctx context.Context, d time.Duration) {
	if count, ok := ctx.Value(workKey{}).(*atomic.Int64); ok {
		count.Add(int64(max(0, d)))
	}
}

// nextFuelPerByte is the price of a byte of a request or answer of next: both are
// decoded, compared and encoded again, which takes 30 to 350 ns for each byte.
const nextFuelPerByte = 256

// MaxNexts is how often a call may continue the chain.
const MaxNexts = 64

// next serves the capability next. The guest waits meanwhile, and that time does not count against its
// limit, because the chain may call a model, or the same module again. The host's own work on request and
// answer does; see [Work].
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
	request = bytes.Clone(request)
	in.charge(doorFuel + int64(len(request))*nextFuelPerByte)
	var value json.RawMessage
	var err error
	in.wait(func() {
		began := time.Now()
		ctx, cancel := context.WithCancel(st.ctx)
		defer cancel()
		defer context.AfterFunc(in.module.sandbox.life, cancel)()
		ctx, worked := CountWork(ctx)
		value, err = st.call.Next(ctx, request)
		st.deadline = st.deadline.Add(max(0, time.Since(began)-time.Duration(worked.Load())))
	})
	in.charge(int64(len(value)) * nextFuelPerByte)
	if err != nil {
		return abi.ErrorReply(err)
	}
	if len(value) > st.limits.InputBytes {
		return abi.ErrorReply(status.Publicf(status.ResourceExhausted, "next: an answer of %d bytes exceeds the limit of %d", len(value), st.limits.InputBytes))
	}
	return abi.OKReply(value)
}
