package verify_test

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// Wrong results of earlier rewriters are refused. Each file in testdata/refused holds a module and the rewriter's result,
// and the latter as text for readers.
func TestMistakesOfTheRewriterAreRefused(t *testing.T) {
	files, err := filepath.Glob("testdata/refused/*.txtar")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			raw, err := os.ReadFile(file)
			require.NoError(t, err)
			parts := map[string][]byte{}
			for _, f := range txtar.Parse(raw).Files {
				parts[f.Name] = f.Data
			}
			module := func(name string) *inspect.Module {
				wasm, err := hex.DecodeString(string(bytes.Join(bytes.Fields(parts[name]), nil)))
				require.NoError(t, err)
				m, err := inspect.Parse(wasm, roomy)
				require.NoError(t, err)
				return m
			}
			claim := verify.Claim{MaxTableElements: meter.DefaultTableElements}
			require.NoError(t, json.Unmarshal(parts["claim.json"], &claim))
			original := module("original.hex")
			_, err = verify.Check(original, module("rewritten.hex"), claim)
			require.Error(t, err)
			t.Log(err)
			_, err = verified(t, original.Bytes(), meter.Options{})
			require.NoError(t, err, "what the rewriter makes of it now")
		})
	}
}
