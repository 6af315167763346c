// Package codec encodes and decodes JSON as encoding/json does, quicker, for types that it has learnt while the module
// initialised: the tables that [Learn] makes are part of the image that every call starts from.
//
// It takes the ordinary road only. Whatever is not ordinary (a key that is there twice or in another case, an escape of half
// a surrogate pair, a number out of range, a value of another type, text that is not UTF-8, nesting beyond 200) makes it give
// up, and encoding/json does the whole work again on the same bytes. So results and errors are those of encoding/json, always;
// this package has no errors of its own. A type's own methods (MarshalJSON, UnmarshalText, …) are called by encoding/json,
// for their value alone, and are called a second time where the codec gives up after them.
//
//	var _ = codec.Learn[Order]() // at package level
//
//	var in Order
//	err := codec.Decode(data, &in)
//	out, err := codec.Encode(&in)
//
// Nothing here may be called from more than one goroutine at a time.
package codec

import (
	"bytes"
	"encoding/json"
	"reflect"
	"unsafe"
)

// tables holds a table for each type that was learnt. A module learns few, so that looking at one after the other takes less
// time than a map does.
var tables []*node

func find(t reflect.Type) *node {
	for _, n := range tables {
		if n.typ == t {
			return n
		}
	}
	return nil
}

// Learn makes the table of T and of the types within it.
func Learn[T any]() struct{} {
	t := reflect.TypeFor[T]()
	if find(t) == nil {
		tables = append(tables, compile(t, false))
	}
	return struct{}{}
}

// Decode decodes data into v, which points to a zero value, as [json.Unmarshal] does. Strings in v are parts of data, which
// must not be written to afterwards.
func Decode[T any](data []byte, v *T) error {
	if n := find(reflect.TypeFor[T]()); n != nil && n.dec != opStd {
		if decode(n, data, unsafe.Pointer(v)) {
			return nil
		}
		*v = *new(T)
	}
	return json.Unmarshal(data, v)
}

// Encode encodes *v as [json.Encoder] does that does not escape HTML, without the newline at the end.
func Encode[T any](v *T) ([]byte, error) {
	if n := find(reflect.TypeFor[T]()); n != nil && n.enc != opStd {
		e := encoder{b: spare}
		if spare = nil; e.value(n, unsafe.Pointer(v)) {
			return e.done(), nil
		}
	}
	return Standard(*v)
}

// Any is [Encode] for a value whose type is known at run time alone. Release gives its memory back.
func Any(v any) ([]byte, error) {
	e := encoder{b: spare}
	if spare = nil; e.any(v) {
		return e.done(), nil
	}
	return Standard(v)
}

// DecodeAny is [Decode] for a type that is known at run time alone: v is a pointer. What it points to need not be zero; then
// encoding/json decodes into it.
func DecodeAny(data []byte, v any) error {
	p := reflect.ValueOf(v)
	if p.Kind() == reflect.Pointer && !p.IsNil() && p.Elem().IsZero() {
		if n := find(p.Type().Elem()); n != nil && n.dec != opStd {
			if decode(n, data, p.UnsafePointer()) {
				return nil
			}
			p.Elem().SetZero()
		}
	}
	return json.Unmarshal(data, v)
}

// spare is the buffer of the next Encode, in which a call finds room that does not have to be allocated.
var spare = make([]byte, spareSize)

const spareSize = 4 << 10

// Ready makes room for the next Encode, where one has taken it. It is for the end of initialisation.
func Ready() {
	if len(spare) < spareSize {
		spare = make([]byte, spareSize)
	}
}

// Release gives back what Any has returned, which nobody may look at any more.
func Release(b []byte) {
	if cap(b) > len(spare) {
		spare = b[:cap(b)]
	}
}

// Standard encodes v with encoding/json as [Encode] does, for what is encoded once or of any type.
func Standard(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}
