package listening

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Connections that ask nothing, and those that never finish asking, go when others come;
// those whose requests are answered stay.
func TestIdleConnectionsGoWhenThereAreTooMany(t *testing.T) {
	const most = 16
	open := newConnections(most)
	open.closed = &Closed{}
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/long" {
			<-released
		}
	}))
	bound(srv.Config, open)
	srv.Start()
	t.Cleanup(srv.Close)
	t.Cleanup(release) // before Close, which waits for answers
	var all []net.Conn
	t.Cleanup(func() {
		for _, c := range all {
			_ = c.Close()
		}
	})
	dial := func(says string) net.Conn {
		c, err := new(net.Dialer).DialContext(t.Context(), "tcp", srv.Listener.Addr().String())
		require.NoError(t, err)
		all = append(all, c)
		_, err = io.WriteString(c, says)
		require.NoError(t, err)
		return c
	}
	answered := func(c net.Conn) bool {
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	}
	serving := func() int {
		open.mu.Lock()
		defer open.mu.Unlock()
		return len(open.open) - open.waiting.Len()
	}
	long := dial("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
	require.Eventually(t, func() bool { return serving() == 1 }, 10*time.Second, time.Millisecond)
	for i := range 20 * most {
		dial([]string{"", "G", "GET / HTTP/1.1\r\nX: y\r\n"}[i%3])
	}
	for range 2 * most { // each of which stays open, too
		assert.True(t, answered(dial("GET / HTTP/1.1\r\nHost: x\r\n\r\n")))
	}
	open.mu.Lock()
	assert.LessOrEqual(t, len(open.open), most)
	open.mu.Unlock()
	// A client has its answer before the server sees that the connection is idle again.
	require.Eventually(t, func() bool { return serving() == 1 }, 10*time.Second, time.Millisecond)
	// When every connection has its request, the next one is closed at once.
	for i := range most - 1 {
		dial("GET /long HTTP/1.1\r\nHost: x\r\n\r\n")
		require.Eventually(t, func() bool { return serving() == i+2 }, 10*time.Second, time.Millisecond)
	}
	assert.False(t, answered(dial("GET / HTTP/1.1\r\nHost: x\r\n\r\n")))
	release()
	assert.True(t, answered(long))
}
