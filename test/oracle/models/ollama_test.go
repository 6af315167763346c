package models

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"

	ollamaapi "github.com/ollama/ollama/api"
	"github.com/ollama/ollama/envconfig"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/ollama"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

func llamaOf(t *testing.T, r *recorder, kind action.Kind) action.Action {
	t.Helper()
	p, err := ollama.New(ollama.Config{BaseURL: r.URL})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := p.Resolve(t.Context(), action.Key{Kind: kind, Name: "ollama/m"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *recorder) llama(t *testing.T) *ollamaapi.Client {
	t.Helper()
	base, err := url.Parse(r.URL)
	if err != nil {
		t.Fatal(err)
	}
	return ollamaapi.NewClient(base, http.DefaultClient)
}

// arguments are those of a call in the vendor's type.
func arguments(t *testing.T, text string) ollamaapi.ToolCallFunctionArguments {
	t.Helper()
	var a ollamaapi.ToolCallFunctionArguments
	if err := json.Unmarshal([]byte(text), &a); err != nil {
		t.Fatal(err)
	}
	return a
}

// A conversation that holds everything goes out as the vendor's client sends it from its
// own types.
func TestOllamaIsAskedAlike(t *testing.T) {
	const conversation = `{"messages":[
		{"role":"system","content":[{"text":"Be brief."}]},
		{"role":"user","content":[{"text":"Look."},{"media":{"url":"data:image/png;base64,AA=="}}]},
		{"role":"model","content":[{"reasoning":"hm"},{"text":"One moment."},{"toolRequest":{"name":"weather","ref":"c1","input":{"city":"Oslo","days":2}}},{"toolRequest":{"name":"now","ref":"c2","input":{}}}]},
		{"role":"tool","content":[{"toolResponse":{"name":"weather","ref":"c1","output":"cold"}},{"toolResponse":{"name":"now","ref":"c2","output":{"h":12}}}]}],
		"tools":[{"name":"weather","description":"The weather","inputSchema":{"type":"object","properties":{"city":{"type":"string","description":"Where"},"days":{"type":"integer"}},"required":["city"]}}],
		"config":{"maxOutputTokens":99,"temperature":0.5,"topK":5,"topP":0.25,"minP":0.125,"seed":7,"stopSequences":["x"],"numCtx":4096,"think":true,"keepAlive":"5m0s"}}`
	properties := ollamaapi.NewToolPropertiesMap()
	properties.Set("city", ollamaapi.ToolProperty{Type: ollamaapi.PropertyType{"string"}, Description: "Where"})
	properties.Set("days", ollamaapi.ToolProperty{Type: ollamaapi.PropertyType{"integer"}})
	call := func(index int, id, name, args string) ollamaapi.ToolCall {
		return ollamaapi.ToolCall{ID: id, Function: ollamaapi.ToolCallFunction{Index: index, Name: name, Arguments: arguments(t, args)}}
	}
	no := false
	var keep ollamaapi.Duration
	if err := json.Unmarshal([]byte(`"5m"`), &keep); err != nil {
		t.Fatal(err)
	}
	theirs := &ollamaapi.ChatRequest{
		Model: "m", Stream: &no, KeepAlive: &keep, Think: &ollamaapi.ThinkValue{Value: true},
		Messages: []ollamaapi.Message{
			{Role: "system", Content: "Be brief."},
			{Role: "user", Content: "Look.", Images: []ollamaapi.ImageData{{0}}},
			{Role: "assistant", Content: "One moment.", Thinking: "hm", ToolCalls: []ollamaapi.ToolCall{call(0, "c1", "weather", `{"city":"Oslo","days":2}`), call(1, "c2", "now", `{}`)}},
			{Role: "tool", Content: "cold", ToolName: "weather", ToolCallID: "c1"},
			{Role: "tool", Content: `{"h":12}`, ToolName: "now", ToolCallID: "c2"},
		},
		Tools:   ollamaapi.Tools{{Type: "function", Function: ollamaapi.ToolFunction{Name: "weather", Description: "The weather", Parameters: ollamaapi.ToolFunctionParameters{Type: "object", Required: []string{"city"}, Properties: properties}}}},
		Options: map[string]any{"num_predict": 99, "temperature": 0.5, "top_k": 5, "top_p": 0.25, "min_p": 0.125, "seed": 7, "stop": []string{"x"}, "num_ctx": 4096},
	}
	r := record(t, "application/json", `{"message":{"role":"assistant","content":"x"},"done":true,"done_reason":"stop"}`)
	if _, err := llamaOf(t, r, action.Model).RunJSON(t.Context(), json.RawMessage(conversation), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.path, r.asked
	if err := r.llama(t).Chat(t.Context(), theirs, func(ollamaapi.ChatResponse) error { return nil }); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "body", asked, r.asked)
}

// A schema goes out as the vendor's client sends it.
func TestOllamaGetsASchemaAlike(t *testing.T) {
	const schema = `{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}`
	r := record(t, "application/json", `{"message":{"role":"assistant","content":"{}"},"done":true,"done_reason":"stop"}`)
	if _, err := llamaOf(t, r, action.Model).RunJSON(t.Context(), json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"temperature":0,"think":"low"},"output":{"format":"json","constrained":true,"schema":`+schema+`}}`), nil); err != nil {
		t.Fatal(err)
	}
	asked, no := r.asked, false
	err := r.llama(t).Chat(t.Context(), &ollamaapi.ChatRequest{
		Model: "m", Stream: &no, Messages: []ollamaapi.Message{{Role: "user", Content: "q"}}, Format: json.RawMessage(schema), Think: &ollamaapi.ThinkValue{Value: "low"}, Options: map[string]any{"temperature": 0},
	}, func(ollamaapi.ChatResponse) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	same(t, "body", asked, r.asked)
}

// The same bytes give the same text, calls and counts.
func TestOllamasStreamsAreReadAlike(t *testing.T) {
	const body = `{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"","thinking":"h"},"done":false}
{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"","thinking":"m"},"done":false}
{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"It "},"done":false}
{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"is."},"done":false}
{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":"","tool_calls":[{"id":"call_1","function":{"index":0,"name":"f","arguments":{"b":[1,2],"a":"x"}}}]},"done":false}
{"model":"m","created_at":"2026-11-01T00:00:00Z","message":{"role":"assistant","content":""},"done":true,"done_reason":"stop","total_duration":9,"prompt_eval_count":26,"eval_count":30}
`
	r := record(t, "application/x-ndjson", body)
	var text, thinking strings.Builder
	var calls []ollamaapi.ToolCall
	var last ollamaapi.ChatResponse
	err := r.llama(t).Chat(t.Context(), &ollamaapi.ChatRequest{Model: "m", Messages: []ollamaapi.Message{{Role: "user", Content: "q"}}}, func(resp ollamaapi.ChatResponse) error {
		text.WriteString(resp.Message.Content)
		thinking.WriteString(resp.Message.Thinking)
		calls, last = append(calls, resp.Message.ToolCalls...), resp
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	resp := say(t, llamaOf(t, r, action.Model), `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`)
	if resp.Text() != text.String() || resp.Reasoning() != thinking.String() || string(resp.FinishReason) != last.DoneReason {
		t.Errorf("ours %q, %q, %q, theirs %q, %q, %q", resp.Text(), resp.Reasoning(), resp.FinishReason, text.String(), thinking.String(), last.DoneReason)
	}
	ours := resp.ToolRequests()
	if len(ours) != len(calls) || len(ours) != 1 || ours[0].ToolRequest.Ref != calls[0].ID {
		t.Fatalf("ours %+v, theirs %+v", ours, calls)
	}
	same(t, "arguments", string(ours[0].ToolRequest.Input), calls[0].Function.Arguments.String())
	if u := resp.Usage; u.InputTokens != last.PromptEvalCount || u.OutputTokens != last.EvalCount {
		t.Errorf("usage %+v, theirs %+v", u, last.Metrics)
	}
}

func TestOllamaEmbedsAlike(t *testing.T) {
	r := record(t, "application/json", `{"embeddings":[[1,2],[3,4]]}`)
	if _, err := llamaOf(t, r, action.Embedder).RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"dimensions":2,"truncate":true,"options":{"num_ctx":9}}}`), nil); err != nil {
		t.Fatal(err)
	}
	path, asked, yes := r.path, r.asked, true
	if _, err := r.llama(t).Embed(t.Context(), &ollamaapi.EmbedRequest{Model: "m", Input: []string{"a", "b"}, Truncate: &yes, Dimensions: 2, Options: map[string]any{"num_ctx": 9}}); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "body", asked, r.asked)
}

// OLLAMA_HOST names the server that the vendor's client asks. Only of ":8080" ours names the
// host, 127.0.0.1, which theirs leaves to the dialer.
func TestOllamasHostIsReadAlike(t *testing.T) {
	for _, host := range []string{"", "example", "example:80", "[::1]", "[::1]:9", "http://example", "https://example", "https://example:9/a", " 'example' ", "http://example:1/b/c"} {
		t.Setenv("OLLAMA_HOST", host)
		if ours, theirs := ollama.FromEnv().BaseURL, strings.TrimRight(envconfig.Host().String(), "/"); ours != theirs {
			t.Errorf("%q: ours %s, theirs %s", host, ours, theirs)
		}
	}
}
