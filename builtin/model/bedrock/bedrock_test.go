package bedrock_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/bedrock"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire/wiretest"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// frame writes a frame of an event stream with headers that are strings.
func frame(payload string, headers ...string) string {
	var h bytes.Buffer
	for i := 0; i < len(headers); i += 2 {
		h.WriteByte(byte(len(headers[i])))
		h.WriteString(headers[i])
		h.WriteByte(7)
		_ = binary.Write(&h, binary.BigEndian, uint16(len(headers[i+1])))
		h.WriteString(headers[i+1])
	}
	var out bytes.Buffer
	_ = binary.Write(&out, binary.BigEndian, uint32(16+h.Len()+len(payload)))
	_ = binary.Write(&out, binary.BigEndian, uint32(h.Len()))
	_ = binary.Write(&out, binary.BigEndian, crc32.ChecksumIEEE(out.Bytes()))
	out.Write(h.Bytes())
	out.WriteString(payload)
	_ = binary.Write(&out, binary.BigEndian, crc32.ChecksumIEEE(out.Bytes()))
	return out.String()
}

func event(name, payload string) string {
	return frame(payload, ":event-type", name, ":content-type", "application/json", ":message-type", "event")
}

func exception(name, payload string) string {
	return frame(payload, ":exception-type", name, ":content-type", "application/json", ":message-type", "exception")
}

const (
	usage    = `"usage":{"inputTokens":10,"outputTokens":40,"totalTokens":350,"cacheReadInputTokens":300}`
	document = `{"output":{"message":{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Let me see…","signature":"EqQBCg=="}}},{"reasoningContent":{"redactedContent":"aGlkZGVu"}},{"text":"It is so."},
{"toolUse":{"toolUseId":"tooluse_1","name":"a_weather","input":{"city":"Köln","n":[1,2.50]}}},{"toolUse":{"toolUseId":"tooluse_2","name":"now","input":{}}}]}},"stopReason":"tool_use",` + usage + `,"metrics":{"latencyMs":9}}`
	failed = `{"message":"no %s","error":"no %s"}`
)

var (
	piece  = event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"Let me "}},"p":"abc"}`)
	stream = event("messageStart", `{"role":"assistant"}`) + piece + event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"text":"see…"}}}`) +
		event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"EqQB"}}}`) + event("contentBlockDelta", `{"contentBlockIndex":0,"delta":{"reasoningContent":{"signature":"Cg=="}}}`) +
		event("contentBlockStop", `{"contentBlockIndex":0}`) + event("contentBlockDelta", `{"contentBlockIndex":1,"delta":{"reasoningContent":{"redactedContent":"aGlkZGVu"}}}`) +
		event("contentBlockDelta", `{"contentBlockIndex":2,"delta":{"text":"It is "}}`) + event("contentBlockDelta", `{"contentBlockIndex":2,"delta":{"text":"so."}}`) +
		event("contentBlockStart", `{"contentBlockIndex":3,"start":{"toolUse":{"toolUseId":"tooluse_1","name":"a_weather"}}}`) +
		event("contentBlockDelta", `{"contentBlockIndex":3,"delta":{"toolUse":{"input":"{\"city\":\"Köl"}}}`) + event("contentBlockDelta", `{"contentBlockIndex":3,"delta":{"toolUse":{"input":"n\",\"n\":[1,2.50]}"}}}`) +
		event("contentBlockStart", `{"contentBlockIndex":4,"start":{"toolUse":{"toolUseId":"tooluse_2","name":"now"}}}`) + event("aNewEvent", `{"a":1}`) +
		event("messageStop", `{"stopReason":"tool_use"}`) + event("metadata", `{`+usage+`,"metrics":{"latencyMs":9}}`)
)

func newProvider(t testing.TB, baseURL string, client *http.Client, change ...func(*bedrock.Config)) *bedrock.Provider {
	t.Helper()
	cfg := bedrock.Config{BaseURL: baseURL, Region: "eu-central-1", APIKey: wiretest.Key, HTTPClient: client, MaxResponseBytes: wiretest.Limit, MaxChunkBytes: wiretest.MaxEvent}
	for _, f := range change {
		f(&cfg)
	}
	p, err := bedrock.New(cfg)
	require.NoError(t, err)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func target() wiretest.Target {
	huge := make([]byte, 8)
	binary.BigEndian.PutUint32(huge, 1<<30)
	prelude := string(huge) + string(binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(huge)))
	return wiretest.Target{
		New: func(t testing.TB, baseURL string, client *http.Client) wiretest.Provider {
			return newProvider(t, baseURL, client)
		},
		Model: "bedrock/m", KeyOf: func(h http.Header) string { return strings.TrimPrefix(h.Get("Authorization"), "Bearer ") },
		Document: document, Stream: stream, Piece: piece, Error: failed, Tools: []string{"a/weather", "now"},
		StreamType: "application/vnd.amazon.eventstream", Failed: func(body string) string { return exception("throttlingException", body) },
		Endless: map[string][2]string{"a frame that is too long": {prelude, "x"}, "endless text": {"", "x"}},
	}
}

func TestTheKitOfProviders(t *testing.T) { wiretest.Run(t, target()) }

func FuzzAnswer(f *testing.F) {
	wiretest.Fuzz(f, target(), failed, piece, event("messageStop", `{"stopReason":"new"}`)+event("metadata", `{}`), exception("modelStreamErrorException", `{"message":"x","originalStatusCode":500}`),
		`{"output":{"message":{"content":[{"citationsContent":{}},{"toolUse":{"name":"x","input":"y"}}]}},"stopReason":"max_tokens"}`)
}

// ask returns the response to a request and the body that it became.
func ask(t *testing.T, request, answer string) (*model.Response, string, error) {
	t.Helper()
	c := wiretest.Answering(200, "application/json", answer)
	resp, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "bedrock/m"), request, nil)
	if err != nil {
		return nil, "", err
	}
	_, body := c.Last()
	return resp, body, nil
}

const (
	tools = `"tools":[{"name":"a/weather","description":"d","inputSchema":{"type":"object","properties":{"city":{"type":"string"}}}},{"name":"now","description":""}]`
	plain = `{"output":{"message":{"role":"assistant","content":[{"text":"hi"}]}},"stopReason":"end_turn"}`
)

func TestTheAnswerIsMappedAndGoesBack(t *testing.T) {
	resp, _, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]}],`+tools+`}`, document)
	require.NoError(t, err)
	said, err := json.Marshal(resp.Message)
	require.NoError(t, err)
	assert.JSONEq(t, `{"role":"model","content":[{"reasoning":"Let me see…","metadata":{"bedrockReasoningSignature":"EqQBCg=="}},{"reasoning":"","metadata":{"bedrockRedactedContent":"aGlkZGVu"}},{"text":"It is so."},
		{"toolRequest":{"name":"a/weather","ref":"tooluse_1","input":{"city":"Köln","n":[1,2.50]}}},{"toolRequest":{"name":"now","ref":"tooluse_2","input":{}}}]}`, string(said))
	assert.Equal(t, model.FinishStop, resp.FinishReason)
	counts, err := json.Marshal(resp.Usage)
	require.NoError(t, err)
	assert.JSONEq(t, `{"inputTokens":310,"outputTokens":40,"totalTokens":350,"cachedContentTokens":300,"custom":{"inputTokens":10,"cacheReadInputTokens":300}}`, string(counts))
	_, body, err := ask(t, `{"messages":[{"role":"user","content":[{"text":"q"}]},`+string(said)+`,{"role":"tool","content":[{"toolResponse":{"name":"a/weather","ref":"tooluse_1","output":{"c":1},"content":[{"media":{"url":"data:image/png;base64,AA=="}},{"media":{"url":"data:audio/wav;base64,AA=="}}]}},
		{"toolResponse":{"name":"now","ref":"tooluse_2","output":"noon"}}]}],`+tools+`}`, plain)
	require.NoError(t, err)
	var sent struct{ Messages []json.RawMessage }
	require.NoError(t, json.Unmarshal([]byte(body), &sent))
	require.Len(t, sent.Messages, 3)
	assert.JSONEq(t, `{"role":"assistant","content":[{"reasoningContent":{"reasoningText":{"text":"Let me see…","signature":"EqQBCg=="}}},{"reasoningContent":{"redactedContent":"aGlkZGVu"}},{"text":"It is so."},
		{"toolUse":{"toolUseId":"tooluse_1","name":"a_weather","input":{"city":"Köln","n":[1,2.50]}}},{"toolUse":{"toolUseId":"tooluse_2","name":"now","input":{}}}]}`, string(sent.Messages[1]))
	assert.JSONEq(t, `{"role":"user","content":[{"toolResult":{"toolUseId":"tooluse_1","content":[{"text":"{\"c\":1}"},{"image":{"format":"png","source":{"bytes":"AA=="}}},{"text":"[The tool also returned media of the type \"audio/wav\", which can't be shown here.]"}]}},
		{"toolResult":{"toolUseId":"tooluse_2","content":[{"text":"noon"}]}}]}`, string(sent.Messages[2]))
}

func TestRequestBodies(t *testing.T) {
	for name, c := range map[string]struct{ request, want string }{
		"system, media and cache points": {
			`{"messages":[{"role":"system","content":[{"text":"Be brief."},{"custom":{"bedrockCachePointType":"default"}},{"text":""}]},{"role":"user","content":[{"text":"a"},{"data":{"b":1}},{"media":{"url":"data:image/jpeg;base64,AA=="}},
			{"media":{"url":"data:application/pdf;base64,AA=="},"metadata":{"title":"A: b/c"}},{"media":{"url":"data:text/csv,a"}},{"media":{"url":"s3://b/v.mp4"}},{"custom":{"bedrockCachePointType":"default"}}]}]}`,
			`{"system":[{"text":"Be brief."},{"cachePoint":{"type":"default"}}],"messages":[{"role":"user","content":[{"text":"a"},{"text":"{\"b\":1}"},{"image":{"format":"jpeg","source":{"bytes":"AA=="}}},
			{"document":{"format":"pdf","name":"A b c","source":{"bytes":"AA=="}}},{"document":{"format":"csv","name":"document-2","source":{"bytes":"YQ=="}}},{"video":{"format":"mp4","source":{"s3Location":{"uri":"s3://b/v.mp4"}}}},{"cachePoint":{"type":"default"}}]}]}`,
		},
		"config": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"maxOutputTokens":9,"temperature":0,"topP":0.5,"stopSequences":["x"],"additionalModelRequestFields":{"top_k":5},"extra":{"performanceConfig":{"latency":"optimized"}}}}`,
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"inferenceConfig":{"maxTokens":9,"temperature":0,"topP":0.5,"stopSequences":["x"]},"additionalModelRequestFields":{"top_k":5},"performanceConfig":{"latency":"optimized"}}`,
		},
		"tools": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"toolChoice":"required",` + tools + `}`,
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"a_weather","description":"d","inputSchema":{"json":{"type":"object","properties":{"city":{"type":"string"}}}}}},{"toolSpec":{"name":"now","inputSchema":{"json":{"type":"object","properties":{}}}}}],"toolChoice":{"any":{}}}}`,
		},
		"one tool": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"toolChoice":"a/weather"},"tools":[{"name":"a/weather","description":""}]}`,
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"toolConfig":{"tools":[{"toolSpec":{"name":"a_weather","inputSchema":{"json":{"type":"object","properties":{}}}}}],"toolChoice":{"tool":{"name":"a_weather"}}}}`,
		},
		"no tools": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]}],"toolChoice":"none",` + tools + `}`,
			`{"messages":[{"role":"user","content":[{"text":"a"}]}]}`,
		},
		"reasoning of others": {
			`{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"model","content":[{"reasoning":"x","metadata":{"signature":"s"}},{"text":"b"}]},{"role":"user","content":[{"text":"c"}]}]}`,
			`{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"assistant","content":[{"text":"b"}]},{"role":"user","content":[{"text":"c"}]}]}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, body, err := ask(t, c.request, plain)
			require.NoError(t, err)
			assert.JSONEq(t, c.want, body)
		})
	}
}

func TestRequestsThatAreRefused(t *testing.T) {
	for request, want := range map[string]string{
		`{"messages":[{"role":"system","content":[{"text":"a"}]}]}`:                                                       "no messages but those of the system",
		`{"messages":[{"role":"user","content":[{"media":{"url":"https://x.test/a.mp4"}}]}]}`:                             "must be a data: or s3: URL",
		`{"messages":[{"role":"user","content":[{"media":{"url":"data:audio/wav;base64,AA=="}}]}]}`:                       `type "audio/wav"`,
		`{"messages":[{"role":"user","content":[{"text":"a"}]},{"role":"model","content":[{"text":"b"}]}],` + tools + `}`: "the last message must not be the model's",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"toolChoice":"x"},` + tools + `}`:               `no tool "x"`,
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"nonsense":1}}`:                                 "nonsense",
		`{"messages":[{"role":"user","content":[{"text":"a"}]}],"config":{"version":"a?b"}}`:                              "no id of a model",
		`{"messages":[{"role":"user","content":[{"custom":{"a":1}}]}]}`:                                                   "custom parts",
	} {
		_, _, err := ask(t, request, plain)
		assert.Equal(t, status.InvalidArgument, status.Of(err), request)
		assert.ErrorContains(t, err, want, request)
	}
}

// The type of an error says more than the HTTP status, and comes in a stream without one.
func TestErrorsHaveTheirCodes(t *testing.T) {
	for kind, want := range map[string]status.Code{
		"ThrottlingException": status.ResourceExhausted, "ValidationException": status.InvalidArgument, "AccessDeniedException": status.PermissionDenied, "UnrecognizedClientException": status.Unauthenticated,
		"ResourceNotFoundException": status.NotFound, "ModelTimeoutException": status.DeadlineExceeded, "ModelNotReadyException": status.Unavailable, "ModelErrorException": status.Internal, "InternalServerException": status.Internal,
	} {
		c := wiretest.Answering(418, "application/json", `{"message":"words"}`)
		c.Header = http.Header{"X-Amzn-Errortype": {kind + ":http://internal.amazon.com/x"}, "X-Amzn-Requestid": {"req-1"}}
		_, err := wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "bedrock/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
		assert.Equal(t, want, status.Of(err), kind)
		shown, _ := json.Marshal(status.ToWire(err, true))
		assert.Contains(t, string(shown), "words")
		assert.Contains(t, string(shown), `"requestId":"req-1"`)
		var chunks []*model.Chunk
		c = wiretest.Answering(200, "application/vnd.amazon.eventstream", event("messageStart", `{"role":"assistant"}`)+exception(strings.ToLower(kind[:1])+kind[1:], `{"message":"words"}`))
		_, err = wiretest.Ask(t, wiretest.Model(t, newProvider(t, "http://canned", &http.Client{Transport: c}), "bedrock/m"), `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, &chunks)
		assert.Equal(t, want, status.Of(err), kind)
		assert.ErrorContains(t, err, "words")
	}
}

func TestFramesThatAreBroken(t *testing.T) {
	good := event("messageStart", `{"role":"assistant"}`)
	wrong := func(at int) string { b := []byte(good); b[at] ^= 1; return string(b) }
	for name, text := range map[string]string{
		"a length": wrong(3), "the prelude's checksum": wrong(9), "a header": wrong(14), "the payload": wrong(len(good) - 8), "the checksum": wrong(len(good) - 1),
		"headers beyond the frame": func() string {
			head := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, 16), 99)
			return string(binary.BigEndian.AppendUint32(head, crc32.ChecksumIEEE(head))) + "xxxx"
		}(),
		"no JSON": event("x", "{"), "a header that is cut off": frame("{}", ":event-type", "x")[:14],
	} {
		_, err := bedrock.NewFrames(strings.NewReader(text), 1<<16).Next()
		require.Error(t, err, name)
		assert.NotErrorIs(t, err, io.EOF, name)
	}
	ev, err := bedrock.NewFrames(iotest.OneByteReader(strings.NewReader(good)), 1<<16).Next()
	require.NoError(t, err)
	assert.JSONEq(t, `{"messageStart":{"role":"assistant"}}`, string(ev.Data))
}

func FuzzFrames(f *testing.F) {
	f.Add([]byte(stream))
	f.Add([]byte(exception("x", "{}")))
	f.Add([]byte("text"))
	f.Fuzz(func(t *testing.T, in []byte) {
		read := bedrock.NewFrames(bytes.NewReader(in), 1<<10)
		for {
			ev, err := read.Next()
			if err != nil {
				var known *status.Error
				if !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.As(err, &known) {
					t.Fatal(err)
				}
				return
			}
			require.True(t, json.Valid(ev.Data), "%q", ev.Data)
		}
	})
}

// A request without a key is signed, with the path escaped once more.
func TestRequestsAreSigned(t *testing.T) {
	c := wiretest.Answering(200, "application/json", plain)
	p := newProvider(t, "http://canned", &http.Client{Transport: c}, func(cfg *bedrock.Config) {
		cfg.APIKey = ""
		cfg.Credentials = func(context.Context) (bedrock.Credentials, error) {
			return bedrock.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret-0123456789", SessionToken: "session-0123456789"}, nil
		}
	})
	const id = "arn:aws:bedrock:eu-central-1:1:inference-profile/eu.anthropic.claude-x-v1:0"
	m := wiretest.Model(t, p, "bedrock/"+id)
	_, err := wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
	require.NoError(t, err)
	req, body := c.Last()
	assert.Equal(t, "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A1%3Ainference-profile%2Feu.anthropic.claude-x-v1%3A0/converse", req.URL.EscapedPath())
	assert.Equal(t, "session-0123456789", req.Header.Get("X-Amz-Security-Token"))
	assert.Contains(t, req.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
	assert.Contains(t, req.Header.Get("Authorization"), "/eu-central-1/bedrock/aws4_request, SignedHeaders=content-length;content-type;host;x-amz-date;x-amz-security-token, Signature=")
	assert.NotContains(t, body, "secret-")
	_, err = wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}],"config":{"apiKey":"own-key-1"}}`, nil)
	require.NoError(t, err)
	req, _ = c.Last()
	assert.Equal(t, "Bearer own-key-1", req.Header.Get("Authorization"))
	assert.Empty(t, req.Header.Get("X-Amz-Security-Token"))
	// What a server repeats of the credentials is not shown.
	c.Status, c.Body = 403, func() io.Reader { return strings.NewReader(`{"message":"bad session-0123456789"}`) }
	_, err = wiretest.Ask(t, m, `{"messages":[{"role":"user","content":[{"text":"q"}]}]}`, nil)
	assert.ErrorContains(t, err, "bad [hidden]")
}

func TestDefaultCredentials(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	require.NoError(t, os.WriteFile(file, []byte("# a comment\n[default]\naws_access_key_id = A\naws_secret_access_key=B=C\n\n[ other ]\nAWS_ACCESS_KEY_ID=D\naws_secret_access_key=E\naws_session_token=F\nregion=x\n"), 0o600))
	for _, name := range bedrock.Environment {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	for profile, want := range map[string]bedrock.Credentials{"": {"A", "B=C", ""}, "other": {"D", "E", "F"}} {
		t.Setenv("AWS_PROFILE", profile)
		got, err := bedrock.DefaultCredentials(t.Context())
		require.NoError(t, err)
		assert.Equal(t, want.SecretAccessKey+want.SessionToken+want.AccessKeyID, got.SecretAccessKey+got.SessionToken+got.AccessKeyID)
		assert.NotContains(t, got.String(), want.SecretAccessKey)
	}
	t.Setenv("AWS_PROFILE", "absent")
	_, err := bedrock.DefaultCredentials(t.Context())
	assert.Equal(t, status.Unauthenticated, status.Of(err))
	assert.ErrorContains(t, err, "AWS_BEARER_TOKEN_BEDROCK")
	t.Setenv("AWS_ACCESS_KEY_ID", "G")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "H")
	got, err := bedrock.DefaultCredentials(t.Context())
	require.NoError(t, err)
	assert.Equal(t, "G", got.AccessKeyID)
}

func TestEmbeddings(t *testing.T) {
	for id, c := range map[string]struct{ answer, options, path, body, want string }{
		"amazon.titan-embed-text-v2:0": {`{"embedding":[1,2],"inputTextTokenCount":3}`, `{"dimensions":256,"normalize":false}`, "/model/amazon.titan-embed-text-v2%3A0/invoke", `{"inputText":"b","dimensions":256,"normalize":false}`, `{"embeddings":[{"embedding":[1,2]},{"embedding":[1,2]}]}`},
		"cohere.embed-english-v3":      {`{"embeddings":{"float":[[1,2],[3,4]]},"response_type":"embeddings_by_type"}`, `{"inputType":"search_query"}`, "/model/cohere.embed-english-v3/invoke", `{"texts":["a","b"],"input_type":"search_query","truncate":"END","embedding_types":["float"]}`, `{"embeddings":[{"embedding":[1,2]},{"embedding":[3,4]}]}`},
	} {
		canned := wiretest.Answering(200, "application/json", c.answer)
		p := newProvider(t, "http://canned", &http.Client{Transport: canned})
		a, err := p.Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: "bedrock/" + id})
		require.NoError(t, err)
		out, err := a.RunJSON(t.Context(), json.RawMessage(`{"input":[{"content":[{"text":"a"}]},{"content":[{"text":"b"}]}],"options":`+c.options+`}`), nil)
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(out))
		req, body := canned.Last()
		assert.Equal(t, c.path, req.URL.EscapedPath())
		assert.JSONEq(t, c.body, body)
	}
	_, err := newProvider(t, "http://canned", nil).Resolve(t.Context(), action.Key{Kind: action.Embedder, Name: "bedrock/anthropic.claude"})
	assert.Equal(t, status.NotFound, status.Of(err))
}

func TestConfigurationsThatCanNotWork(t *testing.T) {
	for _, cfg := range []bedrock.Config{{Name: "a/b"}, {BaseURL: "ftp://x"}, {MaxChunkBytes: -1}, {Region: "evil.test/"}, {Models: []bedrock.ModelConfig{{ID: "?"}}}} {
		_, err := bedrock.New(cfg)
		assert.Equal(t, status.InvalidArgument, status.Of(err), cfg)
	}
	p, err := bedrock.New(bedrock.Config{APIKey: "sk-secret-1", Region: "eu-west-1", Models: []bedrock.ModelConfig{{ID: "eu.x:0"}}})
	require.NoError(t, err)
	assert.Equal(t, "https://bedrock-runtime.eu-west-1.amazonaws.com", p.BaseURL())
	descs, err := p.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, descs, len(bedrock.Catalogue())+1+5)
	assert.NotContains(t, p.String(), "secret")
}
