// Package usagetest checks that the stores and sinks of usage accounts keep their contracts.
//
// It owns the kits for [usage.Store] and [usage.Sink]. Use, in a test of one:
//
//	usagetest.Store(t, func(t *testing.T) usage.Store { return open(t) })
//	usagetest.Sink(t, func(t *testing.T) usagetest.Receiver { return usagetest.Receiver{Sink: sink, Got: got} })
package usagetest

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// Store runs the contract of [usage.Store]; open returns an empty one, and sees to its end.
func Store(t *testing.T, open func(t *testing.T) usage.Store) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, usage.Store){
		"text comes back as it was stored":       testRoundTrip,
		"names keep apart and come sorted":       testNames,
		"what is appended comes after":           testAppend,
		"what is removed is gone":                testRemove,
		"text is the caller's":                   testNotShared,
		"a day's text may be long":               testLong,
		"a book finds in it what it has written": testBook,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func read(t *testing.T, s usage.Store, name string) string {
	t.Helper()
	text, err := s.Read(name)
	require.NoError(t, err)
	return string(text)
}

func testRoundTrip(t *testing.T, s usage.Store) {
	_, err := s.Read("began")
	require.ErrorIs(t, err, status.ErrNotFound)
	for _, text := range []string{"2030-01-31T12:00:00Z", "\x00\xff\r\n\n"} {
		require.NoError(t, s.Replace("began", []byte(text)))
		assert.Equal(t, text, read(t, s, "began"))
	}
}

func testNames(t *testing.T, s usage.Store) {
	names, err := s.Names()
	require.NoError(t, err)
	assert.Empty(t, names)
	for _, name := range []string{"day-2030-01-31.log", "began", "day-2029-12-31.log", strings.Repeat("z", 64)} {
		require.NoError(t, s.Append(name, []byte(name)))
	}
	names, err = s.Names()
	require.NoError(t, err)
	assert.Equal(t, []string{"began", "day-2029-12-31.log", "day-2030-01-31.log", strings.Repeat("z", 64)}, names)
	for _, name := range names {
		assert.Equal(t, name, read(t, s, name))
	}
}

func testAppend(t *testing.T, s usage.Store) {
	require.NoError(t, s.Append("day", nil))
	_, err := s.Read("day")
	require.ErrorIs(t, err, status.ErrNotFound, "no text stores nothing")
	for _, text := range []string{"a\n", "", "b\n"} {
		require.NoError(t, s.Append("day", []byte(text)))
	}
	assert.Equal(t, "a\nb\n", read(t, s, "day"))
	require.NoError(t, s.Replace("day", []byte("c\n")))
	require.NoError(t, s.Append("day", []byte("d\n")))
	assert.Equal(t, "c\nd\n", read(t, s, "day"))
}

func testRemove(t *testing.T, s usage.Store) {
	require.NoError(t, s.Replace("day", nil), "what is not there is no failure")
	require.NoError(t, s.Append("day", []byte("a")))
	require.NoError(t, s.Replace("day", nil))
	_, err := s.Read("day")
	require.ErrorIs(t, err, status.ErrNotFound)
	names, err := s.Names()
	require.NoError(t, err)
	assert.Empty(t, names)
	require.NoError(t, s.Append("day", []byte("b")))
	assert.Equal(t, "b", read(t, s, "day"))
}

func testNotShared(t *testing.T, s usage.Store) {
	for _, put := range []func(string, []byte) error{s.Append, s.Replace} {
		text := []byte("abc")
		require.NoError(t, s.Replace("day", nil))
		require.NoError(t, put("day", text))
		text[0] = 'X'
		got, err := s.Read("day")
		require.NoError(t, err)
		assert.Equal(t, "abc", string(got))
		got[0] = 'X'
		assert.Equal(t, "abc", read(t, s, "day"))
	}
}

func testLong(t *testing.T, s usage.Store) {
	long := strings.Repeat("0123456789abcde\n", 1<<17) // 2 MiB
	require.NoError(t, s.Append("day", []byte(long)))
	require.NoError(t, s.Append("day", []byte(long)))
	assert.Equal(t, sha256.Sum256([]byte(long+long)), sha256.Sum256([]byte(read(t, s, "day"))), "and is told apart by its hash")
}

func testBook(t *testing.T, s usage.Store) {
	for round := range int64(3) {
		b, err := usage.Open(usage.Config{Store: s})
		require.NoError(t, err)
		r, err := b.Report(t.Context(), usage.Query{Since: time.Now().AddDate(0, 0, -1)})
		require.NoError(t, err)
		assert.Equal(t, round, r.Total.Calls)
		b.Record(tenant.Event{Time: time.Now(), Tenant: "acme", Tool: "calc/add"})
		require.NoError(t, b.Close())
	}
}

// Receiver is a sink, and what has come where it sends events.
type Receiver struct {
	usage.Sink
	// Got returns the events, each as it came, in their order.
	Got func() []json.RawMessage
}

// Sink runs the contract of [usage.Sink]; open returns one to which nothing was sent yet, and sees to its
// end.
func Sink(t *testing.T, open func(t *testing.T) Receiver) {
	t.Helper()
	t.Run("events arrive as they are, in their order", func(t *testing.T) {
		r := open(t)
		var want []string
		for batch, size := range []int{1, 3, 500} {
			var events []json.RawMessage
			for i := range size {
				raw := event(fmt.Sprintf("e-%d-%d", batch, i), "calc/add")
				want, events = append(want, string(raw)), append(events, raw)
			}
			require.NoError(t, r.Send(t.Context(), events))
		}
		assert.Equal(t, want, texts(r.Got()))
	})
	t.Run("names may hold anything", func(t *testing.T) {
		r := open(t)
		raw := event("e-1", "a \"b\"\n\u2028é"+strings.Repeat("x", 400))
		require.NoError(t, r.Send(t.Context(), []json.RawMessage{raw}))
		assert.Equal(t, []string{string(raw)}, texts(r.Got()))
	})
	t.Run("slices are the caller's again", func(t *testing.T) {
		r := open(t)
		raw := event("e-1", "calc/add")
		want := string(raw)
		events := []json.RawMessage{raw}
		require.NoError(t, r.Send(t.Context(), events))
		for i := range raw {
			raw[i] = 'X'
		}
		events[0] = nil
		require.NoError(t, r.Send(t.Context(), []json.RawMessage{json.RawMessage(want)}), "an event may come twice")
		assert.Equal(t, want, texts(r.Got())[0])
	})
	t.Run("what is acknowledged is delivered, also when the context has ended", func(t *testing.T) {
		r := open(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		raw := event("e-1", "calc/add")
		if r.Send(ctx, []json.RawMessage{raw}) == nil {
			assert.Equal(t, []string{string(raw)}, texts(r.Got()))
		}
		require.NoError(t, r.Send(t.Context(), []json.RawMessage{raw}), "and it can be sent again")
	})
}

// event is an event as a book sends it.
func event(id, name string) json.RawMessage {
	raw, err := json.Marshal(map[string]any{
		"specversion": "1.0", "id": id, "source": "/v1/tenants/acme", "type": "com.github.genkit-wasm.call.tool", "subject": name, "time": "2030-01-31T12:00:00.000000Z",
		"datacontenttype": "application/json", "data": map[string]any{"tenant": "acme", "kind": "tool", "name": name, "code": "OK", "wallNs": 5},
	})
	if err != nil {
		panic(err) // texts and a number always encode
	}
	return raw
}

func texts(events []json.RawMessage) (all []string) {
	for _, e := range events {
		all = append(all, string(e))
	}
	return all
}
