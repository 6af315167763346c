// Package schema owns JSON Schema: it infers schemas from Go types, compiles a
// schema once and validates raw JSON against it.
//
// A schema is compiled when its action is registered, never per call. Remote
// references are refused: a schema is data from outside and must not make the
// process open a file or a connection. Use:
//
//	s, err := schema.Compile(raw)
//	…
//	if err := s.Validate(input); err != nil { … } // *ValidationError
//
// A *Schema is immutable and safe for concurrent use.
//
// # How
//
// santhosh-tekuri/jsonschema compiles a schema and words the faults of a document.
// Where it uses only common keywords of drafts 2020-12 and 7, it is compiled once
// more into a tree of nodes, and documents are checked in one pass over their
// bytes, building no values. The compiler's own validator does the rest: schemas
// with rare keywords, and the words for what was refused. Its verdict is the one
// that counts. docs/schema.md has the list, the figures and the reasons.
//
// # Refused documents
//
// Whatever the schema allows, a document, and the schema itself, must be
// one JSON value in valid UTF-8, nested at most [MaxDepth] deep; no object has the
// same key twice, once escapes are decoded, since the reader behind the check
// might take the other value; no number has more than 1000 characters or an
// exponent beyond ±1000. Inside these bounds numbers are compared exactly, however
// they are spelled: 1, 1.0 and 10e-1 are equal and integers. Half a surrogate pair
// is read as U+FFFD, as encoding/json does. [Check] and a schema that says nothing
// let repeated keys and any number pass: nothing was promised about them.
//
// Work is bounded by the document: 32 units for each byte and 65536 more, where a unit
// is one schema on one value, sixteen bytes of text, or four instructions of a regular
// expression; a quarter of that in the compiler's validator. A document that needs more
// is refused. A schema has at most 10000 subschemas, and 100000 instructions in its
// regular expressions.
package schema

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Limits of a schema and of a document.
const (
	// MaxSchemaBytes bounds the text of one schema.
	MaxSchemaBytes = 256 << 10
	// MaxDepth bounds the nesting of objects and arrays in a document or a
	// schema.
	MaxDepth = 256
)

// Schema is a compiled JSON Schema. The nil *Schema accepts every JSON value.
type Schema struct {
	raw      json.RawMessage
	compiled *jsonschema.Schema // nil when the schema accepts everything
	survey   *survey            // of compiled
	root     *node              // of the same schema, when fast
	fast     bool
	formats  bool // asserted in every draft

	demanding bool // it refuses something
	// The compilation that [Deferred] has put off; nil when it is done.
	pending func() error
	later   sync.Once // runs pending
	failed  error     // the error of that compilation

	twin    sync.Once // guards without
	without *Schema   // the same schema with formats as its draft has them
}

// rootURL names the schema during compilation; it can't be fetched.
const rootURL = "genkit://schema/root"

// ErrRemoteRef reports a reference that leaves the schema.
var ErrRemoteRef = errors.New("schema: references to other documents are not allowed; put the definition under $defs and refer to it as \"#/$defs/Name\"")

// Compile checks and compiles raw, a JSON Schema (draft 2020-12 unless $schema
// says otherwise). Nothing, null, true and {} give a schema that accepts every
// JSON value.
func Compile(raw json.RawMessage, options ...Option) (*Schema, error) {
	return compile(raw, noLoader{}, options)
}

// Option changes how a schema is compiled.
type Option func(*Schema)

// AssertFormats makes the keyword format refuse what it does not describe, in every
// draft. Without it only draft 7 does, and later drafts take it for an annotation, as
// they say. docs/schema.md lists the formats.
func AssertFormats() Option { return func(s *Schema) { s.formats = true } }

// Deferred leaves compiling to the first check, for a schema that was compiled before: one
// that is stored with a module, and perhaps never used. Compile itself finds then what is
// no schema at all, and the rest fails the checks.
func Deferred() Option { return func(s *Schema) { s.pending = func() error { return nil } } }

type contextKey struct{}

// WithoutFormats makes [Schema.In] leave formats to what the draft of a schema says,
// below ctx.
func WithoutFormats(ctx context.Context) context.Context {
	return context.WithValue(ctx, contextKey{}, true)
}

// In returns s as it is to be used in ctx: with its formats as [AssertFormats] has them,
// or as its draft has them where [WithoutFormats] asks for that.
func (s *Schema) In(ctx context.Context) *Schema {
	if s == nil || !s.formats || !s.demanding {
		return s
	}
	if off, _ := ctx.Value(contextKey{}).(bool); !off {
		return s
	}
	s.twin.Do(func() {
		var err error
		var options []Option
		if s.pending != nil {
			options = append(options, Deferred())
		}
		if s.without, err = compile(s.raw, noLoader{}, options); err != nil { // it was compiled before
			s.without = s
		}
	})
	return s.without
}

func compile(raw json.RawMessage, loader jsonschema.URLLoader, options []Option) (*Schema, error) {
	if len(raw) > MaxSchemaBytes {
		return nil, fmt.Errorf("schema: %d bytes exceed the limit of %d", len(raw), MaxSchemaBytes)
	}
	switch string(bytes.TrimSpace(raw)) {
	case "", "null":
		return nil, nil
	}
	if offset, err := scan(raw, true); err != nil {
		if errors.Is(err, errDuplicate) || errors.Is(err, errNumber) {
			return nil, fmt.Errorf("schema: %s: %w", pointer(place(raw, offset)), err)
		}
		return nil, fmt.Errorf("schema: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	s := &Schema{raw: bytes.Clone(raw)}
	for _, o := range options {
		o(s)
	}
	switch v := doc.(type) {
	case bool:
		if v {
			return s, nil
		}
	case map[string]any:
		if acceptsEverything(v) {
			return s, nil
		}
	default:
		return nil, errors.New("schema: want a JSON object or a boolean")
	}
	if err := modest(raw, doc); err != nil {
		return nil, fmt.Errorf("schema: %w", err)
	}
	s.demanding = true
	if s.pending == nil {
		if err := s.finish(doc, loader); err != nil {
			return nil, err
		}
		return s, nil
	}
	s.pending = func() error {
		err := s.finish(doc, loader)
		doc = nil // it is not needed any more
		return err
	}
	return s, nil
}

// finish makes of a checked document what checks need.
func (s *Schema) finish(doc any, loader jsonschema.URLLoader) (err error) {
	c := jsonschema.NewCompiler()
	c.UseLoader(loader)
	c.UseRegexpEngine(patterns())
	registerFormats(c)
	if s.formats {
		c.AssertFormat()
	}
	if err := c.AddResource(rootURL, doc); err != nil {
		return fmt.Errorf("schema: %w", err)
	}
	if s.compiled, err = c.Compile(rootURL); err != nil {
		return compileError(err)
	}
	s.survey = newSurvey(s.compiled)
	s.root, s.fast = build(s.compiled)
	return nil
}

// ready does the deferred compilation on the first caller's goroutine.
func (s *Schema) ready(ctx context.Context) error {
	if s.pending == nil {
		return nil
	}
	s.later.Do(func() {
		var p pace
		defer p.end()
		p.begin(ctx, 0)
		p.pause() // a caller who has left lets the next one find it done
		s.failed = s.pending()
	})
	return s.failed
}

// acceptsEverything reports whether only annotations are present, as in the
// {"$schema": …} that Genkit gives a tool without a schema.
func acceptsEverything(doc map[string]any) bool {
	for key := range doc {
		switch key {
		case "title", "description", "$comment", "examples", "default":
		case "$schema":
			switch doc[key] {
			case "http://json-schema.org/draft-07/schema#", "http://json-schema.org/draft-07/schema",
				"https://json-schema.org/draft/2020-12/schema", "https://json-schema.org/draft/2020-12/schema#":
			default:
				return false
			}
		default:
			return false
		}
	}
	return true
}

// noLoader refuses every document that is not part of the schema. The
// metaschemas of the drafts are built into the compiler and never reach it.
type noLoader struct{}

func (noLoader) Load(string) (any, error) { return nil, ErrRemoteRef }

func compileError(err error) error {
	if load, ok := errors.AsType[*jsonschema.LoadURLError](err); ok {
		return fmt.Errorf("schema: %q: %w", clip(strings.TrimPrefix(load.URL, "genkit://schema/")), ErrRemoteRef)
	}
	text := strings.ReplaceAll(err.Error(), rootURL, "")
	if invalid, ok := errors.AsType[*jsonschema.SchemaValidationError](err); ok {
		if v, ok := errors.AsType[*jsonschema.ValidationError](invalid.Err); ok {
			text = "not a valid JSON Schema: " + join(flatten(v))
		}
	}
	return errors.New("schema: " + text)
}

// Raw returns the schema's own text, or nil. The caller must not change it.
func (s *Schema) Raw() json.RawMessage {
	if s == nil {
		return nil
	}
	return s.raw
}

// Validate is [Schema.Check] for what has no caller who may leave.
func (s *Schema) Validate(raw json.RawMessage) error {
	return s.check(nil, raw) //nolint:staticcheck // no context: nothing ends it but its bound
}

// Check checks that raw is one well-formed JSON value (see the function [Check]) that
// obeys the schema and the bounds of the package comment. It returns a
// *ValidationError, keeps nothing of raw, and allocates nothing when raw is fine
// and the schema has only common keywords. It ends with ctx, whose error it returns, and
// pauses as [WithPacer] asks.
func (s *Schema) Check(ctx context.Context, raw json.RawMessage) error { return s.check(ctx, raw) }

func (s *Schema) check(ctx context.Context, raw json.RawMessage) error {
	if !s.Demanding() {
		if offset, err := scan(raw, false); err != nil {
			return s.refusal(raw, offset, err)
		}
		return nil
	}
	if err := s.ready(ctx); err != nil {
		return err
	}
	if !s.fast {
		return s.explain(ctx, raw, workFor(raw)/4, 0, errWork)
	}
	r := newReader(raw)
	defer r.free()
	r.budget, r.strict = r.pace.begin(ctx, workFor(raw)), true
	if r.document(s.root) {
		return nil
	}
	if r.pace.err != nil {
		return r.pace.err
	}
	if errors.Is(r.err, errWork) {
		return s.refusal(raw, 0, errWork)
	}
	if len(raw) > bytesToExplain {
		return s.refusal(raw, max(r.at, 0), errUnexplained)
	}
	return s.explain(ctx, raw, workToExplain, max(r.at, 0), errUnexplained)
}

// workToExplain bounds the work of listing all errors of a document; beyond it only the
// first is reported.
const workToExplain = 1 << 15

// bytesToExplain bounds the documents of which all that is wrong is said: building their
// values costs ten times the check that has refused them.
const bytesToExplain = 64 << 10

// bytesAtOnce is the length up to which a document's values are built without a pause.
const bytesAtOnce = 8 << 10

var errUnexplained = errors.New("does not match the schema; the document is too long, or its alternatives too many, to say more")

// explain asks the compiler's own validator for a verdict and its words. When that
// takes more than work, it reports what it was given for that case.
func (s *Schema) explain(ctx context.Context, raw json.RawMessage, work, at int, otherwise error) error {
	if offset, err := scan(raw, true); err != nil {
		return s.refusal(raw, offset, err)
	}
	var pace pace
	defer pace.end()
	first := pace.begin(ctx, work)
	if len(raw) > bytesAtOnce && !pace.pause() {
		return pace.err
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(raw))
	if err != nil {
		return s.refusal(raw, 0, err)
	}
	ok := s.survey.affordable(s.compiled, doc, first, &pace)
	switch {
	case pace.err != nil:
		return pace.err
	case !ok:
		return s.refusal(raw, at, otherwise)
	case work > chunk && !pace.pause(): // the validator is not interrupted
		return pace.err
	}
	if err := s.compiled.Validate(doc); err != nil {
		if v, ok := errors.AsType[*jsonschema.ValidationError](err); ok {
			return &ValidationError{Problems: flatten(v), schema: s.raw}
		}
		return s.refusal(raw, 0, err)
	}
	return nil
}

// refusal is the error for a text that is refused, with its place.
func (s *Schema) refusal(raw []byte, offset int, err error) error {
	v := &ValidationError{Problems: []Problem{{Path: rootPath, Message: err.Error()}}}
	if s.Demanding() {
		v.schema = s.raw
	}
	if errors.Is(err, errDuplicate) || errors.Is(err, errNumber) || errors.Is(err, errUnexplained) {
		v.Problems[0].Path = pointer(place(raw, offset))
	}
	return v
}

// Demanding reports whether the schema refuses anything at all.
func (s *Schema) Demanding() bool { return s != nil && s.demanding }
