// Package handlebars parses and renders templates: the Handlebars language as
// dotprompt uses it, without HTML escaping and with known helpers only.
//
// It owns the syntax (handlebars.js 4.7: blocks, else chains, block parameters,
// partials, partial blocks, inline partials, sub-expressions, data variables, raw
// blocks, white space control, standalone lines), the built-in helpers, and the
// bounds of a rendering. Rendering makes a list of pieces: text, and marks such as
// "here begins a system message". A mark is never text, so that no text can be taken
// for one. Use:
//
//	t, err := handlebars.Parse("Hello {{name}}!")
//	pieces, err := t.Render(ctx, handlebars.Env{}, data)
//
// A *Template is immutable and safe for concurrent use.
//
// # From text to pieces
//
//	source ── parse.go ──► tree of nodes ── whitespace.go ──► texts trimmed ── render.go ──► pieces
//
// Parse does the first two steps once. Render walks the tree with a scope, which says what names
// mean at the present place, and counts each node that it visits; so a rendering ends, however its
// blocks, partials and helpers call each other. Nothing is compiled to closures: a tree that is
// walked is easy to count and to bound.
//
// # Differences from handlebars.js
//
// Output is not escaped for HTML. A name with parameters must be that of a known helper. Decorators
// other than inline, and the hooks helperMissing and blockHelperMissing, do not exist. Properties
// of prototypes do not exist either. Where behaviour is copied from handlebars.js 4.7, the comment
// names it; docs/prompts.md lists the specification and the differences.
package handlebars

import (
	"fmt"
	"strings"
)

// Limits of a template and of a rendering. Exceeding one of them is a [*LimitError].
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
	// MaxOutput bounds the output of one rendering, in bytes.
	MaxOutput = 32 << 20
	// MaxMarks bounds how many marks one rendering may write.
	MaxMarks = 10000
)

// LimitError reports a limit that was exceeded.
type LimitError struct {
	What  string
	Limit int
}

// Error names the limit and its value.
func (e *LimitError) Error() string { return fmt.Sprintf("%s: the limit is %d", e.What, e.Limit) }

// Error reports a fault in a template, and its line.
type Error struct {
	Partial string // the partial's name, "" for the template itself
	Line    int    // from 1
	Err     error
}

// Error begins with the place: the partial, if the fault is in one, and the line.
func (e *Error) Error() string {
	if e.Partial != "" {
		return fmt.Sprintf("partial %q, line %d: %v", e.Partial, e.Line, e.Err)
	}
	return fmt.Sprintf("line %d: %v", e.Line, e.Err)
}

// Unwrap returns the fault without the place.
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

// node is one of textNode, mustacheNode, commentNode, blockNode and partialNode. A node is not
// changed after Parse has returned.
type node interface{ where() int }

// line is the line of the source, from 1, on which a node begins.
type line int

// where implements node.
func (l line) where() int { return int(l) }

// strip says on which sides a tag has "~": {{~x}} has open, {{x~}} close.
type strip struct{ open, close bool }

// textNode is text between tags. original is the text of the source, by which standalone tags are
// recognised; value is what white space control has left of it, and what is rendered. The flags are
// set when white space was removed on that side (handlebars.js has the same two).
type textNode struct {
	line
	value, original             string
	leftStripped, rightStripped bool
}

// mustacheNode is {{…}}, {{{…}}} or {{&…}}, which are the same without escaping: a value is rendered.
type mustacheNode struct {
	line
	strip strip
	call  call
}

// commentNode is {{! … }} or {{!-- … --}}. It renders nothing, but may stand alone on its line.
type commentNode struct {
	line
	strip strip
}

// blockNode is {{#…}}, {{^…}}, a raw block or an {{#*inline}}. program is rendered when the condition
// holds (for a plain path: when the value is there), inverse otherwise; {{^…}} has them swapped. An
// {{else if …}} is an inverse with one blockNode in it, marked as chained.
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

// call is the content of a tag or of parentheses: a path, or a helper's name with parameters. Whether
// {{name}} is a helper or a value of the context is decided when it is rendered, since it depends on
// the helpers that are registered.
type call struct {
	line
	path   path
	params []operand
	hash   []pair
	known  builtin // 0 for a name that is not built in
}

// pair is name=value in a call.
type pair struct {
	name  string
	value operand
}

// operand is a parameter: a path, a sub-expression or, when both are nil, a literal. The literal nil is
// null.
type operand struct {
	literal any
	path    *path
	sub     *call
}

// path leads from a context to a value: ../a/b has depth 1 and the parts a, b. With data it leads from the
// variables: @root.a has the parts root, a.
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

// lineOf returns the line of an offset. It counts from the beginning, and is for errors.
func lineOf(src string, at int) line { return line(1 + strings.Count(src[:min(at, len(src))], "\n")) }
