package openai_test

import (
	"context"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	loop "github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestProfilesAreChosenByHost(t *testing.T) {
	for baseURL, want := range map[string]string{
		openai.DefaultBaseURL: "openai", "https://api.groq.com/openai/v1": "groq", "https://API.deepseek.com": "deepseek",
		"https://generativelanguage.googleapis.com/v1beta/openai":              "gemini",
		"https://europe-west4-aiplatform.googleapis.com/v1/projects/p/openapi": "gemini",
		"https://me.openai.azure.com/openai/v1":                                "azure", "http://localhost:11434/v1": "generic",
		"https://openrouter.ai/api/v1": "openrouter", "https://dashscope-intl.aliyuncs.com/compatible-mode/v1": "dashscope",
		"https://evil-api.groq.com.example/v1": "generic", "https://notopenrouter.ai": "generic", "::": "generic",
	} {
		assert.Equal(t, want, openai.ProfileFor(baseURL).Name, baseURL)
		named, ok := openai.ProfileNamed(want)
		assert.True(t, ok)
		assert.Equal(t, openai.ProfileFor(baseURL), named)
	}
	_, ok := openai.ProfileNamed("nobody")
	assert.False(t, ok)
	p := openai.ProfileFor("https://api.groq.com")
	p.Parts[0] = openai.VideoPart
	assert.Equal(t, openai.ImagePart, openai.ProfileFor("https://api.groq.com").Parts[0], "the table is not the caller's")
}

// profile puts a named profile into a config.
func profile(t *testing.T, name string) *openai.Profile {
	t.Helper()
	p, ok := openai.ProfileNamed(name)
	require.True(t, ok, name)
	return &p
}

func TestAProfileShapesTheRequest(t *testing.T) {
	for name, c := range map[string]struct{ config, present, absent string }{
		"mistral":  {`{"maxOutputTokens":5}`, `"max_tokens":5`, "stream_options"},
		"deepseek": {`{"maxOutputTokens":5}`, `"stream_options":{"include_usage":true}`, "max_completion_tokens"},
		"zai":      {`{}`, `"tools":`, "tool_choice"},
		"openai":   {`{"maxOutputTokens":5}`, `"max_completion_tokens":5`, `"max_tokens"`},
		"generic":  {`{}`, `"tool_choice":"auto"`, "developer"},
	} {
		s := serve(t, stream(data(pieceHi, pieceStop)))
		m := newModel(t, s, func(cfg *openai.Config) { cfg.Profile = profile(t, name) })
		_, _, err := generate(t.Context(), m, request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"toolChoice":"auto","tools":[{"name":"f","description":""}],"config":`+c.config+`}`), true)
		require.NoError(t, err, name)
		assert.Contains(t, s.body(0), c.present, name)
		assert.NotContains(t, s.body(0), c.absent, name)
	}
	s := serve(t, document(200, plain))
	m := newModel(t, s, func(cfg *openai.Config) { cfg.Profile = &openai.Profile{SystemRole: "developer", KeyHeader: "Api-Key"} })
	_, _, err := generate(t.Context(), m, request(t, `{"messages":[{"role":"system","content":[{"text":"s"}]},{"role":"user","content":[{"text":"q"}]}],"output":{"format":"json"}}`), false)
	require.NoError(t, err)
	assert.Contains(t, s.body(0), `[{"role":"developer","content":"s"},{"role":"developer","content":"Answer with a JSON object."},{"role":"user"`)
	assert.Equal(t, testKey, s.header(0).Get("Api-Key"))
	assert.Empty(t, s.header(0).Get("Authorization"))
}

// sentBack is the first assistant message of a request body.
func sentBack(t *testing.T, body string) map[string]json.RawMessage {
	t.Helper()
	var req struct{ Messages []map[string]json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(body), &req))
	for _, m := range req.Messages {
		if string(m["role"]) == `"assistant"` {
			return m
		}
	}
	t.Fatal("no assistant message in " + body)
	return nil
}

func TestReasoningGoesBackToWhoWroteIt(t *testing.T) {
	call := `,"tool_calls":[` + wireCall("1", "say", `{"input":"x"}`) + `]}`
	for name, c := range map[string]struct {
		profile, message string
		want             map[string]string // fields of the assistant message; "" is absent
	}{
		"groq refuses every field":      {"groq", `{"content":null,"reasoning":"r"` + call, map[string]string{"reasoning": "", "reasoning_content": ""}},
		"deepseek wants its own":        {"deepseek", `{"content":null,"reasoning_content":"r"` + call, map[string]string{"reasoning_content": `"r"`, "reasoning": ""}},
		"deepseek wants the field":      {"deepseek", `{"content":null` + call, map[string]string{"reasoning_content": `""`}},
		"kimi wants something in it":    {"kimi", `{"content":null` + call, map[string]string{"reasoning_content": `" "`}},
		"kimi's own has no filler":      {"kimi", `{"content":null,"reasoning_content":"r"` + call, map[string]string{"reasoning_content": `"r"`}},
		"openrouter's details come too": {"openrouter", `{"content":null,"reasoning":"r","reasoning_details":[{"type":"reasoning.encrypted","data":"x"}]` + call, map[string]string{"reasoning": `"r"`, "reasoning_details": `[{"data":"x","type":"reasoning.encrypted"}]`}},
		"mistral's stands in a part":    {"mistral", `{"content":[{"type":"thinking","thinking":[{"type":"text","text":"r"}]}]` + call, map[string]string{"content": `[{"type":"thinking","thinking":[{"type":"text","text":"r"}]}]`, "reasoning_content": ""}},
		"an unknown server's reasoning": {"generic", `{"content":null,"reasoning":"r"` + call, map[string]string{"reasoning": `"r"`, "reasoning_content": ""}},
		"an unknown server's content":   {"generic", `{"content":null,"reasoning_content":"r"` + call, map[string]string{"reasoning": "", "reasoning_content": `"r"`}},
	} {
		t.Run(name, func(t *testing.T) {
			for _, streaming := range []bool{false, true} {
				s := serve(t, turns([2]string{c.message, "tool_calls"}, [2]string{done, "stop"}))
				h := newFixture(t, openai.Config{BaseURL: s.URL, Profile: profile(t, c.profile)})
				_, err := h.run(t, "openai/m", streaming)
				require.NoError(t, err)
				got := sentBack(t, s.body(1))
				for field, want := range c.want {
					if want == "" {
						assert.NotContains(t, got, field)
					} else {
						assert.JSONEq(t, want, string(got[field]), field)
					}
				}
			}
		})
	}
}

const signed = `{"content":null,"reasoning_content":"r","reasoning_details":[{"data":"d"}],"tool_calls":[` +
	`{"index":0,"id":"1","type":"function","function":{"name":"say","arguments":"{\"input\":\"x\"}","f":1},"extra_content":{"google":{"thought_signature":"sig-1"}}},` +
	`{"index":1,"id":"2","type":"function","function":{"name":"ask","arguments":"{}"},"extra_content":{"google":{"thought_signature":"sig-2"}}}]}`

func TestWhatAServerSignedGoesBackToItAlone(t *testing.T) {
	for _, streaming := range []bool{false, true} {
		gemini := serve(t, turns([2]string{signed, "tool_calls"}, [2]string{done, "stop"}))
		other := serve(t, document(200, plain))
		h := newFixture(t, openai.Config{Name: "gemini", BaseURL: gemini.URL}, openai.Config{Name: "other", BaseURL: other.URL})
		ask, err := tool.New("ask", "", func(context.Context, any) (any, error) { return nil, tool.Interrupt(nil) })
		require.NoError(t, err)
		require.NoError(t, h.reg.Register(ask))
		var send model.Send
		if streaming {
			send = func(*model.Chunk) error { return nil }
		}
		opts := &model.GenerateOptions{Model: "gemini/m", Messages: []content.Message{content.NewUserTextMessage("hi")}, Tools: []string{"say", "ask"}}
		stopped, err := loop.Run(t.Context(), h.reg, opts, send)
		require.NoError(t, err)
		require.Equal(t, model.FinishInterrupted, stopped.FinishReason)

		// A session stores the message as JSON and brings it back another day.
		kept := content.Message{}
		require.NoError(t, json.Unmarshal([]byte(toJSON(t, stopped.Message)), &kept))
		opts.Messages = append(opts.Messages, kept)
		opts.Resume = &model.Resume{Respond: []content.Part{{ToolResponse: &content.ToolResponse{Name: "ask", Ref: "2", Output: json.RawMessage(`"yes"`)}}}}
		end, err := loop.Run(t.Context(), h.reg, opts, send)
		require.NoError(t, err)
		got := sentBack(t, gemini.body(1))
		assert.JSONEq(t, `[{"id":"1","type":"function","function":{"name":"say","arguments":"{\"input\":\"x\"}","f":1},"extra_content":{"google":{"thought_signature":"sig-1"}}},
			{"id":"2","type":"function","function":{"name":"ask","arguments":"{}"},"extra_content":{"google":{"thought_signature":"sig-2"}}}]`, string(got["tool_calls"]))
		assert.JSONEq(t, `"r"`, string(got["reasoning_content"]))
		assert.JSONEq(t, `[{"data":"d"}]`, string(got["reasoning_details"]))

		history := append(end.Request.Messages, *end.Message, content.NewUserTextMessage("and now?"))
		_, err = loop.Run(t.Context(), h.reg, &model.GenerateOptions{Model: "other/m", Messages: history}, send)
		require.NoError(t, err)
		for _, secret := range []string{"sig-1", "sig-2", "reasoning", "extra_content", `"f"`, "chatCompletions"} {
			assert.NotContains(t, other.body(0), secret)
		}
	}
}

func TestANoteCanNotReplaceTheFieldsOfTheAPI(t *testing.T) {
	s := serve(t, document(200, plain))
	server := openai.ServerID(s.URL + "/v1")
	_, _, err := generate(t.Context(), newModel(t, s), request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]},
		{"role":"model","content":[{"toolRequest":{"name":"f","ref":"1"},"metadata":{"chatCompletions":{"server":"`+server+`","call":{"id":"2","type":"x","a":1},"function":{"name":"g"}}}}],
		"metadata":{"chatCompletions":{"server":"`+server+`","message":{"role":"system","content":"x","b":2}}}}]}`), false)
	require.NoError(t, err)
	assert.Equal(t, `{"messages":[{"role":"user","content":"q"},{"role":"assistant","content":null,"tool_calls":[{"id":"1","type":"function","function":{"name":"f","arguments":"{}"},"a":1}],"b":2}],"model":"test"}`, s.body(0))
}

// TestProfileTableIsWritten keeps the table of docs/models.md what the profiles say.
func TestProfileTableIsWritten(t *testing.T) {
	const file, begin, end = "../../../docs/models.md", "-update -->\n", "<!-- end -->"
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(raw), begin)
	require.True(t, ok)
	table, tail, ok := strings.Cut(rest, end)
	require.True(t, ok)
	want := openai.ProfileTable()
	if *update {
		require.NoError(t, os.WriteFile(file, []byte(head+begin+want+end+tail), 0o644))
		return
	}
	assert.Equal(t, want, table)
}

func TestKnownServersHaveTheProfileOfTheirHost(t *testing.T) {
	for _, s := range openai.Servers() {
		assert.Equal(t, s.Profile, openai.ProfileFor(s.BaseURL), s.Name)
		assert.NotEmpty(t, s.KeyVariable)
	}
}
