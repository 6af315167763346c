package meter_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// A map tells where the original's code stands in the metered form, and asking for it changes nothing of that.
func TestTheMapTellsWhereCodeStands(t *testing.T) {
	for name, wasm := range wasmtest.Corpus(t) {
		m, err := inspect.Parse(wasm, inspect.DefaultLimits())
		if err != nil {
			continue // it is there to be refused
		}
		plain, err := meter.Rewrite(wasm, m, meter.Options{})
		require.NoError(t, err, name)
		metered, err := meter.Rewrite(wasm, m, meter.Options{Map: true})
		require.NoError(t, err, name)
		assert.True(t, bytes.Equal(plain.Wasm, metered.Wasm), name)
		assert.Empty(t, plain.Map)
		out, err := inspect.Parse(metered.Wasm, inspect.DefaultLimits())
		require.NoError(t, err, name)
		content := 0
		for _, s := range out.Sections {
			if s.ID == inspect.SectionCode {
				content = s.Start
			}
		}
		last, covered := 0, 0
		for _, s := range metered.Map {
			require.GreaterOrEqual(t, s.Out, last, name)
			require.True(t, bytes.Equal(wasm[s.In:s.In+s.Len], metered.Wasm[content+s.Out:content+s.Out+s.Len]), "%s: %+v", name, s)
			last = s.Out + s.Len
			covered += s.Len
		}
		if len(m.Bodies) > 0 {
			assert.Greater(t, 2*covered, m.CodeBytes, "%s: most of it stands as it was", name)
		}
	}
}
