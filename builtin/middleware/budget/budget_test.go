package budget_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/middleware/budget"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func newFactory(t *testing.T, o budget.Options) middleware.Factory {
	t.Helper()
	f, err := budget.New(o)
	require.NoError(t, err)
	return f
}

// spend makes hooks and calls a model of that usage until the budget is used up, at
// most ten times, and returns how often.
func spend(t *testing.T, f middleware.Factory, config, usage string) (int, error) {
	t.Helper()
	hooks, err := f.New(t.Context(), json.RawMessage(config))
	require.NoError(t, err)
	m, err := model.New("acme/m", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		resp := &model.Response{Message: new(content.NewModelTextMessage(strings.Repeat("x", 40)))}
		if usage != "" {
			resp.Usage = &model.Usage{}
			return resp, json.Unmarshal([]byte(usage), resp.Usage)
		}
		return resp, nil
	})
	require.NoError(t, err)
	req := &model.Request{Messages: []content.Message{content.NewUserTextMessage(strings.Repeat("x", 160))}}
	for n := range 10 {
		_, err := hooks.Model(t.Context(), &middleware.ModelCall{Request: req, Model: m}, func(ctx context.Context, call *middleware.ModelCall) (*model.Response, error) {
			return m.Generate(ctx, call.Request, call.Send)
		})
		if err != nil {
			return n, err
		}
	}
	return 10, nil
}

func TestWhatCounts(t *testing.T) {
	prices := budget.Options{Prices: map[string]budget.Price{"acme/m": {Input: 1e6, Output: 2e6}}, DefaultPrice: budget.Price{Input: 1e9}}
	for name, c := range map[string]struct {
		options       budget.Options
		config, usage string
		calls         int
	}{
		"no limits":                        {budget.Options{}, ``, `{"inputTokens":100}`, 10},
		"input and output":                 {budget.Options{}, `{"maxTokens":100}`, `{"inputTokens":30,"outputTokens":20}`, 2},
		"a total that is more":             {budget.Options{}, `{"maxTokens":100}`, `{"inputTokens":30,"outputTokens":20,"totalTokens":100}`, 1},
		"a total alone":                    {budget.Options{}, `{"maxTokens":100}`, `{"totalTokens":50}`, 2},
		"thoughts":                         {budget.Options{}, `{"maxTokens":100}`, `{"inputTokens":30,"thoughtsTokens":20}`, 2},
		"characters when nothing is told":  {budget.Options{}, `{"maxTokens":100}`, ``, 2},
		"nonsense is nothing told":         {budget.Options{}, `{"maxTokens":100}`, `{"inputTokens":-5}`, 2},
		"an answer from the cache is free": {budget.Options{}, `{"maxTokens":100}`, `{"custom":{"cacheHits":1}}`, 10},
		"cost":                             {prices, `{"maxCost":100}`, `{"inputTokens":10,"outputTokens":20}`, 2},
		"the operator's limit holds":       {budget.Options{Call: budget.Limits{MaxTokens: 100}}, ``, `{"inputTokens":50}`, 2},
		"the caller may narrow it":         {budget.Options{Call: budget.Limits{MaxTokens: 100}}, `{"maxTokens":50}`, `{"inputTokens":50}`, 1},
		"and not widen it":                 {budget.Options{Call: budget.Limits{MaxTokens: 100}}, `{"maxTokens":500}`, `{"inputTokens":50}`, 2},
		"the key's tokens":                 {budget.Options{}, `{"key":"k","maxKeyTokens":100}`, `{"inputTokens":50}`, 2},
		"the key's cost":                   {prices, `{"key":"k","maxKeyCost":100}`, `{"inputTokens":50}`, 2},
		"the operator's limit of a key":    {budget.Options{Key: budget.Limits{MaxTokens: 100}}, ``, `{"inputTokens":50}`, 2},
	} {
		t.Run(name, func(t *testing.T) {
			calls, err := spend(t, newFactory(t, c.options), c.config, c.usage)
			assert.Equal(t, c.calls, calls)
			if calls < 10 {
				require.ErrorIs(t, err, status.ErrResourceExhausted)
				require.ErrorIs(t, err, middleware.ErrFinal)
				assert.True(t, status.Convert(err).Public())
			}
		})
	}
}

func TestTheErrorSaysWhoseAndHowMuch(t *testing.T) {
	_, err := spend(t, newFactory(t, budget.Options{}), `{"maxTokens":100}`, `{"inputTokens":60}`)
	assert.EqualError(t, err, "RESOURCE_EXHAUSTED: the budget of this generate call is used up: tokens 120 of 100")
	assert.JSONEq(t, `{"budget":"tokens","used":120,"limit":100}`, string(status.Convert(err).Details))
	_, err = spend(t, newFactory(t, budget.Options{DefaultPrice: budget.Price{Input: 5e5}}), `{"key":"ann","maxKeyCost":30}`, `{"inputTokens":61}`)
	assert.EqualError(t, err, `RESOURCE_EXHAUSTED: the budget of key "ann" is used up: cost 30.5 of 30`)
}

func TestAKeysBudgetLastsForAWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t, budget.Options{Window: time.Minute, Key: budget.Limits{MaxTokens: 100}})
		for _, step := range []struct {
			wait  time.Duration
			key   string
			calls int
			left  time.Duration
		}{
			{0, "a", 2, time.Minute},
			{20 * time.Second, "a", 0, 40 * time.Second}, // other hooks, the same window
			{0, "b", 2, time.Minute},
			{40 * time.Second, "a", 2, time.Minute},
			{0, "b", 0, 20 * time.Second},
		} {
			time.Sleep(step.wait) // of the bubble's clock
			calls, err := spend(t, f, `{"key":"`+step.key+`"}`, `{"inputTokens":50}`)
			assert.Equal(t, step.calls, calls)
			assert.Equal(t, step.left, status.Convert(err).RetryAfter)
		}
	})
}

func TestTheOperatorSaysWhoseBudgetItIs(t *testing.T) {
	f := newFactory(t, budget.Options{Key: budget.Limits{MaxTokens: 100}, KeyOf: func(context.Context) string { return "ann" }})
	calls, _ := spend(t, f, `{"key":"x"}`, `{"inputTokens":50}`)
	assert.Equal(t, 2, calls)
	calls, _ = spend(t, f, `{"key":"y"}`, `{"inputTokens":50}`)
	assert.Zero(t, calls)
}

func TestEveryCallOfTheLoopCounts(t *testing.T) {
	reg := registry.New(nil)
	require.NoError(t, scripted.Plugin().Register(t.Context(), reg))
	require.NoError(t, budget.Plugin(budget.Options{}).Register(t.Context(), reg))
	noop, err := tool.New("noop", "", func(context.Context, any) (any, error) { return 1, nil })
	require.NoError(t, err)
	turn := `{"message":{"content":[{"toolRequest":{"name":"noop"}}]},"usage":{"inputTokens":40}}`
	_, err = generate.Run(t.Context(), reg, &model.GenerateOptions{
		Model: scripted.Name, Config: json.RawMessage(`{"script":[` + turn + `,` + turn + `,` + turn + `,` + turn + `]}`),
		Messages: []content.Message{content.NewUserTextMessage("hi")},
		Use:      []model.MiddlewareRef{{Name: "budget", Config: json.RawMessage(`{"maxTokens":100}`)}},
	}, nil, generate.WithTools(noop))
	require.EqualError(t, err, "RESOURCE_EXHAUSTED: the budget of this generate call is used up: tokens 120 of 100")
}

func TestKeysAreBounded(t *testing.T) {
	f := newFactory(t, budget.Options{Key: budget.Limits{MaxTokens: 100}})
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 50 {
				hooks, err := f.New(t.Context(), json.RawMessage(`{"key":"`+strings.Repeat("k", 1+i+j)+`"}`))
				if !assert.NoError(t, err) {
					return
				}
				_, err = hooks.Model(t.Context(), &middleware.ModelCall{Request: &model.Request{}}, func(context.Context, *middleware.ModelCall) (*model.Response, error) {
					return &model.Response{Usage: &model.Usage{InputTokens: 1}}, nil
				})
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
}
