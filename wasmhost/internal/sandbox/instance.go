package sandbox

import (
	"context"
	"fmt"
	"time"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// newInstance instantiates the module and gives it the state of the image. Without one it runs the module's
// initialisation, under the limits of a call.
func (m *Module) newInstance(st *state, img *image) (_ *instance, err error) {
	in := &instance{module: m, funcs: map[string]function{}, state: st}
	in.held = m.sandbox.memory.Hold(m.budget())
	defer func() {
		if err != nil {
			in.close()
		}
	}()
	err = in.prepare(func() error {
		err := m.code.Pin(st.ctx, m.account)
		in.pinned = err == nil
		return err
	})
	if err != nil {
		return nil, err
	}
	if !in.held.Resize(&in.held.Fixed, m.fixedBytes) {
		return nil, in.held.Err()
	}
	in.ctx = context.WithValue(context.Background(), instanceKey{}, in) //nolint:forbidigo // an instance outlives the call that made it
	if m.hasMemory {
		in.memory = memory.New(uint64(m.limits.MemoryBytes), in.mayGrow)
	}
	in.process = wasi.New(m.wasi, wasiHost{in})
	config := wazero.NewModuleConfig().WithName("").WithStartFunctions() // WASI is our own: wazero's settings for it reach nobody
	ctx := experimental.WithMemoryAllocator(in.ctx, experimental.MemoryAllocatorFunc(func(_, _ uint64) experimental.LinearMemory {
		if in.memory == nil {
			return memory.New(0, func(uint64) bool { return false })
		}
		return in.memory
	}))
	if err := in.instantiate(ctx, config); err != nil {
		return nil, err
	}
	if err := in.bind(); err != nil {
		return nil, err
	}
	if img != nil {
		err = in.start(img)
	} else {
		err = in.initialise()
	}
	if err != nil {
		return nil, err
	}
	clear(in.funcs) // initialisers are not called again, and hold stacks
	in.held.Resize(&in.held.Stack, 0)
	in.arena.reset() // as a later call finds it
	return in, nil
}

// initialise runs what makes a guest of an instance, from the state that modules of the same code share where there is
// one.
func (in *instance) initialise() error {
	m := in.module
	shared := m.base.hold(in)
	if shared != nil {
		if err := in.start(shared); err != nil {
			return err
		}
	} else {
		for _, init := range m.initialisers {
			if err := in.initialiser(init); err != nil {
				return err
			}
		}
		if err := m.base.take(in); err != nil {
			return err
		}
	}
	if m.setup == "" {
		return nil
	}
	return in.initialiser(Initialiser{Name: m.setup})
}

func (in *instance) initialiser(init Initialiser) error {
	in.state.run.Start(time.Now())
	err := in.refill()
	if err == nil {
		err = in.run(init.Name, init.Args)
	}
	if err != nil {
		return in.initialiseError(err, init.Name)
	}
	return nil
}

// mayGrow reserves memory that is about to grow to size bytes, and returns false when that is more than the
// module's limit or a budget allows.
func (in *instance) mayGrow(size uint64) bool {
	if size > uint64(in.module.limits.MemoryBytes) {
		if in.state != nil {
			in.state.denied = true
		}
		return false
	}
	return in.held.Resize(&in.held.Linear, int64(size))
}

// instantiate links the module and makes its memory. wazero panics when the allocator
// can't give even the minimum.
func (in *instance) instantiate(ctx context.Context, config wazero.ModuleConfig) (err error) {
	defer func() {
		if r := recover(); r != nil {
			if err = in.held.Err(); err != nil {
				return
			}
			err = status.Publicf(status.ResourceExhausted, "there is no memory for the module").WithCause(fmt.Errorf("instantiate: %v", r))
		}
	}()
	if in.guest, err = in.module.code.Instantiate(ctx, config); err != nil {
		if short := in.held.Err(); short != nil {
			return short
		}
		return instantiateError(err)
	}
	return nil
}

// bind looks up the globals that the meter has exported.
func (in *instance) bind() error {
	names := in.module.code.Names()
	fuel, ok := in.guest.ExportedGlobal(names.Fuel).(api.MutableGlobal)
	if !ok {
		return status.Errorf(status.Internal, "the metered module lacks its fuel global")
	}
	in.fuel = fuel
	if names.Words != nil && !in.words.bind(in.guest, names.Words) {
		return status.Errorf(status.Internal, "the metered module lacks a global for words")
	}
	for _, exported := range names.Globals {
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

// refill gives the guest the first slice of the call's fuel, after waiting for a token where one is needed.
func (in *instance) refill() error {
	if err := in.state.run.Enter(in.state); err != nil {
		return err
	}
	first := min(in.state.run.Slice(), in.state.limits.Fuel)
	in.state.granted = first
	in.fuel.Set(uint64(first))
	return nil
}

// yield is called by the guest when its slice is used up. It ends the guest (by a panic with *stop) when a
// limit is reached, waits for a token where one is needed, and hands out the next slice.
func (in *instance) yield() {
	st := in.state
	used := in.used()
	left := st.limits.Fuel - used
	if left <= 0 {
		panic(&stop{errFuel(st.limits.Fuel)})
	}
	now := st.check()
	st.Blocks()
	in.between(used)
	if st.run.SliceDone(now) {
		st.rest()
		st.watch.Drop()
		if err := st.run.Next(st); err != nil {
			panic(&stop{err})
		}
		st.beat(time.Now())
	}
	more := min(st.run.Slice(), left)
	st.granted = used + more // fuel below zero was used as well
	in.fuel.Set(uint64(more))
}

// tokenSlices is how many slices a call runs with its tenant's token before another call of
// the tenant gets it: handing it on wakes somebody, which neighbours would feel if it came
// with each slice.
const tokenSlices = 20

// between runs the checks between two slices of a call other than the deadline's: it counts
// the native stack, charges the tenant's fuel, and lets only one call of a tenant wait
// for a processor at a time, so that those who wait there are tenants, not calls, and a
// tenant with many long calls gets no more of the processors than one with a single one.
func (in *instance) between(used int64) {
	in.checkStack()
	st := in.state
	a := in.module.account
	if a == nil {
		return
	}
	a.Spend(used - st.charged)
	st.charged = used
	if wait := a.FuelWait(); wait > 0 {
		panic(&stop{a.OutOfFuel(wait)})
	}
	if !st.run.Long() {
		return
	}
	if st.token != nil {
		if st.slices++; st.slices < tokenSlices {
			return
		}
	}
	st.leave()
	if err := st.acquire(a); err != nil {
		panic(&stop{err})
	}
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
	returned, err := in.invoke(name, args)
	if err != nil {
		return err
	}
	if rc := int32(returned); rc != 0 {
		return &exitError{rc}
	}
	return nil
}

// invoke is run for what returns any number; 0 when it returns none.
func (in *instance) invoke(name string, args []uint64) (uint32, error) {
	fn := in.function(name)
	if fn.Function == nil {
		return 0, status.Publicf(status.NotFound, "the module does not export a function %q", name)
	}
	in.stack = append(in.stack[:0], args...)
	if len(args) == 0 {
		in.stack = append(in.stack, 0)
	}
	in.running = fn.Function
	in.words.reset()
	if in.state.call.Beat != nil {
		in.state.beat(time.Now())
	}
	err := fn.CallWithStack(in.ctx, in.stack)
	in.state.rest()
	in.shrinkStack(name)
	if err != nil {
		return 0, in.failure(err)
	}
	if !fn.returns {
		return 0, nil
	}
	return uint32(in.stack[0]), nil
}

// reset restores memory, globals and WASI's state from the image. It reports whether the instance can serve
// another call.
func (in *instance) reset(img *image) bool {
	if in.spent || in.guest.IsClosed() {
		return false
	}
	if in.memory != nil && !in.memory.Restore(img.memory, in.moved, in.calm) {
		return false
	}
	for i, g := range in.globals {
		g.Set(img.globals[i])
	}
	in.arena.reset()
	in.process.Reset(img.process)
	return true
}

func (in *instance) close() {
	if in.process != nil {
		in.process.Reset(nil)
	}
	if in.guest != nil {
		_ = in.guest.Close(in.ctx) // closing the guest's files: no error matters
	}
	in.memory.Free()
	in.base.release()
	in.base = nil
	in.held.Free()
	if in.pinned {
		in.pinned = false
		in.module.code.Unpin()
	}
}

// budget is the budget of the module's memory.
func (m *Module) budget() *share.Budget { return m.sandbox.memory.BudgetOf(m.account) }

func meterModule(r wazero.Runtime) wazero.HostModuleBuilder {
	b := r.NewHostModuleBuilder(meter.YieldModule)
	export(b, meter.YieldFunc, nil, nil, func(in *instance, _ api.Module, _ []uint64) { in.yield() })
	exportAhead(b)
	return b
}
