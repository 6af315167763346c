package kvtest_test

import (
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv/kvtest"
)

// The kit passes a store that is right; kv's own tests run it on all of them.
func TestTheKit(t *testing.T) {
	kvtest.Run(t, func(_ *testing.T, now func() time.Time) kv.Store { return kv.NewMemory(now) })
}
