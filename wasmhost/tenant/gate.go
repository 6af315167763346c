package tenant

import (
	"container/list"
	"context"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Pass is the context of a call that was let in, and its hold on a slot. Leave and
// Return are called by one goroutine at a time.
type Pass struct {
	context.Context //nolint:containedctx // it is one
	tenant          *Tenant
	outer           *Pass // the call that has led to this one; nil when there is none
	depth           int
	start           time.Time

	queued atomic.Int64 // nanoseconds in queues so far

	// The fields below are guarded by the gate.
	state    state
	reserved bool // the next Enter takes the place over
}

const (
	over   state = iota // it has not begun, or has ended
	holds               // it has a slot
	left                // it waits, and has given its slot back
	shares              // it runs in the slot of the call that led to it
)

type passKey struct{ gate *Gate }

// state says whether a call waits, runs or is suspended.
type state int

// Gate lets so many calls run at a time. Calls that have to wait are let in tenant by
// tenant, so that a tenant with a thousand waiting calls delays another's by one call of
// its own and no more. The last slots are kept for tenants that run nothing: see
// [Gate.reserve].
//
// A call that waits for something other than a slot gives its slot back ([Pass.Leave])
// and queues for another one when it goes on ([Pass.Return]). Nobody holds a slot while
// waiting for a slot, so that calls that wait for each other can't lock the gate.
type Gate struct {
	slots   int
	maxWait time.Duration

	mu      sync.Mutex // guards the fields below, and all of its tenants and passes
	tenants int        // that have joined
	running int
	ring    *list.List // of *Tenant that have calls in a queue, the next one first
}

// MaxWait is how long a call waits for slots before it is refused, and how long all of
// its returns may wait together.
const MaxWait = 30 * time.Second

// MaxDepth bounds how deep calls may nest, a guest that asks for an action that runs a
// guest, and so on: the first and four below it.
const MaxDepth = 5

// NewGate makes a gate with so many slots, at least one.
func NewGate(slots int) *Gate {
	return &Gate{slots: max(1, slots), maxWait: MaxWait, ring: list.New()}
}

// Patient sets how long calls wait, for a gate of work that takes long, instead of [MaxWait].
// It is called before anybody joins.
func (g *Gate) Patient(wait time.Duration) *Gate {
	g.maxWait = wait
	return g
}

// Tenant is one tenant's place at a gate.
type Tenant struct {
	gate *Gate
	rate atomic.Pointer[callRate] // nil: no limit

	// The fields below are guarded by the gate.
	quota     Quota
	lastRate  *callRate // the latest bound of calls a minute, also one that was taken away; nil: there was none
	running   int
	suspended int           // calls that have begun and wait without a slot
	arrived   *list.List    // of *waiter: calls that have not begun
	returning *list.List    // of *waiter: calls that have, and what they led to
	place     *list.Element // in the ring; nil when both queues are empty
	served    int64         // calls in the tenant's present turn
	average   time.Duration // of recent calls, for Retry-After
	refused   int64
}

type waiter struct{ ready chan struct{} }

// Join gives a tenant a place. A quota's field that is 0 takes its default.
func (g *Gate) Join(quota Quota) *Tenant {
	t := &Tenant{gate: g, quota: quota.Or(Defaults()), arrived: list.New(), returning: list.New()}
	t.setRate(t.quota.CallsPerMinute)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tenants++
	return t
}

// SetQuota changes the quota of a tenant. What it runs goes on to count, and of its calls of this minute those are left that
// the new quota leaves.
func (t *Tenant) SetQuota(quota Quota) {
	quota = quota.Or(Defaults())
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if quota.CallsPerMinute != t.quota.CallsPerMinute {
		t.setRate(quota.CallsPerMinute)
	}
	t.quota = quota
	t.gate.dispatch() // there may be more slots for it
}

// callRate bounds the calls of a minute.
type callRate struct {
	*rate.Limiter
	perMinute int64
}

// setRate bounds the calls of a minute; 0 is no bound. What was used of an earlier bound is used of this one. A bound that was
// taken away goes on to fill with time, so that taking it away and putting it back gives nobody calls.
func (t *Tenant) setRate(perMinute int64) {
	old := t.lastRate
	switch {
	case perMinute <= 0:
		t.rate.Store(nil)
		return
	case old != nil && old.perMinute == perMinute:
		t.rate.Store(old)
		return
	}
	r := &callRate{rate.NewLimiter(rate.Limit(float64(perMinute)/60), int(perMinute)), perMinute}
	if old != nil {
		used := float64(old.perMinute) - old.Tokens()
		r.AllowN(time.Now(), int(math.Round(min(max(used, 0), float64(perMinute)))))
	}
	t.lastRate = r
	t.rate.Store(r)
}

// Quit gives the tenant's place up: it counts no more among those for which slots are kept.
// Calls under way keep their slots, and nothing new may enter. It is called once.
func (t *Tenant) Quit() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.gate.tenants--
	t.gate.dispatch()
}

// Load is the number of a tenant's calls at a gate at one moment.
type Load struct {
	Running   int   // calls that have a slot
	Suspended int   // calls that have begun and wait without one
	Queued    int   // calls that have not begun
	Refused   int64 // calls that were refused since the start
}

// Load returns the tenant's load now.
func (t *Tenant) Load() Load {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return Load{Running: t.running, Suspended: t.suspended, Queued: t.arrived.Len(), Refused: t.refused}
}

// Reserve is [Tenant.Enter] for a call of which nothing runs yet: the first Enter under
// the context that it returns takes its place over, and gives it back when it ends.
func (t *Tenant) Reserve(ctx context.Context) (context.Context, func(), error) {
	inside, done, err := t.Enter(ctx)
	if p, ok := inside.(*Pass); ok && err == nil {
		t.gate.mu.Lock()
		defer t.gate.mu.Unlock()
		p.reserved = p.state == holds
	}
	return inside, done, err
}

// Enter queues the call until it has a slot, and returns a context for it and a release function.
// Release is idempotent but not safe for concurrent use. Enter fails with RESOURCE_EXHAUSTED, and a
// time to try again, when the tenant calls too often, its queue is full, or the wait takes too
// long; and with the context's error.
//
// A nested call, which is recognised by its context, is part of the call that caused it: it runs in
// that call's slot while that call has one, else in a slot of its own, which it gets before calls that
// have not begun and without counting against queue and rate.
func (t *Tenant) Enter(ctx context.Context) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, status.Convert(err)
	}
	p := &Pass{Context: ctx, tenant: t, depth: 1, outer: t.gate.passOf(ctx)}
	if t.claim(p.outer) {
		return ctx, func() { t.unclaim(p.outer) }, nil
	}
	if p.outer != nil {
		p.depth += p.outer.depth
	}
	if p.depth > MaxDepth {
		return nil, nil, status.Publicf(status.ResourceExhausted, "calls are nested deeper than %d", MaxDepth)
	}
	queue := t.arrived
	switch t.gate.stateOf(p.outer) {
	case holds:
		p.state = shares
		return p, p.done, nil
	case left:
		queue = t.returning
	default:
		if err := t.take(); err != nil {
			return nil, nil, err
		}
	}
	if err := t.admit(ctx, p, queue); err != nil {
		return nil, nil, err
	}
	p.start = time.Now()
	return p, p.done, nil
}

// claim takes over the place that p has reserved at the tenant.
func (t *Tenant) claim(p *Pass) bool {
	if p == nil || p.tenant != t {
		return false
	}
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	was := p.reserved && p.state == holds
	p.reserved = p.reserved && !was
	return was
}

func (t *Tenant) unclaim(p *Pass) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	p.reserved = p.state == holds
}

// take charges the rate for a call.
func (t *Tenant) take() error {
	limiter := t.rate.Load()
	if limiter == nil {
		return nil
	}
	r := limiter.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.refused++
	return status.Publicf(status.ResourceExhausted, "the tenant has made its %d calls of this minute; try again in %v", limiter.perMinute, wait.Round(time.Second)).
		WithRetryAfter(wait).WithDetails(map[string]string{"quota": "callsPerMinute"})
}

// Rate is a bound on how many calls may be made in a minute, as it is at one moment. It is a bucket that fills
// steadily.
type Rate struct {
	// Limit is how many may be made in a minute.
	Limit int64
	// Left is how many may be made now.
	Left int64
	// Full is when Limit may be made again, where none is made meanwhile.
	Full time.Duration
}

// RateAt returns the rate of a bucket of so many calls a minute that holds some.
func RateAt(limit int64, held float64) Rate {
	held = min(max(held, 0), float64(limit))
	return Rate{Limit: limit, Left: int64(held), Full: time.Duration((float64(limit) - held) / float64(limit) * float64(time.Minute))}
}

// Rate returns what is left of the tenant's calls of a minute; false where they are not bounded.
func (t *Tenant) Rate() (Rate, bool) {
	limiter := t.rate.Load()
	if limiter == nil {
		return Rate{}, false
	}
	return RateAt(limiter.perMinute, limiter.Tokens()), true
}

func (t *Tenant) errFull() error {
	return status.Publicf(status.ResourceExhausted, "tenant limit reached: %d calls running, %d waiting for a reply, %d queued; try again later", t.running, t.suspended, t.quota.Queue).
		WithRetryAfter(t.comeBack())
}

// admit gets a slot for p, now or when it is first in the queue. The queue of calls that
// have begun is not bounded here: they were counted when they began.
func (t *Tenant) admit(ctx context.Context, p *Pass, queue *list.List) error {
	g := t.gate
	g.mu.Lock()
	if t.returning.Len() == 0 && (queue == t.returning || t.arrived.Len() == 0 && t.mayBegin()) && t.mayRun() {
		t.start(p)
		g.mu.Unlock()
		return nil
	}
	if queue == t.arrived && t.arrived.Len() >= int(t.quota.Queue) {
		t.refused++
		err := t.errFull()
		g.mu.Unlock()
		return err
	}
	w := &waiter{ready: make(chan struct{})}
	at := queue.PushBack(w)
	if t.place == nil {
		t.place = g.ring.PushBack(t)
	}
	g.mu.Unlock()
	return t.await(ctx, p, w, at, queue)
}

// await waits for the slot that w is given, for as long as the call may wait in all.
func (t *Tenant) await(ctx context.Context, p *Pass, w *waiter, at *list.Element, queue *list.List) error {
	began := time.Now()
	timer := time.NewTimer(t.gate.maxWait - p.Queued())
	defer timer.Stop()
	var err error
	select {
	case <-w.ready:
	case <-ctx.Done():
		err = status.Convert(ctx.Err())
	case <-timer.C:
		err = status.Publicf(status.ResourceExhausted, "the call waited %v for a slot in vain; try again later", t.gate.maxWait).WithRetryAfter(t.gate.maxWait)
	}
	p.queued.Add(int64(time.Since(began)))
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	if err != nil {
		t.abandon(w, at, queue)
		return err
	}
	t.enters(p) // the slot was counted when it was given
	return nil
}

// abandon takes a call that waits no longer out of its queue; one that was given a slot
// meanwhile gives it back.
func (t *Tenant) abandon(w *waiter, at *list.Element, queue *list.List) {
	t.refused++
	select {
	case <-w.ready:
		t.free()
	default:
		queue.Remove(at)
		t.unlist()
	}
}

// mayRun tells whether there is a slot for the tenant.
func (t *Tenant) mayRun() bool {
	free := t.gate.slots - t.gate.running
	return t.running < int(t.quota.Concurrency) && (free > t.gate.reserve() || free > 0 && t.running == 0)
}

// reserve is how many slots only tenants may take that have none: an eighth and five at
// least, one for each other tenant at most. A tenant that has no slot finds one at once,
// whatever the others do, unless as many others as there are reserved slots came to have
// one when all but these were taken.
func (g *Gate) reserve() int { return min(max(g.slots/8, 5), g.slots-1, g.tenants-1) }

// mayBegin tells whether another call may begin. Those that have begun and wait are
// bounded by this: they may go on, whatever their number.
func (t *Tenant) mayBegin() bool { return t.suspended < int(t.quota.Waiting) }

// start gives p a slot.
func (t *Tenant) start(p *Pass) {
	t.running++
	t.gate.running++
	t.enters(p)
}

// enters notes that p has a slot.
func (t *Tenant) enters(p *Pass) {
	back := p.state == left
	p.state = holds
	if back {
		t.suspended--
		t.gate.dispatch() // another call may begin
	}
}

// comeBack estimates when the queue will have room again.
func (t *Tenant) comeBack() time.Duration {
	turns := float64(t.arrived.Len()+1) / float64(t.quota.Concurrency)
	return min(max(time.Duration(turns*float64(t.average)), time.Second), MaxWait)
}

// free gives a slot back.
func (t *Tenant) free() {
	t.running--
	t.gate.running--
	t.gate.dispatch()
}

func (t *Tenant) unlist() {
	if t.arrived.Len()+t.returning.Len() == 0 && t.place != nil {
		t.gate.ring.Remove(t.place)
		t.place, t.served = nil, 0
	}
}

// next takes the call out of the tenant's queues that is to have a slot now: those that
// have begun go first. nil when none may.
func (t *Tenant) next() *waiter {
	queue := t.returning
	switch {
	case !t.mayRun():
		return nil
	case queue.Len() == 0:
		if queue = t.arrived; queue.Len() == 0 || !t.mayBegin() {
			return nil
		}
	}
	w, _ := queue.Remove(queue.Front()).(*waiter)
	return w
}

// dispatch fills free slots: each tenant in the ring that may run gets as many as its
// weight says, now or when slots come free, and then goes to the end.
func (g *Gate) dispatch() {
	for e, left := g.ring.Front(), g.ring.Len(); e != nil && left > 0 && g.running < g.slots; left-- {
		next := e.Next()
		t := e.Value.(*Tenant) //nolint:forcetypeassert // nothing else is put there
		for t.served < t.quota.Weight {
			w := t.next()
			if w == nil {
				break
			}
			t.running++
			g.running++
			t.served++
			close(w.ready)
		}
		if t.served == t.quota.Weight {
			t.served = 0
			g.ring.MoveToBack(e)
		}
		t.unlist()
		e = next
	}
}

// passOf returns the pass of the call that ctx belongs to; nil when there is none.
func (g *Gate) passOf(ctx context.Context) *Pass {
	p, _ := ctx.Value(passKey{g}).(*Pass)
	return p
}

// stateOf is the state of p, or of the call in whose slot it runs.
func (g *Gate) stateOf(p *Pass) state {
	g.mu.Lock()
	defer g.mu.Unlock()
	for p != nil && p.state == shares {
		p = p.outer
	}
	if p == nil {
		return over
	}
	return p.state
}

// Queued returns how long the call has been in queues so far.
func (p *Pass) Queued() time.Duration { return time.Duration(p.queued.Load()) }

// done ends the call.
func (p *Pass) done() {
	t := p.tenant
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	was := p.state
	if p.state = over; was == holds || was == left {
		t.average += (time.Since(p.start) - t.average) / 8
	}
	switch was {
	case holds:
		t.free()
	case left:
		t.suspended--
		t.gate.dispatch()
	}
}
