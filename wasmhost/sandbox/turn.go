package sandbox

import (
	"reflect"
	"time"

	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// maxStackBytes bounds the native stack of a call.
const maxStackBytes = 16 << 20

// keptStackBytes is the largest native stack that stays with an idle instance.
const keptStackBytes = 256 << 10

// startStackBytes is what wazero gives a function to start with.
const startStackBytes = 10 << 10

// turnSlices is how many slices a call runs in its tenant's turn before another call of
// the tenant gets it: handing the turn on wakes somebody, which neighbours would feel if
// it came with each slice.
const turnSlices = 20

// between does what is due between two slices of a call beside the deadline: it counts
// the native stack, charges the tenant's fuel, and lets only one call of a tenant wait
// for the lane at a time, so that those who wait there are tenants, not calls, and a
// tenant with many long calls gets no more of the processors than one with a single one.
func (in *instance) between(used int64, now time.Time) {
	in.checkStack()
	st := in.state
	a := in.module.tenant
	if a == nil {
		return
	}
	a.fuel.spend(now, used-st.charged)
	st.charged = used
	if wait := a.fuel.wait(now); wait > 0 {
		panic(&stop{errTenantFuel(a.fuel.perMinute, wait)})
	}
	if !st.lane.long {
		return
	}
	if st.turn != nil {
		if st.turns++; st.turns < turnSlices {
			return
		}
	}
	st.leave()
	st.takeTurn(a.turn)
}

// takeTurn waits for the tenant's turn, and ends the guest when its deadline comes or its
// caller leaves meanwhile.
func (st *state) takeTurn(turn chan struct{}) {
	select {
	case turn <- struct{}{}:
	default:
		timer := time.NewTimer(time.Until(st.deadline))
		defer timer.Stop()
		select {
		case turn <- struct{}{}:
		case <-timer.C:
			st.check()
			panic(&stop{errDeadline(st.limits.Timeout)})
		case <-st.ctx.Done():
			st.check()
		}
	}
	st.turn, st.turns = turn, 0
}

// leave gives the lane and the tenant's turn to others: the call waits for something, or
// has ended.
func (st *state) leave() {
	st.watch.drop()
	st.lane.leave()
	if st.turn != nil {
		<-st.turn
		st.turn = nil
	}
}

func errTenantFuel(perMinute int64, wait time.Duration) error {
	return status.Publicf(status.ResourceExhausted, "the tenant has used up its fuel of %d units a minute; try again in %v", perMinute, wait.Round(time.Second)).
		WithRetryAfter(wait)
}

// checkStack counts the native stack of the function under way, and ends the guest when
// it is too big.
func (in *instance) checkStack() {
	size := in.module.stackBytes(in.running)
	if size <= startStackBytes {
		return
	}
	if size > maxStackBytes {
		in.spent = true
		panic(&stop{errStack()})
	}
	if more := size - startStackBytes; more > in.held.stack && !in.held.resize(&in.held.stack, more) {
		panic(&stop{in.held.err()})
	}
}

func errStack() error {
	return status.Publicf(status.ResourceExhausted, "the module trapped: call stack exhausted (recursion too deep)")
}

// shrinkStack lets go of a native stack that a call has made big: it would stay with
// the function otherwise.
func (in *instance) shrinkStack(name string) {
	if size := in.module.stackBytes(in.running); size > keptStackBytes {
		delete(in.funcs, name)
		in.held.resize(&in.held.stack, 0)
	} else if size > startStackBytes {
		in.held.resize(&in.held.stack, max(in.held.stack, size-startStackBytes))
	}
	in.running = nil
}

// stackBytes is the size of a compiled function's native stack, which wazero does not
// tell: it is read from the field, whose place is looked up once. 0 where there is none,
// as on the interpreter, which bounds its own.
func (m *Module) stackBytes(fn api.Function) int64 {
	const none = -1
	at := m.stackField.Load() // from 1; 0 is not known yet
	if at == none || fn == nil {
		return 0
	}
	v := reflect.ValueOf(fn)
	if at == 0 {
		at = none
		if t := v.Type(); t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Struct {
			f, ok := t.Elem().FieldByName("stack")
			if ok && len(f.Index) == 1 && f.Type.Kind() == reflect.Slice && f.Type.Elem().Kind() == reflect.Uint8 {
				at = int32(f.Index[0]) + 1 //nolint:gosec // a struct has few fields
			}
		}
		m.stackField.Store(at)
		if at == none {
			return 0
		}
	}
	return int64(v.Elem().Field(int(at - 1)).Len())
}
