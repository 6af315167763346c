package kv_test

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

// A report on one tenant takes as long as its own modules need, however many other tenants there are: a scrape of
// the metrics and a start ask for one of each tenant.
func TestAReportLooksAtItsOwnTenant(t *testing.T) {
	store := kv.NewMemory(nil)
	set := func(tenant, module string) {
		require.NoError(t, store.Set(t.Context(), kv.Namespace{Tenant: tenant, Module: module}, "k", json.RawMessage(`1`), kv.SetOptions{}, kv.Quota{Keys: 9, Bytes: 999, ValueBytes: 99}))
	}
	quickest := func() time.Duration {
		best := time.Hour
		for range 100 {
			began := time.Now()
			store.Report("acme")
			best = min(best, time.Since(began))
		}
		return max(best, time.Microsecond) // what a clock can tell
	}
	set("acme", "one")
	set("acme", "two")
	alone := quickest()
	const others = 50_000
	for i := range others {
		set(fmt.Sprint("tenant", i), "m")
	}
	assert.EqualValues(t, 2, store.Report("acme").Keys)
	beside := quickest()
	assert.Less(t, beside, 50*alone, "it takes %v alone, and %v beside %d others", alone, beside, others)
	require.NoError(t, store.Drop(t.Context(), kv.Namespace{Tenant: "acme", Module: "one"}))
	assert.EqualValues(t, 1, store.Report("acme").Keys)
	set("acme", "one")
	assert.EqualValues(t, 2, store.Report("acme").Keys, "dropped and set again")
}
