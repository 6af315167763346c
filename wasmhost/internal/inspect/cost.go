package inspect

// frame is an open block of the function being walked.
type frame struct {
	op    Op // block, loop, if or else
	loops int32
	arity int32 // values that a branch to it carries
	block int32 // its number in the function
	mark  int   // definitions of locals set aside before it
	join  bool  // a branch leads to its end
}

// Weights of the estimate, in nanoseconds, measured on wazero's compiler with the shapes of the tests: block layout and
// liveness are quadratic in the control points of a function; a local that lives across a merge may need a phi
// there, which is the dearer the more locals there are; and a loop repeats that for every loop around it.
const (
	costPointSquared = 8
	costMerge        = 650
	costLoop         = 1100
	costNestedLoop   = 14
	costLocals       = 700     // so many locals double the cost of a phi
	costCallIndirect = 10_000  // beyond that of a call
	minorsPerPoint   = 12      // instructions that may trap weigh so much less than a control point
	maxPoints        = 1 << 24 // far beyond any limit; keeps the square in range
)

// shape estimates how much longer than its bytes suggest one function takes to compile.
type shape struct {
	locals int
	points int64 // places where control parts or meets
	minor  int64 // the same, but for labels of a br_table and traps, which weigh less
	loops  int64
	heavy  int64 // cost of instructions that compile into many
	weight int64 // cost, per live local, of the merges so far
	phis   int64 // cost of the locals whose life has ended
	vars   []variable
	undo   []undo
}

// variable holds the facts about one local while its function is walked.
type variable struct {
	block   int32 // number of the block in which it was last defined; 0 is the function
	loops   int32 // loops around that definition
	start   int64 // weight at that definition, which covers every read up to the end of its block
	counted int64 // weight up to which its life has been charged
	open    int64 // earliest start of a life that lasts to the end of the function, or -1

	// When that definition is the meeting of two, the older one lives up to it, but only if the meeting is read.
	meets      bool
	oldLoops   int32
	oldStart   int64
	oldCounted int64
}

// undo is the definition that holds again when the block that replaced it ends.
type undo struct {
	local uint32
	was   variable
}

// reset prepares s for a function with that many locals. Every local is defined at its start.
func (s *shape) reset(locals int) {
	vars := s.vars[:0]
	for range locals {
		vars = append(vars, variable{open: -1})
	}
	*s = shape{locals: locals, points: 1, vars: vars, undo: s.undo[:0]}
}

func (s *shape) merge() {
	s.points++
	s.weight += costMerge
}

func (s *shape) loop(depth int32) {
	s.points++
	s.loops++
	s.weight += costLoop + costNestedLoop*int64(depth)
}

// set notes a definition in the frame f. It covers the reads that follow in the same block and in those inside it.
func (s *shape) set(local uint32, f *frame) {
	if int64(local) >= int64(len(s.vars)) {
		return // wazero will refuse it
	}
	v := &s.vars[local]
	if v.block != f.block {
		s.undo = append(s.undo, undo{local, *v})
	}
	v.block, v.loops, v.start, v.counted, v.meets = f.block, f.loops, s.weight, s.weight, false
}

// get notes a read in the frame f. When the definition stands outside one of the loops of f, the value lives to the
// end of that loop, for which the end of the function stands in.
func (s *shape) get(local uint32, f *frame) {
	if int64(local) >= int64(len(s.vars)) {
		return
	}
	v := &s.vars[local]
	if v.meets {
		v.meets = false
		s.phis += v.live(v.loops, v.start, v.oldLoops, v.oldStart, v.oldCounted)
	}
	s.phis += v.live(f.loops, s.weight, v.loops, v.start, v.counted)
	v.counted = s.weight
}

// live gives the cost of a life up to the weight now inside loops loops, from a definition inside defLoops loops. It is
// left open when a loop was entered in between.
func (v *variable) live(loops int32, now int64, defLoops int32, start, counted int64) int64 {
	if loops <= defLoops {
		return now - counted
	}
	if v.open < 0 || start < v.open {
		v.open = start
	}
	return 0
}

// leave ends the block f inside outer: what was defined in it meets the definition from before, and the meeting is a
// definition of its own in outer.
func (s *shape) leave(f frame, outer *frame) {
	var again []undo
	again, s.undo = s.undo[f.mark:], s.undo[:f.mark]
	for i := range again {
		u := again[i] // before set overwrites its place
		v := &s.vars[u.local]
		open := v.open
		*v = u.was
		if open >= 0 && (v.open < 0 || open < v.open) {
			v.open = open
		}
		old := *v
		s.set(u.local, outer)
		v.meets = true
		v.oldLoops, v.oldStart, v.oldCounted = old.loops, old.start, old.counted
		if old.meets {
			v.oldLoops, v.oldStart, v.oldCounted = old.oldLoops, old.oldStart, old.oldCounted
		}
	}
}

// cost is the estimate in nanoseconds, once the whole function has been walked.
func (s *shape) cost() int64 {
	phis := s.phis
	for i := range s.vars {
		if open := s.vars[i].open; open >= 0 {
			phis += s.weight - open
		}
	}
	phis += phis / costLocals * int64(s.locals)
	points := min(s.points+s.minor/minorsPerPoint, maxPoints)
	return points*points*costPointSquared + phis + s.heavy
}
