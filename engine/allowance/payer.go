package allowance

import (
	"context"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Use is what one model call has used. Its tokens are those that the model reported, and no
// more than its request could cause: a number that can't be true is counted as that bound. Of a
// call that ended in the middle of its answer, for example because its caller left, they are an estimate.
type Use struct {
	// Input and Output are tokens; Cached are those of Input that the provider had cached.
	Input, Output, Cached int64
	// Total is the total that the model reported, and at least the sum of Input and
	// Output. It is more than the sum where a model counts its thoughts in the total alone.
	Total int64
	// Reported is false for a model that said nothing of its tokens.
	Reported bool
	// Estimated is set, and Reported too, when the call ended before the model could report its
	// tokens and yet had used some.
	Estimated bool
	// Capped is set when the model reported more than its request could cause.
	Capped bool
	// Code says how the call ended; [status.OK] when the model answered.
	Code status.Code
}

// Payer is who the model calls of a request, and of everything that it causes, are charged
// to: a customer with a budget, for example, which outlives the request.
type Payer interface {
	// Reserve is asked before a model is called. When it fails the model is not called, and
	// the error is the call's. settle is called once when the call has ended.
	Reserve(ctx context.Context, model string) (settle func(Use), err error)
}

// Chooser is a payer that says which models may be called.
type Chooser interface {
	// May fails when the model of that name may not be called.
	May(ctx context.Context, model string) error
}

type payerKey struct{}

// WithPayer returns a context whose model calls are charged to a payer.
func WithPayer(ctx context.Context, p Payer) context.Context {
	return context.WithValue(ctx, payerKey{}, p)
}

// Reserve asks the context's payer before a model is called; see [Payer]. Without one nothing
// is charged. asked is the model that the provider is asked for, which a request may choose; it is
// what is paid for, and a payer that is a [Chooser] has to allow both.
func Reserve(ctx context.Context, model, asked string) (settle func(Use), err error) {
	p, _ := ctx.Value(payerKey{}).(Payer)
	if p == nil {
		return func(Use) {}, nil
	}
	if c, ok := p.(Chooser); ok && asked != model {
		if err := c.May(ctx, model); err != nil {
			return nil, err
		}
	}
	return p.Reserve(ctx, asked)
}
