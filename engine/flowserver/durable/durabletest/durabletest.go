// Package durabletest is the kit for stream managers: the contract of every durable.Manager,
// checked through its methods.
//
// It is for tests and never imported by code that ships. Use:
//
//	func TestManager(t *testing.T) {
//		durabletest.Run(t, func(t *testing.T) durable.Manager { return redis.New(…) })
//	}
package durabletest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Run runs every check against a new manager from create. create must release the
// manager with t.Cleanup.
func Run(t *testing.T, create func(t *testing.T) durable.Manager) {
	t.Helper()
	for name, check := range map[string]func(t *testing.T, m durable.Manager){
		"a stream is replayed from its beginning":            replay,
		"a reader waits for new events":                      live,
		"a failed stream is replayed with its error":         failure,
		"several readers see the same":                       many,
		"an unknown stream is not found":                     unknown,
		"a key can be opened once":                           once,
		"nothing is written after the end":                   afterEnd,
		"a reader who does not read holds up nobody":         slow,
		"closing a reader does not end the stream":           leaves,
		"Next returns when its context ends":                 cancelled,
		"arguments are copied":                               reuse,
		"chunks of several writers are whole and none lost":  writers,
		"a stream ends with Done or Failed only":             chunkEnd,
		"values come back byte by byte":                      exact,
		"streams do not mix":                                 apart,
		"a reader may come between the chunks and the end":   between,
		"a failure of the size that is promised always fits": bigFailure,
	} {
		t.Run(name, func(t *testing.T) { check(t, create(t)) })
	}
}

func open(t *testing.T, m durable.Manager, key string) durable.Writer {
	t.Helper()
	w, err := m.Open(t.Context(), key)
	require.NoError(t, err)
	return w
}

func write(t *testing.T, w durable.Writer, chunks ...string) {
	t.Helper()
	for _, c := range chunks {
		require.NoError(t, w.Write(t.Context(), json.RawMessage(c)))
	}
}

func end(t *testing.T, w durable.Writer, kind durable.Kind, value string) {
	t.Helper()
	require.NoError(t, w.End(t.Context(), durable.Event{Kind: kind, Value: json.RawMessage(value)}))
}

func subscribe(t *testing.T, m durable.Manager, key string) durable.Reader {
	t.Helper()
	r, err := m.Subscribe(t.Context(), key)
	require.NoError(t, err)
	t.Cleanup(r.Close)
	return r
}

// timeout is how long a check waits for an event that must come.
const timeout = 30 * time.Second

// take reads n events, or all with n < 0, as "kind value".
func take(t *testing.T, r durable.Reader, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var got []string
	for n < 0 || len(got) < n {
		events, err := r.Next(ctx)
		if err == io.EOF { //nolint:errorlint // the contract says io.EOF itself
			require.Negative(t, n, "the stream ended after %q", got)
			return got
		}
		require.NoError(t, err, "after %q", got)
		require.NotEmpty(t, events)
		for _, e := range events {
			got = append(got, e.Kind.String()+" "+string(e.Value))
		}
	}
	return got
}

func replay(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	write(t, w, `1`, `{"a":2}`)
	end(t, w, durable.Done, `"out"`)
	for range 2 {
		r := subscribe(t, m, "k")
		assert.Equal(t, []string{"chunk 1", `chunk {"a":2}`, `done "out"`}, take(t, r, -1))
		_, err := r.Next(t.Context())
		require.ErrorIs(t, err, io.EOF, "the end stays the end")
	}
}

func live(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	write(t, w, `1`)
	r := subscribe(t, m, "k")
	assert.Equal(t, []string{"chunk 1"}, take(t, r, 1))
	var wg sync.WaitGroup
	wg.Go(func() {
		assert.NoError(t, w.Write(context.Background(), json.RawMessage(`2`)))
		assert.NoError(t, w.End(context.Background(), durable.Event{Kind: durable.Done, Value: json.RawMessage(`3`)}))
	})
	assert.Equal(t, []string{"chunk 2", "done 3"}, take(t, r, -1))
	wg.Wait()
}

func failure(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	write(t, w, `1`)
	end(t, w, durable.Failed, `{"status":"ABORTED","message":"no"}`)
	assert.Equal(t, []string{"chunk 1", `error {"status":"ABORTED","message":"no"}`}, take(t, subscribe(t, m, "k"), -1))
}

func many(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	var wg sync.WaitGroup
	got := make([][]string, 8)
	for i := range got {
		r := subscribe(t, m, "k")
		wg.Go(func() { got[i] = take(t, r, -1) })
	}
	want := make([]string, 0, 201)
	for i := range 200 {
		write(t, w, fmt.Sprint(i))
		want = append(want, fmt.Sprintf("chunk %d", i))
	}
	end(t, w, durable.Done, `null`)
	wg.Wait()
	for i := range got {
		assert.Equal(t, append(want, "done null"), got[i], "reader %d", i)
	}
}

func unknown(t *testing.T, m durable.Manager) {
	_, err := m.Subscribe(t.Context(), "k")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func once(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	_, err := m.Open(t.Context(), "k")
	require.ErrorIs(t, err, status.ErrAlreadyExists)
	end(t, w, durable.Done, `1`)
	_, err = m.Open(t.Context(), "k")
	require.ErrorIs(t, err, status.ErrAlreadyExists, "nor after its end")
}

func afterEnd(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	end(t, w, durable.Done, `1`)
	require.ErrorIs(t, w.Write(t.Context(), json.RawMessage(`2`)), status.ErrFailedPrecondition)
	require.ErrorIs(t, w.End(t.Context(), durable.Event{Kind: durable.Failed, Value: json.RawMessage(`{}`)}), status.ErrFailedPrecondition)
	assert.Equal(t, []string{"done 1"}, take(t, subscribe(t, m, "k"), -1))
}

func slow(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	idle := subscribe(t, m, "k")
	assert.NotNil(t, idle)
	written := make(chan struct{})
	go func() {
		defer close(written)
		for i := range 2000 {
			assert.NoError(t, w.Write(context.Background(), json.RawMessage(fmt.Sprint(i))))
		}
		assert.NoError(t, w.End(context.Background(), durable.Event{Kind: durable.Done, Value: json.RawMessage(`1`)}))
	}()
	select {
	case <-written:
	case <-time.After(timeout):
		t.Fatal("the writer waits for a reader")
	}
	assert.Len(t, take(t, idle, -1), 2001, "a slow reader gets every event")
}

func leaves(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	write(t, w, `1`)
	r, err := m.Subscribe(t.Context(), "k")
	require.NoError(t, err)
	assert.Equal(t, []string{"chunk 1"}, take(t, r, 1))
	r.Close()
	write(t, w, `2`)
	end(t, w, durable.Done, `3`)
	assert.Equal(t, []string{"chunk 1", "chunk 2", "done 3"}, take(t, subscribe(t, m, "k"), -1))
}

func cancelled(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	r := subscribe(t, m, "k")
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() {
		_, err := r.Next(ctx)
		failed <- err
	}()
	cancel()
	select {
	case err := <-failed:
		require.ErrorIs(t, err, context.Canceled)
	case <-time.After(timeout):
		t.Fatal("the reader still waits")
	}
	end(t, w, durable.Done, `1`)
}

func reuse(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	buf := json.RawMessage(`111`)
	write(t, w, string(buf))
	require.NoError(t, w.Write(t.Context(), buf))
	copy(buf, `222`)
	require.NoError(t, w.End(t.Context(), durable.Event{Kind: durable.Done, Value: buf}))
	copy(buf, `333`)
	assert.Equal(t, []string{"chunk 111", "chunk 111", "done 222"}, take(t, subscribe(t, m, "k"), -1))
}

func writers(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	var wg sync.WaitGroup
	want := []string{"done 0"}
	for i := range 8 {
		for j := range 50 {
			want = append(want, fmt.Sprintf("chunk [%d,%d]", i, j))
		}
		wg.Go(func() {
			for j := range 50 {
				assert.NoError(t, w.Write(context.Background(), json.RawMessage(fmt.Sprintf("[%d,%d]", i, j))))
			}
		})
	}
	wg.Wait()
	end(t, w, durable.Done, `0`)
	assert.ElementsMatch(t, want, take(t, subscribe(t, m, "k"), -1))
}

func chunkEnd(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	require.ErrorIs(t, w.End(t.Context(), durable.Event{Kind: durable.Chunk, Value: json.RawMessage(`1`)}), status.ErrInvalidArgument)
	end(t, w, durable.Done, `1`)
}

func exact(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	write(t, w, `12345678901234567890.10`, `"</é\u0000>"`, `{"b":1,"a":1e400}`)
	end(t, w, durable.Done, `[1.0]`)
	assert.Equal(t, []string{"chunk 12345678901234567890.10", `chunk "</é\u0000>"`, `chunk {"b":1,"a":1e400}`, "done [1.0]"}, take(t, subscribe(t, m, "k"), -1))
}

func apart(t *testing.T, m durable.Manager) {
	a, b := open(t, m, "a"), open(t, m, "b")
	write(t, a, `1`)
	write(t, b, `2`)
	end(t, b, durable.Done, `20`)
	end(t, a, durable.Done, `10`)
	assert.Equal(t, []string{"chunk 1", "done 10"}, take(t, subscribe(t, m, "a"), -1))
	assert.Equal(t, []string{"chunk 2", "done 20"}, take(t, subscribe(t, m, "b"), -1))
}

func between(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	r := subscribe(t, m, "k")
	write(t, w, `1`)
	assert.Equal(t, []string{"chunk 1"}, take(t, r, 1))
	end(t, w, durable.Done, `2`)
	assert.Equal(t, []string{"done 2"}, take(t, r, -1))
}

func bigFailure(t *testing.T, m durable.Manager) {
	w := open(t, m, "k")
	value := make([]byte, durable.MaxFailureBytes)
	for i := range value {
		value[i] = ' '
	}
	copy(value, `{"status":"INTERNAL"}`)
	end(t, w, durable.Failed, string(value))
	assert.Equal(t, []string{"error " + string(value)}, take(t, subscribe(t, m, "k"), -1))
}
