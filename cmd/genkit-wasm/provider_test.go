package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/googleai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// The errors a caller gets when a model's server can't be reached, or none is
// configured.
func TestAModelThatCanNotBeAskedSaysWhatToDo(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	refused := "the model server at " + gone.URL + "/v1 can't be reached: it refuses connections"
	for name, c := range map[string]struct{ variable, value, model, want string }{
		"openai, unset":    {"OPENAI_BASE_URL", "", "openai/gpt-5", "start the server with OPENAI_API_KEY"},
		"openai, gone":     {"OPENAI_BASE_URL", gone.URL + "/v1", "openai/gpt-5", refused},
		"anthropic, unset": {"ANTHROPIC_BASE_URL", "", "anthropic/claude-sonnet-5", "start the server with ANTHROPIC_API_KEY"},
		"anthropic, gone":  {"ANTHROPIC_BASE_URL", gone.URL + "/v1", "anthropic/claude-sonnet-5", refused},
		"googleai, unset":  {"GOOGLE_GEMINI_BASE_URL", "", "googleai/gemini-2.5-flash", "start the server with GEMINI_API_KEY"},
		"googleai, gone":   {"GOOGLE_GEMINI_BASE_URL", gone.URL + "/v1", "googleai/gemini-2.5-flash", refused},
		"ollama, unset":    {"OLLAMA_HOST", "", "ollama/llama3.2", "start the server with OLLAMA_HOST"},
		"ollama, gone":     {"OLLAMA_HOST", gone.URL, "ollama/llama3.2", "the model server at " + gone.URL + " can't be reached: it refuses connections"},
		"vertexai, unset":  {"GOOGLE_VERTEX_BASE_URL", "", "vertexai/gemini-2.5-flash", "start the server with GOOGLE_CLOUD_PROJECT"},
		"vertexai, gone":   {"GOOGLE_VERTEX_BASE_URL", gone.URL, "vertexai/gemini-2.5-flash", "the model server at " + gone.URL + " can't be reached: it refuses connections"},
		"bedrock, unset":   {"AWS_REGION", "", "bedrock/m", "start the server with AWS_REGION"},
		"bedrock, no key":  {"AWS_ENDPOINT_URL_BEDROCK_RUNTIME", gone.URL, "bedrock/m", "no credentials of AWS: set AWS_BEARER_TOKEN_BEDROCK"},
		"a known server":   {"DEEPSEEK_API_KEY", "", "deepseek/deepseek-chat", "start the server with DEEPSEEK_API_KEY"},
		"one of one's own": {"LOCAL_API_KEY", "", "local/x", refused},
	} {
		for _, variable := range append([]string{"OPENAI_API_KEY", "OPENAI_BASE_URL", "DEEPSEEK_API_KEY"}, slices.Concat(anthropic.Environment, googleai.Environment, ollama.Environment, vertexai.Environment, bedrock.Environment)...) {
			t.Setenv(variable, "")
		}
		t.Setenv("AWS_SHARED_CREDENTIALS_FILE", t.TempDir())
		t.Setenv(c.variable, c.value)
		b, err := openBackend(t.Context(), backendConfig{data: t.TempDir(), providers: []string{"deepseek", "local=" + gone.URL + "/v1"}, log: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		reg, err := b.registry(wasmhost.DefaultTenant)
		require.NoError(t, err)
		a, err := reg.Lookup(t.Context(), action.Key{Kind: action.Util, Name: "generate"})
		require.NoError(t, err)
		_, err = a.RunJSON(t.Context(), json.RawMessage(`{"model":"`+c.model+`","messages":[{"role":"user","content":[{"text":"hi"}]}]}`), nil)
		require.Error(t, err)
		assert.Contains(t, status.ToWire(err, false).Message, c.want, name)
		require.NoError(t, b.close(context.Background()))
	}
}
