package tenant

import (
	"container/list"
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Gate lets so many calls run at a time. Calls that have to wait are let in tenant by
// tenant, one of each in turn, so that a tenant with a thousand waiting calls delays
// another's by one call of its own and no more.
type Gate struct {
	slots   int
	maxWait time.Duration

	mu      sync.Mutex // guards what follows, and all of its tenants
	running int
	ring    *list.List // of *Tenant that have calls waiting, the next one first
}

// MaxWait is how long a call waits before it is refused.
const MaxWait = 30 * time.Second

// MaxDepth bounds how deep calls may nest, a guest that asks for an action that runs a
// guest, and so on: the first and four below it.
const MaxDepth = 5

// NewGate makes a gate with so many slots, at least one.
func NewGate(slots int) *Gate {
	return &Gate{slots: max(1, slots), maxWait: MaxWait, ring: list.New()}
}

// Tenant is one tenant's place at a gate.
type Tenant struct {
	gate  *Gate
	quota Quota
	rate  *rate.Limiter // nil: no limit

	// What follows is guarded by the gate.
	running int
	waiting *list.List    // of *waiter
	place   *list.Element // in the ring; nil when nothing waits
	average time.Duration // of recent calls, for Retry-After
	refused int64
}

type waiter struct{ ready chan struct{} }

// Join gives a tenant a place. A quota's field that is 0 takes its default.
func (g *Gate) Join(quota Quota) *Tenant {
	t := &Tenant{gate: g, quota: quota.Or(Defaults()), waiting: list.New()}
	if n := t.quota.CallsPerMinute; n > 0 {
		t.rate = rate.NewLimiter(rate.Limit(float64(n)/60), int(n))
	}
	return t
}

// Load tells how many calls run and wait, and how many were refused since the start.
func (t *Tenant) Load() (running, waiting int, refused int64) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	return t.running, t.waiting.Len(), t.refused
}

type depthKey struct{ gate *Gate }

// Enter waits for the call's turn and returns a context for it, and what to call, once
// or more often but not at once, when it has ended. A call that a call under way has led
// to, which its context tells, is let in at once: it runs in the place of that one. It
// fails with RESOURCE_EXHAUSTED, and says when to come back, when the tenant calls too
// often, its queue is full, or the turn does not come; and with the context's error.
func (t *Tenant) Enter(ctx context.Context) (context.Context, func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, status.Convert(err)
	}
	outer, nested := ctx.Value(depthKey{t.gate}).(*pass)
	inside := &pass{Context: ctx, tenant: t, depth: 1, nested: nested}
	if nested {
		inside.depth += outer.depth
	}
	if inside.depth > MaxDepth {
		return nil, nil, status.Publicf(status.ResourceExhausted, "calls nest deeper than %d", MaxDepth)
	}
	if err := t.take(nested); err != nil {
		return nil, nil, err
	}
	if !nested {
		if err := t.admit(ctx); err != nil {
			return nil, nil, err
		}
		inside.start = time.Now()
	}
	return inside, inside.leave, nil
}

// pass is the context of a call that was let in: one thing to make for each call, where
// a value in a context and a function of its own would be many.
type pass struct {
	context.Context //nolint:containedctx // it is one
	tenant          *Tenant
	depth           int
	start           time.Time
	nested, left    bool
}

func (p *pass) Value(key any) any {
	if k, ok := key.(depthKey); ok && k.gate == p.tenant.gate {
		return p
	}
	return p.Context.Value(key)
}

func (p *pass) leave() {
	if !p.left && !p.nested {
		p.left = true
		p.tenant.leave(time.Since(p.start))
	}
}

// StepOut gives a call's slot to others while it waits for something that is not the
// tenant's own work, such as a model's answer. What runs under the context that it
// returns enters like anybody. The function ends that: the call goes on at once, even if
// for a moment more run than there are slots.
func (t *Tenant) StepOut(ctx context.Context) (outside context.Context, back func()) {
	key := depthKey{t.gate}
	if inside, ok := ctx.Value(key).(*pass); !ok || inside.nested {
		return ctx, func() {} // the slot is that of a call further out
	}
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.end()
	return context.WithValue(ctx, key, nil), sync.OnceFunc(func() {
		t.gate.mu.Lock()
		defer t.gate.mu.Unlock()
		t.start()
	})
}

// take charges the rate for a call.
func (t *Tenant) take(nested bool) error {
	if t.rate == nil || nested {
		return nil
	}
	r := t.rate.Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	t.refuse()
	return status.Publicf(status.ResourceExhausted, "the tenant has made its %d calls of this minute; try again in %v", t.quota.CallsPerMinute, wait.Round(time.Second)).
		WithRetryAfter(wait)
}

func (t *Tenant) refuse() {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.refused++
}

func (t *Tenant) admit(ctx context.Context) error {
	g := t.gate
	g.mu.Lock()
	if t.waiting.Len() == 0 && t.mayRun() {
		t.start()
		g.mu.Unlock()
		return nil
	}
	if t.waiting.Len() >= int(t.quota.Queue) {
		t.refused++
		wait := t.comeBack()
		g.mu.Unlock()
		return status.Publicf(status.ResourceExhausted, "%d calls of the tenant run and %d wait, which is all that may; try again later", t.quota.Concurrency, t.quota.Queue).
			WithRetryAfter(wait)
	}
	w := &waiter{ready: make(chan struct{})}
	at := t.waiting.PushBack(w)
	if t.place == nil {
		t.place = g.ring.PushBack(t)
	}
	g.mu.Unlock()

	timer := time.NewTimer(g.maxWait)
	defer timer.Stop()
	select {
	case <-w.ready:
		return nil
	case <-ctx.Done():
		t.abandon(w, at)
		return status.Convert(ctx.Err())
	case <-timer.C:
	}
	t.abandon(w, at)
	return status.Publicf(status.ResourceExhausted, "the call's turn did not come within %v; try again later", g.maxWait).WithRetryAfter(g.maxWait)
}

// mayRun tells whether there is a slot for the tenant. Calls of others that wait could
// not use it, or they would run.
func (t *Tenant) mayRun() bool {
	return t.gate.running < t.gate.slots && t.running < int(t.quota.Concurrency)
}

func (t *Tenant) start() {
	t.running++
	t.gate.running++
}

// comeBack estimates when the queue will have room again.
func (t *Tenant) comeBack() time.Duration {
	turns := float64(t.waiting.Len()+1) / float64(t.quota.Concurrency)
	return min(max(time.Duration(turns*float64(t.average)), time.Second), MaxWait)
}

// abandon takes a call that waits no longer out of the queue; one that was let in
// meanwhile gives its slot back.
func (t *Tenant) abandon(w *waiter, at *list.Element) {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	t.refused++
	select {
	case <-w.ready:
		t.end()
	default:
		t.waiting.Remove(at)
		t.unlist()
	}
}

func (t *Tenant) leave(took time.Duration) {
	t.gate.mu.Lock()
	defer t.gate.mu.Unlock()
	t.average += (took - t.average) / 8
	t.end()
}

func (t *Tenant) end() {
	t.running--
	t.gate.running--
	t.gate.dispatch()
}

func (t *Tenant) unlist() {
	if t.waiting.Len() == 0 && t.place != nil {
		t.gate.ring.Remove(t.place)
		t.place = nil
	}
}

// dispatch fills free slots: each tenant in the ring that may run gets one, and goes to
// the end.
func (g *Gate) dispatch() {
	for e, left := g.ring.Front(), g.ring.Len(); e != nil && left > 0 && g.running < g.slots; left-- {
		next := e.Next()
		t := e.Value.(*Tenant) //nolint:forcetypeassert // nothing else is put there
		if t.mayRun() {
			w := t.waiting.Remove(t.waiting.Front()).(*waiter) //nolint:forcetypeassert // nothing else is put there
			t.start()
			close(w.ready)
			g.ring.MoveToBack(e)
			t.unlist()
		}
		e = next
	}
}
