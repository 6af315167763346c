package openai_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/openai"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	genloop "github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const (
	whoAsks   = "X-Goog-Api-Client"
	headerEnv = "GENKIT_CLIENT_HEADER"
)

func TestServersAreToldWhoAsks(t *testing.T) {
	t.Setenv(headerEnv, "\tfrom-env/2\r\nX-Evil: 1\x1b\x7f")
	s := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/models":
			document(200, `{"data":[{"id":"m"}]}`)(w, r)
		case "/embeddings":
			document(200, `{"object":"list","data":[{"object":"embedding","index":0,"embedding":[0.5]}]}`)(w, r)
		default:
			document(200, plain)(w, r)
		}
	})
	e, err := engine.New(t.Context(), engine.Config{ClientHeader: "acme-app/1"})
	require.NoError(t, err)
	require.NoError(t, e.AddProvider(newProvider(t, openai.Config{BaseURL: s.URL, APIKey: testKey})))

	_, err = engine.GenerateText(t.Context(), e, engine.WithModelName("openai/m"), engine.WithPrompt("hello"))
	require.NoError(t, err)
	_, err = engine.Embed(t.Context(), e, engine.WithEmbedderName("openai/e"), engine.WithDocs(content.Document{Content: []content.Part{content.NewTextPart("x")}}))
	require.NoError(t, err)
	_, err = e.Registry().List(t.Context())
	require.NoError(t, err)
	_, err = genloop.Run(t.Context(), e.Registry(), &model.GenerateOptions{Model: "openai/m", Messages: hello().Messages}, nil)
	require.NoError(t, err)
	require.Equal(t, 4, s.calls())
	for i := range s.calls() {
		assert.Regexp(t, `^genkit-wasm/\S+ gl-go/\S+ acme-app/1 from-env/2X-Evil: 1$`, s.header(i).Get(whoAsks), i)
		assert.Empty(t, s.header(i).Get("X-Evil"), i)
	}

	// A model that is asked without an engine tells of the library alone.
	_, _, err = generate(t.Context(), newModel(t, s), hello(), false)
	require.NoError(t, err)
	assert.Regexp(t, `^genkit-wasm/\S+ gl-go/\S+$`, s.header(4).Get(whoAsks))
	// A header of the configuration goes before it.
	_, _, err = generate(t.Context(), newModel(t, s, func(c *openai.Config) { c.Headers = http.Header{"x-goog-api-client": {"mine"}} }), hello(), false)
	require.NoError(t, err)
	assert.Equal(t, []string{"mine"}, s.header(5)[whoAsks])
}

func TestAClientHeaderThatDoesNotFitNamesTheVariable(t *testing.T) {
	t.Setenv(headerEnv, strings.Repeat("x", 250))
	_, err := engine.New(t.Context(), engine.Config{})
	require.NoError(t, err)
	_, err = engine.New(t.Context(), engine.Config{ClientHeader: "acme-app/1"})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), headerEnv)
}
