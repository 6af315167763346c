package sandbox

import (
	"reflect"

	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// maxStackBytes bounds the native stack of a call.
const maxStackBytes = 16 << 20

// keptStackBytes is the largest native stack that stays with an idle instance.
const keptStackBytes = 256 << 10

// startStackBytes is the size of the native stack with which wazero starts a function.
const startStackBytes = 10 << 10

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
	if more := size - startStackBytes; more > in.held.Stack && !in.held.Resize(&in.held.Stack, more) {
		panic(&stop{in.held.Err()})
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
		in.held.Resize(&in.held.Stack, 0)
	} else if size > startStackBytes {
		in.held.Resize(&in.held.Stack, max(in.held.Stack, size-startStackBytes))
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
