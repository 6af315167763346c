package flow_test

import (
	"context"
	"encoding/json"
	"errors"
	"iter"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestAFlowIsAnActionWithSteps(t *testing.T) {
	f, err := flow.New("shop/total", func(ctx context.Context, prices []int) (int, error) {
		return flow.Run(ctx, "sum", func(context.Context) (int, error) {
			sum := 0
			for _, p := range prices {
				if p < 0 {
					return 0, status.Publicf(status.InvalidArgument, "negative price")
				}
				sum += p
			}
			return sum, nil
		})
	})
	require.NoError(t, err)
	assert.Equal(t, "/flow/shop/total", f.Desc().Key().String())
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
	out, err := f.RunJSON(ctx, json.RawMessage(`[1,2]`), nil)
	require.NoError(t, err)
	assert.Equal(t, "3", string(out))
	ended := spans.Ended()
	require.Len(t, ended, 2)
	assert.Equal(t, "flowStep", ended[0]["genkit:type"])
	assert.Equal(t, "/{shop/total,t:flow}/{sum,t:flowStep}", ended[0]["genkit:path"])
	assert.Equal(t, "3", ended[0]["genkit:output"])
	assert.Equal(t, "flow", ended[1]["genkit:metadata:subtype"])

	_, err = f.Run(ctx, []int{-1})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	ended = spans.Ended()
	assert.Equal(t, "true", ended[2]["genkit:isFailureSource"], "the step failed")
	assert.Empty(t, ended[3]["genkit:isFailureSource"], "the flow only passed it on")
}

func TestAStreamingFlowMayAlwaysSend(t *testing.T) {
	f, err := flow.NewStreaming("count", func(_ context.Context, n int, send func(int) error) (string, error) {
		for i := range n {
			if err := send(i); err != nil {
				return "", err
			}
		}
		return "done", nil
	})
	require.NoError(t, err)
	out, err := f.Run(t.Context(), 2)
	require.NoError(t, err)
	assert.Equal(t, "done", out)
	var chunks []string
	_, err = f.RunJSON(t.Context(), json.RawMessage(`2`), func(c json.RawMessage) error { chunks = append(chunks, string(c)); return nil })
	require.NoError(t, err)
	assert.Equal(t, []string{"0", "1"}, chunks)
	gone := errors.New("gone")
	_, err = f.RunJSON(t.Context(), json.RawMessage(`2`), func(json.RawMessage) error { return gone })
	require.ErrorIs(t, err, gone)
}

func TestAFlowNeedsANameAndTypes(t *testing.T) {
	_, err := flow.New("", func(context.Context, int) (int, error) { return 0, nil })
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = flow.New("x", func(context.Context, func()) (int, error) { return 0, nil })
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestAFlowIsDescribed(t *testing.T) {
	f, err := flow.New("x", func(_ context.Context, in any) (any, error) { return in, nil },
		flow.WithDescription("Echoes."), flow.WithInputSchema(json.RawMessage(`{"type":"string"}`)), flow.WithOutputSchema(json.RawMessage(`{"maxLength":2}`)),
		flow.WithMetadata("k", json.RawMessage(`1`)), flow.WithMetadata("type", json.RawMessage(`"lie"`)))
	require.NoError(t, err)
	raw, err := json.Marshal(f.Desc())
	require.NoError(t, err)
	assert.JSONEq(t, `{"key":"/flow/x","type":"flow","name":"x","description":"Echoes.","inputSchema":{"type":"string"},"outputSchema":{"maxLength":2},"metadata":{"type":"flow","k":1}}`, string(raw))
	_, err = f.RunJSON(t.Context(), json.RawMessage(`7`), nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = f.RunJSON(t.Context(), json.RawMessage(`"abc"`), nil)
	require.ErrorIs(t, err, status.ErrInternal)
}

func TestAStepShowsItsInputAndItsPanic(t *testing.T) {
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
	out, err := flow.RunWith(ctx, "double", 21, func(_ context.Context, n int) (int, error) { return 2 * n, nil })
	require.NoError(t, err)
	assert.Equal(t, 42, out)
	_, err = flow.Run(ctx, "trip", func(context.Context) (int, error) { panic("ouch") })
	require.ErrorIs(t, err, status.ErrInternal)
	_, err = flow.RunWith(ctx, "odd", make(chan int), func(context.Context, chan int) (chan int, error) { return nil, nil })
	require.NoError(t, err, "what is no JSON is not shown")
	ended := spans.Ended()
	assert.Equal(t, "21", ended[0]["genkit:input"])
	assert.Equal(t, "42", ended[0]["genkit:output"])
	assert.Equal(t, "error", ended[1]["genkit:state"])
	assert.Empty(t, ended[2]["genkit:input"])
	plain, err := flow.RunWith(t.Context(), "double", 1, func(_ context.Context, n int) (int, error) { return n, nil })
	require.NoError(t, err)
	assert.Equal(t, 1, plain)
}

func TestABidiFlowIsAFlow(t *testing.T) {
	f, err := flow.NewBidi("talk", func(_ context.Context, init string, inputs iter.Seq2[int, error], send func(int) error) (string, error) {
		for n, err := range inputs {
			if err != nil {
				return "", err
			}
			if err := send(n * 2); err != nil {
				return "", err
			}
		}
		return init, nil
	}, flow.WithDescription("Talks."))
	require.NoError(t, err)
	raw, err := json.Marshal(f.Desc())
	require.NoError(t, err)
	assert.JSONEq(t, `{"key":"/flow/talk","type":"flow","name":"talk","description":"Talks.","inputSchema":{"type":"integer"},
		"outputSchema":{"type":"string"},"streamSchema":{"type":"integer"},"initSchema":{"type":"string"},"metadata":{"type":"flow","bidi":true}}`, string(raw))
	c, err := f.Connect(t.Context(), "bye")
	require.NoError(t, err)
	require.NoError(t, c.Send(t.Context(), 21))
	c.Close()
	for n, err := range c.Receive() {
		require.NoError(t, err)
		assert.Equal(t, 42, n)
	}
	out, err := c.Output()
	require.NoError(t, err)
	assert.Equal(t, "bye", out)
}
