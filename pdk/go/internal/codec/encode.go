package codec

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"math"
	"math/bits"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
	"unsafe"
)

// encoder writes the JSON form of values.
type encoder struct {
	b     []byte // of which n bytes are written
	n     int
	depth int
}

func (e *encoder) done() []byte { return e.b[:e.n] }

// set makes b what is written.
func (e *encoder) set(b []byte) { e.b, e.n = b[:cap(b)], len(b) }

// ensure makes room for so many bytes more.
func (e *encoder) ensure(size int) {
	if len(e.b)-e.n < size {
		e.grow(size)
	}
}

func (e *encoder) grow(size int) {
	b := make([]byte, max(512, 2*len(e.b), e.n+size))
	copy(b, e.b[:e.n])
	e.b = b
}

// byte writes a byte that there is room for.
func (e *encoder) byte(c byte) {
	e.b[e.n] = c
	e.n++
}

func (e *encoder) write(s string) {
	e.ensure(len(s))
	e.n += copy(e.b[e.n:], s)
}

func (e *encoder) null() bool {
	e.write("null")
	return true
}

// int writes a number.
func (e *encoder) int(v int64) {
	e.ensure(24)
	if uint64(v) < 1000 {
		e.small(uint64(v))
		return
	}
	e.set(strconv.AppendInt(e.b[:e.n], v, 10))
}

func (e *encoder) uint(v uint64) {
	e.ensure(24)
	e.set(strconv.AppendUint(e.b[:e.n], v, 10))
}

// small writes a number below 1000, without the loops of strconv.
func (e *encoder) small(v uint64) {
	b, n := e.b, e.n
	if v >= 10 {
		if v >= 100 {
			b[n] = '0' + byte(v/100)
			n++
		}
		b[n] = '0' + byte(v/10%10)
		n++
	}
	b[n] = '0' + byte(v%10)
	e.n = n + 1
}

// float writes a number as encoding/json does, which has no form for infinities.
func (e *encoder) float(f float64, size int) bool {
	e.ensure(32)
	magnitude := math.Abs(f)
	if magnitude < 1e15 && size == 64 {
		// A number of up to 15 digits is the shortest that is read as f if it is read as f at all.
		if i := int64(f); float64(i) == f && (i != 0 || !math.Signbit(f)) {
			e.int(i)
			return true
		}
		if magnitude >= 1e-3 && magnitude < 1e9 && (e.decimal(f, magnitude, 2) || e.decimal(f, magnitude, 4)) {
			return true
		}
	}
	if math.IsInf(f, 0) || math.IsNaN(f) {
		return false
	}
	format := byte('f')
	if magnitude != 0 && (size == 64 && (magnitude < 1e-6 || magnitude >= 1e21) ||
		size == 32 && (float32(magnitude) < 1e-6 || float32(magnitude) >= 1e21)) {
		format = 'e'
	}
	b := strconv.AppendFloat(e.b[:e.n], f, format, -1, size)
	if n := len(b); format == 'e' && n >= 4 && b[n-4] == 'e' && b[n-3] == '-' && b[n-2] == '0' {
		b[n-2] = b[n-1] // e-09 is written e-9
		b = b[:n-1]
	}
	e.set(b)
	return true
}

// decimal writes a number that has up to so many digits, two or four, after the point.
func (e *encoder) decimal(f, magnitude float64, places int) bool {
	scaled := uint64(magnitude*powers[places] + 0.5)
	if float64(scaled)/powers[places] != magnitude {
		return false
	}
	if f < 0 {
		e.byte('-')
	}
	if whole := scaled / units[places]; whole < 1000 {
		e.small(whole)
	} else {
		e.uint(whole)
	}
	e.byte('.')
	rest := scaled % units[places]
	if places == 4 {
		e.byte('0' + byte(rest/1000))
		e.byte('0' + byte(rest/100%10))
		rest %= 100
	}
	e.byte('0' + byte(rest/10))
	if rest %= 10; rest != 0 {
		e.byte('0' + byte(rest))
	}
	return true
}

// value appends the value at p, or reports false.
func (e *encoder) value(n *node, p unsafe.Pointer) (ok bool) {
	switch n.enc {
	case opString:
		return e.text(*(*string)(p))
	case opInt64:
		e.int(*(*int64)(p))
	case opFloat64:
		return e.float(*(*float64)(p), 64)
	case opBool:
		e.write(strconv.FormatBool(*(*bool)(p)))
	case opStruct:
		return e.object(n, p)
	case opSlice:
		s := (*header)(p)
		if s.data == nil {
			return e.null()
		}
		return e.elements(n.elem, s.data, s.len)
	case opPointer:
		v := *(*unsafe.Pointer)(p)
		if v == nil {
			return e.null()
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
		return e.float(float64(*(*float32)(p)), 32)
	case opNumber:
		return e.number(*(*string)(p))
	case opRaw:
		return e.raw(*(*[]byte)(p))
	case opBytes:
		v := *(*[]byte)(p)
		if v == nil {
			return e.null()
		}
		e.set(append(base64.StdEncoding.AppendEncode(append(e.b[:e.n], '"'), v), '"'))
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
		e.int(int64(*(*int8)(p)))
	case opInt16:
		e.int(int64(*(*int16)(p)))
	case opInt32:
		e.int(int64(*(*int32)(p)))
	case opInt64:
		e.int(*(*int64)(p))
	case opUint8:
		e.uint(uint64(*(*uint8)(p)))
	case opUint16:
		e.uint(uint64(*(*uint16)(p)))
	case opUint32:
		e.uint(uint64(*(*uint32)(p)))
	default:
		e.uint(*(*uint64)(p))
	}
}

// std appends the form that encoding/json gives a value.
func (e *encoder) std(v any) bool {
	b, err := Standard(v)
	e.set(append(e.b[:e.n], b...))
	return err == nil
}

func (e *encoder) number(s string) bool {
	if s == "" {
		e.write("0")
		return true
	}
	d := decoder{b: unsafe.Slice(unsafe.StringData(s), len(s))}
	_, ok := d.number()
	e.write(s)
	return ok && d.i == len(s)
}

func (e *encoder) raw(v []byte) bool {
	if v == nil {
		return e.null()
	}
	d := decoder{b: v}
	if !d.skip() || d.space() {
		return false
	}
	if !d.spaced {
		e.set(append(e.b[:e.n], v...))
		return true
	}
	var compact bytes.Buffer
	err := json.Compact(&compact, v)
	e.set(append(e.b[:e.n], compact.Bytes()...))
	return err == nil
}

func (e *encoder) object(n *node, p unsafe.Pointer) bool {
	if e.depth++; e.depth > maxDepth {
		return false
	}
	start := e.n
	for i := range n.fields {
		f := &n.fields[i]
		v := unsafe.Add(p, f.offset)
		if f.empty|f.zero != never && (f.leftOut(f.empty, v) || f.leftOut(f.zero, v)) {
			continue
		}
		size := len(f.next)
		e.ensure(size + 16)
		store(e.b, e.n, f.nexts[0])
		store(e.b, e.n+8, f.nexts[1])
		if size > 16 {
			copy(e.b[e.n:], f.next)
		}
		e.n += size
		switch {
		case f.quoted:
			e.write(`"`)
			e.integer(f.enc, v)
			e.write(`"`)
		case f.enc == opString:
			if !e.text(*(*string)(v)) {
				return false
			}
		default:
			if !e.value(f.node, v) {
				return false
			}
		}
	}
	e.depth--
	if e.n == start {
		e.write("{}")
		return true
	}
	e.b[start] = '{' // in place of a comma
	e.write("}")
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
	e.ensure(2)
	e.byte('[')
	for i := range length {
		if i > 0 {
			e.ensure(1)
			e.byte(',')
		}
		if v := unsafe.Add(p, uintptr(i)*n.size); n.enc == opString {
			if !e.text(*(*string)(v)) {
				return false
			}
		} else if !e.value(n, v) {
			return false
		}
	}
	e.depth--
	e.ensure(1)
	e.byte(']')
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
		return e.null()
	}
	var entries []entry
	switch n.enc {
	case opMapString:
		entries = collect(*(*map[string]string)(p))
	case opMapAny:
		entries = collect(*(*map[string]any)(p))
	default:
		m := reflect.NewAt(n.typ, p).Elem()
		values := reflect.MakeSlice(n.elem.list, m.Len(), m.Len())
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
	e.write("{")
	for i, entry := range entries {
		if i > 0 {
			e.write(",")
		}
		if !e.text(entry.key) {
			return false
		}
		e.write(":")
		if !e.value(n, entry.value) {
			return false
		}
	}
	e.depth--
	e.write("}")
	return true
}

var anything = &node{enc: opAny, size: unsafe.Sizeof(any(nil))}

// any appends a value by its own type. Types that were not learnt are left to encoding/json.
func (e *encoder) any(v any) (ok bool) {
	switch v := v.(type) {
	case nil:
		return e.null()
	case string:
		return e.text(v)
	case float64:
		return e.float(v, 64)
	case int:
		e.int(int64(v))
	case int64:
		e.int(v)
	case bool:
		e.write(strconv.FormatBool(v))
	case map[string]any:
		if v == nil {
			return e.null()
		}
		return e.entries(anything, collect(v))
	case []any:
		if v == nil {
			return e.null()
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
	n := find(t)
	if n == nil || n.enc == opStd {
		return e.std(v)
	}
	copied := reflect.New(t)
	copied.Elem().Set(reflect.ValueOf(v))
	return e.value(n, copied.UnsafePointer())
}

const digits = "0123456789abcdef"

// text appends a string as JSON without escaping HTML. It gives up on text that is not UTF-8.
func (e *encoder) text(s string) bool {
	e.ensure(len(s) + 16)
	b, n := e.b, e.n
	b[n] = '"'
	n++
	size := len(s)
	src := unsafe.Slice(unsafe.StringData(s), size)
	switch {
	case size >= 8:
		i := 0
		for ; i+8 < size; i += 8 {
			w := load(src, i)
			if odd(w) != 0 {
				return e.textSlowly(src, i)
			}
			store(b, n+i, w)
		}
		i = size - 8 // again some of the bytes before
		w := load(src, i)
		if odd(w) != 0 {
			return e.textSlowly(src, 0)
		}
		store(b, n+i, w)
	case size >= 4:
		low, high := load32(src, 0), load32(src, size-4)
		w := uint64(low) | uint64(high)<<32
		if odd(w) != 0 {
			return e.textSlowly(src, 0)
		}
		store32(b, n, low)
		store32(b, n+size-4, high)
	case size > 0:
		first, middle, last := src[0], src[size>>1], src[size-1]
		w := uint64(first) | uint64(middle)<<8 | uint64(last)<<16 | 0x3030303030000000
		if odd(w) != 0 {
			return e.textSlowly(src, 0)
		}
		b[n], b[n+size>>1], b[n+size-1] = first, middle, last
	}
	b[n+size] = '"'
	e.n = n + size + 1
	return true
}

// textSlowly is text for strings with what has to be escaped, or other letters than ASCII's, from i on.
func (e *encoder) textSlowly(text []byte, i int) bool {
	b := append(e.b[:e.n], '"')
	from := 0
	for i < len(text) {
		if i+8 <= len(text) {
			w := load(text, i)
			m := odd(w)
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
				return false
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
	e.set(append(append(b, text[from:]...), '"'))
	return true
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
