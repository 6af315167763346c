package openai_test

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

// at answers requests of one path.
func at(t *testing.T, path string, answer http.HandlerFunc) http.HandlerFunc {
	t.Helper()
	return func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST "+path, r.Method+" "+r.URL.Path)
		answer(w, r)
	}
}

func provider(t *testing.T, s *server) *openai.Provider {
	t.Helper()
	return newProvider(t, openai.Config{BaseURL: s.URL, APIKey: testKey})
}

func TestModelsOfEveryKindAreListed(t *testing.T) {
	p := newProvider(t, openai.Config{APIKey: testKey})
	descs, err := p.List(t.Context())
	require.NoError(t, err)
	byKey := map[string]action.Desc{}
	for _, d := range descs {
		byKey[d.Key().String()] = d
	}
	for key, output := range map[string]string{
		"/model/openai/gpt-image-1": "media", "/model/openai/dall-e-3": "media", "/model/openai/tts-1": "media", "/model/openai/tts-1-hd": "media",
		"/model/openai/gpt-4o-mini-tts": "media", "/model/openai/whisper-1": "text", "/model/openai/gpt-4o-transcribe": "text", "/model/openai/gpt-4o-mini-transcribe": "text",
	} {
		var info model.Info
		require.NoError(t, json.Unmarshal(byKey[key].Metadata["model"], &info), key)
		assert.Equal(t, output, info.Supports.Output[0], key)
		assert.False(t, info.Supports.Multiturn || info.Supports.Tools || info.Supports.SystemRole, key)
		assert.Equal(t, output == "text", info.Supports.Media, key)
		_, err := schema.Compile(info.ConfigSchema)
		require.NoError(t, err, key)
	}
	for id, dimensions := range map[string]string{"text-embedding-3-small": "1536", "text-embedding-3-large": "3072", "text-embedding-ada-002": "1536"} {
		d := byKey["/embedder/openai/"+id]
		assert.Contains(t, string(d.Metadata["info"]), `"dimensions":`+dimensions, id)
		assert.Contains(t, string(d.Metadata["embedder"]), "encodingFormat", id)
	}
	own := newProvider(t, openai.Config{Name: "x", BaseURL: "http://127.0.0.1:1", NoModelListing: true, Models: []openai.ModelConfig{{ID: "watts"}, {ID: "say", Kind: openai.Speech}, {ID: "vec", Kind: openai.Embedding}}})
	descs, err = own.List(t.Context())
	require.NoError(t, err)
	require.Len(t, descs, 3)
	assert.Contains(t, string(descs[0].Metadata["model"]), "maxOutputTokens")
	assert.Contains(t, string(descs[1].Metadata["model"]), `"output":["media"]`)
	assert.Equal(t, "/embedder/x/vec", descs[2].Key().String())
	_, err = openai.New(openai.Config{Models: []openai.ModelConfig{{Kind: openai.Embedding}}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestPictures(t *testing.T) {
	const answer = `{"created":1,"data":[{"b64_json":"AA==","revised_prompt":"a cat, fat"},{"url":"https://e.example/c.png"}],"usage":{"input_tokens":3,"output_tokens":5,"total_tokens":8}}`
	s := serve(t, at(t, "/images/generations", document(200, answer)))
	p := provider(t, s)
	resp, _, err := generate(t.Context(), resolve(t, p, "dall-e-3"), request(t, `{"messages":[{"role":"user","content":[{"text":"a cat"}]}],"config":{"n":2,"size":"1024x1024","temperature":1,"topK":3}}`), true)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"dall-e-3","prompt":"a cat","n":2,"size":"1024x1024","response_format":"b64_json"}`, s.body(0))
	assert.JSONEq(t, `{"role":"model","content":[{"media":{"url":"data:image/png;base64,AA==","contentType":"image/png"},"metadata":{"revisedPrompt":"a cat, fat"}},
		{"media":{"url":"https://e.example/c.png","contentType":"image/png"}}]}`, toJSON(t, resp.Message))
	assert.Equal(t, model.FinishStop, resp.FinishReason)
	assert.JSONEq(t, `{"inputTokens":3,"outputTokens":5,"totalTokens":8}`, toJSON(t, resp.Usage))

	resp, _, err = generate(t.Context(), resolve(t, p, "gpt-image-1"), request(t, `{"messages":[{"role":"user","content":[{"text":"a cat"}]}],"config":{"output_format":"webp","response_format":"url","version":"gpt-image-9"}}`), false)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"gpt-image-9","prompt":"a cat","output_format":"webp"}`, s.body(1))
	assert.Equal(t, "data:image/webp;base64,AA==", resp.Message.Content[0].Media.URL)

	for config, want := range map[string]status.Code{`{"prompt":"x"}`: status.InvalidArgument, `{"n":11}`: status.InvalidArgument, `{"stream":true}`: status.InvalidArgument} {
		_, _, err := generate(t.Context(), resolve(t, p, "dall-e-3"), request(t, `{"messages":[{"role":"user","content":[{"text":"a cat"}]}],"config":`+config+`}`), false)
		assert.Equal(t, want, status.Of(err), config)
	}
	for _, in := range []string{`{"messages":[]}`, `{"messages":[{"role":"user","content":[]}]}`} {
		_, _, err := generate(t.Context(), resolve(t, p, "dall-e-3"), request(t, in), false)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
	for body, want := range map[string]status.Code{
		`{"data":[]}`: status.Internal, `{}`: status.Internal, `{"data":[{"b64_json":"?"}]}`: status.Internal, `{"data":[{}]}`: status.Internal, `{"data":3}`: status.Internal,
		`{"error":{"message":"no ` + testKey + `","code":"content_policy_violation","type":"invalid_request_error"}}`: status.InvalidArgument,
	} {
		_, _, err := generate(t.Context(), resolve(t, provider(t, serve(t, document(200, body))), "dall-e-3"), hello(), false)
		require.Error(t, err)
		assert.Equal(t, want, status.Of(err), body)
		assertNoKey(t, err)
	}
}

func TestSpeech(t *testing.T) {
	s := serve(t, at(t, "/audio/speech", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "audio/mpeg")
		_, _ = w.Write([]byte{0xff, 0xf3, 0})
	}))
	p := provider(t, s)
	resp, _, err := generate(t.Context(), resolve(t, p, "tts-1"), hello(), false)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"tts-1","input":"hello","voice":"alloy"}`, s.body(0))
	assert.JSONEq(t, `{"role":"model","content":[{"media":{"url":"data:audio/mpeg;base64,//MA","contentType":"audio/mpeg"}}]}`, toJSON(t, resp.Message))
	req := hello()
	req.Config = json.RawMessage(`{"voice":"nova","speed":1.50,"response_format":"pcm","apiKey":"sk-other-0123"}`)
	resp, _, err = generate(t.Context(), resolve(t, p, "gpt-4o-mini-tts"), req, false)
	require.NoError(t, err)
	assert.Contains(t, s.body(1), `"speed":1.50`)
	assert.Equal(t, "audio/L16", resp.Message.Content[0].Media.ContentType)
	assert.Equal(t, "Bearer sk-other-0123", s.header(1).Get("Authorization"))
	require.NotNil(t, resp.Request)
	assert.NotContains(t, toJSON(t, resp), "sk-other")
	for _, config := range []string{`{"speed":9}`, `{"input":"x"}`, `{"response_format":"midi"}`} {
		req.Config = json.RawMessage(config)
		_, _, err = generate(t.Context(), resolve(t, p, "tts-1"), req, false)
		require.ErrorIs(t, err, status.ErrInvalidArgument, config)
	}
	_, _, err = generate(t.Context(), resolve(t, provider(t, serve(t, document(429, `{"error":{"message":"slow"}}`))), "tts-1"), hello(), false)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
}

// form is a request's fields; a file counts as "name type bytes".
func form(t *testing.T, s *server, i int) map[string]string {
	t.Helper()
	_, params, err := mime.ParseMediaType(s.header(i).Get("Content-Type"))
	require.NoError(t, err)
	fields := map[string]string{}
	for r := multipart.NewReader(strings.NewReader(s.body(i)), params["boundary"]); ; {
		part, err := r.NextPart()
		if errors.Is(err, io.EOF) {
			return fields
		}
		require.NoError(t, err)
		value, err := io.ReadAll(part)
		require.NoError(t, err)
		text := string(value)
		if part.FileName() != "" {
			text = part.FileName() + " " + part.Header.Get("Content-Type") + " " + text
		}
		fields[part.FormName()] = strings.TrimPrefix(fields[part.FormName()]+"|"+text, "|")
	}
}

const spoken = `{"role":"user","content":[{"text":"names: Ada"},{"media":{"url":"data:audio/mpeg;base64,YWJj"}}]}`

func TestTranscription(t *testing.T) {
	text := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "Hello Ada.") }
	s := serve(t, at(t, "/audio/transcriptions", text))
	resp, _, err := generate(t.Context(), resolve(t, provider(t, s), "whisper-1"), request(t, `{"messages":[`+spoken+`],"config":{"temperature":0.50,"language":"en","timestamp_granularities":["word","segment"],"chunking_strategy":{"type":"server_vad","threshold":0.5},"maxOutputTokens":9}}`), false)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{
		"file": "input.mp3 audio/mpeg abc", "model": "whisper-1", "prompt": "names: Ada", "temperature": "0.50", "language": "en", "response_format": "text",
		"timestamp_granularities[]": "word|segment", "chunking_strategy[type]": "server_vad", "chunking_strategy[threshold]": "0.5",
	}, form(t, s, 0))
	assert.Equal(t, "Hello Ada.", resp.Text())

	s = serve(t, at(t, "/audio/translations", text))
	_, _, err = generate(t.Context(), resolve(t, provider(t, s), "whisper-1"), request(t, `{"messages":[`+spoken+`],"config":{"translate":true,"response_format":"srt"}}`), false)
	require.NoError(t, err)
	assert.Equal(t, map[string]string{"file": "input.mp3 audio/mpeg abc", "model": "whisper-1", "prompt": "names: Ada", "response_format": "srt"}, form(t, s, 0))

	s = serve(t, at(t, "/audio/transcriptions", document(200, `{"text":"Hi","usage":{"type":"tokens","input_tokens":7,"output_tokens":1,"total_tokens":8}}`)))
	resp, _, err = generate(t.Context(), resolve(t, provider(t, s), "gpt-4o-transcribe"), request(t, `{"messages":[`+spoken+`]}`), false)
	require.NoError(t, err)
	assert.Equal(t, "json", form(t, s, 0)["response_format"], "these models know no text")
	assert.Equal(t, "Hi", resp.Text())
	assert.Equal(t, 7, resp.Usage.InputTokens)
	assert.NotEmpty(t, resp.Raw)

	p := provider(t, s)
	for name, in := range map[string]string{
		"an address":         `{"messages":[{"role":"user","content":[{"media":{"url":"https://e.example/a.mp3"}}]}]}`,
		"no media":           `{"messages":[{"role":"user","content":[{"text":"x"}]}]}`,
		"broken data":        `{"messages":[{"role":"user","content":[{"media":{"url":"data:audio/wav;base64,?"}}]}]}`,
		"a type of lines":    `{"messages":[{"role":"user","content":[{"media":{"url":"data:,x","contentType":"audio/x\r\nx: y"}}]}]}`,
		"a media output":     `{"messages":[` + spoken + `],"output":{"format":"media"}}`,
		"formats that clash": `{"messages":[` + spoken + `],"output":{"format":"json"},"config":{"response_format":"srt"}}`,
		"a managed field":    `{"messages":[` + spoken + `],"config":{"file":"x"}}`,
	} {
		_, _, err := generate(t.Context(), resolve(t, p, "whisper-1"), request(t, in), false)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	for _, body := range []string{`{}`, `{"text":1}`, `[]`, `{x`} {
		_, _, err := generate(t.Context(), resolve(t, provider(t, serve(t, document(200, body))), "gpt-4o-transcribe"), request(t, `{"messages":[`+spoken+`]}`), false)
		require.ErrorIs(t, err, status.ErrInternal, body)
	}
}

func embedder(t *testing.T, p *openai.Provider, id string) action.Action {
	t.Helper()
	a, err := p.Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: p.Name() + "/" + id})
	require.NoError(t, err)
	return a
}

func TestEmbeddings(t *testing.T) {
	s := serve(t, at(t, "/embeddings", document(200, `{"object":"list","data":[{"index":1,"embedding":[0.25,-1e-3]},{"index":0,"embedding":"AACAPwAAAMA="}],"usage":{"prompt_tokens":2}}`)))
	a := embedder(t, provider(t, s), "text-embedding-3-small")
	out, err := a.RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"},{"text":"b"}]},{"content":[{"text":"c"}]}],"options":{"dimensions":2,"encodingFormat":"base64","user":"u"}}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"model":"text-embedding-3-small","input":["ab","c"],"dimensions":2,"encoding_format":"base64","user":"u"}`, s.body(0))
	assert.JSONEq(t, `{"embeddings":[{"embedding":[1,-2]},{"embedding":[0.25,-0.001]}]}`, string(out))
	out, err = a.RunJSON(t.Context(), json.RawMessage(`{"input":[]}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"embeddings":[]}`, string(out))
	assert.Equal(t, 1, s.calls())
	for _, in := range []string{`{"input":[{"content":[{"media":{"url":"data:,x"}}]}]}`, `{"input":[{"content":[]}],"options":{"dimensions":0}}`, `{"input":[{"content":[]}],"options":{"api_key":"x"}}`} {
		_, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument, in)
	}
	for body, want := range map[string]status.Code{
		`{"data":[]}`: status.Internal, `{"data":[{"embedding":[]}]}`: status.Internal, `{"data":[{"embedding":"AAAA"}]}`: status.Internal, `{"data":[{"embedding":"AADAfw=="}]}`: status.Internal,
		`{"data":[{"index":1,"embedding":[1]}]}`: status.Internal, `{"data":[{"index":0,"embedding":[1]},{"index":0,"embedding":[1]}]}`: status.Internal, `{"data":[{"embedding":["x"]}]}`: status.Internal,
		`{"object":"error","message":"too long","code":400}`: status.InvalidArgument,
	} {
		_, err := embed.Do(t.Context(), embedder(t, provider(t, serve(t, document(200, body))), "e"), &embed.Request{Input: []content.Document{content.DocumentFromText("a", nil)}})
		require.Error(t, err, body)
		assert.Equal(t, want, status.Of(err), body)
	}
}

func TestAnEmbeddersKeyIsNotRecorded(t *testing.T) {
	s := serve(t, document(200, `{"data":[{"embedding":[1]}]}`))
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithTracerProvider(t.Context(), spans)
	_, err := embedder(t, provider(t, s), "e").RunJSON(ctx, json.RawMessage(`{"input":[{"content":[{"text":"a"}]}],"options":{"apiKey":"sk-other-0123"}}`), nil)
	require.NoError(t, err)
	assert.Equal(t, "Bearer sk-other-0123", s.header(0).Get("Authorization"))
	assert.NotContains(t, s.body(0), "sk-other")
	assert.NotEmpty(t, spans.Ended())
	assert.NotContains(t, toJSON(t, spans.Ended()), "sk-other")
}
