// Package accesstest checks that a store of keys keeps its contract.
//
// It owns the kit for [access.Store]. Use, in a test of the store:
//
//	accesstest.Store(t, func(t *testing.T) access.Store { return open(t) })
package accesstest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// Contents returns the records of a store.
func Contents(t testing.TB, s access.Store) map[string]string {
	t.Helper()
	all := map[string]string{}
	require.NoError(t, s.Load(t.Context(), func(id string, record []byte, damage error) error {
		require.NoError(t, damage)
		require.NotContains(t, all, id, "a record comes once")
		all[id] = string(record)
		return nil
	}))
	return all
}

// Store runs the contract of [access.Store]; open returns an empty one, and sees to its end.
func Store(t *testing.T, open func(t *testing.T) access.Store) {
	t.Helper()
	ctx := context.Background() //nolint:forbidigo // of a test
	t.Run("what is put is there", func(t *testing.T) {
		s := open(t)
		assert.Empty(t, Contents(t, s))
		require.NoError(t, s.Put(ctx, "a", []byte("one")))
		require.NoError(t, s.Put(ctx, "b-2", []byte{}))
		require.NoError(t, s.Put(ctx, strings.Repeat("z", 64), []byte("\x00\xff\n")))
		assert.Equal(t, map[string]string{"a": "one", "b-2": "", strings.Repeat("z", 64): "\x00\xff\n"}, Contents(t, s))
		require.NoError(t, s.Put(ctx, "a", []byte("two")))
		assert.Equal(t, "two", Contents(t, s)["a"])
		require.NoError(t, s.Delete(ctx, "a"))
		require.NoError(t, s.Delete(ctx, "a"), "what is not there is no failure")
		assert.NotContains(t, Contents(t, s), "a")
		require.NoError(t, s.Put(ctx, "a", []byte("three")))
		assert.Equal(t, "three", Contents(t, s)["a"])
	})
	t.Run("bytes are the caller's", func(t *testing.T) {
		s := open(t)
		record := []byte("one")
		require.NoError(t, s.Put(ctx, "a", record))
		record[0] = 'x'
		require.NoError(t, s.Load(ctx, func(_ string, record []byte, _ error) error {
			record[0] = 'y'
			return nil
		}))
		assert.Equal(t, "one", Contents(t, s)["a"])
	})
	t.Run("ids and sizes are checked", func(t *testing.T) {
		s := open(t)
		for _, id := range []string{"", strings.Repeat("a", 65), "A", "a/b", "..", ".", "a.b", "a_b", "a b", "ä", "a\x00", "a\n"} {
			require.ErrorIs(t, s.Put(ctx, id, nil), status.ErrInvalidArgument, "%q", id)
			require.ErrorIs(t, s.Delete(ctx, id), status.ErrInvalidArgument, "%q", id)
		}
		require.NoError(t, s.Put(ctx, "big", make([]byte, access.MaxRecordBytes)))
		require.ErrorIs(t, s.Put(ctx, "big", make([]byte, access.MaxRecordBytes+1)), status.ErrResourceExhausted)
		assert.Len(t, Contents(t, s)["big"], access.MaxRecordBytes, "the old one is still there")
	})
	t.Run("loading stops where it is told to", func(t *testing.T) {
		s := open(t)
		for i := range 3 {
			require.NoError(t, s.Put(ctx, fmt.Sprint(i), nil))
		}
		enough, calls := errors.New("enough"), 0
		require.ErrorIs(t, s.Load(ctx, func(string, []byte, error) error { calls++; return enough }), enough)
		assert.Equal(t, 1, calls)
	})
	t.Run("a record may be changed while others are read", func(t *testing.T) {
		s := open(t)
		require.NoError(t, s.Put(ctx, "a", []byte("one")))
		require.NoError(t, s.Load(ctx, func(id string, _ []byte, _ error) error { return s.Delete(ctx, id) }))
		assert.Empty(t, Contents(t, s))
	})
	t.Run("many at once", func(t *testing.T) {
		s := open(t)
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for n := range 20 {
					id := fmt.Sprintf("k%d", i)
					assert.NoError(t, s.Put(ctx, id, fmt.Append(nil, n)))
					if n%5 == 4 && n < 19 {
						assert.NoError(t, s.Delete(ctx, id))
					}
				}
			})
		}
		all.Wait()
		got := Contents(t, s)
		assert.Len(t, got, 8)
		for id, record := range got {
			assert.Equal(t, "19", record, id)
		}
	})
}
