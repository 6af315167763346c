// Package value holds the data that templates and front matter work on: JSON
// values that keep the order of their keys and the digits of their numbers.
//
// It owns reading and writing them, and JavaScript's view of a value: its
// text, its truth, its equality. A value is nil (null), [Undefined], bool,
// [Number], string, []any or *[Object]. Use:
//
//	v, err := value.Decode(raw)
//	text := value.Text(v)
//
// Values are not changed once they are made, and so safe for concurrent use.
package value

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxDepth bounds the nesting of objects and arrays.
const MaxDepth = 256

// Number is a JSON number as it was written.
type Number string

// Undefined is the result of looking up a path that does not exist.
type Undefined struct{}

// Object is a JSON object in the order of its keys.
type Object struct {
	keys   []string
	values []any
	index  map[string]int // nil up to maxLinear keys
}

// maxLinear is the number of keys up to which find searches the slice and needs no
// index.
const maxLinear = 8

// NewObject returns an empty object with room for n keys.
func NewObject(n int) *Object {
	return &Object{keys: make([]string, 0, n), values: make([]any, 0, n)}
}

// Set gives key a value, in its old place when it has one. It must not be called once
// the object is shared.
func (o *Object) Set(key string, v any) {
	if i, ok := o.find(key); ok {
		o.values[i] = v
		return
	}
	o.keys, o.values = append(o.keys, key), append(o.values, v)
	if o.index != nil {
		o.index[key] = len(o.keys) - 1
	} else if len(o.keys) > maxLinear {
		o.index = make(map[string]int, 2*maxLinear)
		for i, k := range o.keys {
			o.index[k] = i
		}
	}
}

func (o *Object) find(key string) (int, bool) {
	if o.index != nil {
		i, ok := o.index[key]
		return i, ok
	}
	for i, k := range o.keys {
		if k == key {
			return i, true
		}
	}
	return 0, false
}

// Get returns the value of key.
func (o *Object) Get(key string) (any, bool) {
	if o == nil {
		return nil, false
	}
	if i, ok := o.find(key); ok {
		return o.values[i], true
	}
	return nil, false
}

// Len returns how many keys there are.
func (o *Object) Len() int {
	if o == nil {
		return 0
	}
	return len(o.keys)
}

// At returns the ith key and its value.
func (o *Object) At(i int) (string, any) { return o.keys[i], o.values[i] }

// Merge returns a new object with the keys of o and over; for a key in both, the value
// of over is used. It is JavaScript's {...o, ...over}. Either may be nil.
func (o *Object) Merge(over *Object) *Object {
	merged := NewObject(o.Len() + over.Len())
	for i := range o.Len() {
		merged.Set(o.At(i))
	}
	for i := range over.Len() {
		merged.Set(over.At(i))
	}
	return merged
}

// Lookup returns JavaScript's own property key of v: a key of an object, an index or
// the length of an array or a text. It returns Undefined if there is none; inherited
// properties are not found.
func Lookup(v any, key string) any {
	switch v := v.(type) {
	case *Object:
		if found, ok := v.Get(key); ok {
			return found
		}
	case []any:
		if key == "length" {
			return Int(len(v))
		}
		if i, ok := arrayIndex(key); ok && i < len(v) {
			return v[i]
		}
	case string:
		if key == "length" {
			return Int(utf16Len(v))
		}
		if i, ok := arrayIndex(key); ok {
			return at(v, i)
		}
	}
	return Undefined{}
}

// arrayIndex reads the canonical spelling of an index.
func arrayIndex(key string) (int, bool) {
	if key == "" || len(key) > 9 || (len(key) > 1 && key[0] == '0') {
		return 0, false
	}
	n := 0
	for i := range len(key) {
		if key[i] < '0' || key[i] > '9' {
			return 0, false
		}
		n = n*10 + int(key[i]-'0')
	}
	return n, true
}

// at returns the character at UTF-16 index i, as JavaScript's s[i] does. It returns
// Undefined if i is out of range or is the second half of a surrogate pair.
func at(s string, i int) any {
	for _, r := range s {
		if i == 0 {
			return string(r)
		}
		if i--; r > 0xffff {
			i--
		}
		if i < 0 {
			break
		}
	}
	return Undefined{}
}

func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xffff {
			n++
		}
	}
	return n
}

// Int returns n as a number.
func Int(n int) Number { return Number(strconv.Itoa(n)) }

// Truthy reports whether v is true in a JavaScript condition.
func Truthy(v any) bool {
	switch v := v.(type) {
	case nil, Undefined:
		return false
	case bool:
		return v
	case string:
		return v != ""
	case Number:
		return !v.zero()
	}
	return true
}

// Empty reports whether Handlebars treats v as empty: a falsy value other than 0, or an array without elements.
func Empty(v any) bool {
	switch v := v.(type) {
	case Number:
		return false
	case []any:
		return len(v) == 0
	}
	return !Truthy(v)
}

// Missing reports whether v is null or undefined.
func Missing(v any) bool {
	switch v.(type) {
	case nil, Undefined:
		return true
	}
	return false
}

// Same reports whether a === b in JavaScript: numbers by their value, objects and
// arrays by identity.
func Same(a, b any) bool {
	switch a := a.(type) {
	case []any:
		other, ok := b.([]any)
		return ok && len(a) == len(other) && cap(a) > 0 && cap(other) > 0 && &a[:1][0] == &other[:1][0]
	case Number:
		other, ok := b.(Number)
		return ok && a.equal(other)
	}
	if _, array := b.([]any); array {
		return false
	}
	return a == b
}

func (n Number) zero() bool {
	f, err := strconv.ParseFloat(string(n), 64)
	return err == nil && f == 0
}

func (n Number) equal(other Number) bool {
	if n == other {
		return true
	}
	if n.whole() && other.whole() {
		return n.Text() == other.Text()
	}
	a, errA := strconv.ParseFloat(string(n), 64)
	b, errB := strconv.ParseFloat(string(other), 64)
	return errA == nil && errB == nil && a == b
}

// whole reports whether n is an integer without exponent.
func (n Number) whole() bool {
	return strings.Trim(strings.TrimPrefix(string(n), "-"), "0123456789") == ""
}

// Text returns n as JavaScript prints it, or unchanged when that would lose digits.
func (n Number) Text() string {
	if n.whole() {
		if n == "-0" {
			return "0"
		}
		return string(n)
	}
	f, err := strconv.ParseFloat(string(n), 64)
	if err != nil || digitsOf(string(n)) != digitsOf(strconv.FormatFloat(f, 'e', -1, 64)) {
		return string(n)
	}
	if f == 0 {
		return "0"
	}
	if abs := math.Abs(f); abs >= 1e21 || abs < 1e-6 {
		text := strconv.FormatFloat(f, 'e', -1, 64)
		base, exponent, _ := strings.Cut(text, "e")
		sign := exponent[:1]
		return base + "e" + sign + strings.TrimLeft(exponent[1:], "0")
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

// digitsOf returns the significant digits of a number.
func digitsOf(n string) string {
	mantissa, _, _ := strings.Cut(strings.ToLower(n), "e")
	return strings.Trim(strings.NewReplacer("-", "", ".", "").Replace(mantissa), "0")
}

// Text returns v as a template prints it: as JavaScript's String(v), but "" for null
// and undefined.
func Text(v any) string {
	switch v := v.(type) {
	case nil, Undefined:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case Number:
		return v.Text()
	case []any:
		var b strings.Builder
		appendArray(&b, v, 0)
		return b.String()
	case *Object:
		return "[object Object]"
	case interface{ String() string }:
		return v.String()
	}
	return ""
}

func appendArray(b *strings.Builder, list []any, depth int) {
	for i, v := range list {
		if i > 0 {
			b.WriteByte(',')
		}
		if inner, ok := v.([]any); ok && depth < MaxDepth {
			appendArray(b, inner, depth+1)
			continue
		}
		b.WriteString(Text(v))
	}
}

// Errors returned by Decode.
var (
	errDepth  = errors.New("the JSON is nested too deep")
	errSyntax = errors.New("not valid JSON")
	errNumber = errors.New("a number is too long")
)

// maxNumberLen bounds the length of a number in bytes.
const maxNumberLen = 1000

// validText replaces bytes that are not UTF-8.
func validText(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

// IsSpace reports whether JavaScript's String.trim removes r.
func IsSpace(r rune) bool {
	switch r {
	case ' ', '\t', '\n', '\v', '\f', '\r', 0xa0, 0x1680, 0x2028, 0x2029, 0x202f, 0x205f, 0x3000, 0xfeff:
		return true
	}
	return r >= 0x2000 && r <= 0x200a
}
