package tooltest_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
)

// fake is a tool that a function is.
type fake func(ctx context.Context, in json.RawMessage) (json.RawMessage, error)

func (fake) Desc() action.Desc { return action.Desc{} }

func (f fake) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	if err := emit(json.RawMessage("1")); err != nil {
		return nil, err
	}
	return f(ctx, in)
}

// echo answers with its input, and fails as a text in it says.
func echo(ctx context.Context, in json.RawMessage) (json.RawMessage, error) {
	switch string(in) {
	case `"missing"`:
		return nil, status.Publicf(status.NotFound, "it is missing")
	case `"ask"`:
		return nil, &tool.InterruptError{Metadata: json.RawMessage(`{"why": 1}`)}
	case `"ask for nothing"`:
		return nil, &tool.InterruptError{}
	case `"context"`:
		return action.Context(ctx), nil
	case `"damaged"`:
		return json.RawMessage("{"), nil
	}
	return in, nil
}

func run(t *testing.T, tools []tooltest.Tool, text string) (*tooltest.Report, map[string]json.RawMessage) {
	t.Helper()
	file, err := tooltest.Parse([]byte(text))
	require.NoError(t, err)
	r := tooltest.NewReport("m")
	told := []tooltest.CaseResult{}
	good, err := r.RunCases(t.Context(), tools, file.Cases, func(c tooltest.CaseResult) error {
		told = append(told, c)
		return nil
	})
	require.NoError(t, err)
	assert.Equal(t, r.Cases, told)
	return r, good
}

func TestCasesWantAnOutputAnErrorOrAnInterrupt(t *testing.T) {
	one := []tooltest.Tool{{Name: "echo", Run: fake(echo)}}
	for name, test := range map[string]struct {
		text string
		got  string // empty: the case passes
		want string
	}{
		"the same JSON":               {"{input: {a: 1, b: 2}, want: {b: 2.0, a: 1}}", "", ""},
		"other JSON":                  {"{input: {a:  1}, want: {a: 2}}", `{"a":1}`, `{"a":2}`},
		"an output, and no interrupt": {"{input: 1, wantInterrupt: 1}", "1", "interrupt 1"},
		"an output, and no error":     {"{input: 1, wantError: NOT_FOUND}", "1", "error NOT_FOUND"},
		"an output that is no JSON":   {"{input: damaged, want: 1}", "{", "1"},
		"the error":                   {"{input: missing, wantError: NOT_FOUND}", "", ""},
		"another error":               {"{input: missing, wantError: INTERNAL}", "error NOT_FOUND: it is missing", "error INTERNAL"},
		"an error, and no output":     {"{input: missing, want: 1}", "error NOT_FOUND: it is missing", "1"},
		"the interrupt":               {"{input: ask, wantInterrupt: {why: 1.0}}", "", ""},
		"an interrupt without a why":  {"{input: ask for nothing, wantInterrupt: true}", "", ""},
		"another interrupt":           {"{input: ask, wantInterrupt: {why: 2}}", `interrupt {"why": 1}`, `interrupt {"why":2}`},
		"an interrupt, and no output": {"{input: ask, want: {why: 1}}", `interrupt {"why": 1}`, `{"why":1}`},
		"the context":                 {"{input: context, context: {uid: ann}, want: {uid: ann}}", "", ""},
		"a tool that is not there":    {"{tool: none, wantError: NOT_FOUND}", "the module has no such tool", "error NOT_FOUND"},
		"the tool by its name":        {"{tool: echo, input: 1, want: 1}", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := run(t, one, "cases: ["+test.text+"]")
			require.Len(t, r.Cases, 1)
			assert.Equal(t, test.got == "", r.Cases[0].OK)
			assert.Equal(t, test.got, r.Cases[0].Got)
			assert.Equal(t, test.want, r.Cases[0].Want)
			assert.Equal(t, 1, r.Passed+r.Failed)
			assert.Equal(t, r.Cases[0].OK, r.Passed == 1)
		})
	}
}

func TestAReportNamesToolsWithoutACase(t *testing.T) {
	tools := []tooltest.Tool{{Name: "a", Run: fake(echo)}, {Name: "b", Run: fake(echo)}, {Name: "c", Run: fake(echo)}}
	r, good := run(t, tools, `cases: [{tool: a, input: 1, want: 1}, {tool: a, input: 2, want: 2}, {tool: b, input: missing, wantError: NOT_FOUND}, {want: 1}]`)
	assert.Equal(t, []string{"c"}, r.NeverCalled)
	assert.Equal(t, map[string]json.RawMessage{"a": json.RawMessage("1")}, good, "the first that worked; an error is no input that does")
	assert.Equal(t, "the module has no such tool", r.Cases[3].Got, "a case without a tool's name, where there are several")
	raw, err := json.Marshal(tooltest.NewReport("m"))
	require.NoError(t, err)
	assert.JSONEq(t, `{"module":"m","cases":[],"hostile":[],"neverCalled":[],"passed":0,"failed":0}`, string(raw))
}

func TestHostileInputsEndInAnAnswerOrAnErrorThatTells(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		faults bool
	}{
		"an answer":           {nil, false},
		"an interrupt":        {&tool.InterruptError{}, false},
		"an error with code":  {status.Errorf(status.InvalidArgument, "x"), false},
		"a trap":              {status.Errorf(status.Internal, "unreachable"), true},
		"an error without":    {errors.New("x"), true},
		"what is not whole":   {status.Errorf(status.DataLoss, "x"), true},
		"what nobody knows":   {status.Errorf(status.Unknown, "x"), true},
		"one that takes long": {status.Errorf(status.DeadlineExceeded, "x"), false},
	} {
		r := tooltest.NewReport("m")
		seen := map[string]bool{}
		got, err := r.RunHostile(t.Context(), tooltest.Tool{Name: "t", Run: fake(func(_ context.Context, in json.RawMessage) (json.RawMessage, error) {
			seen[string(in)] = true
			return in, test.err
		})}, json.RawMessage(`{"n":1}`))
		require.NoError(t, err)
		assert.True(t, seen[""] && seen[`{"n":null}`] && seen["{}"], "%s: they are made from the input that works", name)
		assert.Equal(t, []tooltest.HostileResult{got}, r.Hostile)
		if test.faults {
			assert.Len(t, got.Failures, got.Inputs, name)
			assert.Equal(t, tooltest.Fault{Input: "no input", Error: status.Convert(test.err).Code.String() + ": " + status.Convert(test.err).Message}, got.Failures[0], name)
		} else {
			assert.Empty(t, got.Failures, name)
		}
		sum := got.Answered
		for _, n := range got.Errors {
			sum += n
		}
		assert.Equal(t, got.Inputs, sum, name)
		assert.Equal(t, []int{1, 0}, map[bool][]int{false: {r.Passed, r.Failed}, true: {r.Failed, r.Passed}}[test.faults], name)
	}
}

func TestTestsEndWithTheirContextAndTheirReader(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	tools := []tooltest.Tool{{Name: "t", Run: fake(func(context.Context, json.RawMessage) (json.RawMessage, error) {
		cancel()
		return json.RawMessage("1"), nil
	})}}
	cases := []tooltest.Case{{Want: json.RawMessage("1")}, {Want: json.RawMessage("1")}}
	r := tooltest.NewReport("m")
	_, err := r.RunCases(ctx, tools, cases, func(tooltest.CaseResult) error { return nil })
	require.ErrorIs(t, err, context.Canceled)
	_, err = r.RunHostile(ctx, tools[0], nil)
	require.ErrorIs(t, err, context.Canceled)
	assert.Zero(t, r.Passed+r.Failed)

	gone := errors.New("the reader is gone")
	_, err = r.RunCases(t.Context(), tools, cases, func(tooltest.CaseResult) error { return gone })
	require.ErrorIs(t, err, gone)
	assert.Len(t, r.Cases, 1)
}
