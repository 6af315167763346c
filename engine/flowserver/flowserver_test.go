package flowserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must come.
const patience = 30 * time.Second

// world is a server of flows that do on purpose what can go wrong.
type world struct {
	*httptest.Server
	t       *testing.T
	flows   *flowserver.Server
	started chan struct{} // a value for each run of "waits"
	left    chan error    // why each run of "waits" ended
	step    chan string   // the chunks of "steps"
}

func newWorld(t *testing.T, config flowserver.Config) *world {
	t.Helper()
	w := &world{t: t, started: make(chan struct{}, 100), left: make(chan error, 100), step: make(chan string)}
	var err error
	w.flows, err = flowserver.New(config)
	require.NoError(t, err)
	w.Server = httptest.NewServer(w.flows.Registry("/", w.registry()))
	t.Cleanup(func() {
		w.Close()
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = w.flows.Close(ctx)
	})
	return w
}

func add[A action.Action](t *testing.T, r *registry.Registry) func(a A, err error) {
	t.Helper()
	return func(a A, err error) {
		t.Helper()
		require.NoError(t, err)
		require.NoError(t, r.Register(a))
	}
}

type count struct {
	Count int `json:"count"`
}

func (w *world) registry() *registry.Registry {
	t, r := w.t, registry.New(nil)
	add[*flow.Flow[string, string, struct{}]](t, r)(flow.New("greet", func(_ context.Context, name string) (string, error) { return "Hello, " + name, nil }))
	add[*flow.Flow[int, string, count]](t, r)(flow.NewStreaming("menu/streamy", func(_ context.Context, n int, send func(count) error) (string, error) {
		for i := range n {
			if err := send(count{i}); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("done %d, streamed: %d times", n, n), nil
	}))
	add[*flow.Flow[any, json.RawMessage, struct{}]](t, r)(flow.New("who", func(ctx context.Context, _ any) (json.RawMessage, error) { return action.Context(ctx), nil }))
	for name, fn := range map[string]action.Func{
		"echo":    func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil },
		"refuses": fails(status.Publicf(status.PermissionDenied, "not <you>").WithDetails(map[string]int{"n": 1})),
		"private": fails(status.Errorf(status.Internal, "the secret is 42")),
		"plain":   fails(errors.New("the secret is 42")),
		"busy":    fails(status.Publicf(status.ResourceExhausted, "too much").WithRetryAfter(1500 * time.Millisecond)),
		"panics": func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			panic("the secret is 42")
		},
		"pretty": func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			if emit != nil {
				_ = emit(json.RawMessage("{\r\n\"a\": \"<1>\"\n}"))
			}
			return json.RawMessage("[\n1.0,\n2e400]"), nil
		},
		"injects": func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			if emit == nil {
				return nil, nil
			}
			return nil, emit(json.RawMessage("1}\n\ndata: {\"result\":1"))
		},
		"waits": func(ctx context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			w.started <- struct{}{}
			if emit != nil {
				if err := emit(json.RawMessage(`"started"`)); err != nil {
					return nil, err
				}
			}
			<-ctx.Done()
			w.left <- ctx.Err()
			return nil, ctx.Err()
		},
		"floods": func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			chunk := json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`)
			for {
				if err := emit(chunk); err != nil {
					w.left <- err
					return nil, err
				}
			}
		},
		"ignores": func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			for range 10 {
				_ = emit(json.RawMessage(`"` + strings.Repeat("x", 1<<20) + `"`))
			}
			return json.RawMessage(`"fine"`), nil
		},
		"steps": func(ctx context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			for {
				var chunk string
				select {
				case chunk = <-w.step:
				case <-ctx.Done():
					return nil, ctx.Err()
				}
				switch chunk {
				case "fail":
					return nil, status.Publicf(status.Aborted, "as asked")
				case "end":
					return json.RawMessage(`"over"`), nil
				}
				if err := emit(json.RawMessage(chunk)); err != nil {
					return nil, err
				}
			}
		},
	} {
		add[action.Action](t, r)(action.New(action.Desc{Kind: action.Flow, Name: name}, fn))
	}
	return r
}

func fails(err error) action.Func {
	return func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, err }
}

// reply is an answer that was read to its end.
type reply struct {
	status int
	header http.Header
	body   string
}

func (w *world) send(method, path, body string, headers ...string) *http.Response {
	w.t.Helper()
	return w.sendBody(w.t.Context(), method, path, strings.NewReader(body), headers...)
}

func (w *world) sendBody(ctx context.Context, method, path string, body io.Reader, headers ...string) *http.Response {
	w.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, w.URL+path, body)
	require.NoError(w.t, err)
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if value == "" {
			req.Header.Del(name)
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := w.Client().Do(req)
	require.NoError(w.t, err)
	w.t.Cleanup(func() { _ = resp.Body.Close() })
	return resp
}

func (w *world) do(method, path, body string, headers ...string) reply {
	w.t.Helper()
	return read(w.t, w.send(method, path, body, headers...))
}

func (w *world) post(path, body string, headers ...string) reply {
	w.t.Helper()
	return w.do(http.MethodPost, path, body, headers...)
}

func read(t *testing.T, resp *http.Response) reply {
	t.Helper()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return reply{resp.StatusCode, resp.Header, string(raw)}
}

const sse = "Accept: text/event-stream"

func TestABodyWithAKeyTwiceIsRefused(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	for _, body := range []string{`{"data":1,"data":2}`, `{"data":{"a":1,"\u0061":2}}`} {
		r := w.post("/echo", body)
		assert.Equal(t, http.StatusBadRequest, r.status, body)
		assert.Contains(t, r.body, "the same key twice", body)
	}
}

func TestAFlowAnswersWithItsResult(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	for name, test := range map[string]struct{ path, body, want string }{
		"a flow with a type":            {"/greet", `{"data":"Ada"}`, `{"result":"Hello, Ada"}`},
		"members that are not known":    {"/greet", `{"a":{"data":[1,"}"]},"data":"Ada","b":1}`, `{"result":"Hello, Ada"}`},
		"a name that is escaped":        {"/greet", `{"d\u0061ta":"Ada"}`, `{"result":"Hello, Ada"}`},
		"white space everywhere":        {"/echo", "\n{ \"data\" :\t[ 1 , {\"a\" : \"\\\"]\"} ]\r\n, \"x\" : -1 }\n", "{\"result\":[ 1 , {\"a\" : \"\\\"]\"} ]}"},
		"a name with a slash":           {"/menu/streamy", `{"data":2}`, `{"result":"done 2, streamed: 2 times"}`},
		"numbers keep all their digits": {"/echo", `{"data":[12345678901234567890.10,1E400]}`, `{"result":[12345678901234567890.10,1E400]}`},
		"null is an input":              {"/echo", `{"data":null}`, `{"result":null}`},
		"no data":                       {"/echo", `{}`, `{"result":null}`},
		"no body":                       {"/echo", ``, `{"result":null}`},
	} {
		t.Run(name, func(t *testing.T) {
			r := w.post(test.path, test.body)
			assert.Equal(t, http.StatusOK, r.status, r.body)
			assert.Equal(t, "application/json", r.header.Get("Content-Type"))
			assert.Equal(t, test.want+"\n", r.body)
		})
	}
}

func TestBodiesOfAnySizeComeBackWhole(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	for _, size := range []int{0, 1, 500, 511, 512, 32 << 10, 64 << 10, 1 << 20, 3 << 20} {
		data := `"` + strings.Repeat("é", size/2) + `"`
		assert.Equal(t, `{"result":`+data+"}\n", w.post("/echo", `{"data":`+data+`}`).body, "%d bytes", size)
		chunked := w.sendBody(t.Context(), http.MethodPost, "/echo", struct{ io.Reader }{strings.NewReader(`{"data":` + data + `}`)})
		assert.Equal(t, `{"result":`+data+"}\n", read(t, chunked).body, "%d bytes in chunks", size)
	}
}

func TestAFlowStreams(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	want := "data: {\"message\":{\"count\":0}}\n\ndata: {\"message\":{\"count\":1}}\n\ndata: {\"result\":\"done 2, streamed: 2 times\"}\n\n"
	for _, r := range []reply{
		w.post("/menu/streamy", `{"data":2}`, sse),
		w.post("/menu/streamy", `{"data":2}`, "Accept: application/json, Text/Event-Stream;q=0.9"),
		w.post("/menu/streamy?stream=true", `{"data":2}`),
		w.post("/menu/streamy?stream=1", `{"data":2}`),
		w.post("/menu/streamy?stream=false", `{"data":2}`, sse),
	} {
		assert.Equal(t, http.StatusOK, r.status)
		assert.Equal(t, "text/event-stream", r.header.Get("Content-Type"))
		assert.Equal(t, "no-cache", r.header.Get("Cache-Control"))
		assert.Empty(t, r.header.Get("X-Genkit-Stream-Id"), "a plain stream can't be resumed")
		assert.Equal(t, want, r.body)
	}
	assert.Equal(t, "data: {\"message\":{\"a\":\"<1>\"}}\n\ndata: {\"result\":[1.0,2e400]}\n\n", w.post("/pretty", ``, sse).body, "line breaks do not break frames")
	assert.Equal(t, "data: {\"result\":null}\n\n", w.post("/echo", ``, sse).body)
	assert.Equal(t, "data: {\"result\":{\"\\u00e9\":\"a\\u20ac\\ud83d\\ude00\\\\\"}}\n\n", w.post("/echo", `{"data":{"é":"a€😀\\"}}`, sse).body,
		"nothing but ASCII, whatever the reader cuts")
	assert.Equal(t, http.StatusBadRequest, w.post("/echo?stream=perhaps", ``).status)
}

func TestAChunkIsSentAtOnce(t *testing.T) {
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: memory(t)}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, config)
			resp := make(chan *http.Response, 1)
			go func() { resp <- w.send(http.MethodPost, "/steps", ``, sse) }()
			w.step <- `1`
			r := <-resp
			lines := bufio.NewReader(r.Body)
			for _, chunk := range []string{"1", "2", "3"} {
				line, err := lines.ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, `data: {"message":`+chunk+"}\n", line, "while the flow waits")
				_, _ = lines.ReadString('\n')
				if chunk != "3" {
					w.step <- string(chunk[0] + 1)
				}
			}
			w.step <- "end"
			rest, err := io.ReadAll(lines)
			require.NoError(t, err)
			assert.Equal(t, "data: {\"result\":\"over\"}\n\n", string(rest))
		})
	}
}

// The headers of a stream do not wait for its first chunk, and who asks for heartbeats gets them, between whole frames.
func TestAStreamThatHasNothingToSayBeginsAndBeats(t *testing.T) {
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: memory(t)}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, config)
			r := w.send(http.MethodPost, "/steps", ``, sse)
			assert.Equal(t, "text/event-stream", r.Header.Get("Content-Type"), "while the flow has emitted nothing")
			w.step <- "end"
			assert.Equal(t, "data: {\"result\":\"over\"}\n\n", read(t, r).body)

			r = w.send(http.MethodPost, "/steps?heartbeat=1", ``, sse)
			lines := bufio.NewReader(r.Body)
			for range 2 {
				line, err := lines.ReadString('\n')
				require.NoError(t, err)
				assert.Equal(t, ": heartbeat\n", line)
				_, _ = lines.ReadString('\n')
			}
			w.step <- "fail"
			rest, err := io.ReadAll(lines)
			require.NoError(t, err)
			assert.Contains(t, strings.ReplaceAll(string(rest), ": heartbeat\n\n", ""), `data: {"error":{`)
		})
	}
	w := newWorld(t, flowserver.Config{})
	assert.Equal(t, http.StatusBadRequest, w.post("/echo?heartbeat=0", ``, sse).status)
	assert.Equal(t, "application/json", w.post("/echo", `{"data":1}`, "Accept: text/event-stream;q=0, application/json").header.Get("Content-Type"))
	assert.Equal(t, http.StatusUnsupportedMediaType, w.post("/echo", `{"data":1}`, "Content-Encoding: gzip").status)
}

func memory(t *testing.T) *durable.Memory {
	t.Helper()
	m := durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	return m
}

func TestFailures(t *testing.T) {
	w := newWorld(t, flowserver.Config{MaxBodyBytes: 1000})
	deep := strings.Repeat("[", 900)
	for name, test := range map[string]struct {
		reply  reply
		status int
		want   string
	}{
		"a flow that refuses":       {w.post("/refuses", `{}`), 403, `{"status":"PERMISSION_DENIED","message":"not <you>","details":{"n":1}}`},
		"text that is private":      {w.post("/private", `{}`), 500, `{"status":"INTERNAL","message":"internal error"}`},
		"an error of no status":     {w.post("/plain", `{}`), 500, `{"status":"INTERNAL","message":"internal error"}`},
		"a panic":                   {w.post("/panics", `{}`), 500, `{"status":"INTERNAL","message":"internal error"}`},
		"a flow that is not there":  {w.post("/none", `{}`), 404, `{"status":"NOT_FOUND","message":"flow \"none\" not found"}`},
		"no flow":                   {w.post("/", `{}`), 404, `{"status":"NOT_FOUND","message":"flow \"\" not found"}`},
		"a method that is not POST": {w.do(http.MethodGet, "/greet", ``), 405, `{"status":"UNIMPLEMENTED","message":"a flow takes POST only"}`},
		"broken JSON":               {w.post("/greet", `{"data":`), 400, `{"status":"INVALID_ARGUMENT","message":"body: not valid JSON"}`},
		"two values":                {w.post("/greet", `{}{}`), 400, `{"status":"INVALID_ARGUMENT","message":"body: not valid JSON"}`},
		"no UTF-8":                  {w.post("/greet", "{\"data\":\"\xff\"}"), 400, `{"status":"INVALID_ARGUMENT","message":"body: not valid UTF-8"}`},
		"deep nesting":              {w.post("/greet", deep), 400, ""},
		"no object":                 {w.post("/greet", `[{"data":1}]`), 400, `{"status":"INVALID_ARGUMENT","message":"body: want a JSON object"}`},
		"init":                      {w.post("/greet", `{"data":"x","init":{}}`), 400, `{"status":"INVALID_ARGUMENT","message":"body: \"init\" is for bidirectional actions, and this is none"}`},
		"init, before a stream":     {w.post("/greet", `{"data":"x","init":{}}`, sse), 400, ""},
		"input of another shape":    {w.post("/greet", `{"data":1}`), 400, ""},
		"no input where one is due": {w.post("/greet", `{}`), 400, ""},
		"a type that is not JSON":   {w.post("/greet", `{}`, "Content-Type: ", "Content-Type: text/plain"), 415, ""},
		"no type":                   {w.post("/greet", `{}`, "Content-Type: "), 415, ""},
		"another charset":           {w.post("/greet", `{}`, "Content-Type: ", "Content-Type: application/json; charset=latin1"), 415, ""},
		"a body that is too big":    {w.post("/greet", `{"data":"`+strings.Repeat("x", 1000)+`"}`), 413, `{"status":"INVALID_ARGUMENT","message":"the body exceeds the limit of 1000 bytes"}`},
		"one in chunks": {read(t, w.sendBody(t.Context(), http.MethodPost, "/greet",
			struct{ io.Reader }{strings.NewReader(`{"data":"` + strings.Repeat("x", 1000) + `"}`)})), 413, ""},
		"a page of another site": {w.post("/greet", `{"data":"x"}`, "Sec-Fetch-Site: cross-site"), 403, ""},
		"one that sends nothing": {w.post("/greet?stream=true", ``, "Content-Type: ", "Origin: https://evil.example"), 403, ""},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, test.status, test.reply.status, test.reply.body)
			assert.Equal(t, "application/json", test.reply.header.Get("Content-Type"))
			assert.Equal(t, "nosniff", test.reply.header.Get("X-Content-Type-Options"))
			assert.NotContains(t, test.reply.body, "42")
			var e struct{ Status, Message string }
			require.NoError(t, json.Unmarshal([]byte(test.reply.body), &e))
			assert.NotEmpty(t, e.Status)
			assert.NotEmpty(t, e.Message)
			if test.want != "" {
				assert.Equal(t, test.want+"\n", test.reply.body)
			}
		})
	}
	r := w.post("/busy", `{}`)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Equal(t, "2", r.header.Get("Retry-After"), "rounded up")
	assert.Equal(t, "POST", w.do(http.MethodPut, "/greet", ``).header.Get("Allow"))
	assert.NotEmpty(t, w.post("/private", `{}`).header.Get("X-Request-Id"), "to find the text by")
}

func TestFailuresOfStreamsAreFrames(t *testing.T) {
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: memory(t)}} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, config)
			for path, want := range map[string]string{
				"/refuses": `{"status":"PERMISSION_DENIED","message":"not <you>","details":{"n":1}}`,
				"/private": `{"status":"INTERNAL","message":"internal error"}`,
				"/panics":  `{"status":"INTERNAL","message":"internal error"}`,
				"/injects": `{"status":"INTERNAL","message":"internal error"}`,
			} {
				r := w.post(path, `{}`, sse)
				assert.Equal(t, http.StatusOK, r.status, "as Genkit answers: the stream has begun")
				assert.Equal(t, `data: {"error":`+want+"}\n\n", r.body, path)
			}
			r := w.post("/greet", `{"data":1}`, sse)
			assert.True(t, strings.HasPrefix(r.body, `data: {"error":{"status":"INVALID_ARGUMENT",`), r.body)
			assert.Equal(t, http.StatusNotFound, w.post("/none", `{}`, sse).status)
		})
	}
}

func TestDevShowsPrivateText(t *testing.T) {
	w := newWorld(t, flowserver.Config{Dev: true})
	assert.Contains(t, w.post("/private", `{}`).body, "the secret is 42")
	assert.Contains(t, w.post("/private", `{}`, sse).body, "the secret is 42")
}

func TestACallerWhoLeavesEndsAPlainFlow(t *testing.T) {
	for name, accept := range map[string]string{"while it streams": sse, "while it waits": "Accept: */*"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, flowserver.Config{})
			ctx, cancel := context.WithCancel(t.Context())
			gone := make(chan struct{})
			go func() {
				defer close(gone)
				req, _ := http.NewRequestWithContext(ctx, http.MethodPost, w.URL+"/waits", strings.NewReader(`{}`))
				req.Header.Set("Content-Type", "application/json")
				req.Header.Set("Accept", strings.TrimPrefix(accept, "Accept: "))
				if resp, err := w.Client().Do(req); err == nil {
					_, _ = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close()
				}
			}()
			receive(t, w.started)
			cancel()
			require.ErrorIs(t, receive(t, w.left), context.Canceled)
			<-gone
		})
	}
}

func receive[T any](t *testing.T, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-time.After(patience):
		t.Fatal("nothing came")
	}
	panic("not reached")
}

func TestAReaderWhoStallsIsCutOff(t *testing.T) {
	w := newWorld(t, flowserver.Config{WriteTimeout: 50 * time.Millisecond})
	resp := w.send(http.MethodPost, "/floods", ``, sse)
	require.ErrorIs(t, receive(t, w.left), status.ErrCancelled, "without a byte having been read")
	_ = resp.Body.Close()
}

func TestABodyThatStallsIsCutOff(t *testing.T) {
	w := newWorld(t, flowserver.Config{ReadTimeout: 50 * time.Millisecond})
	body, pipe := io.Pipe()
	defer pipe.Close()
	go func() { _, _ = pipe.Write([]byte(`{"data":`)) }()
	r := read(t, w.sendBody(t.Context(), http.MethodPost, "/echo", body))
	assert.Equal(t, http.StatusRequestTimeout, r.status)
	assert.JSONEq(t, `{"status":"DEADLINE_EXCEEDED","message":"the body took too long to arrive"}`, r.body)
}

func TestEmittingAfterTheEndDoesNothing(t *testing.T) {
	var emitted action.Emit
	a, err := action.New(action.Desc{Kind: action.Flow, Name: "late"}, func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		emitted = emit
		return json.RawMessage(`1`), nil
	})
	require.NoError(t, err)
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: memory(t)}} {
		t.Run(name, func(t *testing.T) {
			srv, err := flowserver.New(config)
			require.NoError(t, err)
			rec := httptest.NewRecorder()
			srv.Handler(flowserver.Flow{Action: a}).ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/?stream=true", nil))
			require.NoError(t, srv.Close(t.Context()))
			require.ErrorIs(t, emitted(json.RawMessage(`2`)), status.ErrFailedPrecondition)
			assert.Equal(t, "data: {\"result\":1}\n\n", rec.Body.String())
		})
	}
}

func TestProvidersSayWhoCalls(t *testing.T) {
	tenant := func(_ context.Context, r *contextprovider.Request) (contextprovider.Values, error) {
		if r.Method != http.MethodPost || string(r.Input) != `"in"` || r.Headers["x-twice"] != "1, 2" {
			return nil, status.Publicf(status.InvalidArgument, "%s %s %v", r.Method, r.Input, r.Headers)
		}
		return contextprovider.Values{"tenant": "acme", "n": json.Number("12345678901234567890")}, nil
	}
	w := newWorld(t, flowserver.Config{
		Context: []contextprovider.Provider{contextprovider.APIKey("s3cret"), tenant},
		Prepare: func(ctx context.Context) context.Context {
			return action.WithContext(ctx, json.RawMessage(`{"auth":{"uid":"engine"},"engine":1.10}`))
		},
	})
	body := `{"data":"in"}`
	r := w.post("/who", body, "Authorization: s3cret", "X-Twice: 1", "X-Twice: 2")
	assert.Equal(t, "{\"result\":{\"auth\":{\"apiKey\":\"s3cret\"},\"engine\":1.10,\"n\":12345678901234567890,\"tenant\":\"acme\"}}\n", r.body,
		"the last that gives a member counts")
	assert.Equal(t, http.StatusUnauthorized, w.post("/who", body).status)
	r = w.post("/who", body, "Authorization: wrong")
	assert.Equal(t, http.StatusForbidden, r.status)
	assert.Equal(t, "{\"status\":\"PERMISSION_DENIED\",\"message\":\"Permission Denied\"}\n", r.body)
	assert.Equal(t, http.StatusForbidden, w.post("/who", body, "Authorization: wrong", sse).status, "before a stream begins")
	assert.Equal(t, http.StatusBadRequest, w.post("/who", body, "Authorization: s3cret").status, "every provider is asked")
}

func TestAFlowHasProvidersOfItsOwn(t *testing.T) {
	w := newWorld(t, flowserver.Config{})
	who, err := w.registry().Lookup(t.Context(), action.Key{Kind: action.Flow, Name: "who"})
	require.NoError(t, err)
	panics := func(context.Context, *contextprovider.Request) (contextprovider.Values, error) {
		panic("the secret is 42")
	}
	h, err := w.flows.Flows("/api/",
		flowserver.Flow{Action: who, Path: "open"},
		flowserver.Flow{Action: who, Context: []contextprovider.Provider{contextprovider.APIKey("k")}},
		flowserver.Flow{Action: who, Path: "broken", Context: []contextprovider.Provider{panics}},
	)
	require.NoError(t, err)
	for path, want := range map[string]int{"/api/open": 200, "/api/who": 401, "/api/none": 404, "/open": 404, "/api/broken": 500} {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, httptest.NewRequest(http.MethodPost, path, nil))
		assert.Equal(t, want, rec.Code, path)
		assert.NotContains(t, rec.Body.String(), "42")
	}
	_, err = w.flows.Flows("", flowserver.Flow{Action: who}, flowserver.Flow{Action: who, Path: "who"})
	require.ErrorIs(t, err, status.ErrAlreadyExists)
	_, err = w.flows.Flows("", flowserver.Flow{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestManyAtATime(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	var wg sync.WaitGroup
	for i := range 64 {
		wg.Go(func() {
			name := fmt.Sprintf("/echo?stream=%t", i%2 == 0)
			for j := range 20 {
				data := fmt.Sprintf("[%d,%d]", i, j)
				assert.Contains(t, w.post(name, `{"data":`+data+`}`).body, `{"result":`+data+`}`)
			}
		})
	}
	wg.Wait()
}
