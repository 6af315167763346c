package allowance

import "context"

// Payer is who the model calls of a request, and of everything that it causes, are charged
// to: a customer with a budget, for example, which outlives the request.
type Payer interface {
	// Reserve is asked before a model is called. When it fails the model is not called, and
	// the error is the call's. settle is called once when the call has ended, with the tokens
	// that the model reported, 0 where it reported none.
	Reserve(ctx context.Context, model string) (settle func(tokens int64), err error)
}

type payerKey struct{}

// WithPayer returns a context whose model calls are charged to a payer.
func WithPayer(ctx context.Context, p Payer) context.Context {
	return context.WithValue(ctx, payerKey{}, p)
}

// Reserve asks the context's payer before a model is called; see [Payer]. Without one nothing
// is charged.
func Reserve(ctx context.Context, model string) (settle func(tokens int64), err error) {
	p, _ := ctx.Value(payerKey{}).(Payer)
	if p == nil {
		return func(int64) {}, nil
	}
	return p.Reserve(ctx, model)
}
