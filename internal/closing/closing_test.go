package closing_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/closing"
)

// begin sends the beginning of a request whose body does not come.
func begin(t *testing.T, url, head string) (answers *bufio.Reader, end func()) {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	require.NoError(t, c.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(c, head)
	require.NoError(t, err)
	return bufio.NewReader(c), func() { _ = c.Close() }
}

// A body that is still arriving when the server closes ends with the server's error, whatever deadlines the handler sets, and
// the client reads the answer. So does one that the handler does not read.
func TestABodyEndsWithItsServer(t *testing.T) {
	for name, test := range map[string]struct {
		head    string
		handler func(w http.ResponseWriter, r *http.Request, began func())
		code    int
	}{
		"a length": {"PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", reads, 503},
		"chunks":   {"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n", reads, 503},
		"its own deadlines": {"PATCH / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", func(w http.ResponseWriter, r *http.Request, began func()) {
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Minute))
			reads(w, r, began)
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(time.Minute))
			_, err := io.ReadAll(r.Body)
			assert.ErrorIs(t, err, status.ErrUnavailable)
		}, 503},
		"a body that nobody reads": {"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc", func(w http.ResponseWriter, _ *http.Request, began func()) {
			w.WriteHeader(http.StatusNotFound)
			began()
		}, 404},
		"an answer that waits": {"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nabc", func(w http.ResponseWriter, r *http.Request, began func()) {
			began()
			<-r.Context().Done()
			w.WriteHeader(status.Of(context.Cause(r.Context())).HTTP())
		}, 503},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			running, cancel := context.WithCancelCause(t.Context())
			began := make(chan struct{}, 1)
			srv := httptest.NewUnstartedServer(closing.Bodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				test.handler(w, r, func() { began <- struct{}{} })
			})))
			srv.Config.BaseContext = func(net.Listener) context.Context { return running }
			srv.Start()
			defer srv.Close()
			answer, end := begin(t, srv.URL, test.head)
			defer end()
			<-began
			cancel(status.Publicf(status.Unavailable, "the server is shutting down"))
			resp, err := http.ReadResponse(answer, nil)
			require.NoError(t, err)
			assert.Equal(t, test.code, resp.StatusCode)
			assert.True(t, resp.Close)
			require.NoError(t, resp.Body.Close())
		})
	}
}

func reads(w http.ResponseWriter, r *http.Request, began func()) {
	_, _ = io.ReadFull(r.Body, make([]byte, 3))
	began()
	_, err := io.ReadAll(r.Body)
	w.WriteHeader(status.Of(err).HTTP())
}

// Nothing changes for other requests: the connection goes on after a body that was read, and one that was not.
func TestOtherRequestsAreAsBefore(t *testing.T) {
	srv := httptest.NewServer(closing.Bodies(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/read" {
			_, err := io.Copy(w, r.Body)
			assert.NoError(t, err)
		}
	})))
	defer srv.Close()
	const head = " HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc"
	answers, end := begin(t, srv.URL, "POST /read"+head+"PUT /"+head+"POST /read"+head+"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	defer end()
	for i, want := range []string{"abc", "", "abc", ""} {
		resp, err := http.ReadResponse(answers, nil)
		require.NoError(t, err, i)
		got, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, want, string(got), i)
		assert.False(t, resp.Close)
		assert.EqualValues(t, len(want), resp.ContentLength)
		require.NoError(t, resp.Body.Close())
	}
	refused, end := begin(t, srv.URL, "PUT / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
	defer end()
	resp, err := http.ReadResponse(refused, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusOK, resp.StatusCode, "nobody is asked for a body that is not wanted")
	require.NoError(t, resp.Body.Close())
}
