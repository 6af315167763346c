// Package allowance bounds the work that one request may cause: the model calls, tool runs,
// nested generate calls and tokens of its whole tree, and the time that it takes,
// however hooks, tools and guests call each other.
//
// It owns the limits' JSON form and the counting; the generate loop opens an allowance
// for a request that has none, and everything below it counts on the same one, found
// through the context. Use:
//
//	ctx, done, err := allowance.Enter(ctx, allowance.Defaults())
//	defer done()
//	err = allowance.ModelCall(ctx) // RESOURCE_EXHAUSTED once they are used up
//
// A request that goes on after it was refused as often as it was granted is ended: its
// context is cancelled, with the refusal as its cause.
//
// Everything here is safe for concurrent use. A context without an allowance has no bound.
//
// Experimental: Genkit has no such limits. Their set and their defaults may still change.
package allowance

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Limits bound the tree of one request. A field that is 0 takes the default (see
// [Limits.Or]), one that is negative has no bound.
type Limits struct {
	// ModelCalls bounds how often models are called.
	ModelCalls int64 `json:"modelCalls,omitempty"`
	// ToolRuns bounds how many tools are run.
	ToolRuns int64 `json:"toolRuns,omitempty"`
	// Generates bounds the generate calls, the first one included.
	Generates int64 `json:"generates,omitempty"`
	// Tokens bounds the sum of the tokens that the models report. The call that
	// oversteps it still answers; the next one is refused.
	Tokens int64 `json:"tokens,omitempty"`
	// Seconds bounds the time from the first generate call to the end of it.
	Seconds int64 `json:"seconds,omitempty"`
	// Use bounds the middleware that one generate call names.
	Use int64 `json:"use,omitempty"`
	// Names bounds the tools, and the resources, that one generate call names.
	Names int64 `json:"names,omitempty"`
	// Values bounds the elements and members of the messages, docs and resume of one
	// generate call that comes as JSON; see [Size].
	Values int64 `json:"values,omitempty"`
}

// Size is how much one generate call asks for, beside its bytes. Each of these costs
// memory and work out of proportion to the bytes that name it.
type Size struct {
	Use, Tools, Resources int64 // entries of the lists of these names
	// Values are the elements and members of messages, docs and resume, without what
	// lies inside of the data, custom, input and output of parts.
	Values int64
}

// Defaults are the limits of an engine that says nothing: far beyond what a request
// needs, and far below what a loop of hooks can cause. Tokens and time have no bound:
// what is right depends on the model.
func Defaults() Limits {
	return Limits{ModelCalls: 1000, ToolRuns: 10_000, Generates: 256, Tokens: -1, Seconds: -1, Use: 64, Names: 512, Values: 100_000}
}

// Or returns l with the fields of other where l has 0.
func (l Limits) Or(other Limits) Limits {
	for _, f := range []struct{ at, from *int64 }{
		{&l.ModelCalls, &other.ModelCalls},
		{&l.ToolRuns, &other.ToolRuns},
		{&l.Generates, &other.Generates},
		{&l.Tokens, &other.Tokens},
		{&l.Seconds, &other.Seconds},
		{&l.Use, &other.Use},
		{&l.Names, &other.Names},
		{&l.Values, &other.Values},
	} {
		if *f.at == 0 {
			*f.at = *f.from
		}
	}
	return l
}

// Parse reads limits from JSON, strictly: -1 is no bound, and a larger number is bounded itself, seconds by a hundred years.
// INVALID_ARGUMENT names the fault.
func Parse(raw json.RawMessage) (Limits, error) {
	var l Limits
	if err := schema.Decode(raw, &l, schema.RefuseUnknown); err != nil {
		return Limits{}, status.Publicf(status.InvalidArgument, "limits of generate: %w", err)
	}
	for _, f := range []struct {
		name    string
		n, most int64
	}{
		{"modelCalls", l.ModelCalls, maxCount},
		{"toolRuns", l.ToolRuns, maxCount},
		{"generates", l.Generates, maxCount},
		{"tokens", l.Tokens, maxCount},
		{"seconds", l.Seconds, maxSeconds},
		{"use", l.Use, maxCount},
		{"names", l.Names, maxCount},
		{"values", l.Values, maxCount},
	} {
		if f.n < -1 || f.n > f.most {
			return Limits{}, status.Publicf(status.InvalidArgument, "limits of generate: %q is %d, want -1 (no bound), 0 (the default) or 1 to %d", f.name, f.n, f.most)
		}
	}
	return l, nil
}

const (
	// maxCount is the largest number up to which every reader of JSON tells whole numbers apart.
	maxCount = 1<<53 - 1
	// maxSeconds is a hundred years, which a [time.Duration] can hold.
	maxSeconds = 100 * 365 * 24 * 3600
)

// allowance counts the work that a request has caused.
type allowance struct {
	limits Limits
	// end ends the request, once it has been refused as often as it was granted: hooks
	// within hooks may try again however often they are told that it is of no use.
	end                                     context.CancelCauseFunc
	modelCalls, toolRuns, generates, tokens atomic.Int64
}

type key struct{}

func of(ctx context.Context) *allowance {
	a, _ := ctx.Value(key{}).(*allowance)
	return a
}

// Enter begins a generate call. The first one of a request opens an allowance with the
// limits, and with their time as a deadline; one within another counts on that one, and
// its limits say nothing. RESOURCE_EXHAUSTED when there are too many. The function ends
// what Enter began.
func Enter(ctx context.Context, limits Limits) (inner context.Context, done func(), err error) {
	a, done := of(ctx), func() {}
	if a == nil {
		a = &allowance{limits: limits.Or(Defaults())}
		ctx = context.WithValue(ctx, key{}, a)
		timed := context.CancelFunc(func() {})
		if s := a.limits.Seconds; s > 0 {
			ctx, timed = context.WithTimeout(ctx, time.Duration(s)*time.Second)
		}
		ctx, a.end = context.WithCancelCause(ctx)
		done = func() {
			a.end(nil)
			timed()
		}
	}
	return ctx, done, a.take(&a.generates, a.limits.Generates, "generate calls")
}

// Check refuses a generate call that asks for more than it may, before any of it is
// resolved: INVALID_ARGUMENT with the number. The limits are those of the allowance that
// ctx has, else those given.
func Check(ctx context.Context, limits Limits, s Size) error {
	limits = limits.Or(Defaults())
	if a := of(ctx); a != nil {
		limits = a.limits
	}
	for _, part := range []struct {
		n, most int64
		what    string
	}{
		{s.Use, limits.Use, `"use" has %d entries`},
		{s.Tools, limits.Names, `"tools" has %d entries`},
		{s.Resources, limits.Names, `"resources" has %d entries`},
		{s.Values, limits.Values, "messages, docs and resume have %d elements and members"},
	} {
		if part.most > 0 && part.n > part.most {
			return status.Publicf(status.InvalidArgument, part.what+", which is more than the %d that a generate call may have", part.n, part.most)
		}
	}
	return nil
}

// ModelCall counts a call of a model before it is made; RESOURCE_EXHAUSTED when the
// calls or the tokens are used up.
func ModelCall(ctx context.Context) error {
	a := of(ctx)
	if a == nil {
		return nil
	}
	if most := a.limits.Tokens; most > 0 && a.tokens.Load() >= most {
		return exhausted(most, "tokens")
	}
	return a.take(&a.modelCalls, a.limits.ModelCalls, "model calls")
}

// ToolRun counts the run of a tool before it is made; RESOURCE_EXHAUSTED when they are
// used up.
func ToolRun(ctx context.Context) error {
	a := of(ctx)
	if a == nil {
		return nil
	}
	return a.take(&a.toolRuns, a.limits.ToolRuns, "tool runs")
}

// Used counts tokens that a model has reported. A negative number counts as none.
func Used(ctx context.Context, tokens int64) {
	if a := of(ctx); a != nil && tokens > 0 {
		a.tokens.Add(tokens)
	}
}

func (a *allowance) take(count *atomic.Int64, most int64, what string) error {
	n := count.Add(1)
	if most <= 0 || n <= most {
		return nil
	}
	err := exhausted(most, what)
	if n > 2*most {
		a.end(err)
	}
	return err
}

func exhausted(most int64, what string) error {
	return status.Publicf(status.ResourceExhausted, "the request has used the %d %s that it and everything it causes may have", most, what)
}
