package generate_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// A request's own key reaches the model and nobody else.
func TestThePerRequestKeyStaysOutOfTheResponse(t *testing.T) {
	for name, answer := range map[string]string{
		"a response":         `{"message":{"role":"model","content":[{"text":"hi"}]},"finishReason":"stop"}`,
		"an error's details": `{"finishReason":"blocked"}`,
	} {
		reg := newRegistry(t)
		fake := &fakeModel{t: t, responses: []string{answer}}
		m, err := model.New("fake", model.Info{}, fake.generate)
		register(t, reg)(m, err)
		opts := &model.GenerateOptions{
			Model: "fake", Messages: []content.Message{content.NewUserTextMessage("hi")},
			Config: json.RawMessage(`{"temperature":0,"apiKey":"sk-secret"}`),
		}
		var shown []byte
		if name == "a response" {
			shown, err = rawjson.Encode(run(t, reg, opts))
			require.NoError(t, err)
			assert.Contains(t, string(shown), `"config":{"temperature":0}`, name)
		} else {
			shown = status.Convert(runErr(t, reg, opts)).Details
			require.NotEmpty(t, shown)
		}
		assert.NotContains(t, string(shown), "sk-secret", name)
		assert.Contains(t, fake.requests[0], "sk-secret", name)
		assert.Contains(t, string(opts.Config), "sk-secret", "the caller's options are not changed")
	}
}

// Nothing that a call records, whichever way it comes, holds a secret of a config: not
// the call's span, not those of its turns, its model, or an action in another room.
func TestSecretsOfConfigsAreNotRecorded(t *testing.T) {
	const config = `{"apiKey":"sk-secret","headers":{"authorization":"Bearer sk-secret"},"temperature":0.50}`
	setup := func(t *testing.T) (*fakeModel, *model.GenerateOptions, action.Action) {
		reg := newRegistry(t)
		m := newModel(t, reg, calls("look"), says("hi"))
		newTool(t, reg, "look", gives("seen"))
		require.NoError(t, middleware.Register(reg, hooksFactory("keyed", middleware.Hooks{})))
		opts := ask("look")
		opts.Config = json.RawMessage(config)
		opts.Use = []model.MiddlewareRef{{Name: "keyed", Config: json.RawMessage(`{"password":"sk-secret"}`)}}
		return m, opts, generate.Action(reg)
	}
	for name, work := range map[string]func(t *testing.T, spans *telemetrytest.Spans){
		"a generate call": func(t *testing.T, spans *telemetrytest.Spans) {
			m, opts, util := setup(t)
			raw := json.RawMessage(toJSON(t, opts))
			ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
			out, err := util.RunJSON(ctx, raw, nil)
			require.NoError(t, err)
			assert.NotContains(t, string(out), "sk-secret")
			assert.Contains(t, m.requests[0], "sk-secret", "the model has it")
		},
		"other spellings": func(t *testing.T, spans *telemetrytest.Spans) {
			_, opts, util := setup(t)
			opts.Config = json.RawMessage(`{"temperature":0.50,"headers":[["Authorization","Bearer sk-secret"]],"more":[{"name":"x-api-key","value":"sk-secret"}]}`)
			opts.Extra = map[string]json.RawMessage{
				"Config": json.RawMessage(config), "USE": json.RawMessage(`[{"name":"x","Config":` + config + `}]`), "kept": json.RawMessage(`1`),
			}
			opts.Use[0].Extra = map[string]json.RawMessage{"CONFIG": json.RawMessage(config)}
			raw := toJSON(t, opts)
			ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
			out, err := util.RunJSON(ctx, json.RawMessage(raw), nil)
			require.NoError(t, err)
			assert.NotContains(t, string(out), "sk-secret")
			shown := toJSON(t, opts.WithoutSecrets())
			assert.NotContains(t, shown, "sk-secret")
			assert.Contains(t, shown, `"kept":1`)
			assert.JSONEq(t, raw, toJSON(t, opts), "the caller's options are not changed")
			req := &model.Request{Extra: opts.Extra}
			assert.NotContains(t, toJSON(t, req.WithoutSecrets()), "sk-secret")
		},
		"a model that speaks JSON": func(t *testing.T, spans *telemetrytest.Spans) {
			reg := newRegistry(t)
			register(t, reg)(action.New(action.Desc{Kind: action.Model, Name: "raw"}, func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) {
				return json.RawMessage(`{"message":{"role":"model","content":[{"text":"hi"}]},"request":` + string(in) + `}`), nil
			}))
			opts := ask()
			opts.Model, opts.Config = "raw", json.RawMessage(config)
			ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
			resp, err := generate.Run(ctx, reg, opts, nil)
			require.NoError(t, err)
			assert.NotContains(t, toJSON(t, resp), "sk-secret")
		},
		"an embedder": func(t *testing.T, spans *telemetrytest.Spans) {
			a, err := action.New(action.Desc{Kind: action.Embedder, Name: "e"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
				return json.RawMessage(`{"embeddings":[]}`), nil
			})
			require.NoError(t, err)
			ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
			_, err = a.RunJSON(ctx, json.RawMessage(`{"input":[],"options":`+config+`}`), nil)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			spans := &telemetrytest.Spans{}
			work(t, spans)
			require.NotEmpty(t, spans.Ended())
			for _, span := range spans.Ended() {
				for attribute, value := range span {
					assert.NotContains(t, value, "sk-secret", "%s of %s", attribute, span["name"])
				}
				if in := span["genkit:input"]; in != "" && span["genkit:type"] != "" && span["name"] != "look" {
					assert.Contains(t, in, "0.50", "what is no secret is recorded on %s", span["name"])
				}
			}
		})
	}
}
