package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/googleai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

var update = flag.Bool("update", false, "write the tables of docs/providers.md anew")

func TestProvidersOfTheCommandLineAreRefused(t *testing.T) {
	for spec, want := range map[string]string{
		"nobody": "one of the servers that are known: deepseek", "openai=http://x": "already", "anthropic": "already", "test=http://x": "already", "A=http://x": "lower case",
		"a/b=http://x": "lower case", "a=": "URL is missing", "a=ftp://x": "base URL", "a=http://u:secret@x": "base URL",
	} {
		_, err := openBackend(t.Context(), backendConfig{data: t.TempDir(), providers: []string{spec}, log: slog.New(slog.DiscardHandler)})
		require.Error(t, err, spec)
		assert.Contains(t, err.Error(), want, spec)
		assert.NotContains(t, err.Error(), "secret")
		f, ok := errors.AsType[*failure](err)
		assert.True(t, ok && f.exit == exitUsage, spec)
	}
}

// Ollama's server also speaks OpenAI's chat completions, and who has asked it so goes on.
func TestAProviderOfTheCommandLineGoesBeforeOneOfTheSameName(t *testing.T) {
	b, err := openBackend(t.Context(), backendConfig{data: t.TempDir(), providers: []string{"ollama=http://localhost:11434/v1"}, log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close(context.Background())) })
	var urls []string
	for _, o := range b.models {
		if o.Name() == "ollama" {
			urls = append(urls, o.BaseURL())
			assert.Nil(t, o.unset)
		}
	}
	assert.Equal(t, []string{"http://localhost:11434/v1"}, urls)
}

// modelServer answers as the server of each provider would, and notes the keys it was asked
// with.
type modelServer struct {
	*httptest.Server
	mu   sync.Mutex // guards keys
	keys []string
}

func newModelServer(t *testing.T) *modelServer {
	t.Helper()
	s := &modelServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer := map[string]string{
			"/v1/messages":                         `{"type":"message","role":"assistant","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn"}`,
			"/v1/chat/completions":                 `{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`,
			"/api/chat":                            `{"message":{"role":"assistant","content":"hello"},"done":true,"done_reason":"stop"}`,
			"/model/amazon.nova-pro-v1:0/converse": `{"output":{"message":{"role":"assistant","content":[{"text":"hello"}]}},"stopReason":"end_turn"}`,
			"/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent": `{"candidates":[{"content":{"parts":[{"text":"hello"}]},"finishReason":"STOP"}]}`,
			"/v1beta/models/gemini-2.5-flash:generateContent":                    `{"candidates":[{"content":{"parts":[{"text":"hello"}]},"finishReason":"STOP"}]}`,
		}[r.URL.Path]
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.keys = append(s.keys, r.Header.Get("X-Api-Key")+r.Header.Get("X-Goog-Api-Key")+r.Header.Get("Authorization"))
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *modelServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.keys
	s.keys = nil
	return all
}

// Every provider is asked through the whole of the server: by a default model, with the
// server's key, with a tenant's own, and with that of a request.
func TestEveryProviderServesTenants(t *testing.T) {
	s := newModelServer(t)
	for _, variable := range slices.Concat(vertexai.Environment, bedrock.Environment, []string{"ANTHROPIC_AUTH_TOKEN", "OPENAI_API_KEY", "OPENAI_BASE_URL"}) {
		t.Setenv(variable, "")
	}
	t.Setenv("ANTHROPIC_API_KEY", "sk-of-the-server-1")
	t.Setenv("ANTHROPIC_BASE_URL", s.URL)
	t.Setenv("GEMINI_API_KEY", "sk-of-the-server-3")
	t.Setenv("GOOGLE_GEMINI_BASE_URL", s.URL)
	t.Setenv("OLLAMA_HOST", s.URL)
	t.Setenv("OLLAMA_API_KEY", "sk-of-the-server-4")
	t.Setenv("VERTEX_API_KEY", "sk-of-the-server-5")
	t.Setenv("GOOGLE_VERTEX_BASE_URL", s.URL)
	t.Setenv("AWS_BEARER_TOKEN_BEDROCK", "sk-of-the-server-6")
	t.Setenv("AWS_ENDPOINT_URL_BEDROCK_RUNTIME", s.URL)
	t.Setenv("LM_STUDIO_API_KEY", "sk-of-the-server-2")
	key := cli(t, "secret", "key")
	require.Equal(t, exitOK, key.exit)
	url := startServer(t, "--tenant", "acme", "--provider", "lm-studio="+s.URL+"/v1", "--default-model", "anthropic/claude-sonnet-5",
		"--secrets-key-file", write(t, "secrets.key", key.out), "--isolation", "in-process")
	for _, c := range []struct{ name, model, header string }{{"anthropic", "", ""}, {"lm-studio", "lm-studio/x", "Bearer "}, {"googleai", "googleai/gemini-2.5-flash", ""}, {"ollama", "ollama/llama3.2", "Bearer "}, {"vertexai", "vertexai/gemini-2.5-flash", ""}, {"bedrock", "bedrock/amazon.nova-pro-v1:0", "Bearer "}} {
		args := []string{"generate", "hi", "--server", url}
		if c.model != "" {
			args = append(args, "--model", c.model)
		}
		got := cli(t, append(args, "--tenant", "acme")...)
		require.Equal(t, exitOK, got.exit, got.err)
		assert.Contains(t, got.out, "hello")
		own := cliWith(t, "sk-of-the-tenant-9", "credential", "set", c.name, "--tenant", "acme", "--server", url)
		require.Equal(t, exitOK, own.exit, own.err)
		require.Equal(t, exitOK, cli(t, append(args, "--tenant", "acme")...).exit)
		require.Equal(t, exitOK, cli(t, append(args, "--tenant", "acme", "--config", `{"apiKey":"sk-of-the-request"}`)...).exit)
		require.Equal(t, exitOK, cli(t, args...).exit)
		server := map[string]string{"anthropic": "sk-of-the-server-1", "lm-studio": "sk-of-the-server-2", "googleai": "sk-of-the-server-3", "ollama": "sk-of-the-server-4", "vertexai": "sk-of-the-server-5", "bedrock": "sk-of-the-server-6"}[c.name]
		assert.Equal(t, []string{c.header + server, c.header + "sk-of-the-tenant-9", c.header + "sk-of-the-request", c.header + server}, s.asked())
	}
}

// documented is a provider of which docs/providers.md has a row.
type documented struct {
	registry.Provider
	environment []string
}

func TestProvidersAreDocumented(t *testing.T) {
	const page = "../../docs/providers.md"
	chat, err := openai.New(openai.Config{})
	require.NoError(t, err)
	claude, err := anthropic.New(anthropic.Config{})
	require.NoError(t, err)
	gemini, err := googleai.New(googleai.Config{})
	require.NoError(t, err)
	local, err := ollama.New(ollama.Config{NoModelListing: true})
	require.NoError(t, err)
	google, err := vertexai.New(vertexai.Config{Project: "p"})
	require.NoError(t, err)
	amazon, err := bedrock.New(bedrock.Config{})
	require.NoError(t, err)
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	want := string(text)
	for name, table := range map[string]string{
		"providers": providerTable(t, documented{chat, openai.Environment}, documented{claude, anthropic.Environment}, documented{gemini, googleai.Environment}, documented{local, ollama.Environment}, documented{google, vertexai.Environment}, documented{amazon, bedrock.Environment}),
		"servers":   serverTable(),
	} {
		before, rest, found := strings.Cut(want, "<!-- "+name+": written by go test ./cmd/genkit-wasm -run ProvidersAreDocumented -update -->\n")
		_, after, ended := strings.Cut(rest, "<!-- end -->")
		require.True(t, found && ended, name)
		want = before + "<!-- " + name + ": written by go test ./cmd/genkit-wasm -run ProvidersAreDocumented -update -->\n" + table + "<!-- end -->" + after
	}
	if *update {
		require.NoError(t, os.WriteFile(page, []byte(want), 0o644))
		return
	}
	assert.Equal(t, want, string(text), "run go test ./cmd/genkit-wasm -run ProvidersAreDocumented -update")
}

func quotedList(names []string) string { return "`" + strings.Join(names, "`, `") + "`" }

func providerTable(t *testing.T, all ...documented) string {
	t.Helper()
	var b strings.Builder
	b.WriteString("| provider | environment | listed | a chat model takes | schemas | config |\n|---|---|---|---|---|---|\n")
	for _, p := range all {
		descs, err := p.List(t.Context())
		require.NoError(t, err)
		models, embedders := 0, 0
		for _, d := range descs {
			if d.Kind == action.Embedder {
				embedders++
			} else {
				models++
			}
		}
		a, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: p.Name() + "/any"})
		require.NoError(t, err)
		info := model.From(a).Info()
		var takes []string
		for _, s := range []struct {
			name string
			yes  bool
		}{{"turns", info.Supports.Multiturn}, {"system", info.Supports.SystemRole}, {"media", info.Supports.Media}, {"tools", info.Supports.Tools}, {"tool choice", info.Supports.ToolChoice}} {
			if s.yes {
				takes = append(takes, s.name)
			}
		}
		var config struct{ Properties map[string]json.RawMessage }
		require.NoError(t, json.Unmarshal(info.ConfigSchema, &config))
		var keys []string
		for key := range config.Properties {
			keys = append(keys, key)
		}
		slices.Sort(keys)
		listed := fmt.Sprintf("%d models", models)
		if models == 0 {
			listed = "what the server has"
		}
		if embedders > 0 {
			listed += fmt.Sprintf(", %d embedders", embedders)
		}
		fmt.Fprintf(&b, "| `%s/…` | %s | %s | %s | %s | %s |\n", p.Name(), quotedList(p.environment), listed, strings.Join(takes, ", "), cmp.Or(info.Supports.Constrained, "in the prompt"), quotedList(keys))
	}
	return b.String()
}

func serverTable() string {
	var b strings.Builder
	b.WriteString("| `--provider` | key | base URL |\n|---|---|---|\n")
	for _, s := range openai.Servers() {
		fmt.Fprintf(&b, "| `%s` | `%s` | %s |\n", s.Name, s.KeyVariable, s.BaseURL)
	}
	return b.String()
}
