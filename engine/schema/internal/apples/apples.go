// Package apples has types of the same names as its sibling.
package apples

// Node contains itself.
type Node struct {
	Apple string  `json:"apple"`
	Kids  []*Node `json:"kids"`
}

// Pair is generic and contains itself.
type Pair[T any] struct {
	Left *Pair[T] `json:"left,omitempty"`
	It   T        `json:"it"`
}
