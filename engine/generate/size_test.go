package generate_test

import (
	"context"
	"encoding/json"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// list returns n times the element, with commas between.
func list(element string, n int) string {
	return "[" + strings.TrimSuffix(strings.Repeat(element+",", n), ",") + "]"
}

// members returns an object with n members.
func members(n int) string {
	var b strings.Builder
	for i := range n {
		b.WriteString(`,"` + strconv.Itoa(i) + `":1`)
	}
	return "{" + b.String()[1:] + "}"
}

// A list of 4 MB named 232,000 middleware, each of which was made before the second was
// refused.
func TestListsOfARequestAreBoundBeforeAnythingIsResolved(t *testing.T) {
	reg := newRegistry(t)
	var made atomic.Int64
	f, err := middleware.New(middleware.Desc{Name: "counted"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
		made.Add(1)
		return &middleware.Hooks{}, nil
	})
	require.NoError(t, err)
	require.NoError(t, middleware.Register(reg, f))
	register(t, reg)(model.New("m", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		return &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishStop}, nil
	}))
	run := func(fields string, limits allowance.Limits) error {
		t.Helper()
		raw := json.RawMessage(`{"model":"m","messages":[{"role":"user","content":[{"text":"\"],[{x"}]}],` + fields + `}`)
		_, err := generate.Action(reg, generate.WithLimits(limits)).RunJSON(t.Context(), raw, nil)
		return err
	}
	for name, c := range map[string]struct{ fields, want string }{
		"use":                       {`"use":` + list(`{"name":"counted"}`, 232_000), `"use" has 232000 entries, which is more than the 64`},
		"one more than may be":      {`"use":` + list(` { "name" : "counted" } `, 65), `"use" has 65 entries`},
		"a name that is escaped":    {`"\u0075se":` + list(`{"name":"counted"}`, 65), `"use" has 65 entries`},
		"tools":                     {`"tools":` + list(`"a/*"`, 513), `"tools" has 513 entries, which is more than the 512`},
		"resources":                 {`"resources":` + list(`"a:*"`, 513), `"resources" has 513 entries`},
		"documents":                 {`"docs":` + list(`{"content":[]}`, 60_000), `which is more than the 100000`},
		"parts":                     {`"docs":[{"content":` + list(`{"data":1}`, 60_000) + `}]`, `which is more than the 100000`},
		"members of a part":         {`"docs":[{"content":[` + members(120_000) + `]}]`, `which is more than the 100000`},
		"parts of a tool's answer":  {`"docs":[{"content":[{"toolResponse":{"name":"x","content":` + list(`{"data":1}`, 60_000) + `}}]}]`, `which is more than the 100000`},
		"what answers an interrupt": {`"resume":{"respond":` + list(`{"toolResponse":{"name":"x"}}`, 40_000) + `}`, `which is more than the 100000`},
	} {
		t.Run(name, func(t *testing.T) {
			err := run(c.fields, allowance.Limits{})
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			assert.ErrorContains(t, err, c.want)
			assert.Zero(t, made.Load())
		})
	}
	require.NoError(t, run(`"use":`+list(`{"name":"counted"}`, 64), allowance.Limits{}))
	require.NoError(t, run(`"use":`+list(`{"name":"counted"}`, 65), allowance.Limits{Use: -1}))
	require.NoError(t, run(`"docs":[{"content":[{"data":`+list(`1`, 200_000)+`}]}]`, allowance.Limits{}), "data is kept as it is written")
	require.ErrorIs(t, run(`"use":`+list(`{"name":"counted"}`, 2), allowance.Limits{Use: 1}), status.ErrInvalidArgument)

	made.Store(0)
	opts := &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("x")}, Use: make([]model.MiddlewareRef, 65)}
	_, err = generate.Run(t.Context(), reg, opts, nil)
	require.ErrorContains(t, err, `"use" has 65 entries`, "those of a Go program")
}

// The hooks of a caller who had left went on being made.
func TestNothingMoreIsMadeForACallerWhoHasLeft(t *testing.T) {
	reg := newRegistry(t)
	ctx, leave := context.WithCancel(t.Context())
	var made atomic.Int64
	f, err := middleware.New(middleware.Desc{Name: "counted"}, func(context.Context, json.RawMessage) (*middleware.Hooks, error) {
		if made.Add(1) == 3 {
			leave()
		}
		return &middleware.Hooks{}, nil
	})
	require.NoError(t, err)
	require.NoError(t, middleware.Register(reg, f))
	opts := &model.GenerateOptions{Model: "m", Messages: []content.Message{content.NewUserTextMessage("x")}}
	for range 10 {
		opts.Use = append(opts.Use, model.MiddlewareRef{Name: "counted"})
	}
	_, err = generate.Run(ctx, reg, opts, nil)
	require.ErrorIs(t, err, status.ErrCancelled)
	assert.EqualValues(t, 3, made.Load())
}

func FuzzSizesAreMeasuredOfAnyText(f *testing.F) {
	for _, s := range []string{`{"use":[{"name":"a"},1,"]"]}`, `[`, `{"use"`, `{"use":[1 2]}`, `{,,}`, `{"messages":[{"content":[{"text":"\\"}]}]}`, `}`, `{"use":]`, `{[`} {
		f.Add([]byte(s))
	}
	reg := newRegistry(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		var options struct {
			Use []json.RawMessage `json:"use"`
		}
		err := generate.CheckSize(t.Context(), reg, raw, generate.WithLimits(allowance.Limits{Use: 1}))
		var all map[string]json.RawMessage
		if json.Unmarshal(raw, &all) != nil || json.Unmarshal(all["use"], &options.Use) != nil {
			return // its counts of invalid JSON do not matter, as long as it returns
		}
		if len(options.Use) > 1 && strings.Count(string(raw), "use") == 1 {
			require.Error(t, err)
		}
	})
}

// turns is a pacer that counts.
type turns struct{ begun, ended *atomic.Int64 }

func (p turns) Pause(context.Context) error { p.begun.Add(1); return nil }
func (p turns) End()                        { p.ended.Add(1) }

// Sixteen requests of 0.9 MB took the processors from other tenants' calls.
func TestABigRequestIsDecodedAndAnsweredInTurn(t *testing.T) {
	reg := newRegistry(t)
	var begun, ended, asked atomic.Int64
	register(t, reg)(model.New("m", model.Info{}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		asked.Store(begun.Load() - ended.Load())
		return &model.Response{Message: new(content.NewModelTextMessage("x")), FinishReason: model.FinishStop}, nil
	}))
	ctx := schema.WithPacer(t.Context(), func() schema.Pacer { return turns{&begun, &ended} })
	run := func(text string) int64 {
		t.Helper()
		begun.Store(0)
		ended.Store(0)
		raw := json.RawMessage(`{"model":"m","messages":[{"role":"user","content":[{"text":"` + text + `"}]}]}`)
		_, err := generate.Action(reg).RunJSON(ctx, raw, nil)
		require.NoError(t, err)
		assert.Equal(t, begun.Load(), ended.Load())
		return begun.Load()
	}
	assert.Zero(t, run("small"), "waits for nobody")
	assert.EqualValues(t, 2, run(strings.Repeat("x", 20_000)), "decoded, and encoded")
	assert.Zero(t, asked.Load(), "the model is asked while others have the turn")
}
