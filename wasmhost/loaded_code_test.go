package wasmhost_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// The first code of a tenant may wait for the engine to be compiled. Nobody waits longer for that than they may.
func TestNobodyIsHeldByTheFirstCodeOfATenant(t *testing.T) {
	code := wasmhost.NewCodeGuest()
	began, goOn, first := make(chan struct{}), make(chan struct{}), make(chan error)
	go func() {
		first <- code.Of(context.WithoutCancel(t.Context()), func() error {
			close(began)
			<-goOn
			return nil
		})
	}()
	<-began
	ctx, leave := context.WithCancel(t.Context())
	leave()
	never := func() error {
		t.Error("two make it")
		return nil
	}
	require.ErrorIs(t, code.Of(ctx, never), status.ErrCancelled, "who leaves does not wait")

	code.Close() // of the tenant: it does not wait either
	assert.ErrorIs(t, code.Of(t.Context(), never), status.ErrUnavailable)
	close(goOn)
	assert.ErrorIs(t, <-first, status.ErrUnavailable, "what is ready too late is not used")
}

func TestTheCodeOfATenantIsMadeOnce(t *testing.T) {
	code := wasmhost.NewCodeGuest()
	made := 0
	make1 := func() error { made++; return nil }
	require.ErrorIs(t, code.Of(t.Context(), func() error { return status.Errorf(status.Unavailable, "not now") }), status.ErrUnavailable)
	require.NoError(t, code.Of(t.Context(), make1))
	require.NoError(t, code.Of(t.Context(), make1))
	assert.Equal(t, 1, made)
}
