package wasi_test

import (
	"crypto/rand"
	"io"
	"testing"
	"time"

	expsys "github.com/tetratelabs/wazero/experimental/sys"
	"github.com/tetratelabs/wazero/sys"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// testHost is a host that counts.
type testHost struct {
	out    map[int32]io.Writer
	fuel   int64 // charged so far
	moved  int64 // told as moved so far
	slept  []time.Duration
	yields int
	// limit ends the guest when it has used so much fuel; 0 is none.
	limit int64
	// fake sleeps take no time.
	fake bool
}

var _ wasi.Host = (*testHost)(nil)

func (h *testHost) Charge(units int64) {
	if units < 0 {
		panic("a negative charge")
	}
	if h.fuel += units; h.limit > 0 && h.fuel > h.limit {
		panic(sys.NewExitError(outOfFuel))
	}
}

const outOfFuel = 4711

func (h *testHost) Worked(bytes int) { h.moved += int64(bytes) }

func (h *testHost) Print(fd int32, text []byte) {
	if w := h.out[fd]; w != nil {
		_, _ = w.Write(text)
	}
}

func (h *testHost) Random(p []byte) error { _, err := rand.Read(p); return err }

func (h *testHost) Clock(_ uint32, now int64) int64 { return now }

func (h *testHost) Sleep(d time.Duration) {
	h.slept = append(h.slept, d)
	if !h.fake {
		time.Sleep(d) // the guest's request
	}
}

func (h *testHost) Yield() { h.yields++ }

func (h *testHost) FS(m *wasi.Mount) expsys.FS { return m.FS }

func (h *testHost) Exit(code uint32) { panic(sys.NewExitError(code)) }
