package fallback_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/fallback"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// fixture has models that fail with an error, or answer with their name when it is nil,
// and keeps who was asked with what config.
type fixture struct {
	reg   *registry.Registry
	asked []string
	told  []string
}

func newFixture(t *testing.T, models map[string]error) *fixture {
	t.Helper()
	h := &fixture{reg: registry.New(nil)}
	for name, err := range models {
		m, newErr := model.New(name, model.Info{}, func(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
			h.asked = append(h.asked, name+" "+string(req.Config))
			if send != nil && (err == nil || errors.Is(err, errMidway)) {
				if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(name)}}); err != nil {
					return nil, err
				}
			}
			if err != nil {
				return nil, err
			}
			return &model.Response{Message: new(content.NewModelTextMessage(name))}, nil
		})
		require.NoError(t, newErr)
		require.NoError(t, h.reg.Register(m))
	}
	f, err := fallback.New(fallback.Options{OnFallback: func(_ context.Context, next string, _ error) { h.told = append(h.told, next) }})
	require.NoError(t, err)
	require.NoError(t, middleware.Register(h.reg, f))
	return h
}

var errMidway = errors.New("midway")

func (h *fixture) ask(t *testing.T, config, request string, send model.Send) (*model.Response, error) {
	t.Helper()
	opts := &model.GenerateOptions{
		Model: "a/first", Messages: []content.Message{content.NewUserTextMessage("hi")},
		Use: []model.MiddlewareRef{{Name: "fallback", Config: json.RawMessage(config)}},
	}
	if request != "" {
		opts.Config = json.RawMessage(request)
	}
	return generate.Run(t.Context(), h.reg, opts, send)
}

func TestWhoIsAskedNext(t *testing.T) {
	later, bad := status.Publicf(status.Unavailable, "later"), status.Publicf(status.InvalidArgument, "bad")
	for name, c := range map[string]struct {
		config  string
		first   error
		second  error
		request string
		asked   []string
		code    status.Code
	}{
		"nobody when the first answers":         {`{"models":[{"name":"a/second"}]}`, nil, nil, ``, []string{"a/first "}, status.OK},
		"the next on a listed status":           {`{"models":[{"name":"a/second"}]}`, later, nil, ``, []string{"a/first ", "a/second "}, status.OK},
		"not on another status":                 {`{"models":[{"name":"a/second"}]}`, bad, nil, ``, []string{"a/first "}, status.InvalidArgument},
		"unless the caller lists it":            {`{"models":[{"name":"a/second"}],"statuses":["INVALID_ARGUMENT"]}`, bad, nil, ``, []string{"a/first ", "a/second "}, status.OK},
		"and then nothing else":                 {`{"models":[{"name":"a/second"}],"statuses":["INVALID_ARGUMENT"]}`, later, nil, ``, []string{"a/first "}, status.Unavailable},
		"not on an error without a status":      {`{"models":[{"name":"a/second"}]}`, errors.New("plain"), nil, ``, []string{"a/first "}, status.Internal},
		"not on what is final":                  {`{"models":[{"name":"a/second"}]}`, later.WithCause(middleware.ErrFinal), nil, ``, []string{"a/first "}, status.Unavailable},
		"the last error counts":                 {`{"models":[{"name":"a/second"}]}`, later, bad, ``, []string{"a/first ", "a/second "}, status.InvalidArgument},
		"all in order":                          {`{"models":[{"name":"a/second"},{"name":"b/third"}]}`, later, later, ``, []string{"a/first ", "a/second ", "b/third "}, status.OK},
		"an unknown model is passed over":       {`{"models":[{"name":"a/nobody"},{"name":"b/third"}]}`, later, nil, ``, []string{"a/first ", "b/third "}, status.OK},
		"or is NOT_FOUND":                       {`{"models":[{"name":"a/nobody"}]}`, later, nil, ``, []string{"a/first "}, status.NotFound},
		"the request's config is inherited":     {`{"models":[{"name":"a/second"}]}`, later, nil, `{"temperature":0.50}`, []string{`a/first {"temperature":0.50}`, `a/second {"temperature":0.50}`}, status.OK},
		"a config of its own goes before":       {`{"models":[{"name":"a/second","config":{"topK":1}}]}`, later, nil, `{"temperature":1}`, []string{`a/first {"temperature":1}`, `a/second {"topK":1}`}, status.OK},
		"an isolated one inherits nothing":      {`{"models":[{"name":"a/second"}],"isolateConfig":true}`, later, nil, `{"temperature":1}`, []string{`a/first {"temperature":1}`, `a/second `}, status.OK},
		"the version is set":                    {`{"models":[{"name":"a/second","version":"v2"}]}`, later, nil, `{"temperature":1,"version":"v1"}`, []string{`a/first {"temperature":1,"version":"v1"}`, `a/second {"temperature":1,"version":"v2"}`}, status.OK},
		"the first one's version is not":        {`{"models":[{"name":"a/second"}]}`, later, nil, `{"version":"v1"}`, []string{`a/first {"version":"v1"}`, `a/second `}, status.OK},
		"a key stays with its provider":         {`{"models":[{"name":"a/second"}]}`, later, nil, `{"apiKey":"k"}`, []string{`a/first {"apiKey":"k"}`, `a/second {"apiKey":"k"}`}, status.OK},
		"and does not reach another":            {`{"models":[{"name":"b/third"}]}`, later, nil, `{"apiKey":"k"}`, []string{`a/first {"apiKey":"k"}`, `b/third `}, status.OK},
		"what was asked of another stays there": {`{"models":[{"name":"a/second"},{"name":"b/third"}]}`, later, later, `{"apiKey":"k"}`, []string{`a/first {"apiKey":"k"}`, `a/second {"apiKey":"k"}`, `b/third `}, status.OK},
	} {
		t.Run(name, func(t *testing.T) {
			h := newFixture(t, map[string]error{"a/first": c.first, "a/second": c.second, "b/third": nil})
			resp, err := h.ask(t, c.config, c.request, nil)
			assert.Equal(t, c.code, status.Of(err), "%v", err)
			assert.Equal(t, c.asked, h.asked)
			if err == nil {
				assert.Contains(t, h.asked[len(h.asked)-1], resp.Text())
			}
		})
	}
}

func TestTheAnsweringModelStreams(t *testing.T) {
	var got []string
	send := func(c *model.Chunk) error { got = append(got, c.Text()); return nil }
	h := newFixture(t, map[string]error{"a/first": status.Errorf(status.Unavailable, "x"), "a/second": nil})
	_, err := h.ask(t, `{"models":[{"name":"a/second"}]}`, ``, send)
	require.NoError(t, err)
	assert.Equal(t, []string{"a/second"}, got)
	assert.Equal(t, []string{"a/second"}, h.told)

	got = nil
	h = newFixture(t, map[string]error{"a/first": status.Errorf(status.Unavailable, "x").WithCause(errMidway), "a/second": nil})
	_, err = h.ask(t, `{"models":[{"name":"a/second"}]}`, ``, send)
	require.ErrorIs(t, err, status.ErrUnavailable, "the reader saw the beginning of another answer")
	assert.Equal(t, []string{"a/first"}, got)
}

func TestAlternatesGetWhatTheirCapabilitiesNeed(t *testing.T) {
	h := newFixture(t, map[string]error{"a/first": status.Errorf(status.Unavailable, "x")})
	var text string
	m, err := model.New("plain", model.Info{}, func(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
		text = req.Messages[0].Text()
		return &model.Response{Message: new(content.NewModelTextMessage("ok"))}, nil
	})
	require.NoError(t, err)
	require.NoError(t, h.reg.Register(m))
	_, err = generate.Run(t.Context(), h.reg, &model.GenerateOptions{
		Model: "a/first", Messages: []content.Message{content.NewUserTextMessage("hi")},
		Docs: []content.Document{{Content: []content.Part{content.NewTextPart("a fact")}}},
		Use:  []model.MiddlewareRef{{Name: "genkit-middleware/fallback", Config: json.RawMessage(`{"models":[{"name":"plain"}]}`)}},
	}, nil)
	require.NoError(t, err)
	assert.Contains(t, text, "- [0]: a fact")
}

func TestMiddlewareFurtherInWrapsTheAlternates(t *testing.T) {
	h := newFixture(t, map[string]error{"a/first": status.Errorf(status.Unavailable, "x"), "a/second": nil})
	var seen []string
	spy, err := middleware.New(middleware.Desc{Name: "spy"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
		return &middleware.Hooks{Model: func(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
			seen = append(seen, call.Model.Desc().Name)
			return next(ctx, &middleware.ModelCall{Request: call.Request, Send: call.Send}) // forgets the model
		}}, nil
	})
	require.NoError(t, err)
	_, err = generate.Run(t.Context(), h.reg, &model.GenerateOptions{
		Model: "a/first", Messages: []content.Message{content.NewUserTextMessage("hi")},
		Use: []model.MiddlewareRef{{Name: "fallback", Config: json.RawMessage(`{"models":[{"name":"a/second"}]}`)}, {Name: "spy"}},
	}, nil, generate.WithMiddleware(spy))
	assert.Equal(t, []string{"a/first", "a/second"}, seen)
	require.NoError(t, err, "a hook that makes the call anew calls the model that it was called for")
}

func TestConfigsAreChecked(t *testing.T) {
	f, err := fallback.New(fallback.Options{})
	require.NoError(t, err)
	for name, config := range map[string]string{
		"no config": ``, "no models": `{"models":[]}`, "no name": `{"models":[{}]}`, "an unknown status": `{"models":[{"name":"a"}],"statuses":["SAD"]}`,
		"a string": `{"models":["a"]}`,
	} {
		_, err := f.New(t.Context(), json.RawMessage(config))
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
}
