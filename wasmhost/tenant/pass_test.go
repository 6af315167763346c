package tenant_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// enter begins a call.
func enter(t *testing.T, at *tenant.Tenant) (*tenant.Pass, func()) {
	t.Helper()
	ctx, done, err := at.Enter(t.Context())
	require.NoError(t, err)
	return at.PassOf(ctx), done
}

func TestACallThatWaitsGivesItsSlotToOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := tenant.NewGate(1).Join(tenant.Quota{})
		first, done := enter(t, at)
		first.Leave()
		first.Leave() // again does no harm
		assert.Equal(t, tenant.Load{Suspended: 1}, at.Load())
		_, second := enter(t, at)
		back := make(chan error)
		go func() { back <- first.Return(t.Context()) }()
		synctest.Wait()
		assert.Equal(t, tenant.Load{Running: 1, Suspended: 1}, at.Load(), "it queues for a slot like anybody")
		second()
		require.NoError(t, <-back)
		assert.Equal(t, tenant.Load{Running: 1}, at.Load())
		require.NoError(t, first.Return(t.Context()), "who has a slot has returned")
		done()
		assert.Equal(t, tenant.Load{}, at.Load())
	})
}

func TestWhatHasBegunGoesBeforeWhatHasNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := tenant.NewGate(1).Join(tenant.Quota{Queue: 1})
		waiting, done := enter(t, at)
		defer done()
		waiting.Leave()
		_, running := enter(t, at)
		order := make(chan string, 3)
		enterAnd := func(ctx context.Context, name string) {
			_, leave, err := at.Enter(ctx)
			if assert.NoError(t, err) {
				order <- name
				leave()
			}
		}
		go enterAnd(t.Context(), "new")
		synctest.Wait()
		_, _, err := at.Enter(t.Context())
		require.ErrorIs(t, err, status.ErrResourceExhausted, "the queue is full")
		// A call that the waiting one leads to, and its own return, are neither refused nor
		// put behind.
		go enterAnd(waiting, "nested")
		synctest.Wait()
		go func() {
			assert.NoError(t, waiting.Return(t.Context()))
			order <- "returned"
			waiting.Leave()
		}()
		synctest.Wait()
		running()
		assert.Equal(t, []string{"nested", "returned", "new"}, []string{<-order, <-order, <-order})
	})
}

func TestCallsThatWaitForEachOtherEnd(t *testing.T) {
	// One slot, one call may wait: each call waits for the one that it leads to.
	at := tenant.NewGate(1).Join(tenant.Quota{Concurrency: 1, Queue: 50, Waiting: 1})
	var nest func(ctx context.Context, depth int)
	nest = func(ctx context.Context, depth int) {
		inner, done, err := at.Enter(ctx)
		if !assert.NoError(t, err) {
			return
		}
		defer done()
		if depth == tenant.MaxDepth {
			return
		}
		p := at.PassOf(inner)
		p.Leave()
		var both sync.WaitGroup // several at a time, as a model asks for tools
		for range 2 {
			both.Go(func() { nest(inner, depth+1) })
		}
		both.Wait()
		assert.NoError(t, p.Return(ctx))
	}
	var calls sync.WaitGroup
	for range 20 {
		calls.Go(func() { nest(t.Context(), 1) })
	}
	calls.Wait()
	assert.Equal(t, tenant.Load{}, at.Load())
}

func TestTheCallsThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := tenant.NewGate(10).Join(tenant.Quota{Waiting: 2, Queue: 1})
		var waiting []*tenant.Pass
		for range 2 {
			p, done := enter(t, at)
			p.Leave()
			waiting = append(waiting, p)
			defer done()
		}
		began := make(chan struct{})
		go func() {
			defer close(began)
			_, leave, err := at.Enter(t.Context())
			if assert.NoError(t, err) {
				leave()
			}
		}()
		synctest.Wait()
		assert.Equal(t, tenant.Load{Suspended: 2, Queued: 1}, at.Load(), "no further call begins, though slots are free")
		_, _, err := at.Enter(t.Context())
		require.ErrorContains(t, err, "2 waiting for a reply")
		require.NoError(t, waiting[0].Return(t.Context()))
		<-began
	})
}

func TestNoTenantWaitsForItsFirstSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, slots := range []int{6, 8, 64, 128} {
			gate := tenant.NewGate(slots)
			const others = 4
			newcomer := gate.Join(tenant.Quota{})
			var wg sync.WaitGroup
			release := make(chan struct{})
			var loud []*tenant.Tenant
			for range others {
				loud = append(loud, gate.Join(tenant.Quota{Concurrency: int64(slots), Queue: 1000}))
			}
			for _, at := range loud {
				for range 2 * slots {
					wg.Go(func() {
						_, leave, err := at.Enter(t.Context())
						if assert.NoError(t, err) {
							<-release
							leave()
						}
					})
				}
				synctest.Wait()
			}
			waited, err := work(t, newcomer, time.Second)
			assert.NoError(t, err)
			assert.Zero(t, waited, "%d slots", slots)
			close(release)
			wg.Wait()
		}
	})
}

func TestALoneTenantHasAllSlots(t *testing.T) {
	at := tenant.NewGate(4).Join(tenant.Quota{})
	for range 4 {
		enter(t, at)
	}
	assert.Equal(t, 4, at.Load().Running)
}

// A place that was reserved is taken over by one call after the other, and by one at a
// time.
func TestAReservedPlaceIsTakenOver(t *testing.T) {
	at := tenant.NewGate(3).Join(tenant.Quota{CallsPerMinute: 1})
	ctx, done, err := at.Reserve(t.Context())
	require.NoError(t, err)
	for range 2 {
		inside, leave, err := at.Enter(ctx)
		require.NoError(t, err, "it counts as one call of the minute")
		assert.Same(t, at.PassOf(ctx), at.PassOf(inside))
		nested, leaveNested, err := at.Enter(inside)
		require.NoError(t, err)
		assert.NotSame(t, at.PassOf(inside), at.PassOf(nested), "what it leads to is a call of its own")
		leaveNested()
		at.PassOf(inside).Leave()
		assert.Equal(t, tenant.Load{Suspended: 1}, at.Load())
		require.NoError(t, at.PassOf(inside).Return(ctx))
		leave()
		assert.Equal(t, tenant.Load{Running: 1}, at.Load())
	}
	done()
	done()
	assert.Equal(t, tenant.Load{}, at.Load())
	_, _, err = at.Enter(ctx)
	require.ErrorIs(t, err, status.ErrResourceExhausted, "what has ended can't be taken over")
}

func TestTurnsAreWeighted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := tenant.NewGate(1)
		_, free := enter(t, gate.Join(tenant.Quota{}))
		var mu sync.Mutex
		order := ""
		var wg sync.WaitGroup
		for name, weight := range map[string]int64{"b": 2, "a": 1} {
			at := gate.Join(tenant.Quota{Weight: weight})
			for range 4 {
				wg.Go(func() {
					_, leave, err := at.Enter(t.Context())
					if assert.NoError(t, err) {
						mu.Lock()
						order += name
						mu.Unlock()
						leave()
					}
				})
			}
			synctest.Wait()
		}
		free()
		wg.Wait()
		assert.Contains(t, []string{"bbabbaaa", "abbabbaa"}, order)
	})
}

func TestAReturnThatFailsLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := tenant.NewGate(1).Join(tenant.Quota{})
		p, done := enter(t, at)
		p.Leave()
		_, second := enter(t, at)
		ctx, cancel := context.WithCancel(t.Context())
		go cancel()
		require.ErrorIs(t, p.Return(ctx), status.ErrCancelled)
		began := time.Now()
		require.ErrorIs(t, p.Return(t.Context()), status.ErrResourceExhausted)
		assert.Equal(t, tenant.MaxWait, time.Since(began))
		require.ErrorIs(t, p.Return(t.Context()), status.ErrResourceExhausted)
		assert.Equal(t, tenant.MaxWait, time.Since(began), "a call queues no longer than that in all")
		second()
		done()
		assert.Equal(t, tenant.Load{Refused: 3}, at.Load())
	})
}

// Calls of several tenants wait, return, nest and are cancelled at random.
func TestPassesUnderLoad(t *testing.T) {
	gate := tenant.NewGate(3)
	var wg sync.WaitGroup
	var tenants []*tenant.Tenant
	for range 4 {
		tenants = append(tenants, gate.Join(tenant.Quota{Concurrency: 2, Queue: 6, Waiting: 2, Weight: 2}))
	}
	for worker := range 16 {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(1, uint64(worker)))
			at := tenants[worker%len(tenants)]
			for range 300 {
				ctx, cancel := context.WithCancel(t.Context())
				inside, done, err := at.Enter(ctx)
				if err != nil {
					cancel()
					continue
				}
				p := at.PassOf(inside)
				for range random.IntN(3) {
					p.Leave()
					if random.IntN(4) == 0 {
						go cancel()
					}
					if nested, leave, err := at.Enter(inside); err == nil {
						at.PassOf(nested).Leave()
						leave()
					}
					if p.Return(ctx) != nil {
						break
					}
				}
				done()
				cancel()
			}
		})
	}
	wg.Wait()
	for _, at := range tenants {
		assert.Equal(t, tenant.Load{Refused: at.Load().Refused}, at.Load(), "a slot was lost or given twice")
	}
}
