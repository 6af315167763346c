package jsengine_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine"
)

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
