// Package pears has types of the same names as its sibling apples.
package pears

// Node contains itself.
type Node struct {
	Pear int     `json:"pear"`
	Kids []*Node `json:"kids"`
}

// Pair is generic and contains itself.
type Pair[T any] struct {
	Left *Pair[T] `json:"left,omitempty"`
	It   T        `json:"it"`
}
