package flowserver_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// begin starts the flow "steps" and reads on in the background.
func (w *world) begin(headers ...string) (id string, all <-chan string, leave func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	resp := w.sendBody(ctx, http.MethodPost, "/steps", strings.NewReader(``), append(headers, sse)...)
	require.Equal(w.t, http.StatusOK, resp.StatusCode)
	read := make(chan string, 1)
	go func() {
		raw, _ := io.ReadAll(resp.Body)
		read <- string(raw)
	}()
	return resp.Header.Get("X-Genkit-Stream-Id"), read, cancel
}

func resume(id string) []string { return []string{sse, "X-Genkit-Stream-Id: " + id} }

const wholeStream = "data: {\"message\":1}\n\ndata: {\"message\":2}\n\ndata: {\"result\":\"over\"}\n\n"

func TestAStreamIsKept(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	id, all, _ := w.begin()
	assert.Regexp(t, `^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`, id, "before the first chunk")
	w.step <- "1"
	joined := w.send(http.MethodPost, "/steps", ``, resume(id)...)
	assert.Equal(t, id, joined.Header.Get("X-Genkit-Stream-Id"))
	line, err := bufio.NewReader(joined.Body).ReadString('\n')
	require.NoError(t, err)
	assert.Equal(t, "data: {\"message\":1}\n", line, "a reader who comes late gets what was")
	_ = joined.Body.Close()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() { assert.Equal(t, wholeStream, w.post("/steps", ``, resume(id)...).body) })
	}
	w.step <- "2"
	w.step <- "end"
	wg.Wait()
	assert.Equal(t, wholeStream, receive(t, all))
	r := w.post("/steps?stream=true", `{"data":"x"}`, "X-Genkit-Stream-Id: "+id)
	assert.Equal(t, wholeStream, r.body, "also after the end")
	assert.Equal(t, "text/event-stream", r.header.Get("Content-Type"))
}

func TestAFailureIsKept(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	id, all, _ := w.begin()
	w.step <- "1"
	w.step <- "fail"
	want := "data: {\"message\":1}\n\ndata: {\"error\":{\"status\":\"ABORTED\",\"message\":\"as asked\"}}\n\n"
	assert.Equal(t, want, receive(t, all))
	assert.Equal(t, want, w.post("/steps", ``, resume(id)...).body)

	resp := w.send(http.MethodPost, "/private", ``, sse)
	assert.NotContains(t, read(t, resp).body, "42")
	assert.NotContains(t, w.post("/private", ``, resume(resp.Header.Get("X-Genkit-Stream-Id"))...).body, "42", "private text is not kept")
}

func TestAFlowWhoseStreamIsKeptOutlivesItsReaders(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	served, handler := make(chan struct{}, 10), w.Config.Handler
	w.Config.Handler = http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(rw, r)
		served <- struct{}{}
	})
	id, all, leave := w.begin()
	w.step <- "1"
	leave()
	receive(t, all)
	receive(t, served) // the server has noticed
	w.step <- "2"      // and somebody still takes it
	w.step <- "end"
	assert.Equal(t, wholeStream, w.post("/steps", ``, resume(id)...).body)
}

func TestAPlainFlowIsNotKept(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t)})
	steps, err := w.registry().Lookup(t.Context(), action.Key{Kind: action.Flow, Name: "greet"})
	require.NoError(t, err)
	w.Config.Handler = w.flows.Handler(flowserver.Flow{Action: steps, Plain: true})
	assert.Empty(t, w.post("/", `{"data":"x"}`, sse).header.Get("X-Genkit-Stream-Id"))
}

func TestStreamsThatCanNotBeResumed(t *testing.T) {
	kept := newWorld(t, flowserver.Config{Streams: memory(t)})
	plain := newWorld(t, flowserver.Config{})
	id, all, _ := kept.begin()
	kept.step <- "end"
	receive(t, all)
	for name, r := range map[string]reply{
		"one that never was":                kept.post("/steps", ``, resume("6f1cdeae-0000-4000-8000-000000000000")...),
		"one of another flow":               kept.post("/waits", ``, resume(id)...),
		"one with a long name":              kept.post("/steps", ``, resume(strings.Repeat("x", 10_000))...),
		"one of a server that keeps none":   plain.post("/waits", ``, resume(id)...),
		"one of another server of the kind": newWorld(t, flowserver.Config{Streams: memory(t)}).post("/waits", ``, resume(id)...),
	} {
		assert.Equal(t, http.StatusNoContent, r.status, name)
		assert.Empty(t, r.body, name)
	}
	assert.Equal(t, `{"result":"Hello, Ada"}`+"\n", kept.post("/greet", `{"data":"Ada"}`, "X-Genkit-Stream-Id: "+id).body,
		"a request that does not stream runs")
}

func TestAStreamBelongsToItsCaller(t *testing.T) {
	who := func(_ context.Context, r *contextprovider.Request) (contextprovider.Values, error) {
		auth := map[string]any{}
		if err := json.Unmarshal([]byte(r.Headers["x-auth"]), &auth); err != nil {
			return nil, status.Publicf(status.Unauthenticated, "who are you?")
		}
		return contextprovider.Values{"auth": auth, "at": time.Now().String()}, nil
	}
	w := newWorld(t, flowserver.Config{Streams: memory(t), Context: []contextprovider.Provider{who}})
	for name, test := range map[string]struct {
		owner, same string
		others      []string
	}{
		"by uid, whatever else its token says": {
			`{"uid":"ann","token":{"iss":"a","exp":1}}`, `{"token":{"exp":2,"iss":"a"},"uid":"ann"}`,
			[]string{`{"uid":"bob","token":{"iss":"a","exp":1}}`, `{"uid":"ann","token":{"iss":"b","exp":1}}`, `{"uid":"ann"}`, `{}`},
		},
		"by key":                           {`{"apiKey":"k"}`, `{"apiKey":"k"}`, []string{`{"apiKey":"K"}`, `{}`, `{"uid":"k"}`}},
		"by all of auth where it is alone": {`{"role":"r","team":1}`, `{"team":1,"role":"r"}`, []string{`{"role":"r"}`, `{"uid":""}`}},
	} {
		t.Run(name, func(t *testing.T) {
			id, all, _ := w.begin("X-Auth: " + test.owner)
			w.step <- "end"
			want := receive(t, all)
			assert.Equal(t, want, w.post("/steps", ``, append(resume(id), "X-Auth: "+test.same)...).body)
			for _, other := range test.others {
				assert.Equal(t, http.StatusNoContent, w.post("/steps", ``, append(resume(id), "X-Auth: "+other)...).status, other)
			}
			assert.Equal(t, http.StatusUnauthorized, w.post("/steps", ``, resume(id)...).status, "providers are asked first")
		})
	}
}

func TestAStreamThatIsTooLongFails(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{MaxStreamBytes: 3 << 20})
	t.Cleanup(m.Close)
	w := newWorld(t, flowserver.Config{Streams: m})
	r := w.post("/floods", ``, sse)
	require.ErrorIs(t, receive(t, w.left), status.ErrResourceExhausted, "the flow is told")
	assert.Contains(t, r.body, `data: {"error":{"status":"RESOURCE_EXHAUSTED","message":"the stream exceeds`)
	assert.Contains(t, w.post("/ignores", ``, sse).body, `data: {"error":{"status":"RESOURCE_EXHAUSTED"`, "a stream with a gap is not one")
	big := `{"data":"` + strings.Repeat("x", 3<<20) + `"}`
	assert.Contains(t, w.post("/echo", big, sse).body, `data: {"error":{"status":"RESOURCE_EXHAUSTED"`, "nor is a long result")

	full := durable.NewMemory(durable.MemoryConfig{MaxStreams: 1})
	t.Cleanup(full.Close)
	w = newWorld(t, flowserver.Config{Streams: full})
	_, all, _ := w.begin()
	r = w.post("/steps", ``, sse)
	assert.Equal(t, http.StatusTooManyRequests, r.status)
	assert.Equal(t, "1", r.header.Get("Retry-After"))
	w.step <- "end"
	receive(t, all)
}

func TestAKeptFlowEndsByItsOwnTime(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t), StreamTimeout: 50 * time.Millisecond})
	r := w.post("/waits", ``, sse)
	require.ErrorIs(t, receive(t, w.left), context.DeadlineExceeded)
	assert.Contains(t, r.body, `data: {"error":{"status":"DEADLINE_EXCEEDED","message":"deadline exceeded"}}`)
}

func TestAStreamIsGoneWhenItsTimeIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := durable.NewMemory(durable.MemoryConfig{TTL: time.Minute})
		defer m.Close()
		srv, err := flowserver.New(flowserver.Config{Streams: m})
		require.NoError(t, err)
		a, err := action.New(action.Desc{Kind: action.Flow, Name: "x"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, nil })
		require.NoError(t, err)
		h := srv.Handler(flowserver.Flow{Action: a})
		first := record(h, sse)
		id := first.Header().Get("X-Genkit-Stream-Id")
		time.Sleep(59 * time.Second)
		assert.Equal(t, first.Body.String(), record(h, resume(id)...).Body.String())
		time.Sleep(2 * time.Second)
		assert.Equal(t, http.StatusNoContent, record(h, resume(id)...).Code)
		require.NoError(t, srv.Close(t.Context()))
	})
}

func TestASlowReaderOfAKeptStreamHoldsUpNobody(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: memory(t), WriteTimeout: time.Hour})
	slow := w.send(http.MethodPost, "/menu/streamy", `{"data":100000}`, sse) // is never read
	id := slow.Header.Get("X-Genkit-Stream-Id")
	r := w.post("/menu/streamy", ``, resume(id)...)
	assert.True(t, strings.HasSuffix(r.body, "data: {\"result\":\"done 100000, streamed: 100000 times\"}\n\n"))
	assert.Equal(t, 100_001, strings.Count(r.body, "\n\n"))
	assert.Contains(t, r.body, fmt.Sprintf("data: {\"message\":{\"count\":%d}}\n\n", 99_999))
	_ = slow.Body.Close()
}

// late is a manager in which a stream that has ended makes room for others before
// anybody can subscribe to it.
type late struct {
	durable.Manager
	ended chan struct{}
}

func (l late) Open(ctx context.Context, key string) (durable.Writer, error) {
	w, err := l.Manager.Open(ctx, key)
	return lateWriter{w, l.ended}, err
}

func (l late) Subscribe(ctx context.Context, key string) (durable.Reader, error) {
	select {
	case <-l.ended:
		return nil, status.ErrNotFound
	case <-time.After(20 * time.Millisecond):
		return l.Manager.Subscribe(ctx, key)
	}
}

type lateWriter struct {
	durable.Writer
	ended chan struct{}
}

func (w lateWriter) End(ctx context.Context, last durable.Event) error {
	err := w.Writer.End(ctx, last)
	close(w.ended)
	return err
}

func TestAFlowBeginsWhenItsReaderIsThere(t *testing.T) {
	w := newWorld(t, flowserver.Config{Streams: late{memory(t), make(chan struct{})}})
	r := w.post("/greet", `{"data":"Ada"}`, sse)
	assert.Equal(t, "data: {\"result\":\"Hello, Ada\"}\n\n", r.body)
}
