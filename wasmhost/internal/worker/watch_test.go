package worker

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// reasonOf is the reason in an error's details.
func reasonOf(err error) string {
	var d struct{ Reason string }
	_ = json.Unmarshal(status.Convert(err).Details, &d)
	return d.Reason
}

// ways a worker misbehaves; see misbehaving.
var ways = []string{"spin", "fault", "memory", "stack", "killed", "exit"}

// Whatever a worker does, the calls of other tenants go on as before, and the caller
// who caused it gets an error.
func TestAWorkerThatMisbehavesHarmsNoOtherTenant(t *testing.T) {
	for _, way := range ways {
		t.Run(way, func(t *testing.T) {
			p := newPool(t, func(c *Config) { c.MemoryBytes = 64 << 20 })
			evil, good := counter(t, p, "evil"), counter(t, p, "good")
			_, err := ask(t.Context(), good, "{}")
			require.NoError(t, err)
			alone := p99(t, good, 300)

			var stop atomic.Bool
			var wg sync.WaitGroup
			over := make(chan struct{})
			if way == "killed" {
				wg.Go(func() {
					tick := time.NewTicker(time.Millisecond)
					defer tick.Stop()
					for {
						select {
						case <-tick.C:
							p.killWorkersOf(evil)
						case <-over:
							return
						}
					}
				})
			}
			ended, culprits := 0, 0
			wg.Go(func() {
				defer close(over)
				for !stop.Load() {
					_, err := ask(context.Background(), evil, fmt.Sprintf("%q", way))
					if !assert.Error(t, err) {
						return
					}
					ended++
					if reasonOf(err) == reasonCulprit {
						culprits++
						assert.ErrorIs(t, err, status.ErrInternal)
					}
					p.pardon(evil) // it is to go on
					p.calm("evil")
				}
			})
			beside := p99(t, good, 300)
			stop.Store(true)
			wg.Wait()
			assert.Positive(t, ended)
			assert.Positive(t, culprits, "nobody was told")
			t.Logf("%s: p99 %v alone, %v beside %d ends of a worker", way, alone, beside, ended)
		})
	}
}

// killWorkersOf kills the workers that run a module, as an operator would, or the kernel.
func (p *Pool) killWorkersOf(m *Module) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range p.workers {
		w.mu.Lock()
		for c := range w.underway() {
			if beat := w.link.transport.beat(c.in.slot); c.module == m && beat.At.Load() != 0 {
				_ = w.cmd.Process.Kill()
			}
		}
		w.mu.Unlock()
	}
}

// p99 calls a module every millisecond, and fails when a call does.
func p99(t testing.TB, m *Module, calls int) time.Duration {
	t.Helper()
	took := make([]time.Duration, calls)
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range took {
		<-tick.C
		begin := time.Now()
		out, err := ask(t.Context(), m, "{}")
		took[i] = time.Since(begin)
		require.NoError(t, err)
		require.JSONEq(t, `{"count":1}`, out)
	}
	slices.Sort(took)
	return took[calls*99/100]
}

// Calls of others in the same worker run again when nothing of them had any effect, and
// are told when it had.
func TestCallsBesideTheCulpritRunAgainWhereNothingHadAnEffect(t *testing.T) {
	p := newPool(t, nil)
	evil, good := counter(t, p, "one"), counter(t, p, "one")
	_, err := ask(t.Context(), good, "{}")
	require.NoError(t, err)
	first := p.workerOf("one")

	// Two calls wait in the server for an answer: one for what can be asked again.
	begin := make(chan struct{}, 4) // the one that runs again begins again
	release := make(chan struct{})
	wait := doorFunc(func(context.Context) { begin <- struct{}{}; <-release })
	ended := make(chan error, 2)
	for _, c := range []abi.Capability{abi.CapKVGet, abi.CapKVSet} {
		m := capabilities(t, p, "one")
		go func() {
			_, err := m.Call(context.Background(), sandbox.Call{Export: string(c), Input: []byte(`{}`), Door: wait})
			ended <- err
		}()
		<-begin
	}
	_, err = ask(t.Context(), evil, `"spin"`)
	require.ErrorIs(t, err, status.ErrInternal)
	require.Equal(t, reasonCulprit, reasonOf(err))
	close(release)
	errs := []error{<-ended, <-ended}
	slices.SortFunc(errs, func(a, _ error) int {
		if a == nil {
			return -1
		}
		return 1
	})
	require.NoError(t, errs[0], "what only read runs again")
	require.ErrorIs(t, errs[1], status.ErrUnavailable, "what has written does not")
	require.Equal(t, reasonLost, reasonOf(errs[1]))
	require.NotSame(t, first, p.workerOf("one"))
}

// workerOf is the worker of a class, for tests.
func (p *Pool) workerOf(name string) *process {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.classes[name].worker
}

// doorFunc is a door that answers everything with null after it has waited.
type doorFunc func(ctx context.Context)

func (f doorFunc) Do(ctx context.Context, _ abi.Capability, _ []byte) (json.RawMessage, error) {
	f(ctx)
	return json.RawMessage("null"), nil
}

func (f doorFunc) Fetch(ctx context.Context, _, _ []byte) (*sandbox.Fetched, error) {
	f(ctx)
	return &sandbox.Fetched{Status: 200, Headers: []byte("{}")}, nil
}

func TestAModuleThatEndsItsWorkerAgainAndAgainIsPutAside(t *testing.T) {
	p := newPool(t, nil)
	m, other := counter(t, p, "a"), capabilities(t, p, "a")
	for range quarantineAfter {
		_, err := ask(t.Context(), m, `"fault"`)
		require.Equal(t, reasonCulprit, reasonOf(err), "%v", err)
	}
	_, err := ask(t.Context(), m, `{}`)
	require.ErrorIs(t, err, status.ErrUnavailable)
	require.Equal(t, reasonQuarantined, reasonOf(err))
	require.Positive(t, status.Convert(err).RetryAfter)
	// Its neighbours are served, after the pause that the class has to make.
	require.Eventually(t, func() bool {
		_, err := other.Call(t.Context(), sandbox.Call{Export: string(abi.CapNow), Input: []byte(`null`), Door: doorFunc(func(context.Context) {})})
		return err == nil
	}, 20*time.Second, 10*time.Millisecond)
	// Uploaded again, it gets another chance.
	again := counter(t, p, "a")
	_, err = ask(t.Context(), again, `{}`)
	require.NoError(t, err)
}

// From a frozen guest to the next answer of its worker's other callers.
func TestAFrozenWorkerIsReplacedSoon(t *testing.T) {
	p := newPool(t, nil)
	evil, good := counter(t, p, "one"), counter(t, p, "one")
	var took []time.Duration
	for range 3 {
		_, err := ask(t.Context(), good, "{}")
		require.NoError(t, err)
		ended := make(chan error, 1)
		go func() {
			_, err := ask(context.Background(), evil, `"spin"`)
			ended <- err
		}()
		longest := time.Duration(0)
		for frozen := true; frozen; { // calls go in as before
			begin := time.Now()
			_, err := ask(t.Context(), good, "{}")
			require.NoError(t, err)
			longest = max(longest, time.Since(begin))
			select {
			case err := <-ended:
				require.Equal(t, reasonCulprit, reasonOf(err), "%v", err)
				frozen = false
			default:
			}
		}
		took = append(took, longest)
		p.pardon(evil)
		p.calm("one")
	}
	slices.Sort(took)
	assert.Less(t, took[0], 5*time.Second, "patience for a machine that does much else; docs/isolation.md has the figures")
	t.Logf("from a frozen guest to the next answer: %v", took)
}

// calm forgets that the workers of a class did not last.
func (p *Pool) calm(name string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.classes {
		if c.name == name || strings.HasPrefix(c.name, soloPrefix) {
			c.failures, c.notUntil = 0, time.Time{}
		}
	}
}
