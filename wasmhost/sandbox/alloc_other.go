//go:build !linux

package sandbox

func allocate(size uint64) []byte { return make([]byte, size) }

func unallocate([]byte) {}
