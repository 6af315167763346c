package codec

import (
	"reflect"
	"unsafe"
)

// slab is memory for values of a type, which decoding hands out piece by piece and never twice. The first one is made when the type
// is learnt, so that calls find it in the image: an allocation takes half a microsecond inside WebAssembly.
type slab struct {
	values     reflect.Value // the whole of it, a slice
	base       unsafe.Pointer
	used, size int  // in values
	open       bool // a slice is being decoded behind what is used
}

// slabBytes is about how large the first slab of a type is.
const slabBytes = 2 << 10

func (n *node) renew(size int) {
	n.slab.values = reflect.MakeSlice(n.list, size, size)
	n.slab.base, n.slab.used, n.slab.size = n.slab.values.UnsafePointer(), 0, size
}

// prepare makes the first slab.
func (n *node) prepare() {
	if n.list == nil {
		n.list = reflect.SliceOf(n.typ)
		n.renew(max(1, min(128, slabBytes/int(max(1, n.size)))))
	}
}

// one returns a new zero value.
func (n *node) one() unsafe.Pointer {
	s := &n.slab
	if s.open || s.used == s.size {
		return reflect.New(n.typ).UnsafePointer()
	}
	s.used++
	return unsafe.Add(s.base, uintptr(s.used-1)*n.size)
}

// move goes to a larger slab, with the values that are being decoded behind what is used.
func (n *node) move(count int) {
	s := &n.slab
	begun := s.values.Slice(s.used, s.used+count)
	n.renew(max(4, 2*count, min(2*s.size, 16*slabBytes/int(max(1, n.size)))))
	reflect.Copy(s.values, begun)
}

// letters is memory for texts that had escapes.
var letters = make([]byte, 0, 1<<10)

func lettersFor(size int) []byte {
	if cap(letters)-len(letters) < size {
		if size > 1<<10 {
			return make([]byte, 0, size)
		}
		letters = make([]byte, 0, 4<<10)
	}
	piece := letters[len(letters) : len(letters) : len(letters)+size]
	letters = letters[:len(letters)+size]
	return piece
}
