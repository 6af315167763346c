package sandbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"runtime"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

type instanceKey struct{}

// instance is a guest: one instantiated module that serves one call at a time.
type instance struct {
	module *Module
	guest  api.Module
	memory *linearMemory // nil when the module has none
	fuel   api.MutableGlobal
	words  words
	// globals are the module's mutable globals, in the order of the image.
	globals []api.MutableGlobal
	funcs   map[string]function
	// ctx leads host functions back to this instance.
	ctx   context.Context //nolint:containedctx // not a request's: it carries this value only
	state *state          // the call under way
	arena arena           // Extism's memory
	held  holding         // what it is counted with
	// running is the function under way, of which the native stack is counted.
	running api.Function
	pinned  bool
	// spent marks an instance that must not serve another call.
	spent bool
}

// newInstance instantiates the module and runs its initialisation, under the
// limits of a call.
func (m *Module) newInstance(st *state) (_ *instance, err error) {
	in := &instance{module: m, funcs: map[string]function{}, state: st}
	in.held = holding{sandbox: m.sandbox, account: m.account()}
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	if err := m.code.pin(st.ctx, nil, nil); err != nil {
		return nil, err
	}
	in.pinned = true
	if !in.held.resize(&in.held.fixed, m.fixedBytes) {
		return nil, in.held.err()
	}
	in.ctx = context.WithValue(context.Background(), instanceKey{}, in) // an instance outlives the call that made it
	if m.hasMemory {
		in.memory = &linearMemory{limit: uint64(m.limits.MemoryBytes), owner: in}
	}
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions().
		WithRandSource(randomSource{in}).
		WithNanosleep(in.sleep).WithOsyield(in.yieldProcessor).
		WithStdout(logWriter{in, LevelInfo}).WithStderr(logWriter{in, LevelWarn})
	if len(m.mounts) > 0 {
		config = config.WithFSConfig(files(m.mounts))
	}
	if m.clock {
		config = config.WithSysWalltime().WithSysNanotime()
	}
	ctx := experimental.WithMemoryAllocator(in.ctx, experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory {
		if in.memory == nil {
			return &linearMemory{owner: in}
		}
		return in.memory
	}))
	if err := in.instantiate(ctx, config); err != nil {
		return nil, err
	}
	if err := in.bind(); err != nil {
		return nil, err
	}
	for _, init := range m.initialisers {
		st.lane.start(time.Now())
		err := in.refill()
		if err == nil {
			err = in.run(init.name, init.args)
		}
		if err != nil {
			return nil, initialiseError(err, init.name)
		}
	}
	in.arena.reset() // as a later call finds it
	return in, nil
}

// instantiate links the module and makes its memory. wazero panics when the allocator
// can't give even the minimum.
func (in *instance) instantiate(ctx context.Context, config wazero.ModuleConfig) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if err = in.held.err(); err != nil {
				return
			}
			err = status.Publicf(status.ResourceExhausted, "there is no memory for the module").WithCause(fmt.Errorf("instantiate: %v", r))
		}
	}()
	if in.guest, err = in.module.code.engine().InstantiateModule(ctx, in.module.code.compiled, config); err != nil {
		if short := in.held.err(); short != nil {
			return short
		}
		return instantiateError(err)
	}
	return nil
}

// bind finds the globals that the meter has exported.
func (in *instance) bind() error {
	fuel, ok := in.guest.ExportedGlobal(in.module.code.fuelExport).(api.MutableGlobal)
	if !ok {
		return status.Errorf(status.Internal, "the metered module lacks its fuel global")
	}
	in.fuel = fuel
	if names := in.module.code.words; names != nil && !in.words.bind(in.guest, names) {
		return status.Errorf(status.Internal, "the metered module lacks a global for words")
	}
	for _, exported := range in.module.code.globals {
		if exported.Unrestorable {
			continue
		}
		g, ok := in.guest.ExportedGlobal(exported.Export).(api.MutableGlobal)
		if !ok {
			return status.Errorf(status.Internal, "the metered module lacks global %q", exported.Export)
		}
		in.globals = append(in.globals, g)
	}
	return nil
}

// refill hands out the first slice of a call's fuel, when it is the call's turn.
func (in *instance) refill() error {
	if err := in.state.lane.enter(in.state); err != nil {
		return err
	}
	first := min(in.state.lane.slice, in.state.limits.Fuel)
	in.state.granted = first
	in.fuel.Set(uint64(first))
	return nil
}

// used returns the fuel that the call has used so far.
func (in *instance) used() int64 { return in.state.granted - int64(in.fuel.Get()) }

// yield is called by the guest when its slice is used up.
func (in *instance) yield() {
	st := in.state
	used := in.used()
	left := st.limits.Fuel - used
	if left <= 0 {
		panic(&stop{errFuel(st.limits.Fuel)})
	}
	now := st.check()
	in.between(used, now)
	st.lane.next(st, now)
	more := min(st.lane.slice, left)
	st.granted = used + more // what was overdrawn is part of what was used
	in.fuel.Set(uint64(more))
}

// function is an exported function, and whether it returns something.
type function struct {
	api.Function
	returns bool
}

// function returns an exported function, looked up once per instance; one without a
// Function when there is none.
func (in *instance) function(name string) function {
	fn, ok := in.funcs[name]
	if !ok {
		if exported := in.guest.ExportedFunction(name); exported != nil {
			fn = function{exported, len(exported.Definition().ResultTypes()) == 1}
		}
		in.funcs[name] = fn
	}
	return fn
}

// run calls an exported function with the state that is set and returns what ended
// it, as a status error.
func (in *instance) run(name string, args []uint64) error {
	fn := in.function(name)
	if fn.Function == nil {
		return status.Publicf(status.NotFound, "the module does not export a function %q", name)
	}
	stack := make([]uint64, max(len(args), 1))
	copy(stack, args)
	in.running = fn.Function
	in.words.reset()
	err := fn.CallWithStack(in.ctx, stack)
	in.shrinkStack(name)
	if err != nil {
		return in.failure(err)
	}
	if fn.returns {
		if rc := int32(uint32(stack[0])); rc != 0 {
			return &exitError{rc}
		}
	}
	return nil
}

// reset puts memory and globals back to the image. It reports whether the instance
// can serve another call.
func (in *instance) reset(img *image) bool {
	if in.spent || in.guest.IsClosed() {
		return false
	}
	if in.memory != nil && !in.memory.restore(img) {
		return false
	}
	for i, g := range in.globals {
		g.Set(img.globals[i])
	}
	in.arena.reset()
	return true
}

func (in *instance) close() {
	if in.guest != nil {
		_ = in.guest.Close(in.ctx) // a guest holds no files: nothing can fail that matters
	}
	in.memory.Free()
	in.held.free()
	if in.pinned {
		in.pinned = false
		in.module.code.unpin()
	}
}

// sleep is WASI's sleep: it ends with the call.
func (in *instance) sleep(ns int64) {
	st := in.state
	if st == nil {
		return
	}
	st.check()
	st.leave()
	defer st.lane.back(time.Now())
	timer := time.NewTimer(min(time.Duration(ns), time.Until(st.deadline)+time.Millisecond))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-st.ctx.Done():
	}
	st.check()
}

func (in *instance) yieldProcessor() {
	if in.state != nil {
		in.state.check()
	}
	runtime.Gosched()
}

// randomSource gives system randomness, within what a call may take.
type randomSource struct{ in *instance }

var _ io.Reader = randomSource{}

func (r randomSource) Read(p []byte) (int, error) {
	st := r.in.state
	if st == nil {
		return 0, io.ErrUnexpectedEOF
	}
	st.check()
	if st.randomBytes += int64(len(p)); st.randomBytes > maxRandomBytes {
		halt(status.ResourceExhausted, "the module took more than %d random bytes", maxRandomBytes)
	}
	return rand.Read(p)
}

// logWriter turns what a guest prints into log lines.
type logWriter struct {
	in    *instance
	level Level
}

func (w logWriter) Write(p []byte) (int, error) {
	if st := w.in.state; st != nil {
		st.worked(0) // one call of the guest may bring millions of pieces
		st.log(w.level, p)
	}
	return len(p), nil
}
