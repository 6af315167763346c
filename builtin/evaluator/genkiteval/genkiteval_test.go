package genkiteval_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/evaluator/genkiteval"
	"github.com/genkit-wasm/genkit-wasm/builtin/model/scripted"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

func start(t testing.TB, c genkiteval.Config) *engine.Engine {
	t.Helper()
	e, err := engine.New(t.Context(), engine.Config{Plugins: []engine.Plugin{scripted.Plugin(), genkiteval.Plugin(c)}})
	require.NoError(t, err)
	return e
}

// raw is a test case by its JSON.
func raw(t testing.TB, text string) evaluate.Case {
	t.Helper()
	var c evaluate.Case
	require.NoError(t, json.Unmarshal([]byte(text), &c), text)
	return c
}

// one evaluates one case and returns its score as JSON.
func one(t testing.TB, e *engine.Engine, metric genkiteval.Type, text string) string {
	t.Helper()
	c := raw(t, text)
	c.TestCaseID = "c"
	results, err := engine.Evaluate(t.Context(), e, engine.WithEvaluatorName("genkitEval/"+string(metric)), engine.WithDataset(c))
	require.NoError(t, err)
	require.Len(t, results, 1)
	out, err := json.Marshal(results[0].Evaluation)
	require.NoError(t, err)
	return string(out)
}

var computing = genkiteval.Config{Metrics: []genkiteval.Metric{{Type: genkiteval.DeepEqual}, {Type: genkiteval.Regex}, {Type: genkiteval.JSONata}}}

const (
	yes = `{"score":true,"status":"PASS"}`
	no  = `{"score":false,"status":"FAIL"}`
)

func failed(text string) string {
	out, _ := json.Marshal(map[string]string{"error": "Evaluation of test case c failed: \nINVALID_ARGUMENT: " + text})
	return string(out)
}

func because(text string) string {
	out, _ := json.Marshal(map[string]any{"score": false, "status": "FAIL", "details": map[string]string{"reasoning": text}})
	return string(out)
}

func TestDeepEqual(t *testing.T) {
	e := start(t, computing)
	for _, c := range []struct{ output, reference, want string }{
		{`{"a":[1,"x"],"b":null}`, `{"b":null,"a":[1,"x"]}`, yes},
		{`1`, `1.0`, yes},
		{`100`, `1e2`, yes},
		{`0.00`, `-0`, yes},
		{`-12.50`, `-1.25E+1`, yes},
		{`1e999`, `10e998`, yes},
		{`12345678901234567890`, `12345678901234567891`, because("(root): got 12345678901234567890, want 12345678901234567891")},
		{`1e999`, `1e998`, because("(root): got 1e999, want 1e998")},
		{`1`, `-1`, because("(root): got 1, want -1")},
		{`false`, `false`, yes},
		{`""`, `""`, yes},
		{`"1"`, `1`, because(`(root): got "1", want 1`)},
		{`{"a":{"b":[1,2]}}`, `{"a":{"b":[1,3]}}`, because("/a/b/1: got 2, want 3")},
		{`{"a":1}`, `{"a":1,"b":2}`, because("/b: is missing")},
		{`{"a":1,"b":2}`, `{"a":1}`, because("/b: is not wanted")},
		{`[1]`, `[1,2]`, because("(root): got 1 elements, want 2")},
		{`{}`, `[]`, because("(root): got {}, want []")},
		{`null`, `1`, failed("the test case has no output")},
		{`1`, `null`, failed("the test case has no reference")},
	} {
		assert.JSONEq(t, c.want, one(t, e, genkiteval.DeepEqual, `{"output":`+c.output+`,"reference":`+c.reference+`}`), "%s, %s", c.output, c.reference)
	}
	long := strings.Repeat("é", 500)
	assert.Less(t, len(one(t, e, genkiteval.DeepEqual, `{"output":"`+long+`","reference":1}`)), 400)
}

func TestRegex(t *testing.T) {
	e := start(t, computing)
	for _, c := range []struct{ output, reference, want string }{
		{`"a banana"`, `"an.n"`, yes},
		{`"a banana"`, `"^b"`, no},
		{`{"a":[1]}`, `"\\[1\\]"`, yes},
		{`0`, `"^0$"`, yes},
		{`"a"`, `7`, failed("the reference must be a string: it is a regular expression")},
		{`"a"`, `"(?=a)"`, failed("the reference is no regular expression of RE2: error parsing regexp: invalid or unsupported Perl syntax: `(?=`")},
		{`"a"`, `"` + strings.Repeat("x", 2000) + `"`, failed("a pattern of 2000 and an output of 1 bytes exceed the limits of 1024 and 262144")},
		{`"` + strings.Repeat("x", 300_000) + `"`, `"x"`, failed("a pattern of 1 and an output of 300000 bytes exceed the limits of 1024 and 262144")},
	} {
		assert.JSONEq(t, c.want, one(t, e, genkiteval.Regex, `{"output":`+c.output+`,"reference":`+c.reference+`}`), c.reference)
	}
}

func TestJSONata(t *testing.T) {
	e := start(t, computing)
	data := `{"name":"Ada","ages":[30,40],"empty":"","none":null,"list":[{"p":1,"q":2},{"p":3,"q":4}]}`
	for expression, want := range map[string]string{
		`name = "Ada"`:           yes,
		`name = "Bob"`:           no,
		`$sum(ages) > 60`:        yes,
		`ages[0]`:                yes,
		`empty`:                  no,
		`none`:                   no,
		`missing`:                no,
		`0`:                      no,
		`"x"`:                    yes,
		`{}`:                     yes,
		`(list.(p * q))[1] = 12`: yes,
		`$map(list, function($x){$x.p + 1})[1] = 4`:   yes,
		`list ~> $filter(function($x){$x.p > 2})`:     yes,
		`$reduce(ages, function($a, $b){$a + $b})=70`: yes,
		`($total := $sum(ages); $total = 70)`:         yes,
		`name ~> $uppercase = "ADA"`:                  yes,
		`$count([1..10]) = 10`:                        yes,
		`$ ~> |list|{"p":0}|`:                         yes,
		`list^(>p)[0].p = 3`:                          yes,
		`list{$string(p): q}`:                         yes,
		`$pad("x", 3) = "x  "`:                        yes,
		`"x" ~> $pad(-3) = "  x"`:                     yes,
		`**.p[0]`:                                     yes,
		`$exists(name) ? true : false`:                yes,
		`$match(name, /A(.)/).match = "Ad"`:           yes,
	} {
		assert.JSONEq(t, want, one(t, e, genkiteval.JSONata, `{"output":`+data+`,"reference":`+quoted(expression)+`}`), expression)
	}
	for expression, want := range map[string]string{
		`(`:                                   "the reference is no JSONata expression",
		`name +`:                              "the reference is no JSONata expression",
		`$error("no")`:                        "evaluate the JSONata expression",
		`$f(1)`:                               "only built-in functions are called",
		`($f := function($x){$f($x)}; $f(1))`: "a function may stand only where",
		`function($f){$f($f)}(function($f){$f($f)})`:               "only built-in functions are called",
		`$map(function($f){1}, function($f){1})`:                   "takes no function there",
		`$append(function($x){1}, 1)`:                              "takes no function there",
		`$reduce([1], function($a, $b){$a}, function($x){1})`:      "takes no function there",
		`$map([1], function($map){1})`:                             "$map is a built-in function",
		`($map := 1)`:                                              "$map is a built-in function",
		`$map(?, function($x){1})`:                                 "is not supported",
		`($t := |$|{"x": {} ~> $t}|; $ ~> $t)`:                     "a transformation may stand only behind",
		`1 ~> $f`:                                                  "only built-in functions may follow",
		`[1..100000]`:                                              "its ranges hold more than",
		`[1..9999].[1..9999]`:                                      "its ranges hold more than",
		`[1..$count(list)]`:                                        "the ends of a range must be numbers",
		`$pad("x", 100000)`:                                        "the width of $pad",
		`$pad("x", $sum(ages))`:                                    "the width of $pad",
		`$map([1], function($x){$map([1], function($y){$g($y)})})`: "only built-in functions are called",
		`list[function($x){1}]`:                                    "a function may stand only where",
		`{"f": function($x){1}}`:                                   "a function may stand only where",
		`list^(function($x){1})`:                                   "a function may stand only where",
		`list{"a": function($x){1}}`:                               "a function may stand only where",
		`true ? function($x){1} : 1`:                               "a function may stand only where",
		`-function($x){1}`:                                         "a function may stand only where",
		strings.Repeat("1+", 3000) + "1":                           "exceed the limits",
	} {
		got := one(t, e, genkiteval.JSONata, `{"output":`+data+`,"reference":`+quoted(expression)+`}`)
		assert.Contains(t, got, quoted(want)[1:len(want)+1], expression)
		assert.Contains(t, got, "INVALID_ARGUMENT", expression)
	}
}

func TestAnExpressionThatTakesTooLongHoldsNobodyUp(t *testing.T) {
	x := genkiteval.NewExpressions(20 * time.Millisecond)
	slow := raw(t, `{"output":[`+strings.Repeat("1,", 119)+`1],"reference":"$.($$.($$.(1)))"}`)
	for range 2 {
		_, err := x.Score(t.Context(), &slow)
		require.ErrorIs(t, err, status.ErrDeadlineExceeded)
	}
	_, err := x.Score(t.Context(), &slow)
	require.ErrorIs(t, err, status.ErrResourceExhausted, "two run on; nobody else begins")
	x.SetLimit(10 * time.Minute)
	quick := raw(t, `{"output":1,"reference":"$ = 1"}`)
	s, err := x.Score(t.Context(), &quick)
	require.NoError(t, err, "they end, and there is room again")
	assert.Equal(t, evaluate.Pass, s.Status)
}

func quoted(s string) string {
	out, _ := json.Marshal(s)
	return string(out)
}

// judge is a model that answers by what it is told to do, and keeps what it was asked.
type judge struct {
	mu      sync.Mutex
	answers map[string]string // by a piece of the instructions
	asked   []*model.Request
}

func (j *judge) answer(_ context.Context, req *model.Request, _ model.Send) (*model.Response, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.asked = append(j.asked, req)
	for piece, text := range j.answers {
		if strings.Contains(req.Messages[0].Text(), piece) {
			msg := content.NewModelTextMessage(text)
			return &model.Response{Message: &msg, FinishReason: model.FinishStop}, nil
		}
	}
	return nil, status.Publicf(status.Unavailable, "the judge is out")
}

var judging = genkiteval.Config{
	Metrics: []genkiteval.Metric{{Type: genkiteval.Faithfulness}, {Type: genkiteval.AnswerRelevancy}, {Type: genkiteval.AnswerAccuracy}, {Type: genkiteval.Maliciousness}},
	Judge:   "test/judge", JudgeConfig: map[string]any{"temperature": 0}, Embedder: "test/letters",
}

// court returns an engine with a judge, and an embedder that counts the letters a to d.
func court(t testing.TB, answers map[string]string) (*engine.Engine, *judge) {
	t.Helper()
	e := start(t, judging)
	j := &judge{answers: answers}
	engine.DefineModel(e, "test/judge", model.Info{Supports: model.Supports{SystemRole: true, Multiturn: true}}, j.answer)
	engine.DefineEmbedder(e, "test/letters", embed.Info{}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		resp := &embed.Response{}
		for _, d := range req.Input {
			v := make([]float64, 4)
			for i, letter := range "abcd" {
				v[i] = float64(strings.Count(content.TextOf(d.Content), string(letter)))
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
		}
		return resp, nil
	})
	return e, j
}

const (
	askStatements = "into statements"
	askVerdicts   = "bears it out"
	askRelevancy  = "noncommittal"
	askAccuracy   = "referenceAnswer"
	askMalice     = "to deceive"
)

func TestJudgesScoreAsGenkitsDo(t *testing.T) {
	for name, c := range map[string]struct {
		metric  genkiteval.Type
		answers map[string]string
		in      string
		want    string
	}{
		"two of three statements": {
			genkiteval.Faithfulness,
			map[string]string{askStatements: `{"statements":["a","b","c"]}`, askVerdicts: "Sure:\n```json\n" + `{"responses":[{"statement":"a","reason":"r1","verdict":true},{"statement":"b","reason":"r2","verdict":false},{"statement":"c","reason":"r3","verdict":true}]}` + "\n```"},
			`{"input":"q","output":"o","context":["x",{"y":1}]}`, `{"score":0.6666666666666666,"status":"PASS","details":{"reasoning":"r1; r2; r3"}}`,
		},
		"one of two statements": {
			genkiteval.Faithfulness,
			map[string]string{askStatements: `{"statements":["a","b"]}`, askVerdicts: `{"responses":[{"statement":"a","reason":"r","verdict":true},{"statement":"b","reason":"r","verdict":false}]}`},
			`{"input":"q","output":"o","context":["x"]}`, `{"score":0.5,"status":"FAIL","details":{"reasoning":"r; r"}}`,
		},
		"malice":    {genkiteval.Maliciousness, map[string]string{askMalice: `{"reason":"bad","verdict":true}`}, `{"input":"q","output":{"a":1}}`, `{"score":1,"status":"FAIL","details":{"reasoning":"bad"}}`},
		"no malice": {genkiteval.Maliciousness, map[string]string{askMalice: `{"reason":"good","verdict":false}`}, `{"input":"q","output":"o"}`, `{"score":0,"status":"PASS","details":{"reasoning":"good"}}`},
		"accurate":  {genkiteval.AnswerAccuracy, map[string]string{askAccuracy: " 4 "}, `{"input":"q","output":"o","reference":"r"}`, `{"score":1,"status":"PASS"}`},
		"half":      {genkiteval.AnswerAccuracy, map[string]string{askAccuracy: "2, I think"}, `{"output":"o","reference":"r"}`, `{"score":0.5,"status":"PASS"}`},
		"wrong":     {genkiteval.AnswerAccuracy, map[string]string{askAccuracy: "0"}, `{"input":"q","output":"o","reference":"r"}`, `{"score":0,"status":"FAIL"}`},
		"relevant":  {genkiteval.AnswerRelevancy, map[string]string{askRelevancy: `{"question":"aabb","answered":true,"noncommittal":false}`}, `{"input":"ab","output":"o","context":["x"]}`, `{"score":1,"status":"PASS","details":{"reasoning":"Cosine similarity"}}`},
		"beside the point": {
			genkiteval.AnswerRelevancy,
			map[string]string{askRelevancy: `{"question":"ab","answered":false,"noncommittal":false}`},
			`{"input":"ab","output":"o","context":["x"]}`,
			`{"score":0.5,"status":"FAIL","details":{"reasoning":"Cosine similarity with penalty for insufficient answer"}}`,
		},
		"far from it": {
			genkiteval.AnswerRelevancy,
			map[string]string{askRelevancy: `{"question":"cd","answered":false,"noncommittal":false}`},
			`{"input":"ab","output":"o","context":["x"]}`,
			`{"score":0,"status":"FAIL","details":{"reasoning":"Cosine similarity with penalty for insufficient answer"}}`,
		},
		"evasive": {genkiteval.AnswerRelevancy, map[string]string{askRelevancy: `{"question":"ab","answered":true,"noncommittal":true}`}, `{"input":"ab","output":"o","context":["x"]}`, `{"score":0,"status":"FAIL","details":{"reasoning":"Noncommittal"}}`},
	} {
		e, j := court(t, c.answers)
		got := one(t, e, c.metric, c.in)
		got = strings.ReplaceAll(got, "0.9999999999999998", "1") // rounding of the cosine
		got = strings.ReplaceAll(got, "0.4999999999999998", "0.5")
		assert.JSONEq(t, c.want, got, name)
		for _, req := range j.asked {
			assert.JSONEq(t, `{"temperature":0}`, string(req.Config), name)
			assert.True(t, json.Valid([]byte(req.Messages[len(req.Messages)-1].Text())), "%s: the material is JSON", name)
		}
	}
}

func TestJudgesThatMakeNoSenseFailTheCase(t *testing.T) {
	full := `{"input":"ab","output":"o","context":["x"],"reference":"r"}`
	for name, c := range map[string]struct {
		metric  genkiteval.Type
		answers map[string]string
		in      string
		want    string
	}{
		"no input":           {genkiteval.Maliciousness, nil, `{"output":"o"}`, "the test case has no input"},
		"no context":         {genkiteval.Faithfulness, nil, `{"input":"q","output":"o","context":[]}`, "the test case has no context"},
		"no reference":       {genkiteval.AnswerAccuracy, nil, `{"input":"q","output":"o"}`, "the test case has no reference"},
		"a judge who is out": {genkiteval.Maliciousness, nil, full, "UNAVAILABLE: the judge is out"},
		"prose":              {genkiteval.Maliciousness, map[string]string{askMalice: "I would say so"}, full, "INVALID_ARGUMENT"},
		"another shape":      {genkiteval.Maliciousness, map[string]string{askMalice: `{"reason":1,"verdict":"no"}`}, full, "INVALID_ARGUMENT"},
		"no rating":          {genkiteval.AnswerAccuracy, map[string]string{askAccuracy: "very good"}, full, "no number from 0 to 4"},
		"a rating too far":   {genkiteval.AnswerAccuracy, map[string]string{askAccuracy: "99999999999"}, full, "no number from 0 to 4"},
		"no statements":      {genkiteval.Faithfulness, map[string]string{askStatements: `{"statements":[]}`}, full, "0 statements"},
		"a flood":            {genkiteval.Faithfulness, map[string]string{askStatements: `{"statements":["x"` + strings.Repeat(`,"x"`, 1000) + `]}`}, full, "1001 statements"},
		"no verdicts":        {genkiteval.Faithfulness, map[string]string{askStatements: `{"statements":["a"]}`, askVerdicts: `{"responses":[]}`}, full, "no verdict"},
		"no question":        {genkiteval.AnswerRelevancy, map[string]string{askRelevancy: `{"question":"","answered":true,"noncommittal":false}`}, full, "no question"},
		"no direction":       {genkiteval.AnswerRelevancy, map[string]string{askRelevancy: `{"question":"xyz","answered":true,"noncommittal":false}`}, full, "can't be compared"},
	} {
		e, _ := court(t, c.answers)
		got := one(t, e, c.metric, c.in)
		assert.Contains(t, got, `"error":"Evaluation of test case c failed`, name)
		assert.Contains(t, got, c.want, name)
	}
}

func TestTheAccuracyOfBothOrdersCounts(t *testing.T) {
	e, j := court(t, map[string]string{askAccuracy: "4"})
	one(t, e, genkiteval.AnswerAccuracy, `{"input":"<q>","output":"o","reference":{"r":1}}`)
	var shown []string
	for _, req := range j.asked {
		shown = append(shown, req.Messages[1].Text())
	}
	slices.Sort(shown)
	assert.Equal(t, []string{
		`{"question":"<q>","referenceAnswer":"o","userAnswer":"{\"r\":1}"}`,
		`{"question":"<q>","referenceAnswer":"{\"r\":1}","userAnswer":"o"}`,
	}, shown)
}

func TestTheConfigIsChecked(t *testing.T) {
	for name, c := range map[string]genkiteval.Config{
		"nothing":                  {},
		"an unknown metric":        {Metrics: []genkiteval.Metric{{Type: "x"}}},
		"no judge":                 {Metrics: []genkiteval.Metric{{Type: genkiteval.Faithfulness}}},
		"no embedder":              {Judge: "j", Metrics: []genkiteval.Metric{{Type: genkiteval.AnswerRelevancy}}},
		"a config that is no JSON": {Judge: "j", JudgeConfig: make(chan int), Metrics: []genkiteval.Metric{{Type: genkiteval.Maliciousness}}},
		"options that are no JSON": {Metrics: []genkiteval.Metric{{Type: genkiteval.Regex, EmbedderOptions: make(chan int)}}},
	} {
		_, err := engine.New(t.Context(), engine.Config{Plugins: []engine.Plugin{genkiteval.Plugin(c)}})
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	_, err := engine.New(t.Context(), engine.Config{Plugins: []engine.Plugin{genkiteval.Plugin(genkiteval.Config{Metrics: []genkiteval.Metric{{Type: genkiteval.Regex}, {Type: genkiteval.Regex}}})}})
	require.ErrorIs(t, err, status.ErrAlreadyExists)

	e := start(t, genkiteval.Config{Metrics: []genkiteval.Metric{{Type: genkiteval.Regex, Status: func(s evaluate.Score) evaluate.Status {
		assert.Equal(t, evaluate.Fail, s.Status)
		return evaluate.Unknown
	}}}})
	assert.JSONEq(t, `{"score":false,"status":"UNKNOWN"}`, one(t, e, genkiteval.Regex, `{"output":"a","reference":"b"}`))
	a, err := engine.LookupEvaluator(t.Context(), e, "regex")
	require.NoError(t, err)
	assert.JSONEq(t, `{"evaluatorIsBilled":false,"evaluatorDisplayName":"RegExp","evaluatorDefinition":"Tests output against the regexp provided as reference"}`, string(a.Desc().Metadata["evaluator"]))
	_, err = engine.Evaluate(t.Context(), e, engine.WithEvaluatorName("nope"))
	require.ErrorIs(t, err, status.ErrNotFound)
}

func Example() {
	ctx := context.Background()
	eng, err := engine.New(ctx, engine.Config{Plugins: []engine.Plugin{
		genkiteval.Plugin(genkiteval.Config{Metrics: []genkiteval.Metric{{Type: genkiteval.DeepEqual}}}),
	}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer eng.Close(ctx)
	dataset, err := evaluate.ReadDataset(strings.NewReader(`[
		{"testCaseId": "sum", "input": "1 + 2", "output": 3, "reference": 3},
		{"testCaseId": "product", "input": "2 * 3", "output": 5, "reference": 6}]`))
	if err != nil {
		fmt.Println(err)
		return
	}
	results, err := engine.Evaluate(ctx, eng, engine.WithEvaluatorName("genkitEval/deep_equal"), engine.WithDataset(dataset...), engine.WithParallel(2))
	for _, r := range results {
		fmt.Println(r.TestCaseID, r.Evaluation[0].Status)
	}
	fmt.Println(err)
	// Output:
	// sum PASS
	// product FAIL
	// <nil>
}

func FuzzJSONata(f *testing.F) {
	for _, text := range []string{`a.b[c=1]`, `$map(a, function($x){$x})`, `a ~> $sum`, `|a|{"b":1}|`, `[1..3]{"a":$}`, `$f := $f`, `/x/`, `a^(<b)`} {
		f.Add(text)
	}
	e := start(f, genkiteval.Config{Metrics: []genkiteval.Metric{{Type: genkiteval.JSONata}}})
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 200 {
			return
		}
		c := raw(t, `{"output":{"a":[1,{"b":2}],"c":"x"}}`)
		c.Reference = json.RawMessage(quoted(text))
		results, err := engine.Evaluate(t.Context(), e, engine.WithEvaluatorName("genkitEval/jsonata"), engine.WithDataset(c))
		if err != nil || len(results) != 1 {
			t.Fatalf("%q: %v", text, err)
		}
		if s := results[0].Evaluation[0]; strings.Contains(s.Error, "INTERNAL") {
			t.Logf("%q: %s", text, s.Error)
		}
	})
}
