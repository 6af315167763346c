package action_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type input struct {
	N int `json:"n"`
}

func double(_ context.Context, in input, send func(int) error) (int, error) {
	switch in.N {
	case 13:
		panic("ouch")
	case 14:
		return 0, errors.New("plain")
	}
	for i := range in.N {
		if send == nil {
			break
		}
		if err := send(i); err != nil {
			return 0, err
		}
	}
	return in.N * 2, nil
}

func newDouble(t testing.TB) *action.Def[input, int, int] {
	t.Helper()
	d, err := action.Define(action.Desc{Kind: action.Tool, Name: "math/double", Description: "Doubles."}, double)
	require.NoError(t, err)
	return d
}

func TestRunsAreValidatedAtBothEnds(t *testing.T) {
	d := newDouble(t)
	out, err := d.RunJSON(t.Context(), json.RawMessage(`{"n":2}`), nil)
	require.NoError(t, err)
	assert.Equal(t, "4", string(out))
	for _, bad := range []string{`{"n":"2"}`, `{}`, `{"n":1,"q":2}`, `[`, `{"n":1} {}`, `{"n":1.5}`} {
		_, err = d.RunJSON(t.Context(), json.RawMessage(bad), nil)
		require.ErrorIs(t, err, status.ErrInvalidArgument, bad)
		require.ErrorIs(t, err, action.ErrInvalidInput, bad)
		assert.True(t, status.Convert(err).Public(), bad)
	}
	_, err = d.RunJSON(t.Context(), nil, nil)
	require.ErrorIs(t, err, action.ErrInvalidInput, "an absent input")

	a, err := action.New(action.Desc{Kind: action.Tool, Name: "x", OutputSchema: json.RawMessage(`{"type":"string"}`)},
		func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil })
	require.NoError(t, err)
	_, err = a.RunJSON(t.Context(), json.RawMessage(`1`), nil)
	require.ErrorIs(t, err, action.ErrInvalidOutput)
	require.ErrorIs(t, err, status.ErrInternal)
	_, err = a.RunJSON(t.Context(), nil, nil)
	require.ErrorIs(t, err, action.ErrInvalidOutput, "no output is null")
}

func TestFailuresBecomeErrors(t *testing.T) {
	d := newDouble(t)
	_, err := d.Run(t.Context(), input{13})
	require.ErrorIs(t, err, status.ErrInternal)
	assert.Contains(t, err.Error(), "ouch")
	assert.False(t, status.Convert(err).Public())
	_, err = d.Run(t.Context(), input{14})
	require.EqualError(t, err, "plain")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = d.Run(ctx, input{1})
	require.ErrorIs(t, err, status.ErrCancelled)
}

func TestStreamsEndWithTheirReader(t *testing.T) {
	d := newDouble(t)
	var chunks []int
	for e, err := range d.Stream(t.Context(), input{3}) {
		require.NoError(t, err)
		if e.Done {
			assert.Equal(t, 6, e.Output)
			break
		}
		chunks = append(chunks, e.Chunk)
	}
	assert.Equal(t, []int{0, 1, 2}, chunks)
	for range d.Stream(t.Context(), input{1000}) {
		break // goleak watches
	}
	var last error
	for _, err := range d.Stream(t.Context(), input{13}) {
		last = err
	}
	require.ErrorIs(t, last, status.ErrInternal)
	assert.Panics(t, func() {
		for range d.Stream(t.Context(), input{1000}) {
			panic("in the loop")
		}
	})
}

func TestLeavingALoopCancelsTheWork(t *testing.T) {
	ended := false
	for range action.Iterate(t.Context(), func(ctx context.Context, send func(int) error) error {
		_ = send(1)
		<-ctx.Done() // ends only when it is cancelled
		ended = true
		return ctx.Err()
	}) {
		break
	}
	assert.True(t, ended, "the loop went on before its work had ended")
}

func TestIterateCatchesPanics(t *testing.T) {
	var last error
	for _, err := range action.Iterate(t.Context(), func(context.Context, func(int) error) error { panic("x") }) {
		last = err
	}
	require.ErrorIs(t, last, status.ErrInternal)
}

func TestNumbersKeepTheirDigitsInUntypedInputs(t *testing.T) {
	a, err := action.Define(action.Desc{Kind: action.Tool, Name: "same"}, func(_ context.Context, in any, _ func(any) error) (any, error) { return in, nil })
	require.NoError(t, err)
	out, err := a.RunJSON(t.Context(), json.RawMessage(`{"a":12345678901234567890,"b":1.10,"c":"<"}`), nil)
	require.NoError(t, err)
	assert.Equal(t, `{"a":12345678901234567890,"b":1.10,"c":"<"}`, string(out))
}

func TestNamesAndSchemasAreChecked(t *testing.T) {
	nothing := func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) { return nil, nil }
	for _, d := range []action.Desc{
		{},
		{Kind: action.Tool},
		{Name: "x"},
		{Kind: action.Tool, Name: "a\nb"},
		{Kind: action.Tool, Name: "\xff"},
		{Kind: action.Tool, Name: strings.Repeat("x", action.MaxNameBytes+1)},
		{Kind: action.Tool, Name: "x", InputSchema: json.RawMessage(`{"type":"x"}`)},
		{Kind: action.Tool, Name: "x", OutputSchema: json.RawMessage(`[]`)},
	} {
		_, err := action.New(d, nothing)
		require.ErrorIs(t, err, status.ErrInvalidArgument, "%+v", d)
	}
	_, err := action.Define(action.Desc{Kind: action.Tool, Name: "x"}, func(context.Context, chan int, func(any) error) (int, error) { return 0, nil })
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestKeys(t *testing.T) {
	for in, want := range map[string]action.Key{
		"/tool/a":          {Kind: "tool", Name: "a"},
		"/tool.v2/a/b/c":   {Kind: "tool.v2", Name: "a/b/c"},
		"/tool//etc":       {Kind: "tool", Name: "/etc"},
		"/custom/with sp.": {Kind: "custom", Name: "with sp."},
	} {
		got, err := action.ParseKey(in)
		require.NoError(t, err, in)
		assert.Equal(t, want, got)
		assert.Equal(t, in, got.String())
	}
	for _, in := range []string{"", "/", "tool/a", "/tool", "/tool/", "//a"} {
		_, err := action.ParseKey(in)
		require.ErrorIs(t, err, status.ErrInvalidArgument, in)
	}
	assert.Equal(t, "c", action.ShortName("a/b/c"))
	assert.Equal(t, "c", action.ShortName("c"))
}

func TestADescriptorSurvivesTheWire(t *testing.T) {
	d := newDouble(t).Desc()
	raw, err := json.Marshal(d)
	require.NoError(t, err)
	assert.Contains(t, string(raw), `"key":"/tool/math/double","type":"tool","name":"math/double"`)
	var back action.Desc
	require.NoError(t, json.Unmarshal(raw, &back))
	assert.Equal(t, d.Key(), back.Key())
	assert.JSONEq(t, string(d.InputSchema), string(back.InputSchema))
}

func TestTheActionContextDefaultsToAnEmptyObject(t *testing.T) {
	assert.Equal(t, "{}", string(action.Context(t.Context())))
	assert.False(t, action.HasContext(t.Context()))
	ctx := action.WithContext(t.Context(), json.RawMessage(`{"auth":{}}`))
	assert.Equal(t, `{"auth":{}}`, string(action.Context(ctx)))
	assert.True(t, action.HasContext(ctx))
}
