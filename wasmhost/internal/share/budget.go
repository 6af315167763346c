package share

import (
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Budget is an amount of memory that several holders share: a tenant's modules, or the whole
// process. Memory taken from a tenant's budget is taken from the process's, its parent, as well.
// It is safe for concurrent use.
type Budget struct {
	parent *Budget
	limit  int64 // bytes; 0: none
	used   atomic.Int64
	most   atomic.Int64 // highest value of used
	// accounts is how many budgets are below this one.
	accounts atomic.Int32
}

// Limit returns the bytes that may be used; 0 is no bound.
func (b *Budget) Limit() int64 { return b.limit }

// Used returns the number of bytes in use.
func (b *Budget) Used() int64 { return b.used.Load() }

// The last eighth of a budget that several tenants share is reserved for tenants that hold at most a
// 64th of it: a new tenant finds memory, however much the others hold.
const (
	reservedPart = 8
	littlePart   = 64
)

// allows returns the limit of b that applies to a tenant whose use would be held bytes.
func (b *Budget) allows(held int64, shared bool) int64 {
	if shared && held > b.limit/littlePart {
		return b.limit - b.limit/reservedPart
	}
	return b.limit
}

// take adds n to b and its parents, or to none of them. It returns the budget that has
// too little left, nil when there is none.
func (b *Budget) take(n int64) *Budget {
	held := int64(0)
	for at := b; at != nil; at = at.parent {
		used := at.used.Add(n)
		if at == b {
			held = used
		}
		if at.limit > 0 && used > at.allows(held, at != b && at.accounts.Load() > 1) {
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

// Give gives n bytes back.
func (b *Budget) Give(n int64) {
	for ; b != nil; b = b.parent {
		b.used.Add(-n)
	}
}

// Memory is the process's budget, and the parent of all accounts' budgets. It is safe for concurrent
// use.
type Memory struct {
	Budget // the process's

	evict func(short *Budget, n int64)
}

// NewMemory makes a budget of limit bytes, 0 for no bound. evict is called when a budget (this one or
// an account's) has too little left: it evicts idle instances and code until that budget is used by n
// bytes less, or nothing is left to evict.
func NewMemory(limit int64, evict func(short *Budget, n int64)) *Memory {
	return &Memory{Budget: Budget{limit: limit}, evict: evict}
}

// Reserve counts n bytes against a budget, after memory was freed where that is needed. It
// returns the budget that has too little left, and then nothing is counted; nil when there
// is none.
func (m *Memory) Reserve(b *Budget, n int64) (short *Budget) {
	short = b.take(n)
	for range 2 {
		if short == nil {
			return nil
		}
		// More than is needed, so that not every call has to free memory.
		m.evict(short, max(n, short.limit/16))
		short = b.take(n)
	}
	return short
}

// Refused returns the RESOURCE_EXHAUSTED error for budget short.
func (m *Memory) Refused(short *Budget) error {
	whose := "the tenant"
	if short == &m.Budget {
		whose = "the server"
	}
	return status.Publicf(status.ResourceExhausted, "calls of %s have reached the memory limit of %d MiB; try again later", whose, short.limit>>20).
		WithRetryAfter(time.Second)
}

// Holding is the memory that one instance has reserved. It belongs to the goroutine that runs the
// instance; the zero value counts against no budget.
type Holding struct {
	// Bytes of linear memory, of Extism's blocks, of native stacks, and of what is fixed:
	// tables, and what wazero keeps.
	Linear, Arena, Stack, Fixed int64

	memory *Memory
	budget *Budget
	short  *Budget // budget that refused the latest growth, or nil
}

// Hold makes an empty holding that counts against a budget.
func (m *Memory) Hold(b *Budget) Holding { return Holding{memory: m, budget: b} }

// Resize reserves or gives back the difference between a part's old and new size. It returns false,
// and changes nothing, when a budget has too little left.
func (h *Holding) Resize(part *int64, size int64) bool {
	if h.memory == nil {
		*part = size
		return true
	}
	more := size - *part
	switch {
	case more > 0:
		if h.short = h.memory.Reserve(h.budget, more); h.short != nil {
			return false
		}
	case more < 0:
		h.budget.Give(-more)
	}
	*part = size
	return true
}

// Bytes returns the sum of the parts.
func (h *Holding) Bytes() int64 { return h.Linear + h.Arena + h.Stack + h.Fixed }

// ClearErr forgets that a growth was refused.
func (h *Holding) ClearErr() { h.short = nil }

// Free gives everything back.
func (h *Holding) Free() {
	if h.memory != nil {
		h.budget.Give(h.Bytes())
	}
	*h = Holding{}
}

// Err returns why the latest growth was refused (RESOURCE_EXHAUSTED), or nil.
func (h *Holding) Err() error {
	if h.short == nil {
		return nil
	}
	return h.memory.Refused(h.short)
}
