//go:build wasip1

package main

import "unsafe"

// Calls that the PDK prevents, made directly through the imports.

//go:wasmimport genkit_v1 output
func rawOutput(ptr, n uint32)

//go:wasmimport genkit_v1 emit
func importEmit(ptr unsafe.Pointer, n uint32) uint32

//go:wasmimport genkit_v1 reply
func importReply(ptr unsafe.Pointer)

func rawEmit(request []byte) []byte {
	reply := make([]byte, importEmit(unsafe.Pointer(unsafe.SliceData(request)), uint32(len(request))))
	importReply(unsafe.Pointer(unsafe.SliceData(reply)))
	return reply
}
