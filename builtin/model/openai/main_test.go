package openai_test

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testKey = "sk-test-0123456789abcdef"

// server plays the API and remembers what it was asked.
type server struct {
	*httptest.Server
	mu      sync.Mutex // guards the fields below
	bodies  []string
	headers []http.Header
}

func serve(t *testing.T, answer http.HandlerFunc) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		s.bodies, s.headers = append(s.bodies, string(body)), append(s.headers, r.Header)
		s.mu.Unlock()
		answer(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *server) body(i int) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.bodies[i]
}

func (s *server) header(i int) http.Header {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.headers[i]
}

func (s *server) calls() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.bodies)
}

// document answers with one JSON document.
func document(code int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

// stream answers with the text of a stream.
func stream(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
		_, _ = io.WriteString(w, text)
	}
}

// data writes each text as one event, and [DONE].
func data(texts ...string) string {
	return "data: " + strings.Join(append(texts, "[DONE]"), "\n\ndata: ") + "\n\n"
}

func newProvider(t *testing.T, cfg openai.Config) *openai.Provider {
	t.Helper()
	p, err := openai.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.Close()) })
	return p
}

// newModel returns openai/test of a server, with the test's key.
func newModel(t *testing.T, s *server, change ...func(*openai.Config)) model.Model {
	t.Helper()
	cfg := openai.Config{BaseURL: s.URL + "/v1", APIKey: testKey}
	for _, f := range change {
		f(&cfg)
	}
	return resolve(t, newProvider(t, cfg), "test")
}

func resolve(t *testing.T, p *openai.Provider, id string) model.Model {
	t.Helper()
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: p.Name() + "/" + id})
	require.NoError(t, err)
	return model.From(a)
}

func hello() *model.Request {
	return &model.Request{Messages: []content.Message{content.NewUserTextMessage("hello")}}
}

func request(t *testing.T, text string) *model.Request {
	t.Helper()
	req := &model.Request{}
	require.NoError(t, json.Unmarshal([]byte(text), req))
	return req
}

// generate streams when streaming is set, and returns the chunks.
func generate(ctx context.Context, m model.Model, req *model.Request, streaming bool) (*model.Response, []*model.Chunk, error) {
	var chunks []*model.Chunk
	var send model.Send
	if streaming {
		send = func(c *model.Chunk) error {
			chunks = append(chunks, c)
			return nil
		}
	}
	resp, err := m.Generate(ctx, req, send)
	return resp, chunks, err
}

func toJSON(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

// plain is a recorded answer.
const plain = `{"id":"chatcmpl-1","object":"chat.completion","created":1741570283,"model":"gpt-4o-2024-08-06",
"choices":[{"index":0,"message":{"role":"assistant","content":"Hello there.","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}],
"usage":{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12,"prompt_tokens_details":{"cached_tokens":4,"audio_tokens":0},
"completion_tokens_details":{"reasoning_tokens":2,"audio_tokens":0,"accepted_prediction_tokens":5,"rejected_prediction_tokens":0}},
"service_tier":"default","system_fingerprint":"fp_1"}`
