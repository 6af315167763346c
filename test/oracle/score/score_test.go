package score_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/test/oracle/score"
)

const recording = "testdata/js.json"

var update = flag.Bool("update", false, "record what Genkit JS does; look at what changed")

// differing says in which cases which differences occur.
var differing = map[string][]string{
	"equal objects":                             {"free"},
	"objects that differ":                       {"free", "reasoning"},
	"a text and a number":                       {"free", "reasoning"},
	"numbers written differently":               {"free"},
	"false where false is wanted":               {"falsy", "free"},
	"no output":                                 {"free"},
	"no reference":                              {"free"},
	"a pattern that is found":                   {"free"},
	"a pattern that is not":                     {"free"},
	"a pattern in an object":                    {"free"},
	"a pattern that looks ahead":                {"free", "re2"},
	"a pattern that is no text":                 {"free"},
	"a pattern that is none":                    {"free"},
	"expressions":                               {"free"},
	"an expression that selects an empty array": {"empty", "free"},
	"an expression that is none":                {"free"},
	"an expression that defines a function":     {"free", "no-function"},
	"a rating beyond the scale":                 {"scale"},
	"a question with nothing in common":         {"orthogonal"},
}

func read(t *testing.T, file string, v any) {
	t.Helper()
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, v); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
}

func theirs(t *testing.T, n int) []*score.Outcome {
	t.Helper()
	var recorded []*score.Outcome
	if !*update {
		read(t, recording, &recorded)
		if len(recorded) != n {
			t.Fatalf("%s holds %d outcomes of %d cases: record it anew", recording, len(recorded), n)
		}
	}
	live, reason := installed(t)
	if reason != "" {
		if *update {
			t.Fatal(reason)
		}
		t.Logf("checked against the recording alone: %s", reason)
		return recorded
	}
	if *update {
		raw, err := json.MarshalIndent(live, "", " ")
		if err == nil {
			err = os.WriteFile(recording, append(raw, '\n'), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
		return live
	}
	for i := range live {
		if !reflect.DeepEqual(live[i], recorded[i]) {
			t.Errorf("case %d: Genkit JS does not do what is recorded: %+v", i, live[i])
		}
	}
	return live
}

// installed runs the cases through Genkit JS, or says why it can't.
func installed(t *testing.T) (outcomes []*score.Outcome, reason string) {
	t.Helper()
	if _, err := os.Stat(filepath.Join("js", "node_modules", "@genkit-ai", "evaluator")); err != nil {
		return nil, "Genkit JS is not installed: run npm install --no-package-lock in test/oracle/score/js"
	}
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, "there is no node"
	}
	cases, err := os.ReadFile("testdata/cases.json")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), node, "score.mjs")
	cmd.Dir, cmd.Stdin = "js", bytes.NewReader(cases)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("node: %v", err)
	}
	if err := json.Unmarshal(out, &outcomes); err != nil {
		t.Fatalf("node: %v", err)
	}
	for _, o := range outcomes {
		mask(o)
	}
	return outcomes, ""
}

// mask takes out what no two runs share: ids, and the text of errors.
func mask(o *score.Outcome) {
	for _, r := range o.Results {
		delete(r, "traceId")
		delete(r, "spanId")
		scores, many := r["evaluation"].([]any)
		if !many {
			scores = []any{r["evaluation"]}
		}
		for _, s := range scores {
			fields, _ := s.(map[string]any)
			if _, failed := fields["error"]; failed {
				fields["error"] = "(error)"
			}
			if v, ok := fields["score"].(float64); ok {
				fields["score"] = math.Round(v*1e9) / 1e9 // the order of additions
			}
		}
	}
}

func TestEvaluatorsAgainstGenkitJS(t *testing.T) {
	var cases []score.Case
	read(t, "testdata/cases.json", &cases)
	js := theirs(t, len(cases))
	known := map[string]bool{}
	for i := range cases {
		c := &cases[i]
		known[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			ours, err := score.Ours(t.Context(), c)
			if err != nil {
				t.Fatal(err)
			}
			mask(ours)
			got := differences(ours, js[i])
			if !slices.Equal(got, differing[c.Name]) {
				a, _ := json.Marshal(ours)
				b, _ := json.Marshal(js[i])
				t.Errorf("differs by %v, want %v:\nours   %s\ntheirs %s", got, differing[c.Name], a, b)
			}
		})
	}
	for name, list := range differing {
		if !known[name] {
			t.Errorf("%q is no case", name)
		}
		for _, d := range list {
			if score.Differences[d] == "" {
				t.Errorf("%q has no sentence", d)
			}
		}
	}
}

// differences names the differences; one without a name is called by its place.
func differences(ours, theirs *score.Outcome) []string {
	names := map[string]bool{}
	if ours.Status != theirs.Status {
		names["status"] = true
	}
	if a, b := ours.Metadata["evaluator"], theirs.Metadata["evaluator"]; !reflect.DeepEqual(a, b) {
		x, _ := a.(map[string]any)
		y, _ := b.(map[string]any)
		x, y = maps.Clone(x), maps.Clone(y)
		if x["evaluatorIsBilled"] == false && y["evaluatorIsBilled"] == true {
			names["free"] = true
			delete(x, "evaluatorIsBilled")
			delete(y, "evaluatorIsBilled")
		}
		if !reflect.DeepEqual(x, y) {
			names["metadata"] = true
		}
	}
	if len(ours.Results) != len(theirs.Results) {
		names["results"] = true
	} else {
		for i := range ours.Results {
			if name := different(ours.Results[i], theirs.Results[i]); name != "" {
				names[name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func different(ours, theirs map[string]any) string {
	if reflect.DeepEqual(ours, theirs) {
		return ""
	}
	a, b := text(ours), text(theirs)
	switch failed := `"error":"(error)"`; {
	case strings.Contains(a, failed) && strings.Contains(b, `"score":true`) && strings.Contains(b, `"PASS"`):
		return oneOf(a, b)
	case strings.Contains(b, failed) && strings.Contains(a, `"score":true`):
		return "falsy"
	case strings.Contains(b, failed) && strings.Contains(a, `"score":0,`):
		return "orthogonal"
	case strings.Contains(a, failed) && strings.Contains(b, `"score":2.25`):
		return "scale"
	case strings.Contains(a, `"score":false,"status":"FAIL"`) && strings.Contains(b, `"score":true,"status":"PASS"`):
		return "empty"
	case strings.Contains(a, `"score":false`) && strings.Contains(b, "deep-equal"):
		return "reasoning"
	}
	return "ours " + a + " theirs " + b
}

// oneOf tells the two refusals of expressions apart by the evaluators' own test cases.
func oneOf(ours, _ string) string {
	if strings.Contains(ours, `"testCaseId":"function"`) {
		return "no-function"
	}
	return "re2"
}

func text(v any) string {
	raw, _ := json.Marshal(v)
	return string(raw)
}
