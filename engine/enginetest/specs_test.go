package enginetest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
)

func TestSameJSONComparesNumbersByTheirText(t *testing.T) {
	assert.True(t, enginetest.SameJSON([]byte(`{"a":1.10,"b":[]}`), []byte(` {"b":[], "a":1.10}`)))
	assert.False(t, enginetest.SameJSON([]byte(`1.10`), []byte(`1.1`)))
	assert.False(t, enginetest.SameJSON([]byte(`12345678901234567890`), []byte(`12345678901234567891`)))
	assert.False(t, enginetest.SameJSON([]byte(`{"a":null}`), []byte(`{}`)))
	assert.False(t, enginetest.SameJSON([]byte(`{`), []byte(`{`)), "what is no JSON is like nothing")
}

func TestASpecIsFoundBelowTheFolderThatIsNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("GENKIT_SPECS", dir)
	_, ok := enginetest.FindSpec("genkit/x.yaml")
	assert.False(t, ok)
	require.NoError(t, os.MkdirAll(filepath.Join(dir, "genkit"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "genkit", "x.yaml"), nil, 0o600))
	path, ok := enginetest.FindSpec("genkit/x.yaml")
	assert.True(t, ok)
	assert.Equal(t, path, enginetest.Spec(t, "genkit/x.yaml"))
}
