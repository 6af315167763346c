package openai_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// canned answers every request with what its context holds, without a network.
type canned struct{}

type cannedKey struct{}

type cannedAnswer struct {
	contentType string
	body        []byte
}

func (canned) RoundTrip(req *http.Request) (*http.Response, error) {
	answer, ok := req.Context().Value(cannedKey{}).(cannedAnswer)
	if !ok {
		answer = cannedAnswer{"application/json", []byte(plain)}
	}
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {answer.contentType}},
		Body: io.NopCloser(bytes.NewReader(answer.body)),
	}, nil
}

func cannedModel(f *testing.F) model.Model {
	f.Helper()
	p, err := openai.New(openai.Config{
		BaseURL: "http://canned", APIKey: testKey, HTTPClient: &http.Client{Transport: canned{}},
		MaxResponseBytes: 1 << 16, MaxChunkBytes: 1 << 12,
	})
	require.NoError(f, err)
	a, err := p.Resolve(f.Context(), action.Key{Kind: action.Model, Name: "openai/m"})
	require.NoError(f, err)
	return model.From(a)
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(plain), false)
	f.Add([]byte(data(pieceHi, pieceStop)), true)
	f.Add([]byte(`{"error":{"code":"x","message":1}}`), false)
	f.Add([]byte(`{"choices":[{"message":{"content":[{"text":"a"}],"tool_calls":[{"index":-1,"id":"","function":{"name":"a_b","arguments":"{\"input\":1}"}}],"annotations":[1]},"error":"x"}],"usage":{"a":1e9999,"prompt_tokens":-0}}`), false)
	f.Add([]byte(data(`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":{"a":1}}},{"function":{"name":"b"}}]}}]}`)), true)
	f.Add([]byte(data(`{"choices":[{"delta":{"reasoning_details":[{"type":"a","index":0,"text":"x"}],"tool_calls":[{"index":0,"id":"1","function":{"name":"a_b","arguments":"{'a':","f":{}},"extra_content":{"g":{"s":"1"}}}]}}]}`,
		`{"choices":[{"message":{"content":[{"thinking":[{"text":"t"}]}]},"delta":{"reasoning_details":[{"type":"a","index":0,"text":"y"}],"tool_calls":[{"index":0,"function":{"arguments":"1}}"},"extra_content":{"g":{"t":2}}}]},"finish_reason":"length"}]}`)), true)
	f.Add([]byte("event: error\ndata: {\"code\":400}\n\nerror: x\n\n{\"error\":[{\"loc\":[1,{}],\"msg\":\"{}\"}]}"), true)
	f.Add([]byte(`[{"error":{"metadata":{"raw":"{\"message\":1}"},"status":5}}]`), false)
	m := cannedModel(f)
	f.Fuzz(func(t *testing.T, body []byte, streaming bool) {
		answer := cannedAnswer{"application/json", body}
		if streaming {
			answer.contentType = "text/event-stream"
		}
		req := hello()
		req.Tools = []model.ToolDefinition{{Name: "a/b", InputSchema: json.RawMessage(`{"type":"string"}`)}}
		resp, _, err := generate(context.WithValue(t.Context(), cannedKey{}, answer), m, req, streaming)
		if err != nil {
			var known *status.Error
			require.ErrorAs(t, err, &known)
			require.NotContains(t, err.Error(), testKey)
			return
		}
		require.NotNil(t, resp.Message)
		require.NotEmpty(t, resp.FinishReason)
		refs := map[string]bool{}
		for _, part := range resp.ToolRequests() {
			if part.Metadata.Truthy(content.MalformedInput) {
				require.Nil(t, part.ToolRequest.Input)
			} else {
				require.NoError(t, schema.Check(part.ToolRequest.Input))
			}
			require.NotEmpty(t, part.ToolRequest.Ref)
			refs[part.ToolRequest.Ref] = true
		}
		out, err := json.Marshal(resp)
		require.NoError(t, err)
		require.NoError(t, json.Unmarshal(out, &model.Response{}))
		require.False(t, strings.ContainsAny(resp.FinishMessage, "\n\r\x00"))
	})
}

func FuzzToolSchema(f *testing.F) {
	for _, s := range []string{`{}`, `{"type":"string"}`, `{"type":["object","null"],"properties":{"a":{"items":[true]}},"required":[1]}`, `{"anyOf":[{"type":"object","properties":{"a":true}}],"$defs":{"x":{}}}`, `{"a":1,"a":2}`} {
		f.Add([]byte(s))
	}
	m := cannedModel(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		if schema.Check(raw) != nil {
			return
		}
		req, yes := hello(), true
		req.Tools = []model.ToolDefinition{{Name: "f", InputSchema: raw, Metadata: map[string]json.RawMessage{"strict": []byte("true")}}}
		req.Output = &model.Output{Format: "json", Schema: raw, Constrained: &yes}
		if _, _, err := generate(t.Context(), m, req, false); err != nil {
			require.ErrorIs(t, err, status.ErrInvalidArgument)
		}
	})
}

// FuzzOtherKinds gives foreign bytes to everything that is no chat model.
func FuzzOtherKinds(f *testing.F) {
	for _, s := range []string{
		`{"data":[{"b64_json":"AA==","revised_prompt":"x"},{"url":"u"}],"usage":{"input_tokens":1}}`, `{"data":[{"index":0,"embedding":[1,2e300]}]}`, `{"data":[{"embedding":"AACAPw=="}]}`,
		`{"text":"\ud800"}`, `{"error":{"message":"` + testKey + `"}}`, `{"data":[{"id":"a"},{"id":"b-embed"}]}`, "\xff\x00",
	} {
		f.Add([]byte(s))
	}
	p, err := openai.New(openai.Config{BaseURL: "http://canned", APIKey: testKey, HTTPClient: &http.Client{Transport: canned{}}, MaxResponseBytes: 1 << 16})
	require.NoError(f, err)
	resolve := func(kind action.Kind, id string) action.Action {
		a, err := p.Resolve(f.Context(), action.Key{Kind: kind, Name: "openai/" + id})
		require.NoError(f, err)
		return a
	}
	image, whisper, spoken, vectors := resolve(action.Model, "dall-e-3"), resolve(action.Model, "gpt-4o-transcribe"), resolve(action.Model, "tts-1"), resolve(action.Embedder, "e")
	f.Fuzz(func(t *testing.T, body []byte) {
		ctx := context.WithValue(t.Context(), cannedKey{}, cannedAnswer{"application/json", body})
		check := func(out json.RawMessage, err error) {
			if err != nil {
				var known *status.Error
				require.ErrorAs(t, err, &known)
				require.NotContains(t, err.Error(), testKey)
				return
			}
			require.NoError(t, schema.Check(out))
		}
		const said = `{"messages":[{"role":"user","content":[{"text":"a"},{"media":{"url":"data:audio/wav;base64,AA=="}}]}]}`
		for _, a := range []action.Action{image, whisper, spoken} {
			check(a.RunJSON(ctx, json.RawMessage(said), nil))
		}
		check(vectors.RunJSON(ctx, json.RawMessage(`{"input":[{"content":[{"text":"a"}]}]}`), nil))
		_, err := p.Models(ctx)
		check(json.RawMessage("{}"), err)
	})
}
