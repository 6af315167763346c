//go:build !wasip1

package host

import "bytes"

// Fake is the host of a native build. The zero value has no input and takes
// everything.
type Fake struct {
	In, Out, Err []byte
	OutSet       bool
	OnLog        func(level int32, line []byte)
	OnEmit       func(request []byte) (reply []byte)
	OnInterrupt  func(request []byte) (reply []byte)
	OnContext    func() (reply []byte)
	OnCall       func(capability string, request []byte) (reply []byte)
}

var current = new(Fake)

// Use makes f the host of the calls that follow and returns the one before it.
func Use(f *Fake) *Fake {
	old := current
	current = f
	return old
}

// Input copies the call's whole input into a new slice.
func Input() []byte { return append([]byte{}, current.In...) }

// Output sets the call's output.
func Output(b []byte) { current.Out, current.OutSet = append([]byte{}, b...), true }

// Error sets the call's error.
func Error(b []byte) { current.Err = append([]byte{}, b...) }

// Log writes one line to the host's log.
func Log(level int32, b []byte) {
	if current.OnLog != nil {
		current.OnLog(level, b)
	}
}

// Emit is the capability "emit".
func Emit(request []byte) []byte {
	if current.OnEmit != nil {
		return current.OnEmit(bytes.Clone(request)) // a test may keep it, and the kit writes there again
	}
	return []byte(`{"ok":null}`)
}

// Interrupt is the capability "interrupt".
func Interrupt(request []byte) []byte {
	if current.OnInterrupt != nil {
		return current.OnInterrupt(request)
	}
	return []byte(`{"ok":null}`)
}

// Context is the capability "context".
func Context() []byte {
	if current.OnContext != nil {
		return current.OnContext()
	}
	return []byte(`{"ok":{}}`)
}

func ask(capability string, request []byte) []byte {
	if current.OnCall != nil {
		return current.OnCall(capability, bytes.Clone(request))
	}
	return []byte(`{"error":{"code":"PERMISSION_DENIED","message":"capability \"` + capability + `\" is not granted"}}`)
}

// HTTP is the capability "http".
func HTTP(request []byte) []byte { return ask("http", request) }

// KVGet is the capability "kv_get".
func KVGet(request []byte) []byte { return ask("kv_get", request) }

// KVSet is the capability "kv_set".
func KVSet(request []byte) []byte { return ask("kv_set", request) }

// KVDelete is the capability "kv_delete".
func KVDelete(request []byte) []byte { return ask("kv_delete", request) }

// KVList is the capability "kv_list".
func KVList(request []byte) []byte { return ask("kv_list", request) }

// Now is the capability "now".
func Now(request []byte) []byte { return ask("now", request) }

// Run is the capability "run".
func Run(request []byte) []byte { return ask("run", request) }

// Generate is the capability "generate".
func Generate(request []byte) []byte { return ask("generate", request) }

// Next is the capability "next".
func Next(request []byte) []byte { return ask("next", request) }

// Resumed is the capability "resumed".
func Resumed() []byte { return ask("resumed", nil) }
