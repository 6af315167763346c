package admin_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

// FuzzMerge applies foreign patches: they are refused as a caller's mistake, or give settings
// that are read again as they are, and that the same patch leaves as they are.
func FuzzMerge(f *testing.F) {
	for _, seed := range [][2]string{
		{`{}`, `{"displayName":"a"}`},
		{`{"labels":{"a":"b"}}`, `{"labels":{"a":null,"c":"d"}}`},
		{`{"grants":{"kv":true}}`, `{"grants":null}`},
		{`{"quota":{"queue":3}}`, `{"quota":{"queue":1e0,"weight":2.0}}`},
		{`{"budget":{"models":["a/*"]}}`, `{"budget":{"tokensPerDay":12345678901}}`},
		{`{"limits":{"timeoutMs":1}}`, "{\"limits\":{\"timeoutMs\":null}}\n"},
		{`{"group":"g"}`, `{"group":"\u0067","group":"h"}`},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, text, patch string) {
		now, err := admin.ParseSettings([]byte(text))
		if err != nil {
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			return
		}
		merged, err := now.Merge([]byte(patch))
		if err != nil {
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			return
		}
		raw, err := json.Marshal(merged)
		require.NoError(t, err)
		again, err := admin.ParseSettings(raw)
		require.NoError(t, err, "%s", raw)
		assert.Equal(t, merged, again)
		twice, err := merged.Merge([]byte(patch))
		require.NoError(t, err)
		assert.Equal(t, merged, twice)
	})
}
