package anthropic_test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire/wiretest"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The answer of the kit: thinking, text with a citation, two calls, one without arguments.
const (
	document = `{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[
{"type":"thinking","thinking":"Let me see…","signature":"EqQBCg=="},{"type":"redacted_thinking","data":"hidden=="},
{"type":"text","text":"It is so.","citations":[{"type":"char_location","cited_text":"so","document_index":0}]},
{"type":"tool_use","id":"toolu_1","name":"a_weather","input":{"city":"Köln","n":[1,2.50]}},{"type":"tool_use","id":"toolu_2","name":"now","input":{}}],
"stop_reason":"tool_use","stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"output_tokens":40,
"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":0},"output_tokens_details":{"thinking_tokens":9},"service_tier":"standard"}}`
	piece  = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"thinking_delta\",\"thinking\":\"Let me \"}}\n\n"
	failed = `{"type":"error","error":{"type":"overloaded_error","message":"no %s"},"request_id":"req_1"}`
)

var stream = event(`{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[],"stop_reason":null,"stop_sequence":null,
"usage":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"output_tokens":1,"cache_creation":{"ephemeral_5m_input_tokens":20,"ephemeral_1h_input_tokens":0},"service_tier":"standard"}}}`) +
	event(`{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}`) + event(`{"type":"ping"}`) + piece +
	event(`{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"see…"}}`) +
	event(`{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"EqQBCg=="}}`) + event(`{"type":"content_block_stop","index":0}`) +
	event(`{"type":"content_block_start","index":1,"content_block":{"type":"redacted_thinking","data":"hidden=="}}`) + event(`{"type":"content_block_stop","index":1}`) +
	event(`{"type":"content_block_start","index":2,"content_block":{"type":"text","text":"","citations":[]}}`) +
	event(`{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"It is "}}`) + event(`{"type":"content_block_delta","index":2,"delta":{"type":"text_delta","text":"so."}}`) +
	event(`{"type":"content_block_delta","index":2,"delta":{"type":"citations_delta","citation":{"type":"char_location","cited_text":"so","document_index":0}}}`) +
	event(`{"type":"content_block_stop","index":2}`) +
	event(`{"type":"content_block_start","index":3,"content_block":{"type":"tool_use","id":"toolu_1","name":"a_weather","input":{}}}`) +
	event(`{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":""}}`) +
	event(`{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"{\"city\":\"Köl"}}`) +
	event(`{"type":"content_block_delta","index":3,"delta":{"type":"input_json_delta","partial_json":"n\",\"n\":[1,2.50]}"}}`) + event(`{"type":"content_block_stop","index":3}`) +
	event(`{"type":"content_block_start","index":4,"content_block":{"type":"tool_use","id":"toolu_2","name":"now","input":{}}}`) + event(`{"type":"content_block_stop","index":4}`) +
	event(`{"type":"a_new_event","index":9}`) +
	event(`{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":40,"output_tokens_details":{"thinking_tokens":9}}}`) +
	event(`{"type":"message_stop"}`)

// event writes an event as the API does: its type stands before it.
func event(data string) string {
	var head struct{ Type string }
	_ = json.Unmarshal([]byte(data), &head)
	var buf bytes.Buffer
	_ = json.Compact(&buf, []byte(data))
	return "event: " + head.Type + "\ndata: " + buf.String() + "\n\n"
}

func newProvider(t testing.TB, baseURL string, client *http.Client, change ...func(*anthropic.Config)) *anthropic.Provider {
	t.Helper()
	cfg := anthropic.Config{BaseURL: baseURL, APIKey: wiretest.Key, HTTPClient: client, MaxResponseBytes: wiretest.Limit, MaxChunkBytes: wiretest.MaxEvent}
	for _, f := range change {
		f(&cfg)
	}
	p, err := anthropic.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func target() wiretest.Target {
	return wiretest.Target{
		New: func(t testing.TB, baseURL string, client *http.Client) wiretest.Provider {
			return newProvider(t, baseURL, client)
		},
		Model: "anthropic/m", KeyOf: func(h http.Header) string { return h.Get("X-Api-Key") },
		Document: document, Stream: stream, Piece: piece, Error: failed, Tools: []string{"a/weather", "now"},
	}
}

func TestTheKitOfProviders(t *testing.T) { wiretest.Run(t, target()) }

func FuzzAnswer(f *testing.F) {
	wiretest.Fuzz(f, target(), failed, piece, event(`{"type":"message_start","message":{"type":"message"}}`)+event(`{"type":"message_stop"}`),
		`{"type":"message","content":[{"type":"server_tool_use","input":{"a":1}},{"type":"tool_use","name":"x","input":[1]}],"stop_reason":"max_tokens","usage":{"input_tokens":-1}}`)
}

// ask returns the response to a request and the body that it became.
func ask(t *testing.T, request, answer string, change ...func(*anthropic.Config)) (*model.Response, *http.Request, string, error) {
	t.Helper()
	c := wiretest.Answering(200, "application/json", answer)
	m := wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}, change...), "anthropic/m")
	resp, err := wiretest.Ask(t, m, request, nil)
	if err != nil {
		return nil, nil, "", err
	}
	req, body := c.Last()
	return resp, req, body, nil
}

const plain = `{"type":"message","content":[{"type":"text","text":"hi"}],"stop_reason":"end_turn"}`

func TestTheAnswerIsMapped(t *testing.T) {
	resp, _, _, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"a/weather","description":""},{"name":"now","description":""}]}`, document)
	require.NoError(t, err)
	raw, err := json.Marshal(resp.Message)
	require.NoError(t, err)
	assert.JSONEq(t, `{"role":"model","content":[
		{"reasoning":"Let me see…","metadata":{"signature":"EqQBCg=="}},{"reasoning":"","metadata":{"redactedThinking":"hidden=="}},
		{"text":"It is so.","metadata":{"citations":[{"type":"char_location","cited_text":"so","document_index":0}]}},
		{"toolRequest":{"name":"a/weather","ref":"toolu_1","input":{"city":"Köln","n":[1,2.50]}}},{"toolRequest":{"name":"now","ref":"toolu_2","input":{}}}]}`, string(raw))
	assert.Equal(t, model.FinishStop, resp.FinishReason)
	usage, err := json.Marshal(resp.Usage)
	require.NoError(t, err)
	assert.JSONEq(t, `{"inputTokens":330,"outputTokens":40,"totalTokens":370,"cachedContentTokens":300,"thoughtsTokens":9,
		"custom":{"input_tokens":10,"cache_creation_input_tokens":20,"cache_read_input_tokens":300,"cache_creation.ephemeral_5m_input_tokens":20}}`, string(usage))
}

func TestPartialCallsAreStreamed(t *testing.T) {
	c := wiretest.Answering(200, "text/event-stream", stream)
	var chunks []*model.Chunk
	m := wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "anthropic/m")
	_, err := wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, &chunks)
	require.NoError(t, err)
	var partial, whole []string
	for _, chunk := range chunks {
		for _, p := range chunk.Content {
			switch r := p.ToolRequest; {
			case r == nil:
			case r.Partial != nil:
				partial = append(partial, r.Ref+string(r.Input))
			default:
				whole = append(whole, r.Ref+string(r.Input))
			}
		}
	}
	assert.Equal(t, []string{"toolu_1", `toolu_1{"city":"Köln","n":[1,2.50]}`, "toolu_2"}, partial)
	assert.Equal(t, []string{`toolu_1{"city":"Köln","n":[1,2.50]}`, "toolu_2{}"}, whole)
}

// What the model thought, and what its server did by itself, goes back to the letter.
func TestTheAnswerGoesBackAsItCame(t *testing.T) {
	const search = `{"type":"server_tool_use","id":"srvtoolu_1","name":"web_search","input":{"query":"q"}}`
	answer := strings.Replace(document, `{"type":"text"`, search+`,{"type":"text"`, 1)
	resp, _, _, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, answer)
	require.NoError(t, err)
	said, err := json.Marshal(resp.Message)
	require.NoError(t, err)
	_, _, body, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]},`+string(said)+`,{"role":"tool","content":[
		{"toolResponse":{"name":"a/weather","ref":"toolu_1","output":{"c":1}}},{"toolResponse":{"name":"now","ref":"toolu_2","output":"noon"}}]},
		{"role":"user","content":[{"text":"and now?"}]}]}`, plain)
	require.NoError(t, err)
	var sent struct {
		Messages []struct {
			Role    string
			Content json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	require.Len(t, sent.Messages, 3)
	assert.JSONEq(t, `[{"type":"thinking","thinking":"Let me see…","signature":"EqQBCg=="},{"type":"redacted_thinking","data":"hidden=="},`+search+`,{"type":"text","text":"It is so."},
		{"type":"tool_use","id":"toolu_1","name":"a_weather","input":{"city":"Köln","n":[1,2.50]}},{"type":"tool_use","id":"toolu_2","name":"now","input":{}}]`, string(sent.Messages[1].Content))
	assert.JSONEq(t, `[{"type":"tool_result","tool_use_id":"toolu_1","content":[{"type":"text","text":"{\"c\":1}"}]},{"type":"tool_result","tool_use_id":"toolu_2","content":[{"type":"text","text":"noon"}]},
		{"type":"text","text":"and now?"}]`, string(sent.Messages[2].Content))
}

func TestRequestBodies(t *testing.T) {
	for name, c := range map[string]struct{ request, want string }{
		"system and text": {
			`{"messages":[{"role":"system","content":[{"text":"Be brief."},{"text":"Be kind.","metadata":{"cacheControl":{"type":"ephemeral","ttl":"1h"}}}]},{"role":"user","content":[{"text":"a"},{"data":{"b":1}}]}]}`,
			`{"model":"m","max_tokens":4096,"system":[{"type":"text","text":"Be brief."},{"type":"text","text":"Be kind.","cache_control":{"type":"ephemeral","ttl":"1h"}}],
			"messages":[{"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"{\"b\":1}"}]}]}`,
		},
		"media": {
			`{"messages":[{"role":"user","content":[{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"https://x.test/a.jpg"}},{"media":{"url":"data:application/pdf;base64,AA=="},"metadata":{"title":"T","citations":{"enabled":true}}},
			{"media":{"url":"https://x.test/a.pdf"}},{"media":{"url":"data:text/plain,a%20b"}},{"custom":{"anthropicDocument":{"source":{"type":"file","fileId":"file_1"},"context":"c","citations":{"enabled":true}}}}]}]}`,
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}},{"type":"image","source":{"type":"url","url":"https://x.test/a.jpg"}},
			{"type":"document","source":{"type":"base64","media_type":"application/pdf","data":"AA=="},"title":"T","citations":{"enabled":true}},{"type":"document","source":{"type":"url","url":"https://x.test/a.pdf"}},
			{"type":"document","source":{"type":"text","media_type":"text/plain","data":"a b"}},{"type":"document","source":{"type":"file","file_id":"file_1"},"context":"c","citations":{"enabled":true}}]}]}`,
		},
		"config": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"version":"v","maxOutputTokens":9,"temperature":0,"topP":0.5,"topK":3,"stopSequences":["x"],"thinking":{"enabled":true,"budgetTokens":1024},"effort":"low",
			"metadata":{"user_id":"u"},"cacheControl":{},"serviceTier":"auto","extra":{"container":"c","max_tokens":10}}}`,
			`{"model":"v","max_tokens":10,"temperature":0,"top_p":0.5,"top_k":3,"stop_sequences":["x"],"thinking":{"type":"enabled","budget_tokens":1024},"output_config":{"effort":"low"},"metadata":{"user_id":"u"},
			"cache_control":{"type":"ephemeral"},"service_tier":"auto","container":"c","messages":[{"role":"user","content":[{"type":"text","text":"a"}]}]}`,
		},
		"tools": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"toolChoice":"required","config":{"disableParallelToolUse":true},"tools":[
			{"name":"a/b","description":"d","inputSchema":{"type":"object","properties":{"n":{"type":"integer","minimum":1}}},"metadata":{"strict":true,"cacheControl":{"type":"ephemeral"}}},{"name":"s","description":"","inputSchema":{"type":"string"}},{"name":"none","description":""}]}`,
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"tool_choice":{"type":"any","disable_parallel_tool_use":true},"tools":[
			{"name":"a_b","description":"d","input_schema":{"type":"object","properties":{"n":{"type":"integer"}},"additionalProperties":false},"strict":true,"cache_control":{"type":"ephemeral"}},
			{"name":"s","input_schema":{"type":"object","properties":{"input":{"type":"string"}},"required":["input"]}},{"name":"none","input_schema":{"type":"object","properties":{}}}]}`,
		},
		"one tool": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"tool_choice":{"type":"tool","name":"a/b"}},"tools":[{"name":"a/b","description":"d"}]}`,
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"tool_choice":{"type":"tool","name":"a_b"},"tools":[{"name":"a_b","description":"d","input_schema":{"type":"object","properties":{}}}]}`,
		},
		"structured output": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"effort":"high"},"output":{"format":"json","constrained":true,"schema":{"type":"object","properties":{"a":{"type":"string","maxLength":3}},"required":["a"]}}}`,
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]}],"output_config":{"effort":"high","format":{"type":"json_schema",
			"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"],"additionalProperties":false}}}}`,
		},
		"reasoning of others, and malformed calls": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"model","content":[{"reasoning":"x"},{"toolRequest":{"name":"f","ref":"1"},"metadata":{"malformedInput":"no"}}]},{"role":"tool","content":[{"toolResponse":{"name":"f","ref":"1","output":"no",
			"content":[{"text":"t"},{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"data:video/mp4;base64,AA=="}}]}}]}]}`,
			`{"model":"m","max_tokens":4096,"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"assistant","content":[{"type":"tool_use","id":"1","name":"f","input":{}}]},{"role":"user","content":[
			{"type":"tool_result","tool_use_id":"1","content":[{"type":"text","text":"no"},{"type":"text","text":"t"},{"type":"image","source":{"type":"base64","media_type":"image/png","data":"AA=="}},
			{"type":"text","text":"[The tool also returned media of the type \"video/mp4\", which can't be shown here.]"}]}]}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, req, body, err := ask(t, c.request, plain)
			require.NoError(t, err)
			assert.JSONEq(t, c.want, body)
			assert.Equal(t, "/v1/messages", req.URL.Path)
			assert.Equal(t, "2023-06-01", req.Header.Get("Anthropic-Version"))
		})
	}
}

func TestTheVersionOf2026KeepsSystemMessagesInPlace(t *testing.T) {
	newer := func(c *anthropic.Config) { c.Version, c.Betas = anthropic.Version2026, []string{"b1"} }
	const talk = `{"messages":[{"role":"system","content":[{"text":"s"}]},{"role":"user","content":[{"text":"a"}]},{"role":"system","content":[{"text":"t"}]}],"config":{"betas":["b2"]`
	_, req, body, err := ask(t, talk+"}}", plain, newer)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"m","max_tokens":4096,"system":[{"type":"text","text":"s"}],"messages":[{"role":"user","content":[{"type":"text","text":"a"}]},{"role":"system","content":[{"type":"text","text":"t"}]}]}`, body)
	assert.Equal(t, "2026-10-21", req.Header.Get("Anthropic-Version"))
	assert.Equal(t, "b1,b2", req.Header.Get("Anthropic-Beta"))
	_, _, _, err = ask(t, talk+`,"topK":1}}`, plain, newer)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, _, body, err = ask(t, talk+"}}", plain)
	require.NoError(t, err)
	assert.Contains(t, body, `"system":[{"type":"text","text":"s"},{"type":"text","text":"t"}]`)
}

func TestWhatCanNotBeSentIsRefused(t *testing.T) {
	for part, want := range map[string]string{
		`{"media":{"url":"data:video/mp4;base64,AA=="}}`: `"video/mp4" is not supported`, `{"media":{"url":"ftp://x/a.png"}}`: "data:, http: or https:", `{"media":{"url":"data:image/png;base64,?"}}`: "base64",
		`{"custom":{"a":1}}`: "custom parts", `{"resource":{"uri":"x:y"}}`: "resource", `{"reasoning":"r"}`: "reasoning", `{"toolRequest":{"name":"f"}}`: "tool requests",
		`{"toolResponse":{"name":"f","output":1}}`: "tool responses", `{}`: "nothing that is known", `{"media":{"url":"data:,x"}}`: "media type",
	} {
		_, _, _, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"a"},`+part+`]}]}`, plain)
		require.ErrorIs(t, err, status.ErrInvalidArgument, part)
		assert.Contains(t, status.ToWire(err, false).Message, "messages[0]: content[1]: ", part)
		assert.Contains(t, err.Error(), want)
	}
	for request, want := range map[string]string{
		`{"messages":[]}`: "no messages", `{"messages":[{"role":"system","content":[{"text":"a"}]}]}`: "no messages",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"topk":1}}`:                                                                         "topk",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"thinking":{"enabled":true}}}`:                                                      "budgetTokens",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"extra":{"messages":[]}}}`:                                                          "messages",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"toolChoice":"required"}`:                                                                     "without any tools",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"tool_choice":{"type":"tool","name":"x"}},"tools":[{"name":"f","description":""}]}`: `no tool "x"`,
	} {
		_, _, _, err := ask(t, request, plain)
		require.ErrorIs(t, err, status.ErrInvalidArgument, request)
		assert.Contains(t, err.Error(), want)
	}
}

func TestHowAnswersEnd(t *testing.T) {
	for stop, want := range map[string]struct {
		reason model.FinishReason
		says   string
	}{
		`"end_turn"`: {model.FinishStop, ""}, `"stop_sequence"`: {model.FinishStop, ""}, `"max_tokens"`: {model.FinishLength, "left out: \"f\""},
		`"model_context_window_exceeded"`: {model.FinishLength, "left out"}, `"refusal","stop_details":{"category":"cyber","explanation":"I can't."}`: {model.FinishBlocked, "I can't."},
		`"pause_turn"`: {model.FinishOther, "pause_turn"}, `"new"`: {model.FinishUnknown, `"new"`}, `null`: {model.FinishUnknown, ""},
	} {
		text := strings.TrimPrefix(event(`{"type":"message_start","message":{"type":"message","role":"assistant","content":[]}}`), "")
		text += event(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"1","name":"f","input":{}}}`) + event(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}`)
		reason, details, _ := strings.Cut(stop, ",")
		if details != "" {
			details = "," + details
		}
		text += event(`{"type":"message_delta","delta":{"stop_reason":`+reason+details+`},"usage":{"output_tokens":1}}`) + event(`{"type":"message_stop"}`)
		var chunks []*model.Chunk
		m := wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: wiretest.Answering(200, "text/event-stream", text)}), "anthropic/m")
		resp, err := wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`, &chunks)
		require.NoError(t, err, stop)
		assert.Equal(t, want.reason, resp.FinishReason, stop)
		assert.Contains(t, resp.FinishMessage, want.says, stop)
	}
}

func TestModelsAreListedAndDescribed(t *testing.T) {
	list := func(p *anthropic.Provider) []string {
		descs, err := p.List(t.Context())
		require.NoError(t, err)
		var names []string
		for _, d := range descs {
			names = append(names, d.Name)
		}
		return names
	}
	c := wiretest.Answering(200, "application/json", `{"data":[{"type":"model","id":"claude-x","display_name":"X"},{"type":"model","id":"a*"}],"has_more":false}`)
	assert.Contains(t, list(newProvider(t, "", &http.Client{Transport: c})), "anthropic/claude-sonnet-5")
	p := newProvider(t, "http://canned/", &http.Client{Transport: c})
	assert.Equal(t, []string{"anthropic/claude-x"}, list(p))
	req, _ := c.Last()
	assert.Equal(t, "http://canned/v1/models?limit=1000", req.URL.String())
	assert.Equal(t, wiretest.Key, req.Header.Get("X-Api-Key"))
	_, err := p.Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: "anthropic/m"})
	require.ErrorIs(t, err, status.ErrNotFound)
	info := wiretest.Model(t, p, "anthropic/m").Info()
	assert.True(t, info.Supports.Media && info.Supports.Tools)
	assert.Contains(t, string(info.ConfigSchema), `"budgetTokens"`)
}

func TestTheEnvironment(t *testing.T) {
	t.Setenv("ANTHROPIC_API_KEY", "")
	t.Setenv("ANTHROPIC_AUTH_TOKEN", "token-0123456789")
	t.Setenv("ANTHROPIC_BASE_URL", "http://gateway/x/")
	cfg := anthropic.FromEnv()
	c := wiretest.Answering(200, "application/json", plain)
	cfg.HTTPClient = &http.Client{Transport: c}
	p, err := anthropic.New(cfg)
	require.NoError(t, err)
	_, err = wiretest.Ask(t, wiretest.Model(t, p, "anthropic/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
	require.NoError(t, err)
	req, _ := c.Last()
	assert.Equal(t, "http://gateway/x/v1/messages", req.URL.String())
	assert.Equal(t, "Bearer token-0123456789", req.Header.Get("Authorization"))
	assert.Empty(t, req.Header.Get("X-Api-Key"))
	assert.NotContains(t, p.String(), "token")
	for _, bad := range []anthropic.Config{{BaseURL: "ftp://x"}, {BaseURL: "http://u:p@x"}, {Name: "a/b"}, {Version: "1"}, {APIKey: "a b"}, {MaxTokens: -1}, {MaxResponseBytes: -1}} {
		_, err := anthropic.New(bad)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

// Only an answer that ended as the API names it executes a call that may not have begun.
func TestACallOfAnAnswerThatDidNotFinishIsLeftOut(t *testing.T) {
	for name, c := range map[string]struct {
		input, ends string
		want        string
		reason      model.FinishReason
	}{
		"its end":                       {`{}`, `"tool_use"`, `{}`, model.FinishStop},
		"a stop sequence":               {`{}`, `"stop_sequence"`, `{}`, model.FinishStop},
		"the limit, no arguments":       {`{}`, `"max_tokens"`, "", model.FinishLength},
		"the window, no arguments":      {`{}`, `"model_context_window_exceeded"`, "", model.FinishLength},
		"the limit, whole arguments":    {`{"a":1}`, `"max_tokens"`, `{"a":1}`, model.FinishLength},
		"a refusal":                     {`{"a":1}`, `"refusal"`, "", model.FinishBlocked},
		"a pause":                       {`{"a":1}`, `"pause_turn"`, "", model.FinishOther},
		"a name that is not known":      {`{"a":1}`, `"brand_new"`, "", model.FinishUnknown},
		"none, no arguments":            {`{}`, `null`, "", model.FinishUnknown},
		"none, whole arguments":         {`{"a":1}`, `null`, `{"a":1}`, model.FinishUnknown},
		"the limit, then a call's end":  {`{}`, `"max_tokens","tool_use"`, "", model.FinishLength},
		"a call's end, then the limit":  {`{}`, `"tool_use","max_tokens"`, "", model.FinishLength},
		"a call's end, then a new name": {`{"a":1}`, `"tool_use","brand_new"`, "", model.FinishUnknown},
	} {
		t.Run(name, func(t *testing.T) {
			var ends []json.RawMessage
			require.NoError(t, json.Unmarshal([]byte("["+c.ends+"]"), &ends))
			text := event(`{"type":"message_start","message":{"type":"message"}}`) + event(`{"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"1","name":"f","input":{}}}`)
			if c.input != "{}" {
				text += event(`{"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"` + strings.ReplaceAll(c.input, `"`, `\"`) + `"}}`)
			}
			for _, end := range ends {
				text += event(`{"type":"message_delta","delta":{"stop_reason":` + string(end) + `}}`)
			}
			bodies := map[string]string{"text/event-stream": text + event(`{"type":"message_stop"}`)}
			if len(ends) == 1 {
				bodies["application/json"] = `{"type":"message","content":[{"type":"tool_use","id":"1","name":"f","input":` + c.input + `}],"stop_reason":` + c.ends + `}`
			}
			for contentType, body := range bodies {
				var chunks []*model.Chunk
				m := wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: wiretest.Answering(200, contentType, body)}), "anthropic/m")
				resp, err := wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`, &chunks)
				require.NoError(t, err)
				assert.Equal(t, c.reason, resp.FinishReason, contentType)
				if c.want == "" {
					assert.Empty(t, resp.ToolRequests(), contentType)
					assert.Contains(t, resp.FinishMessage, `tool calls left out: "f"`)
					continue
				}
				require.Len(t, resp.ToolRequests(), 1, contentType)
				assert.JSONEq(t, c.want, string(resp.ToolRequests()[0].ToolRequest.Input), contentType)
			}
		})
	}
}

// The API refuses an id that comes twice, and one with other characters than letters, digits,
// "_" and "-".
func TestIDsAreUniqueInAConversation(t *testing.T) {
	for history, want := range map[string]string{
		`{"role":"model","content":[{"toolRequest":{"name":"a/f","input":{}}},{"toolRequest":{"name":"a/f","input":{}}}]},
		 {"role":"tool","content":[{"toolResponse":{"name":"a/f","output":1}},{"toolResponse":{"name":"a/f","output":2}}]}`: "a_f a_f_2 =a_f =a_f_2",
		`{"role":"model","content":[{"toolRequest":{"name":"f","ref":"call_0"}}]},{"role":"tool","content":[{"toolResponse":{"name":"f","ref":"call_0","output":1}}]},
		 {"role":"model","content":[{"toolRequest":{"name":"f","ref":"call_0"}}]},{"role":"tool","content":[{"toolResponse":{"name":"f","ref":"call_0","output":2}}]}`: "call_0 =call_0 call_0_2 =call_0_2",
		`{"role":"model","content":[{"toolRequest":{"name":"f","ref":"functions.f:0"}},{"toolRequest":{"name":"f","ref":"functions_f_0"}}]},
		 {"role":"tool","content":[{"toolResponse":{"name":"f","ref":"functions.f:0","output":1}},{"toolResponse":{"name":"f","ref":"functions_f_0","output":2}}]}`: "functions_f_0_2 functions_f_0 =functions_f_0_2 =functions_f_0",
	} {
		_, _, body, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]},`+history+`]}`, plain)
		require.NoError(t, err)
		var sent struct {
			Messages []struct {
				Content []struct {
					ID string
					Of string `json:"tool_use_id"`
				}
			}
		}
		require.NoError(t, json.Unmarshal([]byte(body), &sent))
		var got []string
		for _, m := range sent.Messages[1:] {
			for _, b := range m.Content {
				if b.Of != "" {
					b.ID = "=" + b.Of
				}
				got = append(got, b.ID)
			}
		}
		assert.Equal(t, want, strings.Join(got, " "))
	}
}
