package openai_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestConfigIsChecked(t *testing.T) {
	for name, cfg := range map[string]openai.Config{
		"a name with a slash":     {Name: "a/b"},
		"a base URL without host": {BaseURL: "http:///v1"},
		"another scheme":          {BaseURL: "file:///etc"},
		"a URL with a password":   {BaseURL: "https://u:hunter2@h/v1"},
		"a URL with a query":      {BaseURL: "https://h/v1?key=hunter2"},
		"a URL with a fragment":   {BaseURL: "https://h/v1#x"},
		"no URL":                  {BaseURL: "https://h\x00/hunter2"},
		"a key of two lines":      {APIKey: "hunter2\r\nX: y"},
		"a negative limit":        {MaxResponseBytes: -1},
		"a managed token field":   {MaxTokensKey: "messages"},
		"a model without id":      {Models: []openai.ModelConfig{{}}},
		"a broken schema":         {Models: []openai.ModelConfig{{ID: "m", Info: model.Info{ConfigSchema: json.RawMessage(`{"type":1}`)}}}},
	} {
		_, err := openai.New(cfg)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
		assert.NotContains(t, err.Error(), "hunter2", name)
	}
}

func TestCredentialsAreNotPrinted(t *testing.T) {
	cfg := openai.Config{APIKey: testKey, Headers: http.Header{"X": {testKey}}}
	p := newProvider(t, cfg)
	for _, v := range []any{cfg, &cfg, p} {
		assert.NotContains(t, fmt.Sprintf("%v %+v %s %#v", v, v, v, cfg), testKey)
		assert.NotContains(t, toJSON(t, v), testKey)
	}
	assert.NotContains(t, cfg.LogValue().String(), testKey)
}

func TestOnlyFromEnvReadsTheEnvironment(t *testing.T) {
	t.Setenv("OPENAI_API_KEY", testKey)
	t.Setenv("OPENAI_BASE_URL", "http://127.0.0.1:1/v1")
	t.Setenv("OPENAI_ORG_ID", "org-1")
	t.Setenv("OPENAI_PROJECT_ID", "proj-1")
	cfg := openai.FromEnv()
	assert.Equal(t, testKey, cfg.APIKey)
	assert.Equal(t, "http://127.0.0.1:1/v1", cfg.BaseURL)
	assert.Equal(t, http.Header{"Openai-Organization": {"org-1"}, "Openai-Project": {"proj-1"}}, cfg.Headers)
	s := serve(t, document(200, plain))
	_, _, err := generate(t.Context(), newModel(t, s, func(c *openai.Config) { c.APIKey = "" }), hello(), false)
	require.NoError(t, err)
	assert.Empty(t, s.header(0).Get("Authorization"))
}

func TestProviderListsAndResolves(t *testing.T) {
	none := model.Supports{Multiturn: true}
	p := newProvider(t, openai.Config{Models: []openai.ModelConfig{
		{ID: "gpt-4o", Info: model.Info{Label: "mine", Supports: none}}, {ID: "org/own"},
	}})
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(p))
	descs, err := reg.List(t.Context())
	require.NoError(t, err)
	names := map[string]bool{}
	for _, d := range descs {
		assert.Contains(t, []action.Kind{action.Model, action.Embedder}, d.Kind)
		assert.False(t, names[d.Name], d.Name)
		names[d.Name] = true
	}
	assert.Len(t, names, len(openai.Catalogue())+1)
	assert.True(t, names["openai/gpt-5-mini"] && names["openai/org/own"])

	info := func(ref string) model.Info {
		a, err := reg.Resolve(t.Context(), ref, action.Model)
		require.NoError(t, err)
		var published model.Info
		require.NoError(t, json.Unmarshal(a.Desc().Metadata["model"], &published))
		published.Supports.Denied = nil // names what was published as false, which a Go value leaves open
		assert.Equal(t, published.Supports, model.From(a).Info().Supports)
		_, err = schema.Compile(published.ConfigSchema)
		require.NoError(t, err)
		assert.Contains(t, string(published.ConfigSchema), "maxOutputTokens")
		return published
	}
	assert.Equal(t, none, info("openai/gpt-4o").Supports, "an entry replaces the catalogue's")
	assert.Equal(t, "none", info("openai/gpt-4-turbo").Supports.Constrained)
	assert.Equal(t, []string{"text"}, info("gpt-4").Supports.Output)
	assert.Equal(t, "all", info("/model/openai/some/new-model").Supports.Constrained)

	for _, key := range []action.Key{{Kind: action.Tool, Name: "openai/x"}, {Kind: action.Model, Name: "other/x"}, {Kind: action.Model, Name: "openai/"}, {Kind: action.Model, Name: "openai"}} {
		_, err := p.Resolve(t.Context(), key)
		require.ErrorIs(t, err, status.ErrNotFound, key)
	}
}

func TestOtherServersListTheirOwnModels(t *testing.T) {
	var mu sync.Mutex
	answer := document(200, `{"data":[{"id":5},"gpt",null,[],{"id":"b","owned_by":7},{"id":"a/b"},{"id":"nomic-embed-text"},{"id":"whisper-large"},{"id":""},{"id":"x\ny"},{"id":"mine"},{"id":"a/b"},{"id":"`+strings.Repeat("z", 300)+`"}]}`)
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		answer(w, r)
	})
	say := func(h http.HandlerFunc) {
		mu.Lock()
		defer mu.Unlock()
		answer = h
	}
	p := newProvider(t, openai.Config{Name: "local", BaseURL: s.URL + "/", APIKey: testKey, Models: []openai.ModelConfig{{ID: "mine", Info: model.Info{Label: "Mine"}}}})
	now := time.Date(2026, 8, 21, 12, 0, 0, 0, time.UTC)
	openai.SetClock(p, func() time.Time { return now })
	keys := func() (all []string) {
		descs, err := p.List(t.Context())
		require.NoError(t, err)
		for _, d := range descs {
			all = append(all, d.Key().String())
		}
		return all
	}
	want := []string{"/model/local/mine", "/model/local/a/b", "/embedder/local/nomic-embed-text", "/model/local/whisper-large"}
	assert.Equal(t, want, keys())
	assert.Equal(t, want, keys())
	assert.Equal(t, 1, s.calls(), "the list is kept")
	assert.Equal(t, "Bearer "+testKey, s.header(0).Get("Authorization"))

	now = now.Add(6 * time.Minute)
	say(document(500, `{"error":{"message":"down"}}`))
	assert.Equal(t, want, keys(), "what it said before stays")
	assert.Equal(t, 2, s.calls())
	assert.Equal(t, want, keys())
	assert.Equal(t, 2, s.calls(), "a server that failed is left alone for a while")
	now = now.Add(time.Minute)
	say(document(200, `{"data":[{"id":"new"}]}`))
	assert.Equal(t, []string{"/model/local/mine", "/model/local/new"}, keys())

	// A list without end is cut.
	now = now.Add(time.Hour)
	say(document(200, `{"data":[`+strings.Repeat(`{"id":"m"},`, 1000)+`{"id":"last"}]}`))
	assert.Equal(t, []string{"/model/local/mine", "/model/local/m"}, keys())
}

func TestAServerThatDoesNotAnswerBlanksNobodysList(t *testing.T) {
	gone := newProvider(t, openai.Config{Name: "gone", BaseURL: "http://127.0.0.1:1/v1/", Models: []openai.ModelConfig{{ID: "mine"}}})
	there := newProvider(t, openai.Config{Name: "there", BaseURL: serve(t, document(200, `{"data":[{"id":"m"}]}`)).URL})
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(gone))
	require.NoError(t, reg.AddProvider(there))
	descs, err := reg.List(t.Context())
	require.NoError(t, err)
	assert.Len(t, descs, 2)
	assert.Equal(t, "gone/a/b", resolve(t, gone, "a/b").Desc().Name)

	synctest.Test(t, func(t *testing.T) {
		hangs := roundTrip(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})
		p, err := openai.New(openai.Config{BaseURL: "http://hangs", HTTPClient: &http.Client{Transport: hangs}, Models: []openai.ModelConfig{{ID: "mine"}}})
		require.NoError(t, err)
		start := time.Now()
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() {
				descs, err := p.List(t.Context())
				assert.NoError(t, err)
				assert.Len(t, descs, 1)
			})
		}
		wg.Wait()
		assert.Equal(t, 3*time.Second, time.Since(start), "one is asked for all")
		time.Sleep(time.Minute)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, _ = p.List(ctx) // who is gone does not count against the server
		before := time.Now()
		_, err = p.List(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3*time.Second, time.Since(before), "it is asked again")
	})
}

func TestUnlistedModelsAreKeptInBounds(t *testing.T) {
	p := newProvider(t, openai.Config{})
	first := resolve(t, p, "m0")
	assert.Same(t, first, resolve(t, p, "m0"))
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				key := action.Key{Kind: action.Model, Name: "openai/m" + strconv.Itoa(w*40+i)}
				_, err := p.Resolve(context.Background(), key)
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 256, p.Unlisted())
}

func TestModelsAsksTheServer(t *testing.T) {
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "GET /v1/models", r.Method+" "+r.URL.Path)
		document(200, `{"object":"list","data":[{"id":"gpt-4o","object":"model","created":1,"owned_by":"system"},{"id":"b"}]}`)(w, r)
	})
	models, err := newProvider(t, openai.Config{BaseURL: s.URL + "/v1", APIKey: testKey, Headers: http.Header{"x-extra": {"1"}}}).Models(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []openai.RemoteModel{{ID: "gpt-4o", OwnedBy: "system"}, {ID: "b"}}, models)
	assert.Equal(t, "Bearer "+testKey, s.header(0).Get("Authorization"))
	assert.Equal(t, "1", s.header(0).Get("X-Extra"))

	_, err = newProvider(t, openai.Config{BaseURL: serve(t, document(401, `{"error":{"message":"no"}}`)).URL}).Models(t.Context())
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	_, err = newProvider(t, openai.Config{BaseURL: serve(t, document(200, `<html>`)).URL}).Models(t.Context())
	require.ErrorContains(t, err, "a web page, not the API's")
}

func TestAMissingKeyIsNamed(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, reg.AddProvider(openai.Unset("openai", "set OPENAI_API_KEY")))
	_, err := reg.Resolve(t.Context(), "openai/gpt-5", action.Model)
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	assert.Equal(t, `model "openai/gpt-5": the provider "openai" is not set up: set OPENAI_API_KEY`, status.ToWire(err, false).Message)
	_, err = reg.Resolve(t.Context(), "other/gpt-5", action.Model)
	require.ErrorIs(t, err, status.ErrNotFound)
	_, err = reg.Resolve(t.Context(), "openai/x", action.Tool)
	require.ErrorIs(t, err, status.ErrNotFound)
	descs, err := reg.List(t.Context())
	require.NoError(t, err)
	assert.Empty(t, descs)

	t.Setenv("OPENAI_API_KEY", "")
	s := serve(t, document(401, `{"error":{"message":"You didn't provide an API key."}}`))
	m := newModel(t, s, func(c *openai.Config) { c.APIKey, c.KeyVariable = "", openai.FromEnv().KeyVariable })
	_, _, err = generate(t.Context(), m, hello(), false)
	require.ErrorIs(t, err, status.ErrUnauthenticated)
	assert.Contains(t, status.ToWire(err, false).Message, "You didn't provide an API key. (no API key is set: OPENAI_API_KEY or the request's config.apiKey)")
}
