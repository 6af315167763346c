package evaluate

import (
	"context"
	"encoding/json"
	"strconv"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/uuid"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Option is a choice for one [Run].
type Option func(*choices)

type choices struct {
	runID    string
	options  any
	parallel int
	progress func(done, total int, r Result)
}

// WithID names the run; without it a run gets a random id.
func WithID(id string) Option { return func(c *choices) { c.runID = id } }

// WithConfig sets the evaluator's own options, encoded as JSON.
func WithConfig(v any) Option { return func(c *choices) { c.options = v } }

// WithParallel says how many cases are evaluated at once: 1 is the default, [MaxBatchSize]
// the most.
func WithParallel(n int) Option { return func(c *choices) { c.parallel = n } }

// WithProgress is told of each result when it is there, one at a time; those of a batch come
// in the order in which they end. An evaluator that does not stream tells them all at
// the end.
func WithProgress(fn func(done, total int, r Result)) Option {
	return func(c *choices) { c.progress = fn }
}

// Run evaluates a dataset, which it does not change, and returns a result for each case,
// in their order. A case that fails has an error for a score.
func Run(ctx context.Context, a action.Action, dataset []Case, options ...Option) ([]Result, error) {
	c := &choices{}
	for _, o := range options {
		o(c)
	}
	if c.runID == "" {
		c.runID = uuid.New()
	}
	req := &Request{Dataset: dataset, EvalRunID: c.runID}
	if c.parallel > 1 {
		req.BatchSize = json.Number(strconv.Itoa(min(c.parallel, MaxBatchSize)))
	}
	if c.options != nil {
		raw, err := rawjson.Encode(c.options)
		if err != nil {
			return nil, status.Errorf(status.InvalidArgument, "options of evaluator %q: %w", a.Desc().Name, err)
		}
		req.Options = raw
	}
	var t *teller
	var emit action.Emit
	if c.progress != nil {
		t = &teller{tell: c.progress, total: len(dataset)}
		emit = t.emit
	}
	results, err := Do(ctx, a, req, emit)
	if err == nil && t != nil {
		t.rest(results)
	}
	return results, err
}

// Do runs an evaluator on a request. emit gets the results as they come from an evaluator
// that streams; nil streams nothing.
func Do(ctx context.Context, a action.Action, req *Request, emit action.Emit) ([]Result, error) {
	in, err := rawjson.Encode(req)
	if err != nil {
		return nil, status.Errorf(status.InvalidArgument, "encode the request of an evaluator: %w", err)
	}
	out, err := a.RunJSON(ctx, in, emit)
	if err != nil {
		return nil, err
	}
	var results []Result
	if err := json.Unmarshal(out, &results); err != nil {
		return nil, status.Errorf(status.Internal, "results of evaluator %q: %w", a.Desc().Name, err)
	}
	return results, nil
}

// teller passes results on.
type teller struct {
	tell  func(done, total int, r Result)
	total int

	mu   sync.Mutex // guards done; held while tell runs, which says so
	done int
}

func (t *teller) emit(raw json.RawMessage) error {
	var r Result
	if err := json.Unmarshal(raw, &r); err != nil {
		return status.Errorf(status.Internal, "a streamed result: %w", err)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.done++
	t.tell(t.done, t.total, r)
	return nil
}

// rest tells all results when none was streamed.
func (t *teller) rest(results []Result) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for ; t.done < len(results); t.done++ {
		t.tell(t.done+1, t.total, results[t.done])
	}
}
