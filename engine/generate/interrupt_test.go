package generate_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

type amount struct {
	Amt int `json:"amt"`
}

func TestAnswersAreHeldToTheToolsSchemas(t *testing.T) {
	reg := newRegistry(t)
	newModel(t, reg, `{"message":{"role":"model","content":[{"toolRequest":{"name":"confirm","input":{"amt":5}}}]}}`, says("done"), says("done"), says("done"))
	confirm, err := tool.NewInterrupt[amount, bool]("confirm", "", func(_ context.Context, in amount) (any, error) { return in, nil })
	require.NoError(t, err)
	require.NoError(t, reg.Register(confirm))
	resp := run(t, reg, ask("confirm"))
	part := resp.Interrupts()[0]
	asked, ok := tool.InterruptAs[amount](part)
	require.True(t, ok)
	assert.Equal(t, 5, asked.Amt)

	resume := func(tools []string, r model.Resume) error {
		opts := ask(tools...)
		opts.Messages, opts.Resume = resp.History(), &r
		_, err := generate.Run(t.Context(), reg, opts, nil)
		return err
	}
	bad, err := tool.Respond(part, "yes")
	require.NoError(t, err)
	err = resume([]string{"confirm"}, model.Resume{Respond: []content.Part{bad}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "the answer for tool \"confirm\" breaks its schema")
	require.NoError(t, resume(nil, model.Resume{Respond: []content.Part{bad}}), "a tool that is not offered can't be checked")
	good, err := tool.Respond(part, true)
	require.NoError(t, err)
	require.NoError(t, resume([]string{"confirm"}, model.Resume{Respond: []content.Part{good}}))
	again, err := tool.Restart(part)
	require.NoError(t, err)
	err = resume([]string{"confirm"}, model.Resume{Restart: []content.Part{again}})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, err.Error(), "can't be restarted")
}

func TestARestartMayReplaceTheInput(t *testing.T) {
	reg := newRegistry(t)
	m := newModel(t, reg, `{"message":{"role":"model","content":[{"toolRequest":{"name":"pay","ref":"1","input":{"amt":5}}}]}}`, says("done"))
	register(t, reg)(tool.New("pay", "", func(ctx context.Context, in amount) (string, error) {
		if _, again := tool.Resumed(ctx); !again {
			return "", tool.InterruptWith(in)
		}
		original, _ := tool.OriginalInput(ctx)
		return "paid " + string(encode(t, in)) + " for " + string(original), nil
	}))
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithTracerProvider(t.Context(), spans)
	resp, err := generate.Run(ctx, reg, ask("pay"), nil)
	require.NoError(t, err)
	part, err := tool.Restart(resp.Interrupts()[0], tool.WithResumedMetadata(map[string]bool{"ok": true}), tool.WithNewInput(amount{3}))
	require.NoError(t, err)
	opts := ask("pay")
	opts.Messages, opts.Resume = resp.History(), &model.Resume{Restart: []content.Part{part}}
	_, err = generate.Run(ctx, reg, opts, nil)
	require.NoError(t, err)
	assert.JSONEq(t, `{"toolResponse":{"name":"pay","ref":"1","output":"paid {\"amt\":3} for {\"amt\":5}"}}`, toJSON(t, m.request(t, 1).Messages[2].Content[0]))
	assert.JSONEq(t, `{"amt":5}`, string(m.request(t, 1).Messages[1].Content[0].ToolRequest.Input), "the history says what the model asked")

	var notes []string
	for _, span := range spans.Ended() {
		assert.NotContains(t, span, "genkit:isFailureSource", span["name"])
		if span["name"] == "pay" {
			notes = append(notes, span["genkit:state"]+span["genkit:metadata:interrupt"]+span["genkit:metadata:resumed"])
		}
	}
	assert.Equal(t, []string{`success{"amt":5}`, `success{"ok":true}`}, notes)

	part.ToolRequest.Input = json.RawMessage(`"x"`)
	opts.Resume = &model.Resume{Restart: []content.Part{part}}
	require.ErrorIs(t, runErr(t, reg, opts), status.ErrInvalidArgument, "the input is held to the schema")
}
