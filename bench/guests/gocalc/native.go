//go:build wasip1 && !extism

package main

import "unsafe"

//go:wasmimport genkit_v1 input_len
func inputLen() uint32

//go:wasmimport genkit_v1 input
func inputTo(ptr unsafe.Pointer)

//go:wasmimport genkit_v1 output
func outputFrom(ptr unsafe.Pointer, length uint32)

func input() []byte {
	b := make([]byte, inputLen())
	if len(b) > 0 {
		inputTo(unsafe.Pointer(unsafe.SliceData(b)))
	}
	return b
}

func output(b []byte) { outputFrom(unsafe.Pointer(unsafe.SliceData(b)), uint32(len(b))) }
