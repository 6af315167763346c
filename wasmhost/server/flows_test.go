package server_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

func TestFlowStreamsAreKeptForTheirTenant(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	w := newWorld(t, func(c *server.Config) { c.FlowStreams = m })
	r := w.post("/flows/menu/suggest", `{"data":5}`, sse)
	id := "X-Genkit-Stream-Id: " + r.header.Get("X-Genkit-Stream-Id")
	assert.Len(t, id, len("X-Genkit-Stream-Id: ")+36)
	assert.Equal(t, r.body, w.post("/flows/menu/suggest", ``, sse, id).body, "read again")
	other := w.do(http.MethodPost, "/v1/tenants/acme/flows/menu/suggest", strings.NewReader(`{}`), jsonType, sse, id)
	assert.Equal(t, http.StatusNoContent, other.status, "another tenant has no such stream")
	assert.Equal(t, http.StatusNoContent, w.post("/flows/breaks", `{}`, sse, id).status, "nor has another flow")
}

func TestFlowsKnowTheirCallers(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.FlowContext = []contextprovider.Provider{contextprovider.APIKey("s3cret")} })
	assert.Equal(t, http.StatusUnauthorized, w.post("/flows/menu/suggest", `{}`).status)
	assert.Equal(t, http.StatusForbidden, w.post("/flows/menu/suggest", `{}`, "Authorization: x").status)
	assert.Equal(t, http.StatusOK, w.post("/flows/menu/suggest", `{}`, "Authorization: s3cret").status)
}

func TestCloseEndsFlowsThatAreKept(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	w := newWorld(t, func(c *server.Config) { c.FlowStreams = m })
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	answered := make(chan reply, 1)
	go func() { answered <- w.post("/flows/waits", `{}`, sse) }()
	<-w.waiting
	require.ErrorIs(t, w.api.Close(ctx), context.DeadlineExceeded)
	assert.Contains(t, (<-answered).body, `"status":"UNAVAILABLE"`)
	assert.Equal(t, http.StatusServiceUnavailable, w.post("/flows/menu/suggest", `{}`).status)
}

func TestPagesOfTrustedOriginsMayCallFlows(t *testing.T) {
	w := newWorld(t, func(c *server.Config) { c.TrustedOrigins = []string{"https://app.example"} })
	ask := func(path, origin string) reply {
		return w.do(http.MethodOptions, tenant+path, nil, "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
	}
	r := ask("/flows/menu/suggest", "https://app.example")
	assert.Equal(t, http.StatusNoContent, r.status)
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	r = w.post("/flows/menu/suggest", `{}`, "Origin: https://app.example", "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusOK, r.status)
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	for _, r := range []reply{ask("/flows/menu/suggest", "https://evil.example"), ask("/tools/native/asks", "https://app.example")} {
		assert.Empty(t, r.header.Get("Access-Control-Allow-Origin")) // Echo says which methods there are, and no more
	}
	assert.Equal(t, http.StatusForbidden, w.post("/flows/menu/suggest", `{}`, "Origin: https://evil.example").status)
}
