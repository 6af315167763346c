//go:build wasm || amd64 || arm64

package codec

import "unsafe"

// load reads the eight bytes of b from i on, which are within it. The compiler does not make one load out of package binary's
// for WebAssembly.
func load(b []byte, i int) uint64 {
	return *(*uint64)(unsafe.Add(unsafe.Pointer(unsafe.SliceData(b)), i))
}
