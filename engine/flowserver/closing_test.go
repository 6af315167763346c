package flowserver_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// A request whose body is still arriving when the server closes is answered.
func TestABodyThatArrivesWhenTheServerClosesIsAnswered(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	stop, ended := served(t, w, time.Millisecond)
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", strings.TrimSuffix(strings.TrimPrefix(w.URL, "http://"), "/flows"))
	require.NoError(t, err)
	defer c.Close()
	_, err = io.WriteString(c, "POST /flows/greet HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 60000\r\nExpect: 100-continue\r\n\r\n")
	require.NoError(t, err)
	r := bufio.NewReader(c)
	for range 2 { // the server begins to read the body
		_, err = r.ReadString('\n')
		require.NoError(t, err)
	}
	stop()
	resp, err := http.ReadResponse(r, nil)
	require.NoError(t, err)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.NotEmpty(t, resp.Header.Get("Retry-After"))
	require.NoError(t, resp.Body.Close())
	<-ended
}
