package tenant_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestWhoWaitsForBytesGetsThem(t *testing.T) {
	all := tenant.NewBytes(1000)
	a, b := all.Join(500), all.Join(1000)
	got, err := a.Wait(t.Context(), 10_000)
	require.NoError(t, err)
	assert.EqualValues(t, 500, got, "more than it may ever have counts as all that it may")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = a.Wait(over, 1)
	require.ErrorIs(t, err, context.Canceled)
	_, err = b.Wait(over, 400)
	require.ErrorIs(t, err, context.Canceled, "the last eighth is for those who hold little")
	few, err := b.Wait(t.Context(), 15)
	require.NoError(t, err)
	assert.EqualValues(t, 15, few)
	b.Give(few)
	done := make(chan int64)
	for range 2 {
		go func() {
			n, _ := b.Wait(t.Context(), 400)
			done <- n
		}()
	}
	a.Give(got)
	assert.EqualValues(t, 400, <-done)
	assert.EqualValues(t, 400, <-done)
	b.Give(800)
	assert.Zero(t, a.Used()+b.Used())
}
