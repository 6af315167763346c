package wasmhost_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
