package wasi

import (
	"encoding/binary"
	"reflect"

	"github.com/tetratelabs/wazero/api"
)

var little = binary.LittleEndian

// memoryOf returns a guest's memory. wazero gives a nil pointer, which is not nil, for a
// module that has none.
func memoryOf(mod api.Module) memory {
	m := mod.Memory()
	if m == nil || reflect.ValueOf(m).IsNil() {
		return memory{}
	}
	return memory{m}
}

// view returns guest memory without copying, valid until the guest runs on; false when
// any of it lies outside.
func (m memory) view(ptr, length uint64) ([]byte, bool) {
	if m.m == nil {
		return nil, false
	}
	return m.m.Read(uint32(ptr), uint32(length))
}

// table is view for count entries of a size. count must be bounded.
func (m memory) table(ptr uint64, count uint32, size uint64) ([]byte, bool) {
	return m.view(ptr, uint64(count)*size)
}

func (m memory) putUint64(ptr, v uint64) Errno {
	b, ok := m.view(ptr, 8)
	if !ok {
		return EFAULT
	}
	little.PutUint64(b, v)
	return 0
}

// putSizes tells how many strings there are, and their bytes with a NUL after each.
func (m memory) putSizes(list []string, a []uint64) Errno {
	count, ok1 := m.view(a[0], 4)
	size, ok2 := m.view(a[1], 4)
	if !ok1 || !ok2 {
		return EFAULT
	}
	little.PutUint32(count, uint32(len(list)))
	little.PutUint32(size, uint32(stringBytes(list)))
	return 0
}

// putStrings writes strings with a NUL after each, and a table of pointers to them.
func (m memory) putStrings(p *Process, list []string, a []uint64) Errno {
	size := stringBytes(list)
	pointers, ok1 := m.view(a[0], uint64(4*len(list)))
	text, ok2 := m.view(a[1], uint64(size))
	if !ok1 || !ok2 {
		return EFAULT
	}
	p.host.Charge(int64(size + vectorFuel*len(list)))
	at := 0
	for i, s := range list {
		little.PutUint32(pointers[4*i:], uint32(a[1])+uint32(at))
		at += copy(text[at:], s)
		text[at] = 0
		at++
	}
	return 0
}

func stringBytes(list []string) (n int) {
	for _, s := range list {
		n += len(s) + 1
	}
	return n
}
