package verify

import (
	"fmt"
	"math"
)

// A loop whose only jump is the one at its end may be written out, so that its counter is added to once in four rounds:
//
//	loop (wrapper)
//	  block block block block
//	    loop
//	      guard
//	      body, leave by the 1st block unless it goes on
//	      body, leave by the 2nd block unless it goes on
//	      body, leave by the 3rd block unless it goes on
//	      counter += 4·cost
//	      body, jump to the loop if it goes on
//	    end jump out
//	  end counter += cost, jump out
//	  end counter += 2·cost, jump out
//	  end counter += 3·cost
//	end
const writtenRounds = 4

const (
	stepWork     stepKind = iota // n units are done
	stepCharge                   // n are charged
	stepCount                    // n are added to the counter
	stepFlush                    // the counter is charged and emptied
	stepCheck                    // the host is called when fuel has run out
	stepGuard                    // to the wrapper at, when the counter holds more than n
	stepWrapper                  // flush and check, when the counter holds more than n
	stepWritten                  // a whole loop
	stepLoop                     // the head of loop at
	stepIf                       // if at begins
	stepElse                     // its other arm
	stepEnd                      // block at ends; n is 1 for an if without an else
	stepJump                     // perhaps, to the end of block at
	stepBack                     // perhaps, to the head of loop at
	stepKnown                    // to the end of block at, after the steps of a head
	stepFork                     // the arm of a br_if begins
	stepRejoin                   // it has ended
	stepStop                     // control does not go on here
	stepCall                     // of function at
	stepIndirect                 // through a table
	stepHost                     // of an import
	stepPieces                   // a bulk operation, in pieces
	stepPrice                    // a length has been paid for, with a check
	stepReturn                   // perhaps
)

// none is the value where there is no such way.
const none = math.MinInt64 / 2

func (s *state) join(o *state) {
	switch {
	case !o.live:
	case !s.live:
		*s = *o
	default:
		s.entry, s.check, s.up, s.table = max(s.entry, o.entry), max(s.check, o.check), max(s.up, o.up), max(s.table, o.table)
		s.credit, s.count, s.dry = min(s.credit, o.credit), max(s.count, o.count), max(s.dry, o.dry)
	}
}

// covers tells whether s allows all that o does.
func (s *state) covers(o *state) bool {
	return !o.live || s.live && o.entry <= s.entry && o.check <= s.check && o.up <= s.up && o.table <= s.table && o.credit >= s.credit && o.count <= s.count && o.dry <= s.dry
}

// add notes work: negative where the counter takes it over.
func (s *state) add(n int64) {
	s.entry, s.check, s.up, s.table = plus(s.entry, n), plus(s.check, n), plus(s.up, n), plus(s.table, n)
}

func plus(v, n int64) int64 {
	if v == none || n == none {
		return none
	}
	return v + n
}

// most is the most work since any of the four.
func (s *state) most() int64 { return plus(max(s.entry, s.check, s.up, s.table), s.count) }

// checked notes a check.
func (s *state) checked() {
	s.entry, s.check, s.up, s.table = none, 0, none, none
	s.credit = min(s.credit, MaxCredit)
}

// flush empties the counter.
func (s *state) flush() {
	s.add(s.count)
	s.count = 0
}

const (
	// headWork is assumed to have been done since a check when another round begins. It saves walks; any value would do.
	headWork = 1024
	// maxRounds bounds the walks over one function.
	maxRounds = 64
	// maxDry is how often in a row the meter may do something that nobody pays for.
	maxDry = 64
)

// follow proves that the steps of the function keep every rule, and learns what its callers have to know.
func (b *body) follow() {
	f := &b.flow
	n := len(b.labels)
	f.ahead, f.back, f.found, f.ifs = reset(f.ahead, n), reset(f.back, n), reset(f.found, n), reset(f.ifs, n)
	for i := range b.labels {
		if l := &b.labels[i]; l.backs || l.counts {
			f.back[i] = state{entry: none, check: 0, up: none, table: none, credit: math.MaxInt64 / 4, live: true}
			if l.counts {
				f.back[i].count = 2*MaxCounter + 256
			} else {
				f.back[i].check = headWork
			}
		}
	}
	for range maxRounds {
		b.report.Rounds++
		clear(f.ahead)
		clear(f.found)
		f.fault, f.most = "", 0
		b.pass()
		again := false
		for i := range f.found {
			if !f.back[i].covers(&f.found[i]) {
				f.back[i].join(&f.found[i])
				again = true
			}
		}
		if !again {
			b.fault, b.at = f.fault, int(f.pos)
			b.report.Work = max(b.report.Work, f.most)
			b.report.Steps += len(b.steps)
			return
		}
	}
	b.refuse("a round may do more work than it counts, without a check")
}

func reset(s []state, n int) []state {
	if cap(s) < n {
		return make([]state, n)
	}
	s = s[:n]
	clear(s)
	return s
}

// pass walks over the steps once.
func (b *body) pass() {
	f := &b.flow
	claim := b.summaries[b.function]
	f.self = summary{hub: claim.hub, deep: claim.hub, pre: none, thru: none, post: none, up: none, table: none}
	f.cur = state{check: none, up: none, table: none, live: true}
	for i := range b.steps {
		s := &b.steps[i]
		if f.cur.live || s.kind >= stepLoop && s.kind <= stepEnd || s.kind == stepFork || s.kind == stepRejoin {
			b.step(s)
		}
		if f.fault != "" {
			return
		}
	}
}

// wrong notes the first rule that is broken.
func (f *flow) wrong(s *step, format string, args ...any) {
	if f.fault == "" {
		f.fault, f.pos = fmt.Sprintf(format, args...), s.pos
	}
}

func (b *body) step(s *step) {
	f := &b.flow
	cur := &f.cur
	switch s.kind {
	case stepWork:
		f.work(s)
	case stepCharge:
		cur.credit += s.n
		cur.dry = 0
	case stepCount:
		cur.credit += s.n
		cur.dry = 0
		cur.add(-s.n)
		cur.count += s.n
	case stepFlush:
		cur.flush()
		f.idle(s)
	case stepCheck:
		cur.checked()
		f.idle(s)
	case stepGuard:
		o := *cur
		f.found[s.at].join(&o)
		cur.count = min(cur.count, s.n)
	case stepWrapper:
		cur.check, cur.count, cur.credit = max(cur.check, 0), min(cur.count, s.n), min(cur.credit, MaxCredit)
	case stepWritten:
		f.written(s, &b.writtens[s.at])
	case stepLoop:
		cur.join(&f.back[s.at])
	case stepIf:
		f.ifs[s.at] = *cur
	case stepElse:
		f.ahead[s.at].join(cur)
		*cur = f.ifs[s.at]
	case stepEnd:
		cur.join(&f.ahead[s.at])
		cur.join(&f.back[s.at])
		if s.n == 1 {
			cur.join(&f.ifs[s.at])
		}
	case stepJump:
		f.ahead[s.at].join(cur)
	case stepBack:
		f.found[s.at].join(cur)
	case stepKnown:
		b.knownJump(s)
	case stepFork:
		f.fork = *cur
	case stepRejoin:
		*cur = f.fork
	case stepStop:
		cur.live = false
	default:
		b.crosses(s)
	}
}

// crosses follows a step that leaves the function's own code.
func (b *body) crosses(s *step) {
	f := &b.flow
	cur := &f.cur
	if cur.count != 0 {
		f.wrong(s, "the counter is not empty where the function is left")
	}
	switch s.kind {
	case stepCall:
		f.call(s, &b.summaries[s.at])
	case stepIndirect:
		f.indirect(s)
	case stepPieces:
		cur.checked()
		cur.check = pieceWork
	case stepPrice:
		cur.checked()
	case stepReturn:
		f.returns(s)
	}
}

// work notes that work is done, which must have been paid for.
func (f *flow) work(s *step) {
	cur := &f.cur
	cur.dry = 0
	cur.add(s.n)
	if cur.credit -= s.n; cur.credit < 0 {
		f.wrong(s, "work of %d units that was not charged", -cur.credit)
	}
	f.bound(s, 0)
}

// idle counts the meter's own instructions, which nobody pays for.
func (f *flow) idle(s *step) {
	if f.cur.dry++; f.cur.dry > maxDry {
		f.wrong(s, "%d times in a row the meter works and nothing is paid", f.cur.dry)
	}
}

// bound notes that so much more work may follow, and wants it to be within the limits.
func (f *flow) bound(s *step, more int64) {
	cur := &f.cur
	most := plus(cur.most(), more)
	f.most = max(f.most, most)
	if most > MaxWork {
		f.wrong(s, "%d units of work without a check", most)
	}
	f.self.pre = max(f.self.pre, plus(plus(cur.entry, cur.count), more))
}

// knownJump follows a jump to a loop that leads on over its table.
func (b *body) knownJump(s *step) {
	f := &b.flow
	for i := s.n >> 32; i < s.n&math.MaxInt32; i++ {
		b.step(&b.steps[i])
	}
	f.found[s.at].join(&f.cur)
}

// written follows a loop that is written out.
func (f *flow) written(s *step, w *written) {
	cur := &f.cur
	if w.cost < w.work || w.work*writtenRounds > MaxCounter {
		f.wrong(s, "a round of %d units in a loop written out counts %d", w.work, w.cost)
	}
	cur.check, cur.count, cur.credit = max(cur.check, 0), w.most+writtenRounds*w.cost, min(cur.credit, MaxCredit)
	f.bound(s, writtenRounds*w.work)
}

// call follows a direct call.
func (f *flow) call(s *step, g *summary) {
	cur := &f.cur
	if !g.done {
		f.wrong(s, "a call of a function that comes later in the order")
		return
	}
	if g.deep {
		f.deep(s)
	}
	f.bound(s, max(g.pre, 0))
	if g.deep || g.post != none {
		cur.credit = min(cur.credit, Prepaid)
	}
	if g.hub {
		cur.entry, cur.check, cur.up, cur.table = plus(cur.entry, g.pre), plus(cur.check, g.pre), max(plus(cur.up, g.pre), 0), plus(cur.table, g.pre)
		return
	}
	cur.entry = plus(cur.entry, g.thru)
	cur.check = max(plus(cur.check, g.thru), g.post)
	cur.up = max(plus(cur.up, g.thru), g.up)
	cur.table = max(plus(cur.table, g.thru), g.table)
	cur.live = max(cur.entry, cur.check, cur.up, cur.table) != none
}

// deep follows a call that may begin a chain without end.
func (f *flow) deep(s *step) {
	f.self.deep = true
	if f.self.hub && f.cur.entry != none {
		f.wrong(s, "a hub calls deep before a check")
	}
}

// indirect follows a call through a table, which may lead to any function. It may return without a check, so there must be
// one before the next.
func (f *flow) indirect(s *step) {
	cur := &f.cur
	f.deep(s)
	if cur.entry != none || cur.table != none {
		f.wrong(s, "a call through a table without a check before it")
	}
	*cur = state{entry: none, check: none, up: none, table: 0, credit: min(cur.credit, Prepaid), live: true}
}

// returns follows the end of the function.
func (f *flow) returns(s *step) {
	cur, self := &f.cur, &f.self
	self.thru, self.post = max(self.thru, cur.entry), max(self.post, cur.check)
	if cur.up != none { // each frame that returns may add so much
		self.up = max(self.up, cur.up-ReturnWork, 0)
	}
	if cur.table != none {
		self.table = 0
	}
	if cur.table > ReturnWork || self.hub && (cur.up > ReturnWork || cur.table != none) {
		f.wrong(s, "the function ends without a check after a deep call")
	}
}

// refuse notes the first thing that is wrong.
func (b *body) refuse(format string, args ...any) bool {
	if b.fault == "" {
		b.fault = fmt.Sprintf(format, args...)
	}
	return false
}
