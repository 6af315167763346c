package sandbox

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// TestADroppedStateKeepsNothing: the state of a call serves another one, perhaps of another tenant.
func TestADroppedStateKeepsNothing(t *testing.T) {
	slots := make(chan struct{}, 1)
	call := func(use func(st *state)) *state {
		st := &state{ctx: context.Background(), call: Call{Input: []byte("secret"), Export: "add"}, output: []byte("secret"), errorText: []byte("secret")}
		st.own.Init(slots, nil)
		st.slot = &st.own
		require.True(t, st.slot.TryTake())
		st.run = share.NewRun(share.NewProcessors(), &share.Load{}, time.Now())
		use(st)
		st.run.End()
		st.drop()
		require.Empty(t, slots, "the slot is free again")
		return st
	}
	require.Equal(t, state{}, *call(func(*state) {}))

	// A timer may fire late and would give up a later call's slot: a state that has had one is not used again.
	timed := call(func(st *state) {
		st.slot.LeaveAfter(time.Hour)
		st.slot.Stay()
	})
	require.Equal(t, "add", timed.call.Export)
}
