// Package handed gives a value to one run of an action, and to no other that runs below it.
//
// What rides on a context is seen by all that is called with it: an approval for one tool would
// settle the questions of every tool that this one calls. A value that is handed over is
// taken by the first action that runs with the context; the actions below that one, and any that run
// beside it, find none:
//
//	ctx = handed.With(ctx, answer) // whoever runs the action
//	ctx = handed.Take(ctx)         // the action, when its run begins
//	answer := handed.Of(ctx)       // what works for the action
package handed

import (
	"context"
	"sync/atomic"
)

type key struct{}

type value struct {
	v     any
	own   bool        // it has been taken by the action whose context this is
	taken atomic.Bool // by another one
}

// With returns a context that hands v to the next action that runs with it. nil hands over
// nothing, and takes back what ctx would have handed.
func With(ctx context.Context, v any) context.Context {
	if v == nil && Of(ctx) == nil {
		return ctx
	}
	return context.WithValue(ctx, key{}, &value{v: v})
}

// Take returns the context of an action that begins to run. Of two that begin with the same context
// one gets the value.
func Take(ctx context.Context) context.Context {
	given, _ := ctx.Value(key{}).(*value)
	if given == nil || given.v == nil {
		return ctx
	}
	taken := &value{}
	if !given.own && given.taken.CompareAndSwap(false, true) {
		taken.v, taken.own = given.v, true
	}
	return context.WithValue(ctx, key{}, taken)
}

// Of returns the value that the action which runs in ctx was handed, or the next one that runs
// with ctx will be; nil when there is none.
func Of(ctx context.Context) any {
	given, _ := ctx.Value(key{}).(*value)
	if given == nil {
		return nil
	}
	return given.v
}
