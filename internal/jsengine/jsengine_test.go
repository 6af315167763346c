package jsengine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

func TestTheFileIsTheOneThatScriptsWant(t *testing.T) {
	file, err := jsengine.Get(t.Context())
	require.NoError(t, err)
	_, err = script.Engine(file)
	require.NoError(t, err, "its SHA-256 is known")
	_, err = script.Engine(append([]byte{}, file[1:]...))
	assert.Error(t, err, "another file is refused")
}

func TestAModuleThatIsNotThereIsNamed(t *testing.T) {
	for _, module := range []string{"example.invalid/none@v1.0.0", "not a module@v1", ""} {
		_, err := jsengine.Dir(t.Context(), module)
		require.Error(t, err, module)
		assert.Contains(t, err.Error(), "download "+module)
	}
	ended, end := context.WithCancel(t.Context())
	end()
	_, err := jsengine.Get(ended)
	assert.ErrorIs(t, err, context.Canceled)
}
