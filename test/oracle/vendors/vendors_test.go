//go:build peers

package vendors

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	sdk "github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

// recorder answers every request with one body and keeps what it was asked last.
type recorder struct {
	*httptest.Server
	contentType, answer string
	path, asked, sent   string // sent is the request's content type
}

func record(t *testing.T, contentType, answer string) *recorder {
	t.Helper()
	r := &recorder{contentType: contentType, answer: answer}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, err := io.ReadAll(req.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.path, r.asked, r.sent = req.URL.Path, string(body), req.Header.Get("Content-Type")
		w.Header().Set("Content-Type", r.contentType)
		_, _ = io.WriteString(w, r.answer)
	}))
	t.Cleanup(r.Close)
	return r
}

func (r *recorder) client() sdk.Client {
	return sdk.NewClient(option.WithBaseURL(r.URL), option.WithAPIKey("k"), option.WithMaxRetries(0))
}

func (r *recorder) ours(t *testing.T, kind action.Kind, id string) action.Action {
	t.Helper()
	p, err := openai.New(openai.Config{BaseURL: r.URL, APIKey: "k"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	a, err := p.Resolve(t.Context(), action.Key{Kind: kind, Name: "openai/" + id})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// same compares two JSON texts, numbers as JavaScript reads them.
func same(t *testing.T, what, ours, theirs string) {
	t.Helper()
	var a, b any
	if err := json.Unmarshal([]byte(ours), &a); err != nil {
		t.Fatalf("%s: ours %q: %v", what, ours, err)
	}
	if err := json.Unmarshal([]byte(theirs), &b); err != nil {
		t.Fatalf("%s: theirs %q: %v", what, theirs, err)
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	if !bytes.Equal(x, y) {
		t.Errorf("%s:\nours   %s\ntheirs %s", what, x, y)
	}
}

func compact(t *testing.T, raw []byte) string {
	t.Helper()
	var buf bytes.Buffer
	if err := json.Compact(&buf, raw); err != nil {
		t.Fatal(err)
	}
	return buf.String()
}

const bodies = "../../../builtin/model/openai/testdata/requests"

// extensions are bodies that hold what OpenAI's client has no type for, and why.
var extensions = map[string]string{
	"config-wire":     "extra fields are sent as they are",
	"media-video-url": "video_url is an extension of other servers",
}

// Every body that this project's tests pin is sent again by the vendor's client, from
// its own types: what they have no place for would be lost.
func TestBodiesFitTheVendorsTypes(t *testing.T) {
	files, err := filepath.Glob(filepath.Join(bodies, "*.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no bodies:", err)
	}
	compared := 0
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var pinned struct{ Body json.RawMessage }
		if err := json.Unmarshal(raw, &pinned); err != nil {
			t.Fatal(err)
		}
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		if len(pinned.Body) == 0 || extensions[name] != "" {
			continue
		}
		var params sdk.ChatCompletionNewParams
		if err := json.Unmarshal(pinned.Body, &params); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		r := record(t, "application/json", `{"choices":[{"message":{"content":"x"}}]}`)
		client := r.client()
		if bytes.Contains(pinned.Body, []byte(`"stream":`)) || bytes.Contains(pinned.Body, []byte(`"stream_options"`)) {
			r.contentType, r.answer = "text/event-stream", "data: [DONE]\n\n"
			stream := client.Chat.Completions.NewStreaming(t.Context(), params)
			for stream.Next() {
			}
			_ = stream.Close()
		} else if _, err := client.Chat.Completions.New(t.Context(), params); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		// Their types leave out a content that is null, which the API reads alike; older
		// servers want the field.
		same(t, name, strings.ReplaceAll(compact(t, pinned.Body), `"content":null,`, ""), r.asked)
		compared++
	}
	if compared < 20 {
		t.Errorf("only %d bodies were compared", compared)
	}
}

// answers are streams as OpenAI sends them.
var answers = map[string]string{
	"text and usage": `{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"logprobs":null,"finish_reason":null}],"usage":null}
{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"Hi"},"finish_reason":null}],"usage":null}
{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":" you"},"finish_reason":null}],"usage":null}
{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}
{"id":"c1","object":"chat.completion.chunk","created":1,"model":"m","choices":[],"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5}}`,
	"parallel calls": `{"id":"c2","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"call_a","type":"function","function":{"name":"f","arguments":""}}]},"finish_reason":null}]}
{"id":"c2","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{\"a\":"}}]},"finish_reason":null}]}
{"id":"c2","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]},"finish_reason":null}]}
{"id":"c2","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"tool_calls":[{"index":1,"id":"call_b","type":"function","function":{"name":"g","arguments":"{}"}}]},"finish_reason":null}]}
{"id":"c2","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"tool_calls"}]}`,
	"a refusal": `{"id":"c3","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","refusal":"I can't"},"finish_reason":null}]}
{"id":"c3","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"refusal":" help."},"finish_reason":null}]}
{"id":"c3","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}`,
}

// The same bytes give the same text, refusal, calls and counts.
func TestStreamsAreReadAlike(t *testing.T) {
	for name, pieces := range answers {
		r := record(t, "text/event-stream", "data: "+strings.ReplaceAll(pieces, "\n", "\n\ndata: ")+"\n\ndata: [DONE]\n\n")
		client := r.client()
		stream := client.Chat.Completions.NewStreaming(t.Context(), sdk.ChatCompletionNewParams{Model: "m", Messages: []sdk.ChatCompletionMessageParamUnion{sdk.UserMessage("q")}})
		var whole sdk.ChatCompletionAccumulator
		for stream.Next() {
			whole.AddChunk(stream.Current())
		}
		if err := stream.Err(); err != nil {
			t.Fatal(name, err)
		}
		resp := say(t, r.ours(t, action.Model, "m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}],"tools":[{"name":"f","description":""},{"name":"g","description":""}]}`)
		message := whole.Choices[0].Message
		text := resp.Text()
		if message.Refusal != "" {
			text = resp.FinishMessage
		}
		if want := message.Content + message.Refusal; text != want {
			t.Errorf("%s: ours %q, theirs %q", name, text, want)
		}
		calls := resp.ToolRequests()
		if len(calls) != len(message.ToolCalls) {
			t.Fatalf("%s: %d calls, theirs %d", name, len(calls), len(message.ToolCalls))
		}
		for i, call := range message.ToolCalls {
			ours := calls[i].ToolRequest
			if ours.Ref != call.ID || ours.Name != call.Function.Name {
				t.Errorf("%s: call %d: ours %s %s, theirs %s %s", name, i, ours.Ref, ours.Name, call.ID, call.Function.Name)
			}
			same(t, name, string(ours.Input), call.Function.Arguments)
		}
		if resp.Usage != nil && int64(resp.Usage.TotalTokens) != whole.Usage.TotalTokens {
			t.Errorf("%s: usage %d, theirs %d", name, resp.Usage.TotalTokens, whole.Usage.TotalTokens)
		}
	}
}

// say runs a model, streaming.
func say(t *testing.T, a action.Action, request string) *model.Response {
	t.Helper()
	out, err := a.RunJSON(t.Context(), json.RawMessage(request), func(json.RawMessage) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	resp := &model.Response{}
	if err := json.Unmarshal(out, resp); err != nil {
		t.Fatal(err)
	}
	return resp
}

// Embeddings, pictures and speech are asked for alike, at the same path.
func TestOtherAPIsAreAskedAlike(t *testing.T) {
	for name, c := range map[string]struct {
		kind        action.Kind
		id, ours    string
		contentType string
		answer      string
		theirs      func(ctx context.Context, client sdk.Client) error
	}{
		"embeddings": {
			action.Embedder, "text-embedding-3-small", `{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":{"dimensions":2,"encodingFormat":"float"}}`,
			"application/json", `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[1,2]},{"object":"embedding","index":1,"embedding":[3,4]}]}`,
			func(ctx context.Context, client sdk.Client) error {
				_, err := client.Embeddings.New(ctx, sdk.EmbeddingNewParams{
					Model: "text-embedding-3-small", Dimensions: sdk.Int(2), EncodingFormat: "float",
					Input: sdk.EmbeddingNewParamsInputUnion{OfArrayOfStrings: []string{"a", "b"}},
				})
				return err
			},
		},
		"pictures": {
			action.Model, "dall-e-3", `{"messages":[{"role":"user","content":[{"text":"a cat"}]}],"config":{"n":1,"size":"1024x1024","style":"vivid"}}`,
			"application/json", `{"created":1,"data":[{"b64_json":"AA=="}]}`,
			func(ctx context.Context, client sdk.Client) error {
				_, err := client.Images.Generate(ctx, sdk.ImageGenerateParams{Model: "dall-e-3", Prompt: "a cat", N: sdk.Int(1), Size: "1024x1024", Style: "vivid", ResponseFormat: "b64_json"})
				return err
			},
		},
		"speech": {
			action.Model, "tts-1", `{"messages":[{"role":"user","content":[{"text":"hello"}]}],"config":{"voice":"nova","speed":1.5,"response_format":"wav"}}`,
			"audio/wav", "RIFF",
			func(ctx context.Context, client sdk.Client) error {
				resp, err := client.Audio.Speech.New(ctx, sdk.AudioSpeechNewParams{
					Model: "tts-1", Input: "hello", Voice: sdk.AudioSpeechNewParamsVoiceUnion{OfString: sdk.String("nova")}, Speed: sdk.Float(1.5), ResponseFormat: "wav",
				})
				if err == nil {
					err = resp.Body.Close()
				}
				return err
			},
		},
	} {
		r := record(t, c.contentType, c.answer)
		if _, err := r.ours(t, c.kind, c.id).RunJSON(t.Context(), json.RawMessage(c.ours), nil); err != nil {
			t.Fatal(name, err)
		}
		path, asked := r.path, r.asked
		if err := c.theirs(t.Context(), r.client()); err != nil {
			t.Fatal(name, err)
		}
		if path != r.path {
			t.Errorf("%s: ours %s, theirs %s", name, path, r.path)
		}
		same(t, name, asked, r.asked)
	}
}

// fields are a form's, sorted by name; files by their content.
func fields(t *testing.T, contentType, body string) string {
	t.Helper()
	_, params, err := mime.ParseMediaType(contentType)
	if err != nil {
		t.Fatal(err)
	}
	form, err := multipart.NewReader(strings.NewReader(body), params["boundary"]).ReadForm(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	all := map[string][]string{}
	for name, values := range form.Value {
		all[name] = values
	}
	for name, files := range form.File {
		for _, f := range files {
			file, err := f.Open()
			if err != nil {
				t.Fatal(err)
			}
			content, err := io.ReadAll(file)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = append(all[name], f.Filename+" "+f.Header.Get("Content-Type")+" "+string(content))
		}
	}
	raw, err := json.Marshal(all)
	if err != nil {
		t.Fatal(err)
	}
	return string(raw)
}

// A sound is sent in the same form.
func TestSoundsAreSentAlike(t *testing.T) {
	r := record(t, "application/json", `{"text":"hi"}`)
	if _, err := r.ours(t, action.Model, "gpt-4o-transcribe").RunJSON(t.Context(), json.RawMessage(`{"messages":[{"role":"user","content":[{"text":"names: Ada"},{"media":{"url":"data:audio/mpeg;base64,YWJj"}}]}],
		"config":{"language":"en","temperature":0.5,"timestamp_granularities":["word","segment"],"include":["logprobs"],"chunking_strategy":{"type":"server_vad","threshold":0.5}}}`), nil); err != nil {
		t.Fatal(err)
	}
	path, ours := r.path, fields(t, r.sent, r.asked)
	client := r.client()
	if _, err := client.Audio.Transcriptions.New(t.Context(), sdk.AudioTranscriptionNewParams{
		Model: "gpt-4o-transcribe", File: sdk.File(strings.NewReader("abc"), "input.mp3", "audio/mpeg"), Prompt: sdk.String("names: Ada"), Language: sdk.String("en"), Temperature: sdk.Float(0.5),
		TimestampGranularities: []string{"word", "segment"}, Include: []sdk.TranscriptionInclude{"logprobs"}, ResponseFormat: "json",
		ChunkingStrategy: sdk.AudioTranscriptionNewParamsChunkingStrategyUnion{OfAudioTranscriptionNewsChunkingStrategyVadConfig: &sdk.AudioTranscriptionNewParamsChunkingStrategyVadConfig{Type: "server_vad", Threshold: sdk.Float(0.5)}},
	}); err != nil {
		t.Fatal(err)
	}
	if path != r.path {
		t.Errorf("ours %s, theirs %s", path, r.path)
	}
	same(t, "form", ours, fields(t, r.sent, r.asked))
}
