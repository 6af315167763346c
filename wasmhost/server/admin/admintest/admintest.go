// Package admintest is the contract of [admin.Store] as a kit of tests. It is never imported
// by code that is not a test. Use:
//
//	admintest.Run(t, func(t *testing.T) admin.Store { return admin.NewMemory() })
package admintest

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

// Run checks the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) admin.Store) {
	for name, test := range map[string]func(*testing.T, admin.Store){
		"a document comes back as it was stored":         testRoundTrip,
		"a change wants the revision that is stored":     testRevisions,
		"documents of a kind come sorted by name":        testList,
		"names keep apart":                               testNames,
		"keys that are none are refused":                 testKeys,
		"values that are none are refused":               testValues,
		"what is not there is NOT_FOUND":                 testNotFound,
		"a document that is deleted is gone":             testDelete,
		"a context that has ended ends every call":       testContext,
		"what is returned and handed in is not shared":   testNotShared,
		"of changes at the same time one alone succeeds": testConcurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func put(t *testing.T, s admin.Store, kind, name, value, revision string) admin.Document {
	t.Helper()
	d, err := s.Put(t.Context(), admin.Document{Kind: kind, Name: name, Revision: revision, Value: json.RawMessage(value)})
	require.NoError(t, err)
	return d
}

func testRoundTrip(t *testing.T, s admin.Store) {
	const value = `{"n":1.0,"big":12345678901234567890,"s":"<&> \u2028","none":null}`
	d := put(t, s, "tenant", "acme", value, "")
	assert.NotEmpty(t, d.Revision)
	assert.Equal(t, admin.Document{Kind: "tenant", Name: "acme", Revision: d.Revision, Value: json.RawMessage(value)}, d)
	got, err := s.Get(t.Context(), "tenant", "acme")
	require.NoError(t, err)
	assert.Equal(t, d.Revision, got.Revision)
	assert.JSONEq(t, value, string(got.Value))
	assert.Contains(t, string(got.Value), "12345678901234567890", "digits stay")
	_, err = s.Get(t.Context(), "operation", "acme")
	require.ErrorIs(t, err, status.ErrNotFound, "another kind is another document")
}

func testRevisions(t *testing.T, s admin.Store) {
	first := put(t, s, "tenant", "acme", `1`, "")
	second := put(t, s, "tenant", "acme", `2`, first.Revision)
	assert.NotEqual(t, first.Revision, second.Revision)
	for _, revision := range []string{"", first.Revision, "other"} {
		_, err := s.Put(t.Context(), admin.Document{Kind: "tenant", Name: "acme", Revision: revision, Value: json.RawMessage(`3`)})
		require.ErrorIs(t, err, status.ErrAborted, "%q", revision)
	}
	_, err := s.Put(t.Context(), admin.Document{Kind: "tenant", Name: "none", Revision: first.Revision, Value: json.RawMessage(`3`)})
	require.ErrorIs(t, err, status.ErrAborted)
	got, err := s.Get(t.Context(), "tenant", "acme")
	require.NoError(t, err)
	assert.Equal(t, second, got)
}

func testList(t *testing.T, s admin.Store) {
	all, err := s.List(t.Context(), "tenant")
	require.NoError(t, err)
	assert.NotNil(t, all)
	assert.Empty(t, all)
	for _, name := range []string{"b", "B", "a", "c/d", "é"} {
		put(t, s, "tenant", name, fmt.Sprintf("%q", name), "")
	}
	put(t, s, "operation", "x", `1`, "")
	all, err = s.List(t.Context(), "tenant")
	require.NoError(t, err)
	names := []string{}
	for _, d := range all {
		names = append(names, d.Name)
		assert.Equal(t, "tenant", d.Kind)
		assert.JSONEq(t, fmt.Sprintf("%q", d.Name), string(d.Value))
		require.NoError(t, d.Problem)
		got, err := s.Get(t.Context(), "tenant", d.Name)
		require.NoError(t, err)
		assert.Equal(t, d, got)
	}
	assert.Equal(t, []string{"B", "a", "b", "c/d", "é"}, names)
}

func testNames(t *testing.T, s admin.Store) {
	long := strings.Repeat("X", 255)
	names := []string{"a", "A", "_41", ".", "..", "../a", "a/b", "con", "CON", "a.", "a\x00", long + "1", long + "2"}
	for _, name := range names {
		put(t, s, "tenant", name, `1`, "")
	}
	for _, name := range names {
		d, err := s.Get(t.Context(), "tenant", name)
		require.NoError(t, err, "%q", name)
		assert.Equal(t, name, d.Name)
	}
}

func testKeys(t *testing.T, s admin.Store) {
	for _, key := range [][2]string{{"", "a"}, {"Tenant", "a"}, {"a/b", "a"}, {"..", "a"}, {strings.Repeat("k", 33), "a"}, {"tenant", ""}, {"tenant", "a\xff"}, {"tenant", strings.Repeat("n", 257)}} {
		_, err := s.Put(t.Context(), admin.Document{Kind: key[0], Name: key[1], Value: json.RawMessage(`1`)})
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%q", key)
		_, err = s.Get(t.Context(), key[0], key[1])
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%q", key)
		require.ErrorIs(t, s.Delete(t.Context(), key[0], key[1]), status.ErrInvalidArgument, "%q", key)
	}
	_, err := s.List(t.Context(), "../tenant")
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func testValues(t *testing.T, s admin.Store) {
	for _, value := range []string{"", "{", "1 2", `"` + strings.Repeat("x", admin.MaxValueBytes) + `"`} {
		_, err := s.Put(t.Context(), admin.Document{Kind: "tenant", Name: "a", Value: json.RawMessage(value)})
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%d bytes", len(value))
	}
	put(t, s, "tenant", "a", `"`+strings.Repeat("x", admin.MaxValueBytes-2)+`"`, "")
	_, err := s.Get(t.Context(), "tenant", "a")
	require.NoError(t, err)
}

func testNotFound(t *testing.T, s admin.Store) {
	_, err := s.Get(t.Context(), "tenant", "none")
	require.ErrorIs(t, err, status.ErrNotFound)
	put(t, s, "tenant", "a", `1`, "")
	_, err = s.Get(t.Context(), "tenant", "none")
	require.ErrorIs(t, err, status.ErrNotFound)
}

func testDelete(t *testing.T, s admin.Store) {
	require.NoError(t, s.Delete(t.Context(), "tenant", "a"), "one that is not there is no error")
	first := put(t, s, "tenant", "a", `1`, "")
	put(t, s, "tenant", "b", `2`, "")
	for range 2 {
		require.NoError(t, s.Delete(t.Context(), "tenant", "a"))
	}
	_, err := s.Get(t.Context(), "tenant", "a")
	require.ErrorIs(t, err, status.ErrNotFound)
	all, err := s.List(t.Context(), "tenant")
	require.NoError(t, err)
	assert.Len(t, all, 1)
	again := put(t, s, "tenant", "a", `1`, "")
	assert.NotEqual(t, first.Revision, again.Revision, "a revision is never used twice")
}

func testContext(t *testing.T, s admin.Store) {
	d := put(t, s, "tenant", "a", `1`, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, putErr := s.Put(ctx, admin.Document{Kind: "tenant", Name: "a", Revision: d.Revision, Value: json.RawMessage(`2`)})
	_, getErr := s.Get(ctx, "tenant", "a")
	_, listErr := s.List(ctx, "tenant")
	for _, err := range []error{putErr, getErr, listErr, s.Delete(ctx, "tenant", "a")} {
		require.ErrorIs(t, err, status.ErrCancelled)
	}
	got, err := s.Get(t.Context(), "tenant", "a")
	require.NoError(t, err)
	assert.Equal(t, d, got)
}

func testNotShared(t *testing.T, s admin.Store) {
	given := json.RawMessage(`{"a":1}`)
	stored, err := s.Put(t.Context(), admin.Document{Kind: "tenant", Name: "a", Value: given})
	require.NoError(t, err)
	given[0], stored.Value[0] = 'X', 'X'
	for range 2 {
		got, err := s.Get(t.Context(), "tenant", "a")
		require.NoError(t, err)
		assert.Equal(t, `{"a":1}`, string(got.Value))
		got.Value[0] = 'X'
		all, err := s.List(t.Context(), "tenant")
		require.NoError(t, err)
		require.Len(t, all, 1)
		assert.Equal(t, `{"a":1}`, string(all[0].Value))
		all[0].Value[0] = 'X'
	}
}

func testConcurrent(t *testing.T, s admin.Store) {
	const workers, rounds = 8, 10
	current := put(t, s, "tenant", "shared", `0`, "")
	for round := range rounds {
		var won atomic.Int64
		var wg sync.WaitGroup
		for w := range workers {
			wg.Go(func() {
				_, err := s.Put(t.Context(), admin.Document{Kind: "tenant", Name: "shared", Revision: current.Revision, Value: json.RawMessage(fmt.Sprint(w))})
				if err == nil {
					won.Add(1)
				} else {
					assert.ErrorIs(t, err, status.ErrAborted)
				}
				own := fmt.Sprintf("own-%d-%d", round, w)
				_, err = s.Put(t.Context(), admin.Document{Kind: "tenant", Name: own, Value: json.RawMessage(`1`)})
				assert.NoError(t, err)
				_, err = s.List(t.Context(), "tenant")
				assert.NoError(t, err)
				assert.NoError(t, s.Delete(t.Context(), "tenant", own))
			})
		}
		wg.Wait()
		assert.EqualValues(t, 1, won.Load())
		var err error
		current, err = s.Get(t.Context(), "tenant", "shared")
		require.NoError(t, err)
	}
}
