package schema

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// CheckUnique is [Check] that also refuses an object with the same key twice, at any
// depth, once escapes are decoded: readers differ in which of the two counts, so what one
// has checked is not what another acts on.
func CheckUnique(raw json.RawMessage) error {
	r := newReader(raw)
	defer r.free()
	r.budget, r.oneKey = math.MaxInt, true
	if r.document(nil) {
		return nil
	}
	if !utf8.Valid(raw) {
		return ErrUTF8
	}
	return r.err
}

// Unknown is the choice of [Decode] for a member that its target has no field for.
type Unknown bool

// The ways. A member that differs from a field in the case of its letters alone is refused
// by both: encoding/json would take it for the field.
const (
	RefuseUnknown Unknown = false
	IgnoreUnknown Unknown = true
)

// Decode reads one JSON value into what v points to, as encoding/json does but strictly:
// names match in their exact case, no object has a name twice, the text is valid UTF-8
// and ends after the value, and numbers fit. A whole number may be written as 3.0 or 3e0,
// which are 3 for JSON Schema too. It is what everything goes through that says
// what somebody may do: policies, quotas, descriptors, guests' requests.
//
// The error names the member and what was wanted, such as
//
//	"limits.feul" is not known here; want "timeoutMs", "fuel", …
//	"grants.kv" is a string, want true or false
//
// and holds no other text of the document than names, quoted and cut short. A type that
// decodes itself (json.Unmarshaler) answers for what is in it.
func Decode(raw json.RawMessage, v any, unknown Unknown) error {
	if err := CheckUnique(raw); err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber() // no number is read here, so none can fail
	w := walk{dec: dec, unknown: unknown}
	if err := w.value(reflect.TypeOf(v).Elem()); err != nil {
		return err
	}
	if err := json.Unmarshal(w.rewrite(raw), v); err != nil {
		return mismatch(err)
	}
	return nil
}

// plain returns the digits of a number that is whole as JSON Schema has it, but is not
// written so, such as 3.0 or 1e3.
func plain(number json.Number) (string, bool) {
	const most = 32 // characters; no whole number that fits an int64 needs as many
	text := []byte(number)
	i := bytes.IndexAny(text, "eE")
	if len(text) > most || !bytes.ContainsAny(text, ".eE") || (i >= 0 && !exponentFits(bytes.TrimLeft(text[i+1:], "+-"))) {
		return "", false
	}
	d := literal{text: text}.parse()
	if !d.integral() || d.point > most {
		return "", false
	}
	digits := make([]byte, 0, most+1)
	if d.neg {
		digits = append(digits, '-')
	}
	for i := range d.point {
		digits = append(digits, d.digit(i))
	}
	if d.len() == 0 {
		digits = append(digits, '0')
	}
	return string(digits), true
}

// rewrite returns the document with the whole numbers that plain has found.
func (w *walk) rewrite(raw json.RawMessage) json.RawMessage {
	if len(w.whole) == 0 {
		return raw
	}
	out, copied := make([]byte, 0, len(raw)), 0
	for _, n := range w.whole {
		out = append(append(out, raw[copied:n.start]...), n.digits...)
		copied = n.end
	}
	return append(out, raw[copied:]...)
}

// mismatch names the member that has a value of the wrong type, and the type that was wanted.
func mismatch(err error) error {
	wrong, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		if own, told := errors.AsType[*status.Error](err); told && own.Public() { // of a type that reads itself
			return errors.New(own.Message)
		}
		return errors.New("a value does not fit")
	}
	got, _, _ := strings.Cut(wrong.Value, " ") // "number 1e400": which one is the caller's
	switch got {
	case "bool":
		got = "true or false"
	case "object", "array":
		got = "an " + got
	default:
		got = "a " + got
	}
	if wrong.Field == "" {
		return fmt.Errorf("the value is %s, want %s", got, kindName(wrong.Type))
	}
	return fmt.Errorf("%s is %s, want %s", quoted(wrong.Field), got, kindName(wrong.Type))
}

// kindName returns the name of a Go type's JSON form, for errors.
func kindName(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a string"
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return "a whole number"
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return "a whole number from 0"
	case reflect.Float32, reflect.Float64:
		return "a number"
	case reflect.Slice, reflect.Array:
		return "an array"
	case reflect.Map, reflect.Struct:
		return "an object"
	case reflect.Pointer:
		return kindName(t.Elem())
	}
	return "another type"
}

// quoted writes a name of the document so that it can't deceive readers.
func quoted(name string) string {
	const most = 80
	if len(name) > most {
		name = strings.ToValidUTF8(name[:most], "") + "…"
	}
	return strconv.QuoteToGraphic(name)
}

// walk goes through a checked document and its target's type side by side.
type walk struct {
	dec     *json.Decoder
	unknown Unknown
	path    []string
	whole   []wholeNumber
}

// wholeNumber is a number of the document and the digits that encoding/json reads for it.
type wholeNumber struct {
	start, end int
	digits     string
}

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (w *walk) value(t reflect.Type) error {
	if t != nil {
		for t.Kind() == reflect.Pointer {
			t = t.Elem()
		}
		if reflect.PointerTo(t).Implements(unmarshaler) {
			t = nil
		}
	}
	if t == nil { // nothing in here is ours
		var skipped json.RawMessage
		return w.dec.Decode(&skipped)
	}
	token, err := w.dec.Token()
	if err != nil {
		return err
	}
	switch token {
	case json.Delim('{'):
		return w.object(t)
	case json.Delim('['):
		return w.array(t)
	}
	if number, ok := token.(json.Number); ok && t.Kind() >= reflect.Int && t.Kind() <= reflect.Uint64 {
		if digits, ok := plain(number); ok {
			end := int(w.dec.InputOffset())
			w.whole = append(w.whole, wholeNumber{end - len(number), end, digits})
		}
	}
	return nil
}

func (w *walk) array(t reflect.Type) error {
	var of reflect.Type
	if t.Kind() == reflect.Slice || t.Kind() == reflect.Array {
		of = t.Elem()
	}
	for w.dec.More() {
		if err := w.value(of); err != nil {
			return err
		}
	}
	_, err := w.dec.Token()
	return err
}

func (w *walk) object(t reflect.Type) error {
	var fields map[string]reflect.Type
	if t.Kind() == reflect.Struct {
		fields = namesOf(t)
	}
	for w.dec.More() {
		token, err := w.dec.Token()
		if err != nil {
			return err
		}
		name, _ := token.(string)
		w.path = append(w.path, name)
		var of reflect.Type
		switch {
		case fields != nil:
			if of, err = w.field(fields, name); err != nil {
				return err
			}
		case t.Kind() == reflect.Map:
			of = t.Elem()
		}
		if err := w.value(of); err != nil {
			return err
		}
		w.path = w.path[:len(w.path)-1]
	}
	_, err := w.dec.Token()
	return err
}

// field returns the type of a member, nil for one that is to be ignored.
func (w *walk) field(fields map[string]reflect.Type, name string) (reflect.Type, error) {
	if t, ok := fields[name]; ok {
		return t, nil
	}
	for known := range fields {
		if strings.EqualFold(known, name) {
			return nil, fmt.Errorf("%s is not known here; want %q", quoted(strings.Join(w.path, ".")), known)
		}
	}
	if w.unknown == IgnoreUnknown {
		return nil, nil
	}
	names := slices.Sorted(maps.Keys(fields))
	for i, known := range names {
		names[i] = strconv.Quote(known)
	}
	return nil, fmt.Errorf("%s is not known here; want %s", quoted(strings.Join(w.path, ".")), strings.Join(names, ", "))
}

// namesOf returns the members that encoding/json reads into a struct, those of embedded
// structs included.
func namesOf(t reflect.Type) map[string]reflect.Type {
	names := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || (!f.IsExported() && !f.Anonymous):
		case f.Anonymous && name == "":
			inner := f.Type
			if inner.Kind() == reflect.Pointer {
				inner = inner.Elem()
			}
			if inner.Kind() == reflect.Struct {
				for n, of := range namesOf(inner) {
					if _, taken := names[n]; !taken {
						names[n] = of
					}
				}
			}
		case name == "":
			names[f.Name] = f.Type
		default:
			names[name] = f.Type
		}
	}
	return names
}
