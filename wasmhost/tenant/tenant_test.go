package tenant_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAQuotaIsReadStrictly(t *testing.T) {
	q, err := tenant.ParseQuota([]byte(`{"concurrency":4,"queue":8,"callsPerMinute":60,"fuelPerMinute":1000,"memoryBytes":1048576,"modules":3}`))
	require.NoError(t, err)
	assert.Equal(t, tenant.Quota{Concurrency: 4, Queue: 8, CallsPerMinute: 60, FuelPerMinute: 1000, MemoryBytes: 1 << 20, Modules: 3}, q)
	q, err = tenant.ParseQuota(nil)
	require.NoError(t, err)
	assert.Equal(t, tenant.Defaults(), q.Or(tenant.Defaults()))
	for _, bad := range []string{`{"concurency":4}`, `{"queue":-1}`, `{"memoryBytes":1e30}`, `[]`, `{`, `{} {}`, strings.Repeat(" ", 20<<10) + "{}", `{"concurrency":99999999}`} {
		_, err := tenant.ParseQuota([]byte(bad))
		require.ErrorIs(t, err, status.ErrInvalidArgument, bad)
		assert.True(t, status.Convert(err).Public())
	}
}

func FuzzParseQuota(f *testing.F) {
	f.Add([]byte(`{"concurrency":4}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if q, err := tenant.ParseQuota(raw); err == nil {
			require.NoError(t, q.Check())
		}
	})
}

// work enters, takes that long, and leaves; it returns how long it had to wait.
func work(t *testing.T, at *tenant.Tenant, takes time.Duration) (time.Duration, error) {
	t.Helper()
	start := time.Now()
	_, leave, err := at.Enter(t.Context())
	waited := time.Since(start)
	if err == nil {
		time.Sleep(takes) // of the bubble's clock
		leave()
		leave() // more than once does no harm
	}
	return waited, err
}

func TestAFloodIsAnsweredAtOnceAndDelaysNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := tenant.NewGate(8)
		loud := gate.Join(tenant.Quota{Concurrency: 8, Queue: 20})
		quiet := gate.Join(tenant.Quota{})
		var wg sync.WaitGroup
		var mu sync.Mutex
		ran, refused := 0, 0
		for range 1000 {
			wg.Go(func() {
				waited, err := work(t, loud, time.Second)
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					ran++
					return
				}
				refused++
				assert.ErrorIs(t, err, status.ErrResourceExhausted)
				assert.Zero(t, waited, "a refusal comes at once")
				assert.GreaterOrEqual(t, status.Convert(err).RetryAfter, time.Second)
			})
		}
		synctest.Wait()
		load := loud.Load()
		assert.Equal(t, 7, load.Running)
		assert.Equal(t, 20, load.Queued)
		// A slot is kept for the quiet one, though twenty wait before it.
		for range 3 {
			waited, err := work(t, quiet, 100*time.Millisecond)
			require.NoError(t, err)
			assert.Zero(t, waited)
		}
		wg.Wait()
		assert.Equal(t, 27, ran)
		assert.Equal(t, 973, refused)
	})
}

func TestTenantsThatWaitAreServedInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := tenant.NewGate(1)
		_, leave, err := gate.Join(tenant.Quota{}).Enter(t.Context())
		require.NoError(t, err)
		var mu sync.Mutex
		var order []string
		var wg sync.WaitGroup
		for i, calls := range []int{5, 2, 1} {
			at := gate.Join(tenant.Quota{})
			for range calls {
				wg.Go(func() {
					_, leave, err := at.Enter(t.Context())
					if assert.NoError(t, err) {
						mu.Lock()
						order = append(order, fmt.Sprint(i))
						mu.Unlock()
						leave()
					}
				})
				synctest.Wait()
			}
		}
		leave()
		wg.Wait()
		assert.Equal(t, "0 1 2 0 1 0 0 0", strings.Join(order, " "))
	})
}

func TestATenantRunsNoMoreThanItMayThoughThereIsRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := tenant.NewGate(100)
		at := gate.Join(tenant.Quota{Concurrency: 2, Queue: 10})
		var wg sync.WaitGroup
		start := time.Now()
		for range 6 {
			wg.Go(func() {
				_, err := work(t, at, time.Second)
				assert.NoError(t, err)
			})
		}
		wg.Wait()
		assert.Equal(t, 3*time.Second, time.Since(start))
	})
}

func TestACallerWhoLeavesLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := tenant.NewGate(1)
		at := gate.Join(tenant.Quota{Queue: 1})
		_, leave, err := at.Enter(t.Context())
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() {
			_, _, err := at.Enter(ctx)
			done <- err
		}()
		synctest.Wait()
		cancel()
		require.ErrorIs(t, <-done, status.ErrCancelled)
		assert.Zero(t, at.Load().Queued)
		leave()
		_, err = work(t, at, 0)
		require.NoError(t, err)
		assert.Zero(t, at.Load().Running, "a slot was lost")
	})
}

// A call may be let in at the very moment at which its caller leaves.
func TestASlotIsNotLostToACallerWhoLeavesWithIt(t *testing.T) {
	gate := tenant.NewGate(1)
	at := gate.Join(tenant.Quota{})
	left := 0
	for range 500 {
		_, leave, err := at.Enter(t.Context())
		require.NoError(t, err, "after %d callers who left", left)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, leave, err := at.Enter(ctx)
			if err != nil {
				left++
				return
			}
			leave()
		}()
		for waiting := 0; waiting == 0; runtime.Gosched() {
			waiting = at.Load().Queued
		}
		leave()
		cancel()
		<-done
		require.Zero(t, at.Load().Running+at.Load().Queued)
	}
}

func TestATurnThatDoesNotComeIsSaid(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		gate := tenant.NewGate(1)
		at := gate.Join(tenant.Quota{})
		_, leave, err := at.Enter(t.Context())
		require.NoError(t, err)
		defer leave()
		waited, err := work(t, at, 0)
		require.ErrorIs(t, err, status.ErrResourceExhausted)
		assert.Equal(t, tenant.MaxWait, waited)
	})
}

func TestCallsOfAMinuteAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		at := tenant.NewGate(10).Join(tenant.Quota{CallsPerMinute: 60})
		for range 60 {
			_, err := work(t, at, 0)
			require.NoError(t, err)
		}
		_, err := work(t, at, 0)
		require.ErrorIs(t, err, status.ErrResourceExhausted)
		wait := status.Convert(err).RetryAfter
		assert.Positive(t, wait)
		time.Sleep(wait)
		_, err = work(t, at, 0)
		require.NoError(t, err)
	})
}

func TestABoundThatIsTakenAwayAndPutBackGivesNoCallsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bound := func(calls int64) tenant.Quota { return tenant.Quota{CallsPerMinute: calls} }
		at := tenant.NewGate(10).Join(bound(10))
		for range 10 {
			_, err := work(t, at, 0)
			require.NoError(t, err)
		}
		for _, later := range []int64{10, 5} { // the same bound and another one
			at.SetQuota(tenant.Quota{})
			_, bounded := at.Rate()
			assert.False(t, bounded)
			_, err := work(t, at, 0)
			require.NoError(t, err, "without a bound")
			at.SetQuota(bound(later))
			_, err = work(t, at, 0)
			assert.ErrorIs(t, err, status.ErrResourceExhausted, "%d a minute", later)
		}
		at.SetQuota(tenant.Quota{})
		time.Sleep(25 * time.Second)
		at.SetQuota(bound(5))
		rate, bounded := at.Rate()
		assert.True(t, bounded)
		assert.EqualValues(t, 2, rate.Left, "what time has filled")
	})
}

// A call that leads to another would wait for itself if there were one slot for both.
func TestNestedCallsRunInThePlaceOfTheOuterOne(t *testing.T) {
	at := tenant.NewGate(1).Join(tenant.Quota{Concurrency: 1, Queue: 1})
	var nest func(ctx context.Context, depth int) error
	nest = func(ctx context.Context, depth int) error {
		inner, leave, err := at.Enter(ctx)
		if err != nil {
			assert.Equal(t, tenant.MaxDepth, depth)
			return err
		}
		defer leave()
		assert.Equal(t, 1, at.Load().Running)
		return nest(inner, depth+1)
	}
	err := nest(t.Context(), 0)
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Contains(t, err.Error(), "nested deeper than 5")
	assert.Zero(t, at.Load().Running)
}

// Many tenants come, wait, leave early and run at once; no slot is lost and none is
// given twice.
func TestTheGateUnderLoad(t *testing.T) {
	gate := tenant.NewGate(3)
	var mu sync.Mutex
	inside, most := 0, 0
	var wg sync.WaitGroup
	tenants := make([]*tenant.Tenant, 5)
	for i := range tenants {
		tenants[i] = gate.Join(tenant.Quota{Concurrency: 2, Queue: 4})
	}
	for worker := range 20 {
		wg.Go(func() {
			for i := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				if i%3 == 0 {
					go cancel()
				}
				_, leave, err := tenants[worker%len(tenants)].Enter(ctx)
				if err == nil {
					mu.Lock()
					inside++
					most = max(most, inside)
					mu.Unlock()
					mu.Lock()
					inside--
					mu.Unlock()
					leave()
				}
				cancel()
			}
		})
	}
	wg.Wait()
	assert.LessOrEqual(t, most, 3)
	for _, at := range tenants {
		assert.Equal(t, tenant.Load{Refused: at.Load().Refused}, at.Load())
	}
	for range 3 {
		_, _, err := gate.Join(tenant.Quota{}).Enter(t.Context())
		require.NoError(t, err)
	}
}

func TestTotalsAddUp(t *testing.T) {
	var sum tenant.Totals
	sum.Add(&tenant.Event{Fuel: 5, WallNS: 2 * time.Second, MemoryBytes: 10, InputBytes: 1, OutputBytes: 2})
	sum.Add(&tenant.Event{Fuel: 7, Code: status.Internal, QueuedNS: time.Second})
	assert.Equal(t, tenant.Totals{Calls: 2, Failures: 1, Fuel: 12, QueuedNS: time.Second, WallNS: 2 * time.Second, ByteSeconds: 20, InputBytes: 1, OutputBytes: 2}, sum)
}

func ExampleGate() {
	gate := tenant.NewGate(2)
	acme := gate.Join(tenant.Quota{Concurrency: 1, Queue: 0})
	_, leave, err := acme.Enter(context.Background())
	fmt.Println(err)
	fmt.Println(acme.Load().Running, "running,", acme.Load().Queued, "queued")
	leave()
	// Output:
	// <nil>
	// 1 running, 0 queued
}
