package jsenginetest_test

import (
	"crypto/sha256"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// withoutGo has Go find no module, and the peers of tests be required.
func withoutGo(t *testing.T) {
	t.Helper()
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOFLAGS", "-modcacherw") // so that the folder can be removed
	t.Setenv("GOMODCACHE", t.TempDir())
	t.Setenv("GENKIT_WASM_PEERS", "required")
}

// Where Go can't get the engine, no test that needs it passes.
func TestATestWithoutTheEngineFails(t *testing.T) {
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		if fault != "" {
			withoutGo(t)
		}
		t.Run("engine", func(t *testing.T) {
			file := jsenginetest.File(t)
			_, err := script.Engine(file)
			require.NoError(t, err)
			assert.Equal(t, sha256.Sum256(file), sha256.Sum256(jsenginetest.File(t)))
		})
		t.Run("web platform tests", func(t *testing.T) {
			assert.Contains(t, string(jsenginetest.WebPlatformTests(t, "urltestdata.json")), "href")
		})
	}, map[string]string{"has no engine": "engine", "has no tests of the web platform": "web platform tests"})
}
