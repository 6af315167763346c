package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/invopop/jsonschema"
)

var inferred sync.Map // reflect.Type → inference; filled once per Go type of the program

type inference struct {
	raw json.RawMessage
	err error
}

var rawMessageType = reflect.TypeFor[json.RawMessage]()

// Infer returns the JSON Schema of the Go type T, or nil when T says nothing
// about its shape (any, json.RawMessage, struct{}). Fields follow encoding/json;
// descriptions come from the tag jsonschema_description, further keywords from
// the tag jsonschema. It panics on nothing: a type that JSON can't carry gives an
// error. The result is shared and must not be changed.
func Infer[T any]() (json.RawMessage, error) { return InferType(reflect.TypeFor[T]()) }

// InferType is [Infer] for a type that is known at run time.
func InferType(t reflect.Type) (json.RawMessage, error) {
	if cached, ok := inferred.Load(t); ok {
		result, _ := cached.(inference)
		return result.raw, result.err
	}
	raw, err := infer(t)
	inferred.Store(t, inference{raw, err})
	return raw, err
}

func infer(t reflect.Type) (raw json.RawMessage, err error) {
	if t == nil || t.Kind() == reflect.Interface || t == rawMessageType || (t.Kind() == reflect.Struct && t.NumField() == 0) {
		return nil, nil
	}
	switch t.Kind() {
	case reflect.Func, reflect.Chan, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return nil, fmt.Errorf("schema: %s can't be JSON", t)
	}
	defer func() {
		if r := recover(); r != nil { // the reflector panics on types that JSON can't carry
			raw, err = nil, fmt.Errorf("schema: infer %s: %v", t, r)
		}
	}()
	reflector := &jsonschema.Reflector{
		Anonymous:      true,
		DoNotReference: !recursive(t, nil),
		Mapper: func(ft reflect.Type) *jsonschema.Schema {
			if ft == rawMessageType {
				return &jsonschema.Schema{}
			}
			return nil
		},
	}
	s := reflector.ReflectFromType(t)
	s.Version = ""
	if raw, err = json.Marshal(s); err != nil {
		return nil, fmt.Errorf("schema: infer %s: %w", t, err)
	}
	return raw, nil
}

// recursive reports whether t contains itself, so that it needs $defs.
func recursive(t reflect.Type, path []reflect.Type) bool {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice || t.Kind() == reflect.Array || t.Kind() == reflect.Map {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	if slices.Contains(path, t) {
		return true
	}
	path = append(path, t)
	for f := range t.Fields() {
		if f.IsExported() && recursive(f.Type, path) {
			return true
		}
	}
	return false
}
