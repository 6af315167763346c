package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"reflect"
	"unsafe"
)

// decode reports whether it has decoded data into the value at p, which was zero. Where it gave up the value is in part set.
func decode(n *node, data []byte, p unsafe.Pointer) bool {
	d := decoder{b: data}
	return d.value(n, p) && !d.space()
}

// value decodes the value that comes next. Because the value at p is zero and no key comes twice, null sets nothing.
func (d *decoder) value(n *node, p unsafe.Pointer) bool {
	if d.i >= len(d.b) || d.b[d.i] <= ' ' && !d.space() {
		return false
	}
	c := d.b[d.i]
	if c == 'n' && n.dec != opStd && n.dec != opRaw && n.dec != opNone {
		return d.word("null")
	}
	switch n.dec {
	case opString:
		if c != '"' {
			return false
		}
		s, ok := d.text()
		*(*string)(p) = s
		return ok
	case opInt64:
		v, ok := d.signed(64)
		*(*int64)(p) = v
		return ok
	case opFloat64:
		f, ok := d.double()
		*(*float64)(p) = f
		return ok
	case opBool:
		*(*bool)(p) = c == 't'
		return c == 't' && d.word("true") || d.word("false")
	case opStruct:
		return c == '{' && d.object(n, p)
	case opSlice:
		return c == '[' && d.slice(n, p)
	case opPointer:
		v := n.elem.one()
		*(*unsafe.Pointer)(p) = v
		return d.value(n.elem, v)
	case opAny:
		v, ok := d.any()
		*(*any)(p) = v
		return ok
	case opMap, opMapAny, opMapString:
		return c == '{' && d.dictionary(n, p)
	default:
		return d.rare(n, p, c)
	}
}

// rare is value for what tools have less often.
func (d *decoder) rare(n *node, p unsafe.Pointer, c byte) bool {
	switch n.dec {
	case opInt8, opInt16, opInt32, opUint8, opUint16, opUint32, opUint64:
		return d.integer(n.dec, p)
	case opFloat32:
		f, ok := d.float(32)
		*(*float32)(p) = float32(f)
		return ok
	case opNumber:
		start := d.i
		_, ok := d.number()
		*(*string)(p) = unsafe.String(&d.b[start], d.i-start)
		return ok
	case opRaw:
		raw, ok := d.raw()
		*(*[]byte)(p) = bytes.Clone(raw)
		return ok
	case opBytes:
		return c == '"' && d.base64(p)
	case opArray:
		return c == '[' && d.array(n, p)
	case opStd:
		// The type's own methods may keep or change the bytes.
		raw, ok := d.raw()
		return ok && json.Unmarshal(bytes.Clone(raw), reflect.NewAt(n.typ, p).Interface()) == nil
	default:
		return false
	}
}

func (d *decoder) integer(o op, p unsafe.Pointer) (ok bool) {
	var s int64
	var u uint64
	switch o {
	case opInt8:
		s, ok = d.signed(8)
		*(*int8)(p) = int8(s)
	case opInt16:
		s, ok = d.signed(16)
		*(*int16)(p) = int16(s)
	case opInt32:
		s, ok = d.signed(32)
		*(*int32)(p) = int32(s)
	case opInt64:
		s, ok = d.signed(64)
		*(*int64)(p) = s
	case opUint8:
		u, ok = d.unsigned(8)
		*(*uint8)(p) = uint8(u)
	case opUint16:
		u, ok = d.unsigned(16)
		*(*uint16)(p) = uint16(u)
	case opUint32:
		u, ok = d.unsigned(32)
		*(*uint32)(p) = uint32(u)
	default:
		u, ok = d.unsigned(64)
		*(*uint64)(p) = u
	}
	return ok
}

// raw returns the bytes of the value that comes next.
func (d *decoder) raw() ([]byte, bool) {
	start := d.i
	if !d.skip() {
		return nil, false
	}
	return d.b[start:d.i], true
}

func (d *decoder) base64(p unsafe.Pointer) bool {
	s, ok := d.text()
	if !ok {
		return false
	}
	out := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Decode(out, unsafe.Slice(unsafe.StringData(s), len(s)))
	*(*[]byte)(p) = out[:n]
	return err == nil
}

// object decodes into a struct.
func (d *decoder) object(n *node, p unsafe.Pointer) bool {
	d.i++
	if d.at('}') {
		return true
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	var seen uint64
	at := -1
	for {
		f, ok := d.expected(n, at+1)
		if at++; !ok {
			if f, at, ok = d.member(n, at); !ok {
				return false
			}
			if f == nil {
				at--
				ok = d.skip()
			}
		}
		if f != nil {
			if seen&(1<<at) != 0 {
				return false
			}
			seen |= 1 << at
			ok = d.field(f, unsafe.Add(p, f.offset))
		}
		if !ok {
			return false
		}
		if more, ok := d.more('}'); !more {
			d.depth--
			return ok
		}
	}
}

// expected skips the key and colon of a field if they come next, written as encoding/json writes them.
func (d *decoder) expected(n *node, at int) (*field, bool) {
	if at >= len(n.fields) {
		return nil, false
	}
	f := &n.fields[at]
	b, i := d.b, d.i
	size := len(f.key)
	if i+max(size, 8) > len(b) || (load(b, i)^f.head)&f.mask != 0 {
		return nil, false
	}
	if size > 8 {
		if load(b, i+size-8) != f.tail || size > 16 && string(b[i:i+size]) != f.key {
			return nil, false
		}
	}
	d.i = i + size
	return f, true
}

// field decodes the value of a struct's field.
func (d *decoder) field(f *field, p unsafe.Pointer) (ok bool) {
	if d.i >= len(d.b) {
		return false
	}
	switch c := d.b[d.i]; {
	case f.dec == opString && c == '"':
		*(*string)(p), ok = d.text()
		return ok
	case f.quoted:
		return d.quoted(f, p)
	default:
		return d.value(f.node, p)
	}
}

// member reads a key and the colon after it and finds its field, nil if there is none: then at is as before.
func (d *decoder) member(n *node, before int) (f *field, at int, ok bool) {
	if d.i >= len(d.b) || d.b[d.i] <= ' ' && !d.space() {
		return nil, 0, false
	}
	if f, ok = d.expected(n, before); ok {
		return f, before, true
	}
	if d.b[d.i] != '"' {
		return nil, 0, false
	}
	start := d.i
	name, ok := d.text()
	if !ok || len(name) != d.i-start-2 || !d.at(':') { // a name with escapes is not ordinary
		return nil, 0, false
	}
	for at = range n.fields {
		if n.fields[at].name == name {
			return &n.fields[at], at, true
		}
	}
	// encoding/json takes a key in another case as well.
	if !n.ascii || !isASCII(name) {
		return nil, 0, false
	}
	for at = range n.fields {
		if sameLetters(n.fields[at].name, name) {
			return nil, 0, false
		}
	}
	return nil, before, true
}

// sameLetters compares two names without regard to case.
func sameLetters(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && lower(a[i]) != lower(b[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		c += 'a' - 'A'
	}
	return c
}

// quoted decodes an integer that is written as a string.
func (d *decoder) quoted(f *field, p unsafe.Pointer) bool {
	if !d.at('"') {
		return false
	}
	return d.integer(f.dec, p) && d.i < len(d.b) && d.b[d.i] == '"' && d.at('"')
}

// header is what a slice is made of.
type header struct {
	data     unsafe.Pointer
	len, cap int
}

func (d *decoder) slice(n *node, p unsafe.Pointer) bool {
	d.i++
	h, elem := (*header)(p), n.elem
	if d.at(']') {
		h.data = reflect.MakeSlice(n.typ, 0, 0).UnsafePointer()
		return true
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	s := &elem.slab
	var outer slab
	if s.open { // a type that has slices of itself
		outer = *s
		elem.renew(4)
	}
	s.open = true
	count := 0
	ok, more := true, true
	for more {
		if s.used+count == s.size {
			elem.move(count)
		}
		v := unsafe.Add(s.base, uintptr(s.used+count)*elem.size)
		count++
		if elem.dec == opString && d.i < len(d.b) && d.b[d.i] == '"' {
			*(*string)(v), ok = d.text()
		} else {
			ok = d.value(elem, v)
		}
		if !ok {
			break
		}
		more, ok = d.more(']')
	}
	h.data, h.len, h.cap = unsafe.Add(s.base, uintptr(s.used)*elem.size), count, count
	s.used += count
	s.open = false
	if outer.open {
		*s = outer
	}
	d.depth--
	return ok
}

// array decodes into an array: elements that it has no room for are skipped.
func (d *decoder) array(n *node, p unsafe.Pointer) bool {
	d.i++
	if d.at(']') {
		return true
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	for i := 0; ; i++ {
		if i < n.length {
			if !d.value(n.elem, unsafe.Add(p, uintptr(i)*n.elem.size)) {
				return false
			}
		} else if !d.skip() {
			return false
		}
		if more, ok := d.more(']'); !more {
			d.depth--
			return ok
		}
	}
}

// key reads the key of a map and the colon after it.
func (d *decoder) key() (string, bool) {
	if d.i >= len(d.b) || d.b[d.i] != '"' && (!d.space() || d.b[d.i] != '"') {
		return "", false
	}
	k, ok := d.text()
	return k, ok && d.at(':')
}

// dictionary decodes into a map. Of values with one key the last counts.
func (d *decoder) dictionary(n *node, p unsafe.Pointer) bool {
	if n.dec == opMapAny {
		m, ok := d.anyObject()
		*(*map[string]any)(p) = m
		return ok
	}
	d.i++
	m := reflect.NewAt(n.typ, p).Elem()
	m.Set(reflect.MakeMap(n.typ))
	if d.at('}') {
		return true
	}
	if d.depth++; d.depth > maxDepth {
		return false
	}
	for {
		k, ok := d.key()
		if !ok {
			return false
		}
		if n.dec == opMapString {
			var v string
			ok = d.value(n.elem, unsafe.Pointer(&v))
			(*(*map[string]string)(p))[k] = v
		} else {
			v := n.elem.one()
			ok = d.value(n.elem, v)
			m.SetMapIndex(reflect.ValueOf(k).Convert(n.typ.Key()), reflect.NewAt(n.elem.typ, v).Elem())
		}
		if !ok {
			return false
		}
		if more, ok := d.more('}'); !more {
			d.depth--
			return ok
		}
	}
}

// any decodes a value without a type.
func (d *decoder) any() (any, bool) {
	if d.i >= len(d.b) || d.b[d.i] <= ' ' && !d.space() {
		return nil, false
	}
	switch d.b[d.i] {
	case '{':
		return wrap(d.anyObject())
	case '[':
		return wrap(d.anyArray())
	case '"':
		return wrap(d.text())
	case 't':
		return true, d.word("true")
	case 'f':
		return false, d.word("false")
	case 'n':
		return nil, d.word("null")
	default:
		return wrap(d.double())
	}
}

func wrap[T any](v T, ok bool) (any, bool) { return v, ok }

func (d *decoder) anyObject() (map[string]any, bool) {
	d.i++
	m := map[string]any{}
	if d.at('}') {
		return m, true
	}
	if d.depth++; d.depth > maxDepth {
		return nil, false
	}
	for {
		k, ok := d.key()
		if !ok {
			return nil, false
		}
		if m[k], ok = d.any(); !ok {
			return nil, false
		}
		if more, ok := d.more('}'); !more {
			d.depth--
			return m, ok
		}
	}
}

func (d *decoder) anyArray() ([]any, bool) {
	d.i++
	a := []any{}
	if d.at(']') {
		return a, true
	}
	if d.depth++; d.depth > maxDepth {
		return nil, false
	}
	for {
		v, ok := d.any()
		if !ok {
			return nil, false
		}
		a = append(a, v)
		if more, ok := d.more(']'); !more {
			d.depth--
			return a, ok
		}
	}
}
