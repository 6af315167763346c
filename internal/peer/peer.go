// Package peer decides about a test when a program that it needs from outside
// (a compiler, Node, Genkit's own packages, a folder of specifications) is not
// there: it is skipped on a developer's machine and fails on CI, where a skipped
// test would pass for a proof.
//
//	if _, err := exec.LookPath("wasm-ld"); err != nil {
//		peer.Missing(tb, "wasm-ld is not installed")
//	}
package peer

import (
	"os"
	"testing"
)

// Required reports whether a missing peer is a failure: the environment variable
// GENKIT_WASM_PEERS is "required".
func Required() bool {
	return os.Getenv("GENKIT_WASM_PEERS") == "required"
}

// Missing ends the test, benchmark or fuzz target with the reason: as skipped, or
// as failed where peers are [Required]. The arguments are those of fmt.Sprintf.
func Missing(tb testing.TB, format string, args ...any) {
	tb.Helper()
	if Required() {
		tb.Fatalf("a peer is missing, and GENKIT_WASM_PEERS requires them all: "+format, args...)
	}
	tb.Skipf(format, args...)
}
