package worker

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// slowDoor is a host whose answers take their time.
type slowDoor struct{ sandbox.Door }

func (slowDoor) Do(ctx context.Context, _ abi.Capability, _ []byte) (json.RawMessage, error) {
	select {
	case <-ctx.Done():
	case <-time.After(20 * time.Millisecond):
	}
	return json.RawMessage("null"), nil
}

// A worker that keeps the server busy is given up at the time at which it would have been:
// what it has the server do does not count, and gains it nothing.
func TestAskingGainsAWorkerNoTime(t *testing.T) {
	w, _, state := connected(t, nil)
	limits := sandbox.Limits{Timeout: time.Second, InputBytes: 1 << 10}
	state.module.source.Mounts, state.module.source.Limits = nil, limits
	c := &conversation{w: w, module: state.module, call: &sandbox.Call{Door: slowDoor{}}, state: state}
	c.patience(&limits, time.Now().Add(-20*time.Second)) // most of it is over
	until := state.patience.Load()
	var file writer
	(&fileRequest{op: fileStat, name: "a"}).write(&file)
	var ask writer
	(&hostMessage{op: hostFile, request: file.b}).write(&ask)
	for range 100 {
		require.NoError(t, c.answer(t.Context(), ask.b))
	}
	assert.Equal(t, until, state.patience.Load(), "operations on files are the guest's time")
	ask = writer{}
	(&hostMessage{op: hostDo, capability: abi.CapKVGet, left: time.Second}).write(&ask)
	require.NoError(t, c.answer(t.Context(), ask.b))
	waited := time.Duration(state.patience.Load() - until)
	assert.GreaterOrEqual(t, waited, 20*time.Millisecond, "what the host has waited for is not")
	assert.Less(t, waited, 10*time.Second)
}
