package usage_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage/usagetest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestADirectoryIsAStore(t *testing.T) {
	usagetest.Store(t, func(t *testing.T) usage.Store {
		t.Helper()
		files, err := storedir.Open(t.TempDir(), "test")
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, files.Close()) })
		return hidden{usage.DirStore(files)}
	})
}

// hidden does not tell of the lock of a directory, which other stores have not.
type hidden struct{ usage.Store }

func (h hidden) Names() ([]string, error) {
	names, err := h.Store.Names()
	return slices.DeleteFunc(names, func(name string) bool { return name == "lock" || name == ".lock" }), err
}

// table is a store of an embedder.
type table map[string][]byte

func (s table) Names() (names []string, err error) {
	for name := range s {
		names = append(names, name)
	}
	slices.Sort(names)
	return names, nil
}

func (s table) Read(name string) ([]byte, error) {
	text, ok := s[name]
	if !ok {
		return nil, status.Errorf(status.NotFound, "no row %q", name)
	}
	return bytes.Clone(text), nil
}

func (s table) Append(name string, text []byte) error {
	if len(text) > 0 {
		s[name] = append(s[name], text...)
	}
	return nil
}

func (s table) Replace(name string, text []byte) error {
	delete(s, name)
	if len(text) > 0 {
		s[name] = bytes.Clone(text)
	}
	return nil
}

func TestATableIsAStore(t *testing.T) {
	usagetest.Store(t, func(*testing.T) usage.Store { return table{} })
}

func TestAFileIsASink(t *testing.T) {
	usagetest.Sink(t, func(t *testing.T) usagetest.Receiver {
		t.Helper()
		path := filepath.Join(t.TempDir(), "events.jsonl")
		f, err := usage.NewFile(usage.FileConfig{Path: path})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, f.Close()) })
		return usagetest.Receiver{Sink: f, Got: func() (events []json.RawMessage) {
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			for line := range bytes.Lines(raw) {
				events = append(events, bytes.TrimSpace(line))
			}
			return events
		}}
	})
}

func TestAURLIsASink(t *testing.T) {
	usagetest.Sink(t, func(t *testing.T) usagetest.Receiver {
		t.Helper()
		var mu sync.Mutex
		var got []json.RawMessage
		srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(r.Body)
			assert.NoError(t, err)
			var events []json.RawMessage
			assert.NoError(t, json.Unmarshal(body, &events))
			mu.Lock()
			defer mu.Unlock()
			got = append(got, events...)
			w.WriteHeader(http.StatusAccepted)
		}))
		t.Cleanup(srv.Close)
		s, err := usage.NewHTTP(usage.HTTPConfig{URL: srv.URL})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, s.Close()) })
		return usagetest.Receiver{Sink: s, Got: func() []json.RawMessage {
			mu.Lock()
			defer mu.Unlock()
			return slices.Clone(got)
		}}
	})
}

// A book in a store of an embedder finds its days there, forgets the oldest, and has no directory.
func TestABookInAnotherStore(t *testing.T) {
	s := table{}
	b := open(t, usage.Config{Store: s, Days: 2, Sinks: []usage.Target{{Name: "test", Sink: discards{}}}})
	now := at("2030-01-01T12:00:00Z")
	b.Clock(func() time.Time { return now })
	for range 4 {
		countAt(b, now)
		require.NoError(t, b.Flush())
		now = now.AddDate(0, 0, 1)
	}
	require.NoError(t, b.Close())
	names, err := s.Names()
	require.NoError(t, err)
	assert.Equal(t, []string{"began", "day-2030-01-03.log", "day-2030-01-04.log", "size-2030-01-03", "size-2030-01-04"}, names)
	b = open(t, usage.Config{Store: s})
	assert.EqualValues(t, 1, report(t, b, "", usage.Query{Since: at("2030-01-04T00:00:00Z"), Until: at("2030-01-04T00:00:00Z")}).Total.Calls)
}

type discards struct{}

func (discards) Send(context.Context, []json.RawMessage) error { return nil }

func countAt(b *usage.Book, now time.Time) {
	b.Record(tenant.Event{Time: now, Tenant: "acme", Tool: "calc/add"})
}
