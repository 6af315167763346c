package middleware_test

import (
	"context"
	"encoding/json"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type retryConfig struct {
	Max  int    `json:"max,omitempty" jsonschema:"minimum=1"`
	Note string `json:"note,omitempty"`
}

// newRetry keeps the configs it was made with.
func newRetry(t *testing.T, made *[]retryConfig) middleware.Factory {
	t.Helper()
	var mu sync.Mutex
	f, err := middleware.Define(middleware.Desc{Name: "acme/retry", Description: "Tries again."}, func(_ context.Context, c retryConfig) (*middleware.Hooks, error) {
		switch c.Note {
		case "fail":
			return nil, status.Publicf(status.FailedPrecondition, "no")
		case "panic":
			panic("ouch")
		case "nothing":
			return nil, nil
		}
		mu.Lock()
		defer mu.Unlock()
		*made = append(*made, c)
		return &middleware.Hooks{}, nil
	})
	require.NoError(t, err)
	return f
}

// byHand is a factory that nobody checks.
type byHand struct{ closed *int }

func (byHand) Desc() middleware.Desc {
	return middleware.Desc{Name: "hand", ConfigSchema: json.RawMessage(`{"type":"object"}`)}
}

func (b byHand) New(context.Context, json.RawMessage) (*middleware.Hooks, error) {
	return &middleware.Hooks{Close: func() { *b.closed++ }}, nil
}

func TestConfigsAreCheckedBeforeHooksAreMade(t *testing.T) {
	reg := registry.New(nil)
	var made []retryConfig
	closed := 0
	require.NoError(t, middleware.Register(reg, newRetry(t, &made)))
	require.ErrorIs(t, middleware.Register(reg, newRetry(t, &made)), status.ErrAlreadyExists)
	require.NoError(t, middleware.Register(reg, byHand{&closed}))
	reg.SetValue(middleware.Kind, "unchecked", byHand{&closed})
	reg.SetValue(middleware.Kind, "odd", 1)
	for name, c := range map[string]struct {
		ref    string
		config string
		code   status.Code
	}{
		"no config":                  {"acme/retry", ``, status.OK},
		"null":                       {"acme/retry", `null`, status.OK},
		"a good one":                 {"retry", `{"max":2}`, status.OK},
		"a wrong type":               {"retry", `{"max":"2"}`, status.InvalidArgument},
		"a wrong value":              {"retry", `{"max":0}`, status.InvalidArgument},
		"a misspelt field":           {"retry", `{"maximum":2}`, status.InvalidArgument},
		"broken JSON":                {"retry", `{`, status.InvalidArgument},
		"a factory that fails":       {"retry", `{"note":"fail"}`, status.FailedPrecondition},
		"a factory that panics":      {"retry", `{"note":"panic"}`, status.Internal},
		"a factory without hooks":    {"retry", `{"note":"nothing"}`, status.Internal},
		"an unknown name":            {"nope", ``, status.NotFound},
		"no name":                    {"", ``, status.NotFound},
		"a factory made by hand":     {"hand", `[]`, status.InvalidArgument},
		"a value set by hand":        {"unchecked", `[]`, status.InvalidArgument},
		"a value that is no factory": {"odd", ``, status.Internal},
	} {
		chain, err := middleware.Resolve(t.Context(), reg, []model.MiddlewareRef{{Name: "hand"}, {Name: c.ref, Config: json.RawMessage(c.config)}})
		assert.Equal(t, c.code, status.Of(err), "%s: %v", name, err)
		chain.Close()
	}
	assert.ElementsMatch(t, []retryConfig{{}, {}, {Max: 2}}, made)
	assert.Equal(t, 15, closed, "hooks are closed, whether the chain was made or not")
}

func TestBrokenFactoriesAreRefused(t *testing.T) {
	_, err := middleware.New(middleware.Desc{}, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = middleware.New(middleware.Desc{Name: "x", ConfigSchema: json.RawMessage(`{"type":"x"}`)}, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = middleware.Define(middleware.Desc{Name: "x"}, func(context.Context, chan int) (*middleware.Hooks, error) { return nil, nil })
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = middleware.Ref("x", make(chan int))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	ref, err := middleware.Ref("x", retryConfig{Max: 1})
	require.NoError(t, err)
	assert.JSONEq(t, `{"max":1}`, string(ref.Config))
}

func TestTheNilChainIsEmpty(t *testing.T) {
	var c *middleware.Chain
	c.Close()
	assert.Empty(t, c.Tools())
	want := errors.New("reached")
	_, err := c.Generate(t.Context(), nil, func(context.Context, *middleware.GenerateCall) (*model.Response, error) { return nil, want })
	require.ErrorIs(t, err, want)
	_, err = c.Model(t.Context(), nil, func(context.Context, *middleware.ModelCall) (*model.Response, error) { return nil, want })
	require.ErrorIs(t, err, want)
	_, err = c.Tool(t.Context(), nil, func(context.Context, *middleware.ToolCall) (*content.Part, error) { return nil, want })
	require.ErrorIs(t, err, want)
}

func TestACallIsGenkitsEnvelope(t *testing.T) {
	raw, err := json.Marshal(middleware.GenerateCall{Options: &model.GenerateOptions{Model: "m"}, Turn: 1, MessageIndex: 2})
	require.NoError(t, err)
	assert.JSONEq(t, `{"request":{"model":"m","messages":[]},"currentTurn":1,"messageIndex":2}`, string(raw))
}
