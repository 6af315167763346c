package googleai_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/googleai"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire/wiretest"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The answer of the kit: thoughts, text, a signed call, one without an id, code and its
// result, a picture.
const (
	document = `{"candidates":[{"content":{"role":"model","parts":[{"text":"Let me see…","thought":true},{"text":"It is so."},
{"functionCall":{"id":"fc_1","name":"a_weather","args":{"city":"Köln","n":[1,2.50]}},"thoughtSignature":"c2lnbg=="},{"functionCall":{"name":"now"}},
{"executableCode":{"language":"PYTHON","code":"1"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"},"thoughtSignature":"b2s="},{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},
"finishReason":"STOP","groundingMetadata":{"webSearchQueries":["q"]},"citationMetadata":{"citationSources":[]}}],
"usageMetadata":{"promptTokenCount":300,"cachedContentTokenCount":200,"candidatesTokenCount":20,"thoughtsTokenCount":9,"toolUsePromptTokenCount":5,"totalTokenCount":334,
"promptTokensDetails":[{"modality":"TEXT","tokenCount":290},{"modality":"IMAGE","tokenCount":10}]},"modelVersion":"m","responseId":"r"}`
	piece  = `data: {"candidates":[{"content":{"role":"model","parts":[{"text":"Let me ","thought":true}]}}]}` + "\r\n\r\n"
	failed = `{"error":{"code":503,"message":"no %s","status":"UNAVAILABLE","details":[{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"7s"}]}}`
)

var stream = event(`{"candidates":[{"content":{"role":"model","parts":[{"text":"","thought":true}]}}],"usageMetadata":{"promptTokenCount":300}}`) + piece +
	event(`{"candidates":[{"content":{"parts":[{"text":"see…","thought":true}]}}]}`) + event(`{"candidates":[{"content":{"parts":[{"text":"It is "}]}}]}`) + event(`{"candidates":[{"content":{"parts":[{"text":"so."}]}}]}`) +
	event(`{"candidates":[{"content":{"parts":[{"functionCall":{"id":"fc_1","name":"a_weather","args":{"city":"Köln","n":[1,2.50]}},"thoughtSignature":"c2lnbg=="},{"functionCall":{"name":"now"}}]}}]}`) +
	event(`{"candidates":[{"content":{"parts":[{"executableCode":{"language":"PYTHON","code":"1"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"},"thoughtSignature":"b2s="}]},"groundingMetadata":{"webSearchQueries":["q"]}}]}`) +
	event(`{"candidates":[{"content":{"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},"finishReason":"STOP","citationMetadata":{"citationSources":[]}}],
"usageMetadata":{"promptTokenCount":300,"cachedContentTokenCount":200,"candidatesTokenCount":20,"thoughtsTokenCount":9,"toolUsePromptTokenCount":5,"totalTokenCount":334,
"promptTokensDetails":[{"modality":"TEXT","tokenCount":290},{"modality":"IMAGE","tokenCount":10}]},"modelVersion":"m","responseId":"r"}`)

// event writes an event as the API does.
func event(data string) string {
	var buf bytes.Buffer
	_ = json.Compact(&buf, []byte(data))
	return "data: " + buf.String() + "\r\n\r\n"
}

func newProvider(t testing.TB, baseURL string, client *http.Client, change ...func(*googleai.Config)) *googleai.Provider {
	t.Helper()
	cfg := googleai.Config{BaseURL: baseURL, APIKey: wiretest.Key, HTTPClient: client, MaxResponseBytes: wiretest.Limit, MaxChunkBytes: wiretest.MaxEvent}
	for _, f := range change {
		f(&cfg)
	}
	p, err := googleai.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func target() wiretest.Target {
	return wiretest.Target{
		New: func(t testing.TB, baseURL string, client *http.Client) wiretest.Provider {
			return newProvider(t, baseURL, client)
		},
		Model: "googleai/m", KeyOf: func(h http.Header) string { return h.Get("X-Goog-Api-Key") },
		Document: document, Stream: stream, Piece: piece, Error: failed, Tools: []string{"a/weather", "now"},
	}
}

func TestTheKitOfProviders(t *testing.T) { wiretest.Run(t, target()) }

func FuzzAnswer(f *testing.F) {
	wiretest.Fuzz(f, target(), failed, piece, `[{"error":{"code":429,"message":"x"}}]`, `{"promptFeedback":{"blockReason":"SAFETY"}}`,
		event(`{"candidates":[{"content":{"parts":[{"text":"a","thoughtSignature":"x"},{"functionCall":{"name":"","args":[1]}},{"fileData":{"fileUri":"u"}}]},"finishReason":"CONTINUATION","continuationToken":"t"}]}`))
}

func ask(t *testing.T, id, request, answer string) (*model.Response, *http.Request, string, error) {
	t.Helper()
	c := wiretest.Answering(200, "application/json", answer)
	resp, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "googleai/"+id), request, nil)
	if err != nil {
		return nil, nil, "", err
	}
	req, body := c.Last()
	return resp, req, body, nil
}

const plain = `{"candidates":[{"content":{"parts":[{"text":"hi"}]},"finishReason":"STOP"}]}`

func TestTheAnswerIsMappedAndGoesBack(t *testing.T) {
	const tools = `"tools":[{"name":"a/weather","description":""},{"name":"now","description":""}]`
	resp, _, _, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"q"}]}],`+tools+`}`, document)
	require.NoError(t, err)
	said, err := json.Marshal(resp.Message)
	require.NoError(t, err)
	assert.JSONEq(t, `{"role":"model","metadata":{"groundingMetadata":{"webSearchQueries":["q"]},"citationMetadata":{"citationSources":[]}},"content":[{"reasoning":"Let me see…"},{"text":"It is so."},
		{"toolRequest":{"name":"a/weather","ref":"fc_1","input":{"city":"Köln","n":[1,2.50]}},"metadata":{"thoughtSignature":"c2lnbg=="}},{"toolRequest":{"name":"now","ref":"call_3","input":{}}},
		{"custom":{"executableCode":{"language":"PYTHON","code":"1"}}},{"custom":{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}},"metadata":{"thoughtSignature":"b2s="}},
		{"media":{"url":"data:image/png;base64,AA==","contentType":"image/png"}}]}`, string(said))
	assert.Equal(t, model.FinishStop, resp.FinishReason)
	usage, err := json.Marshal(resp.Usage)
	require.NoError(t, err)
	assert.JSONEq(t, `{"inputTokens":305,"outputTokens":20,"thoughtsTokens":9,"cachedContentTokens":200,"totalTokens":334,
		"custom":{"toolUsePromptTokenCount":5,"promptTokensDetails.TEXT":290,"promptTokensDetails.IMAGE":10}}`, string(usage))

	_, _, body, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"q"}]},`+string(said)+`,{"role":"tool","content":[{"toolResponse":{"name":"a/weather","ref":"fc_1","output":{"c":1}}},
		{"toolResponse":{"name":"now","ref":"call_3","output":"noon","content":[{"media":{"url":"data:image/png;base64,AA=="}},{"text":"t"}]}}]}]}`, plain)
	require.NoError(t, err)
	assert.JSONEq(t, `{"contents":[{"role":"user","parts":[{"text":"q"}]},{"role":"model","parts":[{"text":"It is so."},
		{"functionCall":{"id":"fc_1","name":"a_weather","args":{"city":"Köln","n":[1,2.50]}},"thoughtSignature":"c2lnbg=="},{"functionCall":{"id":"call_3","name":"now","args":{}}},
		{"executableCode":{"language":"PYTHON","code":"1"}},{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"},"thoughtSignature":"b2s="},{"inlineData":{"mimeType":"image/png","data":"AA=="}}]},
		{"role":"user","parts":[{"functionResponse":{"id":"fc_1","name":"a_weather","response":{"name":"a_weather","content":{"c":1}}}},
		{"functionResponse":{"id":"call_3","name":"now","response":{"name":"now","content":"noon","further":["t"]},"parts":[{"inlineData":{"mimeType":"image/png","data":"AA=="}}]}}]}]}`, body)
}

func TestRequestBodies(t *testing.T) {
	const user = `{"role":"user","content":[{"text":"a"}]}`
	const sent = `"contents":[{"role":"user","parts":[{"text":"a"}]}]`
	for name, c := range map[string]struct{ id, request, want string }{
		"system and media": {
			"m", `{"messages":[{"role":"system","content":[{"text":"s"}]},{"role":"user","content":[{"text":"a"},{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"gs://b/v.mp4"},"metadata":{"videoMetadata":{"fps":1}}}]},{"role":"system","content":[{"text":"t"}]}]}`,
			`{"systemInstruction":{"role":"user","parts":[{"text":"s"},{"text":"t"}]},"contents":[{"role":"user","parts":[{"text":"a"},{"inlineData":{"mimeType":"image/png","data":"AA=="}},{"fileData":{"mimeType":"video/mp4","fileUri":"gs://b/v.mp4"},"videoMetadata":{"fps":1}}]}]}`,
		},
		"config": {
			"m", `{"messages":[` + user + `],"config":{"temperature":0,"topP":0.5,"topK":3,"maxOutputTokens":9,"stopSequences":["x"],"seed":1,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":0},"safetySettings":[{"category":"C","threshold":"T"}],
			"cachedContent":"cachedContents/x","labels":{"a":"b"},"googleSearch":{},"codeExecution":true,"extra":{"store":true}}}`,
			`{` + sent + `,"tools":[{"googleSearch":{}},{"codeExecution":{}}],"generationConfig":{"temperature":0,"topP":0.5,"topK":3,"maxOutputTokens":9,"stopSequences":["x"],"seed":1,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":0}},
			"safetySettings":[{"category":"C","threshold":"T"}],"cachedContent":"cachedContents/x","labels":{"a":"b"},"store":true}`,
		},
		"tools": {
			"m", `{"messages":[` + user + `],"toolChoice":"required","config":{"functionCallingConfig":{"allowedFunctionNames":["a/b"]}},"tools":[{"name":"a/b","description":"d","inputSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}]}`,
			`{` + sent + `,"tools":[{"functionDeclarations":[{"name":"a_b","description":"d","parametersJsonSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}]}],"toolConfig":{"functionCallingConfig":{"mode":"ANY","allowedFunctionNames":["a_b"]}}}`,
		},
		"structured output": {
			"m", `{"messages":[` + user + `],"output":{"format":"json","constrained":true,"schema":{"type":"object","properties":{"a":{"type":"string"}}}}}`,
			`{` + sent + `,"generationConfig":{"responseMimeType":"application/json","responseJsonSchema":{"type":"object","properties":{"a":{"type":"string"}}}}}`,
		},
		"any JSON":  {"m", `{"messages":[` + user + `],"output":{"format":"json"}}`, `{` + sent + `,"generationConfig":{"responseMimeType":"application/json"}}`},
		"a speaker": {"x-tts", `{"messages":[` + user + `]}`, `{` + sent + `,"generationConfig":{"responseModalities":["AUDIO"],"speechConfig":{"voiceConfig":{"prebuiltVoiceConfig":{"voiceName":"Algenib"}}}}}`},
		"a painter": {"x-image", `{"messages":[` + user + `]}`, `{` + sent + `,"generationConfig":{"responseModalities":["TEXT","IMAGE"]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, req, body, err := ask(t, c.id, c.request, plain)
			require.NoError(t, err)
			assert.JSONEq(t, c.want, body)
			assert.Equal(t, "/v1beta/models/"+c.id+":generateContent", req.URL.Path)
		})
	}
	_, req, _, err := ask(t, "tunedModels/x", `{"messages":[`+user+`]}`, plain)
	require.NoError(t, err)
	assert.Equal(t, "/v1beta/tunedModels/x:generateContent", req.URL.Path)
}

func TestWhatCanNotBeSentIsRefused(t *testing.T) {
	for part, want := range map[string]string{
		`{"media":{"url":"data:image/png;base64,?"}}`: "base64", `{"media":{"url":"data:,x"}}`: "media type", `{"custom":{"a":1}}`: "custom parts", `{"resource":{"uri":"x:y"}}`: "resource",
		`{"reasoning":"r"}`: "reasoning", `{"toolRequest":{"name":"f"}}`: "tool requests", `{"toolResponse":{"name":"f","output":1}}`: "tool responses", `{}`: "nothing that is known",
	} {
		_, _, _, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"a"},`+part+`]}]}`, plain)
		require.ErrorIs(t, err, status.ErrInvalidArgument, part)
		assert.Contains(t, status.ToWire(err, false).Message, "messages[0]: content[1]: ", part)
		assert.Contains(t, err.Error(), want)
	}
	p := newProvider(t, "http://canned", nil)
	for _, id := range []string{"../x", "a/../b", "a:b", "a?b", "/a", "a//b", "a b", "%2e"} {
		_, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: "googleai/" + id})
		require.ErrorIs(t, err, status.ErrInvalidArgument, id)
	}
	for _, config := range []string{`{"version":"../../x"}`, `{"topk":1}`, `{"extra":{"contents":[]}}`} {
		_, _, _, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":`+config+`}`, plain)
		require.ErrorIs(t, err, status.ErrInvalidArgument, config)
	}
}

func TestHowAnswersEnd(t *testing.T) {
	for answer, want := range map[string]struct {
		reason model.FinishReason
		says   string
	}{
		`{"candidates":[{"finishReason":"MAX_TOKENS"}]}`:                                         {model.FinishLength, ""},
		`{"candidates":[{"finishReason":"SAFETY"}]}`:                                             {model.FinishBlocked, "SAFETY"},
		`{"candidates":[{"finishReason":"IMAGE_RECITATION","finishMessage":"no"}]}`:              {model.FinishBlocked, "no"},
		`{"candidates":[{"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"call: f("}]}`: {model.FinishOther, "call: f("},
		`{"candidates":[{"finishReason":"TOO_MANY_TOOL_CALLS"}]}`:                                {model.FinishOther, "TOO_MANY_TOOL_CALLS"},
		`{"promptFeedback":{"blockReason":"PROHIBITED_CONTENT"}}`:                                {model.FinishBlocked, "PROHIBITED_CONTENT"},
		`{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}`:                                  {model.FinishUnknown, ""},
	} {
		resp, _, _, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, answer)
		require.NoError(t, err, answer)
		assert.Equal(t, want.reason, resp.FinishReason, answer)
		assert.Contains(t, resp.FinishMessage, want.says, answer)
	}
	_, _, _, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, `{}`)
	require.ErrorIs(t, err, status.ErrInternal)
}

// An answer that is too long for one response is asked for to its end.
func TestAnswersAreContinued(t *testing.T) {
	for _, streaming := range []bool{false, true} {
		n := 0
		c := &wiretest.Canned{Status: 200, ContentType: "application/json"}
		c.Body = func() io.Reader {
			n++
			text := `{"candidates":[{"content":{"parts":[{"text":"a"}]},"finishReason":"CONTINUATION","continuationToken":"t1"}],"usageMetadata":{"totalTokenCount":3}}`
			if n == 2 {
				text = `{"candidates":[{"content":{"parts":[{"text":"b"}]},"finishReason":"STOP"}],"usageMetadata":{"totalTokenCount":5}}`
			}
			if streaming {
				text = event(text)
			}
			return strings.NewReader(text)
		}
		var chunks *[]*model.Chunk
		if streaming {
			c.ContentType, chunks = "text/event-stream", &[]*model.Chunk{}
		}
		resp, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "googleai/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, chunks)
		require.NoError(t, err)
		assert.Equal(t, "ab", resp.Text())
		assert.Equal(t, model.FinishStop, resp.FinishReason)
		assert.Equal(t, 5, resp.Usage.TotalTokens)
		_, body := c.Last()
		assert.JSONEq(t, `{"contents":[{"role":"user","parts":[{"text":"q"}]}],"continuationToken":"t1"}`, body)
		assert.Equal(t, 2, n)
	}
	// A server that never comes to an end is left.
	c := wiretest.Answering(200, "application/json", `{"candidates":[{"content":{"parts":[{"text":"`+strings.Repeat("a", 1000)+`"}]},"finishReason":"CONTINUATION","continuationToken":"t"}]}`)
	resp, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "googleai/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
	require.NoError(t, err)
	assert.Equal(t, model.FinishLength, resp.FinishReason)
	assert.Len(t, resp.Text(), 33*1000)
}

func TestEmbedders(t *testing.T) {
	c := wiretest.Answering(200, "application/json", `{"embeddings":[{"values":[1,2]},{"values":[3,4.5]}]}`)
	p := newProvider(t, "http://canned", &http.Client{Transport: c})
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: "googleai/text-embedding-004"})
	require.NoError(t, err)
	const two = `{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2,"apiKey":"sk-own-0123456789"}}`
	out, err := a.RunJSON(t.Context(), json.RawMessage(two), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"embeddings":[{"embedding":[1,2]},{"embedding":[3,4.5]}]}`, string(out))
	req, body := c.Last()
	assert.Equal(t, "/v1beta/models/text-embedding-004:batchEmbedContents", req.URL.Path)
	assert.Equal(t, "sk-own-0123456789", req.Header.Get("X-Goog-Api-Key"))
	assert.JSONEq(t, `{"requests":[{"model":"models/text-embedding-004","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2},
		{"model":"models/text-embedding-004","content":{"parts":[{"text":"b"}]},"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2}]}`, body)
	_, err = a.RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"}]}]}`), nil)
	require.ErrorIs(t, err, status.ErrInternal, "two vectors for one text")
}

func TestModelsAreListedAndTheEnvironmentRead(t *testing.T) {
	c := wiretest.Answering(200, "application/json", `{"models":[{"name":"models/gemini-x","supportedGenerationMethods":["generateContent"]},{"name":"models/embedding-x","supportedGenerationMethods":["embedContent"]},{"name":"models/aqa","supportedGenerationMethods":["generateAnswer"]}]}`)
	names := func(p *googleai.Provider) (all []string) {
		descs, err := p.List(t.Context())
		require.NoError(t, err)
		for _, d := range descs {
			all = append(all, string(d.Kind)+" "+d.Name)
		}
		return all
	}
	assert.Equal(t, []string{"model googleai/gemini-x", "embedder googleai/embedding-x"}, names(newProvider(t, "http://canned", &http.Client{Transport: c})))
	vendors := names(newProvider(t, "", &http.Client{Transport: c}))
	assert.Contains(t, vendors, "model googleai/gemini-2.5-flash")
	assert.Contains(t, vendors, "embedder googleai/gemini-embedding-001")
	for _, variable := range googleai.Environment {
		t.Setenv(variable, "")
	}
	t.Setenv("GOOGLE_API_KEY", "sk-google")
	cfg := googleai.FromEnv()
	assert.Equal(t, "sk-google", cfg.APIKey)
	assert.NotContains(t, cfg.String(), "sk-google")
	for _, bad := range []googleai.Config{{BaseURL: "ftp://x"}, {Name: "a/b"}, {Version: "../x"}, {APIKey: "a b"}, {MaxChunkBytes: -1}} {
		_, err := googleai.New(bad)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}

// The API sends the arguments of a call at once, so that only none of them, and an end that
// is no end of the model's own, leave a call out.
func TestACallOfAnAnswerThatDidNotFinishIsLeftOut(t *testing.T) {
	const part = `{"functionCall":{"name":"f","args":{"a":1}}}`
	const bare = `{"functionCall":{"name":"f"}}`
	for name, c := range map[string]struct {
		part   string
		ends   []string
		called bool
		reason model.FinishReason
	}{
		"its end":                        {bare, []string{"STOP"}, true, model.FinishStop},
		"the limit, no arguments":        {bare, []string{"MAX_TOKENS"}, false, model.FinishLength},
		"the limit, whole arguments":     {part, []string{"MAX_TOKENS"}, true, model.FinishLength},
		"safety":                         {part, []string{"SAFETY"}, false, model.FinishBlocked},
		"malformed":                      {part, []string{"MALFORMED_FUNCTION_CALL"}, false, model.FinishOther},
		"not expected":                   {part, []string{"UNEXPECTED_TOOL_CALL"}, false, model.FinishOther},
		"other":                          {part, []string{"OTHER"}, false, model.FinishOther},
		"a name that is not known":       {part, []string{"BRAND_NEW"}, false, model.FinishOther},
		"the name of none, no arguments": {bare, []string{"FINISH_REASON_UNSPECIFIED"}, false, model.FinishUnknown},
		"the name of none":               {part, []string{"FINISH_REASON_UNSPECIFIED"}, true, model.FinishUnknown},
		"the limit, then stop":           {bare, []string{"MAX_TOKENS", "STOP"}, false, model.FinishLength},
		"stop, then malformed":           {part, []string{"STOP", "MALFORMED_FUNCTION_CALL"}, false, model.FinishOther},
		"arguments in parts":             {`{"functionCall":{"name":"f","partialArgs":[{"jsonPath":"$.a","stringValue":"x"}],"willContinue":true}}`, []string{"STOP"}, false, model.FinishStop},
	} {
		t.Run(name, func(t *testing.T) {
			text := event(`{"candidates":[{"content":{"parts":[` + c.part + `]}}]}`)
			for _, end := range c.ends {
				text += event(`{"candidates":[{"finishReason":"` + end + `"}]}`)
			}
			bodies := map[string]string{"text/event-stream": text}
			if len(c.ends) == 1 {
				bodies["application/json"] = `{"candidates":[{"content":{"parts":[` + c.part + `]},"finishReason":"` + c.ends[0] + `"}]}`
			}
			for contentType, body := range bodies {
				var chunks []*model.Chunk
				m := wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: wiretest.Answering(200, contentType, body)}), "googleai/m")
				resp, err := wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`, &chunks)
				require.NoError(t, err)
				assert.Equal(t, c.reason, resp.FinishReason, contentType)
				assert.Equal(t, c.called, len(resp.ToolRequests()) == 1, contentType)
				if !c.called {
					assert.Contains(t, resp.FinishMessage, `tool calls left out: "f"`)
				}
			}
		})
	}
	resp, _, _, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`,
		`{"candidates":[{"content":{"parts":[`+part+`]}}],"promptFeedback":{"blockReason":"SAFETY"}}`)
	require.NoError(t, err)
	assert.Equal(t, model.FinishBlocked, resp.FinishReason)
	assert.Empty(t, resp.ToolRequests(), "of a prompt that was blocked")
}

// Ids that came twice are told apart; calls without one stay without, as the API has it.
func TestIDsAreUniqueInAConversation(t *testing.T) {
	_, _, body, err := ask(t, "m", `{"messages":[{"role":"user","content":[{"text":"q"}]},{"role":"model","content":[{"toolRequest":{"name":"f","ref":"c"}}]},{"role":"tool","content":[{"toolResponse":{"name":"f","ref":"c","output":1}}]},
		{"role":"model","content":[{"toolRequest":{"name":"f","ref":"c"}},{"toolRequest":{"name":"g"}}]},{"role":"tool","content":[{"toolResponse":{"name":"g","output":3}},{"toolResponse":{"name":"f","ref":"c","output":2}}]}]}`, plain)
	require.NoError(t, err)
	assert.Equal(t, 2, strings.Count(body, `"id":"c"`), body)
	assert.Equal(t, 2, strings.Count(body, `"id":"c_2"`), body)
	assert.NotContains(t, body, `"id":"g"`)
}
