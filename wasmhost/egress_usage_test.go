package wasmhost_test

import (
	"fmt"
	"net/http"
	"os"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// lastEvent is a sink that keeps the last event.
type lastEvent struct{ e atomic.Pointer[tenants.Event] }

func (s *lastEvent) Record(e tenants.Event) { s.e.Store(&e) }

// An event has the bytes of the bodies that the guest sent and received, and none where a request was
// refused before it left.
func TestAnEventHasTheBytesThatWentOut(t *testing.T) {
	var last lastEvent
	r := newReach(t, func(rw http.ResponseWriter, _ *http.Request) { _, _ = rw.Write([]byte("seven b")) }, func(c *wasmhost.Config) { c.Usage = &last })
	r.load(t, "")
	url := fmt.Sprintf("https://api.example.com:%d/", r.port)
	for request, want := range map[string]int64{
		`{"url":"` + url + `","method":"POST","body":"four"}`:             11,
		`{"url":"` + url + `"}`:                                           7,
		`{"url":"https://elsewhere.test/","method":"POST","body":"four"}`: 0,
	} {
		r.ask(t, "http", request)
		e := last.e.Load()
		require.NotNil(t, e)
		assert.Equal(t, want, e.EgressBytes, request)
		assert.Positive(t, e.Fuel)
		assert.Empty(t, e.Kind, "a tool")
		assert.Empty(t, e.Caller)
	}
}

// Once a tenant's guests have sent and received the bytes of a minute, nothing more goes out: what is under way
// ends at its next request, and modules that may send requests are not called, others are.
func TestEgressIsAQuota(t *testing.T) {
	var hops atomic.Int64
	r := newReach(t, func(rw http.ResponseWriter, req *http.Request) {
		if hops.Add(1); req.URL.Path == "/again" {
			http.Redirect(rw, req, "/end", http.StatusTemporaryRedirect)
			return
		}
		_, _ = rw.Write([]byte("seven b"))
	}, func(c *wasmhost.Config) { c.Quota.EgressBytesPerMinute = 1 })
	r.load(t, "")
	still, err := os.ReadFile("../examples/calc/calc.wasm")
	require.NoError(t, err)
	_, err = r.host.Load(t.Context(), tenant, wasmhost.Upload{Name: "still", Wasm: still})
	require.NoError(t, err)
	reply := r.ask(t, "http", fmt.Sprintf(`{"url":"https://api.example.com:%d/again","method":"POST","body":"four"}`, r.port))
	assert.Contains(t, reply, "the tenant has used up its egress of 1 bytes a minute")
	assert.EqualValues(t, 1, hops.Load(), "the redirect is not followed any more")
	_, err = call(t, r.host, "capabilities/http", fmt.Sprintf(`{"url":"https://api.example.com:%d/end"}`, r.port))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Positive(t, status.Convert(err).RetryAfter)
	assert.JSONEq(t, `{"quota":"egressBytesPerMinute"}`, string(status.ToWire(err, false).Details))
	assert.EqualValues(t, 1, hops.Load())
	_, err = call(t, r.host, "still/add", `{"a":1,"b":2}`)
	require.NoError(t, err, "it may send nothing, so it runs")
}
