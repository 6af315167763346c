package openai_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// The cases and validators of Genkit's dev:test-model
// (genkit-tools/cli/src/commands/dev-test-model.ts), run against a server that
// answers only when the request has what the case needs.
func TestGenkitModelConformance(t *testing.T) {
	const weather = `"tools":[{"name":"weather","description":"Get the weather for a city","inputSchema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}}]`
	const turns = `[{"role":"user","content":[{"text":"My name is Genkit."}]},{"role":"model","content":[{"text":"Hello Genkit."}]},{"role":"user","content":[{"text":"What is my name?"}]}]`
	cases := []struct {
		name, input string
		stream      bool
		check       func(t *testing.T, resp *model.Response, chunks []*model.Chunk)
	}{
		{"tool-request", `{"messages":[{"role":"user","content":[{"text":"What is the weather in New York? Use the tool."}]}],` + weather + `}`, false, hasToolRequest},
		{"structured-output", `{"messages":[{"role":"user","content":[{"text":"Generate a profile for John Doe."}]}],"output":{"format":"json","schema":{"type":"object",
			"properties":{"name":{"type":"string"},"age":{"type":"number"}},"required":["name","age"]},"constrained":true}}`, false, validJSON},
		{"multiturn", `{"messages":` + turns + `}`, false, textIncludes("Genkit")},
		{"streaming-multiturn", `{"messages":` + turns + `}`, true, textIncludes("Genkit")},
		{"streaming-tool-request", `{"messages":[{"role":"user","content":[{"text":"What is the weather in New York? Use the weather tool"}]}],` + weather + `}`, true, hasToolRequest},
		{"streaming-structured-output", `{"messages":[{"role":"user","content":[{"text":"Generate a movie review for John Wick"}]}],"output":{"format":"json","schema":{"type":"object",
			"properties":{"name":{"type":"string"},"rating":{"type":"number"}},"required":["name","rating"]},"constrained":true}}`, true, validJSON},
		{"system-role", `{"messages":[{"role":"system","content":[{"text":"IMPORTANT: always start your response with 'RESPONSE:'"}]},{"role":"user","content":[{"text":"hello"}]}]}`, false, textIncludes("RESPONSE:")},
		{"input-image-base64", `{"messages":[{"role":"user","content":[{"text":"What text do you see in this image?"},{"media":{"url":"data:image/png;base64,iVBORw0KGgo=","contentType":"image/png"}}]}]}`, false, textIncludes("image")},
		{"input-image-url", `{"messages":[{"role":"user","content":[{"text":"What is this logo?"},{"media":{"url":"https://www.example.com/logo.png","contentType":"image/png"}}]}]}`, false, textIncludes("image")},
	}
	s := serve(t, nil)
	s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { playModel(t, w, r) })
	m := newModel(t, s)
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			var chunks []*model.Chunk
			var emit action.Emit
			if tc.stream {
				emit = func(raw json.RawMessage) error {
					c := &model.Chunk{}
					chunks = append(chunks, c)
					return json.Unmarshal(raw, c)
				}
			}
			out, err := m.RunJSON(t.Context(), json.RawMessage(tc.input), emit)
			require.NoError(t, err)
			resp := &model.Response{}
			require.NoError(t, json.Unmarshal(out, resp))
			assert.Equal(t, tc.stream, len(chunks) > 0)
			tc.check(t, resp, chunks)
		})
	}
}

// playModel is a small model: it calls the tool that it is offered, obeys a strict
// schema, remembers what was said and sees images.
func playModel(t *testing.T, w http.ResponseWriter, r *http.Request) {
	var req struct {
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
		Tools []struct {
			Function struct{ Name string }
		}
		ResponseFormat struct {
			JSONSchema struct {
				Schema struct{ Properties map[string]any }
				Strict bool
			} `json:"json_schema"`
		} `json:"response_format"`
		Stream bool
	}
	if err := json.NewDecoder(r.Body).Decode(&req); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	reply := map[string]any{"role": "assistant"}
	var said strings.Builder
	for _, m := range req.Messages {
		said.WriteString(m.Role + ":" + string(m.Content) + "\n")
	}
	switch {
	case len(req.Tools) > 0:
		reply["tool_calls"] = []any{map[string]any{
			"index": 0, "id": "call_1", "type": "function",
			"function": map[string]any{"name": req.Tools[0].Function.Name, "arguments": `{"city":"New York"}`},
		}}
	case req.ResponseFormat.JSONSchema.Strict:
		profile := map[string]any{}
		for name := range req.ResponseFormat.JSONSchema.Schema.Properties {
			profile[name] = 1
		}
		reply["content"] = toJSON(t, profile)
	case strings.Contains(said.String(), "image_url"):
		reply["content"] = "I see an image."
	case strings.HasPrefix(said.String(), "system:"):
		reply["content"] = "RESPONSE: hello"
	case strings.Contains(said.String(), "assistant:\"Hello Genkit.\""):
		reply["content"] = "Your name is Genkit."
	}
	if req.Stream {
		piece := func(v any) string { return toJSON(t, map[string]any{"choices": []any{v}}) }
		stream(data(piece(map[string]any{"index": 0, "delta": reply}), piece(map[string]any{"index": 0, "delta": map[string]any{}, "finish_reason": "stop"})))(w, r)
		return
	}
	document(200, toJSON(t, map[string]any{"choices": []any{map[string]any{"index": 0, "message": reply, "finish_reason": "stop"}}}))(w, r)
}

func hasToolRequest(t *testing.T, resp *model.Response, chunks []*model.Chunk) {
	t.Helper()
	require.Len(t, resp.ToolRequests(), 1)
	assert.Equal(t, "weather", resp.ToolRequests()[0].ToolRequest.Name)
	assert.JSONEq(t, `{"city":"New York"}`, string(resp.ToolRequests()[0].ToolRequest.Input))
	assertChunksAddUpIfAny(t, chunks, resp)
}

func validJSON(t *testing.T, resp *model.Response, chunks []*model.Chunk) {
	t.Helper()
	require.NotNil(t, resp.Message.Content[0].Text)
	assert.True(t, json.Valid([]byte(*resp.Message.Content[0].Text)))
	assertChunksAddUpIfAny(t, chunks, resp)
}

func textIncludes(want string) func(*testing.T, *model.Response, []*model.Chunk) {
	return func(t *testing.T, resp *model.Response, chunks []*model.Chunk) {
		t.Helper()
		require.NotNil(t, resp.Message.Content[0].Text)
		assert.Contains(t, *resp.Message.Content[0].Text, want)
		assertChunksAddUpIfAny(t, chunks, resp)
	}
}

func assertChunksAddUpIfAny(t *testing.T, chunks []*model.Chunk, resp *model.Response) {
	t.Helper()
	if len(chunks) > 0 {
		assertChunksAddUp(t, chunks, resp)
	}
}
