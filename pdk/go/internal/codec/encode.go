package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// encoder appends the JSON form of values.
type encoder struct {
	b     []byte
	depth int
}

// value appends the value at p, or reports false.
func (e *encoder) value(n *node, p unsafe.Pointer) (ok bool) {
	switch n.enc {
	case opString:
		e.b, ok = appendString(e.b, *(*string)(p))
		return ok
	case opInt64:
		e.b = strconv.AppendInt(e.b, *(*int64)(p), 10)
	case opFloat64:
		e.b, ok = appendFloat(e.b, *(*float64)(p), 64)
		return ok
	case opBool:
		e.b = strconv.AppendBool(e.b, *(*bool)(p))
	case opStruct:
		return e.object(n, p)
	case opSlice:
		s := (*header)(p)
		if s.data == nil {
			e.b = append(e.b, "null"...)
			return true
		}
		return e.elements(n.elem, s.data, s.len)
	case opPointer:
		v := *(*unsafe.Pointer)(p)
		if v == nil {
			e.b = append(e.b, "null"...)
			return true
		}
		if e.depth++; e.depth > maxDepth {
			return false
		}
		ok = e.value(n.elem, v)
		e.depth--
		return ok
	case opAny:
		return e.any(*(*any)(p))
	case opMap, opMapAny, opMapString:
		return e.dictionary(n, p)
	default:
		return e.rare(n, p)
	}
	return true
}

// rare is value for what tools have less often.
func (e *encoder) rare(n *node, p unsafe.Pointer) (ok bool) {
	switch n.enc {
	case opInt8, opInt16, opInt32, opUint8, opUint16, opUint32, opUint64:
		e.integer(n.enc, p)
		return true
	case opFloat32:
		e.b, ok = appendFloat(e.b, float64(*(*float32)(p)), 32)
		return ok
	case opNumber:
		return e.number(*(*string)(p))
	case opRaw:
		return e.raw(*(*[]byte)(p))
	case opBytes:
		if v := *(*[]byte)(p); v == nil {
			e.b = append(e.b, "null"...)
		} else {
			e.b = append(base64.StdEncoding.AppendEncode(append(e.b, '"'), v), '"')
		}
		return true
	case opArray:
		return e.elements(n.elem, p, n.length)
	case opInterface:
		return e.any(reflect.NewAt(n.typ, p).Elem().Interface())
	case opStd:
		if v := reflect.NewAt(n.typ, p); n.addr {
			return e.std(v.Interface())
		} else {
			return e.std(v.Elem().Interface())
		}
	default:
		return false
	}
}

func (e *encoder) integer(o op, p unsafe.Pointer) {
	switch o {
	case opInt8:
		e.b = strconv.AppendInt(e.b, int64(*(*int8)(p)), 10)
	case opInt16:
		e.b = strconv.AppendInt(e.b, int64(*(*int16)(p)), 10)
	case opInt32:
		e.b = strconv.AppendInt(e.b, int64(*(*int32)(p)), 10)
	case opInt64:
		e.b = strconv.AppendInt(e.b, *(*int64)(p), 10)
	case opUint8:
		e.b = strconv.AppendUint(e.b, uint64(*(*uint8)(p)), 10)
	case opUint16:
		e.b = strconv.AppendUint(e.b, uint64(*(*uint16)(p)), 10)
	case opUint32:
		e.b = strconv.AppendUint(e.b, uint64(*(*uint32)(p)), 10)
	default:
		e.b = strconv.AppendUint(e.b, *(*uint64)(p), 10)
	}
}

// std appends the form that encoding/json gives a value.
func (e *encoder) std(v any) bool {
	b, err := standard(v)
	e.b = append(e.b, b...)
	return err == nil
}

func (e *encoder) number(s string) bool {
	if s == "" {
		e.b = append(e.b, '0')
		return true
	}
	d := decoder{b: unsafe.Slice(unsafe.StringData(s), len(s))}
	_, ok := d.number()
	e.b = append(e.b, s...)
	return ok && d.i == len(s)
}

func (e *encoder) raw(v []byte) bool {
	if v == nil {
		e.b = append(e.b, "null"...)
		return true
	}
	d := decoder{b: v}
	if !d.skip() || d.space() {
		return false
	}
	if !d.spaced {
		e.b = append(e.b, v...)
		return true
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, v)
	e.b = append(e.b, compact.Bytes()...)
	return err == nil
}

func (e *encoder) object(n *node, p unsafe.Pointer) bool {
	if e.depth++; e.depth > maxDepth {
		return false
	}
	start := len(e.b)
	for i := range n.fields {
		f := &n.fields[i]
		v := unsafe.Add(p, f.offset)
		if f.empty != never && f.leftOut(f.empty, v) || f.zero != never && f.leftOut(f.zero, v) {
			continue
		}
		e.b = append(e.b, f.next...)
		if f.quoted {
			e.b = append(e.b, '"')
			e.integer(f.enc, v)
			e.b = append(e.b, '"')
		} else if !e.value(f.node, v) {
			return false
		}
	}
	e.depth--
	if len(e.b) == start {
		e.b = append(e.b, "{}"...)
		return true
	}
	e.b[start] = '{' // in place of a comma
	e.b = append(e.b, '}')
	return true
}

// leftOut reports whether a rule leaves out the value at p.
func (f *field) leftOut(r rule, p unsafe.Pointer) bool {
	switch r {
	case always:
		return true
	case zero8:
		return *(*uint8)(p) == 0
	case zero16:
		return *(*uint16)(p) == 0
	case zero32:
		return *(*uint32)(p) == 0
	case zero64:
		return *(*uint64)(p) == 0
	case noBytes:
		return (*(*header)(p)).len == 0
	case noEntry:
		return reflect.NewAt(f.typ, p).Elem().Len() == 0
	case isZero:
		return reflect.NewAt(f.typ, p).Elem().IsZero()
	case saysZero:
		return reflect.NewAt(f.typ, p).Elem().Interface().(interface{ IsZero() bool }).IsZero()
	default:
		return false
	}
}

// elements appends what is in a slice or an array.
func (e *encoder) elements(n *node, p unsafe.Pointer, length int) bool {
	if e.depth++; e.depth > maxDepth {
		return false
	}
	e.b = append(e.b, '[')
	for i := range length {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		if !e.value(n, unsafe.Add(p, uintptr(i)*n.size)) {
			return false
		}
	}
	e.depth--
	e.b = append(e.b, ']')
	return true
}

// entry is one of a map.
type entry struct {
	key   string
	value unsafe.Pointer
}

// dictionary appends a map, in the order of its keys.
func (e *encoder) dictionary(n *node, p unsafe.Pointer) bool {
	if *(*unsafe.Pointer)(p) == nil {
		e.b = append(e.b, "null"...)
		return true
	}
	var entries []entry
	switch n.enc {
	case opMapString:
		entries = collect(*(*map[string]string)(p))
	case opMapAny:
		entries = collect(*(*map[string]any)(p))
	default:
		m := reflect.NewAt(n.typ, p).Elem()
		values := reflect.MakeSlice(n.list, m.Len(), m.Len())
		entries = make([]entry, 0, m.Len())
		for it := m.MapRange(); it.Next(); {
			v := values.Index(len(entries))
			v.SetIterValue(it)
			entries = append(entries, entry{it.Key().String(), v.Addr().UnsafePointer()})
		}
	}
	return e.entries(n.elem, entries)
}

func collect[V any](m map[string]V) []entry {
	entries, values := make([]entry, 0, len(m)), make([]V, 0, len(m))
	for k, v := range m {
		values = append(values, v)
		entries = append(entries, entry{k, unsafe.Pointer(&values[len(values)-1])})
	}
	return entries
}

func (e *encoder) entries(n *node, entries []entry) bool {
	if e.depth++; e.depth > maxDepth {
		return false
	}
	slices.SortFunc(entries, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	e.b = append(e.b, '{')
	for i, entry := range entries {
		if i > 0 {
			e.b = append(e.b, ',')
		}
		var ok bool
		if e.b, ok = appendString(e.b, entry.key); !ok {
			return false
		}
		e.b = append(e.b, ':')
		if !e.value(n, entry.value) {
			return false
		}
	}
	e.depth--
	e.b = append(e.b, '}')
	return true
}

var anything = &node{enc: opAny, size: unsafe.Sizeof(any(nil))}

// any appends a value by its own type. Types that were not learnt are left to encoding/json.
func (e *encoder) any(v any) (ok bool) {
	switch v := v.(type) {
	case nil:
		e.b = append(e.b, "null"...)
	case string:
		e.b, ok = appendString(e.b, v)
		return ok
	case float64:
		e.b, ok = appendFloat(e.b, v, 64)
		return ok
	case int:
		e.b = strconv.AppendInt(e.b, int64(v), 10)
	case int64:
		e.b = strconv.AppendInt(e.b, v, 10)
	case bool:
		e.b = strconv.AppendBool(e.b, v)
	case map[string]any:
		if v == nil {
			e.b = append(e.b, "null"...)
			return true
		}
		return e.entries(anything, collect(v))
	case []any:
		if v == nil {
			e.b = append(e.b, "null"...)
			return true
		}
		return e.elements(anything, unsafe.Pointer(unsafe.SliceData(v)), len(v))
	case json.RawMessage:
		return e.raw(v)
	default:
		return e.learnt(v)
	}
	return true
}

func (e *encoder) learnt(v any) bool {
	t := reflect.TypeOf(v)
	n := tables[t]
	if n == nil || n.enc == opStd {
		return e.std(v)
	}
	copied := reflect.New(t)
	copied.Elem().Set(reflect.ValueOf(v))
	return e.value(n, copied.UnsafePointer())
}

const digits = "0123456789abcdef"

// appendString appends a string as JSON without escaping HTML. It gives up on text that is not UTF-8.
func appendString(b []byte, s string) ([]byte, bool) {
	b = append(b, '"')
	from, i := 0, 0
	text := unsafe.Slice(unsafe.StringData(s), len(s))
	for i < len(text) {
		if i+8 <= len(text) {
			w := load(text, i)
			m := ends(w) | w&highs
			if m == 0 {
				i += 8
				continue
			}
			i += bits.TrailingZeros64(m) >> 3
		}
		c := text[i]
		if c >= utf8.RuneSelf {
			r, size := utf8.DecodeRune(text[i:])
			if r == utf8.RuneError && size == 1 {
				return b, false
			}
			if r == '\u2028' || r == '\u2029' {
				b = append(append(b, text[from:i]...), `\u202`...)
				b = append(b, digits[r&0xF])
				from = i + size
			}
			i += size
			continue
		}
		if c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		b = appendEscape(append(b, text[from:i]...), c)
		i++
		from = i
	}
	return append(append(b, text[from:]...), '"'), true
}

func appendEscape(b []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(b, '\\', c)
	case '\b':
		return append(b, '\\', 'b')
	case '\f':
		return append(b, '\\', 'f')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case '\t':
		return append(b, '\\', 't')
	default:
		return append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&0xF])
	}
}
