package schema

import (
	"encoding/json"
	"errors"
)

// Loader gives a test the documents that Compile refuses to fetch.
type Loader func(url string) (any, error)

func (l Loader) Load(url string) (any, error) { return l(url) }

// CompileWith is Compile with remote documents.
func CompileWith(raw json.RawMessage, load Loader, options ...Option) (*Schema, error) {
	return compile(raw, load, options)
}

// Fast reports whether the schema has a fast form.
func (s *Schema) Fast() bool { return s != nil && s.fast }

// ErrWork, ErrNumber and ErrTwice are reasons of a refusal.
var (
	ErrWork   = errWork
	ErrNumber = errNumber
	ErrTwice  = errDuplicate
)

// ValidateFast is the verdict of the fast form alone.
func (s *Schema) ValidateFast(raw json.RawMessage) error {
	r := newReader(raw)
	defer r.free()
	r.budget, r.strict = workFor(raw), true
	switch {
	case r.document(s.root):
		return nil
	case r.err != nil:
		return r.err
	}
	return errors.New("does not match")
}

// ValidateSlow is the verdict of the compiler's own validator alone.
func (s *Schema) ValidateSlow(raw json.RawMessage) error {
	slow := &Schema{raw: s.raw, compiled: s.compiled, survey: s.survey, demanding: s.demanding}
	return slow.Validate(raw)
}

// Strict is the part of a validation that needs no schema.
func Strict(raw json.RawMessage) error {
	_, err := scan(raw, true)
	return err
}
