package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
)

// Module is a compiled module and the pool of its instances.
type Module struct {
	sandbox      *Sandbox
	code         *code
	tenant       *Account // nil: counts for the process alone
	limits       Limits
	reuse        bool
	clock        bool
	config       map[string]string
	mounts       []Mount
	hasMemory    bool
	initialisers []initialiser
	// singleUse modules change what an image can't put back.
	singleUse  bool
	fixedBytes int64 // what an instance holds beside its memory
	slots      chan struct{}
	used       atomic.Int64 // when a call last began, in nanoseconds since 1970
	traffic    traffic
	stackField atomic.Int32 // see stackBytes
	// drained is closed when the module is closed and its last call has ended.
	drained chan struct{}

	mu     sync.Mutex // guards what follows
	image  *image     // state after initialisation, the same for all instances
	idle   []*instance
	busy   int // calls under way, and whoever closes instances
	closed bool
}

// image is the state that every call starts from.
type image struct {
	memory  []byte
	file    *os.File // holds the memory where instances map it; nil elsewhere
	filled  []extent // what of the file is not zero, in order
	globals []uint64
	counted int64 // bytes
	// sparse holds the memory in the place of memory, where instances don't map it.
	sparse *sparse
}

type extent struct{ start, end int }

type initialiser struct {
	name string
	args []uint64
}

func newModule(s *Sandbox, src *Source, c *code) *Module {
	m := &Module{
		sandbox: s, code: c, tenant: src.Account, fixedBytes: fixedBytes(src.Module), limits: src.Limits, reuse: src.Reuse, clock: src.Clock, config: src.Config, mounts: src.Mounts,
		hasMemory:    src.Module.Memory != nil,
		initialisers: initialisers(src.Module),
		singleUse:    src.Module.MutatesTables || src.Module.DropsData || len(src.Mounts) > 0,
		slots:        make(chan struct{}, src.Limits.Concurrency),
		drained:      make(chan struct{}),
	}
	m.used.Store(time.Now().UnixNano())
	for _, g := range src.Module.Globals {
		switch g.Type {
		case inspect.I32, inspect.I64, inspect.F32, inspect.F64:
		default: // vectors and references can't be put back
			m.singleUse = m.singleUse || g.Mutable
		}
	}
	return m
}

// fixedBytes estimates what an instance holds beside its memory: wazero's structures, the
// first stack, and each table at its largest.
func fixedBytes(m *inspect.Module) int64 {
	const perInstance, perEntry = 24 << 10, 64
	entries := int64(0)
	for _, t := range m.Tables {
		entries += int64(t.Min)
	}
	return perInstance + perEntry*entries
}

// initialisers lists what is called once in a new instance, as WASI reactors and
// the Extism SDK have it.
func initialisers(m *inspect.Module) []initialiser {
	has := func(name string, params int) bool {
		e, ok := m.Export(name)
		return ok && e.Kind == inspect.ExternFunc && len(m.FuncType(e.Index).Params) == params
	}
	var list []initialiser
	switch {
	case has("_initialize", 0):
		list = append(list, initialiser{name: "_initialize"})
	case has("__wasm_call_ctors", 0):
		list = append(list, initialiser{name: "__wasm_call_ctors"})
	}
	if has("hs_init", 2) {
		list = append(list, initialiser{name: "hs_init", args: []uint64{0, 0}})
	}
	return list
}

// ErrClosed reports a call of a module that was closed before the call began.
var ErrClosed error = status.Publicf(status.Unavailable, "the module was taken out of service; try again")

// Call runs an exported function of type () → i32 (or () → nothing) on a fresh
// state. It blocks for a free slot at most as long as a call may take. It fails
// with the code of the guest's own error, or INVALID_ARGUMENT (input too big),
// RESOURCE_EXHAUSTED (fuel, memory, output or slots used up), DEADLINE_EXCEEDED,
// CANCELLED, NOT_FOUND (no such function), INTERNAL (trap).
func (m *Module) Call(ctx context.Context, call Call) (*Result, error) {
	if len(call.Input) > m.limits.InputBytes {
		return nil, status.Publicf(status.InvalidArgument, "input of %d bytes exceeds the limit of %d", len(call.Input), m.limits.InputBytes)
	}
	if err := m.takeSlot(ctx); err != nil {
		return nil, err
	}
	freeSlot := func() { <-m.slots }
	st := m.newState(ctx, &call)
	in, err := m.acquire(st)
	if err != nil {
		freeSlot()
		return nil, err
	}
	ended := true // by the host, or by a trap
	defer func() { m.release(in, ended, freeSlot) }()
	if err = in.refill(); err != nil {
		return nil, err
	}
	st.began = st.lane.began
	if in.memory != nil && !st.lane.long {
		st.watch.begin(&in.memory.pages)
	}
	err = in.run(call.Export, nil)
	_, returned := errors.AsType[*exitError](err)
	ended = err != nil && !returned
	in.settle(call.Usage)
	return in.result(call.Export, err)
}

func (m *Module) newState(ctx context.Context, call *Call) *state {
	now := time.Now()
	st := &state{
		ctx: ctx, limits: &m.limits, call: call, deadline: now.Add(m.limits.Timeout),
		closing: &m.sandbox.closing, lane: newLane(m.sandbox.long, &m.traffic, now), maxOutput: call.MaxOutput,
	}
	if st.maxOutput == 0 {
		st.maxOutput = m.limits.OutputBytes
	}
	return st
}

// Warm makes the first instance, so that a module that can't be linked or
// initialised is found out before it is called, and the first call finds an
// instance. It fails as [Module.Call] does.
func (m *Module) Warm(ctx context.Context) error {
	in, err := m.acquire(m.newState(ctx, &Call{}))
	if err != nil {
		return err
	}
	m.release(in, false, func() {})
	return nil
}

func (m *Module) takeSlot(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return contextError(err)
	}
	select {
	case m.slots <- struct{}{}:
		return nil
	default:
	}
	timer := time.NewTimer(m.limits.Timeout)
	defer timer.Stop()
	select {
	case m.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return contextError(ctx.Err())
	case <-timer.C:
		return status.Publicf(status.ResourceExhausted, "the module has been serving %d calls at a time for %v; try again later", m.limits.Concurrency, m.limits.Timeout).
			WithRetryAfter(m.limits.Timeout)
	}
}

// acquire takes an idle instance or makes one.
func (m *Module) acquire(st *state) (*instance, error) {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return nil, ErrClosed
	}
	m.busy++
	m.used.Store(st.deadline.Add(-m.limits.Timeout).UnixNano())
	if n := len(m.idle); n > 0 {
		in := m.idle[n-1]
		m.idle = m.idle[:n-1]
		m.mu.Unlock()
		in.state, in.held.short = st, nil
		return in, nil
	}
	m.mu.Unlock()
	// Initialisation has no caller: it sees neither input nor context, and what it
	// outputs, emits or asks goes nowhere.
	initial := m.newState(st.ctx, &Call{Log: st.call.Log})
	initial.deadline = st.deadline
	in, err := m.newInstance(initial)
	initial.leave()
	initial.lane.end()
	if err != nil {
		m.leave()
		return nil, err
	}
	m.adopt(in)
	in.state = st
	st.lane.start(time.Now())
	return in, nil
}

// park ends the use of an instance, which goes back to the pool; false when that is full
// or the module was closed meanwhile, and then nothing has changed.
func (m *Module) park(in *instance) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || len(m.idle) >= maxIdle() {
		return false
	}
	m.busy--
	m.idle = append(m.idle, in)
	return true
}

// leave ends the use of an instance that is there no longer: the last one out of a closed
// module frees its code.
func (m *Module) leave() {
	m.mu.Lock()
	m.busy--
	last := m.closed && m.busy == 0
	m.mu.Unlock()
	if last {
		m.free()
	}
}

// maxIdle is how many instances of a module wait for calls: more than can run at a
// time would only hold memory.
func maxIdle() int { return max(4, 2*runtime.GOMAXPROCS(0)) }

// free drops the compiled code. It is called once, when the module is closed and
// nobody runs it.
func (m *Module) free() {
	m.code.release()
	if m.image != nil {
		m.freeImage(m.image)
	}
	m.sandbox.forget(m)
	close(m.drained)
}

// adopt takes the image from the first instance. Later instances start from what
// their own initialisation left, which an image of the same size can replace.
func (m *Module) adopt(in *instance) {
	if m.singleUse || m.reuse {
		return
	}
	if m.snapshot() != nil {
		return
	}
	size := int64(len(in.globals) * 8)
	if in.memory != nil {
		size += int64(len(in.memory.buf))
	}
	if !m.sandbox.reserve(m.account(), size) {
		return // without an image the instance serves one call
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.image != nil {
		m.account().give(size)
		return
	}
	m.image = newImage(in.memory)
	m.image.counted = size
	if m.image.file == nil && in.memory != nil {
		m.image.sparse, m.image.memory = newSparse(in.memory.buf), nil
		m.account().give(size - m.image.sparse.held())
		m.image.counted = m.image.sparse.held()
	}
	for _, g := range in.globals {
		m.image.globals = append(m.image.globals, g.Get())
	}
}

// release ends the use of an instance, and calls done when it has been dealt with. What
// ran long until it was ended may have written to all its memory, at its deadline, together with
// many others: its caller does not wait until that is put back, and neighbours are not
// crowded out by it, since it takes a turn in the lane.
func (m *Module) release(in *instance, ended bool, done func()) {
	aside := ended && in.state.lane.long
	calm := in.state.watch.end()
	in.state.leave()
	in.state.lane.end()
	if in.memory != nil {
		in.memory.moved = len(in.state.call.Input) + len(in.state.output)
		in.memory.calm = calm
	}
	in.state = nil
	if !aside {
		m.putBack(in)
		done()
		return
	}
	go func() { // ends when those that are in the lane have had their turn; the module waits for it before it frees its code
		m.sandbox.long <- struct{}{}
		defer func() {
			<-m.sandbox.long
			done()
			if r := recover(); r != nil { // nobody else is there to hold it
				m.sandbox.log.Error("putting a guest back panicked", slog.Any("panic", r))
			}
		}()
		m.putBack(in)
	}()
}

// putBack returns an instance to the pool, its state wiped, or closes it.
func (m *Module) putBack(in *instance) {
	keep := false
	switch {
	case in.spent || in.guest.IsClosed():
	case m.reuse:
		in.arena.reset()
		keep = true
	case !m.singleUse:
		img := m.snapshot()
		keep = img != nil && in.reset(img)
	}
	keep = keep && in.held.resize(&in.held.arena, int64(cap(in.arena.mem)))
	if keep && m.park(in) {
		return
	}
	in.close() // before the last one out frees the code
	m.leave()
}

// snapshot returns the image, nil when there is none.
func (m *Module) snapshot() *image {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.image
}

// settle charges the tenant for the rest of a call's fuel and tells what it has taken.
func (in *instance) settle(usage *Usage) {
	used := in.used()
	if a := in.module.tenant; a != nil && a.fuel.perMinute > 0 {
		a.fuel.spend(time.Now(), used-in.state.charged)
	}
	if usage != nil {
		*usage = Usage{Began: in.state.began, Fuel: used, MemoryBytes: in.held.memory + in.held.arena + in.held.stack}
	}
}

// Close ends the module: idle instances at once, busy ones when their call ends.
// It does not wait for them.
func (m *Module) Close() {
	m.mu.Lock()
	if m.closed {
		m.mu.Unlock()
		return
	}
	m.closed = true
	m.busy++ // until the instances are gone
	idle := m.idle
	m.idle = nil
	m.mu.Unlock()
	for _, in := range idle {
		in.close()
	}
	m.leave()
}

// Idle returns how many instances wait for a call, for tests and metrics.
func (m *Module) Idle() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.idle)
}

// result turns what the guest did into what the caller gets.
func (in *instance) result(export string, err error) (*Result, error) {
	st := in.state
	rc := int32(0)
	if exit, ok := errors.AsType[*exitError](err); ok {
		rc, err = exit.code, nil
	}
	if err != nil {
		return nil, err
	}
	if err := in.storeWords(); err != nil {
		return nil, err
	}
	res := &Result{Fuel: in.used()}
	if in.memory != nil {
		res.MemoryBytes = int64(len(in.memory.buf))
	}
	if st.interrupted {
		res.Interrupted, res.Interrupt = true, st.interrupt
		return res, nil
	}
	in.arena.finish(st)
	if rc != 0 {
		return nil, abi.GuestError(st.errorText, export, rc)
	}
	if st.hasOutput {
		res.Output = st.output
		if res.Output == nil {
			res.Output = []byte{}
		}
	}
	return res, nil
}
