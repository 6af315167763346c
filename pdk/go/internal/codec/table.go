package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
)

// op says how a value is read or written.
type op uint8

const (
	opStd  op = iota // by encoding/json, the value alone
	opNone           // not at all: the codec gives up
	opBool
	opInt8
	opInt16
	opInt32
	opInt64
	opUint8
	opUint16
	opUint32
	opUint64
	opFloat32
	opFloat64
	opString
	opNumber // json.Number
	opRaw    // json.RawMessage
	opBytes
	opAny
	opInterface // with methods
	opPointer
	opStruct
	opSlice
	opArray
	opMap
	opMapString // map[string]string
	opMapAny    // map[string]any
)

// node is the table of a type.
type node struct {
	dec, enc op
	// addr is set where encoding/json can take the address of the values that it encodes, and so sees the methods of
	// their pointers.
	addr   bool
	typ    reflect.Type
	elem   *node // of pointers, slices, arrays and maps
	size   uintptr
	length int // of an array
	fields []field
	ascii  bool         // all the fields' names are
	list   reflect.Type // a slice of the type
	slab   slab
}

type compiler map[place]*node

// place is a type and whether its values are addressable.
type place struct {
	typ  reflect.Type
	addr bool
}

func compile(t reflect.Type, addr bool) *node { return compiler{}.node(t, addr) }

var (
	rawMessage      = reflect.TypeFor[json.RawMessage]()
	number          = reflect.TypeFor[json.Number]()
	marshaler       = reflect.TypeFor[json.Marshaler]()
	unmarshaler     = reflect.TypeFor[json.Unmarshaler]()
	textMarshaler   = reflect.TypeFor[encoding.TextMarshaler]()
	textUnmarshaler = reflect.TypeFor[encoding.TextUnmarshaler]()
)

func (c compiler) node(t reflect.Type, addr bool) *node {
	at := place{t, addr}
	if n := c[at]; n != nil {
		return n
	}
	n := &node{typ: t, addr: addr, size: t.Size()}
	c[at] = n
	if t == rawMessage {
		n.dec, n.enc = opRaw, opRaw
		return n
	}
	c.shape(n)
	if t.Kind() != reflect.Pointer && n.dec != opNone && (hasMethod(t, unmarshaler) || hasMethod(t, textUnmarshaler)) {
		n.dec = opStd
		if t.Name() == "" {
			n.dec = opNone // encoding/json sees its methods in some places and not in others
		}
	}
	if t.Kind() != reflect.Pointer && (hasMethod(t, marshaler) || hasMethod(t, textMarshaler)) {
		n.enc = opStd
	}
	return n
}

// hasMethod reports whether values of t or pointers to them have the methods of an interface.
func hasMethod(t, methods reflect.Type) bool {
	return t.Implements(methods) || t.Kind() != reflect.Interface && reflect.PointerTo(t).Implements(methods)
}

var scalars = map[reflect.Kind]op{
	reflect.Bool: opBool, reflect.String: opString, reflect.Float32: opFloat32, reflect.Float64: opFloat64,
	reflect.Int8: opInt8, reflect.Int16: opInt16, reflect.Int32: opInt32, reflect.Int64: opInt64,
	reflect.Uint8: opUint8, reflect.Uint16: opUint16, reflect.Uint32: opUint32, reflect.Uint64: opUint64,
	reflect.Int: opInt64, reflect.Uint: opUint64, reflect.Uintptr: opUint64,
}

// shape fills in what follows from the kind of a type.
func (c compiler) shape(n *node) {
	t := n.typ
	set := func(o op) { n.dec, n.enc = o, o }
	switch t.Kind() {
	case reflect.Int, reflect.Uint, reflect.Uintptr:
		if t.Size() == 4 {
			set(map[bool]op{true: opInt32, false: opUint32}[t.Kind() == reflect.Int])
			return
		}
		set(scalars[t.Kind()])
	case reflect.String:
		set(opString)
		if t == number {
			set(opNumber)
		}
	case reflect.Interface:
		set(opInterface)
		if t.NumMethod() == 0 {
			set(opAny)
		}
	case reflect.Pointer:
		if t.Name() == "" { // encoding/json looks for methods behind one that has a name in its own way
			set(opPointer)
			n.elem = c.node(t.Elem(), true)
			n.elem.prepare()
		}
	case reflect.Struct:
		if fields, ok := c.fields(n); ok {
			n.fields = fields
			set(opStruct)
		}
	case reflect.Slice:
		if n.elem = c.node(t.Elem(), true); t.Elem().Kind() == reflect.Uint8 {
			if n.elem.dec == opUint8 && n.elem.enc == opUint8 {
				set(opBytes)
			}
			return
		}
		set(opSlice)
		n.elem.prepare()
	case reflect.Array:
		n.elem, n.length = c.node(t.Elem(), n.addr), t.Len()
		set(opArray)
	case reflect.Map:
		c.mapShape(n)
	default:
		if o, ok := scalars[t.Kind()]; ok {
			set(o)
			return
		}
		set(opNone) // functions, channels, complex numbers
	}
}

func (c compiler) mapShape(n *node) {
	key := n.typ.Key()
	if key.Kind() != reflect.String || hasMethod(key, textMarshaler) || hasMethod(key, textUnmarshaler) {
		return
	}
	n.elem = c.node(n.typ.Elem(), false)
	n.elem.prepare()
	switch n.typ.Elem() {
	case reflect.TypeFor[string]():
		n.dec, n.enc = opMapString, opMapString
	case reflect.TypeFor[any]():
		n.dec, n.enc = opMapAny, opMapAny
	default:
		n.dec, n.enc = opMap, opMap
	}
}
