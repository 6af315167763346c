package openai_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	loop "github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// fixture is a registry with a provider and three tools that note what they are given:
// "say" takes a string, "send" an object, "wipe" one without required fields.
type fixture struct {
	reg *registry.Registry
	mu  sync.Mutex // guards ran
	ran []string
}

func newFixture(t *testing.T, cfgs ...openai.Config) *fixture {
	t.Helper()
	h := &fixture{reg: registry.New(nil)}
	for _, f := range format.Builtins() {
		require.NoError(t, format.Register(h.reg, f))
	}
	for _, cfg := range cfgs {
		require.NoError(t, h.reg.AddProvider(newProvider(t, cfg)))
	}
	note := func(name string, in any) (string, error) {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.ran = append(h.ran, name+" "+toJSON(t, in))
		return "done", nil
	}
	add := func(a action.Action, err error) {
		require.NoError(t, err)
		require.NoError(t, h.reg.Register(a))
	}
	add(tool.New("say", "", func(_ context.Context, in string) (string, error) { return note("say", in) }))
	type letter struct {
		To string `json:"to"`
	}
	add(tool.New("send", "", func(_ context.Context, in letter) (string, error) { return note("send", in) }))
	type target struct {
		Path string `json:"path,omitempty"`
		N    int    `json:"n,omitempty"`
	}
	add(tool.New("wipe", "", func(_ context.Context, in target) (string, error) { return note("wipe", in) }))
	return h
}

// run is one generate call with both tools.
func (h *fixture) run(t *testing.T, name string, streaming bool, messages ...content.Message) (*model.Response, error) {
	t.Helper()
	var send model.Send
	if streaming {
		send = func(*model.Chunk) error { return nil }
	}
	opts := &model.GenerateOptions{Model: name, Messages: append([]content.Message{content.NewUserTextMessage("hi")}, messages...), Tools: []string{"say", "send", "wipe"}}
	return loop.Run(t.Context(), h.reg, opts, send)
}

// turns answers the nth call with the nth of the answers, streamed when that is asked
// for; each answer is the JSON of a message and its finish reason.
func turns(answers ...[2]string) http.HandlerFunc {
	n := 0
	return func(w http.ResponseWriter, r *http.Request) {
		message, finish := answers[n][0], answers[n][1]
		n++
		if r.Header.Get("Accept") == "text/event-stream" {
			stream(data(`{"choices":[{"index":0,"delta":`+message+`}]}`, `{"choices":[{"index":0,"delta":{},"finish_reason":"`+finish+`"}]}`))(w, r)
			return
		}
		document(200, `{"choices":[{"index":0,"message":`+message+`,"finish_reason":"`+finish+`"}]}`)(w, r)
	}
}

func wireCall(id, name, arguments string) string {
	return fmt.Sprintf(`{"id":%q,"type":"function","function":{"name":%q,"arguments":%q}}`, id, name, arguments)
}

func asks(calls string) string {
	return `{"role":"assistant","content":null,"tool_calls":[` + calls + `]}`
}

const done = `{"role":"assistant","content":"done"}`

func TestACallThatTheTokenLimitCutOffIsNotExecuted(t *testing.T) {
	for name, c := range map[string]struct {
		calls, finish string
		ran           []string
	}{
		"in a string":                    {wireCall("1", "say", `{"input":"hel`), "length", nil},
		"before its arguments":           {wireCall("1", "send", ``), "length", nil},
		"in a number":                    {wireCall("1", "send", `{"to":"a","n":1`), "length", nil},
		"in null":                        {wireCall("1", "send", `null`), "length", nil},
		"by an error":                    {wireCall("1", "send", ``), "error", nil},
		"by the server's own limit":      {wireCall("1", "say", `{"input":"hel`), "model_context_window_exceeded", nil},
		"complete ones before it run":    {wireCall("1", "say", `{"input":"x"}`) + "," + wireCall("2", "say", `{"input":"y`), "length", []string{`say "x"`}},
		"the last one may be whole":      {wireCall("1", "say", `{"input":"x"}`), "length", []string{`say "x"`}},
		"nothing is repaired":            {wireCall("1", "send", `{"to":"x"}}`), "length", nil},
		"an object where the box is due": {wireCall("1", "say", `{"inp`), "length", nil},
	} {
		t.Run(name, func(t *testing.T) {
			for _, streaming := range []bool{false, true} {
				s := serve(t, turns([2]string{asks(c.calls), c.finish}, [2]string{done, "stop"}))
				h := newFixture(t, openai.Config{BaseURL: s.URL})
				resp, err := h.run(t, "openai/m", streaming)
				require.NoError(t, err)
				assert.Equal(t, c.ran, h.ran)
				if c.ran == nil {
					assert.Equal(t, 1, s.calls())
					assert.Contains(t, resp.FinishMessage, "left out: ")
					assert.Empty(t, resp.ToolRequests())
				}
			}
		})
	}
}

// A tool without required fields runs on {}: whether the model was done is all that tells a
// call without arguments from one whose arguments had not begun.
func TestACallOfAnAnswerThatDidNotFinishIsNotExecuted(t *testing.T) {
	none, empty, whole, half := wireCall("1", "wipe", ``), wireCall("1", "wipe", `{}`), wireCall("1", "wipe", `{"path":"/tmp"}`), wireCall("1", "wipe", `{"path":"/tmp`)
	const ran = `wipe {"path":"/tmp"}`
	for name, c := range map[string]struct {
		call, ends string // ends are the finish reasons of the last pieces, as JSON
		ran        string
		reason     model.FinishReason
		message    string
	}{
		"Mistral's limit, no arguments":      {none, `"model_length"`, "", "length", ""},
		"Mistral's limit, half of them":      {half, `"model_length"`, "", "length", ""},
		"a limit's other name":               {none, `"max_tokens"`, "", "length", ""},
		"a limit in capitals":                {none, `"MAX_TOKENS"`, "", "length", ""},
		"a limit, an empty object":           {empty, `"length"`, "", "length", ""},
		"a limit, whole arguments":           {whole, `"length"`, ran, "stop", ""},
		"vLLM and SGLang abort":              {whole, `"abort"`, "", "other", "abort"},
		"SGLang's object":                    {whole, `{"type":"abort","message":"x"}`, "", "other", "abort"},
		"a loop that vLLM ended":             {whole, `"repetition"`, "", "other", "repetition"},
		"OpenRouter's error":                 {whole, `"error"`, "", "other", "error"},
		"incomplete":                         {none, `"incomplete"`, "", "other", "incomplete"},
		"Gemini's filter of calls":           {whole, `"function_call_filter: MALFORMED_FUNCTION_CALL"`, "", "other", "MALFORMED_FUNCTION_CALL"},
		"a name that is not known":           {whole, `"brand_new"`, "", "unknown", `finish_reason "brand_new"`},
		"a number":                           {whole, `7`, "", "unknown", `finish_reason "7"`},
		"null, no arguments":                 {none, `null`, "", "unknown", ""},
		"null, an empty object":              {empty, `null`, "", "unknown", ""},
		"null, half of them":                 {half, `null`, "", "unknown", ""},
		"null, whole arguments":              {whole, `null`, ran, "stop", ""}, // NVIDIA NIM, vllm-mlx
		"no text, no arguments":              {none, `""`, "", "unknown", ""},
		"no text, whole arguments":           {whole, `""`, ran, "stop", ""},
		"a limit, then stop":                 {none, `"length","stop"`, "", "length", ""},
		"stop, then a limit":                 {none, `"stop","length"`, "", "length", ""},
		"a call's end, then an error":        {whole, `"tool_calls","error"`, "", "other", "error"},
		"an unknown name, then a call's end": {whole, `"odd","tool_calls"`, "", "unknown", `finish_reason "odd"`},
		"a call's end, then stop (gateways)": {none, `"tool_calls","stop"`, "wipe {}", "stop", ""},
		"stop":                               {none, `"stop"`, "wipe {}", "stop", ""},
		"the legacy name":                    {none, `"function_call"`, "wipe {}", "stop", ""},
		"Together's":                         {none, `"eos"`, "wipe {}", "stop", ""},
		"xAI's":                              {none, `"end_turn"`, "wipe {}", "stop", ""},
		"Text Generation Inference's":        {none, `"eos_token"`, "wipe {}", "stop", ""},
		"Anthropic's, through a gateway":     {none, `"tool_use"`, "wipe {}", "stop", ""},
		"capitals of a gateway":              {none, `"STOP"`, "wipe {}", "stop", ""},
	} {
		t.Run(name, func(t *testing.T) {
			var ends []json.RawMessage
			require.NoError(t, json.Unmarshal([]byte("["+c.ends+"]"), &ends))
			for _, streaming := range []bool{false, true} {
				if !streaming && len(ends) > 1 {
					continue
				}
				n := 0
				s := serve(t, func(w http.ResponseWriter, r *http.Request) {
					n++
					switch {
					case n > 1:
						document(200, `{"choices":[{"message":`+done+`,"finish_reason":"stop"}]}`)(w, r)
					case streaming:
						pieces := []string{`{"choices":[{"index":0,"delta":` + asks(c.call) + `}]}`}
						for _, end := range ends {
							pieces = append(pieces, `{"choices":[{"index":0,"delta":{},"finish_reason":`+string(end)+`}]}`)
						}
						stream(data(pieces...))(w, r)
					default:
						document(200, `{"choices":[{"index":0,"message":`+asks(c.call)+`,"finish_reason":`+c.ends+`}]}`)(w, r)
					}
				})
				h := newFixture(t, openai.Config{BaseURL: s.URL})
				resp, err := h.run(t, "openai/m", streaming)
				require.NoError(t, err)
				assert.Equal(t, c.ran, strings.Join(h.ran, "; "), "streaming %v", streaming)
				assert.Equal(t, c.reason, resp.FinishReason, "streaming %v", streaming)
				assert.Contains(t, resp.FinishMessage, c.message)
				if c.ran == "" {
					assert.Contains(t, resp.FinishMessage, `tool calls left out: "wipe"`)
					assert.Empty(t, resp.ToolRequests())
					assert.Equal(t, 1, s.calls())
				}
			}
		})
	}
}

func TestAnErrorBesideACallWins(t *testing.T) {
	for name, choice := range map[string]string{
		"an error":          `"finish_reason":"error","error":{"message":"rate limited","code":400}`,
		"behind a stop":     `"finish_reason":"tool_calls","error":{"message":"rate limited"}`,
		"without a reason":  `"finish_reason":null,"error":"rate limited"`,
		"a refusal, rather": `"finish_reason":"stop"`,
	} {
		for _, streaming := range []bool{false, true} {
			call := asks(wireCall("1", "wipe", `{"path":"/tmp"}`))
			if name == "a refusal, rather" {
				call = strings.Replace(call, `"content":null`, `"content":null,"refusal":"rate limited"`, 1)
			}
			s := serve(t, document(200, `{"choices":[{"message":`+call+`,`+choice+`}]}`))
			if streaming {
				s = serve(t, stream(data(`{"choices":[{"delta":`+call+`}]}`, `{"choices":[{"delta":{},`+choice+`}]}`)))
			}
			resp, _, err := generate(t.Context(), newModel(t, s), hello(), streaming)
			require.NoError(t, err, name)
			assert.Equal(t, `rate limited; the answer was not finished; tool calls left out: "wipe"`, resp.FinishMessage, name)
			assert.Empty(t, resp.ToolRequests(), name)
			assert.NotEqual(t, model.FinishStop, resp.FinishReason, name)
		}
	}
}

func TestArgumentsThatAreNoJSONAreToldToTheModel(t *testing.T) {
	for name, arguments := range map[string]string{
		"words": "send it to Bob", "cut": `{"to":"B`, "a list": `["B"]`, "a text": `"B"`, "two objects": `{"to":"A"}{"to":"B"}`,
	} {
		t.Run(name, func(t *testing.T) {
			for _, streaming := range []bool{false, true} {
				s := serve(t, turns([2]string{asks(wireCall("1", "send", arguments)), "tool_calls"}, [2]string{asks(wireCall("2", "send", `{"to":"Bob"}`)), "tool_calls"}, [2]string{done, "stop"}))
				h := newFixture(t, openai.Config{BaseURL: s.URL})
				resp, err := h.run(t, "openai/m", streaming)
				require.NoError(t, err)
				assert.Equal(t, "done", resp.Text())
				assert.Equal(t, []string{`send {"to":"Bob"}`}, h.ran)
				var told struct {
					Messages []struct {
						Content    json.RawMessage
						ToolCallID string `json:"tool_call_id"`
						ToolCalls  []struct {
							Function struct{ Arguments string }
						} `json:"tool_calls"`
					}
				}
				require.NoError(t, json.Unmarshal([]byte(s.body(1)), &told))
				assert.Equal(t, "{}", told.Messages[1].ToolCalls[0].Function.Arguments, "servers parse what they get back")
				assert.Equal(t, "1", told.Messages[2].ToolCallID)
				assert.Contains(t, string(told.Messages[2].Content), "The tool was not called")
				assert.Contains(t, toJSON(t, string(told.Messages[2].Content)), "They were: ")
			}
		})
	}
}

func TestArgumentsThatAreNearlyJSONAreRepaired(t *testing.T) {
	for name, arguments := range map[string]string{
		"a string that holds JSON": `"{\"to\":\"Bob\"}"`, "a brace too many": `{"to":"Bob"}}`, "fences": "```json\n{\"to\":\"Bob\"}\n```",
		"a control token": `{"to":"Bob"}<|im_end|>`, "single quotes": `{'to': 'Bob'}`,
	} {
		s := serve(t, turns([2]string{asks(wireCall("1", "send", arguments)), "tool_calls"}, [2]string{done, "stop"}))
		h := newFixture(t, openai.Config{BaseURL: s.URL})
		_, err := h.run(t, "openai/m", false)
		require.NoError(t, err, name)
		assert.Equal(t, []string{`send {"to":"Bob"}`}, h.ran, name)
	}
}

// Arguments that say nothing, where the tool takes something else than an object, are the
// model's to mend, however often the loop lets it.
func TestArgumentsThatSayNothingAreToldToTheModel(t *testing.T) {
	for name, arguments := range map[string]string{"null": `null`, "an empty object": `{}`, "nothing": ``, "null in the box": `{"input":null}`, "an object beside the box": `{"text":"a"}`, "more than the box": `{"input":"a","b":1}`, "a bare string": `"a"`} {
		bad := [2]string{asks(wireCall("1", "say", arguments)), "tool_calls"}
		s := serve(t, turns(bad, [2]string{asks(wireCall("2", "say", `{"input":"a"}`)), "tool_calls"}, [2]string{done, "stop"}))
		h := newFixture(t, openai.Config{BaseURL: s.URL})
		resp, err := h.run(t, "openai/m", false)
		require.NoError(t, err, name)
		assert.Equal(t, "done", resp.Text(), name)
		assert.Equal(t, []string{`say "a"`}, h.ran, name)
		assert.Contains(t, s.body(1), "The tool was not called: ", name)

		again := [][2]string{bad}
		for range 6 {
			again = append(again, bad)
		}
		h = newFixture(t, openai.Config{BaseURL: serve(t, turns(again...)).URL})
		_, err = h.run(t, "openai/m", false)
		require.ErrorIs(t, err, status.ErrAborted, name)
		assert.Empty(t, h.ran, name)
	}
}

func TestNullForAToolOfManyKinds(t *testing.T) {
	for schema, want := range map[string]string{
		`{"anyOf":[{"type":"object","required":["a"]},{"type":"string"}]}`: `told`,
		`{"anyOf":[{"type":"object"},{"type":"null"}]}`:                    `null`,
		`{"type":["string","null"]}`:                                       `null`,
		`{"type":"array"}`:                                                 `told`,
		`{"$ref":"#/$defs/o","$defs":{"o":{"type":"object"}}}`:             `{}`,
	} {
		arguments := "null"
		if strings.Contains(schema, `"type":[`) {
			arguments = `{"input":null}`
		}
		req := hello()
		req.Tools = []model.ToolDefinition{{Name: "f", InputSchema: json.RawMessage(schema)}}
		resp, err := newModel(t, serve(t, turns([2]string{asks(wireCall("1", "f", arguments)), "tool_calls"}))).Generate(t.Context(), req, nil)
		require.NoError(t, err)
		part := resp.ToolRequests()[0]
		got := string(part.ToolRequest.Input)
		if part.Metadata.Truthy(content.MalformedInput) {
			got = "told"
		}
		assert.Equal(t, want, got, schema)
	}
}

// idsOf shows the ids of calls and of their answers in a body.
func idsOf(t *testing.T, body string) string {
	t.Helper()
	var sent struct {
		Messages []struct {
			ToolCalls []struct{ ID string } `json:"tool_calls"`
			Answered  string                `json:"tool_call_id"`
			Content   json.RawMessage
		}
	}
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	var all []string
	for _, m := range sent.Messages {
		for _, call := range m.ToolCalls {
			all = append(all, call.ID)
		}
		if m.Answered != "" {
			all = append(all, m.Answered+"="+string(m.Content))
		}
	}
	return strings.Join(all, " ")
}

func TestIDsAreUniqueInAConversation(t *testing.T) {
	// A server that gives no ids, in two turns.
	call := func(n string) [2]string {
		return [2]string{asks(wireCall("", "say", `{"input":"`+n+`"}`)), "tool_calls"}
	}
	s := serve(t, turns(call("1"), call("2"), [2]string{done, "stop"}))
	h := newFixture(t, openai.Config{BaseURL: s.URL})
	_, err := h.run(t, "openai/m", false)
	require.NoError(t, err)
	assert.Equal(t, `call_0 call_0="done" call_0_2 call_0_2="done"`, idsOf(t, s.body(2)))

	// Histories of callers, through the model alone.
	for history, want := range map[string]string{
		`{"role":"model","content":[{"toolRequest":{"name":"f","input":{"n":1}}},{"toolRequest":{"name":"f","input":{"n":2}}}]},
		 {"role":"tool","content":[{"toolResponse":{"name":"f","output":"one"}},{"toolResponse":{"name":"f","output":"two"}}]}`: `f f_2 f="one" f_2="two"`,
		`{"role":"model","content":[{"toolRequest":{"name":"f","ref":"c"}}]},{"role":"tool","content":[{"toolResponse":{"name":"f","ref":"c","output":1}}]},
		 {"role":"model","content":[{"toolRequest":{"name":"f","ref":"c"}}]},{"role":"tool","content":[{"toolResponse":{"name":"f","ref":"c","output":2}}]}`: `c c="1" c_2 c_2="2"`,
		`{"role":"model","content":[{"toolRequest":{"name":"f","ref":"c"}},{"toolRequest":{"name":"g","ref":"c"}}]},{"role":"tool","content":[{"toolResponse":{"name":"g","ref":"c","output":2}}]},
		 {"role":"tool","content":[{"toolResponse":{"name":"f","ref":"c","output":1}}]}`: `c c_2 c_2="2" c="1"`,
	} {
		s := serve(t, document(200, plain))
		_, _, err := generate(t.Context(), newModel(t, s), request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]},`+history+`]}`), false)
		require.NoError(t, err)
		assert.Equal(t, want, idsOf(t, s.body(0)))
	}
}

func TestNullForAnObjectIsAnEmptyObject(t *testing.T) {
	m := newModel(t, serve(t, turns([2]string{asks(wireCall("1", "f", `null`)), "tool_calls"})))
	req := hello()
	req.Tools = []model.ToolDefinition{{Name: "f", InputSchema: json.RawMessage(`{"type":"object"}`)}}
	resp, err := m.Generate(t.Context(), req, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(resp.ToolRequests()[0].ToolRequest.Input))
}
