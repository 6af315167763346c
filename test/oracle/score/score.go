// Package score runs evaluations through this engine and compares what comes of them with
// what Genkit JS's evaluators make of the same, so that every difference is known by name.
//
// It owns the cases (testdata/cases.json), what JS makes of them (testdata/js.json,
// recorded, and checked against JS itself where that is installed), and the list of
// differences. Use:
//
//	outcome, err := score.Ours(ctx, c)
//
// Functions here are safe for concurrent use.
package score

import (
	"context"
	"encoding/json"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/builtin/evaluator/genkiteval"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/embed"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Case is one request to an evaluator.
type Case struct {
	Name      string          `json:"name"`
	Evaluator string          `json:"evaluator"`
	Request   json.RawMessage `json:"request"`
	// Answers are the judge's answers, call by call.
	Answers []string `json:"answers,omitempty"`
}

// Outcome is the result of a case: scores, or the status of an error.
type Outcome struct {
	Metadata map[string]any   `json:"metadata,omitempty"`
	Results  []map[string]any `json:"results,omitempty"`
	Status   string           `json:"status,omitempty"`
}

// Differences are the deliberate deviations from Genkit JS, by name.
var Differences = map[string]string{
	"falsy":       "0, false and \"\" are outputs and references; JS takes them for missing",
	"free":        "deep_equal, regex and jsonata say that they cost nothing, as Genkit Go's do; JS says that they are billed",
	"re2":         "regular expressions are those of RE2, which can't look ahead or back: their time is bounded",
	"no-function": "a JSONata expression defines no functions of its own, which could call themselves without end",
	"empty":       "jsonata-go takes the path to an empty array for nothing; JS takes it for the array, which is truthy",
	"reasoning":   "the reason why values differ is said in other words",
	"scale":       "a rating that is not from 0 to 4 fails the case; JS counts it",
	"orthogonal":  "texts whose embeddings have nothing in common score 0; JS fails the case",
}

// Ours runs a case through this engine.
func Ours(ctx context.Context, c *Case) (*Outcome, error) {
	var metrics []genkiteval.Metric
	for _, t := range []genkiteval.Type{genkiteval.DeepEqual, genkiteval.Regex, genkiteval.JSONata, genkiteval.Faithfulness, genkiteval.AnswerRelevancy, genkiteval.AnswerAccuracy, genkiteval.Maliciousness} {
		metrics = append(metrics, genkiteval.Metric{Type: t})
	}
	eng, err := engine.New(ctx, engine.Config{Plugins: []engine.Plugin{genkiteval.Plugin(genkiteval.Config{Metrics: metrics, Judge: "test/judge", Embedder: "test/letters"})}})
	if err != nil {
		return nil, err
	}
	defer eng.Close(ctx) //nolint:errcheck // the process ends
	define(eng, c.Answers)
	a, err := engine.LookupEvaluator(ctx, eng, c.Evaluator)
	if err != nil {
		return nil, err
	}
	out, err := eng.RunJSON(ctx, action.Key{Kind: action.Evaluator, Name: c.Evaluator}, c.Request, nil)
	if err != nil {
		return &Outcome{Status: status.Of(err).String()}, nil
	}
	o := &Outcome{}
	metadata, err := json.Marshal(a.Desc().Metadata)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(metadata, &o.Metadata); err != nil {
		return nil, err
	}
	return o, json.Unmarshal(out, &o.Results)
}

func define(eng *engine.Engine, answers []string) {
	var mu sync.Mutex
	engine.DefineModel(eng, "test/judge", model.Info{Supports: model.Supports{Multiturn: true, SystemRole: true}}, func(context.Context, *model.Request, model.Send) (*model.Response, error) {
		mu.Lock()
		defer mu.Unlock()
		if len(answers) == 0 {
			return nil, status.Publicf(status.Unavailable, "the judge is out")
		}
		msg := content.NewModelTextMessage(answers[0])
		answers = answers[1:]
		return &model.Response{Message: &msg, FinishReason: model.FinishStop}, nil
	})
	engine.DefineEmbedder(eng, "test/letters", embed.Info{}, func(_ context.Context, req *embed.Request) (*embed.Response, error) {
		resp := &embed.Response{}
		for _, d := range req.Input {
			v := make([]float64, 0, 4)
			for _, letter := range "abcd" {
				v = append(v, float64(strings.Count(content.TextOf(d.Content), string(letter))))
			}
			resp.Embeddings = append(resp.Embeddings, embed.Embedding{Vector: v})
		}
		return resp, nil
	})
	engine.DefineEvaluator(eng, "own/size", evaluate.Info{DisplayName: "Size", Definition: "Is short."}, func(_ context.Context, c *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
		switch string(c.Output) {
		case `"fail"`:
			return nil, status.Publicf(status.Internal, "no")
		case `"two"`:
			return []evaluate.Score{{ID: "a", Score: json.RawMessage("1")}, {ID: "b", Score: json.RawMessage(`"x"`), Status: evaluate.Unknown}}, nil
		}
		return []evaluate.Score{evaluate.Number(float64(len(c.Output)-2), evaluate.Pass).Because("r")}, nil
	})
}
