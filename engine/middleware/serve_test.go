package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// speaksJSON is a model that says of itself what info says, and answers with the
// request that reached it.
func speaksJSON(t *testing.T, info string) action.Action {
	t.Helper()
	a, err := action.New(action.Desc{Kind: action.Model, Name: "acme/m", Metadata: map[string]json.RawMessage{"model": json.RawMessage(info)}},
		func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			return json.Marshal(map[string]any{"message": map[string]any{"role": "model", "content": []any{map[string]any{"data": in}}}})
		})
	require.NoError(t, err)
	return a
}

// reached is the request that a model received, as JSON.
func reached(t *testing.T, a action.Action, request string) (string, error) {
	t.Helper()
	req := &model.Request{}
	require.NoError(t, json.Unmarshal([]byte(request), req))
	before, err := json.Marshal(req)
	require.NoError(t, err)
	resp, err := middleware.Serve(t.Context(), a, req, nil)
	after, marshalErr := json.Marshal(req)
	require.NoError(t, marshalErr)
	assert.JSONEq(t, string(before), string(after), "the caller's request stays as it was")
	if err != nil {
		return "", err
	}
	return string(resp.Message.Content[0].Data), nil
}

func TestWhatAModelSaysItCantDoIsRefused(t *testing.T) {
	user := `{"role":"user","content":[{"text":"hi"}]}`
	for name, c := range map[string]struct {
		info, request string
		message       string
	}{
		"media":                         {`{"supports":{"media":false}}`, `{"messages":[{"role":"user","content":[{"media":{"url":"data:,"}}]}]}`, `model "acme/m" does not support media, but media was provided`},
		"media, silently":               {`{"supports":{}}`, `{"messages":[{"role":"user","content":[{"media":{"url":"data:,"}}]}]}`, ``},
		"media, null":                   {`{"supports":{"media":null}}`, `{"messages":[{"role":"user","content":[{"media":{"url":"data:,"}}]}]}`, ``},
		"tools":                         {`{"supports":{"tools":false}}`, `{"messages":[` + user + `],"tools":[{"name":"t","description":""}]}`, `model "acme/m" does not support tool use, but tools were provided`},
		"no tools":                      {`{"supports":{"tools":false}}`, `{"messages":[` + user + `],"tools":[]}`, ``},
		"a conversation":                {`{"supports":{"multiturn":false}}`, `{"messages":[` + user + `,` + user + `]}`, `model "acme/m" does not support multiple messages, but a conversation was provided`},
		"a system message is none":      {`{"supports":{"multiturn":false,"systemRole":true}}`, `{"messages":[{"role":"system","content":[]},` + user + `]}`, ``},
		"tool choice":                   {`{"supports":{"toolChoice":false}}`, `{"messages":[` + user + `],"toolChoice":"required"}`, `model "acme/m" does not support tool choice, but toolChoice required was provided`},
		"the choice that is none":       {`{"supports":{"toolChoice":false}}`, `{"messages":[` + user + `],"toolChoice":"auto"}`, ``},
		"a version that is not listed":  {`{"versions":["v1","v2"]}`, `{"messages":[` + user + `],"config":{"version":"v3"}}`, `model "acme/m" does not support version "v3", supported versions: v1, v2`},
		"one that is":                   {`{"versions":["v1","v2"]}`, `{"messages":[` + user + `],"config":{"version":"v2"}}`, ``},
		"any where none is listed":      {`{}`, `{"messages":[` + user + `],"config":{"version":"v3"}}`, ``},
		"what is no declaration at all": {`17`, `{"messages":[` + user + `,` + user + `],"toolChoice":"none"}`, ``},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := reached(t, speaksJSON(t, c.info), c.request)
			if c.message == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			assert.Equal(t, c.message, status.Convert(err).Message)
			assert.True(t, status.Convert(err).Public())
		})
	}
}

func TestWhatAModelDoesNotTakeIsPutIntoTheMessages(t *testing.T) {
	const docs = `"docs":[{"content":[{"text":"one"}],"metadata":{"ref":"r","id":"i"}},{"content":[{"text":"two"}],"metadata":{"id":7}},{"content":[{"text":"three"}],"metadata":{"ref":""}}]`
	const context = `\n\nUse the following information to complete your task:\n\n- [r]: one\n- [7]: two\n- [2]: three\n\n`
	for name, c := range map[string]struct{ info, request, want string }{
		"documents": {
			`{"supports":{}}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],` + docs + `}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"},{"text":"` + context + `","metadata":{"purpose":"context"}}]}],` + docs + `}`,
		},
		"documents where they are awaited": {
			`{"supports":{}}`,
			`{"messages":[{"role":"user","content":[{"text":"","metadata":{"purpose":"context","pending":true}},{"text":"hi"}]}],` + docs + `}`,
			`{"messages":[{"role":"user","content":[{"text":"` + context + `","metadata":{"purpose":"context"}},{"text":"hi"}]}],` + docs + `}`,
		},
		"documents that are there": {
			`{"supports":{}}`,
			`{"messages":[{"role":"user","content":[{"text":"mine","metadata":{"purpose":"context"}}]}],` + docs + `}`,
			`{"messages":[{"role":"user","content":[{"text":"mine","metadata":{"purpose":"context"}}]}],` + docs + `}`,
		},
		"documents that it takes": {
			`{"supports":{"context":true}}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],` + docs + `}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],` + docs + `}`,
		},
		"a system prompt": {
			`{"supports":{"systemRole":false}}`,
			`{"messages":[{"role":"system","content":[{"text":"be kind"}]},{"role":"user","content":[{"text":"hi"}]}]}`,
			`{"messages":[{"role":"user","content":[{"text":"SYSTEM INSTRUCTIONS:\n"},{"text":"be kind"}]},{"role":"model","content":[{"text":"Understood."}]},{"role":"user","content":[{"text":"hi"}]}]}`,
		},
		"a system prompt of which it says nothing": {
			`{"supports":{}}`,
			`{"messages":[{"role":"system","content":[{"text":"be kind"}]}]}`, `{"messages":[{"role":"system","content":[{"text":"be kind"}]}]}`,
		},
		"a schema": {
			`{"supports":{}}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],"output":{"format":"json","constrained":true,"schema":{"type":"object"}}}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"},{"text":"Output should be in JSON format and conform to the following schema:\n\n` + "```" + `\n{\"type\":\"object\"}\n` + "```" + `\n","metadata":{"purpose":"output"}}]}],"output":{"constrained":false}}`,
		},
		"a schema that it enforces": {
			`{"supports":{"constrained":"all"}}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],"output":{"format":"json","constrained":true,"schema":{"type":"object"}}}`,
			`{"messages":[{"role":"user","content":[{"text":"hi"}]}],"output":{"format":"json","constrained":true,"schema":{"type":"object"}}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := reached(t, speaksJSON(t, c.info), c.request)
			require.NoError(t, err)
			assert.JSONEq(t, c.want, got)
		})
	}
}

func TestTheTextsCanBeChosen(t *testing.T) {
	req := &model.Request{
		Messages: []content.Message{content.NewSystemTextMessage("s"), content.NewUserTextMessage("u")},
		Docs:     []content.Document{{Content: []content.Part{content.NewTextPart("d")}, Metadata: content.Metadata{"url": json.RawMessage(`"U"`)}}},
	}
	for want, config := range map[string]middleware.AugmentConfig{
		"u- [U]: d\n\n": {Preface: new(""), CitationKey: "url"},
		"uLook:- d\n\n": {Preface: new("Look:"), OmitCitation: true},
		"u0=d\n":        {Preface: new(""), Item: func(doc content.Document, i int) string { return "0=" + content.TextOf(doc.Content) }},
		"u- [0]: d\n\n": {Preface: new(""), CitationKey: "nope"},
	} {
		assert.Equal(t, want, middleware.AugmentWithContext(req, config).Messages[1].Text())
	}
	got := middleware.SimulateSystemPrompt(req, middleware.SystemConfig{Preface: "P:", Acknowledgement: "A"})
	assert.Equal(t, "P:s", got.Messages[0].Text())
	assert.Equal(t, "A", got.Messages[1].Text())
	assert.Len(t, req.Messages, 2)
}

func goModel(t *testing.T, supports model.Supports, fn model.Func) model.Model {
	t.Helper()
	m, err := model.New("acme/go", model.Info{Supports: supports}, fn)
	require.NoError(t, err)
	return m
}

func TestAGoModelSaysNoByBeingStrict(t *testing.T) {
	var got *model.Request
	m := goModel(t, model.Supports{Multiturn: true}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		got = req
		return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, nil
	})
	withTools := &model.Request{Messages: []content.Message{content.NewSystemTextMessage("s"), content.NewUserTextMessage("u")}, Tools: []model.ToolDefinition{{Name: "t"}}}
	_, err := middleware.Serve(t.Context(), m, withTools, nil)
	require.NoError(t, err, "silence is no no")
	assert.Equal(t, content.RoleSystem, got.Messages[0].Role)
	for _, strict := range []model.Model{middleware.Strict(m), middleware.Strict(middleware.Attach(m)), middleware.Attach(middleware.Strict(m))} {
		_, err = middleware.Serve(t.Context(), strict, withTools, nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
		require.ErrorIs(t, middleware.Validate(strict, withTools), status.ErrInvalidArgument)
		without := *withTools
		without.Tools = nil
		_, err = middleware.Serve(t.Context(), strict, &without, nil)
		require.NoError(t, err)
		assert.Equal(t, "SYSTEM INSTRUCTIONS:\ns", got.Messages[0].Text())
	}
}

func TestAttachedMiddlewareWrapsEveryCall(t *testing.T) {
	var lines []string
	m := goModel(t, model.Supports{}, func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
		lines = append(lines, "model "+req.Messages[0].Text())
		if send != nil {
			return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, send(&model.Chunk{Content: []content.Part{content.NewTextPart("o")}})
		}
		return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, nil
	})
	mark := func(name string) middleware.ModelHook {
		return func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			lines = append(lines, name+" "+call.Model.Desc().Name+" "+call.Request.Messages[0].Text())
			return next(ctx, &middleware.ModelCall{Request: call.Request, Send: call.Send})
		}
	}
	a := middleware.Attach(middleware.Attach(m, mark("inner")), mark("one"), mark("two"))
	assert.Equal(t, m.Desc(), a.Desc())
	assert.Equal(t, m.Info(), a.Info())
	req := `{"messages":[{"role":"user","content":[{"text":"hi"}]}],"docs":[{"content":[{"text":"d"}]}]}`
	const fitted = "model hi\n\nUse the following information to complete your task:\n\n- [0]: d\n\n"
	want := []string{"one acme/go hi", "two acme/go hi", "inner acme/go hi", fitted}

	_, err := reachedByJSON(t, a, req)
	require.NoError(t, err)
	assert.Equal(t, want, lines, "run as an action")
	lines = nil
	parsed := &model.Request{}
	require.NoError(t, json.Unmarshal([]byte(req), parsed))
	_, err = middleware.Serve(t.Context(), a, parsed, nil)
	require.NoError(t, err)
	assert.Equal(t, want, lines, "as the end of a chain")
}

func reachedByJSON(t *testing.T, a action.Action, req string) (string, error) {
	t.Helper()
	chunks := 0
	out, err := a.RunJSON(t.Context(), json.RawMessage(req), func(json.RawMessage) error { chunks++; return nil })
	assert.Equal(t, 1, chunks)
	return string(out), err
}

func TestAFactoryCanBeAttached(t *testing.T) {
	m := goModel(t, model.Supports{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, nil
	})
	made, closed := 0, 0
	f, err := middleware.Define(middleware.Desc{Name: "x"}, func(_ context.Context, c struct {
		Panic bool `json:"panic,omitempty"`
	},
	) (*middleware.Hooks, error) {
		made++
		return &middleware.Hooks{
			Close: func() { closed++ },
			Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
				if c.Panic {
					panic("ouch")
				}
				return next(ctx, call)
			},
		}, nil
	})
	require.NoError(t, err)
	_, err = middleware.FromFactory(f, json.RawMessage(`{"nope":1}`))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	for config, code := range map[string]status.Code{``: status.OK, `{"panic":true}`: status.Internal} {
		hook, err := middleware.FromFactory(f, json.RawMessage(config))
		require.NoError(t, err)
		_, err = middleware.Attach(m, hook).Generate(t.Context(), &model.Request{}, nil)
		assert.Equal(t, code, status.Of(err))
	}
	assert.Equal(t, 2, made)
	assert.Equal(t, 2, closed)
}

func TestUsageIsCounted(t *testing.T) {
	m := goModel(t, model.Supports{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{
			Message: &content.Message{Content: []content.Part{content.NewTextPart("né😀"), {Media: &content.Media{URL: "data:audio/wav;base64,"}}}},
			Usage:   &model.Usage{InputTokens: 3, InputCharacters: 99},
		}, nil
	})
	resp, err := middleware.Attach(m, middleware.CountUsage()).Generate(t.Context(), &model.Request{Messages: []content.Message{
		{Content: []content.Part{content.NewTextPart("x"), {Media: &content.Media{URL: "http://h/p", ContentType: "image/png"}}, {Media: &content.Media{URL: "http://h/v", ContentType: "video/mp4"}}}},
	}}, nil)
	require.NoError(t, err)
	raw, err := json.Marshal(resp.Usage)
	require.NoError(t, err)
	assert.JSONEq(t, `{"inputTokens":3,"inputCharacters":99,"outputCharacters":4,"inputImages":1,"outputImages":0,"inputVideos":1,"outputVideos":0,
		"inputAudioFiles":0,"outputAudioFiles":1}`, string(raw), "what the model told stays")
}

// notes is a payer that notes what models have used.
type notes struct {
	models []string
	used   []allowance.Use
}

func (n *notes) Reserve(_ context.Context, name string) (func(allowance.Use), error) {
	n.models = append(n.models, name)
	return func(u allowance.Use) { n.used = append(n.used, u) }, nil
}

// What a model reports is believed as far as its request can have caused it.
func TestOfTokensIsBelievedWhatARequestCanCause(t *testing.T) {
	for name, c := range map[string]struct {
		request, usage string
		want           allowance.Use
	}{
		"as it is reported":                {`{}`, `{"inputTokens":10,"outputTokens":5,"totalTokens":25,"cachedContentTokens":4}`, allowance.Use{Input: 10, Output: 5, Cached: 4, Total: 25, Reported: true}},
		"no total":                         {`{}`, `{"inputTokens":10,"outputTokens":5}`, allowance.Use{Input: 10, Output: 5, Total: 15, Reported: true}},
		"a total below the parts":          {`{}`, `{"inputTokens":10,"outputTokens":5,"totalTokens":1}`, allowance.Use{Input: 10, Output: 5, Total: 15, Reported: true}},
		"nothing":                          {`{}`, `{}`, allowance.Use{}},
		"negative numbers":                 {`{}`, `{"inputTokens":-10,"outputTokens":5,"cachedContentTokens":-3}`, allowance.Use{Output: 5, Total: 5, Reported: true}},
		"2^31 input tokens of a few words": {`{}`, `{"inputTokens":2147483648}`, allowance.Use{Input: 65_590, Total: 65_590, Reported: true, Capped: true}},
		"2^31 output tokens":               {`{}`, `{"outputTokens":2147483648}`, allowance.Use{Output: 1 << 20, Total: 1 << 20, Reported: true, Capped: true}},
		"a total of 2^62":                  {`{}`, `{"totalTokens":4611686018427387904}`, allowance.Use{Total: 65_590 + 1<<20, Reported: true, Capped: true}},
		"a picture may cost what it likes": {`{"media":{"url":"https://example.com/film.mp4"}}`, `{"inputTokens":1000000,"outputTokens":1}`, allowance.Use{Input: 1_000_000, Output: 1, Total: 1_000_001, Reported: true}},
		"more cached than there was to be": {`{}`, `{"inputTokens":3,"cachedContentTokens":99}`, allowance.Use{Input: 3, Cached: 3, Total: 3, Reported: true}},
	} {
		a, err := action.New(action.Desc{Kind: action.Model, Name: "acme/m"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return json.RawMessage(`{"message":{"role":"model","content":[]},"usage":` + c.usage + `}`), nil
		})
		require.NoError(t, err)
		part := c.request
		if part == `{}` {
			part = `{"text":""}`
		}
		var req model.Request
		require.NoError(t, json.Unmarshal([]byte(`{"messages":[{"role":"user","content":[`+part+`]}]}`), &req))
		n := &notes{}
		_, err = middleware.Serve(allowance.WithPayer(t.Context(), n), a, &req, nil)
		require.NoError(t, err)
		assert.Equal(t, []allowance.Use{c.want}, n.used, name)
	}
	failing, err := action.New(action.Desc{Kind: action.Model, Name: "acme/m"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return nil, status.Errorf(status.Unavailable, "busy")
	})
	require.NoError(t, err)
	n := &notes{}
	_, err = middleware.Serve(allowance.WithPayer(t.Context(), n), failing, &model.Request{}, nil)
	require.Error(t, err)
	assert.Equal(t, []allowance.Use{{Code: status.Unavailable}}, n.used, "a call that fails uses nothing, and says why")
}

// Who leaves a stream before its end has had what was streamed, and its provider is paid for it. So
// a call that ends in the middle counts by an estimate, and one that the model has not begun does not.
func TestACallThatEndsEarlyCountsByAnEstimate(t *testing.T) {
	req := func() *model.Request {
		return &model.Request{Messages: []content.Message{{Role: content.RoleUser, Content: []content.Part{
			content.NewTextPart(strings.Repeat("word", 100)), {Media: &content.Media{URL: "data:image/png;base64," + strings.Repeat("A", 9000)}},
		}}}}
	}
	chunk := func(text string) *model.Chunk {
		return &model.Chunk{Role: content.RoleModel, Content: []content.Part{content.NewTextPart(text)}}
	}
	whole := true
	busy := status.Errorf(status.Unavailable, "it ended early")
	for name, c := range map[string]struct {
		serve  func(context.Context, context.CancelFunc, model.Send) error
		stream bool // does the caller want chunks
		late   bool // has the caller left before the model is asked
		want   allowance.Use
	}{
		"a provider that ends its stream": {serve: func(_ context.Context, _ context.CancelFunc, send model.Send) error {
			return errors.Join(send(chunk("12345678")), send(chunk("9")), busy)
		}, stream: true, want: allowance.Use{Code: status.Unavailable, Reported: true, Estimated: true, Input: 1124, Output: 3, Total: 1127}},
		"a caller who leaves the stream": {serve: func(_ context.Context, leave context.CancelFunc, send model.Send) error {
			err := send(chunk("1234567890"))
			leave()
			return errors.Join(err, context.Canceled)
		}, stream: true, want: allowance.Use{Code: status.Cancelled, Reported: true, Estimated: true, Input: 1124, Output: 3, Total: 1127}},
		"chunks that repeat what came before": {serve: func(_ context.Context, _ context.CancelFunc, send model.Send) error {
			for _, text := range []string{"1234", "12345678"} {
				c := chunk(text)
				c.Aggregated = &whole
				if err := send(c); err != nil {
					return err
				}
			}
			return busy
		}, stream: true, want: allowance.Use{Code: status.Unavailable, Reported: true, Estimated: true, Input: 1124, Output: 2, Total: 1126}},
		"a caller who leaves before anything is streamed": {serve: func(ctx context.Context, leave context.CancelFunc, _ model.Send) error {
			leave()
			return ctx.Err()
		}, want: allowance.Use{Code: status.Cancelled, Reported: true, Estimated: true, Input: 1124, Total: 1124}},
		"a caller who left before": {serve: func(ctx context.Context, _ context.CancelFunc, _ model.Send) error {
			return ctx.Err()
		}, late: true, want: allowance.Use{Code: status.Cancelled}},
		"a provider that refuses": {serve: func(context.Context, context.CancelFunc, model.Send) error { return busy }, stream: true, want: allowance.Use{Code: status.Unavailable}},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			if c.late {
				leave()
			}
			m, err := model.New("acme/m", model.Info{}, func(ctx context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
				return nil, c.serve(ctx, leave, send)
			})
			require.NoError(t, err)
			send := model.Send(nil)
			if c.stream {
				send = func(*model.Chunk) error { return nil }
			}
			n := &notes{}
			_, err = middleware.Serve(allowance.WithPayer(ctx, n), m, req(), send)
			require.Error(t, err)
			assert.Equal(t, []allowance.Use{c.want}, n.used)
		})
	}
}

// A request's bound of tokens counts these estimates too.
func TestAStreamThatIsLeftCountsOnItsRequest(t *testing.T) {
	m, err := model.New("acme/m", model.Info{}, func(_ context.Context, _ *model.Request, send model.Send) (*model.Response, error) {
		return nil, errors.Join(send(&model.Chunk{Content: []content.Part{content.NewTextPart(strings.Repeat("x", 400))}}), status.Errorf(status.Unavailable, "it ended early"))
	})
	require.NoError(t, err)
	ctx, done, err := allowance.Enter(t.Context(), allowance.Limits{Tokens: 100})
	require.NoError(t, err)
	defer done()
	send := func(*model.Chunk) error { return nil }
	_, err = middleware.Serve(ctx, m, &model.Request{}, send)
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = middleware.Serve(ctx, m, &model.Request{}, send)
	require.ErrorIs(t, err, status.ErrResourceExhausted, "a retry of it does not go on for ever")
}

func TestTheModelThatIsAskedForIsPaidFor(t *testing.T) {
	m, err := model.New("acme/small", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{}, nil
	})
	require.NoError(t, err)
	n := &notes{}
	for _, config := range []string{``, `{"version":"large"}`} {
		_, err = middleware.Serve(allowance.WithPayer(t.Context(), n), m, &model.Request{Config: json.RawMessage(config)}, nil)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"acme/small", "acme/large"}, n.models)
}
