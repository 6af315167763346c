package sandbox_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
)

func TestAMemoryIsPutBackWholeWherePagesCannotBeTold(t *testing.T) {
	sandbox.WithoutSharing(t)
	m := compile(t, newSandbox(t, sandbox.Config{}), toucher(), limits())
	for _, export := range []string{"f", "g", "f", "f"} {
		_, err := m.Call(t.Context(), sandbox.Call{Export: export})
		require.NoError(t, err)
	}
}

func TestThisKernelTellsPages(t *testing.T) {
	if !sandbox.SharingWorks() {
		t.Skip("PAGEMAP_SCAN needs Linux 6.7 and /proc; memories are copied whole here")
	}
	if !sandbox.FaultsTold() {
		t.Skip("this kernel does not count a thread's page faults; it is asked for copies after each call")
	}
}
