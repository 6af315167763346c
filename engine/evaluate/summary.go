package evaluate

import (
	"encoding/json"
	"strconv"
)

// maxDistinct bounds how many strings a score distribution tells apart.
const maxDistinct = 5

// Summary sums up the scores of an evaluator, or of those of one id, as Genkit's CLI
// does (genkit-tools/common/src/eval/parser.ts). A distribution counts values by their
// text; scores without a status count under "undefined".
type Summary struct {
	// Evaluator is the evaluator's name, with "/<id>" for scores that have one.
	Evaluator           string         `json:"evaluator"`
	TestCaseCount       int            `json:"testCaseCount"`
	ErrorCount          int            `json:"errorCount"`
	ScoreUndefinedCount int            `json:"scoreUndefinedCount"`
	StatusDistribution  map[string]int `json:"statusDistribution"`
	// AverageScore is set for numbers, ScoreDistribution for booleans and for at most
	// five different strings. The first score says which it is.
	AverageScore      *float64       `json:"averageScore,omitempty"`
	ScoreDistribution map[string]int `json:"scoreDistribution,omitempty"`
}

// Summarize sums up the results of an evaluator: one summary, or one for each id that its
// scores have, in the order of their appearance.
func Summarize(evaluator string, results []Result) []Summary {
	var order []string
	groups := map[string][]*Score{}
	for i := range results {
		for j := range results[i].Evaluation {
			s := &results[i].Evaluation[j]
			name := evaluator
			if s.ID != "" {
				name += "/" + s.ID
			}
			if groups[name] == nil {
				order = append(order, name)
			}
			groups[name] = append(groups[name], s)
		}
	}
	summaries := make([]Summary, len(order))
	for i, name := range order {
		summaries[i] = summarize(name, len(results), groups[name])
	}
	return summaries
}

func summarize(name string, cases int, scores []*Score) Summary {
	s := Summary{Evaluator: name, TestCaseCount: cases, StatusDistribution: map[string]int{}}
	var defined []json.RawMessage
	for _, score := range scores {
		key := string(score.Status)
		if key == "" {
			key = "undefined"
		}
		s.StatusDistribution[key]++
		if score.Error != "" {
			s.ErrorCount++
		}
		if len(score.Score) == 0 {
			s.ScoreUndefinedCount++
			continue
		}
		defined = append(defined, score.Score)
	}
	if len(defined) > 0 {
		s.values(defined)
	}
	return s
}

func (s *Summary) values(scores []json.RawMessage) {
	switch scores[0][0] {
	case '"', 't', 'f':
		counts := map[string]int{}
		for _, raw := range scores {
			text := string(raw)
			if unquoted, err := unquote(raw); err == nil {
				text = unquoted
			}
			counts[text]++
		}
		if scores[0][0] != '"' || len(counts) <= maxDistinct {
			s.ScoreDistribution = counts
		}
	case '{', '[', 'n':
	default:
		sum := 0.0
		for _, raw := range scores {
			v, err := strconv.ParseFloat(string(raw), 64)
			if err != nil {
				return // no numbers throughout: there is no average
			}
			sum += v
		}
		mean := sum / float64(len(scores))
		if _, err := json.Marshal(mean); err == nil {
			s.AverageScore = &mean
		}
	}
}

func unquote(raw json.RawMessage) (s string, err error) {
	err = json.Unmarshal(raw, &s)
	return s, err
}
