package share_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// call is a call that is over at its deadline or when its context ends.
type call struct {
	ctx      context.Context
	deadline time.Time
	blocked  int
}

func (c *call) Done() <-chan struct{} { return c.ctx.Done() }
func (c *call) Deadline() time.Time   { return c.deadline }
func (c *call) Blocks()               { c.blocked++ }

func (c *call) Over(now time.Time) error {
	if err := c.ctx.Err(); err != nil {
		return share.ContextError(err)
	}
	if !now.Before(c.deadline) {
		return status.ErrDeadlineExceeded
	}
	return nil
}

func newCall(t *testing.T, left time.Duration) *call {
	t.Helper()
	return &call{ctx: t.Context(), deadline: time.Now().Add(left)}
}

func noRoom(*share.Budget, int64) {}

func TestABudgetIsNeverPassedAndComesBackToNothing(t *testing.T) {
	const limit, own = 1 << 20, 300 << 10
	m := share.NewMemory(limit, noRoom)
	var wg sync.WaitGroup
	for seed := range uint64(8) {
		a := m.NewAccount(share.AccountLimits{MemoryBytes: own})
		wg.Go(func() {
			random := rand.New(rand.NewPCG(seed, 1))
			h := m.Hold(m.BudgetOf(a))
			defer h.Free()
			parts := []*int64{&h.Linear, &h.Arena, &h.Stack, &h.Fixed}
			for range 2000 {
				before, part := h.Bytes(), parts[random.IntN(len(parts))]
				if size := random.Int64N(200 << 10); !h.Resize(part, size) {
					assert.Equal(t, before, h.Bytes(), "a refusal changes nothing")
					assert.ErrorIs(t, h.Err(), status.ErrResourceExhausted)
				}
				now, _ := a.MemoryBytes()
				assert.Equal(t, h.Bytes(), now)
				assert.LessOrEqual(t, now, int64(own))
				assert.LessOrEqual(t, m.Used(), int64(limit)+8*200<<10, "others take at the same time, and give back what they may not have")
			}
		})
	}
	wg.Wait()
	assert.Zero(t, m.Used())
}

func TestTheLastEighthIsForThoseThatHoldLittle(t *testing.T) {
	m := share.NewMemory(64<<20, noRoom)
	big, small := m.NewAccount(share.AccountLimits{}), m.NewAccount(share.AccountLimits{})
	most := int64(0)
	for m.Reserve(m.BudgetOf(big), 1<<20) == nil {
		most += 1 << 20
	}
	assert.EqualValues(t, 56<<20, most)
	require.Nil(t, m.Reserve(m.BudgetOf(small), 1<<20), "who comes new finds something")
	assert.Equal(t, &m.Budget, m.Reserve(m.BudgetOf(small), 1<<20), "as long as it is little")
	assert.ErrorContains(t, m.Refused(&m.Budget), "calls of the server have reached the memory limit of 64 MiB")
	assert.ErrorContains(t, m.Refused(m.BudgetOf(small)), "calls of the tenant have reached")
}

func TestRoomIsMadeBeforeABudgetRefuses(t *testing.T) {
	var m *share.Memory
	asked := 0
	idle := int64(6 << 20)
	m = share.NewMemory(8<<20, func(short *share.Budget, n int64) {
		asked++
		assert.Equal(t, &m.Budget, short)
		freed := min(n, idle)
		idle -= freed
		short.Give(freed)
	})
	require.Nil(t, m.Reserve(&m.Budget, idle))
	require.Nil(t, m.Reserve(&m.Budget, 4<<20))
	assert.Equal(t, 1, asked)
	assert.NotNil(t, m.Reserve(&m.Budget, 9<<20))
	assert.Equal(t, 3, asked)
}

func TestFuelComesBackWithTheMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := share.NewMemory(0, noRoom).NewAccount(share.AccountLimits{FuelPerMinute: 600})
		assert.Zero(t, a.FuelWait())
		a.Spend(600)
		assert.Zero(t, a.FuelWait())
		a.Spend(10)
		assert.Equal(t, time.Second, a.FuelWait())
		assert.ErrorContains(t, a.OutOfFuel(a.FuelWait()), "fuel of 600 units a minute; try again in 1s")
		time.Sleep(time.Second) // the bubble's clock
		assert.Zero(t, a.FuelWait())
		time.Sleep(time.Hour)
		a.Spend(601)
		assert.Positive(t, a.FuelWait(), "it saves up a minute's worth, not an hour's")
		for range 4 {
			a.Spend(math.MaxInt64)
			assert.Greater(t, a.FuelWait(), 300*24*time.Hour, "a debt that no clock can tell is a debt")
		}
		free := share.NewMemory(0, noRoom).NewAccount(share.AccountLimits{})
		free.Spend(1 << 60)
		assert.Zero(t, free.FuelWait())
	})
}

func TestABoundThatIsTakenAwayAndPutBackGivesNothingAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := share.NewMemory(0, noRoom)
		bounds := share.AccountLimits{FuelPerMinute: 600, EgressBytesPerMinute: 600}
		a := m.NewAccount(bounds)
		a.Spend(610)
		a.SpendEgress(620)
		free := m.NewAccount(share.AccountLimits{})
		free.Follow(a)
		assert.Zero(t, free.FuelWait())
		assert.Zero(t, free.EgressWait())
		free.Spend(1 << 40) // of no bound
		time.Sleep(time.Second / 2)
		again := m.NewAccount(bounds)
		again.Follow(free)
		assert.Equal(t, time.Second/2, again.FuelWait(), "what time has filled")
		assert.Equal(t, 3*time.Second/2, again.EgressWait())
	})
}

func TestOneCallOfAnAccountHasItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := share.NewMemory(0, noRoom).NewAccount(share.AccountLimits{})
		require.NoError(t, a.Acquire(newCall(t, time.Minute)))
		require.ErrorIs(t, a.Acquire(newCall(t, time.Second)), status.ErrDeadlineExceeded)
		gone, leave := context.WithCancel(t.Context())
		leave()
		require.ErrorIs(t, a.Acquire(&call{ctx: gone, deadline: time.Now().Add(time.Minute)}), status.ErrCancelled)
		got := make(chan error, 1)
		go func() { got <- a.Acquire(newCall(t, time.Minute)) }()
		synctest.Wait()
		assert.Empty(t, got)
		a.Release()
		require.NoError(t, <-got)
		a.Release()
	})
}

// place counts its calls.
type place struct {
	mu             sync.Mutex
	left, returned int
	refuse         error
}

func (p *place) Leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left++
}

func (p *place) Return(context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.refuse == nil {
		p.returned++
	}
	return p.refuse
}

func TestASlotIsGivenBackWhileItsCallWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		slots, p := make(chan struct{}, 1), &place{}
		s := newSlot(slots, p)
		require.True(t, s.TryTake())
		assert.False(t, newSlot(slots, nil).TryTake())
		s.Leave()
		s.Leave()
		assert.Empty(t, slots)
		assert.Equal(t, 1, p.left, "once")
		held, err := s.Take(t.Context(), nil)
		require.True(t, held)
		require.NoError(t, err)
		assert.Len(t, slots, 1)

		s.LeaveAfter(time.Millisecond)
		s.Stay()
		time.Sleep(time.Second) // the bubble's clock
		assert.Len(t, slots, 1, "it stayed in time")
		s.LeaveAfter(time.Millisecond)
		time.Sleep(time.Second)
		assert.Empty(t, slots, "it did not")
		s.Stay()

		other := newSlot(slots, nil)
		require.True(t, other.TryTake())
		timer := time.After(time.Second)
		held, err = s.Take(t.Context(), timer)
		assert.False(t, held)
		require.NoError(t, err)
		gone, leave := context.WithCancel(t.Context())
		leave()
		_, err = s.Take(gone, nil)
		require.ErrorIs(t, err, status.ErrCancelled)
		other.Finish()
		p.refuse = status.ErrUnavailable
		_, err = s.Take(t.Context(), nil)
		require.ErrorIs(t, err, status.ErrUnavailable)
		assert.Empty(t, slots, "without its place it has no slot either")
		s.Finish()
		s.Finish()
		assert.Empty(t, slots)
	})
}

func TestAnInitialisationHasNoSlotToGiveBack(t *testing.T) {
	p := &place{}
	s := share.InitialSlot(p)
	assert.False(t, s.Counted())
	s.Leave()
	assert.Equal(t, 1, p.left)
	held, err := s.Take(t.Context(), nil)
	require.NoError(t, err)
	assert.True(t, held)
	assert.Equal(t, 1, p.returned)
	ctx := share.WithPlace(t.Context(), p)
	assert.Same(t, p, share.PlaceOf(ctx))
	assert.Nil(t, share.PlaceOf(t.Context()))
}

// Of calls that run long, no more than the tokens run at a time, each for a slice, and all of
// them get on.
func TestLongCallsTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, load := share.NewProcessors(), &share.Load{}
		const calls, slices = 6, 30
		var mu sync.Mutex
		var wg sync.WaitGroup
		running, most := 0, 0
		order := []int{}
		for id := range calls {
			wg.Go(func() {
				c := newCall(t, time.Hour)
				r := share.NewRun(p, load, time.Now())
				defer r.End()
				if !assert.NoError(t, r.Enter(c)) {
					return
				}
				for range slices {
					long := r.Long()
					if long {
						mu.Lock()
						running++
						most = max(most, running)
						order = append(order, id)
						mu.Unlock()
					}
					time.Sleep(100 * time.Microsecond) // the bubble's clock: the guest runs
					if long {
						mu.Lock()
						running--
						mu.Unlock()
					}
					if r.SliceDone(time.Now()) {
						if !assert.NoError(t, r.Next(c)) {
							return
						}
					}
				}
				assert.True(t, r.Long())
			})
		}
		wg.Wait()
		assert.Equal(t, p.Tokens(), most)
		seen := map[int]int{}
		for _, id := range order[:len(order)/2] {
			seen[id]++
		}
		for id := range calls {
			assert.Greater(t, seen[id], slices/4, "call %d got on as the others did", id)
		}
		fresh := share.NewRun(p, load, time.Now())
		require.NoError(t, fresh.Enter(newCall(t, time.Second)))
		assert.False(t, fresh.Long(), "nobody runs any more")
		fresh.End()
	})
}

func TestACallThatIsOverStopsWaitingForAProcessor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, load := share.NewProcessors(), &share.Load{}
		holders := make([]share.Run, p.Tokens())
		for i := range holders {
			holders[i] = share.NewRun(p, load, time.Now())
			require.NoError(t, holders[i].Wait(newCall(t, time.Hour)))
		}
		r := share.NewRun(p, load, time.Now())
		c := newCall(t, time.Second)
		require.ErrorIs(t, r.Wait(c), status.ErrDeadlineExceeded)
		assert.Positive(t, c.blocked, "the watcher was told")
		for i := range holders {
			holders[i].End()
		}
		require.NoError(t, r.Wait(newCall(t, time.Second)))
		r.End()
	})
}

// A slice that takes long is shortened, one that is over soon is lengthened, within bounds,
// and the next call of the module begins with what the last long one has learned.
func TestSlicesFitTheirTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, load := share.NewProcessors(), &share.Load{}
		r := share.NewRun(p, load, time.Now())
		start := r.Slice()
		time.Sleep(10 * time.Millisecond)
		require.True(t, r.SliceDone(time.Now()))
		assert.Less(t, r.Slice(), start)
		for range 100 {
			require.NoError(t, r.Next(newCall(t, time.Hour)))
			time.Sleep(10 * time.Millisecond)
			r.SliceDone(time.Now())
		}
		assert.EqualValues(t, 5_000, r.Slice())
		r.End()
		next := share.NewRun(p, load, time.Now())
		assert.EqualValues(t, 5_000, next.Slice())
		for range 100 {
			next.SliceDone(time.Now())
		}
		assert.EqualValues(t, 400_000, next.Slice())
		next.End()
	})
}

func TestWorkAsideWaitsForAToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, load := share.NewProcessors(), &share.Load{}
		holders := make([]share.Run, p.Tokens())
		for i := range holders {
			holders[i] = share.NewRun(p, load, time.Now())
			require.NoError(t, holders[i].Wait(newCall(t, time.Hour)))
		}
		done := make(chan struct{})
		go p.Background(func() { close(done) })
		synctest.Wait()
		select {
		case <-done:
			t.Fatal("it did not wait")
		default:
		}
		holders[0].End()
		<-done
		for i := range holders[1:] {
			holders[i+1].End()
		}
	})
}

// Results of a worker's calls are read by as many goroutines, in any order.
func TestTheLatestReportsOfWorkersCount(t *testing.T) {
	a := share.NewMemory(0, noRoom).NewAccount(share.AccountLimits{})
	held := func() int64 { now, _ := a.MemoryBytes(); return now }
	a.Observe("first", share.Report{Number: 2, Now: 10, Most: 70})
	a.Observe("first", share.Report{Number: 1, Now: 50, Most: 60})
	assert.EqualValues(t, 10, held(), "the older one came later")
	a.Observe("second", share.Report{Number: 1, Now: 5, Most: 5})
	assert.EqualValues(t, 15, held(), "of all workers")
	a.RemoveWorker("first")
	assert.EqualValues(t, 5, held())
	for i := range 64 {
		a.Observe(i, share.Report{Number: 1, Now: math.MaxInt64, Most: math.MaxInt64})
	}
	assert.Positive(t, held(), "what they say is not believed without bound")
	_, most := a.MemoryBytes()
	assert.GreaterOrEqual(t, most, held())
}

func newSlot(slots chan struct{}, place share.Place) *share.Slot {
	s := &share.Slot{}
	s.Init(slots, place)
	return s
}
