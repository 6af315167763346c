// Package rawjson reads and writes JSON objects that must survive a round trip:
// fields that a Go type does not know are kept, as are the empty ones that it
// would leave out; numbers keep their digits and nothing is escaped for HTML.
//
// A wire type carries its unknown fields in a map and forwards to this package:
//
//	type plain Media // the same fields without the methods
//	func (m *Media) UnmarshalJSON(b []byte) (err error) {
//		m.Extra, err = rawjson.Unmarshal(b, (*plain)(m))
//		return err
//	}
//	func (m Media) MarshalJSON() ([]byte, error) { return rawjson.Marshal(plain(m), m.Extra) }
//
// Everything here is safe for concurrent use.
package rawjson

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
)

// Unmarshal decodes the object data into the struct that v points to and
// returns what the struct can't give back: the fields it does not have, and those
// whose value its omitempty and omitzero tags would leave out ("", false, null).
// It returns nil when there are none. Names match in their exact case only, as
// every other reader of the wire format does it.
func Unmarshal(data []byte, v any) (map[string]json.RawMessage, error) {
	if !isObject(data) {
		if string(bytes.TrimSpace(data)) == "null" {
			return nil, nil
		}
		return nil, errors.New("want a JSON object")
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	target := reflect.ValueOf(v).Elem()
	known := fieldsOf(target.Type())
	exact, err := onlyExact(data, all, known)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(exact, v); err != nil {
		return nil, err
	}
	for key := range all {
		if f, ok := known[key]; ok && f.written(target) {
			delete(all, key)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
}

// onlyExact returns data without the names that encoding/json would take for a
// known one in another case.
func onlyExact(data []byte, all map[string]json.RawMessage, known map[string]field) ([]byte, error) {
	var kept map[string]json.RawMessage
	for key := range all {
		if _, ok := known[key]; ok || !foldsToKnown(key, known) {
			continue
		}
		if kept == nil {
			kept = maps.Clone(all)
		}
		delete(kept, key)
	}
	if kept == nil {
		return data, nil
	}
	return json.Marshal(kept)
}

func foldsToKnown(key string, known map[string]field) bool {
	for name := range known {
		if strings.EqualFold(key, name) {
			return true
		}
	}
	return false
}

func isObject(data []byte) bool {
	trimmed := bytes.TrimLeft(data, " \t\r\n")
	return len(trimmed) > 0 && trimmed[0] == '{'
}

// Marshal encodes the struct v and adds extra, in the order of its keys. A key
// that v wrote already is not written again.
func Marshal(v any, extra map[string]json.RawMessage) ([]byte, error) {
	out, err := Encode(v)
	if err != nil || len(extra) == 0 {
		return out, err
	}
	source := reflect.ValueOf(v)
	known := fieldsOf(source.Type())
	out = out[:len(out)-1]
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		if f, ok := known[key]; ok && f.written(source) {
			continue
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		name, err := Encode(key)
		if err != nil {
			return nil, err
		}
		if !json.Valid(extra[key]) {
			return nil, fmt.Errorf("field %q is not valid JSON", key)
		}
		out = append(append(append(out, name...), ':'), extra[key]...)
	}
	return append(out, '}'), nil
}

// Encode is json.Marshal without the escaping for HTML.
func Encode(v any) ([]byte, error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return nil, err
	}
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n")), nil
}

var fieldCache sync.Map // reflect.Type → map[string]field; only ever grows by the program's own types

// field is one known name of a struct.
type field struct {
	index     int
	omitEmpty bool
	omitZero  bool
}

// written reports whether encoding/json writes the field of v.
func (f field) written(v reflect.Value) bool {
	value := v.Field(f.index)
	if f.omitZero && value.IsZero() {
		return false
	}
	return !f.omitEmpty || !empty(value)
}

// empty reports whether encoding/json calls a value empty.
func empty(v reflect.Value) bool {
	switch v.Kind() {
	case reflect.Array, reflect.Map, reflect.Slice, reflect.String:
		return v.Len() == 0
	case reflect.Struct:
		return false
	}
	return v.IsZero()
}

func fieldsOf(t reflect.Type) map[string]field {
	if cached, ok := fieldCache.Load(t); ok {
		fields, _ := cached.(map[string]field)
		return fields
	}
	fields := map[string]field{}
	for i := range t.NumField() {
		options := strings.Split(t.Field(i).Tag.Get("json"), ",")
		if options[0] != "" && options[0] != "-" {
			fields[options[0]] = field{
				index:     i,
				omitEmpty: slices.Contains(options[1:], "omitempty"),
				omitZero:  slices.Contains(options[1:], "omitzero"),
			}
		}
	}
	fieldCache.Store(t, fields)
	return fields
}
