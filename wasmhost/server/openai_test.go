package server_test

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// answerer is a model that calls the first tool that it is offered, once, and then says what the tool answered;
// without tools it says "Hello" in two chunks. "fail" has it fail, after a chunk.
func answerer(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	say := func(text string) error {
		if send == nil {
			return nil
		}
		return send(&model.Chunk{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(text)}})
	}
	resp := &model.Response{FinishReason: model.FinishStop, Usage: &model.Usage{InputTokens: 3, OutputTokens: 2, CachedContentTokens: 1}}
	last := req.Messages[len(req.Messages)-1]
	switch {
	case last.Text() == "fail":
		if err := say("He"); err != nil {
			return nil, err
		}
		return nil, status.Publicf(status.ResourceExhausted, "no tokens are left")
	case last.Role == content.RoleTool:
		m := content.NewModelTextMessage("it is " + string(last.Content[0].ToolResponse.Output))
		resp.Message = &m
	case len(req.Tools) > 0:
		m := content.NewModelMessage(content.NewToolRequestPart(&content.ToolRequest{Name: req.Tools[0].Name, Ref: "c1", Input: json.RawMessage(`{"a":2,"b":3}`)}))
		resp.Message = &m
	default:
		for _, text := range []string{"Hel", "lo"} {
			if err := say(text); err != nil {
				return nil, err
			}
		}
		m := content.NewModelTextMessage("Hello")
		resp.Message = &m
	}
	return resp, nil
}

func openAIWorld(t *testing.T) *world {
	w := newWorld(t, nil)
	reg, err := w.registry("default")
	require.NoError(t, err)
	m, err := model.New("acme/answerer", model.Info{Supports: model.Supports{Tools: true, Multiturn: true, SystemRole: true}}, answerer)
	require.NoError(t, err)
	require.NoError(t, reg.Register(m))
	_, err = w.host.Load(t.Context(), "default", wasmhost.Upload{Wasm: calc(t)})
	require.NoError(t, err)
	return w
}

// events returns the data of a stream's events.
func dataOf(t *testing.T, body string) []string {
	t.Helper()
	var list []string
	for event := range strings.SplitSeq(strings.TrimSuffix(body, "\n\n"), "\n\n") {
		data, ok := strings.CutPrefix(event, "data: ")
		require.True(t, ok, event)
		list = append(list, data)
	}
	return list
}

func TestAChatCompletion(t *testing.T) {
	w := openAIWorld(t)
	const path = "/openai/v1/chat/completions"
	r := w.post(path, `{"model":"acme/answerer","messages":[{"role":"developer","content":"be kind"},{"role":"user","content":[{"type":"text","text":"hi"}]}],"tool_choice":"none","store":false,"user":"u"}`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	var whole map[string]any
	require.NoError(t, json.Unmarshal([]byte(r.body), &whole))
	assert.Regexp(t, `^chatcmpl-`, whole["id"])
	delete(whole, "id")
	assert.Positive(t, whole["created"])
	delete(whole, "created")
	rest, err := json.Marshal(whole)
	require.NoError(t, err)
	assert.JSONEq(t, `{"object":"chat.completion","model":"acme/answerer","choices":[{"index":0,"message":{"role":"assistant","content":"Hello"},"logprobs":null,"finish_reason":"stop"}],
		"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":0}}}`, string(rest))

	r = w.post(path, `{"model":"acme/answerer","messages":[{"role":"user","content":"add"}],"server_tools":["calc/add"]}`)
	assert.Contains(t, r.body, `"content":"it is {\"sum\":5}"`, "the tenant's tool runs here")

	const own = `"tools":[{"type":"function","function":{"name":"weather","description":"d","parameters":{"type":"object"}}}]`
	r = w.post(path, `{"model":"acme/answerer","messages":[{"role":"user","content":"add"}],`+own+`}`)
	assert.Contains(t, r.body, `"message":{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"a\":2,\"b\":3}"}}],"content":null}`)
	assert.Contains(t, r.body, `"finish_reason":"tool_calls"`)
	r = w.post(path, `{"model":"acme/answerer","messages":[{"role":"user","content":"add"},{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"weather","arguments":"{}"}}]},{"role":"tool","tool_call_id":"c1","content":"sunny"}],`+own+`}`)
	assert.Contains(t, r.body, `"content":"it is \"sunny\""`, "the caller's tool ran there")
}

func TestAChatCompletionInAStream(t *testing.T) {
	w := openAIWorld(t)
	stream := func(rest string) []string {
		r := w.post("/openai/v1/chat/completions", `{"model":"acme/answerer","stream":true,`+rest+`}`)
		require.Equal(t, http.StatusOK, r.status, r.body)
		assert.Equal(t, "text/event-stream", r.header.Get("Content-Type"))
		data := dataOf(t, r.body)
		for i := range data {
			var chunk map[string]json.RawMessage
			if json.Unmarshal([]byte(data[i]), &chunk) == nil && chunk["choices"] != nil {
				data[i] = string(chunk["choices"]) + string(chunk["usage"])
			}
		}
		return data
	}
	assert.Equal(t, []string{
		`[{"index":0,"delta":{"role":"assistant","content":"Hel"},"logprobs":null,"finish_reason":null}]`,
		`[{"index":0,"delta":{"content":"lo"},"logprobs":null,"finish_reason":null}]`,
		`[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]`,
		`[]{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1},"completion_tokens_details":{"reasoning_tokens":0}}`,
		`[DONE]`,
	}, stream(`"messages":[{"role":"user","content":"hi"}],"tool_choice":"none","stream_options":{"include_usage":true}`))
	calls := stream(`"messages":[{"role":"user","content":"add"}],"tools":[{"type":"function","function":{"name":"weather"}}]`)
	assert.Equal(t, `[{"index":0,"delta":{"role":"assistant","tool_calls":[{"index":0,"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"a\":2,\"b\":3}"}}],"content":null},"logprobs":null,"finish_reason":null}]`, calls[0])
	assert.Contains(t, calls[1], `"finish_reason":"tool_calls"`)
	served := stream(`"messages":[{"role":"user","content":"add"}],"server_tools":["calc/add"]`)
	assert.Contains(t, served[0], `"content":"it is {\"sum\":5}"`, "what a model does not stream comes at the end")
	failed := stream(`"messages":[{"role":"user","content":"fail"}],"tool_choice":"none"`)
	assert.Equal(t, `{"error":{"message":"no tokens are left","type":"rate_limit_error","param":null,"code":"RESOURCE_EXHAUSTED"}}`, failed[len(failed)-1])
}

func TestAChatCompletionThatIsRefused(t *testing.T) {
	w := openAIWorld(t)
	const user = `"model":"acme/answerer","messages":[{"role":"user","content":"hi"}]`
	for name, c := range map[string]struct {
		body, says string
	}{
		"no body":               {``, "body"},
		"no object":             {`[]`, "body"},
		"no model":              {`{"messages":[{"role":"user","content":"hi"}]}`, "model"},
		"no messages":           {`{"model":"acme/answerer","messages":[]}`, "messages"},
		"twice the same member": {`{` + user + `,"model":"other"}`, "the same key twice"},
		"another case":          {`{` + user + `,"Stream":true}`, "Stream"},
		"two answers":           {`{` + user + `,"n":2}`, "n:"},
		"log probabilities":     {`{` + user + `,"logprobs":true}`, "logprobs"},
		"spoken output":         {`{` + user + `,"modalities":["text","audio"]}`, "modalities"},
		"functions":             {`{` + user + `,"functions":[{"name":"f"}]}`, "functions"},
		"an odd role":           {`{"model":"acme/answerer","messages":[{"role":"root","content":"hi"}]}`, "messages[0]: want"},
		"an odd part":           {`{"model":"acme/answerer","messages":[{"role":"user","content":[{"type":"video"}]}]}`, "content[0]"},
		"no such call":          {`{"model":"acme/answerer","messages":[{"role":"tool","tool_call_id":"x","content":"hi"}]}`, "tool_call_id"},
		"broken arguments":      {`{"model":"acme/answerer","messages":[{"role":"assistant","tool_calls":[{"id":"a","function":{"name":"f","arguments":"{"}}]}]}`, "arguments"},
		"an odd tool":           {`{` + user + `,"tools":[{"type":"custom"}]}`, "tools[0]"},
		"two tools of a name":   {`{` + user + `,"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"f"}}]}`, "tools[1]"},
		"a choice of none":      {`{` + user + `,"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":{"type":"function","function":{"name":"g"}}}`, "tool_choice"},
		"an odd choice":         {`{` + user + `,"tool_choice":"often"}`, "tool_choice"},
		"both kinds of tools":   {`{` + user + `,"tools":[{"type":"function","function":{"name":"f"}}],"server_tools":["calc/add"]}`, "server_tools"},
		"an odd format":         {`{` + user + `,"response_format":{"type":"xml"}}`, "response_format"},
		"too many values":       {`{"model":"acme/answerer","messages":[{"role":"user","content":[` + strings.Repeat(`{"type":"text","text":"x"},`, 60_000) + `{"type":"text","text":"x"}]}]}`, "elements and members"},
		"no schema":             {`{` + user + `,"response_format":{"type":"json_schema","json_schema":{"name":"n"}}}`, "schema"},
	} {
		r := w.post("/openai/v1/chat/completions", c.body)
		if !assert.Equal(t, http.StatusBadRequest, r.status, "%s: %s", name, r.body) {
			continue
		}
		p := r.problem(t)
		assert.Contains(t, p.Detail, c.says, name)
		require.NotNil(t, p.Error, name)
		assert.Equal(t, p.Detail, p.Error.Message, name)
		assert.Equal(t, "invalid_request_error", p.Error.Type, name)
	}
	r := w.post("/openai/v1/chat/completions", `{"model":"acme/none","messages":[{"role":"user","content":"hi"}]}`)
	assert.Equal(t, http.StatusNotFound, r.status, r.body)
	assert.Equal(t, "not_found_error", r.problem(t).Error.Type)
	r = w.post("/openai/v1/chat/completions", `{`+user+`,"server_tools":["calc/none"]}`)
	assert.Equal(t, http.StatusNotFound, r.status, r.body)
	assert.Nil(t, w.post("/tools/calc/none", `{}`).problem(t).Error, "other routes have problems alone")
}

func TestEmbeddingsAndModelsForOpenAIsClients(t *testing.T) {
	w := openAIWorld(t)
	put := w.put("plug", wasmtest.Says(`{"abi":"genkit/1","name":"plug","embedders":[{"name":"e","export":"f"}]}`,
		"f", `{"embeddings":[{"embedding":[0.5,-2]},{"embedding":[1]}]}`))
	require.Equal(t, http.StatusCreated, put.status, put.body)
	r := w.post("/openai/v1/embeddings", `{"model":"plug/e","input":["a","b"],"user":"u"}`)
	assert.Equal(t, http.StatusOK, r.status, r.body)
	assert.JSONEq(t, `{"object":"list","model":"plug/e","data":[{"object":"embedding","index":0,"embedding":[0.5,-2]},{"object":"embedding","index":1,"embedding":[1]}],"usage":{"prompt_tokens":0,"total_tokens":0}}`, r.body)
	r = w.post("/openai/v1/embeddings", `{"model":"plug/e","input":["a","b"],"encoding_format":"base64"}`)
	assert.Contains(t, r.body, `"embedding":"AAAAPwAAAMA="`, "0.5 and -2 as 32-bit floats")

	for name, body := range map[string]string{
		"no input": `{"model":"plug/e"}`, "no texts": `{"model":"plug/e","input":[]}`, "tokens": `{"model":"plug/e","input":[[1,2]]}`, "no model": `{"input":"a"}`,
		"dimensions": `{"model":"plug/e","input":"a","dimensions":2}`, "an odd format": `{"model":"plug/e","input":"a","encoding_format":"hex"}`,
	} {
		r := w.post("/openai/v1/embeddings", body)
		assert.Equal(t, http.StatusBadRequest, r.status, "%s: %s", name, r.body)
	}
	assert.Equal(t, http.StatusInternalServerError, w.post("/openai/v1/embeddings", `{"model":"plug/e","input":"a"}`).status, "two vectors for a text")
	assert.Equal(t, http.StatusNotFound, w.post("/openai/v1/embeddings", `{"model":"plug/none","input":"a"}`).status)

	r = w.do(http.MethodGet, tenant+"/openai/v1/models", nil)
	assert.Equal(t, http.StatusOK, r.status)
	assert.JSONEq(t, `{"object":"list","data":[
		{"id":"acme/answerer","object":"model","created":0,"owned_by":"acme"},
		{"id":"plug/e","object":"model","created":0,"owned_by":"plug"}]}`, r.body)
}
