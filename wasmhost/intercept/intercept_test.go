package intercept_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

type nobody struct{ intercept.Interceptor }

func TestAContextNamesWhoStandsInBetween(t *testing.T) {
	assert.Nil(t, intercept.For(t.Context(), intercept.Call{}))
	var told []string
	ctx := intercept.With(t.Context(), func(c intercept.Call) intercept.Interceptor {
		told = append(told, c.Name)
		if c.Name == "m/other" {
			return nil
		}
		return nobody{}
	})
	below, cancel := context.WithCancel(ctx)
	defer cancel()
	assert.Equal(t, nobody{}, intercept.For(below, intercept.Call{Name: "m/t"}))
	assert.Nil(t, intercept.For(below, intercept.Call{Name: "m/other"}))
	assert.Equal(t, []string{"m/t", "m/other"}, told)
}
