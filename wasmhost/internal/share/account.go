package share

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Account is shared by a tenant's modules: budgets of memory, of fuel and of the bytes that they send and
// receive, and one token for the tenant's calls that run long. A module without an account counts against the process only.
// It is safe for concurrent use.
type Account struct {
	memory Budget
	fuel   *bucket
	egress *bucket
	token  chan struct{}
	// reports holds the latest report of each worker process.
	reporting sync.Mutex // guards reports
	reports   map[any]Report
	// compiling queues the account's modules for the compiler; nil: in order of arrival.
	compiling CompileQueue
}

// AccountLimits bound the consumption of an account's calls together; 0 is no bound.
type AccountLimits struct {
	MemoryBytes   int64
	FuelPerMinute int64
	// EgressBytesPerMinute is of the bodies that guests send and receive by HTTP. The sender
	// counts them.
	EgressBytesPerMinute int64
}

// NewAccount makes an account whose memory counts against m as well.
func (m *Memory) NewAccount(limits AccountLimits) *Account {
	a := &Account{
		memory: Budget{parent: &m.Budget, limit: limits.MemoryBytes}, fuel: &bucket{perMinute: limits.FuelPerMinute},
		egress: &bucket{perMinute: limits.EgressBytesPerMinute}, token: make(chan struct{}, 1),
	}
	m.accounts.Add(1)
	return a
}

// Follow has an account go on where another one of the same tenant, with other limits perhaps, is now: what was used of its fuel
// and egress of this minute is used, and their calls that run long share a token. It is called before anything counts against a.
func (a *Account) Follow(old *Account) {
	a.fuel, a.egress, a.token = a.fuel.after(old.fuel), a.egress.after(old.egress), old.token
}

// Drop removes an account that will reserve no more memory. Memory that it holds stays counted until
// it is freed. It is called once.
func (m *Memory) Drop(*Account) { m.accounts.Add(-1) }

// BudgetOf returns the budget that the modules of an account count against, the process's for
// nil.
func (m *Memory) BudgetOf(a *Account) *Budget {
	if a == nil {
		return &m.Budget
	}
	return &a.memory
}

// CompileQueue waits until a module may be compiled, or ctx ends. The returned function is called
// when the module has been compiled; the returned context is not used.
type CompileQueue func(ctx context.Context) (context.Context, func(), error)

// QueueCompiles sets the queue that decides when the account's modules are compiled; the
// compiler is shared by all accounts. It is called before the first module is compiled.
func (a *Account) QueueCompiles(queue CompileQueue) { a.compiling = queue }

// EnterCompile waits for the compiler, if there is a queue for it; a may be nil.
func (a *Account) EnterCompile(ctx context.Context) (leave func(), err error) {
	if a == nil || a.compiling == nil {
		return func() {}, nil
	}
	_, leave, err = a.compiling(ctx)
	return leave, err
}

// Limits returns the limits of the account.
func (a *Account) Limits() AccountLimits {
	return AccountLimits{MemoryBytes: a.memory.limit, FuelPerMinute: a.fuel.perMinute}
}

// MemoryBytes returns the current and the highest number of bytes in use.
func (a *Account) MemoryBytes() (now, most int64) { return a.memory.used.Load(), a.memory.most.Load() }

// Report has the bytes that a worker process holds for an account, and the most that it ever held.
// A process numbers its reports in the order in which it reads the amounts.
type Report struct {
	Number    uint64
	Now, Most int64
}

// maxReported is the largest number of bytes that a report may claim; larger numbers
// are cut to it.
const maxReported = 1 << 50

// Observe records the latest report of a worker and sets the account's memory use to the sum
// over its workers. It ignores a report whose number is not higher than the last one.
func (a *Account) Observe(worker any, r Report) {
	r.Now, r.Most = min(r.Now, maxReported), min(r.Most, maxReported)
	a.reporting.Lock()
	defer a.reporting.Unlock()
	switch old, ok := a.reports[worker]; {
	case ok && old.Number >= r.Number:
		return
	case a.reports == nil:
		a.reports = map[any]Report{}
	}
	a.reports[worker] = r
	a.memory.most.Store(max(a.memory.most.Load(), r.Most, a.sum()))
}

// RemoveWorker removes the report of a worker that has ended.
func (a *Account) RemoveWorker(worker any) {
	a.reporting.Lock()
	defer a.reporting.Unlock()
	delete(a.reports, worker)
	a.sum()
}

func (a *Account) sum() int64 {
	sum := int64(0)
	for _, r := range a.reports {
		sum += r.Now
	}
	a.memory.used.Store(sum)
	return sum
}

// FuelWait returns how long it takes until the account has fuel again; 0 when it has.
func (a *Account) FuelWait() time.Duration { return a.fuel.wait(time.Now) }

// Spend charges the account for fuel that was used, whether or not it was there.
func (a *Account) Spend(units int64) { a.fuel.spend(time.Now, units) }

// OutOfFuel returns the RESOURCE_EXHAUSTED error for an account that has no fuel for
// the next wait.
func (a *Account) OutOfFuel(wait time.Duration) error {
	return status.Publicf(status.ResourceExhausted, "the tenant has used up its fuel of %d units a minute; try again in %v", a.fuel.perMinute, wait.Round(time.Second)).
		WithRetryAfter(wait)
}

// EgressWait returns how long it takes until the account may send bytes again; 0 when it may.
func (a *Account) EgressWait() time.Duration { return a.egress.wait(time.Now) }

// SpendEgress charges the account for bytes that were sent or received, whether or not they were there.
func (a *Account) SpendEgress(bytes int64) { a.egress.spend(time.Now, bytes) }

// Acquire waits for the account's token: of its calls that run long, only one waits for a
// processor at a time, so that those who wait there are tenants, not calls. It fails when the
// call is over before the token comes.
func (a *Account) Acquire(call Call) error {
	select {
	case a.token <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(call.Deadline()))
	defer timer.Stop()
	for {
		select {
		case a.token <- struct{}{}:
			return nil
		case <-timer.C:
			timer.Reset(time.Millisecond) // should Over not see it yet
		case <-call.Done():
		}
		if err := call.Over(time.Now()); err != nil {
			return err
		}
	}
}

// Release gives the token to the next call.
func (a *Account) Release() { <-a.token }

// bucket is a budget that fills again with time: a minute's worth at most. It may be
// overdrawn by the cost of a slice, and pays that back. The zero value is without
// bound.
type bucket struct {
	perMinute int64
	// full is the time, in nanoseconds since 1970, at which everything taken so far
	// will have been filled again.
	full atomic.Int64
}

// after returns the bucket that goes on after another one: that one itself where the bound is the same, as calls under way
// still take from it. One without bound takes the level over, too: it is what a bound that comes later begins with.
func (b *bucket) after(old *bucket) *bucket {
	if b.perMinute == old.perMinute {
		return old
	}
	b.full.Store(old.full.Load())
	return b
}

// mostDebt is what a bucket can be overdrawn by: more would be a time that can't be written.
const mostDebt = 365 * 24 * time.Hour

// wait returns how long until there is something in the bucket. Where there is no bound it does not ask for the time,
// which every call would pay for.
func (b *bucket) wait(now func() time.Time) time.Duration {
	if b.perMinute <= 0 {
		return 0
	}
	return max(0, time.Duration(b.full.Load()-now().UnixNano())-time.Minute)
}

// spend takes n units, whether or not they are there.
func (b *bucket) spend(clock func() time.Time, n int64) {
	if b.perMinute <= 0 || n <= 0 {
		return
	}
	now := clock()
	cost := int64(min(float64(n)/float64(b.perMinute)*float64(time.Minute), float64(mostDebt)))
	latest := now.Add(mostDebt).UnixNano()
	for {
		old := b.full.Load()
		if b.full.CompareAndSwap(old, min(latest, max(old, now.UnixNano())+cost)) {
			return
		}
	}
}
