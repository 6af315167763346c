package meter

import "math"

const (
	endsOpen   blockEnd = iota // it lies ahead
	endsClosed                 // it has been passed
	endsBehind                 // and rounds begin there
)

// Where the host is called, besides after the price of a length.
//
// A check costs more than a charge, because a call stands in it. So there are as few as hold this promise: on no way
// through a module is more than about 2·[WindowUnits] charged between two of them. Functions are looked at after those
// that they call, with the most that each way has run up since the last check, and a check is put where that would
// become too much. Besides, what has no end is cut:
//
//   - A loop has a check at its head or at the jumps back to it, unless each round passes another. (A jump back that would only
//     lead on to a later place, over a table at the loop's head, has become a jump to that place: see leadsTo.)
//   - Every cycle of direct calls goes through a hub (see graph). A hub has had a check before it calls what may lead
//     back to one, so there is one for each turn on the way down, and it ends with one unless what it does after its
//     calls is cheap, so that a million frames on their way up do not add up. A hub that calls itself in more than one
//     place has that check at its entry: a tree of calls then passes one check for each node, not one for each branch.
//   - A call through a table may lead anywhere, so there is a check in its function before it, and one after it unless
//     the function ends there.
const (
	// WindowUnits is the most that may be charged on a way before there is a check.
	WindowUnits = 8192
	// hubEntry is the most fuel that a hub may charge before its first check; callers rely on it. It is less
	// when the body is small, because a small function that calls itself is called often.
	hubEntry      = 1024
	smallHubEntry = 32
	smallHubBytes = 128
	// HubReturn is the most that a hub may charge after its calls without a check where it ends.
	HubReturn = 64
	// hubPost is the most that a hub may have charged since its last check when it has called nothing since. Callers do not add it
	// to what they count, so that calls of short hubs need no check between them; debt adds it once.
	hubPost = 1024
	// roundCheck and roundClimb are what a round may have run up at its end, since the check that it has passed, when
	// it needs none at its end.
	roundCheck = 1024
	roundClimb = HubReturn / 2
)

// newHub returns the promise of a hub with a body of so many bytes, which its callers rely on.
func newHub(size int32) function {
	entry := int64(hubEntry)
	if size <= smallHubBytes {
		entry = smallHubEntry
	}
	return function{hub: true, deep: true, pre: entry, thru: entry}
}

// way is the most that has been charged where control is, over the ways that lead there; -1 where there is no such way.
type way struct {
	entry int64 // since the entry of the function, without a check
	check int64 // since the last check
	climb int64 // since the return of a call that may have come up from a long chain of them, without a check
	free  int32 // the first of the steps that begin rounds from which it leads here without a check
}

// neverFree is the value of way.free where no round begins without a check.
const neverFree = math.MaxInt32

// nowhere is the way of code that can't be reached; checkedWay is the way right after a check.
var (
	nowhere    = way{-1, -1, -1, neverFree}
	checkedWay = way{-1, 0, -1, neverFree}
)

// join merges the way o into w where two ways meet: the worse of each number.
func (w *way) join(o way) {
	w.entry, w.check, w.climb, w.free = max(w.entry, o.entry), max(w.check, o.check), max(w.climb, o.climb), min(w.free, o.free)
}

// after is v with more added, or -1 where one of them is.
func after(v, more int64) int64 {
	if v < 0 || more < 0 {
		return -1
	}
	return v + more
}

// add charges cost on every way that leads here.
func (w *way) add(cost int64) {
	w.entry, w.check, w.climb = after(w.entry, cost), after(w.check, cost), after(w.climb, cost)
}

const (
	stepCharge stepKind = iota // of region at
	stepLoop                   // loop at begins
	stepJump                   // to the label of block at
	stepBack                   // to loop at for another round, which begins at the label of block to, or at the head for -1
	stepStop                   // control does not go on here
	stepIf                     // block at begins
	stepElse                   // its other arm
	stepEnd                    // block at ends; to is 1 for an if without an else
	stepFlush                  // where jumps of landing at arrive
	stepLeave                  // a br_if out of a loop to the end of the function; it pays for landing at
	stepCall                   // of function at; the edit is its check before, edit to its check after
	stepPay                    // a length is charged, with a check
	stepReturn
)

// callAny is the function of a call through a table.
const callAny = -1

// checker walks over the steps of a function and places its checks. It is used for one function after the other, in the order
// of graph.hubs, so that what a callee may charge is known when its caller is looked at. This is abstract interpretation
// with one pass: way is the abstract state, labels and ifs hold the states that wait for the end of their block, and there
// is no fixed point to find, because round assumes the worst that a jump back may bring and back puts a check where more would come.
type checker struct {
	*plan
	functions []function
	self      *function
	way
	labels []way   // of each block: what arrives at its label
	ifs    []way   // of each block: what arrives at its condition
	begins []begin // of each block: its end, where rounds may begin
	again  bool    // a check at the entry would spare others, or is needed
	twice  int     // calls of the function itself that have a check because none came since its entry
	worst  int64   // the most that is charged between two checks
	before int64   // of what is called through tables: the most that may have been charged before, since a check; -1 without such calls
}

// begin is the end of a block at which rounds begin.
type begin struct {
	step  int32
	entry int64 // what is assumed of the ways from the entry of the function to there, see way
}

// debt is the most that may be charged between two checks, when every function has been looked at.
func (c *checker) debt() int64 {
	worst := c.worst
	for i := range c.functions {
		worst = max(worst, after(c.before, c.functions[i].pre))
	}
	return worst + hubPost + HubReturn
}

// place decides on the checks of the planned function, whose number is n.
func (c *checker) place(p *plan, n int) {
	c.plan, c.self = p, &c.functions[n]
	c.again = false
	worst, before := c.worst, c.before
	c.twice = 0
	if c.walk(); c.again || c.twice > 1 { // one check at the entry instead of many, in loops or before calls of itself
		c.worst, c.before = worst, before
		for i := range p.edits {
			p.edits[i].on = false
		}
		for i := range p.regions {
			p.regions[i].before = i == 0
		}
		c.walk()
	}
}

// walk passes over all steps once and decides on each check. It sets again when a check at the function's entry would be
// better; place then walks a second time with that check in place.
func (c *checker) walk() {
	c.way = way{0, -1, -1, neverFree}
	c.labels, c.ifs, c.begins = c.labels[:0], c.ifs[:0], c.begins[:0]
	for range c.blockEnds {
		c.labels, c.ifs, c.begins = append(c.labels, nowhere), append(c.ifs, nowhere), append(c.begins, begin{})
	}
	if !c.self.hub { // a hub keeps to what it was said to be
		*c.self = function{thru: -1, post: -1}
	}
	for i := range c.steps {
		c.step(&c.steps[i], int32(i))
	}
}

// step applies one step to the present way.
func (c *checker) step(s *step, i int32) {
	switch s.kind {
	case stepCharge:
		c.charge(&c.regions[s.at])
	case stepLoop:
		c.loop(&c.loops[s.at], i)
	case stepJump:
		c.labels[s.at].join(c.way)
	case stepBack:
		c.back(s)
	case stepStop:
		c.way = nowhere
	case stepIf:
		c.ifs[s.at] = c.way
	case stepElse:
		c.labels[s.at].join(c.way)
		c.way = c.ifs[s.at]
	case stepEnd:
		c.join(c.labels[s.at])
		if s.to == 1 {
			c.join(c.ifs[s.at])
		}
		if c.blockEnds[s.at] == endsBehind {
			c.round(i)
			c.begins[s.at] = begin{i, c.entry}
		}
	case stepFlush:
		c.flushed(s)
	case stepLeave:
		c.leave(s)
	case stepCall:
		c.call(s, i)
	case stepPay:
		c.checked()
	case stepReturn:
		c.ends(s)
	}
}

// reaches notes that so much is charged before the next check.
func (c *checker) reaches(more int64) {
	c.worst = max(c.worst, after(c.entry, more), after(c.check, more))
	if !c.self.hub {
		c.self.pre = max(c.self.pre, after(c.entry, more))
	}
}

// checked notes a check.
func (c *checker) checked() {
	c.reaches(0)
	if c.way != nowhere {
		c.way = checkedWay
	}
}

// over tells whether so much more would be too much.
func (c *checker) over(more int64) bool {
	limit := int64(WindowUnits)
	if c.self.hub {
		limit = c.self.pre
	} else if c.entry == 0 {
		limit = math.MaxInt64 // a check at once would change nothing
	}
	return c.entry >= 0 && after(c.entry, more) > limit || c.check > 0 && c.check+more > WindowUnits
}

// charge passes the charge of a region. Code in a counted loop charges the counter instead: what it owes is added where the
// loop is left (pays).
func (c *checker) charge(r *region) {
	if c.counted(r.loop) {
		return
	}
	if r.landing >= 0 && c.owed[r.landing] > 0 {
		c.pays(c.owed[r.landing])
	}
	if r.before = r.before || c.over(r.cost); r.before {
		c.checked()
	}
	c.add(r.cost)
	if r.check {
		c.checked()
	}
}

// pays adds the cost that a counted loop owes. The loop may have passed a check.
func (c *checker) pays(owed int64) {
	if c.way != nowhere {
		c.check = max(c.check, 0)
	}
	c.add(owed)
}

// flushed passes a place where counted loops pay, with a check behind it when the window is full.
func (c *checker) flushed(s *step) {
	owed := c.owed[s.at]
	if owed == 0 {
		return
	}
	c.pays(owed)
	if c.over(0) {
		c.edits[s.edit].on = true
		c.checked()
	}
}

// leave is a br_if to the end of the function, which pays, and checks, where it jumps when a counted loop owes, and else before.
func (c *checker) leave(s *step) {
	stays := c.way
	c.flushed(s)
	c.ends(s)
	if c.owed[s.at] > 0 {
		c.way = stays
	}
}

// round notes that rounds begin here, of which some may come without a check of their own.
func (c *checker) round(i int32) {
	if c.way != nowhere {
		c.free = min(c.free, i)
		c.check, c.climb = max(c.check, roundCheck), max(c.climb, roundClimb)
	}
}

// loop passes the head of a loop: a counted one may charge l.most before its wrapper checks, and a rotated one is where
// rounds begin.
func (c *checker) loop(l *loop, i int32) {
	l.begin = i
	switch {
	case l.depth > 0:
		c.reaches(l.most)
		// A hub keeps to what it was said to be, and nobody else may run up more than the window before the first check.
		c.again = c.again || c.entry >= 0 && (c.self.hub || c.entry+l.most > WindowUnits)
	case l.rotated && l.heads > 0:
		c.round(i)
	}
}

// back passes a jump back to a rotated loop. It gets a check unless each way of this round has already passed one, and has run up
// so little since that round has allowed for it.
func (c *checker) back(s *step) {
	l := &c.loops[s.at]
	if l.depth > 0 || !l.rotated || c.way == nowhere {
		return
	}
	head := c.regions[l.own].cost
	from := begin{l.begin, math.MaxInt64} // a way from the entry to here leads over the head, and is free
	if s.to >= 0 {
		from = c.begins[s.to]
	}
	e := &c.edits[s.edit]
	if e.on = c.free <= from.step || c.check+head > roundCheck || c.climb > roundClimb || c.entry >= 0 && c.entry+head > from.entry; e.on {
		c.reaches(0)
	}
}

// call passes a call. A call through a table may lead anywhere, so it is preceded by a check and, unless the function ends
// right after it, followed by one. Of a direct call the callee's pre, thru and post are known and are added to the way.
func (c *checker) call(s *step, i int32) {
	before, later := &c.edits[s.edit], &c.edits[s.to]
	if c.way == nowhere {
		return
	}
	if s.at == callAny {
		c.self.deep = true
		c.again = c.again || c.entry >= 0 && c.free != neverFree // it stands in a loop
		if before.on = c.entry >= 0 || c.climb >= WindowUnits-HubReturn || c.over(0); before.on {
			c.checked()
		}
		c.before = max(c.before, c.entry, c.check)
		if later.on = !c.tail(i); later.on {
			c.way = checkedWay
		} else {
			c.way = way{-1, WindowUnits - HubReturn, WindowUnits, c.free} // HubReturn, and nothing but, may follow
		}
		return
	}
	g := c.functions[s.at]
	c.self.deep = c.self.deep || g.deep
	if before.on = c.over(g.pre) || c.self.hub && g.deep && c.entry >= 0; before.on {
		if c.entry >= 0 && &c.functions[s.at] == c.self {
			c.twice++
		}
		c.checked()
	}
	c.reaches(g.pre)
	w := way{after(c.entry, g.thru), max(after(c.check, g.thru), g.post), after(c.climb, g.thru), c.free}
	if g.deep {
		w.climb = max(w.climb, g.post, 0)
	}
	if g.thru < 0 {
		w.free = neverFree
	}
	if c.way = w; w.entry < 0 && w.check < 0 {
		c.way = nowhere // it does not return
	} else if later.on = c.over(0); later.on {
		c.checked()
	}
}

// tailSteps bounds how far tail looks.
const tailSteps = 32

// tail tells whether next to nothing is done between a call and the end of the function.
func (c *checker) tail(call int32) bool {
	cost, end := int64(0), int32(len(c.steps))
	for i := call + 1; i < end; i++ {
		switch s := &c.steps[i]; s.kind {
		case stepStop:
			return cost <= HubReturn
		case stepCharge:
			cost += c.regions[s.at].cost
		case stepElse: // its other arm is not on the way
			for i++; i < end && (c.steps[i].kind != stepEnd || c.steps[i].at != s.at); i++ {
			}
		case stepEnd, stepReturn:
		case stepFlush:
			cost += c.owed[s.at]
		default:
			return false
		}
		if i > call+tailSteps {
			return false
		}
	}
	return cost <= HubReturn
}

// ends passes an end of the function. A hub keeps to what newHub promised, by a check here if need be; of any other function
// the worst way that ends here becomes what its callers count with.
func (c *checker) ends(s *step) {
	if c.self.hub && (c.climb > HubReturn || c.check > hubPost) {
		c.edits[s.edit].on = true
		c.checked()
	}
	c.reaches(0)
	if !c.self.hub {
		c.self.thru, c.self.post = max(c.self.thru, c.entry), max(c.self.post, c.check)
	}
}

// counted tells whether code in a loop charges the counter.
func (p *plan) counted(loop int32) bool {
	return loop >= 0 && p.loops[loop].depth > 0
}
