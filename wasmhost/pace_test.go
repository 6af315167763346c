package wasmhost

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// On a machine of two processors one check that takes long works at a time; it hands its
// place to the other tenant's each time it pauses.
func TestChecksThatTakeLongTakeTurns(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2))
	h, err := New(t.Context(), Config{Tenants: map[string]TenantConfig{"acme": {}}})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.Background())) }()
	mine, theirs := &checkPacer{queue: h.tenants[DefaultTenant].checks}, &checkPacer{queue: h.tenants["acme"].checks}
	require.NoError(t, mine.Pause(t.Context()))

	gone, leave := context.WithTimeout(t.Context(), time.Millisecond)
	defer leave()
	require.Error(t, theirs.Pause(gone), "mine works")

	turn := make(chan error, 1)
	go func() { turn <- theirs.Pause(t.Context()) }()
	require.Eventually(t, func() bool { return h.tenants["acme"].checks.Load().Queued == 1 }, 10*time.Second, time.Millisecond)
	again := make(chan error, 1)
	go func() { again <- mine.Pause(t.Context()) }()
	require.NoError(t, <-turn, "mine has paused")
	assert.Empty(t, again, "and waits for its next turn")
	theirs.End()
	require.NoError(t, <-again)
	mine.End()
	for _, tenant := range []string{DefaultTenant, "acme"} {
		assert.Zero(t, h.tenants[tenant].checks.Load().Running)
	}
}

func TestOnlyTheChecksOfATenantArePaced(t *testing.T) {
	h, err := New(t.Context(), Config{})
	require.NoError(t, err)
	defer func() { require.NoError(t, h.Close(context.Background())) }()
	assert.NotEqual(t, t.Context(), h.Pace(t.Context(), DefaultTenant))
	assert.Equal(t, t.Context(), h.Pace(t.Context(), "nobody"))
}
