package sandbox

import (
	"context"
	"errors"
	"log/slog"
	"runtime"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

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
	st := states.Get().(*state)
	st.own.Init(m.slots, call.Place)
	st.slot = &st.own
	if err := m.takeSlot(ctx, st.slot); err != nil {
		return nil, err
	}
	m.begin(ctx, st, &call)
	in, err := m.acquire(st)
	if err != nil {
		st.drop()
		return nil, err
	}
	ended := true // by the host, or by a trap
	defer func() { m.release(in, ended) }()
	if err = in.refill(); err != nil {
		return nil, err
	}
	st.began = st.run.Began()
	if in.memory != nil && !st.run.Long() {
		st.watch.Begin(in.memory)
	}
	if call.WIT != "" {
		err = in.runWIT(&call)
	} else {
		err = in.run(call.Export, nil)
	}
	_, returned := errors.AsType[*exitError](err)
	ended = err != nil && !returned
	in.bill(call.Usage)
	return in.result(call.Export, err)
}

// begin makes st the state of a call that begins now. It was zero but for its slot.
func (m *Module) begin(ctx context.Context, st *state, call *Call) {
	now := time.Now()
	st.ctx, st.limits, st.call, st.closing = ctx, &m.limits, *call, &m.sandbox.closing
	st.deadline = now.Add(m.limits.Timeout)
	st.run = share.NewRun(m.sandbox.processors, &m.load, now)
	if st.maxOutput = call.MaxOutput; st.maxOutput == 0 {
		st.maxOutput = m.limits.OutputBytes
	}
}

// initialState makes the state of an initialisation, which has no slot of its own.
func (m *Module) initialState(ctx context.Context, call *Call, slot *share.Slot) *state {
	st := &state{slot: slot}
	m.begin(ctx, st, call)
	if m.sandbox.start != nil {
		st.call.Sources = m.sandbox.start()
	}
	return st
}

// Warm makes the first instance, so that a module that can't be linked or
// initialised is found out before it is called, and the first call finds an
// instance. It fails as [Module.Call] does.
func (m *Module) Warm(ctx context.Context) error { return m.WarmFor(ctx, Call{}) }

// WarmFor is Warm with the Beat and the Files of a call.
func (m *Module) WarmFor(ctx context.Context, call Call) error {
	in, err := m.acquire(m.initialState(ctx, &Call{Beat: call.Beat, Files: call.Files}, share.InitialSlot(share.PlaceOf(ctx))))
	if err != nil {
		return err
	}
	m.release(in, false)
	return nil
}

// takeSlot takes one of the module's slots. A call that has to wait for one gives its
// place back meanwhile.
func (m *Module) takeSlot(ctx context.Context, slot *share.Slot) error {
	if err := ctx.Err(); err != nil {
		return share.ContextError(err)
	}
	if slot.TryTake() {
		return nil
	}
	slot.LeavePlace()
	timer := time.NewTimer(m.limits.Timeout)
	defer timer.Stop()
	switch held, err := slot.Take(ctx, timer.C); {
	case err != nil:
		return err
	case !held:
		return status.Publicf(status.ResourceExhausted, "the module has been serving %d calls at a time for %v; try again later", m.limits.Concurrency, m.limits.Timeout).
			WithRetryAfter(m.limits.Timeout)
	}
	return nil
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
		in.image = m.image
		m.mu.Unlock()
		in.held.ClearErr()
		if !in.countBusy() {
			err := in.held.Err()
			in.close()
			m.leave()
			return nil, err
		}
		in.state = st
		return in, nil
	}
	m.mu.Unlock()
	// Initialisation has no caller: it sees no input but the seed, and no context, and what it
	// outputs, emits or asks goes nowhere.
	initial := m.initialState(st.ctx, &Call{Log: st.call.Log, Beat: st.call.Beat, Files: st.call.Files}, st.slot)
	initial.deadline = st.deadline
	var in *instance
	var err error
	var img *image // stays while this instance is busy
	if m.base != nil {
		img = m.snapshot()
	}
	if m.seed != nil && img == nil {
		initial.call.Input, err = m.seed(st.ctx)
	}
	if err == nil {
		in, err = m.newInstance(initial, img)
	}
	initial.leave()
	initial.run.End()
	if err != nil {
		m.leave()
		return nil, err
	}
	m.adopt(in)
	in.state = st
	st.run.Start(time.Now())
	return in, nil
}

// park returns an instance to the pool. It returns false, and changes nothing, when the pool is full or the
// module was closed meanwhile.
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

// leave is called when an instance that was in use has been closed. The last one of a closed module frees the
// module's code.
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
	m.code.Release()
	if m.image != nil {
		m.freeImage(m.image)
	}
	m.base.leave()
	m.sandbox.forget(m)
	m.sandbox.freed(m.account)
	close(m.drained)
}

// adopt takes the image from the first instance. Later instances of a module with a base begin as that image; those of
// others are initialised themselves for their first call, and restored from the image afterwards.
func (m *Module) adopt(in *instance) {
	if m.singleUse || m.reuse {
		return
	}
	process, ok := in.process.State()
	if !ok {
		return // the directory it has read may change
	}
	if m.snapshot() != nil {
		return
	}
	size := int64(len(in.globals) * 8)
	if in.memory != nil {
		size += int64(in.memory.Size())
	}
	if m.sandbox.memory.Reserve(m.budget(), size) != nil {
		return // without an image the instance serves one call
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.image != nil {
		m.budget().Give(size)
		return
	}
	m.image = &image{process: process, counted: int64(len(in.globals) * 8)}
	if in.memory != nil {
		m.image.memory = in.base.over(in.memory)
		m.image.base = in.base.again()
		m.image.counted += m.image.memory.Bytes()
	}
	m.budget().Give(size - m.image.counted)
	for _, g := range in.globals {
		m.image.globals = append(m.image.globals, g.Get())
	}
}

// release ends the use of an instance, and drops its state when it has been restored or closed.
// A long call that was ended may have written to its whole memory. Restoring that takes
// milliseconds, and many such calls end at once, at their deadlines: it happens in the
// background, on a token, after the caller has its answer.
func (m *Module) release(in *instance, ended bool) {
	st := in.state
	aside := ended && in.state.run.Long()
	in.calm = in.state.watch.End()
	in.moved = len(in.state.call.Input) + len(in.state.output)
	st.leave()
	st.run.End()
	in.state = nil
	if !aside {
		m.recycle(in)
		st.drop()
		return
	}
	go m.sandbox.processors.Background(func() { // the module waits for it before it frees its code
		defer func() {
			st.drop()
			m.sandbox.freed(m.account)
			if r := recover(); r != nil { // nobody else is there to hold it
				m.sandbox.log.Error("restoring a guest panicked", slog.Any("panic", r))
			}
		}()
		m.recycle(in)
	})
}

// recycle restores an instance and returns it to the pool, or closes it when it can't be restored.
func (m *Module) recycle(in *instance) {
	keep := false
	switch {
	case in.spent || in.guest.IsClosed():
	case m.reuse:
		in.arena.reset()
		keep = true
	case !m.singleUse:
		if in.image == nil { // it has just been made
			in.image = m.snapshot()
		}
		keep = in.image != nil && in.reset(in.image)
	}
	keep = keep && in.held.Resize(&in.held.Arena, int64(cap(in.arena.mem)))
	if keep {
		in.countIdle()
	}
	if keep && m.park(in) {
		return
	}
	in.close() // before leave, which may free the code
	m.leave()
}

// snapshot returns the image, nil when there is none.
func (m *Module) snapshot() *image {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.image
}

// bill charges the tenant for the rest of a call's fuel and fills in usage.
func (in *instance) bill(usage *Usage) {
	used := in.used()
	if a := in.module.account; a != nil {
		a.Spend(used - in.state.charged)
	}
	if usage != nil {
		*usage = Usage{Began: in.state.began, Fuel: used, MemoryBytes: in.held.Linear + in.held.Arena + in.held.Stack}
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

// result makes the caller's result of a call that ended with err.
func (in *instance) result(export string, err error) (*Result, error) {
	st := in.state
	rc := int32(0)
	if exit, ok := errors.AsType[*exitError](err); ok {
		rc, err = exit.code, nil
	}
	if exit, ok := errors.AsType[*processExitError](err); ok && exit.code == 0 && in.module.extism {
		err = nil // as under the Extism SDK
	}
	if err != nil {
		return nil, err
	}
	if err := in.storeWords(); err != nil {
		return nil, err
	}
	res := &Result{Fuel: in.used()}
	if in.memory != nil {
		res.MemoryBytes = int64(in.memory.Size())
	}
	if st.interrupted {
		res.Interrupted, res.Interrupt = true, st.interrupt
		return res, nil
	}
	in.arena.finish(st)
	if rc != 0 || (in.module.extism && len(st.errorText) > 0) { // the Extism SDK fails what has set an error
		return nil, abi.GuestError(st.errorText, export, rc)
	}
	if len(st.output) > 0 {
		res.Output = st.output
	}
	return res, nil
}

func (m *Module) freeImage(img *image) int64 {
	if img.memory != nil {
		img.memory.Free()
	}
	img.base.release()
	m.budget().Give(img.counted)
	return img.counted
}

func (s *Sandbox) forget(m *Module) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.modules, m)
}
