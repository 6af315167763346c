package durabletest_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable/durabletest"
)

// A manager with little room passes as well: nothing in the kit asks for more than the
// contract promises.
func TestTheKitAsksForLittle(t *testing.T) {
	durabletest.Run(t, func(t *testing.T) durable.Manager {
		m := durable.NewMemory(durable.MemoryConfig{MaxStreams: 2, MaxStreamBytes: 256 << 10, MaxBytes: 512 << 10})
		t.Cleanup(m.Close)
		return m
	})
}
