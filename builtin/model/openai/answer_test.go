package openai_test

import (
	"encoding/json"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// latency is a member that differs from run to run.
var latency = regexp.MustCompile(`,\s*"latencyMs":\s*\d+`)

func TestPlainAnswerIsMapped(t *testing.T) {
	s := serve(t, document(200, plain))
	resp, _, err := generate(t.Context(), newModel(t, s), hello(), false)
	require.NoError(t, err)
	assert.JSONEq(t, `{"role":"model","content":[{"text":"Hello there."}]}`, toJSON(t, resp.Message))
	assert.Equal(t, model.FinishStop, resp.FinishReason)
	assert.JSONEq(t, `{"inputTokens":9,"outputTokens":3,"totalTokens":12,"cachedContentTokens":4,"thoughtsTokens":2,
		"custom":{"completion_accepted_prediction_tokens":5}}`, toJSON(t, resp.Usage))
	assert.JSONEq(t, plain, string(resp.Raw))
	assert.Regexp(t, `"latencyMs":\d`, toJSON(t, resp), "also when it is 0")
	assert.Nil(t, resp.Request)
	assert.Equal(t, "Bearer "+testKey, s.header(0).Get("Authorization"))
	assert.Equal(t, "application/json", s.header(0).Get("Content-Type"))
}

// Each case is one answer, as a document and as the pieces of a stream. Both must
// give want.
func TestStreamGivesTheResponseOfTheDocument(t *testing.T) {
	const tools = `"tools":[{"name":"weather","description":"w","inputSchema":{"type":"object","properties":{"city":{"type":"string"}}}},
		{"name":"kit/say it","description":"s","inputSchema":{"type":"string"}}]`
	cases := []struct {
		name, doc string
		pieces    []string
		want      string
	}{
		{
			name: "text with usage in a last piece without choices",
			doc:  `{"choices":[{"index":0,"message":{"role":"assistant","content":"Hi you"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`,
			pieces: []string{
				`{"choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}`,
				`{"choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"obfuscation":"x"}`,
				`{"choices":[{"index":0,"delta":{"content":" you","unknown":{"a":[1]}},"finish_reason":null}]}`,
				`{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
				`{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}`,
			},
			want: `{"message":{"role":"model","content":[{"text":"Hi you"}]},"finishReason":"stop","usage":{"inputTokens":1,"outputTokens":2,"totalTokens":3}}`,
		},
		{
			name: "a tool call in fragments, numbers keep their digits",
			doc: `{"choices":[{"index":0,"message":{"role":"assistant","content":null,"tool_calls":[{"id":"call_a","type":"function",
				"function":{"name":"weather","arguments":"{\"city\": 12345678901234567890.10}"}}]},"finish_reason":"tool_calls"}]}`,
			pieces: []string{
				`{"choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"weather","arguments":""}}]},"finish_reason":null}]}`,
				`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"city\": 123456"}}]},"finish_reason":null}]}`,
				`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"78901234567890.10}"}}]},"finish_reason":null}]}`,
				`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"toolRequest":{"name":"weather","ref":"call_a","input":{"city": 12345678901234567890.10}}}]},"finishReason":"stop"}`,
		},
		{
			name: "parallel calls whose fragments alternate",
			doc: `{"choices":[{"index":0,"message":{"content":"Two.","tool_calls":[{"id":"a","function":{"name":"weather","arguments":"{\"city\":\"A\"}"}},
				{"id":"b","function":{"name":"weather","arguments":"{\"city\":\"B\"}"}}]},"finish_reason":"tool_calls"}]}`,
			pieces: []string{
				`{"choices":[{"index":0,"delta":{"content":"Two."}}]}`,
				`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"weather","arguments":"{\"city\""}},{"index":1,"id":"b","function":{"name":"weather","arguments":"{"}}]}}]}`,
				`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\"city\":\"B\"}"}},{"index":0,"function":{"arguments":":\"A\"}"}}]}}]}`,
				`{"choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"text":"Two."},{"toolRequest":{"name":"weather","ref":"a","input":{"city":"A"}}},
				{"toolRequest":{"name":"weather","ref":"b","input":{"city":"B"}}}]},"finishReason":"stop"}`,
		},
		{
			name: "a server that gives every call the index 0",
			doc: `{"choices":[{"message":{"content":"","tool_calls":[{"id":"a","function":{"name":"weather","arguments":"{}"}},
				{"id":"b","function":{"name":"weather","arguments":"{}"}}]},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"weather","arguments":"{}"}}]}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"b","function":{"name":"weather","arguments":"{}"}}]},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"toolRequest":{"name":"weather","ref":"a","input":{}}},{"toolRequest":{"name":"weather","ref":"b","input":{}}}]},"finishReason":"stop"}`,
		},
		{
			name: "calls without index and id get refs, arguments may be an object",
			doc: `{"choices":[{"message":{"content":null,"tool_calls":[{"function":{"name":"weather","arguments":{"city":"A"}}},
				{"function":{"name":"weather","arguments":""}}]},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"weather","arguments":{"city":"A"}}}]}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"function":{"name":"weather"}}]},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"toolRequest":{"name":"weather","ref":"call_0","input":{"city":"A"}}},{"toolRequest":{"name":"weather","ref":"call_1","input":{}}}]},"finishReason":"stop"}`,
		},
		{
			name: "an unsuitable name comes back, a boxed input is unpacked, an unknown tool stays",
			doc: `{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1","function":{"name":"kit_say_it","arguments":"{\"input\":\"hi\"}"}},
				{"id":"2","function":{"name":"no_such","arguments":"{\"input\":1}"}}]},"finish_reason":"tool_calls"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"kit_say_it","arguments":"{\"input\":\"hi\"}"}},{"index":1,"id":"2","function":{"name":"no_such","arguments":"{\"input\":1}"}}]},"finish_reason":"tool_calls"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"toolRequest":{"name":"kit/say it","ref":"1","input":"hi"}},{"toolRequest":{"name":"no_such","ref":"2","input":{"input":1}}}]},"finishReason":"stop"}`,
		},
		{
			name:   "a call that the length cut off is left out",
			doc:    `{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1","function":{"name":"weather","arguments":"{\"city\":\"Ne"}}]},"finish_reason":"length"}]}`,
			pieces: []string{`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"weather","arguments":"{\"city\":\"Ne"}}]},"finish_reason":"length"}]}`},
			want:   `{"message":{"role":"model","content":[]},"finishReason":"length","finishMessage":"the answer was not finished; tool calls left out: \"weather\""}`,
		},
		{
			name: "a refusal blocks",
			doc:  `{"choices":[{"message":{"content":null,"refusal":"I can't help\nwith that."},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"role":"assistant","refusal":"I can't help\n"}}]}`,
				`{"choices":[{"delta":{"refusal":"with that."},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[]},"finishReason":"blocked","finishMessage":"I can't help with that."}`,
		},
		{
			name:   "a content filter blocks and keeps what was said",
			doc:    `{"choices":[{"message":{"content":"Once"},"finish_reason":"content_filter"}]}`,
			pieces: []string{`{"choices":[{"delta":{"content":"Once"}}]}`, `{"choices":[{"delta":{},"finish_reason":"content_filter"}]}`},
			want:   `{"message":{"role":"model","content":[{"text":"Once"}]},"finishReason":"blocked"}`,
		},
		{
			name: "reasoning under either name comes first",
			doc:  `{"choices":[{"message":{"content":"4","reasoning_content":"2+2"},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"reasoning_content":"2","reasoning":"2"}}]}`, `{"choices":[{"delta":{"reasoning":"+2"}}]}`,
				`{"choices":[{"delta":{"content":"4","reasoning_content":null},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"reasoning":"2+2","metadata":{"chatCompletions":{"server":"SERVER","field":"reasoning_content"}}},{"text":"4"}]},"finishReason":"stop"}`,
		},
		{
			name: "what a server thinks in its content",
			doc:  `{"choices":[{"message":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"2+"},{"type":"text","text":"2"}]},{"type":"text","text":"4"}]},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"2+"}]}]}}]}`,
				`{"choices":[{"delta":{"content":[{"type":"thinking","thinking":[{"type":"text","text":"2"}]}]}}]}`,
				`{"choices":[{"delta":{"content":"4"},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"reasoning":"2+2","metadata":{"chatCompletions":{"server":"SERVER","field":"content"}}},{"text":"4"}]},"finishReason":"stop"}`,
		},
		{
			name: "unknown fields of a call and of its function are kept, in whatever piece they come",
			doc: `{"choices":[{"message":{"content":null,"tool_calls":[{"id":"1","function":{"name":"weather","arguments":"{}","sig":"f"},"extra_content":{"google":{"a":1,"thought_signature":"x"}}},
				{"id":"2","function":{"name":"weather","arguments":"{}"},"extra_content":null}]},"finish_reason":"tool_calls"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"1","function":{"name":"weather","arguments":"","sig":"f"},"extra_content":{"google":{"a":1}}}]}}]}`,
				`{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"},"extra_content":{"google":{"thought_signature":"x"}}},{"index":1,"id":"2","function":{"name":"weather","arguments":"{}"}}]},"finish_reason":"tool_calls"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"toolRequest":{"name":"weather","ref":"1","input":{}},"metadata":{"chatCompletions":{"server":"SERVER",
				"call":{"extra_content":{"google":{"a":1,"thought_signature":"x"}}},"function":{"sig":"f"}}}},{"toolRequest":{"name":"weather","ref":"2","input":{}}}]},"finishReason":"stop"}`,
		},
		{
			name: "details of the reasoning in pieces",
			doc:  `{"choices":[{"message":{"content":"4","reasoning":"ab","reasoning_details":[{"type":"reasoning.text","text":"ab","index":0,"signature":"s"},{"type":"reasoning.encrypted","data":"e","index":1}]},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"choices":[{"delta":{"reasoning":"a","reasoning_details":[{"type":"reasoning.text","text":"a","index":0}]}}]}`,
				`{"choices":[{"delta":{"reasoning":"b","reasoning_details":[{"type":"reasoning.text","text":"b","index":0,"signature":"s"}]}}]}`,
				`{"choices":[{"delta":{"reasoning_details":[{"type":"reasoning.encrypted","data":"e","index":1}]}}]}`,
				`{"choices":[{"delta":{"content":"4"},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"reasoning":"ab","metadata":{"chatCompletions":{"server":"SERVER","field":"reasoning"}}},{"text":"4"}],"metadata":{"chatCompletions":{"server":"SERVER",
				"message":{"reasoning_details":[{"type":"reasoning.text","text":"ab","index":0,"signature":"s"},{"type":"reasoning.encrypted","data":"e","index":1}]}}}},"finishReason":"stop"}`,
		},
		{
			name: "content in parts, citations and annotations",
			doc: `{"citations":["http://a"],"choices":[{"message":{"content":[{"type":"thinking","thinking":[]},{"type":"text","text":"a"},{"type":"text","text":"b"}],
				"annotations":[{"type":"url_citation"}]},"finish_reason":"stop"}]}`,
			pieces: []string{
				`{"citations":["http://a"],"choices":[{"delta":{"content":[{"type":"text","text":"a"}]}}]}`,
				`{"choices":[{"delta":{"content":"b","annotations":[{"type":"url_citation"}]},"finish_reason":"stop"}]}`,
			},
			want: `{"message":{"role":"model","content":[{"text":"ab"}],"metadata":{"citations":["http://a"],"annotations":[{"type":"url_citation"}]}},"finishReason":"stop"}`,
		},
		{
			name:   "an error of the choice is told, without the key",
			doc:    `{"choices":[{"message":{"content":""},"finish_reason":"error","error":{"code":502,"message":"upstream said ` + testKey + `"}}]}`,
			pieces: []string{`{"choices":[{"delta":{"content":""},"finish_reason":"error","error":{"code":502,"message":"upstream said ` + testKey + `"}}]}`},
			want:   `{"message":{"role":"model","content":[]},"finishReason":"other","finishMessage":"upstream said [hidden]"}`,
		},
		{
			name:   "an error of the choice without a finish reason",
			doc:    `{"choices":[{"message":{"content":"a"},"finish_reason":null,"error":"lost"}]}`,
			pieces: []string{`{"choices":[{"delta":{"content":"a"},"finish_reason":null,"error":"lost"}]}`},
			want:   `{"message":{"role":"model","content":[{"text":"a"}]},"finishReason":"other","finishMessage":"lost"}`,
		},
		{
			name:   "other choices than the first are left out",
			doc:    `{"choices":[{"index":1,"message":{"content":"b"},"finish_reason":"stop"},{"index":0,"message":{"content":"a"},"finish_reason":"stop"}]}`,
			pieces: []string{`{"choices":[{"index":1,"delta":{"content":"b"},"finish_reason":"stop"}]}`, `{"choices":[{"index":0,"delta":{"content":"a"},"finish_reason":"stop"}]}`},
			want:   `{"message":{"role":"model","content":[{"text":"a"}]},"finishReason":"stop"}`,
		},
		{
			name: "counts of compatible servers go to custom",
			doc: `{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_cache_hit_tokens":3,
				"prompt_cache_miss_tokens":2,"num_sources_used":1,"cost":0.00012300,"is_byok":false,"prompt_tokens_details":{"image_tokens":7,"audio_tokens":0}}}`,
			pieces: []string{`{"choices":[{"delta":{"content":"a"},"finish_reason":"stop"}],"usage":{"prompt_tokens":5,"completion_tokens":1,"total_tokens":6,"prompt_cache_hit_tokens":3,
				"prompt_cache_miss_tokens":2,"num_sources_used":1,"cost":0.00012300,"is_byok":false,"prompt_tokens_details":{"image_tokens":7,"audio_tokens":0}}}`},
			want: `{"message":{"role":"model","content":[{"text":"a"}]},"finishReason":"stop","usage":{"inputTokens":5,"outputTokens":1,"totalTokens":6,"cachedContentTokens":3,
				"custom":{"prompt_cache_hit_tokens":3,"prompt_cache_miss_tokens":2,"num_sources_used":1,"cost":0.00012300,"prompt_image_tokens":7}}}`,
		},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			req := request(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],`+tools+`}`)
			for _, streaming := range []bool{false, true} {
				answer := document(200, tc.doc)
				if streaming {
					answer = stream(data(compact(t, tc.pieces)...))
				}
				s := serve(t, answer)
				resp, chunks, err := generate(t.Context(), newModel(t, s), req, streaming)
				require.NoError(t, err, "streaming %v", streaming)
				got := *resp
				got.Raw = nil
				text := strings.ReplaceAll(latency.ReplaceAllString(toJSON(t, got), ""), openai.ServerID(s.URL+"/v1"), "SERVER")
				assert.Equal(t, canonical(t, tc.want), canonical(t, text), "streaming %v", streaming)
				if streaming {
					assertChunksAddUp(t, chunks, resp)
				}
			}
		})
	}
}

// canonical keeps the digits of numbers, which JSONEq does not.
func canonical(t *testing.T, text string) string {
	t.Helper()
	dec := json.NewDecoder(strings.NewReader(text))
	dec.UseNumber()
	var v any
	require.NoError(t, dec.Decode(&v), text)
	out, err := json.MarshalIndent(v, "", " ")
	require.NoError(t, err)
	return string(out)
}

func compact(t *testing.T, texts []string) []string {
	t.Helper()
	var out []string
	for _, text := range texts {
		out = append(out, strings.Join(strings.Fields(text), " "))
		require.True(t, json.Valid([]byte(text)), text)
	}
	return out
}

// assertChunksAddUp checks that a reader of the stream saw what the response holds.
func assertChunksAddUp(t *testing.T, chunks []*model.Chunk, resp *model.Response) {
	t.Helper()
	var parts []content.Part
	reasoning, whole := "", ""
	for _, c := range chunks {
		assert.Equal(t, content.RoleModel, c.Role)
		for _, p := range c.Content {
			if p.Reasoning != nil {
				reasoning += *p.Reasoning
			}
		}
		parts = append(parts, c.Content...)
	}
	for _, p := range resp.Message.Content {
		if p.Reasoning != nil {
			whole += *p.Reasoning
		}
	}
	streamed := &content.Message{Content: parts}
	assert.Equal(t, resp.Text(), streamed.Text())
	assert.Equal(t, whole, reasoning)
	assert.Equal(t, toJSON(t, resp.ToolRequests()), toJSON(t, streamed.ToolRequests()))
}

func TestFinishReasons(t *testing.T) {
	for wire, want := range map[string]model.FinishReason{
		"stop": "stop", "tool_calls": "stop", "end_turn": "stop", "length": "length", "model_context_window_exceeded": "length",
		"content_filter": "blocked", "sensitive": "blocked", "error": "other", "function_call": "other",
		"network_error": "other", "insufficient_system_resource": "other", "": "unknown", "brand_new": "unknown",
	} {
		s := serve(t, document(200, `{"choices":[{"message":{"content":"a"},"finish_reason":"`+wire+`"}]}`))
		resp, _, err := generate(t.Context(), newModel(t, s), hello(), false)
		require.NoError(t, err)
		assert.Equal(t, want, resp.FinishReason, wire)
		if wire == "brand_new" {
			assert.Equal(t, `finish_reason "brand_new"`, resp.FinishMessage)
		}
	}
}

func TestServerThatAnswersAStreamWithADocument(t *testing.T) {
	s := serve(t, document(200, plain))
	resp, chunks, err := generate(t.Context(), newModel(t, s), hello(), true)
	require.NoError(t, err)
	assert.Equal(t, "Hello there.", resp.Text())
	assertChunksAddUp(t, chunks, resp)
}

func TestRawOfAStreamIsADocumentThatMapsToTheSame(t *testing.T) {
	s := serve(t, stream(data(
		`{"id":"c","created":7,"model":"m","choices":[{"index":0,"delta":{"content":"a","reasoning_content":"r"}}]}`,
		`{"choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"id":"x","function":{"name":"f","arguments":"{}"},"sig":1}]},"finish_reason":"tool_calls"}]}`)))
	m := newModel(t, s)
	streamed, _, err := generate(t.Context(), m, hello(), true)
	require.NoError(t, err)
	s.Config.Handler = document(200, string(streamed.Raw))
	whole, _, err := generate(t.Context(), m, hello(), false)
	require.NoError(t, err)
	assert.JSONEq(t, toJSON(t, streamed.Message), toJSON(t, whole.Message))
	assert.JSONEq(t, `{"id":"c","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"finish_reason":"tool_calls","message":{"role":"assistant",
		"content":"a","reasoning_content":"r","tool_calls":[{"id":"x","type":"function","function":{"name":"f","arguments":"{}"},"sig":1}]}}]}`, string(streamed.Raw))
}

func TestRawIsBounded(t *testing.T) {
	s := serve(t, document(200, `{"choices":[{"message":{"content":"`+strings.Repeat("a", 2<<20)+`"},"finish_reason":"stop"}]}`))
	resp, _, err := generate(t.Context(), newModel(t, s), hello(), false)
	require.NoError(t, err)
	assert.Len(t, resp.Text(), 2<<20)
	assert.Nil(t, resp.Raw)
}

func TestAnswerThatHoldsNothingFails(t *testing.T) {
	for _, body := range []string{`{}`, `{"choices":[]}`, `null`, `[]`, `"text"`, ``, `{"choices":"x"}`, `{"choices":[{}]} {}`} {
		_, _, err := generate(t.Context(), newModel(t, serve(t, document(200, body))), hello(), false)
		require.ErrorContains(t, err, "INTERNAL", body)
	}
}
