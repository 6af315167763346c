package server_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

var update = flag.Bool("update", false, "write the recorded responses anew")

// volatile matches text that differs from run to run.
var volatile = []struct{ find, put string }{
	{`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[^"]*"`, `"<time>"`},
	{`"(since|until|day)":"\d{4}-\d\d-\d\d"`, `"$1":"<day>"`},
	{`sha256:[0-9a-f]{64}`, "<digest>"},
	{`"size":\d+`, `"size":0`},
	{`"(fuel|queuedNs|wallNs|byteSeconds|memoryBytes|storedBytes|schemaBytes|peakBytes|peakMemoryBytes|delivered|queued|queuedBytes)":[\d.e+-]+`, `"$1":0`},
	{`"(id|operation)":"[^"]+"`, `"$1":"<id>"`},
	{`"revision":"[^"]+"`, `"revision":"<revision>"`},
	{`the ETag is \\"[^"]+\\" now`, `the ETag is \"<revision>\" now`},
	{`"state":"(running|succeeded)"(,"progress":{[^}]*})?`, `"state":"<running or succeeded>"`},
	{`ETag: "[^"]+"`, `ETag: "<revision>"`},
	{`/v1/operations/[0-9A-Z.-]+`, "/v1/operations/<operation>"},
	{`[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}`, "<stream id>"},
}

// recorded are the headers of responses that the recordings hold.
var recorded = []string{"Allow", "Cache-Control", "Content-Type", "ETag", "Idempotency-Replayed", "Location", "Retry-After", "X-Genkit-Stream-Id", "X-Request-Id"}

// TestExchanges plays the recordings of testdata/exchanges in their order against one
// server. Each is a txtar archive of request and response, named after the operation of
// the OpenAPI document; an operation that has none fails.
func TestExchanges(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	w := newWorld(t, func(c *server.Config) { c.FlowStreams = m })
	files, err := filepath.Glob("testdata/exchanges/*.txtar")
	require.NoError(t, err)
	slices.Sort(files)
	played := map[string]bool{}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".txtar")
		_, operation, _ := strings.Cut(name, "-") // past the number
		operation, _, _ = strings.Cut(operation, "-")
		played[operation] = true
		t.Run(name, func(t *testing.T) { playExchange(t, w, file) })
	}
	operations(t, openAPI(t, w), func(method, path string, op object) {
		assert.True(t, played[op["operationId"].(string)], "%s %s (%s) has no recorded exchange", method, path, op["operationId"])
	})
}

func playExchange(t *testing.T, w *world, file string) {
	t.Helper()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	comment, rest, ok := bytes.Cut(raw, []byte("-- request --\n"))
	require.True(t, ok, "no request")
	assert.NotEmpty(t, bytes.TrimSpace(comment), "say what the exchange shows")
	request, want, ok := bytes.Cut(rest, []byte("-- response --\n"))
	require.True(t, ok, "no response")
	got := send(t, w, request)
	if *update {
		require.NoError(t, os.WriteFile(file, slices.Concat(comment, []byte("-- request --\n"), request, []byte("-- response --\n"), got), 0o600))
		return
	}
	assert.Equal(t, string(want), string(got))
}

// send sends a request that is written as HTTP/1.1; a body "@file" is a file of the
// repository.
func send(t *testing.T, w *world, text []byte) []byte {
	t.Helper()
	head, body, _ := bytes.Cut(text, []byte("\n\n"))
	head = bytes.ReplaceAll(head, []byte("<operation>"), []byte(w.operation))
	req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(bytes.ReplaceAll(head, []byte("\n"), []byte("\r\n")), "\r\n\r\n"...))))
	require.NoError(t, err)
	body = bytes.TrimSuffix(body, []byte("\n"))
	if file, ok := bytes.CutPrefix(body, []byte("@")); ok {
		body = read(t, string(file))
	}
	target, err := http.NewRequestWithContext(t.Context(), req.Method, w.URL+req.RequestURI, bytes.NewReader(body))
	require.NoError(t, err)
	target.Header = req.Header
	if len(body) == 0 {
		target.Body = http.NoBody
	}
	resp, err := w.Client().Do(target)
	require.NoError(t, err)
	defer resp.Body.Close()
	if id, ok := strings.CutPrefix(resp.Header.Get("Location"), "/v1/operations/"); ok {
		w.operation = id
	}
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var out strings.Builder
	fmt.Fprintf(&out, "HTTP/1.1 %d\n", resp.StatusCode)
	for _, name := range recorded {
		if value := resp.Header.Get(name); value != "" {
			fmt.Fprintf(&out, "%s: %s\n", name, value)
		}
	}
	if req.RequestURI == "/openapi.json" || req.RequestURI == "/genkit-wasm.d.ts" {
		raw = append(raw[:bytes.Index(raw, []byte("\n"))], "\n…\n"...) // they have tests of their own
	}
	out.WriteString("\n")
	out.Write(raw)
	if len(raw) > 0 && !bytes.HasSuffix(raw, []byte("\n")) {
		out.WriteString("\n")
	}
	text = []byte(out.String())
	for _, v := range volatile {
		text = regexp.MustCompile(v.find).ReplaceAll(text, []byte(v.put))
	}
	return text
}
