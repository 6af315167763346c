package evaluate

import (
	"bytes"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Case is one test case: Genkit's BaseDataPoint. Values stay raw; nil is absent.
type Case struct {
	TestCaseID string            `json:"testCaseId,omitempty"`
	Input      json.RawMessage   `json:"input,omitempty"`
	Output     json.RawMessage   `json:"output,omitempty"`
	Context    []json.RawMessage `json:"context,omitzero"`
	Reference  json.RawMessage   `json:"reference,omitempty"`
	TraceIDs   []string          `json:"traceIds,omitzero"`

	// Extra holds the fields that this version does not know.
	Extra map[string]json.RawMessage `json:"-"`
}

// Request is the input of an evaluator: Genkit's EvalRequest.
type Request struct {
	Dataset   []Case          `json:"dataset"`
	EvalRunID string          `json:"evalRunId"`
	Options   json.RawMessage `json:"options,omitempty"`
	// BatchSize is how many cases are evaluated at once; empty means 1.
	BatchSize json.Number `json:"batchSize,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Status says whether a case passed.
type Status string

// Genkit's statuses.
const (
	Unknown Status = "UNKNOWN"
	Pass    Status = "PASS"
	Fail    Status = "FAIL"
)

// Score is one score of a case.
type Score struct {
	// ID tells several scores of one evaluator apart.
	ID string `json:"id,omitempty"`
	// Score is a JSON number, string or boolean, or nil.
	Score  json.RawMessage `json:"score,omitempty"`
	Status Status          `json:"status,omitempty"`
	// Error says why there is no score.
	Error   string   `json:"error,omitempty"`
	Details *Details `json:"details,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Details explain a score.
type Details struct {
	Reasoning string `json:"reasoning,omitempty"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Scores are the scores of a case: on the wire one object, or an array when there is not
// exactly one.
type Scores []Score

// Result is the outcome of one case: Genkit's EvalResponse.
type Result struct {
	SampleIndex *int   `json:"sampleIndex,omitempty"`
	TestCaseID  string `json:"testCaseId"`
	TraceID     string `json:"traceId,omitempty"`
	SpanID      string `json:"spanId,omitempty"`
	Evaluation  Scores `json:"evaluation"`

	Extra map[string]json.RawMessage `json:"-"`
}

// Verdict is a boolean score, with PASS for true.
func Verdict(passed bool) Score {
	if passed {
		return Score{Score: json.RawMessage("true"), Status: Pass}
	}
	return Score{Score: json.RawMessage("false"), Status: Fail}
}

// Number is a numeric score; NaN and infinities, which JSON has not, become no score.
func Number(v float64, s Status) Score {
	raw, err := json.Marshal(v)
	if err != nil {
		return Score{Status: s}
	}
	return Score{Score: raw, Status: s}
}

// Because returns the score with its reasoning.
func (s Score) Because(reasoning string) Score {
	s.Details = &Details{Reasoning: reasoning}
	return s
}

type (
	plainCase    Case
	plainRequest Request
	plainScore   Score
	plainDetails Details
	plainResult  Result
)

// UnmarshalJSON keeps unknown fields in Extra. null values count as absent.
func (c *Case) UnmarshalJSON(b []byte) (err error) {
	*c = Case{}
	if c.Extra, err = rawjson.Unmarshal(b, (*plainCase)(c)); err != nil {
		return err
	}
	for _, field := range []*json.RawMessage{&c.Input, &c.Output, &c.Reference} {
		if string(*field) == "null" {
			*field = nil
		}
	}
	return nil
}

// MarshalJSON writes the fields of Extra too.
func (c Case) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainCase(c), c.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Request) UnmarshalJSON(b []byte) (err error) {
	*r = Request{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainRequest)(r))
	return err
}

// MarshalJSON writes the fields of Extra too; a nil dataset becomes [].
func (r Request) MarshalJSON() ([]byte, error) {
	if r.Dataset == nil {
		r.Dataset = []Case{}
	}
	return rawjson.Marshal(plainRequest(r), r.Extra)
}

// UnmarshalJSON keeps unknown fields in Extra.
func (s *Score) UnmarshalJSON(b []byte) (err error) {
	*s = Score{}
	s.Extra, err = rawjson.Unmarshal(b, (*plainScore)(s))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (s Score) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainScore(s), s.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (d *Details) UnmarshalJSON(b []byte) (err error) {
	*d = Details{}
	d.Extra, err = rawjson.Unmarshal(b, (*plainDetails)(d))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (d Details) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainDetails(d), d.Extra) }

// UnmarshalJSON keeps unknown fields in Extra.
func (r *Result) UnmarshalJSON(b []byte) (err error) {
	*r = Result{}
	r.Extra, err = rawjson.Unmarshal(b, (*plainResult)(r))
	return err
}

// MarshalJSON writes the fields of Extra too.
func (r Result) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plainResult(r), r.Extra) }

// UnmarshalJSON reads one score or an array of them.
func (s *Scores) UnmarshalJSON(b []byte) error {
	if trimmed := bytes.TrimLeft(b, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '{' {
		*s = make(Scores, 1)
		return json.Unmarshal(b, &(*s)[0])
	}
	return json.Unmarshal(b, (*[]Score)(s))
}

// MarshalJSON writes one score as an object and any other number as an array.
func (s Scores) MarshalJSON() ([]byte, error) {
	if len(s) == 1 {
		return rawjson.Encode(s[0])
	}
	return rawjson.Encode(append([]Score{}, s...))
}
