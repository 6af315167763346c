// Package rawjson reads and writes JSON objects that must survive a round trip:
// fields that a Go type does not know are kept, numbers keep their digits and
// nothing is escaped for HTML.
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
// returns the fields that the struct does not have, or nil when there are none.
func Unmarshal(data []byte, v any) (map[string]json.RawMessage, error) {
	if !isObject(data) {
		if string(bytes.TrimSpace(data)) == "null" {
			return nil, nil
		}
		return nil, errors.New("want a JSON object")
	}
	if err := json.Unmarshal(data, v); err != nil {
		return nil, err
	}
	all := map[string]json.RawMessage{}
	if err := json.Unmarshal(data, &all); err != nil {
		return nil, err
	}
	known := fieldNames(reflect.TypeOf(v).Elem())
	for key := range all {
		if known[strings.ToLower(key)] {
			delete(all, key)
		}
	}
	if len(all) == 0 {
		return nil, nil
	}
	return all, nil
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
	known := fieldNames(reflect.TypeOf(v))
	out = out[:len(out)-1]
	for _, key := range slices.Sorted(maps.Keys(extra)) {
		if known[strings.ToLower(key)] {
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

var fieldCache sync.Map // reflect.Type → map[string]bool; only ever grows by the program's own types

func fieldNames(t reflect.Type) map[string]bool {
	if cached, ok := fieldCache.Load(t); ok {
		names, _ := cached.(map[string]bool)
		return names
	}
	names := map[string]bool{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name != "" && name != "-" {
			names[strings.ToLower(name)] = true
		}
	}
	fieldCache.Store(t, names)
	return names
}
