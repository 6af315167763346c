// Package secretstest checks that a backend of secrets keeps its contract.
//
// It owns the kit for [secrets.Backend]. Use, in a test of the backend:
//
//	secretstest.Run(t, func(t *testing.T) secretstest.Opened { return secretstest.Opened{Backend: open(t)} })
package secretstest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
)

// Opened is a backend that has no values yet.
type Opened struct {
	secrets.Backend
	// Reopen ends the backend as a server does that is stopped, and opens it again; nil where it does not outlive
	// its process, and then that is not checked.
	Reopen func() secrets.Backend
}

// Run checks the backends that open returns, each of them empty. open sees to their end.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Opened){
		"a text comes back as it was put":            testRoundTrip,
		"keys keep apart and are listed":             testKeys,
		"what is removed is gone":                    testDelete,
		"texts are the caller's":                     testNotShared,
		"a tenant's values are dropped":              testDrop,
		"tenants at the same time are each kept":     testConcurrent,
		"what was acknowledged outlives the process": testReopen,
		"a store finds its values":                   testStore,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func key(tenant, name string) secrets.Key {
	return secrets.Key{Tenant: tenant, Kind: secrets.Secret, Name: name}
}

func get(t *testing.T, b secrets.Backend, k secrets.Key) string {
	t.Helper()
	text, err := b.Get(t.Context(), k)
	require.NoError(t, err, "%+v", k)
	return string(text)
}

func put(t *testing.T, b secrets.Backend, k secrets.Key, text string) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), k, []byte(text)), "%+v", k)
}

func gone(t *testing.T, b secrets.Backend, k secrets.Key) {
	t.Helper()
	_, err := b.Get(t.Context(), k)
	require.ErrorIs(t, err, status.ErrNotFound, "%+v", k)
}

// listed wants a list to have the keys, in any order.
func listed(t *testing.T, b secrets.Backend, tenant string, want ...secrets.Key) {
	t.Helper()
	keys, err := b.List(t.Context(), tenant)
	require.NoError(t, err)
	assert.ElementsMatch(t, want, keys, "tenant %q", tenant)
}

func testRoundTrip(t *testing.T, b Opened) {
	k := key("acme", "a")
	gone(t, b, k)
	listed(t, b, "acme")
	for _, text := range []string{"one", "\x00\xff\r\n\n", "x", strings.Repeat("z", secrets.MaxSealedBytes), "two"} {
		put(t, b, k, text)
		assert.Equal(t, text, get(t, b, k))
	}
	listed(t, b, "acme", k)
}

func testKeys(t *testing.T, b Opened) {
	var all []secrets.Key
	long := strings.Repeat("A", 63)
	for _, tenant := range []string{"a", "A", "t-a", "..", "a/b", `a\b`, "_61", "con", strings.Repeat("Z", 64)} {
		for _, name := range []string{"k", "K", "_", "k.age", "k-", "K_1", long + "A", long + "B"} {
			for _, kind := range []secrets.Kind{secrets.Secret, secrets.Credential} {
				all = append(all, secrets.Key{Tenant: tenant, Kind: kind, Name: name})
			}
		}
	}
	for _, k := range all {
		put(t, b, k, fmt.Sprint(k))
	}
	for _, k := range all {
		assert.Equal(t, fmt.Sprint(k), get(t, b, k))
	}
	// A backend may find long names in what a store puts, which these texts are not.
	common := slices.DeleteFunc(slices.Clone(all), func(k secrets.Key) bool { return len(k.Name) > 60 || len(k.Tenant) > 60 })
	keys, err := b.List(t.Context(), "")
	require.NoError(t, err)
	assert.Len(t, keys, len(all))
	assert.Subset(t, keys, common)
	for i := 0; i < len(common); i += 12 {
		tenant := common[i].Tenant
		keys, err := b.List(t.Context(), tenant)
		require.NoError(t, err)
		assert.Len(t, keys, 16)
		for _, k := range keys {
			assert.Equal(t, tenant, k.Tenant)
		}
	}
}

func testDelete(t *testing.T, b Opened) {
	first, second := key("acme", "a"), key("acme", "b")
	require.NoError(t, b.Delete(t.Context(), first), "what is not there is no failure")
	put(t, b, first, "one")
	put(t, b, second, "two")
	for range 2 {
		require.NoError(t, b.Delete(t.Context(), first))
		gone(t, b, first)
		listed(t, b, "acme", second)
	}
	put(t, b, first, "three")
	assert.Equal(t, "three", get(t, b, first))
	assert.Equal(t, "two", get(t, b, second))
}

func testNotShared(t *testing.T, b Opened) {
	k, text := key("acme", "a"), []byte("one")
	require.NoError(t, b.Put(t.Context(), k, text))
	text[0] = 'X'
	got, err := b.Get(t.Context(), k)
	require.NoError(t, err)
	assert.Equal(t, "one", string(got))
	got[0] = 'X'
	assert.Equal(t, "one", get(t, b, k))
}

func testDrop(t *testing.T, b Opened) {
	d, ok := b.Backend.(secrets.Dropper)
	if !ok {
		t.Skip("this backend removes values one by one")
	}
	require.NoError(t, d.Drop(t.Context(), "acme"), "what is not there is no failure")
	other := key("globex", "a")
	put(t, b, other, "other")
	for range 2 {
		for _, name := range []string{"a", "b"} {
			put(t, b, key("acme", name), name)
		}
		require.NoError(t, d.Drop(t.Context(), "acme"))
		listed(t, b, "acme")
		gone(t, b, key("acme", "a"))
		listed(t, b, "", other)
	}
	assert.Equal(t, "other", get(t, b, other))
}

func testConcurrent(t *testing.T, b Opened) {
	const tenants, rounds = 8, 20
	var wg sync.WaitGroup
	for i := range tenants {
		wg.Go(func() {
			k := key(fmt.Sprint("t", i), "a")
			for n := range rounds {
				text := fmt.Sprintf("%d-%d", i, n)
				if !assert.NoError(t, b.Put(t.Context(), k, []byte(text))) {
					return
				}
				got, err := b.Get(t.Context(), k)
				assert.NoError(t, err)
				assert.Equal(t, text, string(got))
				keys, err := b.List(t.Context(), k.Tenant)
				assert.NoError(t, err)
				assert.Equal(t, []secrets.Key{k}, keys)
			}
		})
	}
	wg.Wait()
	keys, err := b.List(t.Context(), "")
	require.NoError(t, err)
	assert.Len(t, keys, tenants)
	for i := range tenants {
		assert.Equal(t, fmt.Sprintf("%d-%d", i, rounds-1), get(t, b, key(fmt.Sprint("t", i), "a")))
	}
}

func testReopen(t *testing.T, b Opened) {
	if b.Reopen == nil {
		return
	}
	first, second := key("acme", "a"), key("acme", "b")
	put(t, b, first, "one")
	put(t, b, second, "two")
	put(t, b, first, "three")
	require.NoError(t, b.Delete(t.Context(), second))
	again := b.Reopen()
	assert.Equal(t, "three", get(t, again, first))
	gone(t, again, second)
	listed(t, again, "", first)
}

// testStore has a store keep values in the backend, and looks whether what it keeps is sealed.
func testStore(t *testing.T, b Opened) {
	const value = "a value that nobody is shown"
	text, err := secrets.NewKey()
	require.NoError(t, err)
	keys, err := secrets.ParseKeys([]byte(text))
	require.NoError(t, err)
	open := func() *secrets.Store {
		s, err := secrets.Open(t.Context(), secrets.Config{Backend: b.Backend, Keys: keys, TenantID: func(tenant string) (string, error) { return "id-of-" + tenant, nil }})
		require.NoError(t, err)
		return s
	}
	s := open()
	for _, name := range []string{"b", "a"} {
		_, created, err := s.Put(t.Context(), "acme", secrets.Secret, name, secret.New(value), "")
		require.NoError(t, err)
		assert.True(t, created)
	}
	sealed := get(t, b, key("acme", "a"))
	assert.NotContains(t, sealed, value)
	require.NoError(t, s.Close())
	s = open()
	stored, damaged := s.Found()
	assert.Equal(t, []int{2, 0}, []int{stored, damaged})
	v, err := s.Source(nil).Secret(t.Context(), "acme", "a")
	require.NoError(t, err)
	assert.Equal(t, value, v.Reveal())
	entries, err := s.List(t.Context(), "acme", secrets.Secret)
	require.NoError(t, err)
	assert.True(t, slices.IsSortedFunc(entries, func(a, b secrets.Entry) int { return cmp.Compare(a.Name, b.Name) }))
	assert.Len(t, entries, 2)
	// What is moved to another name is damaged there.
	require.NoError(t, b.Put(t.Context(), key("acme", "b"), bytes.Clone([]byte(sealed))))
	_, err = s.Source(nil).Secret(t.Context(), "acme", "b")
	require.ErrorIs(t, err, status.ErrDataLoss)
	require.NoError(t, s.Delete(t.Context(), "acme", secrets.Secret, "b", ""))
	require.NoError(t, s.Drop(t.Context(), "acme"))
	listed(t, b, "")
	require.NoError(t, s.Close())
}
