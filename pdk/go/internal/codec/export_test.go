package codec

import (
	"reflect"
	"unsafe"
)

// Gave reports whether the codec gives up on data for a T, or on the value that data decodes to, or leaves T to
// encoding/json.
func Gave[T any](data []byte) (up bool) {
	var v T
	n := find(reflect.TypeFor[T]())
	if n.dec == opStd || n.enc == opStd || !decode(n, data, unsafe.Pointer(&v)) {
		return true
	}
	e := encoder{}
	return !e.value(n, unsafe.Pointer(&v))
}
