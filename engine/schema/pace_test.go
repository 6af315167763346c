package schema_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
)

// costly are pairs of schema and document that take a check long: one for each of its ways.
func costly() map[string][2]string {
	var rules, keys, all []string
	for i := range 500 {
		rules = append(rules, fmt.Sprintf(`"k%d":{"required":["k1"]}`, i))
		all = append(all, fmt.Sprintf(`{"properties":{"k%d":true}}`, i))
	}
	for i := range 5000 {
		keys = append(keys, fmt.Sprintf(`"k%d":1`, i))
	}
	object := `{` + strings.Join(keys, ",") + `}`
	return map[string][2]string{
		"one pass":             {`{"dependentSchemas":{` + strings.Join(rules, ",") + `}}`, object},
		"the slower validator": {`{"allOf":[` + strings.Join(all, ",") + `],"unevaluatedProperties":false}`, object},
		"a pattern":            {`{"not":{"pattern":"x{10}y"}}`, `"` + strings.Repeat("x", 20_000) + `"`},
	}
}

type pacer struct {
	pauses, ends int
	refuse       error
}

func (p *pacer) Pause(context.Context) error { p.pauses++; return p.refuse }
func (p *pacer) End()                        { p.ends++ }

func TestACheckThatTakesLongPauses(t *testing.T) {
	for name, c := range costly() {
		t.Run(name, func(t *testing.T) {
			s, err := schema.Compile(json.RawMessage(c[0]))
			require.NoError(t, err)
			var made []*pacer
			ctx := schema.WithPacer(t.Context(), func() schema.Pacer { made = append(made, &pacer{}); return made[len(made)-1] })
			_ = s.Check(ctx, json.RawMessage(c[1])) // whatever the verdict
			require.NotEmpty(t, made)
			for _, p := range made {
				assert.Positive(t, p.pauses)
				assert.Equal(t, 1, p.ends)
			}

			made = nil
			refused := errors.New("not now")
			ctx = schema.WithPacer(t.Context(), func() schema.Pacer { made = append(made, &pacer{refuse: refused}); return made[len(made)-1] })
			require.ErrorIs(t, s.Check(ctx, json.RawMessage(c[1])), refused)
			require.Len(t, made, 1)
			assert.Equal(t, 1, made[0].pauses, "nothing goes on after that")
			assert.Equal(t, 1, made[0].ends)
		})
	}
}

func TestACheckEndsWithItsCaller(t *testing.T) {
	for name, c := range costly() {
		s, err := schema.Compile(json.RawMessage(c[0]))
		require.NoError(t, err)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		require.ErrorIs(t, s.Check(ctx, json.RawMessage(c[1])), context.Canceled, name)
	}
}

func TestAShortCheckMakesNoPacer(t *testing.T) {
	s, err := schema.Compile(json.RawMessage(`{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}`))
	require.NoError(t, err)
	ctx := schema.WithPacer(t.Context(), func() schema.Pacer { t.Error("it was made"); return &pacer{} })
	require.NoError(t, s.Check(ctx, json.RawMessage(`{"a":1}`)))
	require.Error(t, s.Check(ctx, json.RawMessage(`{"a":"x"}`)))
}

func TestADeferredSchemaIsCompiledWhenItIsUsed(t *testing.T) {
	broken := json.RawMessage(`{"type":"nonsense"}`)
	_, err := schema.Compile(broken)
	require.Error(t, err)
	s, err := schema.Compile(broken, schema.Deferred())
	require.NoError(t, err, "nothing of it was compiled")
	assert.True(t, s.Demanding())
	for range 2 {
		err = s.Check(t.Context(), json.RawMessage(`1`))
		require.ErrorContains(t, err, "not a valid JSON Schema")
		var invalid *schema.ValidationError
		assert.NotErrorAs(t, err, &invalid, "it is not the document's fault")
	}

	s, err = schema.Compile(json.RawMessage(`{"type":"string","format":"email"}`), schema.AssertFormats(), schema.Deferred())
	require.NoError(t, err)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			assert.NoError(t, s.Check(t.Context(), json.RawMessage(`"a@b.c"`)))
			assert.Error(t, s.Check(t.Context(), json.RawMessage(`"none"`)))
			assert.NoError(t, s.In(schema.WithoutFormats(t.Context())).Check(t.Context(), json.RawMessage(`"none"`)))
		})
	}
	wg.Wait()

	for _, raw := range []string{`{`, `1`, `{"a":1,"a":2}`} {
		_, err := schema.Compile(json.RawMessage(raw), schema.Deferred())
		require.Error(t, err, raw)
	}
	s, err = schema.Compile(json.RawMessage(`{"title":"anything"}`), schema.Deferred())
	require.NoError(t, err)
	assert.False(t, s.Demanding())
}

func TestABigSchemaIsNotPartOfAnError(t *testing.T) {
	for padding, shown := range map[int]bool{10: true, 20_000: false} {
		s, err := schema.Compile(json.RawMessage(`{"type":"string","$comment":"` + strings.Repeat("x", padding) + `"}`))
		require.NoError(t, err)
		var invalid *schema.ValidationError
		require.ErrorAs(t, s.Validate(json.RawMessage(`1`)), &invalid)
		_, found := invalid.Details()["schema"]
		assert.Equal(t, shown, found)
		assert.Less(t, len(invalid.Error()), 40_000)
	}
}

func TestWorkThatCannotPauseWaitsForItsTurn(t *testing.T) {
	p := &pacer{}
	ctx := schema.WithPacer(t.Context(), func() schema.Pacer { return p })
	failed := errors.New("no")
	inside := func() error {
		assert.Zero(t, p.ends)
		return failed
	}
	require.ErrorIs(t, schema.InTurn(t.Context(), 1<<20, inside), failed, "without a pacer")
	require.ErrorIs(t, schema.InTurn(ctx, 1<<10, inside), failed)
	assert.Zero(t, p.pauses, "what is small does not wait")
	require.ErrorIs(t, schema.InTurn(ctx, 1<<20, inside), failed)
	assert.Equal(t, &pacer{pauses: 1, ends: 1}, p)
	p.refuse = errors.New("not now")
	require.ErrorIs(t, schema.InTurn(ctx, 1<<20, func() error { assert.Fail(t, "it has no turn"); return nil }), p.refuse)
	assert.Equal(t, 2, p.ends)
}
