package openai_test

import (
	"context"
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

const accountKey = "sk-account-abcdefghijkl"

// An account's key is sent in the place of the provider's, for every kind of model, and
// shows nowhere.
func TestAnAccountsKeyIsSentAndNotShown(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"/v1/chat/completions": document(200, plain),
		"/v1/embeddings":       document(200, `{"data":[{"embedding":[1]}]}`),
		"/v1/audio/speech":     document(200, `sound`),
	}
	s := serve(t, func(w http.ResponseWriter, r *http.Request) { answers[r.URL.Path](w, r) })
	p := newProvider(t, openai.Config{
		BaseURL: s.URL + "/v1", APIKey: testKey, NoModelListing: true,
		Headers: http.Header{"OpenAI-Organization": {"org-of-the-server"}, "OpenAI-Project": {"proj-of-the-server"}, "X-Gateway": {"g"}},
	})
	key := accountKey
	view := p.WithKey(func(context.Context) (string, error) { return key, nil })
	assert.Equal(t, p.Name(), view.Name())
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
	run := func(name string, kind action.Kind, in string) string {
		t.Helper()
		a, err := view.Resolve(ctx, action.Key{Kind: kind, Name: name})
		require.NoError(t, err)
		out, err := a.RunJSON(ctx, json.RawMessage(in), nil)
		require.NoError(t, err)
		return string(out)
	}
	const ask = `{"messages":[{"role":"user","content":[{"text":"q"}]}]`
	var out string
	sent := 0
	want := func(bearer, organization string) {
		t.Helper()
		header := s.header(sent)
		assert.Equal(t, "Bearer "+bearer, header.Get("Authorization"))
		assert.Equal(t, organization, header.Get("OpenAI-Organization"))
		assert.Equal(t, organization != "", header.Get("OpenAI-Project") != "")
		assert.Equal(t, "g", header.Get("X-Gateway"))
		assert.NotContains(t, s.body(sent), accountKey)
		sent++
	}
	for name, call := range map[string]struct {
		kind action.Kind
		in   string
	}{
		"openai/test":                   {action.Model, ask + `}`},
		"openai/tts-1":                  {action.Model, ask + `}`},
		"openai/text-embedding-3-small": {action.Embedder, `{"input":[{"content":[{"text":"q"}]}]}`},
	} {
		out += run(name, call.kind, call.in)
		want(accountKey, "")
	}
	a, err := view.Resolve(ctx, action.Key{Kind: action.Model, Name: "openai/test"})
	require.NoError(t, err)
	resp, err := model.From(a).Generate(ctx, hello(), nil)
	require.NoError(t, err)
	want(accountKey, "")
	out += toJSON(t, resp)
	out += run("openai/test", action.Model, ask+`,"config":{"apiKey":"`+ownKey+`"}}`)
	want(ownKey, "org-of-the-server") // a request's own key goes first
	key = ""
	out += run("openai/test", action.Model, ask+`}`)
	want(testKey, "org-of-the-server")
	key = accountKey
	_, _, err = generate(ctx, resolve(t, p, "test"), hello(), false)
	require.NoError(t, err)
	want(testKey, "org-of-the-server") // the provider itself knows nothing of it
	assert.NotContains(t, out, accountKey)
	require.NotEmpty(t, spans.Ended())
	for _, span := range spans.Ended() {
		for attribute, value := range span {
			assert.NotContains(t, value, accountKey, attribute)
		}
	}
}

func TestAnAccountsKeyIsNotInErrors(t *testing.T) {
	s := serve(t, document(401, `{"error":{"message":"bad key `+accountKey+`"}}`))
	p := newProvider(t, openai.Config{BaseURL: s.URL + "/v1", APIKey: testKey})
	var failure error
	key := accountKey
	view := p.WithKey(func(context.Context) (string, error) { return key, failure })
	a, err := view.Resolve(t.Context(), action.Key{Kind: action.Model, Name: "openai/test"})
	require.NoError(t, err)
	_, err = model.From(a).Generate(t.Context(), hello(), nil)
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	assert.Contains(t, err.Error(), "[hidden]")
	assert.NotContains(t, err.Error(), accountKey)
	key = "sk-with\nanother: header"
	_, err = model.From(a).Generate(t.Context(), hello(), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.NotContains(t, err.Error(), "another")
	failure = status.Publicf(status.FailedPrecondition, "the key can't be read")
	for _, name := range []string{"openai/test", "openai/text-embedding-3-small"} {
		kind := action.Model
		if name != "openai/test" {
			kind = action.Embedder
		}
		a, err := view.Resolve(t.Context(), action.Key{Kind: kind, Name: name})
		require.NoError(t, err)
		for _, in := range []string{`{"input":[],"messages":[]}`, `{"input":[],"messages":[],"config":{"apiKey":""}}`} {
			_, err = a.RunJSON(t.Context(), json.RawMessage(in), nil)
			require.ErrorIs(t, err, status.ErrFailedPrecondition, "it is not asked with the provider's key instead")
		}
	}
	assert.Len(t, s.bodies, 1)
	_, err = view.Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "openai/test"})
	require.ErrorIs(t, err, status.ErrNotFound)
}
