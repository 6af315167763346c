package local_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/vectorstore/local"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// FuzzOperations reads hostile payloads behind sums that fit: a process that can write
// the file can make them.
func FuzzOperations(f *testing.F) {
	good := local.AppendPut(nil, "a", []byte(`{"content":[],"metadata":{"n":1}}`), []float32{1, 2}, []byte(`{"start":0}`))
	f.Add(good)
	f.Add(append(good, local.AppendPut(nil, "b", []byte(`{}`), []float32{3, 4}, nil)...))
	f.Add([]byte("\x02\x01a"))
	f.Add([]byte("\x01\x01a\x02{}\xff\xff\xff\xff\x0f"))
	f.Add([]byte("\x01\x01a\x02{}\x01\x80\x80\x01"))
	f.Fuzz(func(t *testing.T, payload []byte) {
		dir := t.TempDir()
		if !local.WriteFile(filepath.Join(dir, "vectors-0000000000000001"), payload) {
			return
		}
		s, err := local.Open(local.Config{Dir: dir})
		if err != nil {
			return // an error, no panic
		}
		st := s.Stats()
		defer s.Close()
		if st.Vectors > 0 {
			query := make([]float64, st.Dimensions)
			query[0] = 1
			got, err := s.Search(t.Context(), query, local.Query{K: 5})
			if err != nil { // a document that is an object, but no document
				require.ErrorIs(t, err, status.ErrDataLoss)
				return
			}
			require.Len(t, got, min(5, st.Vectors))
		}
		require.NoError(t, s.Compact(t.Context()))
		require.Equal(t, st.Vectors, s.Stats().Vectors)
		require.NoError(t, s.Close())
	})
}

// FuzzFile opens hostile files.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	name := filepath.Join(dir, "vectors-0000000000000001")
	local.WriteFile(name, local.AppendPut(nil, "a", []byte(`{"content":[]}`), []float32{1, 2}, nil))
	whole, err := os.ReadFile(name)
	require.NoError(f, err)
	f.Add(whole)
	f.Add(whole[:len(whole)/2])
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "vectors-0000000000000001"), b, 0o600))
		s, err := local.Open(local.Config{Dir: dir})
		if err != nil {
			return
		}
		require.NoError(t, s.Close())
	})
}
