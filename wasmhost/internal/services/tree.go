package services

import (
	"context"
	"sync/atomic"
)

// Bounds of guests that have actions run: how deep they call each other, and how many
// runs the first call may cause in all.
const (
	maxDepth = 4
	maxRuns  = 64
)

// callTree is the place of a guest's call among those that led to it.
type callTree struct {
	depth int
	runs  *atomic.Int64 // of the whole tree
}

type callTreeKey struct{}

// callTreeOf returns where a call stands that a guest has caused; nil for others.
func callTreeOf(ctx context.Context) *callTree {
	n, _ := ctx.Value(callTreeKey{}).(*callTree)
	return n
}
