package models

import (
	"encoding/json"
	"strings"
	"testing"

	claude "github.com/anthropics/anthropic-sdk-go/v2"
	claudeoption "github.com/anthropics/anthropic-sdk-go/v2/option"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/anthropic"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

func claudeOf(t *testing.T, r *recorder) action.Action {
	t.Helper()
	p, err := anthropic.New(anthropic.Config{BaseURL: r.URL, APIKey: "k", Version: anthropic.Version2026})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: "anthropic/m"})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *recorder) claude() claude.Client {
	return claude.NewClient(claudeoption.WithBaseURL(r.URL), claudeoption.WithAPIKey("k"), claudeoption.WithMaxRetries(0))
}

// A conversation that holds everything goes out as the vendor's client sends it from its
// own types.
func TestClaudeIsAskedAlike(t *testing.T) {
	const conversation = `{"messages":[
		{"role":"system","content":[{"text":"Be brief.","metadata":{"cacheControl":{"type":"ephemeral","ttl":"1h"}}}]},
		{"role":"user","content":[{"text":"Look."},{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"https://x.test/a.jpg"}},
			{"media":{"url":"data:application/pdf;base64,AA=="},"metadata":{"title":"T","citations":{"enabled":true}}},{"media":{"url":"data:text/plain,a"}}]},
		{"role":"model","content":[{"reasoning":"hm","metadata":{"signature":"s=="}},{"reasoning":"","metadata":{"redactedThinking":"r=="}},{"text":"One moment."},
			{"toolRequest":{"name":"weather","ref":"toolu_1","input":{"city":"Oslo"}}},{"toolRequest":{"name":"now","ref":"toolu_2","input":{}}}]},
		{"role":"tool","content":[{"toolResponse":{"name":"weather","ref":"toolu_1","output":"cold","content":[{"media":{"url":"data:image/png;base64,AA=="}}]}},{"toolResponse":{"name":"now","ref":"toolu_2","output":"noon"}}]}],
		"tools":[{"name":"weather","description":"The weather","inputSchema":{"type":"object","properties":{"city":{"type":"string"}},"required":["city"]}},{"name":"now","description":"The time"}],
		"toolChoice":"required",
		"output":{"format":"json","constrained":true,"schema":{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}},
		"config":{"maxOutputTokens":2048,"stopSequences":["x"],"thinking":{"enabled":true,"budgetTokens":1024},"effort":"low","metadata":{"user_id":"u"},"serviceTier":"auto","disableParallelToolUse":true}}`
	theirs := claude.MessageNewParams{
		Model: "m", MaxTokens: 2048, StopSequences: []string{"x"},
		System: []claude.TextBlockParam{{Text: "Be brief.", CacheControl: claude.CacheControlEphemeralParam{TTL: "1h"}}},
		Messages: []claude.MessageParam{
			claude.NewUserMessage(claude.NewTextBlock("Look."), claude.NewImageBlockBase64("image/png", "AA=="), claude.NewImageBlock(claude.URLImageSourceParam{URL: "https://x.test/a.jpg"}),
				claude.ContentBlockParamUnion{OfDocument: &claude.DocumentBlockParam{
					Source: claude.DocumentBlockParamSourceUnion{OfBase64: &claude.Base64PDFSourceParam{Data: "AA=="}}, Title: claude.String("T"), Citations: claude.CitationsConfigParam{Enabled: claude.Bool(true)},
				}},
				claude.NewDocumentBlock(claude.PlainTextSourceParam{Data: "a"})),
			claude.NewAssistantMessage(claude.NewThinkingBlock("s==", "hm"), claude.NewRedactedThinkingBlock("r=="), claude.NewTextBlock("One moment."),
				claude.NewToolUseBlock("toolu_1", json.RawMessage(`{"city":"Oslo"}`), "weather"), claude.NewToolUseBlock("toolu_2", json.RawMessage(`{}`), "now")),
			claude.NewUserMessage(
				claude.ContentBlockParamUnion{OfToolResult: &claude.ToolResultBlockParam{ToolUseID: "toolu_1", Content: []claude.ToolResultBlockParamContentUnion{
					{OfText: &claude.TextBlockParam{Text: "cold"}},
					{OfImage: &claude.ImageBlockParam{Source: claude.ImageBlockParamSourceUnion{OfBase64: &claude.Base64ImageSourceParam{MediaType: "image/png", Data: "AA=="}}}},
				}}},
				claude.ContentBlockParamUnion{OfToolResult: &claude.ToolResultBlockParam{ToolUseID: "toolu_2", Content: []claude.ToolResultBlockParamContentUnion{{OfText: &claude.TextBlockParam{Text: "noon"}}}}},
			),
		},
		Tools: []claude.ToolUnionParam{
			{OfTool: &claude.ToolParam{Name: "weather", Description: claude.String("The weather"), InputSchema: claude.ToolInputSchemaParam{Properties: map[string]any{"city": map[string]string{"type": "string"}}, Required: []string{"city"}}}},
			{OfTool: &claude.ToolParam{Name: "now", Description: claude.String("The time"), InputSchema: claude.ToolInputSchemaParam{Properties: map[string]any{}}}},
		},
		ToolChoice: claude.ToolChoiceUnionParam{OfAny: &claude.ToolChoiceAnyParam{DisableParallelToolUse: claude.Bool(true)}},
		Thinking:   claude.ThinkingConfigParamOfEnabled(1024),
		OutputConfig: claude.OutputConfigParam{Effort: "low", Format: claude.JSONOutputFormatParam{Schema: map[string]any{
			"type": "object", "properties": map[string]any{"a": map[string]string{"type": "string"}}, "required": []string{"a"}, "additionalProperties": false,
		}}},
		Metadata: claude.MetadataParam{UserID: claude.String("u")}, ServiceTier: "auto",
	}
	const answer = `{"id":"1","type":"message","role":"assistant","model":"m","content":[{"type":"text","text":"x"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}`
	r := record(t, "application/json", answer)
	if _, err := claudeOf(t, r).RunJSON(t.Context(), json.RawMessage(conversation), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.path, r.asked
	client := r.claude()
	if _, err := client.Messages.New(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "body", asked, r.asked)
}

// claudeStreams are streams as Anthropic sends them.
var claudeStreams = map[string]string{
	"thinking, text and calls": `{"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":10,"cache_creation_input_tokens":0,"cache_read_input_tokens":5,"output_tokens":1}}}
{"type":"content_block_start","index":0,"content_block":{"type":"thinking","thinking":"","signature":""}}
{"type":"content_block_delta","index":0,"delta":{"type":"thinking_delta","thinking":"hm"}}
{"type":"content_block_delta","index":0,"delta":{"type":"signature_delta","signature":"s=="}}
{"type":"content_block_stop","index":0}
{"type":"content_block_start","index":1,"content_block":{"type":"text","text":""}}
{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"It "}}
{"type":"content_block_delta","index":1,"delta":{"type":"text_delta","text":"is."}}
{"type":"content_block_stop","index":1}
{"type":"content_block_start","index":2,"content_block":{"type":"tool_use","id":"toolu_1","name":"f","input":{}}}
{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"{\"a\":"}}
{"type":"content_block_delta","index":2,"delta":{"type":"input_json_delta","partial_json":"[1,2]}"}}
{"type":"content_block_stop","index":2}
{"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":40}}
{"type":"message_stop"}`,
	"a stop sequence": `{"type":"message_start","message":{"id":"msg_2","type":"message","role":"assistant","model":"m","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":1,"output_tokens":1}}}
{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}
{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"a"}}
{"type":"content_block_stop","index":0}
{"type":"message_delta","delta":{"stop_reason":"stop_sequence","stop_sequence":"x"},"usage":{"output_tokens":2}}
{"type":"message_stop"}`,
}

// The same bytes give the same blocks and counts.
func TestClaudesStreamsAreReadAlike(t *testing.T) {
	for name, pieces := range claudeStreams {
		body := ""
		for line := range strings.SplitSeq(pieces, "\n") {
			var head struct{ Type string }
			_ = json.Unmarshal([]byte(line), &head)
			body += "event: " + head.Type + "\ndata: " + line + "\n\n"
		}
		r := record(t, "text/event-stream", body)
		client := r.claude()
		stream := client.Messages.NewStreaming(t.Context(), claude.MessageNewParams{Model: "m", MaxTokens: 9, Messages: []claude.MessageParam{claude.NewUserMessage(claude.NewTextBlock("q"))}})
		var whole claude.Message
		for stream.Next() {
			if err := whole.Accumulate(stream.Current()); err != nil {
				t.Fatal(name, err)
			}
		}
		if err := stream.Err(); err != nil {
			t.Fatal(name, err)
		}
		resp := say(t, claudeOf(t, r), `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`)
		if len(resp.Message.Content) != len(whole.Content) {
			t.Fatalf("%s: %d parts, theirs %d", name, len(resp.Message.Content), len(whole.Content))
		}
		for i, theirs := range whole.Content {
			ours := resp.Message.Content[i]
			switch theirs.Type {
			case "text":
				if ours.Text == nil || *ours.Text != theirs.Text {
					t.Errorf("%s: part %d: ours %+v, theirs %q", name, i, ours, theirs.Text)
				}
			case "thinking":
				if ours.Reasoning == nil || *ours.Reasoning != theirs.Thinking || string(ours.Metadata["signature"]) != `"`+theirs.Signature+`"` {
					t.Errorf("%s: part %d: ours %+v, theirs %q", name, i, ours, theirs.Thinking)
				}
			case "tool_use":
				if ours.ToolRequest == nil || ours.ToolRequest.Ref != theirs.ID || ours.ToolRequest.Name != theirs.Name {
					t.Fatalf("%s: part %d: ours %+v, theirs %s", name, i, ours, theirs.Name)
				}
				same(t, name, string(ours.ToolRequest.Input), string(theirs.Input))
			}
		}
		u := whole.Usage
		if int64(resp.Usage.InputTokens) != u.InputTokens+u.CacheReadInputTokens+u.CacheCreationInputTokens || int64(resp.Usage.OutputTokens) != u.OutputTokens {
			t.Errorf("%s: usage %+v, theirs %+v", name, resp.Usage, u)
		}
	}
}
