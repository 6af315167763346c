package tool_test

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

type pair struct {
	A int `json:"a" jsonschema_description:"the first"`
	B int `json:"b"`
}

func TestAToolIsShownByItsShortName(t *testing.T) {
	add, err := tool.New("math/add", "Adds.", func(_ context.Context, in pair) (int, error) { return in.A + in.B, nil })
	require.NoError(t, err)
	raw, err := json.Marshal(tool.Definition(add))
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"add","key":"/tool/math/add","description":"Adds.","metadata":{"originalName":"math/add"},"outputSchema":{"type":"integer"},
		"inputSchema":{"type":"object","additionalProperties":false,"required":["a","b"],
			"properties":{"a":{"type":"integer","description":"the first"},"b":{"type":"integer"}}}}`, string(raw))
	sum, err := add.Run(t.Context(), pair{1, 2})
	require.NoError(t, err)
	assert.Equal(t, 3, sum)

	bare, err := tool.NewRaw("bare", "", nil, nil, func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil })
	require.NoError(t, err)
	raw, err = json.Marshal(tool.Definition(bare))
	require.NoError(t, err)
	assert.JSONEq(t, `{"name":"bare","description":"","inputSchema":{"$schema":"http://json-schema.org/draft-07/schema#"},
		"outputSchema":{"$schema":"http://json-schema.org/draft-07/schema#"}}`, string(raw))
	_, err = tool.New("", "", func(context.Context, any) (any, error) { return nil, nil })
	require.Error(t, err)
}

func TestAnEmptyStructMakesAToolWithoutParameters(t *testing.T) {
	plain, err := tool.New("now", "", func(context.Context, struct{}) (int, error) { return 7, nil })
	require.NoError(t, err)
	multi, err := tool.NewMultipart("shot", "", func(context.Context, struct{}) (*tool.Result, error) { return nil, nil })
	require.NoError(t, err)
	asks, err := tool.NewInterrupt[struct{}, bool]("ask", "", nil)
	require.NoError(t, err)
	for _, a := range []action.Action{plain, multi, asks} {
		assert.JSONEq(t, `{"type":"object","properties":{},"additionalProperties":false}`, string(tool.Definition(a).InputSchema))
	}
	own, err := tool.New("own", "", func(context.Context, struct{}) (int, error) { return 7, nil }, tool.WithInputSchema(json.RawMessage(`{"type":"null"}`)))
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"null"}`, string(tool.Definition(own).InputSchema))

	out, err := plain.RunJSON(t.Context(), json.RawMessage(`{}`), nil)
	require.NoError(t, err)
	assert.JSONEq(t, "7", string(out))
	_, err = plain.RunJSON(t.Context(), json.RawMessage(`{"zone":"UTC"}`), nil)
	require.ErrorIs(t, err, action.ErrInvalidInput)
}

func TestInterruptsAreFoundThroughWraps(t *testing.T) {
	ask, err := tool.New("ask", "", func(context.Context, any) (any, error) {
		return nil, fmt.Errorf("wrapped: %w", tool.Interrupt(json.RawMessage(`{"q":1}`)))
	})
	require.NoError(t, err)
	_, err = ask.Run(t.Context(), nil)
	interrupt, ok := tool.AsInterrupt(err)
	require.True(t, ok)
	assert.JSONEq(t, `{"q":1}`, string(interrupt.Metadata))
	_, ok = tool.AsInterrupt(nil)
	assert.False(t, ok)
}

func TestResumedIsForOneRun(t *testing.T) {
	_, ok := tool.Resumed(t.Context())
	assert.False(t, ok)
	ctx := tool.WithResumed(t.Context(), json.RawMessage("true"))
	raw, ok := tool.Resumed(ctx)
	assert.True(t, ok)
	assert.Equal(t, "true", string(raw))
	_, ok = tool.Resumed(tool.WithResumed(ctx, nil))
	assert.False(t, ok)
}

func TestResumedIsReadAsAType(t *testing.T) {
	for raw, want := range map[string]string{``: "0 false", `true`: "0 true", `{"a":3,"b":1}`: "3 true"} {
		v, again, err := tool.ResumedAs[pair](tool.WithResumed(t.Context(), json.RawMessage(raw)))
		require.NoError(t, err, raw)
		assert.Equal(t, want, fmt.Sprint(v.A, again), raw)
	}
	_, again, err := tool.ResumedAs[pair](tool.WithResumed(t.Context(), json.RawMessage(`{"a":"x"}`)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.True(t, again)
}
