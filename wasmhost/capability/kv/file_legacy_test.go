package kv_test

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.etcd.io/bbolt"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/kv"
)

var oldSpaces = []kv.Namespace{{Tenant: "default", Module: "notes"}, {Tenant: "acme", Module: "Notes"}}

// oldFile writes a file as version 1 did, with bbolt: a transaction for each change, so that
// it has free pages, and enough values for pages below pages.
func oldFile(t *testing.T, path string, values int) map[string]string {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true, FreelistType: bbolt.FreelistMapType})
	require.NoError(t, err)
	want := map[string]string{}
	set := func(ns kv.Namespace, key, value string, expires int64) {
		require.NoError(t, db.Update(func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucketIfNotExists([]byte("genkit-wasm/kv/1"))
			for _, name := range []string{ns.Tenant, ns.Module} {
				if err == nil {
					b, err = b.CreateBucketIfNotExists([]byte(name))
				}
			}
			if err != nil {
				return err
			}
			d, err := b.CreateBucketIfNotExists([]byte("data"))
			if err != nil {
				return err
			}
			raw := append(binary.BigEndian.AppendUint64(nil, uint64(expires)), value...)
			if err := d.Put([]byte(key), raw); err != nil {
				return err
			}
			var keys, bytes uint64
			_ = d.ForEach(func(k, v []byte) error {
				keys++
				bytes += uint64(len(k)+len(v)-8) + 32
				return nil
			})
			return b.Put([]byte("counts"), binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(nil, keys), bytes))
		}))
		want[ns.Tenant+"/"+key] = value
	}
	for _, ns := range oldSpaces {
		for i := range values {
			set(ns, fmt.Sprintf("key %04d", i), fmt.Sprintf(`{"n":%d,"of":"%s %s"}`, i, ns.Tenant, strings.Repeat("x", 300)), 0)
		}
		set(ns, "balance", `100`, 0)
		set(ns, "for a year", `true`, time.Now().Add(365*24*time.Hour).UnixNano())
	}
	require.NoError(t, db.Close())
	return want
}

func read(t *testing.T, f *kv.File, want map[string]string) map[string]string {
	t.Helper()
	got := map[string]string{}
	for _, ns := range oldSpaces {
		for name := range want {
			key, ok := strings.CutPrefix(name, ns.Tenant+"/")
			if !ok {
				continue
			}
			value, err := f.Get(t.Context(), ns, key)
			got[name] = string(value)
			if err != nil {
				require.ErrorIs(t, err, status.ErrDataLoss)
				got[name] = "DATA_LOSS"
			}
		}
	}
	return got
}

func TestTheFileOfAnEarlierVersionIsTakenOver(t *testing.T) {
	for _, values := range []int{0, 1, 60, 400} {
		path := filepath.Join(t.TempDir(), "kv.db")
		want := oldFile(t, path, values)
		for range 2 {
			f, err := kv.Open(path, nil)
			require.NoError(t, err)
			assert.Equal(t, want, read(t, f, want))
			report := f.Report("acme")
			assert.Equal(t, int64(values+2), report.Keys)
			assert.Empty(t, report.Damaged)
			assert.Empty(t, report.Problem)
			require.NoError(t, f.Close())
			assert.FileExists(t, path+".migrated")
			assert.NoFileExists(t, path)
		}
	}
	// One that was made and never written, and one whose name says nothing.
	empty := filepath.Join(t.TempDir(), "values")
	require.NoError(t, os.WriteFile(empty, nil, 0o600))
	f, err := kv.Open(empty, nil)
	require.NoError(t, err)
	require.NoError(t, f.Close())
}

// Damage in a file is told, and nothing in it is taken for nothing.
func TestADamagedFileOfAnEarlierVersion(t *testing.T) {
	made := filepath.Join(t.TempDir(), "kv.db")
	want := oldFile(t, made, 30)
	whole, err := os.ReadFile(made)
	require.NoError(t, err)
	told, changed := 0, 0
	look := func(b []byte, how string) {
		spaces, err := kv.ReadLegacy(b)
		if err != nil {
			require.ErrorIs(t, err, status.ErrDataLoss)
			told++
			return
		}
		for name, value := range want {
			tenant, key, _ := strings.Cut(name, "/")
			got, keys := "", 0
			for ns, values := range spaces {
				keys += len(values)
				if slices.Contains(oldSpaces, ns) && ns.Tenant == tenant {
					got = values[key]
				}
			}
			switch {
			case got == value:
			// There were no checksums. Of the text of a name, a key or a value, or the time
			// of its end, nothing tells what it was.
			case key == "for a year" && got == "", got == "" && keys == len(want):
				changed++
			case len(got) == len(value) && json.Valid([]byte(got)):
				changed++
			default:
				t.Fatalf("%s: %s is %q, want %q or DATA_LOSS", how, name, got, value)
			}
		}
	}
	for at := 0; at < len(whole); at += 13 {
		b := append([]byte{}, whole...)
		b[at] ^= 1 << (at % 8)
		look(b, fmt.Sprint("bit of byte ", at))
	}
	for size := 1; size < len(whole); size += 1000 {
		before := told
		look(whole[:size], fmt.Sprint("cut to ", size))
		require.True(t, told > before || size > len(whole)/2, "cut to %d", size) // its end may not be in use
	}
	t.Logf("%d bytes, %d told, %d values changed", len(whole), told, changed)
	assert.Greater(t, told, 60)
}

func FuzzLegacy(f *testing.F) {
	path := filepath.Join(f.TempDir(), "kv.db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024})
	require.NoError(f, err)
	require.NoError(f, db.Close())
	whole, err := os.ReadFile(path)
	require.NoError(f, err)
	f.Add(whole)
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, err := kv.ReadLegacy(b); err != nil {
			require.ErrorIs(t, err, status.ErrDataLoss)
		}
	})
}

func TestWhatCanNotBeReadIsToldUntilItIsRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv.db")
	want := oldFile(t, path, 3)
	require.NoError(t, os.Truncate(path, 20_000))
	quota := kv.Quota{Keys: 10, Bytes: 1000, ValueBytes: 100}
	fresh := kv.Namespace{Tenant: "acme", Module: "fresh"}
	for round := range 2 {
		f, err := kv.Open(path, nil)
		require.NoError(t, err)
		assert.Contains(t, f.Report("acme").Problem, "kv.db.damaged")
		for name, value := range read(t, f, want) {
			assert.Equal(t, "DATA_LOSS", value, name)
		}
		if round == 0 {
			require.ErrorIs(t, f.Set(t.Context(), fresh, "k", json.RawMessage(`1`), kv.SetOptions{}, quota), status.ErrDataLoss)
			require.NoError(t, f.Drop(t.Context(), fresh), "a module that is new")
			require.NoError(t, f.Set(t.Context(), fresh, "k", json.RawMessage(`1`), kv.SetOptions{}, quota))
		}
		value, err := f.Get(t.Context(), fresh, "k")
		require.NoError(t, err)
		assert.Equal(t, `1`, string(value))
		require.NoError(t, f.Close())
	}
	require.NoError(t, os.Remove(path+".damaged"))
	f, err := kv.Open(path, nil)
	require.NoError(t, err)
	defer f.Close()
	assert.Empty(t, f.Report("acme").Problem)
	value, err := f.Get(t.Context(), oldSpaces[0], "balance")
	require.NoError(t, err)
	assert.Nil(t, value)
}

// Who goes back to an earlier version for a while finds both: what that has stored is newer.
func TestAnEarlierVersionMayBeUsedOnceMore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kv.db")
	oldFile(t, path, 1)
	quota := kv.Quota{Keys: 10, Bytes: 1000, ValueBytes: 100}
	f, err := kv.Open(path, nil)
	require.NoError(t, err)
	for _, key := range []string{"balance", "later"} {
		require.NoError(t, f.Set(t.Context(), oldSpaces[0], key, json.RawMessage(`200`), kv.SetOptions{}, quota))
	}
	require.NoError(t, f.Close())
	oldFile(t, path, 0)
	for range 2 {
		f, err = kv.Open(path, nil)
		require.NoError(t, err)
		for key, want := range map[string]string{"balance": `100`, "later": `200`} {
			value, err := f.Get(t.Context(), oldSpaces[0], key)
			require.NoError(t, err)
			assert.Equal(t, want, string(value), key)
		}
		require.NoError(t, f.Close())
	}
}
