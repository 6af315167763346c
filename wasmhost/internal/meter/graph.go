package meter

import (
	"cmp"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// function holds the facts about one defined function that its callers use.
type function struct {
	hub  bool // it is one of those that cut the cycles of the call graph
	deep bool // a chain of calls from it may lead to a hub, or through a table to anything

	// Fuel that is charged on the dearest way: pre from its entry to its first check, or to its end where there is
	// none; thru from entry to end without a check; post from its last check to its end. -1 where there is no such way.
	// Of a hub they are what it keeps to, known before it is looked at.
	pre, thru, post int64
}

// pauses tells whether a call of f may meet a check, or come back from a deep recursion.
func (f *function) pauses() bool { return f.deep || f.post >= 0 }

// graph is the direct calls between the defined functions of a module, without those through tables.
type graph struct {
	start []int32 // of each function: where its callees begin; one more at the end
	calls []int32
	size  []int32 // of each function's body, in bytes
}

// newGraph reads the direct calls out of all bodies. A callee is listed once for each caller, whatever the number of calls.
func newGraph(m *inspect.Module) *graph {
	imports := uint32(len(m.Imports))
	g := &graph{start: make([]int32, 0, len(m.Bodies)+1), size: make([]int32, 0, len(m.Bodies))}
	for _, b := range m.Bodies {
		from := len(g.calls)
		g.start = append(g.start, int32(from))
		g.size = append(g.size, int32(b.End-b.Code))
		walk := m.Instructions(b)
		for in := walk.Next(); in != nil; in = walk.Next() {
			if in.Op == inspect.OpCall && in.Index >= imports {
				g.calls = append(g.calls, int32(in.Index-imports))
			}
		}
		slices.Sort(g.calls[from:])
		g.calls = g.calls[:from+len(slices.Compact(g.calls[from:]))]
	}
	g.start = append(g.start, int32(len(g.calls)))
	return g
}

// callees returns the functions that function n calls, in ascending order.
func (g *graph) callees(n int32) []int32 { return g.calls[g.start[n]:g.start[n+1]] }

const (
	// hubShare is which part of the functions that call each other in circles become hubs in each round.
	hubShare = 16
	// hubEffort bounds the work of choosing hubs, in walks over the whole graph; after that every function that still
	// stands in a cycle is one.
	hubEffort = 32
)

// hubs chooses functions without which the graph has no cycles: of those that stand in cycles the longest, because
// checks weigh least in them. It returns them, and the order in which every function comes after those that it calls,
// hubs left aside.
func (g *graph) hubs() (hub []bool, order []int32) {
	n := len(g.size)
	hub = make([]bool, n)
	s := &search{graph: g, hub: hub, index: make([]int32, n), low: make([]int32, n), on: make([]bool, n)}
	all := make([]int32, n)
	for i := range all {
		all[i] = int32(i)
	}
	// Each round makes hubs of the longest sixteenth of each cycle's functions, and looks for cycles in what is left. The
	// result depends on sizes and numbers only, so that the same module always gets the same hubs.
	for rest := all; len(rest) > 0; {
		s.run(rest)
		rest = rest[:0:0]
		spent := s.effort > hubEffort*(len(g.calls)+n)
		for _, circle := range s.circles {
			slices.SortFunc(circle, func(a, b int32) int { return cmp.Or(cmp.Compare(g.size[b], g.size[a]), cmp.Compare(a, b)) })
			some := 1 + len(circle)/hubShare
			if spent {
				some = len(circle)
			}
			for _, f := range circle[:some] {
				hub[f] = true
			}
			rest = append(rest, circle[some:]...)
		}
	}
	s.run(all)
	return hub, s.order
}

// search finds the strongly connected components of a graph without its hubs (Tarjan, 1972), on a stack of its own.
type search struct {
	*graph
	hub        []bool
	index, low []int32 // index 0: not seen yet
	on         []bool  // on the stack of the component being found
	stack      []int32
	frames     []frame
	next       int32
	effort     int

	order   []int32   // functions, each after those that it calls
	circles [][]int32 // components with cycles
}

// frame is a call of enter that would be on Go's stack if the search were recursive. It is not, because the depth of a
// module's call graph is up to who wrote the module.
type frame struct {
	function int32
	callee   int32 // index in calls of the one to be looked at next
}

// run searches among these functions, of which every one that stands in a cycle has the others of that cycle beside it.
func (s *search) run(functions []int32) {
	s.order, s.circles = s.order[:0], nil
	for _, f := range functions {
		s.index[f] = 0
	}
	s.next = 0
	for _, f := range functions {
		if s.index[f] == 0 && !s.hub[f] {
			s.visit(f)
		}
	}
	for _, f := range functions {
		if s.hub[f] {
			s.order = append(s.order, f)
		}
	}
}

// enter numbers a function that is seen for the first time.
func (s *search) enter(f int32) {
	s.next++
	s.index[f], s.low[f] = s.next, s.next
	s.stack, s.on[f] = append(s.stack, f), true
	s.frames = append(s.frames, frame{f, s.start[f]})
}

// visit searches everything that can be reached from root. low is the smallest index that a function leads back to; where
// it is the function's own, a component is complete.
func (s *search) visit(root int32) {
	s.enter(root)
	for len(s.frames) > 0 {
		top := &s.frames[len(s.frames)-1]
		f := top.function
		s.effort++
		if top.callee < s.start[f+1] {
			callee := s.calls[top.callee]
			top.callee++
			switch {
			case s.hub[callee]:
			case s.index[callee] == 0:
				s.enter(callee)
			case s.on[callee]:
				s.low[f] = min(s.low[f], s.index[callee])
			}
			continue
		}
		s.frames = s.frames[:len(s.frames)-1]
		if len(s.frames) > 0 {
			caller := s.frames[len(s.frames)-1].function
			s.low[caller] = min(s.low[caller], s.low[f])
		}
		if s.low[f] == s.index[f] {
			s.component(f)
		}
	}
}

// component takes the component that f has opened off the stack.
func (s *search) component(f int32) {
	at := len(s.stack) - 1
	for s.stack[at] != f {
		at--
	}
	found := s.stack[at:]
	for _, member := range found {
		s.on[member] = false
	}
	s.order = append(s.order, found...)
	if len(found) > 1 || slices.Contains(s.callees(f), f) {
		s.circles = append(s.circles, slices.Clone(found))
	}
	s.stack = s.stack[:at]
}
