package condition_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/condition"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
)

func TestAChangeIsMadeWhereItsConditionIsMet(t *testing.T) {
	first := condition.With(t.Context(), func(current *module.Record) error {
		if current == nil || current.Revision != 1 {
			return status.Errorf(status.FailedPrecondition, "another revision")
		}
		return nil
	})
	assert.NoError(t, condition.Met(first, &module.Record{Revision: 1}))
	assert.ErrorIs(t, condition.Met(first, &module.Record{Revision: 2}), status.ErrFailedPrecondition)
	assert.ErrorIs(t, condition.Met(first, nil), status.ErrFailedPrecondition, "nothing is there")

	assert.NoError(t, condition.Met(t.Context(), nil), "without a condition every change is made")
	inner, cancel := context.WithCancel(first)
	cancel()
	assert.Error(t, condition.Met(inner, nil), "contexts made from it have it, too")
}
