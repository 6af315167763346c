// Package handlebars parses and renders templates: the Handlebars language as
// dotprompt uses it, without HTML escaping and with known helpers only.
//
// It owns the syntax (handlebars.js 4.7: blocks, else chains, block parameters,
// partials, partial blocks, inline partials, sub-expressions, data variables, raw
// blocks, white space control, standalone lines), the built-in helpers, and the
// bounds of a rendering. What it renders is a list of pieces: text, and marks such as
// "here begins a system message". A mark is never text, so that no text can be taken
// for one. Use:
//
//	t, err := handlebars.Parse("Hello {{name}}!")
//	pieces, err := t.Render(ctx, handlebars.Env{}, data)
//
// A *Template is immutable and safe for concurrent use.
package handlebars

import (
	"fmt"
	"strings"
)

// Limits of a template and of a rendering. What exceeds one of them fails with a
// [*LimitError].
const (
	// MaxBytes bounds the source of one template.
	MaxBytes = 256 << 10
	// MaxNesting bounds blocks inside blocks and sub-expressions inside those.
	MaxNesting = 64
	// MaxPartials bounds partials inside partials, themselves included.
	MaxPartials = 64
	// MaxSteps bounds the work of one rendering: each node of the tree counts once
	// each time it is rendered.
	MaxSteps = 1 << 20
	// MaxOutput bounds what one rendering may write, in bytes.
	MaxOutput = 32 << 20
	// MaxMarks bounds how many marks one rendering may write.
	MaxMarks = 10000
)

// LimitError reports a limit that was exceeded.
type LimitError struct {
	What  string
	Limit int
}

func (e *LimitError) Error() string { return fmt.Sprintf("%s: the limit is %d", e.What, e.Limit) }

// Error reports what is wrong with a template and where.
type Error struct {
	Partial string // the partial's name, "" for the template itself
	Line    int    // from 1
	Err     error
}

func (e *Error) Error() string {
	if e.Partial != "" {
		return fmt.Sprintf("partial %q, line %d: %v", e.Partial, e.Line, e.Err)
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

// Unwrap returns what is wrong, without the place.
func (e *Error) Unwrap() error { return e.Err }

// Template is a parsed template. Make one with [Parse].
type Template struct {
	root *program
	size int
}

// program is a list of nodes with the names of the block's parameters.
type program struct {
	body    []node
	params  []string
	chained bool         // made of an {{else if}}
	inlines []*blockNode // {{#*inline}} in body, which are known in all of it
}

type node interface{ where() int }

type line int

func (l line) where() int { return int(l) }

type strip struct{ open, close bool }

// textNode is text between tags; value is what white space control leaves of it.
type textNode struct {
	line
	value, original             string
	leftStripped, rightStripped bool
}

type mustacheNode struct {
	line
	strip strip
	call  call
}

type commentNode struct {
	line
	strip strip
}

// blockNode is {{#…}}, {{^…}}, a raw block or an {{#*inline}}.
type blockNode struct {
	line
	call                                call
	program, inverse                    *program
	openStrip, inverseStrip, closeStrip strip
	decorator                           bool
}

// partialNode is {{> …}} or, with a program, {{#> …}}.
type partialNode struct {
	line
	name       operand // a literal text when the name is static
	context    *operand
	hash       []pair
	indent     string
	strip      strip // of the tag, or of the opening one
	program    *program
	closeStrip strip
}

// call is what stands in a tag or in parentheses: a path, and, when it is a helper's
// name, its parameters.
type call struct {
	line
	path   path
	params []operand
	hash   []pair
	known  builtin // 0 for a name that is not built in
}

type pair struct {
	name  string
	value operand
}

// operand is a parameter: a literal, a path or a sub-expression.
type operand struct {
	literal any
	path    *path
	sub     *call
}

// path leads from a context, or with data from the variables, to a value.
type path struct {
	original string
	parts    []string
	depth    int // how often ".." begins it
	data     bool
	scoped   bool // begins with "./" or "this": never a helper's name
}

// simple reports a name that could be a helper's.
func (p *path) simple() bool { return len(p.parts) == 1 && !p.scoped && p.depth == 0 && !p.data }

// builtin names a helper that is part of the language or of dotprompt.
type builtin int

const (
	userDefined builtin = iota
	helperIf
	helperUnless
	helperEach
	helperWith
	helperLookup
	helperLog
	helperJSON
	helperRole
	helperHistory
	helperSection
	helperMedia
	helperIfEquals
	helperUnlessEquals
)

var builtins = map[string]builtin{
	"if": helperIf, "unless": helperUnless, "each": helperEach, "with": helperWith, "lookup": helperLookup, "log": helperLog,
	"json": helperJSON, "role": helperRole, "history": helperHistory, "section": helperSection, "media": helperMedia,
	"ifEquals": helperIfEquals, "unlessEquals": helperUnlessEquals,
}

// Builtin reports whether a helper's name is taken by the language or by dotprompt.
func Builtin(name string) bool {
	switch name {
	case "helperMissing", "blockHelperMissing":
		return true
	}
	return builtins[name] != userDefined
}

func lineOf(src string, at int) line { return line(1 + strings.Count(src[:min(at, len(src))], "\n")) }
