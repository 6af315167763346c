package server_test

import (
	"bufio"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The habits of HTTP that clients and proxies count on.

func TestHeadIsAnsweredWhereGetIs(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	for _, path := range []string{"/", "/healthz", "/readyz", "/openapi.json", "/genkit-wasm.d.ts", tenant + "/modules", tenant + "/modules/calc", tenant + "/modules/calc/versions", tenant + "/actions", tenant + "/usage", tenant, tenant + "/budget", "/v1/tenants", "/v1/operations"} {
		get, head := w.do(http.MethodGet, path, nil), w.do(http.MethodHead, path, nil)
		assert.Equal(t, get.status, head.status, path)
		assert.Equal(t, get.header.Get("Content-Type"), head.header.Get("Content-Type"), path)
		assert.Empty(t, head.body, path)
	}
	assert.Equal(t, http.StatusNotFound, w.do(http.MethodHead, tenant+"/modules/none", nil).status)
}

func TestTheRootShowsTheWay(t *testing.T) {
	w := newWorld(t, nil)
	r := w.do(http.MethodGet, "/", nil)
	assert.Contains(t, r.body, `"path":"/openapi.json"`)
	page := w.do(http.MethodGet, "/", nil, "Accept: text/html,application/xhtml+xml")
	assert.Contains(t, page.header.Get("Content-Type"), "text/html")
	for path := range strings.SplitSeq(page.body, "href=\"") {
		if path, _, ok := strings.Cut(path, "\""); ok && strings.HasPrefix(path, "/") {
			assert.Equal(t, http.StatusOK, w.do(http.MethodGet, path, nil).status, path)
		}
	}
}

func TestARevisionMayBeWrittenWithAPoint(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	for _, revision := range []string{"1", "1.0", "1e0", "10e-1"} {
		assert.Equal(t, http.StatusOK, w.post("/modules/calc/rollback", `{"revision":`+revision+`}`).status, revision)
	}
	for _, revision := range []string{"1.5", "0", "-1", "1e300", `"1"`, "null", "true", "[1]"} {
		assert.Equal(t, http.StatusBadRequest, w.post("/modules/calc/rollback", `{"revision":`+revision+`}`).status, revision)
	}
}

func TestAcceptSaysNoWithAQualityOfZero(t *testing.T) {
	w := newWorld(t, nil)
	for accept, stream := range map[string]bool{
		"text/event-stream": true, "Text/Event-Stream;q=0.1": true, "application/json, text/event-stream; q=0.5": true,
		"text/event-stream;q=0": false, "text/event-stream; charset=utf-8; q=0.000": false, "application/json": false, "*/*": false,
		"text/event-streams": false,
	} {
		r := w.post("/tools/native/pretty", `{}`, "Accept: "+accept)
		assert.Equal(t, stream, r.header.Get("Content-Type") == "text/event-stream", accept)
	}
}

func TestAnEncodedBodyIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	for coding, want := range map[string]int{"gzip": 415, "br": 415, "gzip, identity": 415, "identity": 200, "Identity": 200} {
		r := w.post("/tools/native/pretty", `{}`, "Content-Encoding: "+coding)
		assert.Equal(t, want, r.status, coding)
	}
	assert.Contains(t, w.put("calc", calc(t), "Content-Encoding: gzip").problem(t).Detail, `Content-Encoding is "gzip"`)
}

// Of a header that comes twice, a proxy may have gone by the one and the server by the other.
func TestWhatABodyIsIsSaidOnce(t *testing.T) {
	w := newWorld(t, nil)
	for name, values := range map[string][]string{"Content-Type": {"application/json", "text/plain"}, "Content-Encoding": {"identity", "gzip"}} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+tenant+"/tools/native/pretty", strings.NewReader(`{}`))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header[name] = values
		resp, err := w.Client().Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusUnsupportedMediaType, resp.StatusCode, name)
	}
}

// TestAStreamThatHasNothingToSayBegins reads the headers of a run that never emits, and the comments that were asked for.
func TestAStreamThatHasNothingToSayBegins(t *testing.T) {
	w := newWorld(t, nil)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, w.URL+tenant+"/tools/native/silent?stream=true&heartbeat=1", strings.NewReader(`{}`))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	resp, err := w.Client().Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	assert.Equal(t, "text/event-stream", resp.Header.Get("Content-Type"))
	lines := bufio.NewScanner(resp.Body)
	for range 2 {
		require.True(t, lines.Scan(), "the stream ended: %v", lines.Err())
		assert.Equal(t, ": heartbeat", lines.Text())
		require.True(t, lines.Scan())
		assert.Empty(t, lines.Text())
	}
	for _, bad := range []string{"0", "61", "x", ""} {
		assert.Equal(t, http.StatusBadRequest, w.post("/tools/native/silent?stream=true&heartbeat="+bad, `{}`).status, bad)
	}
}

func TestABodyWithAKeyTwiceIsRefused(t *testing.T) {
	w := newWorld(t, nil)
	for path, body := range map[string]string{
		"/tools/native/pretty":  `{"input":1,"input":2}`,
		"/tools/native/private": `{"input":{"a":1,"\u0061":2}}`,
		"/generate":             `{"model":"a","messages":[],"model":"b"}`,
	} {
		assert.Contains(t, w.post(path, body).problem(t).Detail, "same key twice", path)
	}
	flow := w.post("/flows/menu/suggest", `{"data":1,"data":2}`)
	assert.Equal(t, http.StatusBadRequest, flow.status, flow.body)
	assert.Equal(t, http.StatusBadRequest, w.post("/tools/native/pretty", `{"Input":1}`).status)
}
