//go:build wasip1

package host

import (
	"runtime"
	"unsafe"
)

//go:wasmimport genkit_v1 input_len
func inputLen() uint32

//go:wasmimport genkit_v1 input
func input(ptr unsafe.Pointer)

//go:wasmimport genkit_v1 output
func output(ptr unsafe.Pointer, n uint32)

//go:wasmimport genkit_v1 error
func setError(ptr unsafe.Pointer, n uint32)

//go:wasmimport genkit_v1 log
func log(level int32, ptr unsafe.Pointer, n uint32)

//go:wasmimport genkit_v1 reply
func reply(ptr unsafe.Pointer)

//go:wasmimport genkit_v1 emit
func emit(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 interrupt
func interrupt(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 context
func context(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 http
func hostHTTP(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 kv_get
func hostKVGet(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 kv_set
func hostKVSet(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 kv_delete
func hostKVDelete(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 kv_list
func hostKVList(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 now
func hostNow(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 run
func hostRun(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 generate
func hostGenerate(ptr unsafe.Pointer, n uint32) uint32

// Input copies the call's whole input into a new slice.
func Input() []byte {
	b := make([]byte, inputLen())
	if len(b) > 0 {
		input(unsafe.Pointer(unsafe.SliceData(b)))
	}
	return b
}

// Output sets the call's output.
func Output(b []byte) {
	output(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	runtime.KeepAlive(b)
}

// Error sets the call's error.
func Error(b []byte) {
	setError(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	runtime.KeepAlive(b)
}

// Log writes one line to the host's log.
func Log(level int32, b []byte) {
	log(level, unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b)))
	runtime.KeepAlive(b)
}

// Emit is the capability "emit". Each capability has a function of its own: one
// that a module does not call is not linked, so the module does not ask for it.
func Emit(request []byte) []byte {
	n := emit(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// Interrupt is the capability "interrupt".
func Interrupt(request []byte) []byte {
	n := interrupt(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// Context is the capability "context".
func Context() []byte { return take(context(nil, 0)) }

// HTTP is the capability "http".
func HTTP(request []byte) []byte {
	n := hostHTTP(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// KVGet is the capability "kv_get".
func KVGet(request []byte) []byte {
	n := hostKVGet(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// KVSet is the capability "kv_set".
func KVSet(request []byte) []byte {
	n := hostKVSet(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// KVDelete is the capability "kv_delete".
func KVDelete(request []byte) []byte {
	n := hostKVDelete(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// KVList is the capability "kv_list".
func KVList(request []byte) []byte {
	n := hostKVList(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// Now is the capability "now".
func Now(request []byte) []byte {
	n := hostNow(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// Run is the capability "run".
func Run(request []byte) []byte {
	n := hostRun(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// Generate is the capability "generate".
func Generate(request []byte) []byte {
	n := hostGenerate(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

// take copies the reply of n bytes that the host holds.
func take(n uint32) []byte {
	b := make([]byte, n)
	if n > 0 {
		reply(unsafe.Pointer(unsafe.SliceData(b)))
	}
	return b
}

//go:wasmimport genkit_v1 next
func hostNext(ptr unsafe.Pointer, n uint32) uint32

// Next is the capability "next".
func Next(request []byte) []byte {
	n := hostNext(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request)))
	runtime.KeepAlive(request)
	return take(n)
}

//go:wasmimport genkit_v1 resumed
func hostResumed(ptr unsafe.Pointer, n uint32) uint32

// Resumed is the capability "resumed".
func Resumed() []byte { return take(hostResumed(nil, 0)) }
