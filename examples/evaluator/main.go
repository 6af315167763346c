// Command evaluator scores a dataset with an evaluator of its own and two built-in ones,
// and sums up what they say as Genkit's CLI does.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/builtin"
	"github.com/genkit-wasm/genkit-wasm/builtin/evaluator/genkiteval"
	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
)

func main() {
	if err := run(context.Background()); err != nil {
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("evaluator", slog.Any("error", err))
		os.Exit(1)
	}
}

const dataset = `
{"testCaseId": "capital", "input": "What is the capital of France?", "output": "Paris.", "reference": "Paris"}
{"testCaseId": "river", "input": "Which river runs through it?", "output": "The Thames.", "reference": "Seine"}`

func run(ctx context.Context) (err error) {
	judge := json.RawMessage(`{"script": [{"message": {"content": [{"text": "{\"reason\": \"It is harmless.\", \"verdict\": false}"}]}}]}`)
	eng, err := engine.New(ctx, engine.Config{Plugins: append(builtin.All(), genkiteval.Plugin(genkiteval.Config{
		Metrics: []genkiteval.Metric{{Type: genkiteval.Regex}, {Type: genkiteval.Maliciousness}},
		Judge:   "test/scripted", JudgeConfig: judge,
	}))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, eng.Close(ctx)) }()
	engine.DefineEvaluator(eng, "acme/brief", evaluate.Info{DisplayName: "Brief", Definition: "The output has at most ten characters.", Free: true},
		func(_ context.Context, c *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
			return []evaluate.Score{evaluate.Verdict(len(c.Output) <= 10+len(`""`))}, nil
		})
	cases, err := evaluate.ReadDataset(strings.NewReader(dataset))
	if err != nil {
		return err
	}
	for _, name := range []string{"acme/brief", "genkitEval/regex", "genkitEval/maliciousness"} {
		results, err := engine.Evaluate(ctx, eng, engine.WithEvaluatorName(name), engine.WithDataset(cases...), engine.WithParallel(4))
		if err != nil {
			return err
		}
		for _, r := range results {
			fmt.Println(name, r.TestCaseID, r.Evaluation[0].Status, string(r.Evaluation[0].Score))
		}
		summary, err := json.Marshal(evaluate.Summarize(name, results)[0].StatusDistribution)
		if err != nil {
			return err
		}
		fmt.Println(string(summary))
	}
	return nil
}
