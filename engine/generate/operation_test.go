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
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// newFilmModel registers a background model "acme/film" that is done at the second
// check.
func newFilmModel(t *testing.T, reg *registry.Registry, cancels bool) {
	t.Helper()
	b := model.Background{
		Start: func(_ context.Context, req *model.Request) (*model.Operation, error) {
			return &model.Operation{ID: "op1", Metadata: map[string]json.RawMessage{"said": encode(t, req.Messages[0].Text()), "n": json.RawMessage("9007199254740993")}}, nil
		},
		Check: func(_ context.Context, op *model.Operation) (*model.Operation, error) {
			c := *op
			c.Action = "/somebody/else"
			switch op.Metadata["checked"] {
			case nil:
				c.Metadata = content.Metadata(op.Metadata).With("checked", content.True())
			default:
				c.Done, c.Output = true, json.RawMessage(says("a film"))
			}
			return &c, nil
		},
	}
	if cancels {
		b.Cancel = func(_ context.Context, op *model.Operation) (*model.Operation, error) {
			return &model.Operation{ID: op.ID, Done: true, Error: &model.OperationError{Message: "cancelled"}}, nil
		}
	}
	actions, err := model.NewBackground("acme/film", model.Info{ConfigSchema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"integer"}}}`)}, b)
	require.NoError(t, err)
	for _, a := range actions {
		require.NoError(t, reg.Register(a))
	}
}

func TestOperationsAreStartedCheckedAndCancelled(t *testing.T) {
	reg := newRegistry(t)
	newFilmModel(t, reg, true)
	opts := ask()
	opts.Model = "acme/film"
	opts.Docs = []content.Document{{Content: []content.Part{content.NewTextPart("fact")}}}
	op, err := generate.StartOperation(t.Context(), reg, opts)
	require.NoError(t, err)
	assert.Equal(t, "/background-model/acme/film", op.Action)
	assert.Equal(t, "op1", op.ID)
	assert.Contains(t, string(op.Metadata["said"]), "fact", "documents are put into the messages of a model that takes none")

	op.Extra = map[string]json.RawMessage{"x": json.RawMessage("1.10")}
	again := decode[model.Operation](t, encode(t, op))
	for _, done := range []bool{false, true} {
		again, err = generate.CheckOperation(t.Context(), reg, again)
		require.NoError(t, err)
		assert.Equal(t, done, again.Done)
		assert.Equal(t, "/background-model/acme/film", again.Action, "restamped")
		assert.Equal(t, "9007199254740993", string(again.Metadata["n"]))
		assert.Equal(t, "1.10", string(again.Extra["x"]))
	}
	resp, err := again.Response()
	require.NoError(t, err)
	assert.Equal(t, "a film", resp.Text())
	resp, err = op.Response()
	require.NoError(t, err)
	assert.Nil(t, resp)

	ended, err := generate.CancelOperation(t.Context(), reg, op)
	require.NoError(t, err)
	assert.JSONEq(t, `{"action":"/background-model/acme/film","id":"op1","done":true,"error":{"message":"cancelled"}}`, toJSON(t, ended))

	for key, inOut := range map[string]string{
		"/background-model/acme/film": "background-model", "/check-operation/acme/film/check": "check-operation", "/cancel-operation/acme/film/cancel": "cancel-operation",
	} {
		k, err := action.ParseKey(key)
		require.NoError(t, err)
		a, err := reg.Lookup(t.Context(), k)
		require.NoError(t, err)
		d := a.Desc()
		assert.JSONEq(t, `"`+inOut+`"`, string(d.Metadata["type"]))
		assert.Contains(t, string(d.OutputSchema), `"done"`)
		if d.Kind == action.BackgroundModel {
			assert.Contains(t, string(d.Metadata["outputSchema"]), "finishReason", "the true output schema")
		}
	}
}

func TestOperationsThatMakeNoSenseAreRefused(t *testing.T) {
	reg := newRegistry(t)
	newFilmModel(t, reg, false)
	register(t, reg)(model.New("liar", model.Info{Supports: model.Supports{LongRunning: true}}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("now"))}, nil
	}))
	newModel(t, reg)
	start := func(name, config string) error {
		opts := ask()
		opts.Model, opts.Config = name, json.RawMessage(config)
		_, err := generate.StartOperation(t.Context(), reg, opts)
		return err
	}
	require.ErrorIs(t, start("m", ""), status.ErrInvalidArgument)
	require.ErrorIs(t, start("liar", ""), status.ErrFailedPrecondition)
	require.ErrorIs(t, start("nope", ""), status.ErrNotFound)
	require.ErrorIs(t, start("acme/film", `{"n":"x"}`), action.ErrInvalidInput)
	_, err := generate.StartOperation(t.Context(), reg, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)

	for name, op := range map[string]*model.Operation{
		"none": nil, "no action": {ID: "1"}, "no key": {ID: "1", Action: "film"}, "another kind": {ID: "1", Action: "/model/m"}, "unknown": {ID: "1", Action: "/background-model/nope"},
	} {
		_, err := generate.CheckOperation(t.Context(), reg, op)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
		_, err = generate.CancelOperation(t.Context(), reg, op)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	_, err = generate.CancelOperation(t.Context(), reg, &model.Operation{ID: "1", Action: "/background-model/acme/film"})
	require.ErrorIs(t, err, status.ErrUnimplemented)

	_, err = model.NewBackground("x", model.Info{}, model.Background{})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	nothing := func(context.Context, *model.Operation) (*model.Operation, error) { return nil, nil }
	actions, err := model.NewBackground("x", model.Info{}, model.Background{Check: nothing, Start: func(context.Context, *model.Request) (*model.Operation, error) { return nil, nil }})
	require.NoError(t, err)
	require.Len(t, actions, 2)
	_, err = actions[1].RunJSON(t.Context(), json.RawMessage(`{"id":"1"}`), nil)
	require.ErrorIs(t, err, status.ErrInternal)
}
