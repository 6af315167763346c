package main

import (
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A server that refuses a request for its length answers before the body has come, and closes
// the connection: the answer is what the user gets to read.
func TestABodyThatIsRefusedIsNotSent(t *testing.T) {
	sent := make(chan int64, 1)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Expect") == "100-continue" && r.ContentLength > 1<<20 {
			sent <- 0
			w.Header().Set("Content-Type", "application/problem+json")
			w.Header().Set("Connection", "close")
			w.WriteHeader(http.StatusRequestEntityTooLarge)
			_, _ = io.WriteString(w, `{"status":413,"status_name":"INVALID_ARGUMENT","detail":"the body is too big"}`)
			return
		}
		n, _ := io.Copy(io.Discard, r.Body)
		sent <- n
		_, _ = io.WriteString(w, `{"result":1}`)
	}))
	defer s.Close()
	input := func(n int) string { return write(t, "input.json", `"`+strings.Repeat("a", n)+`"`) }
	args := []string{"call", "calc/add", "--server", s.URL, "--input"}

	got := cli(t, append(args, "@"+input(2<<20))...)
	assert.Equal(t, exitFailed, got.exit)
	assert.Contains(t, got.err, "the body is too big")
	assert.Zero(t, <-sent)

	got = cli(t, append(args, "@"+input(600<<10))...)
	assert.Equal(t, exitOK, got.exit, got.err)
	assert.Greater(t, <-sent, int64(600<<10))
}

// A connection that breaks is not a server that is not there.
func TestAConnectionThatBreaksIsSaidToBreak(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close()
		}
	}()
	defer l.Close()
	// When the end is seen, before the request is sent or after, decides which error net/http returns.
	for range 50 {
		got := cli(t, "call", "calc/add", "--input", `{"a":1,"b":2}`, "--server", "http://"+l.Addr().String())
		assert.Equal(t, exitUnreachable, got.exit)
		assert.Contains(t, got.err, "closed the connection before it answered")
		assert.NotContains(t, got.err, "no server answers")
	}
}

// Each of these comes from a connection that was made; which one, the moment decides.
func TestWhatABrokenConnectionLooksLike(t *testing.T) {
	for _, cause := range []error{syscall.EPIPE, syscall.ECONNRESET, net.ErrClosed, io.EOF, io.ErrUnexpectedEOF, errors.New("http: server closed idle connection")} {
		assert.True(t, broken(&url.Error{Op: "Post", Err: &net.OpError{Op: "write", Err: cause}}), cause)
	}
	assert.False(t, broken(&url.Error{Op: "Post", Err: &net.OpError{Op: "dial", Err: syscall.ECONNREFUSED}}))
}

func TestHintsNameWhatHelps(t *testing.T) {
	url := startServer(t)
	got := cli(t, "generate", "hi", "--server", url)
	assert.Equal(t, exitFailed, got.exit)
	assert.Contains(t, got.err, "--model")
	got = cli(t, "ls", "--server", url+"/elsewhere")
	assert.Equal(t, exitNotFound, got.exit)
	assert.Contains(t, got.err, "look whether --server names the right place")
	got = cli(t, "upload", write(t, "big.wasm", strings.Repeat("a", 20<<20)), "--server", url)
	assert.Contains(t, got.err, "the body exceeds the limit")
	assert.NotContains(t, got.err, "inspect")
	got = cli(t, "help", "nope")
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, `there is no command "nope"`)
	got = cli(t, "help", "upload")
	assert.Equal(t, exitOK, got.exit)
	assert.Contains(t, got.out, "Usage:\n  genkit-wasm upload")
}

func TestAServerHasMetrics(t *testing.T) {
	url := startServer(t, "--metrics-by-tenant")
	require.Equal(t, exitOK, cli(t, "upload", calcFile, "--server", url).exit)
	require.Equal(t, exitOK, cli(t, "call", "calc/add", "--input", `{"a":1,"b":2}`, "--server", url).exit)
	resp, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	assert.Contains(t, string(text), "genkit_wasm_calls_total{tenant=\"default\"} 1\n")
	assert.Contains(t, string(text), "genkit_wasm_usage_calls_total{kind=\"tool\",outcome=\"ok\",tenant=\"default\"} 1\n")
}

// A server may answer before it has the whole body, which is then still read.
func TestProgressEndsWhileABodyIsRead(t *testing.T) {
	for range 50 {
		p := &progress{Reader: strings.NewReader(strings.Repeat("a", 1000)), app: &app{err: io.Discard}, total: 1000}
		var sent sync.WaitGroup
		sent.Go(func() {
			for b := make([]byte, 100); ; {
				if _, err := p.Read(b); err != nil {
					return
				}
			}
		})
		p.end()
		sent.Wait()
		assert.True(t, p.ended)
		assert.LessOrEqual(t, p.done, p.total)
	}
}
