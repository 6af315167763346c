package model_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

var info = model.Info{
	Supports:     model.Supports{Tools: true, Constrained: "no-tools"},
	ConfigSchema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`),
}

// echo streams and returns the text of the last message; "fail", "panic" and
// "nothing" do as they say.
func echo(_ context.Context, req *model.Request, send model.Send) (*model.Response, error) {
	text := req.Messages[len(req.Messages)-1].Text()
	switch text {
	case "fail":
		return nil, errors.New("failed")
	case "panic":
		panic("ouch")
	case "nothing":
		return nil, nil
	}
	if send != nil {
		if err := send(&model.Chunk{Content: []content.Part{content.NewTextPart(text)}}); err != nil {
			return nil, err
		}
	}
	return &model.Response{Message: new(content.NewModelTextMessage(text)), FinishReason: model.FinishStop}, nil
}

func newEcho(t testing.TB) model.Model {
	t.Helper()
	m, err := model.New("acme/echo", info, echo)
	require.NoError(t, err)
	return m
}

// foreign hides that a model is one, as a provider's action would.
type foreign struct{ action.Action }

func TestBothPathsBehaveAlike(t *testing.T) {
	native := newEcho(t)
	assert.Same(t, native, model.From(native))
	for name, m := range map[string]model.Model{"typed": native, "JSON": model.From(foreign{native})} {
		t.Run(name, func(t *testing.T) {
			ask := func(text, config string) (*model.Response, string, error) {
				streamed := ""
				req := &model.Request{Messages: []content.Message{content.NewUserTextMessage(text)}, Config: json.RawMessage(config)}
				resp, err := m.Generate(t.Context(), req, func(c *model.Chunk) error { streamed += c.Text(); return nil })
				return resp, streamed, err
			}
			resp, streamed, err := ask("hi", `{"n":1}`)
			require.NoError(t, err)
			assert.Equal(t, "hi", resp.Text())
			assert.Equal(t, "hi", streamed)
			_, _, err = ask("hi", `null`)
			require.NoError(t, err)
			_, _, err = ask("hi", `{"n":"x"}`)
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			require.ErrorIs(t, err, action.ErrInvalidInput)
			for _, bad := range []string{"fail", "panic", "nothing"} {
				_, _, err = ask(bad, "")
				require.Error(t, err, bad)
				assert.Equal(t, status.Internal, status.Of(err), bad)
			}
			supports := m.Info().Supports
			supports.Denied = nil // JSON tells a no from silence
			assert.Equal(t, info.Supports, supports)
			listed := m.Desc()
			assert.Contains(t, string(listed.InputSchema), `"messages"`)
			assert.Contains(t, string(listed.OutputSchema), `"finishReason"`)
			assert.Equal(t, "no-tools", m.Info().Supports.Constrained)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_, err = m.Generate(ctx, &model.Request{}, nil)
			require.ErrorIs(t, err, status.ErrCancelled)
			gone := errors.New("gone")
			_, err = m.Generate(t.Context(), &model.Request{Messages: []content.Message{content.NewUserTextMessage("x")}}, func(*model.Chunk) error { return gone })
			require.ErrorIs(t, err, gone)
		})
	}
}

func TestOneSpanACall(t *testing.T) {
	for name, wrap := range map[string]func(action.Action) model.Model{
		"typed": func(a action.Action) model.Model { return model.From(a) },
		"JSON":  func(a action.Action) model.Model { return model.From(foreign{a}) },
	} {
		spans := &telemetrytest.Spans{}
		ctx := telemetry.WithTracerProvider(t.Context(), spans)
		m := wrap(newEcho(t))
		req := &model.Request{Messages: []content.Message{content.NewUserTextMessage("hi")}}
		_, err := m.Generate(ctx, req, nil)
		require.NoError(t, err)
		_, err = m.Generate(telemetry.WithBodies(ctx), req, nil)
		require.NoError(t, err)
		ended := spans.Ended()
		require.Len(t, ended, 2, name)
		attrs := ended[1]
		assert.Equal(t, "/model/acme/echo", attrs["genkit:key"], name)
		assert.Equal(t, "model", attrs["genkit:metadata:subtype"], name)
		assert.JSONEq(t, `{"messages":[{"role":"user","content":[{"text":"hi"}]}]}`, attrs["genkit:input"], name)
		assert.Contains(t, attrs["genkit:output"], `"hi"`, name)
		assert.NotContains(t, ended[0], "genkit:input", name)
		assert.NotContains(t, ended[0], "genkit:output", name)
	}
}

func TestNewRefusesWhatItCannotUse(t *testing.T) {
	_, err := model.New("", info, echo)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = model.New("m", model.Info{ConfigSchema: json.RawMessage(`{"type":"x"}`)}, echo)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = newEcho(t).RunJSON(t.Context(), json.RawMessage(`[]`), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestADescriptorPublishesTheInfo(t *testing.T) {
	d := newEcho(t).Desc()
	assert.JSONEq(t, `{"label":"acme/echo","supports":{"multiturn":false,"media":false,"tools":true,"systemRole":false,"context":false,
		"constrained":"no-tools","toolChoice":false},"customOptions":`+string(info.ConfigSchema)+`}`, string(d.Metadata["model"]))
	assert.Equal(t, `"model"`, string(d.Metadata["type"]))
}
