// Package moduletest tests implementations of [module.Store]. Use:
//
//	moduletest.Run(t, func(t *testing.T) module.Store { return module.NewMemory() })
package moduletest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

// Run checks the stores that open returns, each of them empty.
func Run(t *testing.T, open func(t *testing.T) module.Store) {
	for name, test := range map[string]func(*testing.T, module.Store){
		"a record comes back as it was stored":                   testRoundTrip,
		"revisions are numbered and the last is current":         testRevisions,
		"an earlier revision can be made current":                testSetCurrent,
		"an upload after a rollback gets a number of its own":    testPutAfterRollback,
		"modules come sorted by tenant and name":                 testSorted,
		"one tenant's modules come without the others'":          testOfTenant,
		"names that differ in case are different modules":        testCase,
		"old revisions can be pruned":                            testPrune,
		"a module is gone when it is deleted":                    testDelete,
		"bytes outlive one of two modules that share them":       testShared,
		"missing modules and bytes are NOT_FOUND":                testNotFound,
		"invalid names are refused":                              testNames,
		"a record that contradicts its bytes is refused":         testDigest,
		"a context that has ended ends every call":               testContext,
		"arguments and results are copied":                       testNotShared,
		"calls from many goroutines keep revisions in one order": testConcurrent,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

// Record returns a record and the bytes that go with it; different seeds give
// different bytes.
func Record(tenant, name, seed string) (module.Record, []byte) {
	wasm := []byte("\x00asm\x01\x00\x00\x00" + seed)
	return module.Record{
		Tenant: tenant, Name: name, Version: "1.2.3", Description: "<b>&\u2028 " + seed, Digest: module.Digest(wasm), Size: len(wasm),
		Convention: "extism", DescriptorSource: "section", Descriptor: json.RawMessage(`{"abi":"genkit/1","n":1.0,"s":"<&>"}`),
		Policy: json.RawMessage(`{"state":"reuse"}`), Capabilities: []string{"emit"}, Actions: []string{"/tool/" + name + "/run"},
	}, wasm
}

func put(t *testing.T, s module.Store, tenant, name, seed string) module.Record {
	t.Helper()
	rec, wasm := Record(tenant, name, seed)
	rec, err := s.Put(t.Context(), rec, wasm)
	require.NoError(t, err)
	return rec
}

func testRoundTrip(t *testing.T, s module.Store) {
	given, wasm := Record("default", "textkit", "a")
	given.Current, given.Problem, given.Revision = false, "not stored", 17
	stored, err := s.Put(t.Context(), given, wasm)
	require.NoError(t, err)
	assert.False(t, stored.CreatedAt.IsZero(), "the store dates a record")
	want := given
	want.Revision, want.Current, want.Problem, want.CreatedAt = 1, true, "", stored.CreatedAt
	assert.Equal(t, want, stored)
	current, err := s.Current(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []module.Record{want}, current)
	versions, err := s.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	assert.Equal(t, []module.Record{want}, versions)
	got, err := s.Wasm(t.Context(), want.Digest)
	require.NoError(t, err)
	assert.Equal(t, wasm, got)
}

func testOfTenant(t *testing.T, s module.Store) {
	reader, ok := s.(module.TenantReader)
	if !ok {
		t.Skip("the store does not implement TenantReader")
	}
	for _, id := range [][2]string{{"acme", "b"}, {"acme", "a"}, {"acm", "c"}, {"Acme", "d"}} {
		put(t, s, id[0], id[1], "x")
	}
	for tenant, want := range map[string][]string{"acme": {"a", "b"}, "acm": {"c"}, "Acme": {"d"}, "none": {}, "": {}, "../acme": {}} {
		records, err := reader.CurrentOf(t.Context(), tenant)
		require.NoError(t, err, tenant)
		assert.NotNil(t, records, tenant)
		names := []string{}
		for _, rec := range records {
			assert.Equal(t, tenant, rec.Tenant)
			assert.True(t, rec.Current)
			names = append(names, rec.Name)
		}
		assert.Equal(t, want, names, tenant)
	}
}

func testRevisions(t *testing.T, s module.Store) {
	for i := range 12 { // past 9, where names and numbers sort apart
		assert.Equal(t, i+1, put(t, s, "default", "textkit", fmt.Sprint(i)).Revision)
	}
	requireVersions(t, s, 12, 12)
}

// requireVersions wants the revisions n … 1 with one of them current.
func requireVersions(t *testing.T, s module.Store, n, current int) {
	t.Helper()
	versions, err := s.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	require.Len(t, versions, n)
	for i, v := range versions {
		assert.Equal(t, n-i, v.Revision)
		assert.Equal(t, v.Revision == current, v.Current, "revision %d", v.Revision)
	}
	all, err := s.Current(t.Context())
	require.NoError(t, err)
	i := slices.IndexFunc(all, func(r module.Record) bool { return r.Tenant == "default" && r.Name == "textkit" })
	require.GreaterOrEqual(t, i, 0)
	assert.Equal(t, current, all[i].Revision)
	assert.True(t, all[i].Current)
}

func testSetCurrent(t *testing.T, store module.Store) {
	s := switcher(t, store)
	first := put(t, s, "default", "textkit", "a")
	put(t, s, "default", "textkit", "b")
	rec, err := s.SetCurrent(t.Context(), "default", "textkit", 1)
	require.NoError(t, err)
	assert.Equal(t, first, rec)
	requireVersions(t, s, 2, 1)
	for _, revision := range []int{-1, 0, 3} {
		_, err = s.SetCurrent(t.Context(), "default", "textkit", revision)
		require.ErrorIs(t, err, status.ErrNotFound, "revision %d", revision)
	}
	requireVersions(t, s, 2, 1)
}

func testPutAfterRollback(t *testing.T, store module.Store) {
	s := switcher(t, store)
	put(t, s, "default", "textkit", "a")
	put(t, s, "default", "textkit", "b")
	_, err := s.SetCurrent(t.Context(), "default", "textkit", 1)
	require.NoError(t, err)
	assert.Equal(t, 3, put(t, s, "default", "textkit", "a").Revision)
	requireVersions(t, s, 3, 3)
}

func testSorted(t *testing.T, s module.Store) {
	for _, id := range [][2]string{{"zeta", "a"}, {"acme", "b-1"}, {"acme", "b"}, {"default", "m.x"}, {"acme", "B"}} {
		put(t, s, id[0], id[1], "x")
	}
	all, err := s.Current(t.Context())
	require.NoError(t, err)
	var got []string
	for _, r := range all {
		got = append(got, r.Tenant+" "+r.Name)
	}
	assert.Equal(t, []string{"acme B", "acme b", "acme b-1", "default m.x", "zeta a"}, got)
}

func testCase(t *testing.T, s module.Store) {
	names := []string{"con", "Con", "CON", "con.", "con.txt", "a..", "nul", "LPT1"}
	for _, name := range names {
		put(t, s, "default", name, name)
		put(t, s, "DEFAULT", name, name+"!")
	}
	for _, name := range names {
		for tenant, seed := range map[string]string{"default": name, "DEFAULT": name + "!"} {
			versions, err := s.Versions(t.Context(), tenant, name)
			require.NoError(t, err)
			want, _ := Record(tenant, name, seed)
			require.Len(t, versions, 1)
			assert.Equal(t, want.Digest, versions[0].Digest)
		}
	}
}

// switching is a store that can roll back, deleting one that can delete.
type (
	switching struct {
		module.Store
		module.Switcher
	}
	deleting struct {
		module.Store
		module.Deleter
	}
)

func switcher(t *testing.T, s module.Store) switching {
	t.Helper()
	part, ok := s.(module.Switcher)
	if !ok {
		t.Skip("the store does not implement Switcher")
	}
	return switching{s, part}
}

func deleter(t *testing.T, s module.Store) deleting {
	t.Helper()
	part, ok := s.(module.Deleter)
	if !ok {
		t.Skip("the store does not implement Deleter")
	}
	return deleting{s, part}
}

func testDelete(t *testing.T, store module.Store) {
	s := deleter(t, store)
	rec := put(t, s, "default", "textkit", "a")
	put(t, s, "default", "textkit", "b")
	kept := put(t, s, "default", "other", "c")
	require.NoError(t, s.Delete(t.Context(), "default", "textkit"))
	all, err := s.Current(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []module.Record{kept}, all)
	_, err = s.Versions(t.Context(), "default", "textkit")
	require.ErrorIs(t, err, status.ErrNotFound)
	require.ErrorIs(t, s.Delete(t.Context(), "default", "textkit"), status.ErrNotFound)
	again := put(t, s, "default", "textkit", "a")
	assert.Equal(t, 1, again.Revision)
	_, err = s.Wasm(t.Context(), rec.Digest)
	require.NoError(t, err)
}

func testPrune(t *testing.T, store module.Store) {
	s := store
	pruner, ok := s.(module.Pruner)
	if !ok {
		t.Skip("the store does not implement Pruner")
	}
	digests := []string{}
	for _, seed := range []string{"a", "b", "c", "a", "d"} {
		digests = append(digests, put(t, s, "default", "textkit", seed).Digest)
	}
	put(t, s, "default", "other", "b")
	require.ErrorIs(t, pruner.Prune(t.Context(), "default", "none", 1), status.ErrNotFound)
	require.ErrorIs(t, pruner.Prune(t.Context(), "default", "textkit", 5), status.ErrFailedPrecondition)
	for range 2 {
		require.NoError(t, pruner.Prune(t.Context(), "default", "textkit", 3))
		require.NoError(t, pruner.Prune(t.Context(), "default", "textkit", 2))
	}
	versions, err := s.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	require.Len(t, versions, 2)
	assert.Equal(t, []int{5, 4}, []int{versions[0].Revision, versions[1].Revision})
	assert.True(t, versions[0].Current)
	switches, _ := s.(module.Switcher)
	for _, revision := range []int{0, 3} {
		if switches != nil {
			_, err = switches.SetCurrent(t.Context(), "default", "textkit", revision)
			require.ErrorIs(t, err, status.ErrNotFound)
		}
	}
	for i, kept := range []bool{true, true, false, true, true} { // "a" and "b" are others' too
		_, err = s.Wasm(t.Context(), digests[i])
		assert.Equal(t, kept, err == nil, "bytes of revision %d: %v", i+1, err)
	}
	assert.Equal(t, 6, put(t, s, "default", "textkit", "e").Revision)
	if switches != nil {
		_, err = switches.SetCurrent(t.Context(), "default", "textkit", 4)
		require.NoError(t, err)
		require.ErrorIs(t, pruner.Prune(t.Context(), "default", "textkit", 4), status.ErrFailedPrecondition)
	}
	if s, ok := s.(module.Deleter); ok {
		require.NoError(t, s.Delete(t.Context(), "default", "textkit"))
		assert.Equal(t, 1, put(t, store, "default", "textkit", "f").Revision)
	}
}

func testShared(t *testing.T, store module.Store) {
	s := deleter(t, store)
	rec := put(t, s, "default", "one", "a")
	put(t, s, "acme", "two", "a")
	put(t, s, "acme", "two", "a")
	require.NoError(t, s.Delete(t.Context(), "default", "one"))
	_, err := s.Wasm(t.Context(), rec.Digest)
	require.NoError(t, err)
	require.NoError(t, s.Delete(t.Context(), "acme", "two"))
}

func testNotFound(t *testing.T, s module.Store) {
	all, err := s.Current(t.Context())
	require.NoError(t, err)
	assert.NotNil(t, all)
	assert.Empty(t, all)
	put(t, s, "default", "textkit", "a")
	for _, id := range [][2]string{{"default", "other"}, {"acme", "textkit"}, {"default", "../textkit"}, {"..", "x"}, {"", ""}, {"default", "current"}} {
		_, err := s.Versions(t.Context(), id[0], id[1])
		require.ErrorIs(t, err, status.ErrNotFound, "%q", id)
		if s, ok := s.(module.Switcher); ok {
			_, err = s.SetCurrent(t.Context(), id[0], id[1], 1)
			require.ErrorIs(t, err, status.ErrNotFound, "%q", id)
		}
		if s, ok := s.(module.Deleter); ok {
			require.ErrorIs(t, s.Delete(t.Context(), id[0], id[1]), status.ErrNotFound, "%q", id)
		}
	}
	for _, digest := range []string{"", "sha256:", module.Digest([]byte("x")), "sha256:../../lock", "md5:00"} {
		_, err := s.Wasm(t.Context(), digest)
		require.ErrorIs(t, err, status.ErrNotFound, "%q", digest)
	}
}

func testNames(t *testing.T, s module.Store) {
	for _, id := range [][2]string{{"", "a"}, {"a", ""}, {"../a", "a"}, {"a", "a/b"}, {"a", ".."}, {"a", "é"}, {"a", "a\x00"}, {"a", ".a"}} {
		rec, wasm := Record(id[0], id[1], "a")
		_, err := s.Put(t.Context(), rec, wasm)
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%q", id)
	}
	all, err := s.Current(t.Context())
	require.NoError(t, err)
	assert.Empty(t, all)
}

func testDigest(t *testing.T, s module.Store) {
	rec, _ := Record("default", "textkit", "a")
	_, err := s.Put(t.Context(), rec, []byte("other bytes"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func testContext(t *testing.T, s module.Store) {
	put(t, s, "default", "textkit", "a")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rec, wasm := Record("default", "textkit", "b")
	_, putErr := s.Put(ctx, rec, wasm)
	_, currentErr := s.Current(ctx)
	_, versionsErr := s.Versions(ctx, "default", "textkit")
	_, wasmErr := s.Wasm(ctx, rec.Digest)
	errs := []error{putErr, currentErr, versionsErr, wasmErr}
	if s, ok := s.(module.Switcher); ok {
		_, err := s.SetCurrent(ctx, "default", "textkit", 1)
		errs = append(errs, err)
	}
	if s, ok := s.(module.Deleter); ok {
		errs = append(errs, s.Delete(ctx, "default", "textkit"))
	}
	for _, err := range errs {
		require.ErrorIs(t, err, status.ErrCancelled)
	}
	requireVersions(t, s, 1, 1)
}

func testNotShared(t *testing.T, s module.Store) {
	given, wasm := Record("default", "textkit", "a")
	want, wantWasm := Record("default", "textkit", "a")
	stored, err := s.Put(t.Context(), given, wasm)
	require.NoError(t, err)
	spoil := func(r module.Record, b []byte) {
		r.Descriptor[0], r.Policy[0], r.Actions[0], r.Capabilities[0] = 'X', 'X', "X", "X"
		if b != nil {
			b[0] = 'X'
		}
	}
	spoil(given, wasm)
	spoil(stored, nil)
	for range 2 {
		versions, err := s.Versions(t.Context(), "default", "textkit")
		require.NoError(t, err)
		assert.Equal(t, want.Descriptor, versions[0].Descriptor)
		assert.Equal(t, want.Policy, versions[0].Policy)
		assert.Equal(t, want.Actions, versions[0].Actions)
		got, err := s.Wasm(t.Context(), want.Digest)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(wantWasm, got))
		spoil(versions[0], got)
	}
}

func testConcurrent(t *testing.T, s module.Store) {
	const workers, rounds = 8, 6
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for i := range rounds {
				rec, wasm := Record("default", "textkit", fmt.Sprint(w, i%2))
				rec, err := s.Put(t.Context(), rec, wasm)
				if !assert.NoError(t, err) {
					return
				}
				own, wasm := Record("acme", fmt.Sprint("own", w), "shared")
				_, err = s.Put(t.Context(), own, wasm)
				assert.NoError(t, err)
				_, err = s.Wasm(t.Context(), rec.Digest)
				assert.NoError(t, err)
				_, err = s.Current(t.Context())
				assert.NoError(t, err)
				if s, ok := s.(module.Deleter); ok {
					assert.NoError(t, s.Delete(t.Context(), "acme", own.Name))
				}
				if s, ok := s.(module.Switcher); ok {
					_, err = s.SetCurrent(t.Context(), "default", "textkit", rec.Revision)
					assert.NoError(t, err)
				}
			}
		})
	}
	wg.Wait()
	versions, err := s.Versions(t.Context(), "default", "textkit")
	require.NoError(t, err)
	require.Len(t, versions, workers*rounds)
	current := 0
	for i, v := range versions {
		assert.Equal(t, workers*rounds-i, v.Revision)
		if v.Current {
			current++
		}
	}
	assert.Equal(t, 1, current)
}
