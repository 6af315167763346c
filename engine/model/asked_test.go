package model_test

import (
	"context"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/model"
)

func TestAVersionMayBeAnotherModel(t *testing.T) {
	for config, want := range map[string]string{
		``: "acme/small", `{}`: "acme/small", `null`: "acme/small", `[]`: "acme/small", `{"version":""}`: "acme/small",
		`{"version":null}`: "acme/small", `{"version":7}`: "acme/small", `{"temperature":1}`: "acme/small",
		`{"version":"small-2026"}`:                       "acme/small",
		`{"version":"large"}`:                            "acme/large",
		`{"\u0076ersion":"large"}`:                       "acme/large",
		`{"version":"org/large"}`:                        "acme/org/large",
		`{"Version":"large","x":[{}],"temperature":0.5}`: "acme/small",
	} {
		m, err := model.New("acme/small", model.Info{Versions: []string{"small-2026"}}, func(context.Context, *model.Request, model.Send) (*model.Response, error) { return nil, nil })
		require.NoError(t, err)
		assert.Equal(t, want, model.Asked(m, json.RawMessage(config)), config)
	}
	assert.True(t, model.SameVersion(nil, json.RawMessage(`{"temperature":1}`)))
	assert.False(t, model.SameVersion(json.RawMessage(`{"version":"a"}`), json.RawMessage(`{"version":"b"}`)))
}
