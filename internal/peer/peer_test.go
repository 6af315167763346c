package peer_test

import (
	"fmt"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// recorder notes how a test ended instead of ending it.
type recorder struct {
	testing.TB
	skipped, failed string
}

func (*recorder) Helper()                     {}
func (r *recorder) Skipf(f string, a ...any)  { r.skipped = fmt.Sprintf(f, a...) }
func (r *recorder) Fatalf(f string, a ...any) { r.failed = fmt.Sprintf(f, a...) }

func TestAMissingPeerSkipsAtHomeAndFailsOnCI(t *testing.T) {
	t.Setenv("GENKIT_WASM_PEERS", "")
	home := &recorder{}
	peer.Missing(home, "%s is not installed", "clang")
	if home.skipped != "clang is not installed" || home.failed != "" {
		t.Errorf("at home: skipped %q, failed %q", home.skipped, home.failed)
	}

	t.Setenv("GENKIT_WASM_PEERS", "required")
	ci := &recorder{}
	peer.Missing(ci, "%s is not installed", "clang")
	if ci.failed == "" {
		t.Errorf("on CI the test did not fail (skipped %q)", ci.skipped)
	}
}
