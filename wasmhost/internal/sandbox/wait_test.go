package sandbox_test

import (
	"context"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// place records its calls.
type place struct {
	refuse error

	mu   sync.Mutex // guards done
	done []string
}

func (p *place) note(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done = append(p.done, what)
}

func (p *place) Leave() { p.note("left") }

func (p *place) Return(context.Context) error {
	p.note("returned")
	return p.refuse
}

func (p *place) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.done, " ")
}

// await waits until what has happened reads like that.
func (p *place) await(t *testing.T, want string) {
	t.Helper()
	require.Eventually(t, func() bool { return p.String() == want }, 10*time.Second, time.Millisecond, want)
}

// A reader who takes a chunk at once costs the guest no place; one who does not does, and
// the module's slot is free meanwhile.
func TestAGuestLeavesItsPlaceForASlowReader(t *testing.T) {
	lim := limits()
	lim.Concurrency = 1
	m := compile(t, newSandbox(t, sandbox.Config{}), hold(1), lim)
	p := &place{}
	for range 50 {
		_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Place: p, Emit: func(json.RawMessage) error { return nil }})
		require.NoError(t, err)
	}
	assert.Less(t, strings.Count(p.String(), "left"), 25, "a quick chunk is no wait, but on a machine that is very busy")

	p = &place{}
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Place: p, Emit: func(json.RawMessage) error {
		p.await(t, "left")
		_, err := m.Call(t.Context(), sandbox.Call{Export: "ok"})
		return err
	}})
	require.NoError(t, err)
	assert.Equal(t, "left returned", p.String())
}

// However a wait ends, the module's slot is neither lost nor given back twice.
func TestNoSlotIsLostInAWait(t *testing.T) {
	lim := limits()
	lim.Concurrency, lim.Timeout = 1, time.Second
	sb := newSandbox(t, sandbox.Config{})
	m := compile(t, sb, hold(1), lim)
	refused := status.Errorf(status.ResourceExhausted, "no place")
	gone, cancel := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		ctx  context.Context
		p    *place
		emit func(p *place) error
		want error
	}{
		"the reader fails":           {t.Context(), &place{}, func(p *place) error { p.await(t, "left"); return refused }, refused},
		"no place is to be had":      {t.Context(), &place{refuse: refused}, func(p *place) error { p.await(t, "left"); return nil }, refused},
		"the caller leaves":          {gone, &place{}, func(p *place) error { p.await(t, "left"); cancel(); return nil }, status.ErrCancelled},
		"the time is over":           {t.Context(), &place{}, func(*place) error { <-time.After(1100 * time.Millisecond); return nil }, status.ErrDeadlineExceeded},
		"the reader panics":          {t.Context(), &place{}, func(p *place) error { p.await(t, "left"); panic("reader") }, status.ErrInternal},
		"the reader panics at once":  {t.Context(), &place{}, func(*place) error { panic("reader") }, status.ErrInternal},
		"nothing happens":            {t.Context(), &place{}, func(*place) error { return nil }, nil},
		"there is no place":          {t.Context(), nil, func(*place) error { return nil }, nil},
		"it comes back to its place": {t.Context(), &place{}, func(p *place) error { p.await(t, "left"); return nil }, nil},
	} {
		t.Run(name, func(t *testing.T) {
			call := sandbox.Call{Export: "f", Emit: func(json.RawMessage) error { return c.emit(c.p) }}
			if c.p != nil {
				call.Place = c.p
			}
			_, err := m.Call(c.ctx, call)
			assert.ErrorIs(t, err, c.want)
			for range 2 {
				_, err = m.Call(t.Context(), sandbox.Call{Export: "ok"})
				require.NoError(t, err)
			}
		})
	}
}

// The queue is not the guest's time: a guest that waits for its place longer than its
// time limit goes on.
func TestTheWayBackIsNotTheGuestsTime(t *testing.T) {
	lim := limits()
	lim.Timeout = 200 * time.Millisecond
	m := compile(t, newSandbox(t, sandbox.Config{}), napping(), lim)
	_, err := m.Call(t.Context(), sandbox.Call{Export: "f", Place: slowPlace{}})
	require.NoError(t, err)
}

type slowPlace struct{}

func (slowPlace) Leave() {}

func (slowPlace) Return(context.Context) error {
	<-time.After(300 * time.Millisecond)
	return nil
}

// napping is a guest that sleeps for a nanosecond.
func napping() []byte {
	subscription := make([]byte, 48) // of clock 0; the timeout is at 24
	subscription[24] = 1
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType("iiii", "i")),
		w.Imports(w.ImportFunc("wasi_snapshot_preview1", "poll_oneoff", 1)),
		w.Funcs(0), w.Memories(w.Limits(1)), w.Exports(w.Export("f", 0, 1), w.Export("memory", 2, 0)),
		w.Code(w.Body("", opI32Const, 0, opI32Const, 0xc0, 0, opI32Const, 1, opI32Const, 0xe0, 0, opCall, 0)),
		w.Data(w.Cat([]byte{0, opI32Const, 0, opEnd}, w.U32(48), subscription)))
}
