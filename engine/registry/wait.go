package registry

import (
	"context"
	"encoding/json"
	"runtime/debug"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// ListWait bounds how long a listing waits for one plugin or provider. One that takes
// longer is missing from it, and from the listings that follow until it is done, which do
// not wait for it: what it does goes on.
const ListWait = 5 * time.Second

// waiting holds what a plugin or provider is being asked by listings, those included that
// have gone meanwhile.
type waiting struct {
	mu    sync.Mutex                // guards asked
	asked map[*time.Timer]time.Time // the questions without an answer, and since when
}

// late reports whether a question has been open for longer than a listing waits.
func (w *waiting) late() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, since := range w.asked {
		if time.Since(since) >= ListWait {
			return true
		}
	}
	return false
}

func (w *waiting) begin(question *time.Timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.asked == nil {
		w.asked = map[*time.Timer]time.Time{}
	}
	w.asked[question] = time.Now()
}

func (w *waiting) end(question *time.Timer) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.asked, question)
}

// question is something that a listing asks of foreign code.
type question[T any] struct {
	who string
	// lasting marks a question whose answer is kept where it was asked: it goes on when
	// the listing ends. Another one is cancelled with it.
	lasting bool
	ask     func(ctx context.Context) (T, error)
}

// answered asks q and waits for the answer, for at most [ListWait]. A panic is an error.
func answered[T any](ctx context.Context, w *waiting, q question[T]) (got T, err error) {
	if err := ctx.Err(); err != nil {
		return got, status.Convert(err)
	}
	if w.late() {
		return got, lateError(q.who)
	}
	timer := time.NewTimer(ListWait)
	defer timer.Stop()
	asked, cancel := context.WithCancel(ctx)
	defer cancel()
	if q.lasting {
		asked = context.WithoutCancel(ctx)
	}
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1) // whoever asked may have gone
	w.begin(timer)
	go func() {
		var a answer
		defer func() {
			if rec := recover(); rec != nil {
				a.err = status.Errorf(status.Internal, "%s panicked: %v\n%s", q.who, rec, debug.Stack())
			}
			w.end(timer)
			answers <- a
		}()
		a.value, a.err = q.ask(asked)
	}()
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		return got, status.Convert(ctx.Err())
	case <-timer.C:
		return got, lateError(q.who)
	}
}

func lateError(who string) error {
	return status.Publicf(status.Unavailable, "%s has not answered within %s; what it offers is listed when it has", who, ListWait)
}

// LookupListed is [Registry.Lookup] for what a listing has found: it waits for a plugin
// no longer than [ListWait].
func (r *Registry) LookupListed(ctx context.Context, key action.Key) (action.Action, error) {
	for reg := r; reg != nil; reg = reg.parent {
		a, l := reg.own(key)
		if a != nil {
			return a, nil
		}
		if l != nil {
			return answered(ctx, &l.waiting, question[action.Action]{
				who: l.who(), lasting: true,
				ask: func(ctx context.Context) (action.Action, error) { return r.Lookup(ctx, key) },
			})
		}
	}
	return r.Lookup(ctx, key)
}

// Readable returns the descriptors whose schemas and metadata are JSON, and an error that
// names the others: one of those would make a listing that can't be encoded.
func Readable(descs []action.Desc) ([]action.Desc, error) {
	var errs []error
	kept := make([]action.Desc, 0, len(descs))
	for _, d := range descs {
		if readable(d) {
			kept = append(kept, d)
			continue
		}
		errs = append(errs, status.Errorf(status.Internal, "action %q is described by invalid JSON", d.Key()))
	}
	return kept, join(errs)
}

// readable reports whether the texts of a descriptor can be shown.
func readable(d action.Desc) bool {
	for _, raw := range d.Metadata {
		if raw != nil && !json.Valid(raw) {
			return false
		}
	}
	for _, raw := range []json.RawMessage{d.InputSchema, d.OutputSchema, d.StreamSchema, d.InitSchema} {
		if len(raw) > 0 && !json.Valid(raw) {
			return false
		}
	}
	return true
}

// list asks a provider; quietly makes no span for a fetch that this needs.
func (s *source) list(ctx context.Context, quietly bool) ([]action.Desc, error) {
	d, dynamic := s.Provider.(*Dynamic)
	return answered(ctx, s.waiting, question[[]action.Desc]{
		who: `provider "` + s.Name() + `"`, lasting: dynamic,
		ask: func(ctx context.Context) ([]action.Desc, error) {
			if !dynamic || !quietly {
				return s.List(ctx)
			}
			o, err := d.get(ctx, false)
			if err != nil {
				return nil, err
			}
			return o.descs, nil
		},
	})
}

func (l *lazy) who() string { return `plugin "` + l.name + `"` }

// list describes the actions that the plugin offers beside those that it has registered.
func (l *lazy) list(ctx context.Context) ([]action.Desc, error) {
	if l.lister != nil {
		return answered(ctx, &l.waiting, question[[]action.Desc]{who: l.who(), ask: l.offers})
	}
	if l.init == nil || l.done.Load() {
		return nil, nil
	}
	return answered(ctx, &l.waiting, question[[]action.Desc]{who: l.who(), lasting: true, ask: func(ctx context.Context) ([]action.Desc, error) {
		return nil, l.start(ctx)
	}})
}
