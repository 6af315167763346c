package wasmhost

import (
	"context"
	"time"
)

type writeByKey struct{}

// WithWriteBy returns a context under which write is told, before each chunk that a guest
// emits, when the guest's time is over: so that a reader who does not read holds it no
// longer than that. It is called on the goroutine that emits, at once before the chunk.
func WithWriteBy(ctx context.Context, write func(deadline time.Time)) context.Context {
	return context.WithValue(ctx, writeByKey{}, write)
}

func writeBy(ctx context.Context) func(time.Time) {
	write, _ := ctx.Value(writeByKey{}).(func(time.Time))
	return write
}
