package genkiteval

import (
	"context"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/evaluate"
)

// Expressions lets a test choose how long an expression may take.
type Expressions struct{ x *expressions }

func NewExpressions(limit time.Duration) *Expressions {
	x := newExpressions()
	x.limit = limit
	return &Expressions{x}
}

func (e *Expressions) SetLimit(limit time.Duration) { e.x.limit = limit }

func (e *Expressions) Score(ctx context.Context, c *evaluate.Case) (evaluate.Score, error) {
	return e.x.score(ctx, c)
}
