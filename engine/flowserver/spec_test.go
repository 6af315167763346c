package flowserver_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// TestGenkitsSpecification runs flow_server_tests.yaml, whose "{count}" is replaced by
// the number that is sent (in a chunk, by its place).
func TestGenkitsSpecification(t *testing.T) {
	raw, err := os.ReadFile(enginetest.Spec(t, "genkit/flow_server_tests.yaml"))
	require.NoError(t, err)
	var spec struct {
		Tests []struct {
			Path     string
			Post     struct{ Data int }
			Response struct{ Message, Result string }
		}
	}
	require.NoError(t, yaml.Unmarshal(raw, &spec))
	require.NotEmpty(t, spec.Tests)
	for name, config := range map[string]flowserver.Config{"plain": {}, "kept": {Streams: memory(t)}} {
		w := newWorld(t, config)
		for _, test := range spec.Tests {
			t.Run(name+" "+test.Path, func(t *testing.T) {
				count := func(text string, n int) string { return strings.ReplaceAll(text, "{count}", fmt.Sprint(n)) }
				var want strings.Builder
				for i := range test.Post.Data {
					fmt.Fprintf(&want, "data: {\"message\":%s}\n\n", count(test.Response.Message, i))
				}
				result := count(test.Response.Result, test.Post.Data)
				fmt.Fprintf(&want, "data: {\"result\":%q}\n\n", result)
				body := fmt.Sprintf(`{"data":%d}`, test.Post.Data)
				assert.Equal(t, want.String(), w.post("/menu/"+test.Path+"?stream=true", body).body)
				assert.Equal(t, fmt.Sprintf("{\"result\":%q}\n", result), w.post("/menu/"+test.Path, body).body)
			})
		}
	}
}
