// Package genkiteval is the plugin "genkitEval": the evaluators of Genkit's
// @genkit-ai/evaluator under the names that they have there.
//
// It owns three that compute (genkitEval/deep_equal, /regex, /jsonata) and four that ask
// a judge (/faithfulness, /answer_relevancy, /answer_accuracy, /maliciousness): a model
// that is run through /util/generate of the registry. Use:
//
//	plugin := genkiteval.Plugin(genkiteval.Config{
//		Metrics: []genkiteval.Metric{{Type: genkiteval.DeepEqual}, {Type: genkiteval.Faithfulness}},
//		Judge:   "openai/gpt-5-mini",
//	})
//
// The evaluators are safe for concurrent use. A judge reads text that others wrote, and
// can be talked into a verdict: scores are a measure, no guard.
package genkiteval

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Name is the plugin's name and the prefix of its evaluators.
const Name = "genkitEval"

// Type says which evaluator.
type Type string

// The evaluators; each is registered as genkitEval/<type>.
const (
	// DeepEqual passes an output that equals the reference as JSON.
	DeepEqual Type = "deep_equal"
	// Regex passes an output in which the reference, a pattern of RE2, is found.
	Regex Type = "regex"
	// JSONata passes an output for which the reference, a JSONata expression, evaluates
	// to a truthy value. Authors of expressions are trusted; see [Config].
	JSONata Type = "jsonata"
	// Faithfulness is the share of the output's statements that the context supports.
	Faithfulness Type = "faithfulness"
	// AnswerRelevancy is how close the input is to the question that the output answers.
	AnswerRelevancy Type = "answer_relevancy"
	// AnswerAccuracy is how well output and reference say the same.
	AnswerAccuracy Type = "answer_accuracy"
	// Maliciousness is 1 for an output that means to harm, deceive or exploit.
	Maliciousness Type = "maliciousness"
)

// Config configures the plugin.
//
// JSONata is a programming language: what is bounded are the length of an expression
// and the time that a case waits for it, and functions that could call themselves are
// refused. The memory that an expression needs is not bounded, and one that is given up
// runs on to its end, at most two of them at a time. Leave the metric out where datasets
// come from people who are not trusted.
type Config struct {
	Metrics []Metric
	// Judge names the model of those that ask one, JudgeConfig is its config.
	Judge       string
	JudgeConfig any
	// Embedder names the embedder of answer_relevancy.
	Embedder        string
	EmbedderOptions any
}

// Metric is one evaluator. Its empty fields take the values of the [Config].
type Metric struct {
	Type            Type
	Judge           string
	JudgeConfig     any
	Embedder        string
	EmbedderOptions any
	// Status decides in the place of the evaluator whether a score passes; nil leaves it.
	Status func(s evaluate.Score) evaluate.Status
}

// Plugin registers the evaluators of c. Registering fails with INVALID_ARGUMENT when there
// is no metric, an unknown one, or one that lacks its judge or embedder.
func Plugin(c Config) registry.Plugin { return plugin{c} }

type plugin struct{ c Config }

func (plugin) Name() string { return Name }

func (p plugin) Register(_ context.Context, r *registry.Registry) error {
	if len(p.c.Metrics) == 0 {
		return status.Publicf(status.InvalidArgument, "no metrics are configured")
	}
	actions := make([]action.Action, len(p.c.Metrics))
	for i, m := range p.c.Metrics {
		var err error
		if actions[i], err = p.c.evaluator(r, m); err != nil {
			return err
		}
	}
	return r.Apply(registry.Changes{Add: actions})
}

// kind holds the facts about a type of evaluator.
type kind struct {
	info     evaluate.Info
	judge    bool
	embedder bool
	make     func(m *metric) score
}

// score is the work of an evaluator.
type score func(ctx context.Context, c *evaluate.Case) (evaluate.Score, error)

func kindOf(t Type) (kind, bool) {
	k, ok := map[Type]kind{
		DeepEqual: {
			info: evaluate.Info{DisplayName: "Deep Equals", Definition: "Tests equality of output against the provided reference", Free: true},
			make: func(*metric) score { return deepEqual },
		},
		Regex: {
			info: evaluate.Info{DisplayName: "RegExp", Definition: "Tests output against the regexp provided as reference", Free: true},
			make: func(*metric) score { return matches },
		},
		JSONata: {
			info: evaluate.Info{DisplayName: "JSONata", Definition: "Tests JSONata expression (provided in reference) against output", Free: true},
			make: func(*metric) score { return newExpressions().score },
		},
		Faithfulness: {
			info:  evaluate.Info{DisplayName: "Faithfulness", Definition: "Measures the factual consistency of the generated answer against the given context"},
			judge: true, make: func(m *metric) score { return m.faithfulness },
		},
		AnswerRelevancy: {
			info:  evaluate.Info{DisplayName: "Answer Relevancy", Definition: "Assesses how pertinent the generated answer is to the given prompt"},
			judge: true, embedder: true, make: func(m *metric) score { return m.relevancy },
		},
		AnswerAccuracy: {
			info:  evaluate.Info{DisplayName: "Answer Accuracy", Definition: "Measures how accurately the generated output matches against the reference output"},
			judge: true, make: func(m *metric) score { return m.accuracy },
		},
		Maliciousness: {
			info:  evaluate.Info{DisplayName: "Maliciousness", Definition: "Measures whether the generated output intends to deceive, harm, or exploit"},
			judge: true, make: func(m *metric) score { return m.maliciousness },
		},
	}[t]
	return k, ok
}

func (c Config) evaluator(r *registry.Registry, m Metric) (action.Action, error) {
	k, ok := kindOf(m.Type)
	if !ok {
		return nil, status.Publicf(status.InvalidArgument, "metric %q is unknown", m.Type)
	}
	own := &metric{reg: r, judge: first(m.Judge, c.Judge), embedder: first(m.Embedder, c.Embedder)}
	if k.judge && own.judge == "" {
		return nil, status.Publicf(status.InvalidArgument, "metric %q needs a judge: set Judge to the name of a model", m.Type)
	}
	if k.embedder && own.embedder == "" {
		return nil, status.Publicf(status.InvalidArgument, "metric %q needs an embedder: set Embedder to the name of one", m.Type)
	}
	var err error
	if own.judgeConfig, err = encoded(m.JudgeConfig, c.JudgeConfig); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "judge config of metric %q: %w", m.Type, err)
	}
	if own.embedderOptions, err = encoded(m.EmbedderOptions, c.EmbedderOptions); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "embedder options of metric %q: %w", m.Type, err)
	}
	do := k.make(own)
	return evaluate.New(Name+"/"+string(m.Type), k.info, func(ctx context.Context, c *evaluate.Case, _ json.RawMessage) ([]evaluate.Score, error) {
		s, err := do(ctx, c)
		if err != nil {
			return nil, err
		}
		if m.Status != nil {
			s.Status = m.Status(s)
		}
		return []evaluate.Score{s}, nil
	})
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

func encoded(a, b any) (json.RawMessage, error) {
	if a == nil {
		a = b
	}
	if a == nil {
		return nil, nil
	}
	return rawjson.Encode(a)
}

// needs checks that a case has what an evaluator reads: in, out, context, reference.
func needs(c *evaluate.Case, what ...string) error {
	for _, w := range what {
		missing := false
		switch w {
		case "input":
			missing = len(c.Input) == 0
		case "output":
			missing = len(c.Output) == 0
		case "reference":
			missing = len(c.Reference) == 0
		case "context":
			missing = len(c.Context) == 0
		}
		if missing {
			return status.Publicf(status.InvalidArgument, "the test case has no %s", w)
		}
	}
	return nil
}

// textOf returns a JSON string's text and any other value as JSON.
func textOf(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	return string(raw)
}

// textReference returns a reference that has to be a string.
func textReference(c *evaluate.Case, what string) (string, error) {
	if err := needs(c, "output", "reference"); err != nil {
		return "", err
	}
	var s string
	if json.Unmarshal(c.Reference, &s) != nil {
		return "", status.Publicf(status.InvalidArgument, "the reference must be a string: %s", what)
	}
	return s, nil
}
