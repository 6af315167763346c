package local_test

import (
	"context"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/faultfs"
)

type faultStep = faultfs.Step[*local.Store]

func stored(texts map[string]string) faultStep {
	return faultStep{
		Name: "put",
		Do: func(s *local.Store) error {
			var entries []local.Entry
			for _, id := range []string{"a", "b", "c", "d"} {
				if text, ok := texts[id]; ok {
					entries = append(entries, entry(id, text, "", float64(len(id)), 1))
				}
			}
			return s.Put(context.Background(), entries)
		},
		Model: func(state map[string]string) {
			maps.Copy(state, texts)
		},
	}
}

func unstored(id string) faultStep {
	return faultStep{
		Name: "delete " + id,
		Do: func(s *local.Store) error {
			_, err := s.Delete(context.Background(), id)
			return err
		},
		Model: func(state map[string]string) { delete(state, id) },
	}
}

var compacted = faultStep{
	Name:  "compact",
	Do:    func(s *local.Store) error { return s.Compact(context.Background()) },
	Model: func(map[string]string) {},
}

func openFault(fsys storedir.FS) (*local.Store, error) { return local.OpenFS(fsys, local.Config{}) }

func found(s *local.Store) map[string]string {
	state := map[string]string{}
	results, err := s.Search(context.Background(), []float64{1, 1}, local.Query{K: 10})
	if err != nil {
		return map[string]string{"": faultfs.Failed(err)}
	}
	for _, r := range results {
		state[r.ID] = content.TextOf(r.Document.Content)
	}
	return state
}

func faultCase() faultfs.Case[*local.Store] {
	return faultfs.Case[*local.Store]{
		Open: openFault, Close: (*local.Store).Close, State: found, Uncertain: true,
		Steps: []faultStep{
			stored(map[string]string{"a": "one", "b": "two"}), stored(map[string]string{"a": "three"}), compacted,
			stored(map[string]string{"c": "four", "d": "five"}), unstored("b"), compacted, unstored("c"), stored(map[string]string{"b": "six"}),
		},
	}
}

func TestNoFaultOfTheDiskLosesADocument(t *testing.T) { faultfs.Exhaust(t, faultCase()) }

func TestADamagedDocumentIsNeverTakenForAnother(t *testing.T) { faultfs.Flips(t, faultCase()) }

// The file of a compaction that failed at its end has been written and is not used: what is
// stored afterwards must not be looked for in it.
func TestAPutAfterAFailedCompactionIsThere(t *testing.T) {
	for at := 1; ; at++ {
		disk := faultfs.New(1)
		s, err := openFault(disk.FS())
		require.NoError(t, err)
		require.NoError(t, s.Put(t.Context(), []local.Entry{entry("a", "one", "", 1, 1)}))
		last := disk.Ops()
		disk.Inject(faultfs.Fault{At: last + at, Err: syscall.EIO, After: true})
		compaction := s.Compact(t.Context())
		if disk.Ops() < last+at {
			require.NoError(t, compaction)
			require.Greater(t, at, 5)
			return
		}
		require.NoError(t, s.Put(t.Context(), []local.Entry{entry("b", "two", "", 1, 1)}), "operation %d", at)
		for _, left := range []faultfs.Left{faultfs.Nothing, faultfs.Everything} {
			again, err := openFault(disk.Cut(left).FS())
			require.NoError(t, err)
			require.Equal(t, map[string]string{"a": "one", "b": "two"}, found(again), "operation %d of the compaction failed", at)
		}
	}
}

// A file that is changed while it is open is told, and a compaction does not bless it.
func TestDamageUnderAnOpenStoreIsTold(t *testing.T) {
	dir := t.TempDir()
	s := open(t, local.Config{Dir: dir})
	e := entry("a", "balance: 100", "", 1, 1)
	e.Embeddings[0].Metadata = content.Metadata{"start": json.RawMessage(`100`)}
	require.NoError(t, s.Put(t.Context(), []local.Entry{e}))
	file := filepath.Join(dir, "vectors-0000000000000001")
	whole, err := os.ReadFile(file)
	require.NoError(t, err)
	told := 0
	for at := range whole {
		damaged := append([]byte{}, whole...)
		damaged[at] ^= 1
		require.NoError(t, os.WriteFile(file, damaged, 0o600))
		results, err := s.Search(t.Context(), []float64{1, 1}, local.Query{K: 1})
		if err != nil {
			require.ErrorIs(t, err, status.ErrDataLoss)
			told++
			continue
		}
		require.Len(t, results, 1)
		assert.Equal(t, "balance: 100", content.TextOf(results[0].Document.Content))
		assert.JSONEq(t, `{"start":100}`, string(results[0].Document.Metadata["embedMetadata"]))
	}
	assert.Positive(t, told)
	damaged := append([]byte{}, whole...)
	damaged[len(damaged)-20] ^= 1
	require.NoError(t, os.WriteFile(file, damaged, 0o600))
	require.ErrorIs(t, s.Compact(t.Context()), status.ErrDataLoss)
	require.NoError(t, os.WriteFile(file, whole, 0o600))
	require.NoError(t, s.Compact(t.Context()))
}
