package vertexai_test

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire/wiretest"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newProvider(t testing.TB, change ...func(*vertexai.Config)) *vertexai.Provider {
	t.Helper()
	cfg := vertexai.Config{Project: "p-1", Location: "europe-west4", BaseURL: "http://canned", MaxResponseBytes: wiretest.Limit, MaxChunkBytes: wiretest.MaxEvent}
	for _, f := range change {
		f(&cfg)
	}
	p, err := vertexai.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

const (
	geminiDocument = `{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true},{"text":"It is so."},{"functionCall":{"id":"fc_1","name":"a_weather","args":{"city":"Köln"}},"thoughtSignature":"c2ln"}]},"finishReason":"STOP"}],
"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":2,"totalTokenCount":15}}`
	geminiPiece  = "data: {\"candidates\":[{\"content\":{\"role\":\"model\",\"parts\":[{\"text\":\"hm\",\"thought\":true}]}}]}\n\n"
	geminiStream = geminiPiece + `data: {"candidates":[{"content":{"role":"model","parts":[{"text":"It is "}]}}]}` + "\r\n\r\n" + `data: {"candidates":[{"content":{"role":"model","parts":[{"text":"so."}]}}]}` + "\n\n" +
		`data: {"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"fc_1","name":"a_weather","args":{"city":"Köln"}},"thoughtSignature":"c2ln"}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":2,"totalTokenCount":15}}` + "\n\n"
	claudeDocument = `{"type":"message","role":"assistant","content":[{"type":"text","text":"It is so."},{"type":"tool_use","id":"toolu_1","name":"a_weather","input":{"city":"Köln"}}],"stop_reason":"tool_use","usage":{"input_tokens":1,"output_tokens":2}}`
	claudePiece    = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"It is \"}}\n\n"
	claudeStream   = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"type\":\"message\",\"role\":\"assistant\",\"content\":[],\"usage\":{\"input_tokens\":1,\"output_tokens\":0}}}\n\n" +
		"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\",\"text\":\"\"}}\n\n" + claudePiece +
		"data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"so.\"}}\n\n" +
		"data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"toolu_1\",\"name\":\"a_weather\",\"input\":{}}}\n\n" +
		"data: {\"type\":\"content_block_delta\",\"index\":1,\"delta\":{\"type\":\"input_json_delta\",\"partial_json\":\"{\\\"city\\\":\\\"Köln\\\"}\"}}\n\n" +
		"data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":2}}\n\ndata: {\"type\":\"message_stop\"}\n\n"
	failed = `{"error":{"code":429,"status":"RESOURCE_EXHAUSTED","message":"no %s"}}`
)

func target(model, document, stream, piece string) wiretest.Target {
	return wiretest.Target{
		New: func(t testing.TB, baseURL string, client *http.Client) wiretest.Provider {
			return newProvider(t, func(c *vertexai.Config) { c.BaseURL, c.HTTPClient, c.APIKey = baseURL, client, wiretest.Key })
		},
		Model: model, KeyOf: func(h http.Header) string { return h.Get("X-Goog-Api-Key") },
		Document: document, Stream: stream, Piece: piece, Error: failed, Tools: []string{"a/weather"},
	}
}

func TestTheKitOfProviders(t *testing.T) {
	t.Run("gemini", func(t *testing.T) {
		wiretest.Run(t, target("vertexai/gemini-2.5-flash", geminiDocument, geminiStream, geminiPiece))
	})
	t.Run("claude", func(t *testing.T) {
		wiretest.Run(t, target("vertexai/claude-sonnet-4-5@20250929", claudeDocument, claudeStream, claudePiece))
	})
}

func FuzzAnswer(f *testing.F) {
	wiretest.Fuzz(f, target("vertexai/gemini-2.5-flash", geminiDocument, geminiStream, geminiPiece), failed, geminiPiece, `[{"error":{"code":429,"message":"x"}}]`)
}

// Where a request goes, and with what.
func TestRequestsAreAddressed(t *testing.T) {
	const question = `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"maxOutputTokens":9}}`
	for name, c := range map[string]struct {
		change     func(*vertexai.Config)
		id, answer string
		url, body  string
	}{
		"gemini":  {nil, "gemini-2.5-flash", geminiDocument, "/v1beta1/projects/p-1/locations/europe-west4/publishers/google/models/gemini-2.5-flash:generateContent", `{"contents":[{"role":"user","parts":[{"text":"q"}]}],"generationConfig":{"maxOutputTokens":9}}`},
		"claude":  {nil, "claude-sonnet-4-5@20250929", claudeDocument, "/v1/projects/p-1/locations/europe-west4/publishers/anthropic/models/claude-sonnet-4-5@20250929:rawPredict", `{"anthropic_version":"vertex-2023-10-16","max_tokens":9,"messages":[{"role":"user","content":[{"type":"text","text":"q"}]}]}`},
		"tuned":   {nil, "endpoints/123", geminiDocument, "/v1beta1/projects/p-1/locations/europe-west4/endpoints/123:generateContent", ""},
		"whole":   {nil, "publishers/google/models/g", geminiDocument, "/v1beta1/projects/p-1/locations/europe-west4/publishers/google/models/g:generateContent", ""},
		"express": {func(c *vertexai.Config) { c.Project, c.APIKey = "", "k-1" }, "gemini-2.5-flash", geminiDocument, "/v1beta1/publishers/google/models/gemini-2.5-flash:generateContent", ""},
	} {
		canned := wiretest.Answering(200, "application/json", c.answer)
		p := newProvider(t, func(cfg *vertexai.Config) {
			cfg.HTTPClient = &http.Client{Transport: canned}
			if c.change != nil {
				c.change(cfg)
			}
		})
		_, err := wiretest.Ask(t, wiretest.Model(t, p, "vertexai/"+c.id), question, nil)
		require.NoError(t, err, name)
		req, body := canned.Last()
		assert.Equal(t, "http://canned"+c.url, req.URL.String(), name)
		if c.body != "" {
			assert.JSONEq(t, c.body, body, name)
		}
	}
}

func TestLocationsHaveTheirServers(t *testing.T) {
	for location, want := range map[string]string{"": "https://aiplatform.googleapis.com", "global": "https://aiplatform.googleapis.com", "eu": "https://aiplatform.eu.rep.googleapis.com", "us-central1": "https://us-central1-aiplatform.googleapis.com"} {
		p, err := vertexai.New(vertexai.Config{Project: "p", Location: location})
		require.NoError(t, err)
		assert.Equal(t, want, p.BaseURL())
	}
}

// One token serves many requests, until shortly before it ends; a request's own key goes
// before it.
func TestTokensAreKept(t *testing.T) {
	var asked atomic.Int64
	until := time.Now().Add(time.Hour)
	canned := wiretest.Answering(200, "application/json", geminiDocument)
	p := newProvider(t, func(c *vertexai.Config) {
		c.HTTPClient = &http.Client{Transport: canned}
		c.Token = func(context.Context) (string, time.Time, error) {
			asked.Add(1)
			return "ya29.token-0123456789", until, nil
		}
	})
	m := wiretest.Model(t, p, "vertexai/gemini-2.5-flash")
	say := func(config string) http.Header {
		t.Helper()
		_, err := wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":`+config+`}`, nil)
		require.NoError(t, err)
		req, _ := canned.Last()
		return req.Header
	}
	for range 3 {
		assert.Equal(t, "Bearer ya29.token-0123456789", say("{}").Get("Authorization"))
	}
	assert.EqualValues(t, 1, asked.Load())
	h := say(`{"apiKey":"own-key-1"}`)
	assert.Equal(t, "own-key-1", h.Get("X-Goog-Api-Key"))
	assert.Empty(t, h.Get("Authorization"))
	until = time.Now().Add(30 * time.Second)
	q := newProvider(t, func(c *vertexai.Config) {
		c.HTTPClient = &http.Client{Transport: canned}
		c.Token = func(context.Context) (string, time.Time, error) { asked.Add(1); return "ya29.short", until, nil }
	})
	m = wiretest.Model(t, q, "vertexai/gemini-2.5-flash")
	before := asked.Load()
	say("{}")
	say("{}")
	assert.Equal(t, before+2, asked.Load(), "a token that is about to end is replaced")
}

func TestATokenThatCanNotBeHad(t *testing.T) {
	for name, c := range map[string]struct {
		token string
		err   error
		want  string
	}{"an error": {"", status.Publicf(status.Unauthenticated, "no credentials"), "no credentials"}, "nothing": {"", nil, "is empty"}, "no header": {"a\nb", nil, "can't carry"}} {
		canned := wiretest.Answering(200, "application/json", geminiDocument)
		p := newProvider(t, func(cfg *vertexai.Config) {
			cfg.HTTPClient = &http.Client{Transport: canned}
			cfg.Token = func(context.Context) (string, time.Time, error) { return c.token, time.Now().Add(time.Hour), c.err }
		})
		_, err := wiretest.Ask(t, wiretest.Model(t, p, "vertexai/gemini-2.5-flash"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
		assert.Equal(t, status.Unauthenticated, status.Of(err), name)
		assert.ErrorContains(t, err, c.want, name)
	}
	// A server that repeats the token does not show it.
	canned := wiretest.Answering(403, "application/json", `{"error":{"message":"bad ya29.token-0123456789"}}`)
	p := newProvider(t, func(cfg *vertexai.Config) {
		cfg.HTTPClient = &http.Client{Transport: canned}
		cfg.Token = func(context.Context) (string, time.Time, error) {
			return "ya29.token-0123456789", time.Now().Add(time.Hour), nil
		}
	})
	_, err := wiretest.Ask(t, wiretest.Model(t, p, "vertexai/gemini-2.5-flash"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
	assert.Equal(t, status.PermissionDenied, status.Of(err))
	assert.ErrorContains(t, err, "bad [hidden]")
}

// The file of a service account is signed for and exchanged for a token.
func TestDefaultCredentials(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	var grants atomic.Int64
	answer := `{"access_token":"ya29.of-the-account","expires_in":3600,"token_type":"Bearer"}`
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		grants.Add(1)
		if r.FormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || strings.Count(r.FormValue("assertion"), ".") != 2 {
			http.Error(w, "bad grant", http.StatusBadRequest)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		if strings.Contains(answer, "error") {
			w.WriteHeader(http.StatusBadRequest)
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer s.Close()
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	account, err := json.Marshal(map[string]string{
		"type": "service_account", "project_id": "p-1", "private_key_id": "k", "client_email": "a@p-1.test", "token_uri": s.URL,
		"private_key": string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
	})
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "account.json")
	require.NoError(t, os.WriteFile(file, account, 0o600))
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", file)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	token, until, err := vertexai.DefaultToken(client)(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "ya29.of-the-account", token)
	assert.WithinDuration(t, time.Now().Add(time.Hour), until, 5*time.Minute)
	assert.EqualValues(t, 1, grants.Load())

	// What is wrong is told; what the token server said stays in the process.
	answer = `{"error":"invalid_grant","error_description":"secret words"}`
	_, _, err = vertexai.DefaultToken(client)(t.Context())
	assert.Equal(t, status.Unauthenticated, status.Of(err))
	assert.NotContains(t, status.ToWire(err, false).Message, "secret words")
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", filepath.Join(t.TempDir(), "absent"))
	_, _, err = vertexai.DefaultToken(nil)(t.Context())
	assert.Equal(t, status.Unauthenticated, status.Of(err))
	assert.Contains(t, status.ToWire(err, false).Message, "GOOGLE_APPLICATION_CREDENTIALS")
	assert.NotContains(t, status.ToWire(err, false).Message, "absent")
}

func TestEmbeddings(t *testing.T) {
	canned := wiretest.Answering(200, "application/json", `{"predictions":[{"embeddings":{"values":[1,2]}},{"embeddings":{"values":[3,4]}}]}`)
	p := newProvider(t, func(c *vertexai.Config) { c.HTTPClient = &http.Client{Transport: canned} })
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: "vertexai/text-embedding-005"})
	require.NoError(t, err)
	out, err := a.RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2,"autoTruncate":false}}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"embeddings":[{"embedding":[1,2]},{"embedding":[3,4]}]}`, string(out))
	req, body := canned.Last()
	assert.Equal(t, "/v1beta1/projects/p-1/locations/europe-west4/publishers/google/models/text-embedding-005:predict", req.URL.Path)
	assert.JSONEq(t, `{"instances":[{"content":"a","task_type":"RETRIEVAL_DOCUMENT","title":"T"},{"content":"b","task_type":"RETRIEVAL_DOCUMENT","title":"T"}],"parameters":{"outputDimensionality":2,"autoTruncate":false}}`, body)
}

func TestTheCatalogue(t *testing.T) {
	p := newProvider(t, func(c *vertexai.Config) { c.Models = []vertexai.ModelConfig{{ID: "endpoints/1"}} })
	descs, err := p.List(t.Context())
	require.NoError(t, err)
	names := map[string]bool{}
	for _, d := range descs {
		names[d.Key().String()] = true
		assert.NotContains(t, d.Name, "-latest")
	}
	for _, want := range []string{"/model/vertexai/gemini-2.5-flash", "/model/vertexai/claude-sonnet-5", "/model/vertexai/endpoints/1", "/embedder/vertexai/text-embedding-005"} {
		assert.True(t, names[want], want)
	}
	assert.Contains(t, string(wiretest.Model(t, p, "vertexai/claude-x").Info().ConfigSchema), "thinking")
	assert.Contains(t, string(wiretest.Model(t, p, "vertexai/gemini-x").Info().ConfigSchema), "safetySettings")
}

func TestTheEnvironment(t *testing.T) {
	for _, name := range vertexai.Environment {
		t.Setenv(name, "")
	}
	t.Setenv("VERTEX_API_KEY", "k-1")
	c := vertexai.FromEnv()
	assert.Equal(t, "k-1", c.APIKey)
	assert.Nil(t, c.Token)
	t.Setenv("GCLOUD_PROJECT", "p-2")
	t.Setenv("GOOGLE_CLOUD_REGION", "us-east1")
	c = vertexai.FromEnv()
	assert.Empty(t, c.APIKey, "a project goes before a key of the environment")
	assert.NotNil(t, c.Token)
	assert.Equal(t, []string{"p-2", "us-east1"}, []string{c.Project, c.Location})
}

func TestConfigurationsThatCanNotWork(t *testing.T) {
	for _, cfg := range []vertexai.Config{{Name: "a/b"}, {BaseURL: "ftp://x"}, {MaxChunkBytes: -1}, {Project: "p/../q"}, {Location: "evil.test/"}, {Location: "a.b"}, {Models: []vertexai.ModelConfig{{ID: "../x"}}}} {
		_, err := vertexai.New(cfg)
		assert.Equal(t, status.InvalidArgument, status.Of(err), cfg)
	}
	p := newProvider(t)
	for _, id := range []string{"a:b", "a?b", "../x", "endpoints/../x"} {
		_, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: "vertexai/" + id})
		assert.Equal(t, status.InvalidArgument, status.Of(err), id)
	}
	_, err := wiretest.Ask(t, wiretest.Model(t, p, "vertexai/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"version":"../x"}}`, nil)
	assert.Equal(t, status.InvalidArgument, status.Of(err))
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	wait := newProvider(t, func(c *vertexai.Config) {
		c.Token = func(ctx context.Context) (string, time.Time, error) { return "", time.Time{}, errors.Join(ctx.Err()) }
	})
	a, err := wait.Resolve(t.Context(), action.Key{Kind: action.Model, Name: "vertexai/m"})
	require.NoError(t, err)
	_, err = a.RunJSON(gone, json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"q"}]}]}`), nil)
	require.Error(t, err)
}
