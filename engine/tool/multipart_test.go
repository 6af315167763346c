package tool_test

import (
	"context"
	"encoding/json"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

func TestMultipartToolsReturnPartsAndMetadata(t *testing.T) {
	shot, err := tool.NewMultipart("web/shot", "Takes a picture.", func(ctx context.Context, in pair) (*tool.Result, error) {
		switch in.A {
		case 0:
			return nil, nil
		case 1:
			return &tool.Result{Output: "no number"}, nil
		}
		var wg sync.WaitGroup
		for range in.B {
			wg.Go(func() { assert.NoError(t, tool.AttachParts(ctx, content.NewTextPart("attached"))) })
		}
		wg.Wait()
		return &tool.Result{Output: in.A, Content: []content.Part{content.NewTextPart("first")}, Metadata: content.Metadata{"k": content.True()}}, nil
	}, tool.WithOutputSchema(json.RawMessage(`{"type":["integer","null"]}`)), tool.WithStrictSchema(true))
	require.NoError(t, err)
	result, err := shot.Run(t.Context(), pair{7, 2})
	require.NoError(t, err)
	assert.Equal(t, json.Number("7"), result.Output)
	assert.Equal(t, "firstattachedattached", content.TextOf(result.Content))
	assert.True(t, result.Metadata.Truthy("k"))
	result, err = shot.Run(t.Context(), pair{})
	require.NoError(t, err)
	assert.Equal(t, tool.Result{}, result)
	_, err = shot.Run(t.Context(), pair{A: 1})
	require.ErrorIs(t, err, status.ErrInternal, "the output in the response has a schema of its own")

	d := shot.Desc()
	assert.Equal(t, "/tool.v2/web/shot", d.Key().String())
	assert.JSONEq(t, string(action.MultipartSchema), string(d.OutputSchema))
	assert.JSONEq(t, `{"multipart":true,"strict":true}`, string(d.Metadata["tool"]))
	def := tool.Definition(shot)
	assert.Equal(t, "/tool.v2/web/shot", def.Key)
	assert.JSONEq(t, `{"type":["integer","null"]}`, string(def.OutputSchema))
	assert.JSONEq(t, `true`, string(def.Metadata["strict"]))

	_, err = tool.NewMultipart("bad", "", func(context.Context, any) (*tool.Result, error) { return nil, nil }, tool.WithOutputSchema(json.RawMessage(`{"type":1}`)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	require.ErrorIs(t, tool.AttachParts(t.Context()), status.ErrFailedPrecondition)
}

func TestPartialOutputsAreStreamed(t *testing.T) {
	slow, err := tool.New("slow", "", func(ctx context.Context, _ any) (int, error) {
		if err := tool.SendPartial(ctx, map[string]int{"n": 1}); err != nil {
			return 0, err
		}
		return 2, nil
	}, tool.WithInputSchema(json.RawMessage(`{"type":"object"}`)))
	require.NoError(t, err)
	var got []string
	_, err = slow.RunJSON(t.Context(), json.RawMessage(`{}`), func(c json.RawMessage) error { got = append(got, string(c)); return nil })
	require.NoError(t, err)
	assert.Equal(t, []string{`{"n":1}`}, got)
	_, err = slow.RunJSON(t.Context(), json.RawMessage(`{}`), nil)
	require.NoError(t, err, "nobody streams")
	_, err = slow.RunJSON(t.Context(), json.RawMessage(`1`), nil)
	require.ErrorIs(t, err, action.ErrInvalidInput, "the given schema counts")
	require.NoError(t, tool.SendPartial(t.Context(), 1))
}
