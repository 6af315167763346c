package wasmhost_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// logging writes 100 lines of 4,096 quotes.
func logging() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("iii", "")),
		w.Imports(w.ImportFunc("genkit_v1", "log", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("i", // the count is the local
			0x03, 0x40, // loop
			0x41, 4, 0x41, 0, 0x41, 0x80, 0x20, 0x10, 0, // log(4, 0, 4096)
			0x20, 0, 0x41, 1, 0x6a, 0x22, 0, // count++
			0x41, 0xe4, 0, 0x48, 0x0d, 0, // again when less than 100
			0x0b, 0x41, 0)),
		w.Section(w.SecData, w.Vec(append([]byte{0, 0x41, 0, 0x0b, 0x80, 0x20}, bytes.Repeat([]byte{'"'}, 4096)...))))
}

// safeBuffer is written from several goroutines.
type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *safeBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *safeBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// A request of 14 bytes wrote up to 1.65 MB into the server's log, as often as anybody
// called.
func TestWhatATenantLogsIsBound(t *testing.T) {
	var out safeBuffer
	h, err := wasmhost.New(t.Context(), inMode(wasmhost.Config{Logger: slog.New(slog.NewJSONHandler(&out, nil))}))
	require.NoError(t, err)
	_, err = h.Load(t.Context(), tenant, wasmhost.Upload{Name: "loud", Wasm: logging(), Descriptor: []byte(`{"abi":"genkit/1","name":"loud","tools":[{"name":"f"}]}`)})
	require.NoError(t, err)
	for range 20 {
		_, err := call(t, h, "loud/f", `null`)
		require.NoError(t, err)
	}
	usage, err := h.Usage(tenant)
	require.NoError(t, err)
	require.NotNil(t, usage.Log)
	written := strings.Count(out.String(), `"msg":"guest"`)
	assert.EqualValues(t, 20*100, int64(written)+usage.Log.Lines)
	assert.Less(t, len(out.String()), 3<<20, "of 16 MB: a burst, and what came in meanwhile")
	assert.Greater(t, written, 200)
	assert.Equal(t, 1, strings.Count(out.String(), "log more than they may"))
	require.NoError(t, h.Close(t.Context()))
	assert.Equal(t, 1, strings.Count(out.String(), "were dropped"), "its end is told when the host closes")
}
