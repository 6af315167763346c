package kv_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

// Names of modules are used without end, and what is gone takes no memory, and no time when the
// files of others are opened.
func TestNamesThatAreGoneAreForgotten(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "kv"), nil)
	defer func() { require.NoError(t, f.Close()) }()
	for i := range 300 {
		ns := kv.Namespace{Tenant: "t", Module: fmt.Sprint("m", i)}
		if i%2 == 0 {
			require.NoError(t, f.Set(t.Context(), ns, "k", json.RawMessage("1"), kv.SetOptions{}, kv.Quota{Keys: 100, Bytes: 1 << 20, ValueBytes: 1 << 10}))
		}
		require.NoError(t, f.Drop(t.Context(), ns))
	}
	assert.Zero(t, kv.Spaces(f))
	assert.Zero(t, kv.OpenFiles(t, f))
}

// Who waited for a namespace that was dropped meanwhile writes into the one that follows.
func TestADroppedNamespaceIsOneAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv")
	f := open(t, path, nil)
	kv.KeepOpen(f, 1)
	spaces := []kv.Namespace{{Tenant: "t", Module: "a"}, {Tenant: "t", Module: "b"}}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := range 60 {
				ns := spaces[(i+n)%2]
				if n%5 == 4 {
					assert.NoError(t, f.Drop(context.WithoutCancel(t.Context()), ns))
					continue
				}
				assert.NoError(t, f.Set(t.Context(), ns, fmt.Sprint(i), json.RawMessage(fmt.Sprint(n)), kv.SetOptions{}, kv.Quota{Keys: 100, Bytes: 1 << 20, ValueBytes: 1 << 10}))
				_, err := f.Get(t.Context(), ns, fmt.Sprint(i))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	says := func(f *kv.File) (all []string) {
		for _, ns := range spaces {
			for i := range 8 {
				value, err := f.Get(t.Context(), ns, fmt.Sprint(i))
				require.NoError(t, err)
				all = append(all, string(value))
			}
		}
		return all
	}
	before := says(f)
	assert.Equal(t, len(spaces), kv.Spaces(f))
	require.NoError(t, f.Close())
	f = open(t, path, nil)
	defer func() { require.NoError(t, f.Close()) }()
	assert.Equal(t, before, says(f))
}
