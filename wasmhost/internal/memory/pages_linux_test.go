package memory_test

import (
	"testing"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
)

func TestThisKernelTellsPages(t *testing.T) {
	if !memory.SharingWorks() {
		t.Skip("PAGEMAP_SCAN needs Linux 6.7 and /proc; memories are copied whole here")
	}
	if !memory.FaultsTold() {
		t.Skip("this kernel does not count a thread's page faults; it is asked for copies after each call")
	}
}
