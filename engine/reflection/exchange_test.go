package reflection_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
)

var update = flag.Bool("update", false, "write the recorded exchanges anew")

var volatile = []struct {
	pattern *regexp.Regexp
	with    string
}{
	{regexp.MustCompile(`\b[0-9a-f]{32}\b`), "<trace>"},
	{regexp.MustCompile(`\b[0-9a-f]{16}\b`), "<span>"},
	{regexp.MustCompile(`"stack":"(?:[^"\\]|\\.)*"`), `"stack":"<stack>"`},
	{regexp.MustCompile(`panicked: oh(?:[^"\\]|\\.)*"`), `panicked: oh<stack>"`},
	{regexp.MustCompile(`"pid":\d+`), `"pid":<pid>`},
	{regexp.MustCompile(`"id":"\d+","name"`), `"id":"<id>","name"`},
	{regexp.MustCompile(`(?m)^Date: .*\r?\n`), ""},
}

func normal(s string) string {
	for _, v := range volatile {
		s = v.pattern.ReplaceAllString(s, v.with)
	}
	return strings.ReplaceAll(s, "\r\n", "\n")
}

// Each file of testdata/v1 is one exchange: the request as it goes over the wire but for
// what every request carries, and the answer, headers and body. The first line says
// what it pins.
func TestRecordedHTTPExchanges(t *testing.T) {
	s := start(t, newApp(t), reflection.Config{MaxBody: 4096})
	files, err := filepath.Glob("testdata/v1/*.txtar")
	require.NoError(t, err)
	covered := map[string]bool{}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			ar, err := txtar.ParseFile(file)
			require.NoError(t, err)
			require.Len(t, ar.Files, 2, file)
			request := strings.TrimSuffix(string(ar.Files[0].Data), "\n")
			line, _, _ := strings.Cut(request, "\n")
			path, _, _ := strings.Cut(strings.Fields(line)[1], "?")
			covered[strings.Fields(line)[0]+" "+path] = true
			s := s
			if path == "/api/__quitquitquit" { // may end one of its own
				s = start(t, newApp(t), reflection.Config{})
			}
			got := normal(exchange(t, s.URL(), request))
			if *update {
				ar.Files[1].Data = []byte(got + "\n")
				require.NoError(t, os.WriteFile(file, txtar.Format(ar), 0o600))
			}
			assert.Equal(t, strings.TrimSuffix(string(ar.Files[1].Data), "\n"), got)
		})
	}
	for _, route := range reflection.Routes(s) {
		assert.True(t, covered[route], "no exchange is recorded for %s", route)
	}
}

// exchange sends a request written as a person would write it, and returns the answer:
// status, headers that matter, body.
func exchange(t *testing.T, base, request string) string {
	t.Helper()
	head, body, _ := strings.Cut(request, "\n\n")
	lines := strings.Split(head, "\n")
	host := strings.TrimPrefix(base, "http://")
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Host:") }) {
		lines = append(lines, "Host: "+host)
	}
	if strings.HasPrefix(body, "<") { // <5000> means so many bytes
		var n int
		_, err := fmt.Sscanf(body, "<%d>", &n)
		require.NoError(t, err)
		body = `"` + strings.Repeat("x", n) + `"`
	}
	lines[0] += " HTTP/1.1"
	lines = append(lines, "Content-Length: "+fmt.Sprint(len(body)), "Connection: close")
	conn, err := new(net.Dialer).DialContext(t.Context(), "tcp", host)
	require.NoError(t, err)
	defer conn.Close()
	_, err = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	var out bytes.Buffer
	fmt.Fprintf(&out, "%d\n", resp.StatusCode)
	resp.Header.Del("Date")
	resp.Header.Del("Content-Length")
	resp.Header.Del("Connection")
	require.NoError(t, resp.Header.Write(&out))
	fmt.Fprintf(&out, "\n%s", answer)
	return out.String()
}
