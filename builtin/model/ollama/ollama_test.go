package ollama_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire/wiretest"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The answer of the kit: thinking, text, and two calls, one without arguments.
const (
	counts   = `"done_reason":"stop","done":true,"total_duration":900,"load_duration":100,"prompt_eval_count":26,"prompt_eval_duration":200,"eval_count":30,"eval_duration":600}`
	document = `{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"It is so.","thinking":"Let me see…","tool_calls":[
{"id":"call_a","function":{"index":0,"name":"a_weather","arguments":{"city":"Köln","n":[1,2.50]}}},{"function":{"name":"now","arguments":{}}}]},` + counts
	piece  = `{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"","thinking":"Let me "},"done":false}` + "\n"
	stream = piece + `{"message":{"role":"assistant","content":"","thinking":"see…"},"done":false}` + "\n" +
		`{"message":{"role":"assistant","content":"It is "},"done":false}` + "\r\n\n" + `{"message":{"role":"assistant","content":"so."},"done":false}` + "\n" +
		`{"message":{"role":"assistant","content":"","tool_calls":[{"id":"call_a","function":{"index":0,"name":"a_weather","arguments":{"city":"Köln","n":[1,2.50]}}}]},"done":false}` + "\n" +
		`{"message":{"role":"assistant","content":"","tool_calls":[{"function":{"name":"now","arguments":{}}}]},"done":false}` + "\n" +
		`{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":""},` + counts + "\n"
	failed = `{"error":"no %s"}`
)

func newProvider(t testing.TB, baseURL string, client *http.Client) *ollama.Provider {
	t.Helper()
	p, err := ollama.New(ollama.Config{BaseURL: baseURL, APIKey: wiretest.Key, HTTPClient: client, MaxResponseBytes: wiretest.Limit, MaxChunkBytes: wiretest.MaxEvent})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func target() wiretest.Target {
	return wiretest.Target{
		New: func(t testing.TB, baseURL string, client *http.Client) wiretest.Provider {
			return newProvider(t, baseURL, client)
		},
		Model: "ollama/m", KeyOf: func(h http.Header) string { return strings.TrimPrefix(h.Get("Authorization"), "Bearer ") },
		Document: document, Stream: stream, Piece: piece, Error: failed, Tools: []string{"a/weather", "now"},
		StreamType: "application/x-ndjson", Failed: func(body string) string { return body + "\n" },
		Endless: map[string][2]string{"an endless line": {`{"message":{"content":"`, "x"}, "empty lines, endless": {"", "\n\r\n"}},
	}
}

func TestTheKitOfProviders(t *testing.T) { wiretest.Run(t, target()) }

func FuzzAnswer(f *testing.F) {
	wiretest.Fuzz(f, target(), failed, piece, `{"done":true}`+"\n", `{"message":{"tool_calls":[{"function":{"name":"x","arguments":"{\"a\":1}"}},{}]},"done":true,"done_reason":"length","eval_count":-1}`,
		`{"message":null,"done":true,"done_reason":"new"}`+"\n"+`{"done":true}`)
}

// ask returns the response to a request and the body that it became.
func ask(t *testing.T, request, answer string) (*model.Response, string, error) {
	t.Helper()
	c := wiretest.Answering(200, "application/json", answer)
	resp, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "ollama/m"), request, nil)
	if err != nil {
		return nil, "", err
	}
	req, body := c.Last()
	require.Equal(t, "http://canned/api/chat", req.URL.String())
	return resp, body, nil
}

const plain = `{"message":{"role":"assistant","content":"hi"},"done":true,"done_reason":"stop"}`

func TestTheAnswerIsMapped(t *testing.T) {
	for _, streaming := range []bool{false, true} {
		c := wiretest.Answering(200, "application/json", document)
		var chunks *[]*model.Chunk
		if streaming {
			c, chunks = wiretest.Answering(200, "application/x-ndjson", stream), &[]*model.Chunk{}
		}
		resp, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "ollama/m"),
			`{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"a/weather","description":""},{"name":"now","description":""}]}`, chunks)
		require.NoError(t, err)
		raw, err := json.Marshal(resp.Message)
		require.NoError(t, err)
		assert.JSONEq(t, `{"role":"model","content":[{"reasoning":"Let me see…"},{"text":"It is so."},
			{"toolRequest":{"name":"a/weather","ref":"call_a","input":{"city":"Köln","n":[1,2.50]}}},{"toolRequest":{"name":"now","ref":"call_3","input":{}}}]}`, string(raw))
		assert.Equal(t, model.FinishStop, resp.FinishReason)
		usage, err := json.Marshal(resp.Usage)
		require.NoError(t, err)
		assert.JSONEq(t, `{"inputTokens":26,"outputTokens":30,"totalTokens":56,"custom":{"total_duration":900,"load_duration":100,"prompt_eval_duration":200,"eval_duration":600}}`, string(usage))
		var own struct {
			Message struct {
				Content, Thinking string
				ToolCalls         []any `json:"tool_calls"`
			}
			Done bool
		}
		require.NoError(t, json.Unmarshal(resp.Raw, &own))
		assert.Equal(t, "It is so.", own.Message.Content)
		assert.Equal(t, "Let me see…", own.Message.Thinking)
		assert.Len(t, own.Message.ToolCalls, 2)
		assert.True(t, own.Done)
	}
}

func TestEndsOfAnswers(t *testing.T) {
	for reason, want := range map[string]struct {
		reason model.FinishReason
		calls  int
	}{`"stop"`: {model.FinishStop, 2}, `"length"`: {model.FinishLength, 1}, `"load"`: {model.FinishOther, 0}, `"a new one"`: {model.FinishOther, 0}, `""`: {model.FinishUnknown, 1}} {
		resp, _, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, strings.Replace(document, `"stop"`, reason, 1))
		require.NoError(t, err)
		assert.Equal(t, want.reason, resp.FinishReason, reason)
		assert.Len(t, resp.ToolRequests(), want.calls, reason)
	}
}

func TestRequestBodies(t *testing.T) {
	for name, c := range map[string]struct{ request, want string }{
		"roles and images": {
			`{"messages":[{"role":"system","content":[{"text":"Be brief."}]},{"role":"user","content":[{"text":"Look: "},{"data":{"b":1}},{"media":{"url":"data:image/png;base64,AA=="}}]}]}`,
			`{"model":"m","stream":false,"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Look: {\"b\":1}","images":["AA=="]}]}`,
		},
		"tools and their answers": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"model","content":[{"reasoning":"hm"},{"reasoning":"other's","metadata":{"signature":"s"}},{"text":"Wait."},{"toolRequest":{"name":"a/b","ref":"1","input":{"x":1}}},{"toolRequest":{"name":"s","ref":"2","input":"y"}}]},
			{"role":"tool","content":[{"toolResponse":{"name":"a/b","ref":"1","output":{"c":1},"content":[{"text":"more"},{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"https://x.test/a.png"}}]}},{"toolResponse":{"name":"s","ref":"2","output":"z"}}]}],
			"tools":[{"name":"a/b","description":"d","inputSchema":{"type":"object","properties":{"x":{"type":"integer"}}}},{"name":"s","description":"","inputSchema":{"type":"string"}}],"toolChoice":"auto"}`,
			`{"model":"m","stream":false,"messages":[{"role":"user","content":"a"},{"role":"assistant","content":"Wait.","thinking":"hm","tool_calls":[{"id":"1","function":{"index":0,"name":"a_b","arguments":{"x":1}}},{"id":"2","function":{"index":1,"name":"s","arguments":{"input":"y"}}}]},
			{"role":"tool","content":"{\"c\":1}\n\nmore\n\n[The tool also returned media of the type \"unknown\", which can't be shown here.]","tool_name":"a_b","tool_call_id":"1","images":["AA=="]},{"role":"tool","content":"z","tool_name":"s","tool_call_id":"2"}],
			"tools":[{"type":"function","function":{"name":"a_b","description":"d","parameters":{"type":"object","properties":{"x":{"type":"integer"}}}}},
			{"type":"function","function":{"name":"s","parameters":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}}}]}`,
		},
		"no tools": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"tools":[{"name":"f","description":""}],"toolChoice":"none"}`,
			`{"model":"m","stream":false,"messages":[{"role":"user","content":"a"}]}`,
		},
		"config": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"version":"v","maxOutputTokens":9,"temperature":0,"topK":3,"topP":0.5,"minP":0.1,"seed":0,"stopSequences":["x"],"numCtx":4096,"think":"high","keepAlive":"5m","options":{"num_gpu":1,"top_k":4},"extra":{"logprobs":true}}}`,
			`{"model":"v","stream":false,"messages":[{"role":"user","content":"a"}],"think":"high","keep_alive":"5m","logprobs":true,"options":{"num_predict":9,"temperature":0,"top_k":4,"top_p":0.5,"min_p":0.1,"seed":0,"stop":["x"],"num_ctx":4096,"num_gpu":1}}`,
		},
		"a schema": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"think":false},"output":{"format":"json","constrained":true,"schema":{"type":"object","properties":{"a":{"type":"string","maxLength":3}}}}}`,
			`{"model":"m","stream":false,"messages":[{"role":"user","content":"a"}],"think":false,"format":{"type":"object","properties":{"a":{"type":"string","maxLength":3}}}}`,
		},
		"JSON": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"output":{"format":"json"}}`,
			`{"model":"m","stream":false,"messages":[{"role":"user","content":"a"}],"format":"json"}`,
		},
		"a schema would keep it from calling": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"tools":[{"name":"f","description":""}],"output":{"format":"json","constrained":true,"schema":{"type":"object"}}}`,
			`{"model":"m","stream":false,"messages":[{"role":"user","content":"a"}],"tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object","properties":{}}}}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, body, err := ask(t, c.request, plain)
			require.NoError(t, err)
			assert.JSONEq(t, c.want, body)
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for request, want := range map[string]string{
		`{"messages":[]}`: "no messages",
		`{"messages":[{"role":"user","content":[{"media":{"url":"https://x.test/a.png"}}]}]}`:                                                      "messages[0]: content[0]: an image must be a data: URL",
		`{"messages":[{"role":"user","content":[{"media":{"url":"data:audio/wav;base64,AA=="}}]}]}`:                                                `type "audio/wav"`,
		`{"messages":[{"role":"model","content":[{"media":{"url":"data:image/png;base64,AA=="}}]}]}`:                                               "user's message only",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"tools":[{"name":"f","description":""}],"toolChoice":"required"}`:                  `"required" is not supported`,
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"nonsense":1}}`:                                                          "nonsense",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"think":3}}`:                                                             "think",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"extra":{"messages":[]}}}`:                                               "fills this field in",
		`{"messages":[{"role":"user","content":[{"custom":{"a":1}}]}]}`:                                                                            "custom parts",
		`{"messages":[{"role":"user","content":[{"toolRequest":{"name":"f"}}]}]}`:                                                                  "only a model's message",
		`{"messages":[{"role":"tool","content":[{"text":"a"}]}]}`:                                                                                  "tool responses only",
		`{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"user","content":[{"toolResponse":{"name":"f","output":1}}]}],"config":{}}`: "only a tool message",
	} {
		_, _, err := ask(t, request, plain)
		assert.Equal(t, status.InvalidArgument, status.Of(err), request)
		assert.ErrorContains(t, err, want, request)
	}
}

func TestErrorsInAStream(t *testing.T) {
	var chunks []*model.Chunk
	c := wiretest.Answering(200, "application/x-ndjson", piece+`{"error":"model runner has unexpectedly stopped"}`+"\n")
	_, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "ollama/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, &chunks)
	require.ErrorContains(t, err, "model runner has unexpectedly stopped")
	assert.Len(t, chunks, 1)
}

func TestEmbeddings(t *testing.T) {
	c := wiretest.Answering(200, "application/json", `{"model":"m","embeddings":[[1,2],[3,4.5]],"prompt_eval_count":8}`)
	p := newProvider(t, "http://canned", &http.Client{Transport: c})
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: "ollama/nomic-embed-text"})
	require.NoError(t, err)
	out, err := a.RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"},{"text":"b"}]},{"content":[{"text":"c"}]}],"options":{"dimensions":2,"truncate":false,"keepAlive":60,"apiKey":"own-key-1"}}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"embeddings":[{"embedding":[1,2]},{"embedding":[3,4.5]}]}`, string(out))
	req, body := c.Last()
	assert.Equal(t, "Bearer own-key-1", req.Header.Get("Authorization"))
	assert.JSONEq(t, `{"model":"nomic-embed-text","input":["ab","c"],"dimensions":2,"truncate":false,"keep_alive":60}`, body)
	for answer, want := range map[string]string{`{"embeddings":[[1]]}`: "1 embeddings for 2 texts", `{"embeddings":[[1],[]]}`: "is empty", `{"embeddings":1}`: "form"} {
		c.Body = func() io.Reader { return strings.NewReader(answer) }
		_, err := embed.Do(t.Context(), a, &embed.Request{Input: []content.Document{embed.Data("a", "text"), embed.Data("b", "text")}})
		require.ErrorContains(t, err, want)
	}
	_, err = embed.Do(t.Context(), a, &embed.Request{Input: []content.Document{embed.Media("data:image/png;base64,AA==", "image/png")}})
	require.ErrorContains(t, err, "media can't be embedded")
}

// The server's list tells what each model can do; that is asked once for each digest.
func TestModelsAreListedWithWhatTheyCanDo(t *testing.T) {
	var shown atomic.Int64
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/tags" {
			_, _ = io.WriteString(w, `{"models":[{"name":"llava:7b","model":"llava:7b","digest":"1"},{"name":"embed","model":"embed","digest":"2"},{"name":"old","digest":"3"},17]}`)
			return
		}
		shown.Add(1)
		body, _ := io.ReadAll(r.Body)
		answer := map[string]string{
			`{"model":"llava:7b"}`: `{"capabilities":["completion","vision"],"model_info":{"llama.embedding_length":4096}}`,
			`{"model":"embed"}`:    `{"capabilities":["embedding"],"model_info":{"nomic-bert.embedding_length":768}}`,
		}[string(body)]
		if answer == "" {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"error":"not found"}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	p, err := ollama.New(ollama.Config{BaseURL: s.URL})
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	descs, err := p.List(t.Context())
	require.NoError(t, err)
	require.Len(t, descs, 3)
	assert.Equal(t, action.Key{Kind: action.Model, Name: "ollama/llava:7b"}, descs[0].Key())
	assert.Equal(t, action.Key{Kind: action.Embedder, Name: "ollama/embed"}, descs[1].Key())
	assert.Contains(t, fmt.Sprintf("%s", descs[1].Metadata), `"dimensions":768`)
	able := wiretest.Model(t, p, "ollama/llava:7b").Info().Supports
	assert.True(t, able.Media)
	assert.False(t, able.Tools)
	assert.True(t, wiretest.Model(t, p, "ollama/old").Info().Supports.Tools)
	_, err = p.Models(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 4, shown.Load(), "what can't be told is asked again, nothing else")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = p.Models(gone)
	require.Error(t, err)
}

func TestURLOfAHost(t *testing.T) {
	for host, want := range map[string]string{
		"": "http://127.0.0.1:11434", "example": "http://example:11434", "example:80": "http://example:80", ":8080": "http://127.0.0.1:8080", "[::1]": "http://[::1]:11434", "[::1]:9": "http://[::1]:9",
		"http://example": "http://example:80", "https://example": "https://example:443", "https://example:9/a/": "https://example:9/a", " 'example' ": "http://example:11434", "ollama.com": "https://ollama.com:443",
	} {
		assert.Equal(t, want, ollama.URLOf(host), host)
	}
}

func TestConfigurationsThatCanNotWork(t *testing.T) {
	for _, cfg := range []ollama.Config{{Name: "a/b"}, {BaseURL: "ftp://x"}, {MaxChunkBytes: -1}, {Models: []ollama.ModelConfig{{}}}} {
		_, err := ollama.New(cfg)
		assert.Equal(t, status.InvalidArgument, status.Of(err), cfg)
	}
	p, err := ollama.New(ollama.Config{APIKey: "sk-secret-1", Embedders: map[string]int{"e": 3}, Models: []ollama.ModelConfig{{ID: "m"}}, NoModelListing: true})
	require.NoError(t, err)
	descs, err := p.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, descs, 2)
	assert.NotContains(t, p.String(), "secret")
}
