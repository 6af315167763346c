package kv_test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv/kvtest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func open(t testing.TB, path string, now func() time.Time) *kv.File {
	t.Helper()
	f, err := kv.Open(path, now)
	require.NoError(t, err)
	return f
}

func TestEveryStoreKeepsTheContract(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		kvtest.Run(t, func(_ *testing.T, now func() time.Time) kv.Store { return kv.NewMemory(now) })
	})
	t.Run("file", func(t *testing.T) {
		kvtest.Run(t, func(t *testing.T, now func() time.Time) kv.Store {
			return open(t, filepath.Join(t.TempDir(), "kv.db"), now)
		})
	})
}

var (
	ns    = kv.Namespace{Tenant: "default", Module: "notes"}
	quota = kv.Quota{Keys: 10, Bytes: 1000, ValueBytes: 100}
)

func TestAFileSurvivesARestart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv.db")
	f := open(t, path, nil)
	for i := range 10 {
		require.NoError(t, f.Set(t.Context(), ns, fmt.Sprint(i), json.RawMessage(`1`), kv.SetOptions{}, quota))
	}
	_, err := kv.Open(path, nil)
	require.ErrorIs(t, err, status.ErrFailedPrecondition, "two processes would spoil the file")
	require.NoError(t, f.Close())
	f = open(t, path, nil)
	v, err := f.Get(t.Context(), ns, "7")
	require.NoError(t, err)
	assert.Equal(t, `1`, string(v))
	require.ErrorIs(t, f.Set(t.Context(), ns, "more", json.RawMessage(`1`), kv.SetOptions{}, quota), status.ErrResourceExhausted, "the quota survives as well")
	require.NoError(t, f.Close())
	_, err = f.Get(t.Context(), ns, "7")
	require.ErrorIs(t, err, status.ErrInternal)
	assert.False(t, status.Convert(err).Public(), "what is wrong with the file is not the guest's to know")
}

func TestAWriterWhoHasLeftDoesNotWait(t *testing.T) {
	f := open(t, filepath.Join(t.TempDir(), "kv.db"), nil)
	defer f.Close()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failed := 0
	for range 20 { // a free lock may be taken
		if err := kv.Delete(ctx, f, ns, "k"); err != nil {
			require.ErrorIs(t, err, status.ErrCancelled)
			failed++
		}
	}
	assert.Positive(t, failed)
}

// Both stores do the same, whatever they are asked.
func FuzzStoresAgree(f *testing.F) {
	f.Add("set a 1\nset b {\"x\":2}\nif a 1 2\nlist \ndel a\nget a")
	f.Add("ttl a 1\npass\nget a\nset a 3")
	f.Fuzz(func(t *testing.T, script string) {
		if strings.Count(script, "\n") > 30 {
			return
		}
		now := time.Unix(1000, 0)
		clock := func() time.Time { return now }
		file := open(t, filepath.Join(t.TempDir(), "kv.db"), clock)
		defer file.Close()
		stores := []kv.Store{kv.NewMemory(clock), file}
		for line := range strings.SplitSeq(script, "\n") {
			word := append(strings.SplitN(line, " ", 4), "", "", "")
			if word[0] == "pass" {
				now = now.Add(time.Second)
				continue
			}
			var said []string
			for _, s := range stores {
				said = append(said, ask(s, word))
			}
			if said[0] != said[1] {
				t.Fatalf("%q: the memory said %s, the file %s", line, said[0], said[1])
			}
		}
	})
}

func ask(s kv.Store, word []string) string {
	ctx := context.Background()
	var out any
	var err error
	switch word[0] {
	case "get":
		out, err = s.Get(ctx, ns, word[1])
	case "set":
		err = s.Set(ctx, ns, word[1], json.RawMessage(word[2]), kv.SetOptions{}, quota)
	case "if":
		err = s.Set(ctx, ns, word[1], json.RawMessage(word[3]), kv.SetOptions{If: json.RawMessage(word[2])}, quota)
	case "ttl":
		err = s.Set(ctx, ns, word[1], json.RawMessage(word[2]), kv.SetOptions{TTL: time.Second}, quota)
	case "del":
		err = kv.Delete(ctx, s, ns, word[1])
	case "list":
		out, err = s.List(ctx, ns, word[1], word[2], len(word[3]))
	}
	return fmt.Sprintf("%q %v", out, err)
}

func Example() {
	ctx := context.Background()
	store := kv.NewMemory(nil)
	defer store.Close()
	ns := kv.Namespace{Tenant: "default", Module: "notes"}
	quota := kv.Quota{Keys: 10, Bytes: 1000, ValueBytes: 100}
	fmt.Println(store.Set(ctx, ns, "visits", json.RawMessage(`1`), kv.SetOptions{If: json.RawMessage(`null`)}, quota))
	fmt.Println(store.Set(ctx, ns, "visits", json.RawMessage(`2`), kv.SetOptions{If: json.RawMessage(`7`)}, quota))
	value, err := store.Get(ctx, ns, "visits")
	fmt.Println(string(value), err)
	// Output:
	// <nil>
	// ABORTED: kv: the value is not what the condition says
	// 1 <nil>
}
