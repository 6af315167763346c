package sandbox

import (
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// budget is an amount of memory that many share: those of a tenant, or all. What is
// taken of a tenant's is taken of the process's as well. It is safe for concurrent
// use.
type budget struct {
	parent *budget
	limit  int64 // bytes; 0: none
	used   atomic.Int64
	most   atomic.Int64 // that was ever used
}

// take counts n more bytes, at every level or at none. It returns the budget that has
// too little left, nil when there is none.
func (b *budget) take(n int64) *budget {
	for at := b; at != nil; at = at.parent {
		used := at.used.Add(n)
		if at.limit > 0 && used > at.limit {
			for undo := b; undo != at.parent; undo = undo.parent {
				undo.used.Add(-n)
			}
			return at
		}
		for most := at.most.Load(); used > most && !at.most.CompareAndSwap(most, used); {
			most = at.most.Load()
		}
	}
	return nil
}

func (b *budget) give(n int64) {
	for ; b != nil; b = b.parent {
		b.used.Add(-n)
	}
}

// Account is what a tenant's modules share: a budget of memory, a budget of fuel, and
// one turn among those who run long. Modules without one count for the process alone.
// It is safe for concurrent use.
type Account struct {
	memory budget
	fuel   bucket
	turn   chan struct{}
}

// AccountLimits bound what the calls of an account take together; 0 is no bound.
type AccountLimits struct {
	MemoryBytes   int64
	FuelPerMinute int64
}

// NewAccount makes an account whose memory counts against the sandbox's as well.
func (s *Sandbox) NewAccount(limits AccountLimits) *Account {
	a := &Account{memory: budget{parent: s.process, limit: limits.MemoryBytes}, turn: make(chan struct{}, 1)}
	a.fuel.set(limits.FuelPerMinute)
	return a
}

// MemoryBytes returns what is counted now, and the most that ever was.
func (a *Account) MemoryBytes() (now, most int64) { return a.memory.used.Load(), a.memory.most.Load() }

// Wait returns how long it takes until the account has fuel again; 0 when it has.
func (a *Account) Wait() time.Duration {
	if a.fuel.perMinute <= 0 {
		return 0
	}
	return a.fuel.wait(time.Now())
}

// bucket is a budget that fills again with time: a minute's worth at most. It may be
// overdrawn by what a slice costs, and pays that back. The zero value is without
// bound.
type bucket struct {
	perMinute int64
	// full is the time, in nanoseconds since 1970, at which everything taken so far
	// will have been filled again.
	full atomic.Int64
}

func (b *bucket) set(perMinute int64) { b.perMinute = perMinute }

// wait returns how long until there is something in the bucket.
func (b *bucket) wait(now time.Time) time.Duration {
	if b.perMinute <= 0 {
		return 0
	}
	return max(0, time.Duration(b.full.Load()-now.UnixNano())-time.Minute)
}

// spend takes n units, whether or not they are there.
func (b *bucket) spend(now time.Time, n int64) {
	if b.perMinute <= 0 || n <= 0 {
		return
	}
	cost := int64(float64(n) / float64(b.perMinute) * float64(time.Minute))
	for {
		old := b.full.Load()
		if b.full.CompareAndSwap(old, max(old, now.UnixNano())+cost) {
			return
		}
	}
}

func errNoMemory(whose string, limit int64) error {
	return status.Publicf(status.ResourceExhausted, "the calls of %s hold all of the %d MiB of memory that they may; try again later", whose, limit>>20).
		WithRetryAfter(time.Second)
}

// holding is what one instance is counted with. It belongs to whoever runs the instance.
type holding struct {
	sandbox *Sandbox
	account *budget
	memory  int64 // linear memory
	arena   int64 // Extism's blocks
	stack   int64 // native stacks
	fixed   int64 // tables, wazero's own
	// short is the budget that refused, for the message.
	short *budget
}

// resize counts one part anew; false when a budget has too little, and then nothing
// has changed.
func (h *holding) resize(part *int64, size int64) bool {
	if h.sandbox == nil {
		*part = size
		return true
	}
	more := size - *part
	switch {
	case more > 0:
		if h.short = h.sandbox.shortOf(h.account, more); h.short != nil {
			return false
		}
	case more < 0:
		h.account.give(-more)
	}
	*part = size
	return true
}

// free gives everything back.
func (h *holding) free() {
	if h.sandbox != nil {
		h.account.give(h.memory + h.arena + h.stack + h.fixed)
	}
	*h = holding{}
}

func (h *holding) err() error {
	if h.short == nil {
		return nil
	}
	whose := "the tenant"
	if h.short == h.sandbox.process {
		whose = "the server"
	}
	return errNoMemory(whose, h.short.limit)
}

// reserve counts n bytes, after idle instances have made room where that is needed.
func (s *Sandbox) reserve(b *budget, n int64) bool { return s.shortOf(b, n) == nil }

func (s *Sandbox) shortOf(b *budget, n int64) *budget {
	short := b.take(n)
	for range 2 {
		if short == nil {
			return nil
		}
		// More than is needed, so that not every call has to make room.
		s.makeRoom(short, max(n, short.limit/16))
		short = b.take(n)
	}
	return short
}
