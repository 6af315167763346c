package tool_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

type question struct {
	Text string `json:"text"`
}

func pendingPart(t *testing.T) content.Part {
	t.Helper()
	var part content.Part
	require.NoError(t, json.Unmarshal([]byte(`{"toolRequest":{"name":"confirm","ref":"1","input":{"text":"sure?"}},"metadata":{"k":1,"interrupt":{"text":"sure?"}}}`), &part))
	return part
}

func TestAnInterruptAsksAndIsNoFailure(t *testing.T) {
	confirm, err := tool.NewInterrupt[question, bool]("confirm", "Asks.", func(_ context.Context, in question) (any, error) { return in, nil })
	require.NoError(t, err)
	spans := &telemetrytest.Spans{}
	_, err = confirm.Run(telemetry.WithTracerProvider(t.Context(), spans), question{"sure?"})
	interrupt, ok := tool.AsInterrupt(err)
	require.True(t, ok)
	assert.JSONEq(t, `{"text":"sure?"}`, string(interrupt.Metadata))
	span := spans.Ended()[0]
	assert.JSONEq(t, `{"text":"sure?"}`, span["genkit:metadata:interrupt"])
	assert.Equal(t, "success", span["genkit:state"])
	assert.NotContains(t, span, "genkit:isFailureSource")

	d := confirm.Desc()
	assert.JSONEq(t, `true`, string(d.Metadata["interrupt"]))
	assert.JSONEq(t, `{"restartable":false}`, string(d.Metadata["tool"]))
	assert.False(t, tool.Restartable(d))
	assert.False(t, d.HasMultipart(), "interrupts are registered as /tool alone")

	bare, err := tool.NewInterrupt[any, any]("bare", "", nil)
	require.NoError(t, err)
	_, err = bare.Run(telemetry.WithTracerProvider(t.Context(), spans), nil)
	_, ok = tool.AsInterrupt(err)
	assert.True(t, ok)
	assert.Equal(t, "true", spans.Ended()[1]["genkit:metadata:interrupt"])
	odd, err := tool.NewInterrupt[any, any]("odd", "", func(context.Context, any) (any, error) { return 7, nil })
	require.NoError(t, err)
	_, err = odd.Run(t.Context(), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "what is asked is an object")
}

func TestResponsesAreBuiltAndChecked(t *testing.T) {
	confirm, err := tool.NewInterrupt[question, bool]("confirm", "", nil)
	require.NoError(t, err)
	part := pendingPart(t)
	asked, ok := tool.InterruptAs[question](part)
	require.True(t, ok)
	assert.Equal(t, "sure?", asked.Text)
	_, ok = tool.InterruptAs[question](content.NewTextPart("x"))
	assert.False(t, ok)

	for want, options := range map[string][]tool.AnswerOption{
		`{"toolResponse":{"name":"confirm","ref":"1","output":false},"metadata":{"interruptResponse":true}}`:     {tool.WithTool(confirm)},
		`{"toolResponse":{"name":"confirm","ref":"1","output":false},"metadata":{"interruptResponse":{"by":1}}}`: {tool.WithResponseMetadata(map[string]int{"by": 1})},
	} {
		answer, err := tool.Respond(part, false, options...)
		require.NoError(t, err)
		raw, err := json.Marshal(answer)
		require.NoError(t, err)
		assert.JSONEq(t, want, string(raw))
	}
	_, err = tool.Respond(part, "yes", tool.WithTool(confirm))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = tool.Respond(content.NewTextPart("x"), 1)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = tool.Respond(part, make(chan int))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = tool.Respond(part, 1, tool.WithResponseMetadata("text"))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = tool.Restart(part, tool.WithTool(confirm))
	require.ErrorIs(t, err, status.ErrInvalidArgument, "it can only be answered")
}

func TestRestartsAreBuiltAndChecked(t *testing.T) {
	type seen struct{ Resumed, Original, Input string }
	pay, err := tool.New("confirm", "", func(ctx context.Context, in question) (seen, error) {
		resumed, _ := tool.Resumed(ctx)
		original, _ := tool.OriginalInput(ctx)
		return seen{string(resumed), string(original), in.Text}, nil
	})
	require.NoError(t, err)
	part := pendingPart(t)
	again, err := tool.Restart(part, tool.WithTool(pay))
	require.NoError(t, err)
	raw, err := json.Marshal(again)
	require.NoError(t, err)
	assert.JSONEq(t, `{"toolRequest":{"name":"confirm","ref":"1","input":{"text":"sure?"}},"metadata":{"k":1,"resumed":true}}`, string(raw))

	again, err = tool.Restart(part, tool.WithResumedMetadata(map[string]int{"by": 2}), tool.WithNewInput(question{"other"}), tool.WithTool(pay))
	require.NoError(t, err)
	raw, err = json.Marshal(again)
	require.NoError(t, err)
	assert.JSONEq(t, `{"toolRequest":{"name":"confirm","ref":"1","input":{"text":"other"}},"metadata":{"k":1,"resumed":{"by":2},"replacedInput":{"text":"sure?"}}}`, string(raw))
	assert.True(t, part.Metadata.Truthy("interrupt"), "the caller's part")
	assert.JSONEq(t, `{"text":"sure?"}`, string(part.ToolRequest.Input))

	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithTracerProvider(tool.WithReplacedInput(t.Context(), json.RawMessage(`{"by":2}`), part.ToolRequest.Input), spans)
	got, err := pay.Run(ctx, question{"other"})
	require.NoError(t, err)
	assert.Equal(t, seen{`{"by":2}`, `{"text":"sure?"}`, "other"}, got)
	assert.JSONEq(t, `{"by":2}`, spans.Ended()[0]["genkit:metadata:resumed"])

	for _, bad := range []func() (content.Part, error){
		func() (content.Part, error) { return tool.Restart(content.NewTextPart("x")) },
		func() (content.Part, error) { return tool.Restart(part, tool.WithResumedMetadata("text")) },
		func() (content.Part, error) { return tool.Restart(part, tool.WithNewInput(make(chan int))) },
		func() (content.Part, error) {
			return tool.Restart(part, tool.WithNewInput(7), tool.WithTool(pay))
		},
	} {
		_, err := bad()
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
}
