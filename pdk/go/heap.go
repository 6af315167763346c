package pdk

import "runtime"

// room is how much a call of a tool that was warmed can allocate before the memory grows. A guest whose memory has grown is
// not used again, and the next call has to wait for a new one. Memory that was used before Go clears when it is used again,
// which costs a call about 4 µs: a guest without Warm has it no worse than without the kit.
const room = 2 << 20

func init() { readySizes() } //nolint:gochecknoinits // it has to run before the image of the initialised module is taken

// makeRoom has the heap grow, the first time that it is called.
func makeRoom() {
	if heap.roomy {
		return
	}
	heap.roomy = true
	heap.bytes = make([]byte, room)
	heap.bytes = nil
	runtime.GC() // before the sizes are made ready: it takes back what has no objects
	readySizes()
}

// readySizes allocates an object of each size. Go's allocator makes room for objects of a size when the first of them is asked
// for, which takes it about 15 µs inside WebAssembly. Every call starts from the state after initialisation, so a call would
// pay that for each size that nothing was allocated of before: here it is done once, for the sizes up to 2 KiB, of which the
// runtime has 38 (runtime/sizeclasses.go), each for objects with and without pointers. This takes address space only: nothing
// is written to most of it.
func readySizes() {
	for _, size := range []int{
		8, 16, 24, 32, 48, 64, 80, 96, 112, 128, 144, 160, 176, 192, 208, 224, 240, 256, 288, 320, 352, 384, 416, 448, 480, 512,
		576, 640, 704, 768, 896, 1024, 1152, 1280, 1408, 1536, 1792, 2048,
	} {
		heap.bytes, heap.pointers = make([]byte, size), make([]*byte, size/8)
	}
	heap.bytes, heap.pointers = nil, nil
}

// heap keeps the compiler from leaving out what is allocated for nothing.
var heap struct {
	roomy    bool
	bytes    []byte
	pointers []*byte
}
