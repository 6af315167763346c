package schema

import (
	"encoding/json"
	"fmt"
	"reflect"
	"sync"

	"github.com/invopop/jsonschema"
)

// inferred and inferredOutputs map reflect.Type → inference; they are filled once per Go type of the program.
var inferred, inferredOutputs sync.Map

type inference struct {
	raw json.RawMessage
	err error
}

var rawMessageType = reflect.TypeFor[json.RawMessage]()

// Infer returns the JSON Schema of the Go type T, or nil when T says nothing about its
// shape (any, json.RawMessage, struct{}). The JSON that encoding/json writes for a T is
// valid against it, the zero value included: fields follow encoding/json; slices, maps and
// pointers inside T may be null unless omitempty or omitzero keeps a nil out. A type with
// methods of its own for JSON or text is a string where it writes text, a number for
// json.Number, *big.Int and similar types, and any value where the type does not tell.
//
// Descriptions come from the tag jsonschema_description, further keywords from the tag
// jsonschema (minimum=1,enum=a,enum=b,…; commas in a description stay), both in the
// form of github.com/invopop/jsonschema, whose methods JSONSchema, JSONSchemaExtend
// and JSONSchemaAlias count too. It panics on nothing: a type that JSON can't carry
// gives an error. The result is shared and must not be changed.
func Infer[T any]() (json.RawMessage, error) { return InferType(reflect.TypeFor[T]()) }

// InferOutput is [Infer] for what a T is written to: a nil slice, map or pointer is null
// at the root as well. Infer leaves that out, since a provider wants an object there.
func InferOutput[T any]() (json.RawMessage, error) {
	return InferOutputType(reflect.TypeFor[T]())
}

// InferOutputType is [InferOutput] for a type that is known at run time.
func InferOutputType(t reflect.Type) (json.RawMessage, error) {
	return cached(&inferredOutputs, t, func() (json.RawMessage, error) { return infer(t, true) })
}

// InferType is [Infer] for a type that is known at run time.
func InferType(t reflect.Type) (json.RawMessage, error) {
	return cached(&inferred, t, func() (json.RawMessage, error) { return infer(t, false) })
}

func cached(known *sync.Map, t reflect.Type, make func() (json.RawMessage, error)) (json.RawMessage, error) {
	if hit, ok := known.Load(t); ok {
		result, _ := hit.(inference)
		return result.raw, result.err
	}
	raw, err := make()
	known.Store(t, inference{raw, err})
	return raw, err
}

func infer(t reflect.Type, orNull bool) (raw json.RawMessage, err error) {
	if t == nil || t.Kind() == reflect.Interface || t == rawMessageType || (t.Kind() == reflect.Struct && t.NumField() == 0 && !hasMethods(t)) {
		return nil, nil
	}
	defer func() {
		if r := recover(); r != nil { // a method of the type's author
			raw, err = nil, fmt.Errorf("schema: infer %s: %v", t, r)
		}
	}()
	orNull = orNull && nilable(t)
	for t.Kind() == reflect.Pointer && !hasMethods(t.Elem()) && wellKnown(t) == nil {
		t = t.Elem() // the root is the type it points to, also when that contains itself
	}
	r := &reflector{names: map[reflect.Type]string{}, taken: map[string]bool{}, defs: jsonschema.Definitions{}}
	s, err := r.inline(t)
	if err != nil {
		return nil, fmt.Errorf("schema: infer %s: %w", t, err)
	}
	if orNull {
		s = nullable(s)
	}
	if len(r.defs) > 0 {
		s.Definitions = r.defs
	}
	s.Version = ""
	if raw, err = json.Marshal(s); err != nil {
		return nil, fmt.Errorf("schema: infer %s: %w", t, err)
	}
	if string(raw) == "true" {
		return nil, nil
	}
	return raw, nil
}
