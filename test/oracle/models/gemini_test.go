package models

import (
	"encoding/json"
	"strings"
	"testing"

	"google.golang.org/genai"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/googleai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

func geminiOf(t *testing.T, r *recorder, kind action.Kind) action.Action {
	t.Helper()
	p, err := googleai.New(googleai.Config{BaseURL: r.URL, APIKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := p.Resolve(t.Context(), action.Key{Kind: kind, Name: "googleai/m"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *recorder) gemini(t *testing.T) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(t.Context(), &genai.ClientConfig{APIKey: "k", Backend: genai.BackendGeminiAPI, HTTPOptions: genai.HTTPOptions{BaseURL: r.URL}})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// A conversation that holds everything goes out as the vendor's client sends it from its
// own types.
func TestGeminiIsAskedAlike(t *testing.T) {
	const conversation = `{"messages":[
		{"role":"system","content":[{"text":"Be brief."}]},
		{"role":"user","content":[{"text":"Look."},{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"gs://b/v.mp4"},"metadata":{"videoMetadata":{"fps":1}}}]},
		{"role":"model","content":[{"reasoning":"hm","metadata":{"thoughtSignature":"c2ln"}},{"text":"One moment."},
			{"toolRequest":{"name":"weather","ref":"fc_1","input":{"city":"Oslo"}},"metadata":{"thoughtSignature":"c2lnMg=="}},{"toolRequest":{"name":"now","ref":"fc_2","input":{"zone":"CET"}}},
			{"custom":{"executableCode":{"language":"PYTHON","code":"1"}}},{"custom":{"codeExecutionResult":{"outcome":"OUTCOME_OK","output":"1"}}}]},
		{"role":"tool","content":[{"toolResponse":{"name":"weather","ref":"fc_1","output":{"c":1},"content":[{"media":{"url":"data:image/png;base64,AA=="}}]}},{"toolResponse":{"name":"now","ref":"fc_2","output":"noon"}}]}],
		"tools":[{"name":"weather","description":"The weather","inputSchema":{"type":"object","properties":{"city":{"type":"string"}}}},{"name":"now","description":"The time","inputSchema":{"type":"object","properties":{"zone":{"type":"string"}}}}],
		"toolChoice":"required",
		"output":{"format":"json","constrained":true,"schema":{"type":"object","properties":{"a":{"type":"string"}}}},
		"config":{"temperature":0.5,"topP":0.25,"topK":5,"maxOutputTokens":99,"stopSequences":["x"],"seed":7,"presencePenalty":0.5,"frequencyPenalty":0.25,"thinkingConfig":{"includeThoughts":true,"thinkingBudget":100},
			"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}],"functionCallingConfig":{"allowedFunctionNames":["weather"]},"cachedContent":"cachedContents/x","googleSearch":{},"codeExecution":true}}`
	object := func(name string) map[string]any {
		return map[string]any{"type": "object", "properties": map[string]any{name: map[string]any{"type": "string"}}}
	}
	contents := []*genai.Content{
		{Role: "user", Parts: []*genai.Part{{Text: "Look."}, {InlineData: &genai.Blob{MIMEType: "image/png", Data: []byte{0}}}, {FileData: &genai.FileData{MIMEType: "video/mp4", FileURI: "gs://b/v.mp4"}, VideoMetadata: &genai.VideoMetadata{FPS: genai.Ptr(1.0)}}}},
		{Role: "model", Parts: []*genai.Part{
			{Text: "hm", Thought: true, ThoughtSignature: []byte("sig")},
			{Text: "One moment."},
			{FunctionCall: &genai.FunctionCall{ID: "fc_1", Name: "weather", Args: map[string]any{"city": "Oslo"}}, ThoughtSignature: []byte("sig2")},
			{FunctionCall: &genai.FunctionCall{ID: "fc_2", Name: "now", Args: map[string]any{"zone": "CET"}}},
			{ExecutableCode: &genai.ExecutableCode{Language: "PYTHON", Code: "1"}},
			{CodeExecutionResult: &genai.CodeExecutionResult{Outcome: "OUTCOME_OK", Output: "1"}},
		}},
		{Role: "user", Parts: []*genai.Part{
			{FunctionResponse: &genai.FunctionResponse{ID: "fc_1", Name: "weather", Response: map[string]any{"name": "weather", "content": map[string]any{"c": 1}}, Parts: []*genai.FunctionResponsePart{{InlineData: &genai.FunctionResponseBlob{MIMEType: "image/png", Data: []byte{0}}}}}},
			{FunctionResponse: &genai.FunctionResponse{ID: "fc_2", Name: "now", Response: map[string]any{"name": "now", "content": "noon"}}},
		}},
	}
	config := &genai.GenerateContentConfig{
		SystemInstruction: &genai.Content{Parts: []*genai.Part{{Text: "Be brief."}}},
		Temperature:       genai.Ptr[float32](0.5), TopP: genai.Ptr[float32](0.25), TopK: genai.Ptr[float32](5), MaxOutputTokens: 99, StopSequences: []string{"x"}, Seed: genai.Ptr[int32](7),
		PresencePenalty: genai.Ptr[float32](0.5), FrequencyPenalty: genai.Ptr[float32](0.25),
		ThinkingConfig:   &genai.ThinkingConfig{IncludeThoughts: true, ThinkingBudget: genai.Ptr[int32](100)},
		SafetySettings:   []*genai.SafetySetting{{Category: "HARM_CATEGORY_HARASSMENT", Threshold: "BLOCK_NONE"}},
		ResponseMIMEType: "application/json", ResponseJsonSchema: object("a"), CachedContent: "cachedContents/x",
		Tools: []*genai.Tool{
			{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "weather", Description: "The weather", ParametersJsonSchema: object("city")}, {Name: "now", Description: "The time", ParametersJsonSchema: object("zone")}}},
			{GoogleSearch: &genai.GoogleSearch{}},
			{CodeExecution: &genai.ToolCodeExecution{}},
		},
		ToolConfig: &genai.ToolConfig{FunctionCallingConfig: &genai.FunctionCallingConfig{Mode: "ANY", AllowedFunctionNames: []string{"weather"}}},
	}
	r := record(t, "application/json", `{"candidates":[{"content":{"role":"model","parts":[{"text":"x"}]},"finishReason":"STOP"}]}`)
	if _, err := geminiOf(t, r, action.Model).RunJSON(t.Context(), json.RawMessage(conversation), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.path, r.asked
	if _, err := r.gemini(t).Models.GenerateContent(t.Context(), "m", contents, config); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "body", asked, r.asked)
}

// The same bytes give the same parts and counts.
func TestGeminisStreamsAreReadAlike(t *testing.T) {
	const pieces = `{"candidates":[{"content":{"role":"model","parts":[{"text":"hm","thought":true}]}}],"usageMetadata":{"promptTokenCount":9}}
{"candidates":[{"content":{"role":"model","parts":[{"text":"It "}]}}]}
{"candidates":[{"content":{"role":"model","parts":[{"text":"is."}]}}]}
{"candidates":[{"content":{"role":"model","parts":[{"functionCall":{"id":"fc_1","name":"f","args":{"a":[1,2]}},"thoughtSignature":"c2ln"}]}}]}
{"candidates":[{"content":{"role":"model","parts":[{"text":""}]},"finishReason":"STOP"}],"usageMetadata":{"promptTokenCount":9,"candidatesTokenCount":4,"thoughtsTokenCount":2,"totalTokenCount":15}}`
	r := record(t, "text/event-stream", "data: "+strings.ReplaceAll(pieces, "\n", "\r\n\r\ndata: ")+"\r\n\r\n")
	text, thoughts := "", ""
	var calls []*genai.Part
	var usage *genai.GenerateContentResponseUsageMetadata
	for resp, err := range r.gemini(t).Models.GenerateContentStream(t.Context(), "m", genai.Text("q"), nil) {
		if err != nil {
			t.Fatal(err)
		}
		usage = resp.UsageMetadata
		for _, p := range resp.Candidates[0].Content.Parts {
			switch {
			case p.FunctionCall != nil:
				calls = append(calls, p)
			case p.Thought:
				thoughts += p.Text
			default:
				text += p.Text
			}
		}
	}
	path := r.path
	resp := say(t, geminiOf(t, r, action.Model), `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`)
	if path != r.path {
		t.Errorf("ours %s, theirs %s", r.path, path)
	}
	if resp.Text() != text || resp.Reasoning() != thoughts {
		t.Errorf("ours %q and %q, theirs %q and %q", resp.Text(), resp.Reasoning(), text, thoughts)
	}
	ours := resp.ToolRequests()
	if len(ours) != len(calls) || len(ours) != 1 {
		t.Fatalf("%d calls, theirs %d", len(ours), len(calls))
	}
	args, _ := json.Marshal(calls[0].FunctionCall.Args)
	same(t, "arguments", string(ours[0].ToolRequest.Input), string(args))
	signature, _ := json.Marshal(calls[0].ThoughtSignature)
	if ours[0].ToolRequest.Ref != calls[0].FunctionCall.ID || string(ours[0].Metadata["thoughtSignature"]) != string(signature) {
		t.Errorf("ours %+v, theirs %+v", ours[0], calls[0])
	}
	if u := resp.Usage; u.InputTokens != int(usage.PromptTokenCount) || u.OutputTokens != int(usage.CandidatesTokenCount) || u.ThoughtsTokens != int(usage.ThoughtsTokenCount) || u.TotalTokens != int(usage.TotalTokenCount) {
		t.Errorf("usage %+v, theirs %+v", u, usage)
	}
}

func TestGeminiEmbedsAlike(t *testing.T) {
	r := record(t, "application/json", `{"embeddings":[{"values":[1,2]},{"values":[3,4]}]}`)
	if _, err := geminiOf(t, r, action.Embedder).RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2}}`), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.path, r.asked
	contents := []*genai.Content{{Parts: []*genai.Part{{Text: "a"}}}, {Parts: []*genai.Part{{Text: "b"}}}}
	if _, err := r.gemini(t).Models.EmbedContent(t.Context(), "m", contents, &genai.EmbedContentConfig{TaskType: "RETRIEVAL_DOCUMENT", Title: "T", OutputDimensionality: genai.Ptr[int32](2)}); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "body", asked, r.asked)
}
