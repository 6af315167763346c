package openai_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
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
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// fixture is a registry with a provider and two tools that note what they are given:
// "say" takes a string, "send" an object.
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
	return h
}

// run is one generate call with both tools.
func (h *fixture) run(t *testing.T, name string, streaming bool, messages ...content.Message) (*model.Response, error) {
	t.Helper()
	var send model.Send
	if streaming {
		send = func(*model.Chunk) error { return nil }
	}
	opts := &model.GenerateOptions{Model: name, Messages: append([]content.Message{content.NewUserTextMessage("hi")}, messages...), Tools: []string{"say", "send"}}
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

func TestNullForAnObjectIsAnEmptyObject(t *testing.T) {
	m := newModel(t, serve(t, turns([2]string{asks(wireCall("1", "f", `null`)), "tool_calls"})))
	req := hello()
	req.Tools = []model.ToolDefinition{{Name: "f", InputSchema: json.RawMessage(`{"type":"object"}`)}}
	resp, err := m.Generate(t.Context(), req, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{}`, string(resp.ToolRequests()[0].ToolRequest.Input))
}
