package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/googleai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
)

// ollamaServer has a model that sees and an embedder, and notes the last chat.
func ollamaServer(t *testing.T, chat *[]byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		body, _ := io.ReadAll(r.Body)
		switch r.URL.Path {
		case "/api/tags":
			_, _ = io.WriteString(w, `{"models":[{"name":"llava:7b","digest":"1"},{"name":"nomic","digest":"2"}]}`)
		case "/api/show":
			answer := `{"capabilities":["completion","vision"]}`
			if string(body) == `{"model":"nomic"}` {
				answer = `{"capabilities":["embedding"],"model_info":{"nomic.embedding_length":768}}`
			}
			_, _ = io.WriteString(w, answer)
		default:
			*chat = body
			_, _ = io.WriteString(w, `{"message":{"role":"assistant","content":"a cat"},"done":true,"done_reason":"stop"}`)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func TestModelsAreListedAndShownFiles(t *testing.T) {
	for _, variable := range slices.Concat(openai.Environment, anthropic.Environment, googleai.Environment, vertexai.Environment, bedrock.Environment, ollama.Environment) {
		t.Setenv(variable, "")
	}
	var chat []byte
	t.Setenv("OLLAMA_HOST", ollamaServer(t, &chat))
	t.Setenv("ANTHROPIC_API_KEY", "sk-test-0123")
	url := startServer(t)

	got := cli(t, "models", "--server", url)
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Regexp(t, `(?m)^TYPE +NAME +TAKES +STAGE`, got.out)
	assert.Regexp(t, `(?m)^model +ollama/llava:7b +media, system, schemas +-`, got.out)
	assert.Regexp(t, `(?m)^embedder +ollama/nomic +768 dimensions +-`, got.out)
	assert.Regexp(t, `(?m)^model +anthropic/claude-opus-4-5 +media, tools, system, schemas +deprecated`, got.out)
	assert.NotContains(t, got.out, "googleai/", "it is not set up")

	got = cli(t, "models", "--provider", "ollama", "-o", "json", "--server", url)
	require.Equal(t, exitOK, got.exit, got.err)
	var list struct{ Models []struct{ Name string } }
	require.NoError(t, json.Unmarshal([]byte(got.out), &list))
	require.Len(t, list.Models, 2)
	assert.Equal(t, "ollama/llava:7b", list.Models[1].Name)

	got = cli(t, "models", "--provider", "googleai", "--server", url)
	assert.Equal(t, exitOK, got.exit)
	assert.Contains(t, got.out, `no models of "googleai": is the server set up for it?`)
	got = cli(t, "__complete", "models", "--server", url, "--provider", "")
	assert.Contains(t, got.out, "anthropic\nollama\n")

	file := filepath.Join(t.TempDir(), "cat.png")
	require.NoError(t, os.WriteFile(file, []byte{0}, 0o600))
	bare := filepath.Join(t.TempDir(), "cat")
	require.NoError(t, os.WriteFile(bare, []byte("GIF89a"), 0o600))
	got = cli(t, "generate", "--server", url, "--model", "ollama/llava:7b", "--file", file, "--file", bare, "What is this?")
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Equal(t, "a cat\n", got.out)
	assert.JSONEq(t, `{"model":"llava:7b","stream":false,"messages":[{"role":"user","content":"What is this?","images":["AA==","R0lGODlh"]}]}`, string(chat))
	got = cli(t, "generate", "--server", url, "--model", "ollama/llava:7b", "--file", file+".absent", "What is this?")
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, "--file")
}
