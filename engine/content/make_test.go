package content_test

import (
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

// Each constructor makes a part of its kind, of which the predicates tell no other, and which
// is written as Genkit writes it.
func TestPartsOfEachKind(t *testing.T) {
	is := map[string]func(*content.Part) bool{
		"text": (*content.Part).IsText, "media": (*content.Part).IsMedia, "image": (*content.Part).IsImage, "audio": (*content.Part).IsAudio, "video": (*content.Part).IsVideo,
		"data": (*content.Part).IsData, "reasoning": (*content.Part).IsReasoning, "request": (*content.Part).IsToolRequest, "response": (*content.Part).IsToolResponse,
		"resource": (*content.Part).IsResource, "custom": (*content.Part).IsCustom, "interrupt": (*content.Part).IsInterrupt,
	}
	interrupted := content.NewToolRequestPart(&content.ToolRequest{Name: "f"})
	interrupted.Metadata = content.Metadata{"interrupt": json.RawMessage(`true`)}
	for _, c := range []struct {
		part  content.Part
		kinds []string
		json  string
	}{
		{content.NewTextPart(""), []string{"text"}, `{"text":""}`},
		{content.NewMediaPart("image/png", "https://x/a"), []string{"media", "image"}, `{"media":{"url":"https://x/a","contentType":"image/png"}}`},
		{content.NewMediaPart("", "data:audio/wav;base64,AA=="), []string{"media", "audio"}, `{"media":{"url":"data:audio/wav;base64,AA=="}}`},
		{content.NewMediaPart("video/mp4", "https://x/b"), []string{"media", "video"}, `{"media":{"url":"https://x/b","contentType":"video/mp4"}}`},
		{content.NewMediaPart("application/pdf", "https://x/c"), []string{"media"}, `{"media":{"url":"https://x/c","contentType":"application/pdf"}}`},
		{content.NewDataPart(json.RawMessage(`null`)), []string{"data"}, `{"data":null}`},
		{content.NewReasoningPart("because", nil), []string{"reasoning"}, `{"reasoning":"because"}`},
		{content.NewReasoningPart("because", []byte{1, 2}), []string{"reasoning"}, `{"reasoning":"because","metadata":{"signature":"AQI="}}`},
		{content.NewToolRequestPart(&content.ToolRequest{Name: "f", Ref: "1", Input: json.RawMessage(`{"a":1.0}`)}), []string{"request"}, `{"toolRequest":{"name":"f","ref":"1","input":{"a":1.0}}}`},
		{interrupted, []string{"request", "interrupt"}, `{"toolRequest":{"name":"f"},"metadata":{"interrupt":true}}`},
		{content.NewToolResponsePart(&content.ToolResponse{Name: "f", Output: json.RawMessage(`2`)}), []string{"response"}, `{"toolResponse":{"name":"f","output":2}}`},
		{content.NewResourcePart("file:///a"), []string{"resource"}, `{"resource":{"uri":"file:///a"}}`},
		{content.NewCustomPart(json.RawMessage(`{"x":1}`)), []string{"custom"}, `{"custom":{"x":1}}`},
	} {
		var kinds []string
		for name, f := range is {
			if f(&c.part) {
				kinds = append(kinds, name)
			}
		}
		assert.ElementsMatch(t, c.kinds, kinds, c.json)
		raw, err := json.Marshal(c.part)
		require.NoError(t, err)
		assert.JSONEq(t, c.json, string(raw))
		var back content.Part
		require.NoError(t, json.Unmarshal(raw, &back))
		assert.Equal(t, c.part, back, c.json)
	}
}
