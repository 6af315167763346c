package flowserver_test

import (
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

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// record lets h answer a request without a connection.
func record(h http.Handler, headers ...string) *httptest.ResponseRecorder {
	req := httptest.NewRequest(http.MethodPost, "/", nil)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Set(name, value)
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, req)
	return rec
}

// served runs w's flows with Run and returns what ends it and its error.
func served(t *testing.T, w *world, drain time.Duration) (stop context.CancelFunc, ended <-chan error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	addr, done := make(chan net.Addr, 1), make(chan error, 1)
	h := w.flows.Registry("/flows/", w.registry())
	go func() {
		done <- w.flows.Run(ctx, flowserver.RunConfig{Addr: "127.0.0.1:0", DrainTimeout: drain, Listening: func(a net.Addr) { addr <- a }}, h)
	}()
	w.URL = "http://" + receive(t, addr).String() + "/flows"
	return cancel, done
}

func TestRunEndsInPeace(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	stop, ended := served(t, w, patience)
	assert.Equal(t, "{\"result\":\"Hello, Ada\"}\n", w.post("/greet", `{"data":"Ada"}`).body)
	_, all, _ := w.begin()
	w.step <- "1"
	stop()
	w.step <- "2" // running flows may end
	w.step <- "end"
	assert.Equal(t, wholeStream, receive(t, all))
	require.NoError(t, receive(t, ended))
	_, err := w.Client().Get(w.URL)
	require.Error(t, err)
}

func TestRunCancelsWhatTakesTooLong(t *testing.T) {
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: memory(t)}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, config)
			stop, ended := served(t, w, 50*time.Millisecond)
			resp := w.send(http.MethodPost, "/waits", ``, sse)
			stop()
			raw, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, "data: {\"message\":\"started\"}\n\ndata: {\"error\":{\"status\":\"UNAVAILABLE\",\"message\":\"the server is shutting down\"}}\n\n", string(raw),
				"its reader is told why")
			require.ErrorIs(t, receive(t, ended), context.DeadlineExceeded)
			require.ErrorIs(t, receive(t, w.left), context.Canceled)
		})
	}
}

func TestRunTellsThatItCanNotListen(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	require.ErrorIs(t, w.flows.Run(t.Context(), flowserver.RunConfig{Addr: "127.0.0.1:-1"}, http.NotFoundHandler()), status.ErrUnavailable)
}

func TestAClosedServerRefuses(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	id, all, _ := w.begin()
	w.step <- "1"
	closed := make(chan error, 1)
	go func() { closed <- w.flows.Close(context.Background()) }()
	require.Eventually(t, func() bool { return w.post("/greet", `{"data":"x"}`).status == http.StatusServiceUnavailable }, patience, time.Millisecond)
	assert.NotEmpty(t, id)
	assert.Empty(t, closed, "it waits for the flow")
	w.step <- "2"
	w.step <- "end"
	assert.Equal(t, wholeStream, receive(t, all))
	require.NoError(t, receive(t, closed))
}

func TestCORS(t *testing.T) {
	w := newWorld(t, flowserver.Config{CORS: &flowserver.CORS{Origins: []string{"https://app.example"}, Headers: []string{"X-Own"}, Credentials: true}})
	preflight := []string{"Content-Type: ", "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"}
	r := w.do(http.MethodOptions, "/greet", ``, append(preflight, "Origin: https://app.example")...)
	assert.Equal(t, http.StatusNoContent, r.status)
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	assert.Equal(t, "POST", r.header.Get("Access-Control-Allow-Methods"))
	assert.Equal(t, "Content-Type, Authorization, X-Genkit-Stream-Id, X-Own", r.header.Get("Access-Control-Allow-Headers"))
	assert.Equal(t, "true", r.header.Get("Access-Control-Allow-Credentials"))
	assert.Equal(t, "600", r.header.Get("Access-Control-Max-Age"))

	r = w.post("/greet", `{"data":"x"}`, "Origin: https://app.example", "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusOK, r.status)
	assert.Equal(t, "https://app.example", r.header.Get("Access-Control-Allow-Origin"))
	assert.Contains(t, r.header.Get("Access-Control-Expose-Headers"), "X-Genkit-Stream-Id")
	assert.Equal(t, "Origin", r.header.Get("Vary"))

	for _, origin := range []string{"https://evil.example", "https://app.example.evil.example", "http://app.example", "null"} {
		r = w.do(http.MethodOptions, "/greet", ``, append(preflight, "Origin: "+origin)...)
		assert.Empty(t, r.header.Get("Access-Control-Allow-Origin"), origin)
		assert.Equal(t, http.StatusMethodNotAllowed, r.status)
		assert.Equal(t, http.StatusForbidden, w.post("/greet", `{"data":"x"}`, "Origin: "+origin).status, origin)
	}

	open := newWorld(t, flowserver.Config{CORS: &flowserver.CORS{Origins: []string{"*"}}})
	r = open.post("/greet", `{"data":"x"}`, "Origin: https://any.example", "Sec-Fetch-Site: cross-site")
	assert.Equal(t, http.StatusOK, r.status)
	assert.Equal(t, "*", r.header.Get("Access-Control-Allow-Origin"))
	assert.Empty(t, r.header.Get("Access-Control-Allow-Credentials"))

	none := newWorld(t, flowserver.Config{})
	assert.Empty(t, none.do(http.MethodOptions, "/greet", ``, append(preflight, "Origin: https://app.example")...).header.Get("Access-Control-Allow-Origin"))
	for _, c := range []*flowserver.CORS{{Origins: []string{"*"}, Credentials: true}, {Origins: []string{"app.example"}}, {Origins: []string{"https://app.example/path"}}} {
		_, err := flowserver.New(flowserver.Config{CORS: c})
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%+v", c)
	}
}

func TestARecorderIsNoConnection(t *testing.T) {
	srv, err := flowserver.New(flowserver.Config{})
	require.NoError(t, err)
	rec := record(srv.Handler(flowserver.Flow{}))
	assert.Equal(t, http.StatusInternalServerError, rec.Code, "a flow without an action")
	require.NoError(t, srv.Close(t.Context()))
	require.NoError(t, srv.Close(t.Context()), "again")
	assert.Equal(t, http.StatusServiceUnavailable, record(srv.Handler(flowserver.Flow{Action: action.Action(nil)})).Code)
}
