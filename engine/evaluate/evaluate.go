// Package evaluate is the noun "evaluator": test cases in, scores out.
//
// It owns the wire types, the description of an evaluator, how a dataset is gone
// through (a span for each case, a failure that stays with its case), the reading of
// datasets and the summing up of scores. An evaluator is an action of kind evaluator.
// Use:
//
//	short, err := evaluate.New("acme/short", evaluate.Info{DisplayName: "Short", Definition: "The output is short."},
//		func(ctx context.Context, c *evaluate.Case, options json.RawMessage) ([]evaluate.Score, error) {
//			return []evaluate.Score{evaluate.Verdict(len(c.Output) < 100)}, nil
//		})
//	results, err := evaluate.Run(ctx, short, dataset, evaluate.WithParallel(4))
//
// Evaluators are safe for concurrent use when their function is.
package evaluate

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strconv"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/internal/uuid"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Bounds of a request.
const (
	// MaxCases bounds a dataset.
	MaxCases = 10_000
	// MaxBatchSize bounds how many cases are evaluated at once.
	MaxBatchSize = 256
	// maxIDBytes bounds the ids of cases and runs.
	maxIDBytes = 256
)

// Info describes an evaluator.
type Info struct {
	// DisplayName and Definition describe the measure for people.
	DisplayName string
	Definition  string
	// Free says that a run costs nothing. Genkit's default is that it does.
	Free bool
	// ConfigSchema describes the options, or nil.
	ConfigSchema json.RawMessage
}

// Func scores one case, which it must not keep or change. A failure becomes the case's
// score; of its text only what is public leaves the process.
type Func func(ctx context.Context, c *Case, options json.RawMessage) ([]Score, error)

// BatchFunc scores a whole dataset, whose cases all have an id. Its failure is the
// request's.
type BatchFunc func(ctx context.Context, req *Request) ([]Result, error)

var outputSchema = json.RawMessage(`{"type":"array","items":{"type":"object","properties":{"sampleIndex":{"type":"number"},"testCaseId":{"type":"string"},` +
	`"traceId":{"type":"string"},"spanId":{"type":"string"},"evaluation":{"anyOf":[{"type":"object"},{"type":"array","items":{"type":"object"}}]}},"required":["testCaseId","evaluation"]}}`)

const inputSchema = `{"type":"object","properties":{"dataset":{"type":"array","items":{"type":"object","properties":{"input":{},"output":{},` +
	`"context":{"type":"array","items":{}},"reference":{},"testCaseId":{"type":"string"},"traceIds":{"type":"array","items":{"type":"string"}}}}},` +
	`"evalRunId":{"type":"string"},"options":%s,"batchSize":{"type":"number"}},"required":["dataset","evalRunId"],"additionalProperties":true}`

// New makes an evaluator that scores case by case; INVALID_ARGUMENT when the name or the
// config schema is not usable. The request's batchSize, 1 when absent, says how many
// cases are evaluated at once; a batch begins when the one before has ended. A caller
// that streams gets each result as a chunk. (Genkit: js/ai/src/evaluator.ts.)
func New(name string, info Info, fn Func) (Evaluator, error) {
	return define(name, info, func(ctx context.Context, req *Request, emit action.Emit) ([]Result, error) {
		r := &runner{req: req, fn: fn, emit: emit}
		return r.run(ctx)
	})
}

// NewBatch makes an evaluator that is given the whole dataset.
func NewBatch(name string, info Info, fn BatchFunc) (Evaluator, error) {
	return define(name, info, func(ctx context.Context, req *Request, emit action.Emit) ([]Result, error) {
		results, err := fn(ctx, req)
		if err != nil || emit == nil {
			return results, err
		}
		for i := range results {
			if err := send(emit, &results[i]); err != nil {
				return nil, err
			}
		}
		return results, nil
	})
}

type work func(ctx context.Context, req *Request, emit action.Emit) ([]Result, error)

func define(name string, info Info, do work) (Evaluator, error) {
	desc, config, err := describe(name, info)
	if err != nil {
		return nil, err
	}
	a, err := action.New(desc, func(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
		req := &Request{}
		if err := json.Unmarshal(in, req); err != nil {
			return nil, action.InvalidInput(desc, err)
		}
		if given(req.Options) {
			if err := config.Validate(req.Options); err != nil {
				return nil, action.InvalidInput(desc, err)
			}
		}
		if err := req.check(); err != nil {
			return nil, err
		}
		results, err := do(ctx, req, emit)
		if err != nil {
			return nil, err
		}
		if results == nil {
			results = []Result{}
		}
		return rawjson.Encode(results)
	})
	if err != nil {
		return nil, err
	}
	return From(a), nil
}

// Evaluator is an action of kind evaluator.
type Evaluator interface {
	action.Action
	Name() string
	// Evaluate answers one request; see [Run] for a dataset.
	Evaluate(ctx context.Context, req *Request) ([]Result, error)
}

// From returns an action as an [Evaluator]: itself when it is one.
func From(a action.Action) Evaluator {
	if e, ok := a.(Evaluator); ok {
		return e
	}
	return evaluator{a}
}

type evaluator struct{ action.Action }

func (e evaluator) Name() string { return e.Desc().Name }

func (e evaluator) Evaluate(ctx context.Context, req *Request) ([]Result, error) {
	return Do(ctx, e.Action, req, nil)
}

func describe(name string, info Info) (action.Desc, *schema.Schema, error) {
	config, err := schema.Compile(info.ConfigSchema)
	if err != nil {
		return action.Desc{}, nil, status.Publicf(status.InvalidArgument, "config schema of evaluator %q: %w", name, err)
	}
	own, err := rawjson.Encode(struct {
		Billed     bool            `json:"evaluatorIsBilled"`
		Display    string          `json:"evaluatorDisplayName"`
		Definition string          `json:"evaluatorDefinition"`
		Options    json.RawMessage `json:"customOptions,omitempty"`
	}{!info.Free, info.DisplayName, info.Definition, info.ConfigSchema})
	if err != nil {
		return action.Desc{}, nil, status.Publicf(status.InvalidArgument, "metadata of evaluator %q: %w", name, err)
	}
	options := "{}" // a reference would lead elsewhere in there; the options are checked by themselves anyway
	if len(info.ConfigSchema) > 0 && !bytes.Contains(info.ConfigSchema, []byte(`"$ref"`)) {
		options = string(info.ConfigSchema)
	}
	return action.Desc{
		Kind: action.Evaluator, Name: name, Description: info.Definition,
		InputSchema: json.RawMessage(fmt.Sprintf(inputSchema, options)), OutputSchema: outputSchema,
		Metadata: map[string]json.RawMessage{"type": json.RawMessage(`"evaluator"`), "evaluator": own},
	}, config, nil
}

func given(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

// check bounds a request and gives an id to each case that has none.
func (r *Request) check() error {
	if len(r.Dataset) > MaxCases {
		return status.Publicf(status.InvalidArgument, "a dataset of %d cases exceeds the limit of %d", len(r.Dataset), MaxCases)
	}
	if _, err := r.batchSize(); err != nil {
		return err
	}
	if len(r.EvalRunID) > maxIDBytes {
		return status.Publicf(status.InvalidArgument, "evalRunId of %d bytes exceeds the limit of %d", len(r.EvalRunID), maxIDBytes)
	}
	for i := range r.Dataset {
		c := &r.Dataset[i]
		if len(c.TestCaseID) > maxIDBytes {
			return status.Publicf(status.InvalidArgument, "testCaseId of %d bytes exceeds the limit of %d", len(c.TestCaseID), maxIDBytes)
		}
		if c.TestCaseID == "" {
			c.TestCaseID = uuid.New()
		}
	}
	return nil
}

// batchSize reads the number; 0 and nothing mean 1, as in Genkit JS.
func (r *Request) batchSize() (int, error) {
	if r.BatchSize == "" {
		return 1, nil
	}
	f, err := strconv.ParseFloat(string(r.BatchSize), 64)
	if err != nil || f < 0 || f > MaxBatchSize || f != float64(int(f)) {
		return 0, status.Publicf(status.InvalidArgument, "batchSize %s: want a whole number up to %d", clip(string(r.BatchSize)), MaxBatchSize)
	}
	return max(int(f), 1), nil
}

func clip(s string) string {
	if len(s) > 40 {
		return s[:40] + "…"
	}
	return s
}

// runner goes through a dataset.
type runner struct {
	req  *Request
	fn   Func
	emit action.Emit
	mu   sync.Mutex // one chunk at a time
	gone error      // of emit; guarded by mu
}

func (r *runner) run(ctx context.Context) ([]Result, error) {
	size, err := r.req.batchSize()
	if err != nil {
		return nil, err
	}
	results := make([]Result, len(r.req.Dataset))
	for from := 0; from < len(results); from += size {
		to := min(from+size, len(results))
		if err := ctx.Err(); err != nil {
			return nil, status.Convert(err)
		}
		if to-from == 1 {
			r.one(ctx, from, &results[from])
		} else {
			r.batch(ctx, from, results[from:to], from/size)
		}
		r.mu.Lock()
		gone := r.gone
		r.mu.Unlock()
		if gone != nil {
			return nil, gone
		}
	}
	if err := ctx.Err(); err != nil { // the last failures may be those of the caller's end
		return nil, status.Convert(err)
	}
	return results, nil
}

func (r *runner) batch(ctx context.Context, from int, results []Result, index int) {
	bodies := telemetry.Bodies(ctx)
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "Batch " + strconv.Itoa(index), Input: body(bodies, r.req.Dataset[from:from+len(results)])})
	span.Set("evaluator:evalRunId", r.req.EvalRunID)
	var wg sync.WaitGroup
	for i := range results {
		wg.Go(func() { r.one(ctx, from+i, &results[i]) })
	}
	wg.Wait()
	if bodies {
		span.Output(body(bodies, results))
	}
	_ = span.End(nil)
}

func (r *runner) one(ctx context.Context, index int, result *Result) {
	c := &r.req.Dataset[index]
	bodies := telemetry.Bodies(ctx)
	ctx, span := telemetry.Start(ctx, telemetry.Span{Name: "Test Case " + c.TestCaseID, Input: body(bodies, c)})
	span.Set("evaluator:evalRunId", r.req.EvalRunID)
	*result = Result{SampleIndex: &index, TestCaseID: c.TestCaseID}
	result.TraceID, result.SpanID = telemetry.TraceIDs(ctx)
	scores, err := r.guarded(ctx, c)
	if err != nil {
		wire := status.ToWire(err, false)
		scores = []Score{{Error: fmt.Sprintf("Evaluation of test case %s failed: \n%s: %s", c.TestCaseID, wire.Status, wire.Message)}}
	}
	result.Evaluation = scores
	if bodies && err == nil {
		span.Output(body(bodies, result))
	}
	_ = span.End(err) // the case's score tells it
	r.send(result)
}

func (r *runner) guarded(ctx context.Context, c *Case) (scores []Score, err error) {
	defer func() {
		if rec := recover(); rec != nil {
			scores, err = nil, status.Errorf(status.Internal, "evaluator panicked: %v\n%s", rec, debug.Stack())
		}
	}()
	return r.fn(ctx, c, r.req.Options)
}

func (r *runner) send(result *Result) {
	if r.emit == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.gone == nil {
		r.gone = send(r.emit, result)
	}
}

func send(emit action.Emit, result *Result) error {
	raw, err := rawjson.Encode(result)
	if err != nil {
		return status.Errorf(status.Internal, "encode a result: %w", err)
	}
	return emit(raw)
}

func body(wanted bool, v any) json.RawMessage {
	if !wanted {
		return nil
	}
	raw, err := rawjson.Encode(v)
	if err != nil { // a span is no reason to fail a case
		return nil
	}
	return raw
}
