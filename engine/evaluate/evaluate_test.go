package evaluate_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sized passes outputs of at most four bytes and does as an output says that begins with
// "!".
func sized(_ context.Context, c *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
	switch string(c.Output) {
	case `"!panic"`:
		panic("ouch")
	case `"!secret"`:
		return nil, errors.New("the password is hunter2")
	case `"!public"`:
		return nil, status.Publicf(status.InvalidArgument, "the output makes no sense")
	case `"!two"`:
		return []evaluate.Score{{ID: "a", Score: json.RawMessage(`"x"`)}, {ID: "b", Score: json.RawMessage(`0.10`)}}, nil
	case `"!none"`:
		return nil, nil
	}
	return []evaluate.Score{evaluate.Verdict(len(c.Output) <= 4).Because("its size")}, nil
}

func newSized(t testing.TB) action.Action {
	t.Helper()
	a, err := evaluate.New("acme/sized", evaluate.Info{DisplayName: "Size", Definition: "Is short.", ConfigSchema: json.RawMessage(`{"type":"object","properties":{"n":{"type":"number"}}}`)}, sized)
	require.NoError(t, err)
	return a
}

func ask(t *testing.T, a action.Action, in string) (string, error) {
	t.Helper()
	out, err := a.RunJSON(t.Context(), json.RawMessage(in), nil)
	return string(out), err
}

func TestEvaluatorsAreDescribedAsGenkitDoes(t *testing.T) {
	raw, err := json.Marshal(newSized(t).Desc().Metadata)
	require.NoError(t, err)
	assert.JSONEq(t, `{"type":"evaluator","evaluator":{"evaluatorIsBilled":true,"evaluatorDisplayName":"Size","evaluatorDefinition":"Is short.",
		"customOptions":{"type":"object","properties":{"n":{"type":"number"}}}}}`, string(raw))
	free, err := evaluate.New("acme/free", evaluate.Info{Free: true}, sized)
	require.NoError(t, err)
	assert.JSONEq(t, `{"evaluatorIsBilled":false,"evaluatorDisplayName":"","evaluatorDefinition":""}`, string(free.Desc().Metadata["evaluator"]))
	for _, bad := range []evaluate.Info{{ConfigSchema: json.RawMessage(`{"type":"x"}`)}, {ConfigSchema: json.RawMessage(`{`)}} {
		_, err = evaluate.New("x", bad, sized)
		require.ErrorIs(t, err, status.ErrInvalidArgument)
	}
	_, err = evaluate.NewBatch("", evaluate.Info{}, nil)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestAFailureStaysWithItsCase(t *testing.T) {
	out, err := ask(t, newSized(t), `{"evalRunId":"r","dataset":[
		{"testCaseId":"a","input":1,"output":"ok"},{"testCaseId":"b","output":"too long"},{"testCaseId":"c","output":"!panic"},
		{"testCaseId":"d","output":"!secret"},{"testCaseId":"e","output":"!public"},{"testCaseId":"f","output":"!two"},{"testCaseId":"g","output":"!none"}]}`)
	require.NoError(t, err)
	assert.JSONEq(t, `[
		{"sampleIndex":0,"testCaseId":"a","evaluation":{"score":true,"status":"PASS","details":{"reasoning":"its size"}}},
		{"sampleIndex":1,"testCaseId":"b","evaluation":{"score":false,"status":"FAIL","details":{"reasoning":"its size"}}},
		{"sampleIndex":2,"testCaseId":"c","evaluation":{"error":"Evaluation of test case c failed: \nINTERNAL: internal error"}},
		{"sampleIndex":3,"testCaseId":"d","evaluation":{"error":"Evaluation of test case d failed: \nINTERNAL: internal error"}},
		{"sampleIndex":4,"testCaseId":"e","evaluation":{"error":"Evaluation of test case e failed: \nINVALID_ARGUMENT: the output makes no sense"}},
		{"sampleIndex":5,"testCaseId":"f","evaluation":[{"id":"a","score":"x"},{"id":"b","score":0.10}]},
		{"sampleIndex":6,"testCaseId":"g","evaluation":[]}]`, out)
	assert.Contains(t, out, "0.10", "numbers keep their digits")
	assert.NotContains(t, out, "hunter2")
}

func TestRequestsAreChecked(t *testing.T) {
	long := strings.Repeat("x", 300)
	for name, in := range map[string]string{
		"no dataset":           `{"evalRunId":"r"}`,
		"no run":               `{"dataset":[]}`,
		"a case that is none":  `{"evalRunId":"r","dataset":[7]}`,
		"options of a shape":   `{"evalRunId":"r","dataset":[],"options":{"n":"x"}}`,
		"a fraction of a case": `{"evalRunId":"r","dataset":[],"batchSize":1.5}`,
		"less than nothing":    `{"evalRunId":"r","dataset":[],"batchSize":-1}`,
		"a crowd":              `{"evalRunId":"r","dataset":[],"batchSize":1e9}`,
		"a text for a size":    `{"evalRunId":"r","dataset":[],"batchSize":"2"}`,
		"a long id":            `{"evalRunId":"r","dataset":[{"testCaseId":"` + long + `"}]}`,
		"a long run":           `{"evalRunId":"` + long + `","dataset":[]}`,
		"too many cases":       `{"evalRunId":"r","dataset":[` + strings.Repeat(`{},`, evaluate.MaxCases) + `{}]}`,
	} {
		_, err := ask(t, newSized(t), in)
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
		assert.True(t, status.Convert(err).Public(), name)
	}
	for _, fine := range []string{`{"evalRunId":"r","dataset":[]}`, `{"evalRunId":"","dataset":[],"batchSize":0}`, `{"evalRunId":"r","dataset":[],"batchSize":2.0,"options":{"n":1},"more":1}`} {
		out, err := ask(t, newSized(t), fine)
		require.NoError(t, err, fine)
		assert.Equal(t, `[]`, out)
	}
	referring, err := evaluate.New("x", evaluate.Info{ConfigSchema: json.RawMessage(`{"$defs":{"n":{"type":"number"}},"properties":{"n":{"$ref":"#/$defs/n"}}}`)}, sized)
	require.NoError(t, err, "a schema may refer to itself")
	_, err = ask(t, referring, `{"evalRunId":"r","dataset":[],"options":{"n":"x"}}`)
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	_, err = evaluate.Run(t.Context(), newSized(t), nil, evaluate.WithParallel(1<<30))
	require.NoError(t, err)
	out, err := ask(t, newSized(t), `{"evalRunId":"r","dataset":[{"output":"ok"}]}`)
	require.NoError(t, err)
	assert.Regexp(t, `"testCaseId":"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"`, out)
}

func TestEachCaseHasASpan(t *testing.T) {
	spans := &telemetrytest.Spans{}
	ctx := telemetry.WithBodies(telemetry.WithTracerProvider(t.Context(), spans))
	cases := []evaluate.Case{{TestCaseID: "a", Output: json.RawMessage(`"ok"`)}, {TestCaseID: "b", Output: json.RawMessage(`"!secret"`)}, {TestCaseID: "c", Output: json.RawMessage(`"ok"`)}}
	results, err := evaluate.Run(ctx, newSized(t), cases, evaluate.WithParallel(2), evaluate.WithID("run-7"))
	require.NoError(t, err)
	byName := map[string]map[string]string{}
	for _, s := range spans.Ended() {
		byName[s["name"]] = s
	}
	require.Len(t, byName, 5)
	for _, name := range []string{"Batch 0", "Test Case a", "Test Case b", "Test Case c"} {
		assert.Equal(t, "run-7", byName[name]["genkit:metadata:evaluator:evalRunId"], name)
		_, typed := byName[name]["genkit:type"]
		assert.False(t, typed, name)
		assert.NotEmpty(t, byName[name]["genkit:input"], name)
	}
	assert.Equal(t, "/{acme/sized,t:action}/{Batch 0}/{Test Case a}", byName["Test Case a"]["genkit:path"])
	assert.Equal(t, "/{acme/sized,t:action}/{Test Case c}", byName["Test Case c"]["genkit:path"], "a batch of one has no span")
	assert.Equal(t, "error", byName["Test Case b"]["genkit:state"])
	assert.Equal(t, "success", byName["Batch 0"]["genkit:state"])
	assert.Contains(t, byName["Batch 0"]["genkit:output"], "sampleIndex")
	seen := map[string]bool{}
	for i, r := range results {
		assert.Equal(t, i, *r.SampleIndex)
		assert.NotEmpty(t, r.TraceID)
		assert.False(t, seen[r.SpanID])
		seen[r.SpanID] = true
	}
}

func TestABatchRunsAtOnceAndBatchesInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		release := make(chan struct{})
		a, err := evaluate.New("x", evaluate.Info{}, func(ctx context.Context, _ *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
			if n := now.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer now.Add(-1)
			select {
			case <-release:
			case <-ctx.Done():
				return nil, ctx.Err()
			}
			return []evaluate.Score{evaluate.Verdict(true)}, nil
		})
		require.NoError(t, err)
		var told []int
		done := make(chan []evaluate.Result)
		go func() {
			results, err := evaluate.Run(t.Context(), a, make([]evaluate.Case, 7), evaluate.WithParallel(3), evaluate.WithProgress(func(n, total int, r evaluate.Result) {
				assert.Equal(t, 7, total)
				told = append(told, n)
				assert.Len(t, r.Evaluation, 1)
			}))
			assert.NoError(t, err)
			done <- results
		}()
		synctest.Wait()
		assert.EqualValues(t, 3, now.Load())
		for range 2 { // two of the first batch end; the next does not begin
			release <- struct{}{}
		}
		synctest.Wait()
		assert.EqualValues(t, 1, now.Load())
		assert.Len(t, told, 2)
		close(release)
		assert.Len(t, <-done, 7)
		assert.Equal(t, []int{1, 2, 3, 4, 5, 6, 7}, told)
		assert.EqualValues(t, 3, most.Load())

		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = evaluate.Run(ctx, a, make([]evaluate.Case, 2))
		require.ErrorIs(t, err, status.ErrCancelled)
	})
}

func TestACallerWhoLeavesEndsTheRun(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ran := 0
	a, err := evaluate.New("x", evaluate.Info{}, func(ctx context.Context, _ *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
		ran++
		cancel()
		return nil, ctx.Err()
	})
	require.NoError(t, err)
	_, err = evaluate.Run(ctx, a, make([]evaluate.Case, 5))
	require.ErrorIs(t, err, status.ErrCancelled, "not five scores that say so")
	assert.Equal(t, 1, ran)
	gone := errors.New("the reader is gone")
	sized := newSized(t)
	sent := 0
	_, err = evaluate.Do(t.Context(), sized, &evaluate.Request{Dataset: make([]evaluate.Case, 3)}, func(json.RawMessage) error { sent++; return gone })
	require.ErrorIs(t, err, gone)
	assert.Equal(t, 1, sent)
}

func TestABatchEvaluatorGetsTheWholeDataset(t *testing.T) {
	a, err := evaluate.NewBatch("x", evaluate.Info{}, func(_ context.Context, req *evaluate.Request) ([]evaluate.Result, error) {
		if req.EvalRunID == "fail" {
			return nil, status.Errorf(status.Unavailable, "down")
		}
		var results []evaluate.Result
		for _, c := range req.Dataset {
			results = append(results, evaluate.Result{TestCaseID: c.TestCaseID, Evaluation: evaluate.Scores{evaluate.Number(float64(len(req.Dataset)), evaluate.Pass)}})
		}
		return results, nil
	})
	require.NoError(t, err)
	told := 0
	results, err := evaluate.Run(t.Context(), a, make([]evaluate.Case, 2), evaluate.WithConfig(map[string]int{"n": 1}), evaluate.WithProgress(func(int, int, evaluate.Result) { told++ }))
	require.NoError(t, err)
	require.Len(t, results, 2)
	assert.Equal(t, `2`, string(results[0].Evaluation[0].Score))
	assert.NotEmpty(t, results[0].TestCaseID)
	assert.Equal(t, 2, told)
	_, err = evaluate.Run(t.Context(), a, nil, evaluate.WithID("fail"))
	require.ErrorIs(t, err, status.ErrUnavailable)
	_, err = evaluate.Run(t.Context(), a, nil, evaluate.WithConfig(make(chan int)))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Nil(t, evaluate.Number(math.NaN(), evaluate.Fail).Score)

	mute, err := action.New(action.Desc{Kind: action.Evaluator, Name: "mute"}, func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
		return json.RawMessage(`[{"testCaseId":"a","evaluation":[{"score":1,"x":2}],"y":3}]`), nil
	})
	require.NoError(t, err)
	told = 0
	results, err = evaluate.Run(t.Context(), mute, make([]evaluate.Case, 1), evaluate.WithProgress(func(int, int, evaluate.Result) { told++ }))
	require.NoError(t, err)
	assert.Equal(t, 1, told, "of one that does not stream it is told at the end")
	raw, err := json.Marshal(results)
	require.NoError(t, err)
	assert.JSONEq(t, `[{"testCaseId":"a","evaluation":{"score":1,"x":2},"y":3}]`, string(raw), "unknown fields survive")
	broken, err := action.New(action.Desc{Kind: action.Evaluator, Name: "broken"}, func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		if emit != nil {
			if err := emit(json.RawMessage(`7`)); err != nil {
				return nil, err
			}
		}
		return json.RawMessage(`{}`), nil
	})
	require.NoError(t, err)
	_, err = evaluate.Run(t.Context(), broken, nil)
	require.ErrorIs(t, err, status.ErrInternal)
	_, err = evaluate.Run(t.Context(), broken, nil, evaluate.WithProgress(func(int, int, evaluate.Result) {}))
	require.ErrorIs(t, err, status.ErrInternal)
}

func TestDatasetsAreReadAsTheCLIKeepsThem(t *testing.T) {
	for name, text := range map[string]string{
		"an array":       "\xef\xbb\xbf [{\"testCaseId\":\"a\",\"input\":{\"q\":1.10},\"more\":1},\n{\"input\":\"x\",\"reference\":null}] \n",
		"lines":          "{\"testCaseId\":\"a\",\"input\":{\"q\":1.10},\"more\":1}\r\n\n{\"input\":\"x\",\"reference\":null}\n",
		"without an end": "{\"testCaseId\":\"a\",\"input\":{\"q\":1.10},\"more\":1}\n{\"input\":\"x\",\"reference\":null}",
	} {
		cases, err := evaluate.ReadDataset(strings.NewReader(text))
		require.NoError(t, err, name)
		require.Len(t, cases, 2)
		raw, err := json.Marshal(cases)
		require.NoError(t, err)
		assert.Equal(t, `[{"testCaseId":"a","input":{"q":1.10},"more":1},{"input":"x"}]`, strings.ReplaceAll(string(raw), `,"reference":null`, ""), name)
		assert.Nil(t, cases[1].Reference)
	}
	for name, text := range map[string]string{
		"nothing": "", "space": " \n", "a text": `"x"`, "half": `[{}`, "more": `[] {}`, "a list of lists": `[[]]`, "csv": "a,b\n1,2",
		"too many": "[" + strings.Repeat("{},", evaluate.MaxCases) + "{}]", "too many lines": strings.Repeat("{}\n", evaluate.MaxCases+1),
		"too much": `[{"input":"` + strings.Repeat("x", evaluate.MaxDatasetBytes) + `"}]`,
	} {
		_, err := evaluate.ReadDataset(strings.NewReader(text))
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
}

func FuzzReadDataset(f *testing.F) {
	f.Add(`[{"input":1}]`)
	f.Add("{\"input\":1}\n{\"output\":[]}")
	f.Fuzz(func(t *testing.T, text string) {
		cases, err := evaluate.ReadDataset(strings.NewReader(text))
		if err != nil {
			return
		}
		raw, err := json.Marshal(cases)
		if err != nil {
			t.Fatalf("%q: %v", text, err)
		}
		if _, err := evaluate.ReadDataset(strings.NewReader(string(raw))); err != nil && len(cases) > 0 {
			t.Fatalf("%q → %s: %v", text, raw, err)
		}
	})
}

func TestSummariesAreThoseOfTheCLI(t *testing.T) {
	one := func(scores ...string) []evaluate.Result {
		var results []evaluate.Result
		for i, s := range scores {
			var r evaluate.Result
			require.NoError(t, json.Unmarshal(fmt.Appendf(nil, `{"testCaseId":"%d","evaluation":%s}`, i, s), &r))
			results = append(results, r)
		}
		return results
	}
	for name, c := range map[string]struct {
		results []evaluate.Result
		want    string
	}{
		"numbers": {
			one(`{"score":1,"status":"PASS"}`, `{"score":0.5,"status":"FAIL"}`, `{"error":"x"}`),
			`[{"evaluator":"e","testCaseCount":3,"errorCount":1,"scoreUndefinedCount":1,"statusDistribution":{"PASS":1,"FAIL":1,"undefined":1},"averageScore":0.75}]`,
		},
		"booleans": {
			one(`{"score":true,"status":"PASS"}`, `{"score":false,"status":"FAIL"}`, `{"score":true,"status":"PASS"}`),
			`[{"evaluator":"e","testCaseCount":3,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"PASS":2,"FAIL":1},"scoreDistribution":{"true":2,"false":1}}]`,
		},
		"a few strings": {
			one(`{"score":"a"}`, `{"score":"b"}`, `{"score":"a"}`),
			`[{"evaluator":"e","testCaseCount":3,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":3},"scoreDistribution":{"a":2,"b":1}}]`,
		},
		"many strings": {
			one(`{"score":"a"}`, `{"score":"b"}`, `{"score":"c"}`, `{"score":"d"}`, `{"score":"e"}`, `{"score":"f"}`),
			`[{"evaluator":"e","testCaseCount":6,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":6}}]`,
		},
		"several of each": {
			one(`[{"id":"x","score":1},{"id":"y","score":true}]`, `[{"id":"x","score":3},{"score":null}]`),
			`[{"evaluator":"e/x","testCaseCount":2,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":2},"averageScore":2},
			{"evaluator":"e/y","testCaseCount":2,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":1},"scoreDistribution":{"true":1}},
			{"evaluator":"e","testCaseCount":2,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":1}}]`,
		},
		"nothing":         {nil, `[]`},
		"mixed":           {one(`{"score":1}`, `{"score":"x"}`), `[{"evaluator":"e","testCaseCount":2,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":2}}]`},
		"beyond a double": {one(`{"score":1e999}`), `[{"evaluator":"e","testCaseCount":1,"errorCount":0,"scoreUndefinedCount":0,"statusDistribution":{"undefined":1}}]`},
	} {
		raw, err := json.Marshal(evaluate.Summarize("e", c.results))
		require.NoError(t, err)
		assert.JSONEq(t, c.want, string(raw), name)
	}
}
