package scan

import (
	"cmp"
	"math"
	"slices"
)

type candidate struct {
	row   int
	score float32
	slack float32 // how much greater the exact score may be
}

// top keeps the candidates of the greatest scores, in a heap with the least on top.
type top struct {
	items []candidate
	size  int
}

func newTop(size int) *top {
	return &top{items: make([]candidate, 0, min(size, blockRows)), size: size}
}

// least returns the score that a candidate has to beat, minus infinity while there is
// room.
func (t *top) least() float32 {
	if len(t.items) < t.size {
		return float32(math.Inf(-1))
	}
	return t.items[0].score
}

func (t *top) push(c candidate) {
	if len(t.items) < t.size {
		t.items = append(t.items, c)
		for i := len(t.items) - 1; i > 0; {
			parent := (i - 1) / 2
			if t.items[parent].score <= t.items[i].score {
				return
			}
			t.items[parent], t.items[i] = t.items[i], t.items[parent]
			i = parent
		}
		return
	}
	if c.score <= t.items[0].score {
		return
	}
	t.items[0] = c
	for i := 0; ; {
		child := 2*i + 1
		if child >= len(t.items) {
			return
		}
		if child+1 < len(t.items) && t.items[child+1].score < t.items[child].score {
			child++
		}
		if t.items[i].score <= t.items[child].score {
			return
		}
		t.items[i], t.items[child] = t.items[child], t.items[i]
		i = child
	}
}

// within returns the candidates that may reach limit, the greatest first.
func (t *top) within(limit float32) []candidate {
	kept := slices.DeleteFunc(t.items, func(c candidate) bool { return c.score+c.slack < limit })
	slices.SortFunc(kept, func(a, b candidate) int {
		return cmp.Or(cmp.Compare(b.score+b.slack, a.score+a.slack), cmp.Compare(a.row, b.row))
	})
	return kept
}
