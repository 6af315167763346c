// Package kvtest is the contract of a key-value store as a test: every implementation
// of kv.Store passes it.
//
//	kvtest.Run(t, func(t *testing.T, now func() time.Time) kv.Store { return kv.NewMemory(now) })
package kvtest

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

var (
	mine  = kv.Namespace{Tenant: "a", Module: "b"}
	quota = kv.Quota{Keys: 100, Bytes: 10_000, ValueBytes: 1000}
)

// Run holds the stores that open makes against the contract. now is the clock that a
// store has to go by.
func Run(t *testing.T, open func(t *testing.T, now func() time.Time) kv.Store) {
	for name, test := range map[string]func(*testing.T, kv.Store, *clock){
		"values come back":        values,
		"wrong requests":          wrong,
		"namespaces are apart":    apart,
		"quotas hold":             quotas,
		"values expire":           expiry,
		"conditions are atomic":   conditions,
		"listings are complete":   listings,
		"a dropped space is gone": dropped,
		"marks last":              marks,
	} {
		t.Run(name, func(t *testing.T) {
			c := &clock{}
			c.at.Store(time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC).UnixNano())
			s := open(t, c.now)
			test(t, s, c)
			if closer, ok := s.(io.Closer); ok {
				require.NoError(t, closer.Close())
			}
		})
	}
}

// clock stands still until a test moves it.
type clock struct{ at atomic.Int64 }

func (c *clock) now() time.Time       { return time.Unix(0, c.at.Load()) }
func (c *clock) pass(d time.Duration) { c.at.Add(int64(d)) }
func raw(s string) json.RawMessage    { return json.RawMessage(s) }
func set(t *testing.T, s kv.Store, key, value string) {
	t.Helper()
	require.NoError(t, s.Set(t.Context(), mine, key, raw(value), kv.SetOptions{}, quota))
}

func get(t *testing.T, s kv.Store, key string) string {
	t.Helper()
	v, err := s.Get(t.Context(), mine, key)
	require.NoError(t, err)
	return string(v)
}

func values(t *testing.T, s kv.Store, _ *clock) {
	assert.Empty(t, get(t, s, "k"))
	set(t, s, "k", ` {"n" : 9007199254740993, "t": "é"} `)
	assert.Equal(t, `{"n":9007199254740993,"t":"é"}`, get(t, s, "k"), "compact, digits kept")
	set(t, s, "k", `false`)
	assert.Equal(t, `false`, get(t, s, "k"))
	set(t, s, "k", `null`)
	assert.Empty(t, get(t, s, "k"), "null is no value")
	require.NoError(t, kv.Delete(t.Context(), s, mine, "k"))
	set(t, s, "k", `1`)
	require.NoError(t, kv.Delete(t.Context(), s, mine, "k"))
	assert.Empty(t, get(t, s, "k"))
	v, err := s.Get(t.Context(), mine, "k")
	require.NoError(t, err)
	assert.Nil(t, v)
	deleted := kv.Namespace{Tenant: "a", Module: "deleted from"}
	require.NoError(t, kv.Delete(t.Context(), s, deleted, "k"))
	if lister, ok := s.(kv.Lister); ok {
		spaces, err := lister.Namespaces(t.Context())
		require.NoError(t, err)
		assert.NotContains(t, spaces, deleted, "a deletion makes no namespace")
	}
	// Values that are passed in or returned belong to the caller.
	value := raw(`"aaa"`)
	require.NoError(t, s.Set(t.Context(), mine, "k", value, kv.SetOptions{}, quota))
	value[1] = 'b'
	got, err := s.Get(t.Context(), mine, "k")
	require.NoError(t, err)
	got[1] = 'c'
	assert.Equal(t, `"aaa"`, get(t, s, "k"))
}

func wrong(t *testing.T, s kv.Store, _ *clock) {
	for _, key := range []string{"", strings.Repeat("x", kv.MaxKeyBytes+1), "\xff"} {
		_, err := s.Get(t.Context(), mine, key)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		require.ErrorIs(t, s.Set(t.Context(), mine, key, raw(`1`), kv.SetOptions{}, quota), status.ErrInvalidArgument)
		require.ErrorIs(t, kv.Delete(t.Context(), s, mine, key), status.ErrInvalidArgument)
	}
	for _, value := range []string{"", "{", "{} {}", "\"\xff\""} {
		require.ErrorIs(t, s.Set(t.Context(), mine, "k", raw(value), kv.SetOptions{}, quota), status.ErrInvalidArgument, value)
	}
	for _, o := range []kv.SetOptions{{TTL: -1}, {TTL: kv.MaxTTL + 1}, {If: raw("{")}} {
		require.ErrorIs(t, s.Set(t.Context(), mine, "k", raw(`1`), o, quota), status.ErrInvalidArgument)
	}
	for _, key := range []string{" ", "a/b", "a:b", "..", "data", "counts", "\x00", "☃", strings.Repeat("x", kv.MaxKeyBytes)} {
		set(t, s, key, `1`)
		assert.Equal(t, `1`, get(t, s, key))
	}
}

func apart(t *testing.T, s kv.Store, _ *clock) {
	spaces := []kv.Namespace{{Tenant: "a", Module: "b"}, {Tenant: "a", Module: "c"}, {Tenant: "b", Module: "a"}, {Tenant: "a", Module: "b/c"}, {Tenant: "a/b", Module: "c"}, {Tenant: "ab", Module: ""}}
	for i, ns := range spaces[:5] {
		require.NoError(t, s.Set(t.Context(), ns, "k", raw(fmt.Sprint(i)), kv.SetOptions{}, quota))
	}
	for i, ns := range spaces[:5] {
		v, err := s.Get(t.Context(), ns, "k")
		require.NoError(t, err)
		assert.Equal(t, fmt.Sprint(i), string(v))
		page, err := s.List(t.Context(), ns, "", "", 0)
		require.NoError(t, err)
		assert.Equal(t, []string{"k"}, page.Keys)
	}
	for _, ns := range []kv.Namespace{{Tenant: "a", Module: "B"}, {Tenant: "A", Module: "b"}, {Tenant: "b", Module: "c"}} {
		v, err := s.Get(t.Context(), ns, "k")
		require.NoError(t, err)
		assert.Nil(t, v)
	}
}

func quotas(t *testing.T, s kv.Store, _ *clock) {
	q := kv.Quota{Keys: 3, Bytes: 1000, ValueBytes: 400}
	put := func(key, value string) error { return s.Set(t.Context(), mine, key, raw(value), kv.SetOptions{}, q) }
	require.ErrorIs(t, put("k", `"`+strings.Repeat("x", 400)+`"`), status.ErrResourceExhausted)
	for i := range 3 {
		require.NoError(t, put(fmt.Sprint(i), `1`))
	}
	require.ErrorIs(t, put("3", `1`), status.ErrResourceExhausted)
	assert.Empty(t, get(t, s, "3"))
	require.NoError(t, put("2", `2`), "one that is there may change")
	require.NoError(t, kv.Delete(t.Context(), s, mine, "2"), "a deletion needs no quota")
	require.NoError(t, kv.Delete(t.Context(), s, mine, "2"))
	require.NoError(t, put("3", `1`))
	require.ErrorIs(t, put("4", `1`), status.ErrResourceExhausted, "a deletion that deleted nothing gives nothing back")
	big := `"` + strings.Repeat("x", 380) + `"`
	require.NoError(t, put("0", big))
	require.NoError(t, put("1", big))
	require.ErrorIs(t, put("3", big), status.ErrResourceExhausted)
	require.NoError(t, put("1", `1`))
	require.NoError(t, put("3", big))
	// A quota that has become smaller lets what is there be read and made less.
	q = kv.Quota{Keys: 1, Bytes: 10, ValueBytes: 400}
	require.ErrorIs(t, put("1", `123`), status.ErrResourceExhausted)
	require.NoError(t, put("3", `1`))
	require.NoError(t, put("3", `null`))
	require.ErrorIs(t, s.Set(t.Context(), kv.Namespace{Tenant: "x", Module: "y"}, "k", raw(`1`), kv.SetOptions{}, kv.Quota{}), status.ErrResourceExhausted)
}

func expiry(t *testing.T, s kv.Store, c *clock) {
	q := kv.Quota{Keys: 2, Bytes: 1000, ValueBytes: 100}
	put := func(key string, o kv.SetOptions) error { return s.Set(t.Context(), mine, key, raw(`1`), o, q) }
	require.NoError(t, put("a", kv.SetOptions{TTL: time.Second}))
	require.NoError(t, put("b", kv.SetOptions{TTL: time.Minute}))
	c.pass(time.Second - 1)
	assert.Equal(t, `1`, get(t, s, "a"))
	require.ErrorIs(t, put("c", kv.SetOptions{}), status.ErrResourceExhausted)
	c.pass(1)
	assert.Empty(t, get(t, s, "a"))
	page, err := s.List(t.Context(), mine, "", "", 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"b"}, page.Keys)
	require.NoError(t, put("a", kv.SetOptions{If: raw(`null`), TTL: time.Second}), "an expired value is absent")
	c.pass(time.Second)
	require.NoError(t, put("c", kv.SetOptions{}), "an expired value takes no room")
	require.ErrorIs(t, put("d", kv.SetOptions{}), status.ErrResourceExhausted)
	require.NoError(t, put("b", kv.SetOptions{}), "set again, it has no end")
	c.pass(time.Hour)
	assert.Equal(t, `1`, get(t, s, "b"))
}

func conditions(t *testing.T, s kv.Store, _ *clock) {
	cas := func(value, cond string) error {
		return s.Set(t.Context(), mine, "k", raw(value), kv.SetOptions{If: raw(cond)}, quota)
	}
	require.ErrorIs(t, cas(`1`, `0`), status.ErrAborted)
	require.NoError(t, cas(`{"a":1}`, `null`))
	require.ErrorIs(t, cas(`2`, `null`), status.ErrAborted)
	require.NoError(t, cas(`2`, ` { "a" : 1 } `))
	require.ErrorIs(t, cas(`null`, `3`), status.ErrAborted)
	require.NoError(t, cas(`null`, `2`))
	require.NoError(t, cas(`null`, `null`))
	// Many who count up lose nothing.
	set(t, s, "k", `0`)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for done := 0; done < 10; {
				was, err := s.Get(t.Context(), mine, "k")
				if !assert.NoError(t, err) {
					return
				}
				var n int
				if !assert.NoError(t, json.Unmarshal(was, &n)) {
					return
				}
				err = cas(fmt.Sprint(n+1), string(was))
				if err == nil {
					done++
				} else if !assert.ErrorIs(t, err, status.ErrAborted) {
					return
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, `80`, get(t, s, "k"))
}

func listings(t *testing.T, s kv.Store, _ *clock) {
	page, err := s.List(t.Context(), mine, "", "", 0)
	require.NoError(t, err)
	assert.Empty(t, page.Keys)
	var want []string
	for i := range 25 {
		key := fmt.Sprintf("a/%02d", i)
		set(t, s, key, `1`)
		want = append(want, key)
	}
	set(t, s, "b", `1`)
	set(t, s, "a", `1`)
	for _, limit := range []int{1, 7, 25, 1000} {
		var all []string
		for from := ""; ; {
			page, err := s.List(t.Context(), mine, "a/", from, limit)
			require.NoError(t, err)
			assert.LessOrEqual(t, len(page.Keys), limit)
			all = append(all, page.Keys...)
			if from = page.Next; from == "" {
				break
			}
		}
		assert.Equal(t, want, all)
	}
	page, err = s.List(t.Context(), mine, "", "b", 0)
	require.NoError(t, err)
	assert.Equal(t, kv.Page{Keys: []string{"b"}}, page)
	page, err = s.List(t.Context(), mine, "zz", "a", 0)
	require.NoError(t, err)
	assert.Empty(t, page.Keys)
}

func marks(t *testing.T, s kv.Store, _ *clock) {
	m, ok := s.(kv.Marker)
	if !ok {
		t.Skip("this store marks nothing")
	}
	marked := func() []kv.Namespace {
		all, err := m.Marked(t.Context())
		require.NoError(t, err)
		return all
	}
	empty := kv.Namespace{Tenant: "a", Module: strings.Repeat("long", 30)}
	set(t, s, "k", `1`)
	assert.Empty(t, marked())
	for range 2 {
		require.NoError(t, m.Mark(t.Context(), mine))
		require.NoError(t, m.Mark(t.Context(), empty))
		assert.Equal(t, []kv.Namespace{mine, empty}, marked())
	}
	assert.Equal(t, `1`, get(t, s, "k"), "it is there until it is dropped")
	set(t, s, "k", `2`)
	for range 2 {
		require.NoError(t, m.Unmark(t.Context(), mine))
		assert.Equal(t, []kv.Namespace{empty}, marked())
	}
	require.NoError(t, s.Drop(t.Context(), empty))
	require.NoError(t, m.Mark(t.Context(), mine))
	require.NoError(t, s.Drop(t.Context(), mine))
	assert.Empty(t, marked())
	assert.Empty(t, get(t, s, "k"))
}

func dropped(t *testing.T, s kv.Store, _ *clock) {
	other := kv.Namespace{Tenant: "a", Module: "other"}
	set(t, s, "k", `1`)
	require.NoError(t, s.Set(t.Context(), other, "k", raw(`2`), kv.SetOptions{}, quota))
	require.NoError(t, s.Drop(t.Context(), mine))
	require.NoError(t, s.Drop(t.Context(), mine))
	require.NoError(t, s.Drop(t.Context(), kv.Namespace{Tenant: "no", Module: "one"}))
	assert.Empty(t, get(t, s, "k"))
	v, err := s.Get(t.Context(), other, "k")
	require.NoError(t, err)
	assert.Equal(t, `2`, string(v))
	for i := range quota.Keys {
		set(t, s, fmt.Sprint(i), `1`)
	}
	if lister, ok := s.(kv.Lister); ok {
		all, err := lister.Namespaces(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []kv.Namespace{mine, other}, all)
		require.NoError(t, s.Drop(t.Context(), mine))
		all, err = lister.Namespaces(t.Context())
		require.NoError(t, err)
		assert.Equal(t, []kv.Namespace{other}, all)
	}
}
