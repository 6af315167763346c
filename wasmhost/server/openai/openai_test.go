package openai_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/openai"
)

func TestARequestInGenkitsForm(t *testing.T) {
	for name, c := range map[string]struct{ in, want string }{
		"roles": {
			`{"model":"m","messages":[{"role":"system","content":"a"},{"role":"developer","content":[{"type":"text","text":"b"}]},{"role":"user","content":"c"},{"role":"assistant","content":null,"refusal":"no"}]}`,
			`{"model":"m","messages":[{"role":"system","content":[{"text":"a"}]},{"role":"system","content":[{"text":"b"}]},{"role":"user","content":[{"text":"c"}]},{"role":"model","content":[{"text":"no"}]}]}`,
		},
		"media": {
			`{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"https://a/b.png","detail":"low"}},{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}},{"type":"file","file":{"file_data":"data:application/pdf;base64,AA==","filename":"x"}}]}]}`,
			`{"model":"m","messages":[{"role":"user","content":[{"media":{"url":"https://a/b.png"}},{"media":{"contentType":"audio/wav","url":"data:audio/wav;base64,AAAA"}},{"media":{"url":"data:application/pdf;base64,AA=="}}]}]}`,
		},
		"answers of one turn": {
			`{"model":"m","messages":[{"role":"user","content":"q"},{"role":"assistant","tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{\"a\":1.0}"}},{"id":"2","type":"function","function":{"name":"g","arguments":""}}]},{"role":"tool","tool_call_id":"2","content":"B"},{"role":"tool","tool_call_id":"1","content":[{"type":"text","text":"{}"}]}]}`,
			`{"model":"m","messages":[{"role":"user","content":[{"text":"q"}]},{"role":"model","content":[{"toolRequest":{"name":"f","ref":"1","input":{"a":1.0}}},{"toolRequest":{"name":"g","ref":"2","input":{}}}]},
			  {"role":"tool","content":[{"toolResponse":{"name":"g","ref":"2","output":"B"}},{"toolResponse":{"name":"f","ref":"1","output":"{}"}}]}]}`,
		},
		"config": {
			`{"model":"m","messages":[{"role":"user","content":"q"}],"temperature":0.5,"top_p":null,"max_tokens":1,"max_completion_tokens":2,"stop":"x","seed":3}`,
			`{"model":"m","messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"temperature":0.5,"maxOutputTokens":2,"stopSequences":["x"]}}`,
		},
		"schema": {
			`{"model":"m","messages":[{"role":"user","content":"q"}],"response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"}}},"stop":["x","y"]}`,
			`{"model":"m","messages":[{"role":"user","content":[{"text":"q"}]}],"output":{"format":"json","jsonSchema":{"type":"object"}},"config":{"stopSequences":["x","y"]}}`,
		},
		"any JSON": {
			`{"model":"m","messages":[{"role":"user","content":"q"}],"response_format":{"type":"json_object"}}`,
			`{"model":"m","messages":[{"role":"user","content":[{"text":"q"}]}],"output":{"format":"json"}}`,
		},
	} {
		chat, err := openai.ReadChat(json.RawMessage(c.in))
		require.NoError(t, err, name)
		got, err := json.Marshal(chat.Options)
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(got), name)
		assert.True(t, chat.All, name)
	}
}

func TestWhichToolsAreOffered(t *testing.T) {
	const tools = `"tools":[{"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}]`
	for name, c := range map[string]struct {
		rest     string
		own      int
		named    []string
		all      bool
		choice   model.ToolChoice
		returned bool
	}{
		"all":                       {rest: `"n":1`, all: true},
		"all, one at least":         {rest: `"tool_choice":"required"`, all: true, choice: model.ToolChoiceRequired},
		"none":                      {rest: `"tool_choice":"none"`},
		"some":                      {rest: `"server_tools":["a/b"],"tool_choice":"auto"`, named: []string{"a/b"}, choice: model.ToolChoiceAuto},
		"none of some":              {rest: `"server_tools":[]`, named: []string{}},
		"this one":                  {rest: `"tool_choice":{"type":"function","function":{"name":"a/b"}}`, named: []string{"a/b"}, choice: model.ToolChoiceRequired},
		"the caller's":              {rest: tools, own: 2, returned: true},
		"the caller's, but not now": {rest: tools + `,"tool_choice":"none"`, own: 2, returned: true, choice: model.ToolChoiceNone},
		"this one of the caller's":  {rest: tools + `,"tool_choice":{"type":"function","function":{"name":"g"}}`, own: 1, returned: true, choice: model.ToolChoiceRequired},
	} {
		chat, err := openai.ReadChat(json.RawMessage(`{"model":"m","messages":[{"role":"user","content":"q"}],` + c.rest + `}`))
		require.NoError(t, err, name)
		assert.Len(t, chat.Tools, c.own, name)
		assert.Equal(t, c.named, chat.ServerTools, name)
		assert.Equal(t, c.all, chat.All, name)
		assert.Equal(t, c.choice, chat.Options.ToolChoice, name)
		assert.Equal(t, c.returned, chat.Options.ReturnToolRequests, name)
	}
}

func TestReasonsForTheEnd(t *testing.T) {
	chat, err := openai.ReadChat(json.RawMessage(`{"model":"m","messages":[{"role":"user","content":"q"}]}`))
	require.NoError(t, err)
	said := content.NewModelMessage(content.NewReasoningPart("why", nil), content.NewTextPart("so"))
	calls := content.NewModelMessage(content.NewToolRequestPart(&content.ToolRequest{Name: "a/b", Ref: "1"}))
	for want, resp := range map[string]*model.Response{
		`"finish_reason":"stop"`:                             {Message: &said, FinishReason: model.FinishUnknown},
		`"finish_reason":"length"`:                           {Message: &said, FinishReason: model.FinishLength},
		`"finish_reason":"content_filter"`:                   {Message: &said, FinishReason: model.FinishBlocked},
		`"finish_reason":"tool_calls"`:                       {Message: &calls, FinishReason: model.FinishInterrupted},
		`"content":"so","reasoning_content":"why"`:           {Message: &said},
		`"content":""`:                                       {},
		`"function":{"name":"a/b","arguments":"{}"}}`:        {Message: &calls},
		`"completion_tokens":2,"total_tokens":5`:             {Message: &said, Usage: &model.Usage{InputTokens: 3, OutputTokens: 2}},
		`"completion_tokens_details":{"reasoning_tokens":7}`: {Message: &said, Usage: &model.Usage{ThoughtsTokens: 7}},
	} {
		got, err := json.Marshal(chat.Answer("1", time.Now(), resp))
		require.NoError(t, err)
		assert.Contains(t, string(got), want)
	}
}

func TestFailuresInOpenAIsWords(t *testing.T) {
	for code, want := range map[status.Code]string{
		status.Unauthenticated: "authentication_error", status.PermissionDenied: "permission_error", status.ResourceExhausted: "rate_limit_error",
		status.NotFound: "not_found_error", status.Unavailable: "server_error", status.Aborted: "invalid_request_error", status.Unimplemented: "invalid_request_error",
	} {
		assert.Equal(t, openai.Error{Message: "why", Type: want, Code: code.String()}, openai.ErrorOf(code, "why"))
	}
}

// Whatever a caller sends is read or refused as the caller's fault.
func FuzzRequests(f *testing.F) {
	for _, seed := range []string{
		`{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","tool_calls":[{"id":"1","function":{"name":"f","arguments":"{}"}}]},{"role":"tool","tool_call_id":"1","content":"x"}],"tools":[{"type":"function","function":{"name":"f","parameters":{}}}],"stop":"x"}`,
		`{"model":"m","input":["a","b"],"encoding_format":"base64"}`, `null`, `[]`, `{"messages":[null]}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // the server has refused it before
		}
		for _, read := range []func() error{
			func() error { _, err := openai.ReadChat(raw); return err },
			func() error { _, err := openai.ReadEmbeddings(raw); return err },
		} {
			if err := read(); err != nil {
				assert.Equal(t, status.InvalidArgument, status.Of(err), "%v", err)
			}
		}
	})
}
