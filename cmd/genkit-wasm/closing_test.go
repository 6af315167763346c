package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Requests whose bodies are still arriving when the server closes are answered with 503 and when to come back, and hold it no longer
// than its patience.
func TestABodyThatArrivesWhenTheServerClosesIsAnswered(t *testing.T) {
	url, _, _, stop := start(t, t.TempDir(), "--drain-timeout", "10ms")
	require.Equal(t, exitOK, cli(t, "upload", calcFile, "--server", url).exit)
	const tenant, form = "/v1/tenants/default", "multipart/form-data; boundary=B"
	open := map[string]*bufio.Reader{}
	for request, kind := range map[string]string{
		"PUT " + tenant + "/modules/raw": "application/wasm", "PUT " + tenant + "/modules/script": "text/typescript", "PUT " + tenant + "/modules/pack": "application/gzip",
		"PUT " + tenant + "/modules/form": form, "POST " + tenant + "/modules/calc/rollback": "application/json", "POST " + tenant + "/tools/calc/add": "application/json",
		"POST " + tenant + "/generate": "application/json", "POST /v1/tenants": "application/json",
		"PATCH " + tenant: "application/merge-patch+json",
	} {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
		require.NoError(t, err)
		defer c.Close()
		require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
		// The server asks for the body when it begins to read it.
		_, err = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: localhost\r\nContent-Type: %s\r\nContent-Length: 60000\r\n%sExpect: 100-continue\r\n\r\n", request, kind,
			map[bool]string{true: "If-Match: *\r\n"}[strings.HasPrefix(request, "PATCH ")]) // the modules are new
		require.NoError(t, err)
		r := bufio.NewReader(c)
		for line := "x"; strings.TrimSpace(line) != ""; {
			line, err = r.ReadString('\n')
			require.NoError(t, err)
			require.NotContains(t, line, "HTTP/1.1 4", request)
		}
		_, err = io.WriteString(c, map[bool]string{true: "--B\r\nContent-Disposition: form-data; name=\"module\"\r\n\r\nabc", false: `{"in`}[kind == form])
		require.NoError(t, err)
		open[request] = r
	}
	began := time.Now()
	stop()
	took := time.Since(began)
	t.Logf("the server has ended after %s", took)
	assert.Less(t, took, 4*time.Second, "it waits for no body; cancelled requests have 5 s")
	for request, r := range open {
		resp, err := http.ReadResponse(r, nil)
		if !assert.NoError(t, err, request) {
			continue
		}
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, request)
		assert.Equal(t, "1", resp.Header.Get("Retry-After"), request)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err, request)
		assert.Contains(t, string(body), "the server is shutting down", request)
		require.NoError(t, resp.Body.Close())
	}
}
