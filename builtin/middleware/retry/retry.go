// Package retry asks a model again when it failed in a way that may pass.
//
// It owns the middleware "retry": the model hook only, so that tools never run twice.
// Use:
//
//	f, err := retry.New(retry.Options{})
//	err = middleware.Register(reg, f)
//	… engine.WithUse(engine.UseName("retry", retry.Config{MaxRetries: new(5)}))
//
// The behaviour follows Genkit JS (js/plugins/middleware/src/retry.ts), with these
// choices: a wait that the provider asks for goes before ours; a wait that is longer
// than maxDelayMs or than what is left of the deadline is not begun; and nothing is
// retried once a chunk with content was passed on, since the reader would get the
// beginning twice. Hooks are made fresh for each generate call and keep no state.
package retry

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// Name is the middleware's name.
const Name = "retry"

// Config is the config of a generate call.
type Config struct {
	MaxRetries     *int     `json:"maxRetries,omitempty" jsonschema:"minimum=0,maximum=100,default=3" jsonschema_description:"How often a failed call is tried again. Default 3."`
	Statuses       []string `json:"statuses,omitempty" jsonschema:"enum=CANCELLED,enum=UNKNOWN,enum=INVALID_ARGUMENT,enum=DEADLINE_EXCEEDED,enum=NOT_FOUND,enum=ALREADY_EXISTS,enum=PERMISSION_DENIED,enum=RESOURCE_EXHAUSTED,enum=FAILED_PRECONDITION,enum=ABORTED,enum=OUT_OF_RANGE,enum=UNIMPLEMENTED,enum=INTERNAL,enum=UNAVAILABLE,enum=DATA_LOSS,enum=UNAUTHENTICATED" jsonschema_description:"The statuses that are tried again. Default: UNAVAILABLE, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, ABORTED and INTERNAL. Errors without a status are always tried again; a cancellation never is."`
	InitialDelayMS *float64 `json:"initialDelayMs,omitempty" jsonschema:"minimum=0,default=1000" jsonschema_description:"The wait before the first retry, in milliseconds. Default 1000."`
	MaxDelayMS     *float64 `json:"maxDelayMs,omitempty" jsonschema:"minimum=0,maximum=3600000,default=60000" jsonschema_description:"The longest wait before a retry, in milliseconds, without jitter. When the provider asks for more, the call fails at once. Default 60000."`
	BackoffFactor  *float64 `json:"backoffFactor,omitempty" jsonschema:"minimum=1,default=2" jsonschema_description:"What the wait is multiplied by from retry to retry. Default 2."`
	NoJitter       bool     `json:"noJitter,omitempty" jsonschema_description:"Leaves out the random part of the wait."`
}

// Options are the operator's; the zero value is useful.
type Options struct {
	// OnError is told of each error that will be retried, and the number of the
	// retry, from 1. It is called concurrently.
	OnError func(ctx context.Context, err error, attempt int)
	// Random gives numbers in [0, 1) for the jitter; nil means math/rand/v2.
	Random func() float64
}

// New makes the factory.
func New(o Options) (middleware.Factory, error) {
	if o.Random == nil {
		o.Random = rand.Float64
	}
	return middleware.Define(middleware.Desc{Name: Name, Description: "Tries a failed model call again, with growing waits."},
		func(_ context.Context, c Config) (*middleware.Hooks, error) {
			p, err := c.policy(o)
			if err != nil {
				return nil, err
			}
			return &middleware.Hooks{Model: p.call}, nil
		})
}

// Plugin registers the middleware.
func Plugin(o Options) registry.Plugin {
	return middleware.Plugin(Name, func() (middleware.Factory, error) { return New(o) })
}

// Statuses are those that are retried by default.
func Statuses() []status.Code {
	return []status.Code{status.Unavailable, status.DeadlineExceeded, status.ResourceExhausted, status.Aborted, status.Internal}
}

type policy struct {
	Options
	retries      int
	codes        []status.Code
	initial, max float64 // milliseconds
	factor       float64
	jitter       bool
}

func (c Config) policy(o Options) (*policy, error) {
	p := &policy{
		Options: o, retries: or(c.MaxRetries, 3), codes: Statuses(), jitter: !c.NoJitter,
		initial: or(c.InitialDelayMS, 1000), max: or(c.MaxDelayMS, 60000), factor: or(c.BackoffFactor, 2),
	}
	if c.Statuses != nil {
		p.codes = nil
		for _, name := range c.Statuses {
			code, ok := status.Parse(name)
			if !ok {
				return nil, status.Publicf(status.InvalidArgument, "middleware %q: %q is not a status", Name, name)
			}
			p.codes = append(p.codes, code)
		}
	}
	return p, nil
}

func or[T any](given *T, otherwise T) T {
	if given == nil {
		return otherwise
	}
	return *given
}

func (p *policy) call(ctx context.Context, call *middleware.ModelCall, next middleware.ModelFunc) (*model.Response, error) {
	for attempt := 0; ; attempt++ {
		c, sent := middleware.WatchSend(call)
		resp, err := next(ctx, c)
		if err == nil || attempt >= p.retries || sent() || ctx.Err() != nil || !p.mayPass(err) {
			return resp, err
		}
		wait, worthIt := p.wait(attempt, err)
		if deadline, ok := ctx.Deadline(); !worthIt || ok && time.Until(deadline) <= wait {
			return nil, err
		}
		if p.OnError != nil {
			p.OnError(ctx, err, attempt+1)
		}
		if !sleep(ctx, wait) {
			return nil, err // the loop reports the cancellation and keeps this as its cause
		}
	}
}

// mayPass reports whether trying again is of use.
func (p *policy) mayPass(err error) bool {
	if _, interrupt := tool.AsInterrupt(err); interrupt || errors.Is(err, middleware.ErrFinal) || errors.Is(err, context.Canceled) || status.Of(err) == status.Cancelled {
		return false
	}
	if _, classified := errors.AsType[*status.Error](err); !classified && !errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	return slices.Contains(p.codes, status.Of(err))
}

// wait is min(initial·factor^n, max) and a random part of up to 2^n seconds, or what
// the provider asks for when that is longer.
func (p *policy) wait(attempt int, err error) (wait time.Duration, worthIt bool) {
	ms := min(p.initial*math.Pow(p.factor, float64(attempt)), p.max)
	if p.jitter {
		ms += p.Random() * min(1000*math.Pow(2, float64(attempt)), p.max)
	}
	wait = time.Duration(ms * float64(time.Millisecond))
	asked := status.Convert(err).RetryAfter
	if asked > time.Duration(p.max*float64(time.Millisecond)) {
		return 0, false
	}
	return max(wait, asked), true
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
