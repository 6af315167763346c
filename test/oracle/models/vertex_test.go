package models

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"
	"time"

	claude "github.com/anthropics/anthropic-sdk-go/v2"
	claudeoption "github.com/anthropics/anthropic-sdk-go/v2/option"
	"github.com/anthropics/anthropic-sdk-go/v2/vertex"
	"golang.org/x/oauth2"
	"golang.org/x/oauth2/google"
	"google.golang.org/genai"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/vertexai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

func vertexOf(t *testing.T, r *recorder, kind action.Kind, id string) action.Action {
	t.Helper()
	p, err := vertexai.New(vertexai.Config{BaseURL: r.URL, Project: "p", Location: "us-east5", Token: func(context.Context) (string, time.Time, error) {
		return "token", time.Now().Add(time.Hour), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := p.Resolve(t.Context(), action.Key{Kind: kind, Name: "vertexai/" + id})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *recorder) vertex(t *testing.T) *genai.Client {
	t.Helper()
	c, err := genai.NewClient(t.Context(), &genai.ClientConfig{
		Backend: genai.BackendVertexAI, Project: "p", Location: "us-east5", HTTPClient: http.DefaultClient, HTTPOptions: genai.HTTPOptions{BaseURL: r.URL},
	})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Gemini on Vertex AI is asked at the place, and with the body, of the vendor's client.
func TestVertexIsAskedAlike(t *testing.T) {
	const conversation = `{"messages":[{"role":"system","content":[{"text":"Be brief."}]},
		{"role":"user","content":[{"text":"Look."},{"media":{"url":"gs://b/v.mp4"}}]},
		{"role":"model","content":[{"toolRequest":{"name":"weather","ref":"fc_1","input":{"city":"Oslo"}},"metadata":{"thoughtSignature":"c2lnMg=="}}]},
		{"role":"tool","content":[{"toolResponse":{"name":"weather","ref":"fc_1","output":{"c":1}}}]}],
		"tools":[{"name":"weather","description":"The weather","inputSchema":{"type":"object","properties":{"city":{"type":"string"}}}}],
		"config":{"temperature":0.5,"maxOutputTokens":99,"labels":{"team":"a"},"safetySettings":[{"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"}]}}`
	contents := []*genai.Content{
		{Role: "user", Parts: []*genai.Part{{Text: "Look."}, {FileData: &genai.FileData{MIMEType: "video/mp4", FileURI: "gs://b/v.mp4"}}}},
		{Role: "model", Parts: []*genai.Part{{FunctionCall: &genai.FunctionCall{ID: "fc_1", Name: "weather", Args: map[string]any{"city": "Oslo"}}, ThoughtSignature: []byte("sig2")}}},
		{Role: "user", Parts: []*genai.Part{{FunctionResponse: &genai.FunctionResponse{ID: "fc_1", Name: "weather", Response: map[string]any{"name": "weather", "content": map[string]any{"c": 1}}}}}},
	}
	config := &genai.GenerateContentConfig{
		SystemInstruction: &genai.Content{Parts: []*genai.Part{{Text: "Be brief."}}}, Temperature: genai.Ptr[float32](0.5), MaxOutputTokens: 99, Labels: map[string]string{"team": "a"},
		SafetySettings: []*genai.SafetySetting{{Category: "HARM_CATEGORY_HARASSMENT", Threshold: "BLOCK_NONE"}},
		Tools:          []*genai.Tool{{FunctionDeclarations: []*genai.FunctionDeclaration{{Name: "weather", Description: "The weather", ParametersJsonSchema: map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}}}}},
	}
	r := record(t, "application/json", `{"candidates":[{"content":{"role":"model","parts":[{"text":"x"}]},"finishReason":"STOP"}]}`)
	for id, theirs := range map[string]string{"gemini-2.5-flash": "gemini-2.5-flash", "publishers/acme/models/m": "publishers/acme/models/m"} {
		if _, err := vertexOf(t, r, action.Model, id).RunJSON(t.Context(), json.RawMessage(conversation), nil); err != nil {
			t.Fatal(err)
		}
		path, asked := r.path, r.asked
		if _, err := r.vertex(t).Models.GenerateContent(t.Context(), theirs, contents, config); err != nil {
			t.Fatal(err)
		}
		if path != r.path {
			t.Errorf("ours %s, theirs %s", path, r.path)
		}
		same(t, "body", asked, r.asked)
	}
}

func TestVertexEmbedsAlike(t *testing.T) {
	r := record(t, "application/json", `{"predictions":[{"embeddings":{"values":[1,2]}},{"embeddings":{"values":[3,4]}}]}`)
	if _, err := vertexOf(t, r, action.Embedder, "text-embedding-005").RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"taskType":"RETRIEVAL_DOCUMENT","title":"T","outputDimensionality":2,"autoTruncate":true}}`), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.path, r.asked
	contents := []*genai.Content{{Parts: []*genai.Part{{Text: "a"}}}, {Parts: []*genai.Part{{Text: "b"}}}}
	if _, err := r.vertex(t).Models.EmbedContent(t.Context(), "text-embedding-005", contents, &genai.EmbedContentConfig{TaskType: "RETRIEVAL_DOCUMENT", Title: "T", OutputDimensionality: genai.Ptr[int32](2), AutoTruncate: true}); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "body", asked, r.asked)
}

// Claude on Vertex AI is asked as the vendor's client asks it. Only the version in the body is
// ours: the client writes that of its own API, and Vertex AI documents vertex-2023-10-16.
func TestClaudeOnVertexIsAskedAlike(t *testing.T) {
	r := record(t, "application/json", `{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`)
	if _, err := vertexOf(t, r, action.Model, "claude-sonnet-4-5@20250929").RunJSON(t.Context(), json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"maxOutputTokens":9}}`), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.path, r.asked
	creds := &google.Credentials{TokenSource: oauth2.StaticTokenSource(&oauth2.Token{AccessToken: "token"})}
	client := claude.NewClient(vertex.WithCredentials(t.Context(), "us-east5", "p", creds), claudeoption.WithBaseURL(r.URL), claudeoption.WithMaxRetries(0))
	if _, err := client.Messages.New(t.Context(), claude.MessageNewParams{Model: "claude-sonnet-4-5@20250929", MaxTokens: 9, Messages: []claude.MessageParam{claude.NewUserMessage(claude.NewTextBlock("q"))}}); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	ours, theirs := map[string]any{}, map[string]any{}
	if err := json.Unmarshal([]byte(asked), &ours); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal([]byte(r.asked), &theirs); err != nil {
		t.Fatal(err)
	}
	t.Logf("versions: ours %v, theirs %v", ours["anthropic_version"], theirs["anthropic_version"])
	delete(ours, "anthropic_version")
	delete(theirs, "anthropic_version")
	a, _ := json.Marshal(ours)
	b, _ := json.Marshal(theirs)
	same(t, "body", string(a), string(b))
}
