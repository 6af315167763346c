package models

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/protocol/eventstream"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/document"
	"github.com/aws/aws-sdk-go-v2/service/bedrockruntime/types"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

// profileARN is the id of an inference profile, all of which has to be escaped.
const profileARN = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.m-v1:0"

func bedrockOf(t *testing.T, r *recorder) action.Action {
	t.Helper()
	p, err := bedrock.New(bedrock.Config{BaseURL: r.URL, Region: "eu-central-1", Credentials: func(context.Context) (bedrock.Credentials, error) {
		return bedrock.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}, nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Model, Name: "bedrock/" + profileARN})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (r *recorder) bedrock() *bedrockruntime.Client {
	return bedrockruntime.New(bedrockruntime.Options{
		Region: "eu-central-1", BaseEndpoint: aws.String(r.URL), RetryMaxAttempts: 1,
		Credentials: aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
			return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}, nil
		}),
	})
}

// A conversation that holds everything goes out as the vendor's client sends it from its own
// types, to the same path.
func TestBedrockIsAskedAlike(t *testing.T) {
	const conversation = `{"messages":[
		{"role":"system","content":[{"text":"Be brief."},{"custom":{"bedrockCachePointType":"default"}}]},
		{"role":"user","content":[{"text":"Look."},{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"data:application/pdf;base64,AA=="},"metadata":{"title":"T"}},{"media":{"url":"s3://b/v.mp4"}}]},
		{"role":"model","content":[{"reasoning":"hm","metadata":{"bedrockReasoningSignature":"s=="}},{"text":"One moment."},{"toolRequest":{"name":"weather","ref":"t1","input":{"city":"Oslo"}}},{"toolRequest":{"name":"now","ref":"t2","input":{}}}]},
		{"role":"tool","content":[{"toolResponse":{"name":"weather","ref":"t1","output":"cold","content":[{"media":{"url":"data:image/png;base64,AA=="}}]}},{"toolResponse":{"name":"now","ref":"t2","output":"noon"}}]}],
		"tools":[{"name":"weather","description":"The weather","inputSchema":{"type":"object","properties":{"city":{"type":"string"}}}},{"name":"now","description":"The time"}],"toolChoice":"required",
		"config":{"maxOutputTokens":99,"temperature":0.5,"topP":0.25,"stopSequences":["x"],"additionalModelRequestFields":{"top_k":5}}}`
	text := func(s string) *types.ContentBlockMemberText { return &types.ContentBlockMemberText{Value: s} }
	image := types.ImageBlock{Format: "png", Source: &types.ImageSourceMemberBytes{Value: []byte{0}}}
	spec := func(name, description string, schema map[string]any) types.Tool {
		return &types.ToolMemberToolSpec{Value: types.ToolSpecification{Name: &name, Description: &description, InputSchema: &types.ToolInputSchemaMemberJson{Value: document.NewLazyDocument(schema)}}}
	}
	use := func(id, name string, input map[string]any) types.ContentBlock {
		return &types.ContentBlockMemberToolUse{Value: types.ToolUseBlock{ToolUseId: &id, Name: &name, Input: document.NewLazyDocument(input)}}
	}
	theirs := &bedrockruntime.ConverseInput{
		ModelId: aws.String(profileARN),
		System:  []types.SystemContentBlock{&types.SystemContentBlockMemberText{Value: "Be brief."}, &types.SystemContentBlockMemberCachePoint{Value: types.CachePointBlock{Type: "default"}}},
		Messages: []types.Message{
			{Role: "user", Content: []types.ContentBlock{
				text("Look."), &types.ContentBlockMemberImage{Value: image},
				&types.ContentBlockMemberDocument{Value: types.DocumentBlock{Format: "pdf", Name: aws.String("T"), Source: &types.DocumentSourceMemberBytes{Value: []byte{0}}}},
				&types.ContentBlockMemberVideo{Value: types.VideoBlock{Format: "mp4", Source: &types.VideoSourceMemberS3Location{Value: types.S3Location{Uri: aws.String("s3://b/v.mp4")}}}},
			}},
			{Role: "assistant", Content: []types.ContentBlock{
				&types.ContentBlockMemberReasoningContent{Value: &types.ReasoningContentBlockMemberReasoningText{Value: types.ReasoningTextBlock{Text: aws.String("hm"), Signature: aws.String("s==")}}},
				text("One moment."), use("t1", "weather", map[string]any{"city": "Oslo"}), use("t2", "now", map[string]any{}),
			}},
			{Role: "user", Content: []types.ContentBlock{
				&types.ContentBlockMemberToolResult{Value: types.ToolResultBlock{ToolUseId: aws.String("t1"), Content: []types.ToolResultContentBlock{&types.ToolResultContentBlockMemberText{Value: "cold"}, &types.ToolResultContentBlockMemberImage{Value: image}}}},
				&types.ContentBlockMemberToolResult{Value: types.ToolResultBlock{ToolUseId: aws.String("t2"), Content: []types.ToolResultContentBlock{&types.ToolResultContentBlockMemberText{Value: "noon"}}}},
			}},
		},
		InferenceConfig: &types.InferenceConfiguration{MaxTokens: aws.Int32(99), Temperature: aws.Float32(0.5), TopP: aws.Float32(0.25), StopSequences: []string{"x"}},
		ToolConfig: &types.ToolConfiguration{
			Tools: []types.Tool{
				spec("weather", "The weather", map[string]any{"type": "object", "properties": map[string]any{"city": map[string]any{"type": "string"}}}),
				spec("now", "The time", map[string]any{"type": "object", "properties": map[string]any{}}),
			},
			ToolChoice: &types.ToolChoiceMemberAny{},
		},
		AdditionalModelRequestFields: document.NewLazyDocument(map[string]any{"top_k": 5}),
	}
	r := record(t, "application/json", `{"output":{"message":{"role":"assistant","content":[{"text":"x"}]}},"stopReason":"end_turn","usage":{"inputTokens":1,"outputTokens":1,"totalTokens":2}}`)
	if _, err := bedrockOf(t, r).RunJSON(t.Context(), json.RawMessage(conversation), nil); err != nil {
		t.Fatal(err)
	}
	path, asked := r.last.URL.EscapedPath(), r.asked
	if _, err := r.bedrock().Converse(t.Context(), theirs); err != nil {
		t.Fatal(err)
	}
	if path != r.last.URL.EscapedPath() {
		t.Errorf("ours %s, theirs %s", path, r.last.URL.EscapedPath())
	}
	same(t, "body", asked, r.asked)
}

// The signature of a request is the one that the vendor's signer gives it at the same time.
func TestBedrockIsSignedAlike(t *testing.T) {
	r := record(t, "application/json", `{"output":{"message":{"role":"assistant","content":[{"text":"x"}]}},"stopReason":"end_turn"}`)
	if _, err := bedrockOf(t, r).RunJSON(t.Context(), json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"q"}]}]}`), nil); err != nil {
		t.Fatal(err)
	}
	ours := r.last.Header.Get("Authorization")
	at, err := time.Parse("20060102T150405Z", r.last.Header.Get("X-Amz-Date"))
	if err != nil {
		t.Fatal(err)
	}
	again, err := http.NewRequestWithContext(t.Context(), http.MethodPost, r.URL+r.last.URL.EscapedPath(), strings.NewReader(r.asked))
	if err != nil {
		t.Fatal(err)
	}
	again.Header.Set("Content-Type", "application/json")
	sum := sha256.Sum256([]byte(r.asked))
	credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret", SessionToken: "session"}
	if err := v4.NewSigner().SignHTTP(t.Context(), credentials, again, hex.EncodeToString(sum[:]), "bedrock", "eu-central-1", at); err != nil {
		t.Fatal(err)
	}
	if theirs := again.Header.Get("Authorization"); ours != theirs {
		t.Errorf("\nours   %s\ntheirs %s", ours, theirs)
	}
}

// The same frames, as the vendor's encoder writes them, give the same blocks and counts.
func TestBedrocksStreamsAreReadAlike(t *testing.T) {
	var body bytes.Buffer
	for _, ev := range [][2]string{
		{"messageStart", `{"role":"assistant"}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"hm"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"s=="}}}`},
		{"contentBlockStop", `{"contentBlockIndex":0}`},
		{"contentBlockDelta", `{"contentBlockIndex":1,"delta":{"text":"It "}}`},
		{"contentBlockDelta", `{"contentBlockIndex":1,"delta":{"text":"is."}}`},
		{"contentBlockStop", `{"contentBlockIndex":1}`},
		{"contentBlockStart", `{"contentBlockIndex":2,"start":{"toolUse":{"toolUseId":"t1","name":"f"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":2,"delta":{"toolUse":{"input":"{\"a\":"}}}`},
		{"contentBlockDelta", `{"contentBlockIndex":2,"delta":{"toolUse":{"input":"[1,2]}"}}}`},
		{"contentBlockStop", `{"contentBlockIndex":2}`},
		{"messageStop", `{"stopReason":"tool_use"}`},
		{"metadata", `{"usage":{"inputTokens":10,"outputTokens":40,"totalTokens":50},"metrics":{"latencyMs":9}}`},
	} {
		msg := eventstream.Message{Payload: []byte(ev[1])}
		msg.Headers.Set(":event-type", eventstream.StringValue(ev[0]))
		msg.Headers.Set(":content-type", eventstream.StringValue("application/json"))
		msg.Headers.Set(":message-type", eventstream.StringValue("event"))
		msg.Headers.Set("other", eventstream.Int64Value(7))
		if err := eventstream.NewEncoder().Encode(&body, msg); err != nil {
			t.Fatal(err)
		}
	}
	r := record(t, "application/vnd.amazon.eventstream", body.String())
	out, err := r.bedrock().ConverseStream(t.Context(), &bedrockruntime.ConverseStreamInput{ModelId: aws.String(profileARN), Messages: []types.Message{{Role: "user", Content: []types.ContentBlock{&types.ContentBlockMemberText{Value: "q"}}}}})
	if err != nil {
		t.Fatal(err)
	}
	path := r.last.URL.EscapedPath()
	var text, thinking, signature, input, id, stop string
	var usage *types.TokenUsage
	for ev := range out.GetStream().Events() {
		switch ev := ev.(type) {
		case *types.ConverseStreamOutputMemberContentBlockStart:
			id = *ev.Value.Start.(*types.ContentBlockStartMemberToolUse).Value.ToolUseId
		case *types.ConverseStreamOutputMemberContentBlockDelta:
			switch d := ev.Value.Delta.(type) {
			case *types.ContentBlockDeltaMemberText:
				text += d.Value
			case *types.ContentBlockDeltaMemberToolUse:
				input += *d.Value.Input
			case *types.ContentBlockDeltaMemberReasoningContent:
				switch d := d.Value.(type) {
				case *types.ReasoningContentBlockDeltaMemberText:
					thinking += d.Value
				case *types.ReasoningContentBlockDeltaMemberSignature:
					signature += d.Value
				}
			}
		case *types.ConverseStreamOutputMemberMessageStop:
			stop = string(ev.Value.StopReason)
		case *types.ConverseStreamOutputMemberMetadata:
			usage = ev.Value.Usage
		}
	}
	if err := out.GetStream().Close(); err != nil || stop != "tool_use" || usage == nil {
		t.Fatal(err, stop, usage)
	}
	resp := say(t, bedrockOf(t, r), `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""}]}`)
	if path != r.last.URL.EscapedPath() {
		t.Errorf("ours %s, theirs %s", r.last.URL.EscapedPath(), path)
	}
	if resp.Text() != text || resp.Reasoning() != thinking || string(resp.Message.Content[0].Metadata["bedrockReasoningSignature"]) != `"`+signature+`"` {
		t.Errorf("ours %+v, theirs %q, %q, %q", resp.Message, text, thinking, signature)
	}
	ours := resp.ToolRequests()
	if len(ours) != 1 || ours[0].ToolRequest.Ref != id {
		t.Fatalf("ours %+v, theirs %q", ours, id)
	}
	same(t, "arguments", string(ours[0].ToolRequest.Input), input)
	if u := resp.Usage; u.InputTokens != int(*usage.InputTokens) || u.OutputTokens != int(*usage.OutputTokens) || u.TotalTokens != int(*usage.TotalTokens) {
		t.Errorf("usage %+v, theirs %+v", u, usage)
	}
}
