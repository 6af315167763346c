package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// slow is a body that begins and does not end until it is let go.
type slow struct {
	head  io.Reader
	begun chan struct{}
	once  sync.Once
	end   chan struct{}
}

func (s *slow) Read(p []byte) (int, error) {
	if n, err := s.head.Read(p); err == nil {
		return n, nil
	}
	s.once.Do(func() { close(s.begun) })
	<-s.end
	return 0, io.EOF
}

// Uploads that dawdle hold no place before the compiler, and of one tenant only a few
// may.
func TestSlowUploadsDoNotHoldUpOthers(t *testing.T) {
	world := newWorld(t, nil)
	end := make(chan struct{})
	var wg sync.WaitGroup
	for i := range 7 {
		body := &slow{head: bytes.NewReader(calc(t)[:100]), begun: make(chan struct{}), end: end}
		wg.Go(func() {
			r := world.do(http.MethodPut, fmt.Sprintf("%s/modules/slow%d", tenant, i), body, wasmType)
			// On a slow machine the body's own time is over before the test is.
			assert.Contains(t, []int{http.StatusBadRequest, http.StatusRequestTimeout}, r.status, "a module that is cut short is refused: %s", r.body)
		})
		<-body.begun
	}
	created := world.put("calc", calc(t))
	require.Equal(t, http.StatusCreated, created.status, created.body)

	body := &slow{head: bytes.NewReader(calc(t)[:100]), begun: make(chan struct{}), end: end}
	wg.Go(func() { world.do(http.MethodPut, tenant+"/modules/slow7", body, wasmType) })
	<-body.begun
	var refused reply
	require.Eventually(t, func() bool { // the eighth may not have got to the server yet
		refused = world.put("calc", calc(t))
		return refused.status == http.StatusTooManyRequests
	}, 30*time.Second, 10*time.Millisecond)
	assert.Equal(t, "RESOURCE_EXHAUSTED", refused.problem(t).StatusName)
	assert.NotEmpty(t, refused.header.Get("Retry-After"))
	close(end)
	wg.Wait()
	assert.Equal(t, http.StatusOK, world.put("calc", calc(t)).status)
}

// A module beyond what is kept in memory goes through a file, whole.
func TestABigModuleArrivesWhole(t *testing.T) {
	world := newWorld(t, nil)
	big := append(calc(t), w.Custom("padding", bytes.Repeat([]byte("0123456789abcdef"), 40_000))...)
	created := world.put("calc", big)
	require.Equal(t, http.StatusCreated, created.status, created.body)
	assert.Equal(t, len(big), record(t, created).Size)
	assert.JSONEq(t, `{"result":{"sum":3}}`, world.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`).body)
	body, kind := form(t, "module", string(big), "policy", `{"limits":{"timeoutMs":900}}`)
	assert.Equal(t, http.StatusCreated, world.do(http.MethodPut, tenant+"/modules/calc", body, kind).status)
}

func TestAVersionNamesItsBytesForEver(t *testing.T) {
	world := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, world.put("calc", calc(t)).status)
	r := world.put("calc", append(calc(t), w.Custom("more", []byte("x"))...))
	require.Equal(t, http.StatusConflict, r.status, r.body)
	p := r.problem(t)
	assert.Equal(t, "ALREADY_EXISTS", p.StatusName)
	assert.True(t, strings.Contains(p.Detail, "with other bytes") && strings.Contains(p.Detail, "raise the version"), p.Detail)
	assert.Equal(t, 1, record(t, world.do(http.MethodGet, tenant+"/modules/calc", nil)).Revision)
}

// A client that waited for "100 Continue" gets to read why its upload was refused half way, although
// it has more to send. What is refused here lacks the folder for temporary files.
func TestAnUploadThatIsRefusedHalfWayIsAnswered(t *testing.T) {
	world := newWorld(t, nil)
	t.Setenv("TMPDIR", "/proc/none")
	transport := &http.Transport{ExpectContinueTimeout: time.Minute}
	defer transport.CloseIdleConnections()
	for range 20 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, world.URL+tenant+"/modules/big", bytes.NewReader(make([]byte, 8<<20)))
		require.NoError(t, err)
		r.Header.Set("Content-Type", "application/wasm")
		r.Header.Set("Expect", "100-continue")
		resp, err := transport.RoundTrip(r)
		require.NoError(t, err)
		text, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
		assert.Contains(t, string(text), "the server's temporary folder is not there")
	}
}
