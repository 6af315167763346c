package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/client"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// canned serves what fn writes.
func canned(t *testing.T, fn http.HandlerFunc) (url string, own client.Option) {
	t.Helper()
	srv := httptest.NewServer(fn)
	t.Cleanup(srv.Close)
	return srv.URL, client.WithHTTPClient(srv.Client())
}

func answer(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

type dish struct {
	Name  string `json:"name"`
	Price any    `json:"price"`
}

func TestRunFlow(t *testing.T) {
	var got string
	url, own := canned(t, func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got = fmt.Sprintf("%s %s %s %s %s", r.Method, r.Header.Get("Content-Type"), r.Header.Get("Accept"), r.Header.Get("X-Own"), raw)
		_, _ = io.WriteString(w, `{"result":{"name":"<é>","price":12345678901234567890.10}}`)
	})
	out, err := client.RunFlow[string, dish](t.Context(), url, "pirates & co", own, client.WithHeader("X-Own", "1"))
	require.NoError(t, err)
	assert.Equal(t, dish{"<é>", json.Number("12345678901234567890.10")}, out)
	assert.Equal(t, `POST application/json application/json 1 {"data":"pirates & co"}`, got)
	raw, err := client.RunFlow[json.RawMessage, json.RawMessage](t.Context(), url, json.RawMessage(`1.10`), own)
	require.NoError(t, err)
	assert.Equal(t, `{"name":"<é>","price":12345678901234567890.10}`, string(raw))
	assert.Contains(t, got, `{"data":1.10}`)
	_, err = client.RunFlow[json.RawMessage, json.RawMessage](t.Context(), url, nil, own)
	require.NoError(t, err)
	assert.True(t, strings.HasSuffix(got, " {}"), "no input: %s", got)
	_, err = client.RunFlow[json.RawMessage, json.RawMessage](t.Context(), url, json.RawMessage(`{`), own)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = client.RunFlow[func(), int](t.Context(), url, nil, own)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = client.RunFlow[string, int](t.Context(), url, "", own)
	require.ErrorIs(t, err, status.ErrDataLoss, "a result of another type")
	_, err = client.RunFlow[string, dish](t.Context(), url, "", own, client.WithMaxAnswerBytes(10))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	_, err = client.RunFlow[string, dish](t.Context(), "http://[::1", "", own)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestFailuresOfAnswers(t *testing.T) {
	for name, test := range map[string]struct {
		serve   http.HandlerFunc
		code    status.Code
		message string
		details string
	}{
		"Genkit's JSON":           {answer(403, `{"status":"PERMISSION_DENIED","message":"no","details":{"a":1}}`), status.PermissionDenied, "no", `{"a":1}`},
		"the body counts":         {answer(500, `{"status":"ABORTED","message":"no"}`), status.Aborted, "no", ""},
		"express without a body":  {answer(400, `{"message":"why","status":"INVALID ARGUMENT"}`), status.InvalidArgument, "why", ""},
		"Genkit Go's name":        {answer(500, `{"status":"INTERNAL_SERVER_ERROR","message":"x"}`), status.Internal, "x", ""},
		"Genkit Go's text":        {answer(404, "no such flow\n"), status.NotFound, "no such flow", ""},
		"a problem":               {answer(404, `{"status":404,"status_name":"NOT_FOUND","detail":"gone"}`), status.NotFound, "gone", ""},
		"a problem of others":     {answer(429, `{"status":429,"detail":"slow down"}`), status.ResourceExhausted, "slow down", ""},
		"nothing":                 {answer(503, ``), status.Unavailable, "the server answered 503", ""},
		"a page":                  {answer(502, "<h1>\xff</h1>"), status.Internal, "<h1>\uFFFD</h1>", ""},
		"a redirect":              {answer(307, ``, "Location", "https://evil.example/"), status.Unknown, "the server answered 307", ""},
		"no content":              {answer(204, ``), status.Unknown, "the server answered 204", ""},
		"an error that says fine": {answer(500, `{"status":"OK","message":"x"}`), status.Unknown, "x", ""},
		"an error in a success":   {answer(200, `{"error":{"status":"NOT_FOUND","message":"x"}}`), status.NotFound, "x", ""},
		"text in a success":       {answer(200, `{"error":"it broke"}`), status.Unknown, "it broke", ""},
		"a success that is none":  {answer(200, `oops`), status.DataLoss, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			url, own := canned(t, test.serve)
			_, err := client.RunFlow[string, json.RawMessage](t.Context(), url, "", own)
			var e *status.Error
			require.ErrorAs(t, err, &e)
			assert.Equal(t, test.code, e.Code)
			assert.False(t, e.Public(), "another server's text")
			if test.message != "" {
				assert.Equal(t, test.message, e.Message)
			}
			assert.Equal(t, test.details, string(e.Details))
		})
	}
	url, own := canned(t, answer(429, `{"status":"RESOURCE_EXHAUSTED","message":"x"}`, "Retry-After", "7"))
	_, err := client.RunFlow[string, string](t.Context(), url, "", own)
	assert.Equal(t, 7*time.Second, status.Convert(err).RetryAfter)
	url, own = canned(t, answer(500, strings.Repeat("é", 1<<20)))
	_, err = client.RunFlow[string, string](t.Context(), url, "", own)
	assert.Less(t, len(err.Error()), 3000, "a long text is cut")
	assert.True(t, json.Valid([]byte(`"`+status.Convert(err).Message+`"`)))
}

// collect reads a stream as text.
func collect(url string, ctx context.Context, opts ...client.Option) (got []string, err error) { //nolint:revive // the url names the case
	for e, err := range client.StreamFlow[string, json.RawMessage, json.RawMessage](ctx, url, "x", opts...) {
		switch {
		case err != nil:
			return got, err
		case e.Done:
			got = append(got, "= "+string(e.Output))
		default:
			got = append(got, string(e.Chunk))
		}
	}
	return got, nil
}

func TestStreamFlow(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want []string
		code status.Code
		says string
	}{
		"chunks and a result":      {"data: {\"message\":1}\n\ndata: {\"message\":{\"a\":2}}\n\ndata: {\"result\":3}\n\n", []string{"1", `{"a":2}`, "= 3"}, status.OK, ""},
		"values that are null":     {"data: {\"message\":null}\n\ndata: {\"result\":null}\n\n", []string{"null", "= null"}, status.OK, ""},
		"JS, a result of nothing":  {"data: {}\n\n", []string{"= null"}, status.OK, ""},
		"other line ends":          {"data: {\"message\":1}\r\n\r\ndata: {\"result\":3}\r\r", []string{"1", "= 3"}, status.OK, ""},
		"comments and other lines": {": hi\n\nid: 1\nevent: x\ndata: {\"result\":\ndata:3}\n\n", []string{"= 3"}, status.OK, ""},
		"what follows the result":  {"data: {\"result\":3}\n\ndata: {\"message\":4}\n\n", []string{"= 3"}, status.OK, ""},
		"an error as ours":         {"data: {\"message\":1}\n\ndata: {\"error\":{\"status\":\"ABORTED\",\"message\":\"no\",\"details\":[1]}}\n\n", []string{"1"}, status.Aborted, "no"},
		"an error as in JS":        {"error: {\"error\":{\"status\":\"ABORTED\",\"message\":\"no\"}}\n\n", nil, status.Aborted, "no"},
		"an error as in Go":        {"data: {\"error\":{\"status\":\"INTERNAL_SERVER_ERROR\",\"message\":\"stream flow error\",\"details\":\"x\"}}\n\n", nil, status.Internal, "stream flow error"},
		"an error without a frame": {"error: {\"status\":\"ABORTED\",\"message\":\"no\"}\n\n", nil, status.Aborted, "no"},
		"an error of Python":       {"error: {\"error\":{\"status\":\"ABORTED\",\"message\":\"no\"}}\n", nil, status.Unavailable, "ended"},
		"an end without a result":  {"data: {\"message\":1}\n\n", []string{"1"}, status.Unavailable, "ended"},
		"a frame that is cut":      {"data: {\"result\":1}\n", nil, status.Unavailable, "ended"},
		"no stream":                {"", nil, status.Unavailable, "ended"},
		"no JSON":                  {"data: oops\n\n", nil, status.DataLoss, "not JSON"},
		"an unknown frame":         {"data: {\"x\":1}\n\n", nil, status.DataLoss, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			url, own := canned(t, answer(200, test.body, "Content-Type", "text/plain"))
			got, err := collect(url, t.Context(), own)
			assert.Equal(t, test.want, got)
			assert.Equal(t, test.code, status.Of(err), "%v", err)
			if err != nil {
				assert.ErrorContains(t, err, test.says)
			}
		})
	}
	url, own := canned(t, answer(200, "data: {\"message\":\""+strings.Repeat("x", 1000)+"\"}\n\n"))
	_, err := collect(url, t.Context(), own, client.WithMaxEventBytes(100))
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	url, own = canned(t, answer(204, ``))
	_, err = collect(url, t.Context(), own, client.WithStreamID("x"))
	require.ErrorIs(t, err, status.ErrNotFound)
	url, own = canned(t, answer(400, `{"status":"INVALID_ARGUMENT","message":"no"}`))
	_, err = collect(url, t.Context(), own)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestTheServerAndTheClientMeet(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	defer m.Close()
	srv, err := flowserver.New(flowserver.Config{Streams: m, Context: []contextprovider.Provider{contextprovider.APIKey("k")}})
	require.NoError(t, err)
	f, err := flow.NewStreaming("count", func(_ context.Context, n int, send func(string) error) (int, error) {
		for i := range n {
			if err := send(fmt.Sprint("é", i)); err != nil {
				return 0, err
			}
		}
		if n == 13 {
			return 0, status.Publicf(status.OutOfRange, "unlucky").WithDetails([]int{13})
		}
		return n, nil
	})
	require.NoError(t, err)
	ts := httptest.NewServer(srv.Handler(flowserver.Flow{Action: f}))
	defer func() { ts.Close(); assert.NoError(t, srv.Close(context.Background())) }()
	opts := []client.Option{client.WithHTTPClient(ts.Client()), client.WithHeader("Authorization", "k")}
	out, err := client.RunFlow[int, int](t.Context(), ts.URL, 3, opts...)
	require.NoError(t, err)
	assert.Equal(t, 3, out)
	var id string
	run := func(more ...client.Option) (got []string) {
		for e, err := range client.StreamFlow[int, int, string](t.Context(), ts.URL, 3, append(opts, more...)...) {
			require.NoError(t, err)
			got = append(got, e.Chunk+fmt.Sprint(e.Output))
		}
		return got
	}
	want := []string{"é00", "é10", "é20", "3"}
	assert.Equal(t, want, run(client.OnStreamID(func(s string) { id = s })))
	assert.Len(t, id, 36)
	assert.Equal(t, want, run(client.WithStreamID(id)), "resumed")
	for _, err := range client.StreamFlow[int, int, string](t.Context(), ts.URL, 3, client.WithHTTPClient(ts.Client()), client.WithHeader("Authorization", "other"), client.WithStreamID(id)) {
		require.ErrorIs(t, err, status.ErrPermissionDenied)
	}
	_, err = client.RunFlow[int, int](t.Context(), ts.URL, 13, opts...)
	require.ErrorIs(t, err, status.ErrOutOfRange)
	assert.Equal(t, "[13]", string(status.Convert(err).Details))
}

func TestLeavingTheLoopCancelsTheFlow(t *testing.T) {
	srv, err := flowserver.New(flowserver.Config{})
	require.NoError(t, err)
	left := make(chan struct{})
	f, err := flow.NewStreaming("waits", func(ctx context.Context, _ string, send func(string) error) (string, error) {
		_ = send("started")
		<-ctx.Done()
		close(left)
		return "", ctx.Err()
	})
	require.NoError(t, err)
	ts := httptest.NewServer(srv.Handler(flowserver.Flow{Action: f}))
	defer ts.Close()
	for range client.StreamFlow[string, string, string](t.Context(), ts.URL, "", client.WithHTTPClient(ts.Client())) {
		break
	}
	select {
	case <-left:
	case <-time.After(patience):
		t.Fatal("the flow goes on")
	}
	assert.NoError(t, srv.Close(t.Context()))
}

func TestCallersWhoLeave(t *testing.T) {
	url, own := canned(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		<-r.Context().Done()
	})
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err := client.RunFlow[string, string](ctx, url, "", own)
	require.ErrorIs(t, err, status.ErrDeadlineExceeded)
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = collect(url, ctx, own)
	require.ErrorIs(t, err, status.ErrCancelled)
	_, err = client.RunFlow[string, string](t.Context(), "http://127.0.0.1:1/", "")
	require.ErrorIs(t, err, status.ErrUnavailable)
}

func TestRedirectsAreFollowedOnlyWhenAsked(t *testing.T) {
	url, _ := canned(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/" {
			http.Redirect(w, r, "/there", http.StatusTemporaryRedirect)
			return
		}
		_, _ = io.WriteString(w, `{"result":"`+r.Header.Get("X-Key")+`"}`)
	})
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	own := &http.Client{Transport: transport}
	_, err := client.RunFlow[string, string](t.Context(), url, "", client.WithHTTPClient(own), client.WithHeader("X-Key", "k"))
	require.ErrorContains(t, err, "307")
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return nil }
	out, err := client.RunFlow[string, string](t.Context(), url, "", client.WithHTTPClient(own), client.WithHeader("X-Key", "k"))
	require.NoError(t, err)
	assert.Equal(t, "k", out)
}

func TestEventsOneByteAtATime(t *testing.T) {
	text := "\uFEFFdata: a\r\ndata\r\ndata:  b\rerror:c\n\n\n\r\n:x\ndata:d\n\nevent: e\n\ndata: cut"
	want := []string{"a\n\n b\nc", "d"}
	for name, r := range map[string]io.Reader{"whole": strings.NewReader(text), "byte by byte": iotest.OneByteReader(strings.NewReader(text))} {
		got, err := client.Events(r, 100)
		require.ErrorIs(t, err, io.EOF, name)
		assert.Equal(t, want, got, name)
	}
	_, err := client.Events(iotest.TimeoutReader(iotest.OneByteReader(strings.NewReader(text))), 100)
	require.ErrorIs(t, err, iotest.ErrTimeout)
}

// FuzzEvents decodes foreign bytes. However they are cut into reads, the events are the
// same, and none is over the limit.
func FuzzEvents(f *testing.F) {
	for _, seed := range []string{"data: {\"message\":1}\n\n", "error: {}\r\n\r\n", ":\n\ndata\ndata:\n\n", "\uFEFFdata:x\r\rdata: y", strings.Repeat("data: 0123456789\n", 20) + "\n", strings.Repeat("x", 300)} {
		f.Add(seed)
	}
	const limit = 100
	f.Fuzz(func(t *testing.T, text string) {
		whole, err := client.Events(strings.NewReader(text), limit)
		if err == nil {
			t.Fatal("no end")
		}
		cut, cutErr := client.Events(iotest.OneByteReader(strings.NewReader(text)), limit)
		if len(whole) != len(cut) || errors.Is(err, io.EOF) != errors.Is(cutErr, io.EOF) {
			t.Fatalf("%q: %q, %v and %q, %v", text, whole, err, cut, cutErr)
		}
		for i := range whole {
			if whole[i] != cut[i] || len(whole[i]) > limit {
				t.Fatalf("%q: %q and %q", text, whole[i], cut[i])
			}
		}
	})
}

func TestAnInitIsSentBesideTheInput(t *testing.T) {
	var body string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		assert.NoError(t, err)
		body = string(raw)
		_, _ = io.WriteString(w, `{"result":1}`)
	}))
	defer srv.Close()
	for want, c := range map[string]struct{ in, init any }{
		`{"data":"x","init":{"a":1}}`: {"x", map[string]int{"a": 1}},
		`{"init":{"a":1}}`:            {json.RawMessage(nil), json.RawMessage(`{"a":1}`)},
		`{"data":null}`:               {nil, nil},
		`{}`:                          {json.RawMessage(nil), json.RawMessage(nil)},
	} {
		in, raw := c.in.(json.RawMessage)
		var err error
		if raw {
			_, err = client.RunFlow[json.RawMessage, int](t.Context(), srv.URL, in, client.WithInit(c.init))
		} else {
			_, err = client.RunFlow[any, int](t.Context(), srv.URL, c.in, client.WithInit(c.init))
		}
		require.NoError(t, err)
		assert.Equal(t, want, body)
	}
	_, err := client.RunFlow[string, int](t.Context(), srv.URL, "x", client.WithInit(json.RawMessage(`{`)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = client.RunFlow[string, int](t.Context(), srv.URL, "x", client.WithInit(func() {}))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}
