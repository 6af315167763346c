package reflection

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"runtime/debug"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// runs starts actions and ends them.
type runs struct {
	app      App
	exporter *devexport.Exporter
	log      *slog.Logger
	base     context.Context //nolint:containedctx // its end is the server's end
	stop     context.CancelFunc

	mu     sync.Mutex // guards the fields below
	closed bool
	count  int
	idle   chan struct{}                      // closed when nothing runs any more after the end
	byID   map[string]context.CancelCauseFunc // by trace id
}

// maxRuns bounds how many actions run at once.
const maxRuns = 256

func newRuns(app App, x *devexport.Exporter, log *slog.Logger) *runs {
	r := &runs{app: app, exporter: x, log: log, idle: make(chan struct{}), byID: map[string]context.CancelCauseFunc{}}
	r.base, r.stop = context.WithCancel(context.Background()) //nolint:forbidigo // the server's life, which Close ends
	return r
}

// request is a run request of either version.
type request struct {
	Key     string          `json:"key"`
	Input   json.RawMessage `json:"input"`
	Init    json.RawMessage `json:"init"`
	Context json.RawMessage `json:"context"`
	Labels  json.RawMessage `json:"telemetryLabels"`

	labels map[string]string
}

// check decodes the fields that are raw in the request. null means absent, except for
// the input, where it is a value.
func (q *request) check() error {
	if q.Key == "" {
		return invalid("key is required")
	}
	if absent(q.Labels) {
		q.Labels = nil
	} else if err := json.Unmarshal(q.Labels, &q.labels); err != nil {
		return invalid("telemetryLabels: want an object of strings")
	}
	if absent(q.Context) {
		q.Context = json.RawMessage("{}")
	} else if q.Context = bytes.TrimSpace(q.Context); q.Context[0] != '{' {
		return invalid("context: want an object")
	}
	if absent(q.Init) {
		q.Init = nil
	}
	return nil
}

func absent(raw json.RawMessage) bool {
	raw = bytes.TrimSpace(raw)
	return len(raw) == 0 || string(raw) == "null"
}

// outcome is how a run ended.
type outcome struct {
	result  json.RawMessage
	traceID string
	err     error
}

var errCancelled = errors.New("cancelled by the tools")

// providerKey begins the keys by which Genkit names the actions of a provider.
const providerKey = "/dynamic-action-provider/"

// resolve finds the action of a key: "/<type>/<name>", or
// "/dynamic-action-provider/<provider>:<type>/<name>".
func resolve(ctx context.Context, reg *registry.Registry, text string) (_ action.Action, err error) {
	defer recovered(&err)
	if strings.HasPrefix(text, providerKey) {
		_, rest, _ := strings.Cut(text, ":")
		kind, _, _ := strings.Cut(rest, "/")
		list, found, err := reg.Expand(ctx, text, action.Kind(kind))
		switch {
		case err != nil:
			return nil, err
		case found && len(list) == 1:
			return list[0].Action, nil
		}
	}
	key, err := action.ParseKey(text)
	if err != nil {
		return nil, status.Publicf(status.NotFound, "action %s not found", text)
	}
	return reg.Lookup(ctx, key)
}

// run runs a to its end, for a caller that has entered. ctx may carry a deadline or an end of its own; started is called
// once, before anything of the action runs, when its span has started. next is nil where
// no stream of inputs was asked for.
func (r *runs) run(ctx context.Context, a action.Action, q *request, next action.NextInput, started func(traceID, spanID string), emit action.Emit) (o outcome) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	defer context.AfterFunc(r.base, func() { cancel(errCancelled) })()

	ctx = r.app.Context(ctx)
	ctx = action.WithContext(ctx, overlaid(action.Context(ctx), q.Context))
	ctx = telemetry.WithLabels(observed(ctx, r.exporter), q.labels)
	ctx = telemetry.OnStart(ctx, func(ctx context.Context) {
		telemetry.AnnotateContext(ctx, q.Context)
		var spanID string
		o.traceID, spanID = telemetry.TraceIDs(ctx)
		r.add(o.traceID, cancel)
		started(o.traceID, spanID)
	})
	o.result, o.err = start(ctx, a, q, next, emit)
	r.remove(o.traceID)
	if o.err != nil && errors.Is(context.Cause(ctx), errCancelled) {
		o.err = status.Publicf(status.Cancelled, "%s", cancelledText).WithCause(o.err)
	}
	r.flush()
	return o
}

// overlaid returns the app's own action context with the fields of the request's put
// over it.
func overlaid(own, asked json.RawMessage) json.RawMessage {
	fields := map[string]json.RawMessage{}
	if string(own) == "{}" || json.Unmarshal(own, &fields) != nil || json.Unmarshal(asked, &fields) != nil {
		return asked
	}
	raw, err := rawjson.Encode(fields)
	if err != nil {
		return asked
	}
	return raw
}

// observed returns ctx with what the Dev UI shows, beside what the app's own tracer gets.
func observed(ctx context.Context, x *devexport.Exporter) context.Context {
	return telemetry.WithBoth(ctx, x.TracerProvider())
}

// cancelledText is Genkit's.
const cancelledText = "Action was cancelled"

// start runs an action of either form. A panic of what stands around the action becomes
// an error here.
func start(ctx context.Context, a action.Action, q *request, next action.NextInput, emit action.Emit) (out json.RawMessage, err error) {
	defer recovered(&err)
	if b, ok := a.(action.Bidi); ok {
		if next == nil {
			next = action.OneInput(q.Input)
		}
		return b.RunBidiJSON(ctx, q.Init, next, emit)
	}
	if q.Init != nil {
		return nil, invalid("init: action %s takes none", q.Key)
	}
	return generate.Direct(a).RunJSON(ctx, q.Input, emit)
}

func recovered(err *error) {
	if p := recover(); p != nil {
		*err = status.Errorf(status.Internal, "panic: %v\n%s", p, debug.Stack())
	}
}

// flushPatience is how long a run's answer waits for its trace to arrive.
const flushPatience = 2 * time.Second

// flush sends the trace before the answer, so that who gets the answer finds it.
func (r *runs) flush() {
	ctx, cancel := context.WithTimeout(context.Background(), flushPatience) //nolint:forbidigo // the run is over, cancelled or not; flushPatience bounds it
	defer cancel()
	_ = r.exporter.Flush(ctx) // a trace that is late is no reason to fail the run
}

func (r *runs) enter() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return status.Publicf(status.Unavailable, "the reflection server is closing")
	}
	if r.count >= maxRuns {
		return status.Publicf(status.ResourceExhausted, "%d actions run already", maxRuns)
	}
	r.count++
	return nil
}

func (r *runs) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count--
	r.closeIfIdle()
}

// closeIfIdle closes idle when the server has ended and no run is left; mu is held.
func (r *runs) closeIfIdle() {
	if r.closed && r.count == 0 {
		close(r.idle)
	}
}

func (r *runs) add(traceID string, cancel context.CancelCauseFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.byID[traceID] = cancel
}

func (r *runs) remove(traceID string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.byID, traceID)
}

// cancel ends the run of a trace and reports whether there was one.
func (r *runs) cancel(traceID string) bool {
	r.mu.Lock()
	cancel, ok := r.byID[traceID]
	delete(r.byID, traceID)
	r.mu.Unlock()
	if ok {
		cancel(errCancelled)
	}
	return ok
}

// end refuses new runs and cancels those under way.
func (r *runs) end() {
	r.mu.Lock()
	r.closed = true
	r.closeIfIdle()
	r.mu.Unlock()
	r.stop()
}

// wait waits for all runs to end, at most until ctx ends.
func (r *runs) wait(ctx context.Context) error {
	select {
	case <-r.idle:
		return nil
	case <-ctx.Done():
		return status.Convert(ctx.Err())
	}
}
