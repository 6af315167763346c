package handlebars

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// Parse reads a template. It fails with an [*Error] that tells the line.
func Parse(src string) (*Template, error) {
	if len(src) > MaxBytes {
		return nil, &LimitError{"a template is too long, in bytes", MaxBytes}
	}
	if !utf8.ValidString(src) {
		return nil, &Error{Line: 1, Err: errors.New("the template is not UTF-8")}
	}
	p := &parser{src: src}
	root, end, err := p.program(0)
	if err == nil && end.kind != endOfFile {
		err = p.errorf(end.at, "%s closes nothing", end.shown())
	}
	if err != nil {
		return nil, err
	}
	// White space control needs the whole tree, since a tag looks at the texts on both sides.
	w := whitespace{}
	w.program(root, true)
	return &Template{root: root, size: len(src)}, nil
}

// parser reads a template from left to right by recursive descent, without a separate lexer: what a
// character means depends on whether it stands in text, in a tag or in a raw block.
//
// A method that reads something begins at p.at and leaves p.at behind it. start, where a method has
// it, is the offset of the tag, which errors name. Methods that only look whether something is there
// restore p.at when it is not.
type parser struct {
	src   string
	at    int // offset of the next byte to be read
	lines int // line breaks before seen
	seen  int // offset up to which line breaks have been counted
}

// line returns the line of an offset. It counts on from the offset of the call before, since most calls go
// forward: counting from the beginning each time would take the square of the source's length.
func (p *parser) line(at int) line {
	if at < p.seen {
		return lineOf(p.src, at)
	}
	p.lines += strings.Count(p.src[p.seen:at], "\n")
	p.seen = at
	return line(p.lines + 1)
}

// errorf makes an error with the line of an offset.
func (p *parser) errorf(at int, format string, args ...any) error {
	return &Error{Line: int(lineOf(p.src, at)), Err: fmt.Errorf(format, args...)}
}

// ending is the tag that ended a list of nodes, or the end of the source.
type ending struct {
	kind  endKind
	at    int
	strip strip
	name  string // of a closing tag
}

// endKind is the kind of tag that ends a program, or the end of the source.
type endKind int

const (
	endOfFile  endKind = iota
	endClose           // {{/name}}
	endInverse         // {{else}}, {{^}}
	endChain           // {{else …: the parser has read the else
)

// shown is the ending as an error names it.
func (e ending) shown() string {
	switch e.kind {
	case endClose:
		return "{{/" + e.name + "}}"
	case endInverse, endChain:
		return "{{else}}"
	}
	return "the end of the template"
}

// program reads nodes up to the tag that ends them, which it returns; the caller decides whether that tag is
// the right one. depth counts the programs around it and is bounded, because each is a few frames on
// Go's stack, here and in Render.
func (p *parser) program(depth int) (*program, ending, error) {
	prog := &program{}
	if depth > MaxNesting {
		return nil, ending{}, &Error{Line: int(lineOf(p.src, p.at)), Err: &LimitError{"blocks are nested too deep", MaxNesting}}
	}
	for {
		if !p.text(prog) {
			return prog, ending{kind: endOfFile, at: p.at}, nil
		}
		end, err := p.tag(prog, depth)
		if err != nil {
			return nil, ending{}, err
		}
		if end != nil {
			return prog, *end, nil
		}
	}
}

// text reads up to the next tag, and reports whether there is one. As in
// handlebars.js, "\{{" is the text "{{" and what follows it up to the next tag, and
// "\\{{" is one backslash before a tag.
func (p *parser) text(prog *program) bool {
	for {
		start := p.at
		i := strings.Index(p.src[start:], "{{")
		if i < 0 {
			p.add(prog, start, p.src[start:])
			p.at = len(p.src)
			return false
		}
		open := start + i
		// Backslashes before the tag decide: two are one backslash and a tag, one makes the tag text.
		switch before := p.src[start:open]; {
		case strings.HasSuffix(before, `\\`):
			p.add(prog, start, before[:len(before)-1])
			p.at = open
			return true
		case strings.HasSuffix(before, `\`):
			p.add(prog, start, before[:len(before)-1])
			p.at = open + p.escaped(open)
			p.add(prog, open, p.src[open:p.at])
			continue
		default:
			p.add(prog, start, before)
			p.at = open
			return true
		}
	}
}

// escaped returns how long the text is that an escaped tag begins: up to the next tag,
// with its backslashes if it has some.
func (p *parser) escaped(open int) int {
	rest := p.src[open+2:]
	i := strings.Index(rest, "{{")
	if i < 0 {
		return len(p.src) - open
	}
	for range 2 { // the next call of text looks at them
		if i > 0 && rest[i-1] == '\\' {
			i--
		}
	}
	return i + 2
}

// add appends text from offset at, unless it is empty.
func (p *parser) add(prog *program, at int, text string) {
	if text != "" {
		prog.body = append(prog.body, &textNode{line: p.line(at), value: text, original: text})
	}
}

// tag reads one tag; p.at is at its "{{". A tag that ends the program is returned. The characters behind
// "{{" decide what it is; {{else}} and {{^}} are looked for first, because "^" also begins a block and
// "else" would be a path.
func (p *parser) tag(prog *program, depth int) (*ending, error) {
	start := p.at
	if strings.HasPrefix(p.src[start:], "{{{{") {
		return nil, p.rawBlock(prog)
	}
	p.at += 2
	open := p.take("~")
	if end, found := p.inverse(start, open); found {
		return end, nil
	}
	switch {
	case p.take("!"):
		return nil, p.comment(prog, start, open)
	case p.take("#>"):
		return nil, p.partialBlock(prog, start, open, depth)
	case p.take("#"):
		return nil, p.block(prog, start, open, p.take("*"), false, depth)
	case p.take("^"):
		return nil, p.block(prog, start, open, false, true, depth)
	case p.take(">"):
		return nil, p.partial(prog, start, open)
	case p.take("/"):
		return p.closing(start, open)
	case p.take("*"):
		return nil, p.errorf(start, "decorators other than {{#*inline}} are not supported")
	}
	// Anything else is a value, in one of its three forms.
	triple := p.take("{")
	if !triple {
		p.take("&")
	}
	ln := p.line(start)
	c, err := p.call(start, 0)
	if err != nil {
		return nil, err
	}
	p.space()
	if triple && !p.take("}") {
		return nil, p.errorf(start, "want \"}}}\"")
	}
	right, err := p.close(start)
	if err != nil {
		return nil, err
	}
	prog.body = append(prog.body, &mustacheNode{line: ln, strip: strip{open, right}, call: *c})
	return nil, nil
}

// inverse reads {{else}}, {{^}} or the beginning of {{else if …}}, of which it leaves "if …" unread. It
// reports false, and has read nothing, when the tag is something else: {{^name}}, {{elsewhere}}.
func (p *parser) inverse(start int, open bool) (*ending, bool) {
	back := p.at
	if p.take("^") {
		p.space()
		if right, ok := p.tryClose(); ok {
			return &ending{kind: endInverse, at: start, strip: strip{open, right}}, true
		}
		p.at = back
		return nil, false
	}
	p.space()
	if !strings.HasPrefix(p.src[p.at:], "else") || wordAt(p.src, p.at+4) {
		p.at = back
		return nil, false
	}
	p.at += 4
	after := p.at
	p.space()
	// {{else}} ends here; with anything behind it, it begins a chained block.
	if right, ok := p.tryClose(); ok {
		return &ending{kind: endInverse, at: start, strip: strip{open, right}}, true
	}
	p.at = after
	return &ending{kind: endChain, at: start, strip: strip{open: open}}, true
}

// wordAt reports whether a letter, digit or underscore stands at i.
func wordAt(s string, i int) bool {
	return i < len(s) && (s[i] == '_' || s[i] >= '0' && s[i] <= '9' || s[i]|0x20 >= 'a' && s[i]|0x20 <= 'z')
}

// comment reads up to the end of a comment. {{!-- may contain "}}" and ends at "--}}" or "--~}}" only.
func (p *parser) comment(prog *program, start int, open bool) error {
	end, skip := "}}", 0
	if strings.HasPrefix(p.src[p.at:], "--") {
		end, skip = "--", 2
	}
	at := p.at + skip
	for {
		i := strings.Index(p.src[min(at, len(p.src)):], end)
		if i < 0 {
			return p.errorf(start, "the comment has no end")
		}
		at += i + len(end)
		right := false // whether the tag ends with "~"
		if skip > 0 {  // "--" counts with "}}" or "~}}" behind it
			rest := p.src[at:]
			if right = strings.HasPrefix(rest, "~}}"); !right && !strings.HasPrefix(rest, "}}") {
				at--
				continue
			}
			at += len("}}")
			if right {
				at++
			}
		} else {
			right = at >= 3 && p.src[at-3] == '~'
		}
		p.at = at
		prog.body = append(prog.body, &commentNode{line: p.line(start), strip: strip{open, right}})
		return nil
	}
}

// closing reads {{/name}}.
func (p *parser) closing(start int, open bool) (*ending, error) {
	o, err := p.name(start)
	if err != nil {
		return nil, err
	}
	right, err := p.close(start)
	if err != nil {
		return nil, err
	}
	return &ending{kind: endClose, at: start, strip: strip{open, right}, name: o.shown()}, nil
}

// block reads a block from behind its "{{#", "{{#*" (decorator) or "{{^" (inverted) to its closing tag, and
// appends it to prog. An inline partial also goes into prog.inlines: it can be used before its place.
func (p *parser) block(prog *program, start int, open, decorator, inverted bool, depth int) error {
	b := &blockNode{line: p.line(start), decorator: decorator}
	if err := p.open(b, start, open); err != nil {
		return err
	}
	if err := p.inside(b, start, inverted, depth); err != nil {
		return err
	}
	if !decorator {
		prog.body = append(prog.body, b)
		return nil
	}
	if b.call.path.original != "inline" || len(b.call.params) != 1 {
		return p.errorf(start, "decorators other than {{#*inline \"name\"}} are not supported")
	}
	prog.body = append(prog.body, b)
	prog.inlines = append(prog.inlines, b)
	return nil
}

// open reads the rest of an opening tag: the call, block parameters (as |a b|), the end of the tag.
func (p *parser) open(b *blockNode, start int, open bool) error {
	c, err := p.call(start, 0)
	if err != nil {
		return err
	}
	b.call, b.program = *c, &program{}
	if b.program.params, err = p.blockParams(start); err != nil {
		return err
	}
	right, err := p.close(start)
	b.openStrip = strip{open, right}
	return err
}

// inside reads a block's programs and its closing tag. In a chain of else-ifs one closing tag ends all blocks;
// its "~" belongs to the last program of the chain, and is copied to the first block inside, as handlebars.js
// does (prepareBlock in its helpers.js).
func (p *parser) inside(b *blockNode, start int, inverted bool, depth int) error {
	body, end, err := p.program(depth + 1)
	if err != nil {
		return err
	}
	// The program was made by open, with the block's parameters.
	b.program.body, b.program.inlines = body.body, body.inlines
	if end.kind == endInverse || end.kind == endChain {
		if b.decorator {
			return p.errorf(end.at, "an inline partial has no else")
		}
		if end, err = p.otherwise(b, start, end, depth); err != nil {
			return err
		}
	}
	if err := p.matches(start, b.call.path.original, end); err != nil {
		return err
	}
	b.closeStrip = end.strip
	if b.inverse != nil && b.inverse.chained {
		if first, ok := b.inverse.body[0].(*blockNode); ok {
			first.closeStrip = end.strip
		}
	}
	// {{^x}}a{{else}}b{{/x}} is {{#x}}b{{else}}a{{/x}}.
	if inverted {
		b.program, b.inverse = b.inverse, b.program
	}
	return nil
}

// matches returns an error unless the ending is the closing tag of that name.
func (p *parser) matches(start int, name string, end ending) error {
	if end.kind == endClose && end.name == name {
		return nil
	}
	if end.kind == endOfFile {
		return p.errorf(start, "{{#%s}} is never closed", name)
	}
	return p.errorf(end.at, "%s does not match {{#%s}} of line %d", end.shown(), name, lineOf(p.src, start))
}

// otherwise reads the part of a block behind an else, and returns the closing tag.
func (p *parser) otherwise(b *blockNode, start int, els ending, depth int) (ending, error) {
	if depth > MaxNesting {
		return ending{}, &Error{Line: int(lineOf(p.src, els.at)), Err: &LimitError{"blocks are nested too deep", MaxNesting}}
	}
	// A plain else: the rest of the block, which must not have another one.
	if els.kind == endInverse {
		b.inverseStrip = els.strip
		inverse, end, err := p.program(depth + 1)
		if err != nil {
			return ending{}, err
		}
		b.inverse = inverse
		if end.kind == endInverse || end.kind == endChain {
			return ending{}, p.errorf(end.at, "a second else in {{#%s}}", b.call.path.original)
		}
		return end, nil
	}
	// {{else if …}} is a block inside the inverse, which has no closing tag of its own.
	inner := &blockNode{line: p.line(els.at)}
	if err := p.open(inner, els.at, els.strip.open); err != nil {
		return ending{}, err
	}
	b.inverseStrip = inner.openStrip
	body, end, err := p.program(depth + 1)
	if err != nil {
		return ending{}, err
	}
	inner.program.body, inner.program.inlines = body.body, body.inlines
	if end.kind == endInverse || end.kind == endChain {
		if end, err = p.otherwise(inner, start, end, depth+1); err != nil {
			return ending{}, err
		}
		inner.closeStrip = inner.inverseStrip
		if inner.inverse.chained {
			if first, ok := inner.inverse.body[0].(*blockNode); ok {
				first.closeStrip = inner.closeStrip
			}
		}
	}
	b.inverse = &program{body: []node{inner}, chained: true}
	return end, nil
}

// partialBlock reads {{#> name}} … {{/name}} from behind its "{{#>".
func (p *parser) partialBlock(prog *program, start int, open bool, depth int) error {
	n, err := p.partialHead(start, open)
	if err != nil {
		return err
	}
	body, end, err := p.program(depth + 1)
	if err != nil {
		return err
	}
	if err := p.matches(start, n.name.shown(), end); err != nil {
		return err
	}
	n.program, n.closeStrip = body, end.strip
	prog.body = append(prog.body, n)
	return nil
}

// partial reads {{> name}} from behind its "{{>".
func (p *parser) partial(prog *program, start int, open bool) error {
	n, err := p.partialHead(start, open)
	if err == nil {
		prog.body = append(prog.body, n)
	}
	return err
}

// partialHead reads a partial's tag: a name, which may be computed by a sub-expression, at most one parameter (the
// context), and name=value pairs. A path as a name is its text: {{> a/b}} is the partial "a/b".
func (p *parser) partialHead(start int, open bool) (*partialNode, error) {
	n := &partialNode{line: p.line(start)}
	p.space()
	var err error
	if p.peek() == '(' {
		n.name, err = p.operand(start, 0)
	} else {
		n.name, err = p.name(start)
	}
	if err != nil {
		return nil, err
	}
	// A static name is the text of its path, not the path's value.
	if n.name.path != nil {
		n.name.literal = n.name.path.original
	}
	params, hash, err := p.params(start, 0)
	if err != nil {
		return nil, err
	}
	// No parameter: the partial gets the context of its place.
	switch len(params) {
	case 0:
	case 1:
		n.context = &params[0]
	default:
		return nil, p.errorf(start, "a partial takes one parameter, got %d", len(params))
	}
	n.hash = hash
	right, err := p.close(start)
	n.strip = strip{open, right}
	return n, err
}

// rawBlock reads {{{{name}}}} … {{{{/name}}}}; what is inside is text.
func (p *parser) rawBlock(prog *program) error {
	start := p.at
	p.at += 4
	ln := p.line(start)
	c, err := p.call(start, 0)
	if err != nil {
		return err
	}
	if p.space(); !p.take("}}}}") {
		return p.errorf(start, "want \"}}}}\"")
	}
	// Everything up to the closing tag of the same name is text, tags included.
	end := "{{{{/" + c.path.original + "}}}}"
	i := strings.Index(p.src[p.at:], end)
	if i < 0 {
		return p.errorf(start, "{{{{%s}}}} is never closed", c.path.original)
	}
	b := &blockNode{line: ln, call: *c, program: &program{}}
	if text := p.src[p.at : p.at+i]; text != "" {
		b.program.body = []node{&textNode{line: p.line(p.at), value: text, original: text}}
	}
	p.at += i + len(end)
	prog.body = append(prog.body, b)
	return nil
}

// call reads a path or a helper's name and its parameters. depth counts the sub-expressions around it.
func (p *parser) call(start, depth int) (*call, error) {
	p.space()
	at := p.at
	o, err := p.name(start)
	if err != nil {
		return nil, err
	}
	c := &call{line: p.line(at)}
	if o.path != nil {
		c.path = *o.path
	} else { // a literal in the place of a name is a name
		c.path = path{original: o.shown(), parts: []string{o.shown()}}
	}
	if c.params, c.hash, err = p.params(start, depth); err != nil {
		return nil, err
	}
	// {{this.if}} and {{./if}} are values, whatever helpers there are.
	if c.path.simple() {
		c.known = builtins[c.path.parts[0]]
	}
	if (len(c.params) > 0 || len(c.hash) > 0) && !c.path.simple() {
		return nil, p.errorf(at, "%q can't be a helper's name", c.path.original)
	}
	return c, p.check(c, at)
}

// check refuses calls of built-in helpers that could never work.
func (p *parser) check(c *call, at int) error {
	if want, fixed := arity[c.known]; fixed && len(c.params) != want {
		return p.errorf(at, "%s takes %d parameters, got %d", c.path.original, want, len(c.params))
	}
	return nil
}

// arity is how many parameters a built-in helper takes.
var arity = map[builtin]int{
	helperIf: 1, helperUnless: 1, helperEach: 1, helperWith: 1, helperLookup: 2, helperJSON: 1, helperRole: 1,
	helperHistory: 0, helperSection: 1, helperMedia: 0, helperIfEquals: 2, helperUnlessEquals: 2,
}

// params reads parameters and then name=value pairs, up to what can't begin one: the end of the tag, a closing
// parenthesis, block parameters.
func (p *parser) params(start, depth int) (list []operand, hash []pair, err error) {
	for {
		p.space()
		switch c := p.peek(); {
		case c == 0 || c == '}' || c == '~' || c == ')' || c == '|':
			return list, hash, nil
		case p.blockParamsAhead():
			return list, hash, nil
		}
		if name, ok := p.hashName(); ok {
			v, err := p.operand(start, depth)
			if err != nil {
				return nil, nil, err
			}
			hash = append(hash, pair{name, v})
			continue
		}
		// Parameters are told apart by their position, so they come before the pairs.
		if len(hash) > 0 {
			return nil, nil, p.errorf(p.at, "a parameter behind name=value")
		}
		o, err := p.operand(start, depth)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, o)
	}
}

// hashName reads "name=". It reads nothing when the name is not followed by "=", since it is then a path.
func (p *parser) hashName() (string, bool) {
	back := p.at // to go on from when it is a parameter
	name, _, ok := p.segment()
	if ok {
		if p.space(); p.take("=") {
			return name, true
		}
	}
	p.at = back
	return "", false
}

// operand reads a sub-expression in parentheses, a literal or a path.
func (p *parser) operand(start, depth int) (operand, error) {
	p.space()
	if !p.take("(") {
		return p.name(start)
	}
	if depth >= MaxNesting {
		return operand{}, &Error{Line: int(lineOf(p.src, start)), Err: &LimitError{"expressions are nested too deep", MaxNesting}}
	}
	c, err := p.call(start, depth+1)
	if err != nil {
		return operand{}, err
	}
	if p.space(); !p.take(")") {
		return operand{}, p.errorf(p.at, "want \")\"")
	}
	return operand{sub: c}, nil
}

// blockParamsAhead reports whether "as |" stands here. A path that is called "as" is allowed elsewhere.
func (p *parser) blockParamsAhead() bool {
	rest := p.src[p.at:]
	if !strings.HasPrefix(rest, "as") {
		return false
	}
	// There must be white space between them, or the name only begins with "as".
	trimmed := strings.TrimLeft(rest[2:], " \t\r\n")
	return len(trimmed) < len(rest)-2 && strings.HasPrefix(trimmed, "|")
}

// blockParams reads "as |a b|" and returns the names; nil where there are none.
func (p *parser) blockParams(start int) ([]string, error) {
	p.space()
	if !p.blockParamsAhead() {
		return nil, nil
	}
	p.at += 2
	p.space()
	p.take("|")
	var names []string
	for {
		p.space()
		if p.take("|") {
			return names, nil
		}
		name, _, ok := p.segment()
		if !ok {
			return nil, p.errorf(start, "want names between \"|\" and \"|\"")
		}
		names = append(names, name)
	}
}

// name reads a literal or a path.
func (p *parser) name(start int) (operand, error) {
	p.space()
	switch c := p.peek(); c {
	case '"', '\'':
		return p.quoted(start, c)
	case '@':
		p.at++
		return p.path(start, true)
	}
	if v, ok := p.literal(); ok {
		return operand{literal: v}, nil
	}
	return p.path(start, false)
}

// quoted reads a text in quotes. A backslash before the same quote means that quote; before anything else
// it is itself, so "\n" are two characters.
func (p *parser) quoted(start int, quote byte) (operand, error) {
	p.at++
	var b strings.Builder
	for p.at < len(p.src) {
		c := p.src[p.at]
		p.at++
		switch {
		case c == quote:
			return operand{literal: b.String()}, nil
		case c == '\\' && p.peek() == quote:
			p.at++
			c = quote
		}
		b.WriteByte(c)
	}
	return operand{}, p.errorf(start, "a text has no end")
}

// literal reads true, false, null, undefined or a number. Each must be followed by a character that can't go on
// a path, as in the lexer of handlebars.js: 12a and true.x are paths.
func (p *parser) literal() (any, bool) {
	// The word up to the next character that ends a literal. A source that ends there has no end of
	// its tag, which the caller reports.
	n := 0
	rest := p.src[p.at:]
	for n < len(rest) && !strings.ContainsRune("~} \t\r\n)]", rune(rest[n])) {
		n++
	}
	if n == len(rest) {
		return nil, false
	}
	var v any
	switch word := rest[:n]; word {
	case "true", "false":
		v = word == "true"
	case "null":
	case "undefined":
		v = value.Undefined{}
	default:
		if !isNumber(word) {
			return nil, false
		}
		v = value.Number(trimZeros(word))
	}
	p.at += n
	return v, true
}

// isNumber is -?[0-9]+(\.[0-9]+)?
func isNumber(s string) bool {
	whole, fraction, dot := strings.Cut(strings.TrimPrefix(s, "-"), ".")
	digits := func(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }
	return digits(whole) && (!dot || digits(fraction))
}

// trimZeros makes 007 a JSON number.
func trimZeros(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	for len(s) > 1 && s[0] == '0' && s[1] != '.' {
		s = s[1:]
	}
	return sign + s
}

// path reads segments joined by "." or "/". "..", "." and "this" may only stand at its beginning; in brackets
// they are names like any other.
func (p *parser) path(start int, data bool) (operand, error) {
	from := p.at
	q := &path{data: data}
	// first: only a leading "." or "this" keeps a path from being a helper's name.
	for first := true; ; first = false {
		name, literal, ok := p.segment()
		if !ok {
			return operand{}, p.errorf(p.at, "want a name, found %s", p.found())
		}
		switch {
		case literal:
			q.parts = append(q.parts, name)
		case name == "..", name == ".", name == "this":
			// A name has gone before: {{a/../b}} and {{a.this}} are refused.
			if len(q.parts) > 0 {
				return operand{}, p.errorf(start, "invalid path %q", p.src[from:p.at])
			}
			if name == ".." {
				q.depth++
			} else if first {
				q.scoped = true
			}
		default:
			q.parts = append(q.parts, name)
		}
		if c := p.peek(); c != '.' && c != '/' {
			break
		}
		p.at++
	}
	if q.original = p.src[from:p.at]; data {
		q.original = "@" + q.original
	}
	return operand{path: q}, nil
}

// found names the next character for an error.
func (p *parser) found() string {
	r, size := utf8.DecodeRuneInString(p.src[p.at:])
	if size == 0 {
		return "the end of the template"
	}
	return fmt.Sprintf("%q", r)
}

// segment reads one name of a path; literal tells that it stood in brackets.
func (p *parser) segment() (name string, literal, ok bool) {
	rest := p.src[p.at:]
	switch {
	case strings.HasPrefix(rest, ".."):
		p.at += 2
		return "..", false, true
	case strings.HasPrefix(rest, "."):
		p.at++
		return ".", false, true
	case strings.HasPrefix(rest, "["):
		return p.bracketed()
	}
	// A bare name ends at the first character that none may hold, and is not empty.
	n := strings.IndexFunc(rest, endsID)
	if n < 0 {
		n = len(rest)
	}
	p.at += n
	return rest[:n], false, n > 0
}

// bracketed reads a segment in brackets, in which every character is allowed; "\]" means "]".
func (p *parser) bracketed() (string, bool, bool) {
	var b strings.Builder
	for i := p.at + 1; i < len(p.src); i++ {
		switch c := p.src[i]; {
		case c == ']':
			p.at = i + 1
			return b.String(), true, true
		case c == '\\' && strings.HasPrefix(p.src[i+1:], "]"):
			i++
			b.WriteByte(']')
		default:
			b.WriteByte(c)
		}
	}
	return "", false, false
}

// endsID reports characters that no bare name holds: white space and ! " # % & ' ( ) * + , . / ; < = > @ [ \ ] ^ ` { | } ~
func endsID(r rune) bool {
	if r <= ' ' || r == 0xa0 || r == 0xfeff || r == 0x2028 || r == 0x2029 {
		return true
	}
	return strings.ContainsRune("!\"#%&'()*+,./;<=>@[\\]^`{|}~", r)
}

// space skips white space.
func (p *parser) space() {
	for p.at < len(p.src) && strings.IndexByte(" \t\r\n\f\v", p.src[p.at]) >= 0 {
		p.at++
	}
}

// peek returns the next byte without reading it, 0 at the end.
func (p *parser) peek() byte {
	if p.at < len(p.src) {
		return p.src[p.at]
	}
	return 0
}

// take reads s, and reports false when something else stands here.
func (p *parser) take(s string) bool {
	if strings.HasPrefix(p.src[p.at:], s) {
		p.at += len(s)
		return true
	}
	return false
}

// tryClose reads "}}" or "~}}".
func (p *parser) tryClose() (stripped, ok bool) {
	if p.take("}}") {
		return false, true
	}
	return true, p.take("~}}")
}

// close reads the end of a tag and returns whether it has "~".
func (p *parser) close(start int) (bool, error) {
	p.space()
	if stripped, ok := p.tryClose(); ok {
		return stripped, nil
	}
	if p.at >= len(p.src) {
		return false, p.errorf(start, "the tag has no end")
	}
	return false, p.errorf(p.at, "want \"}}\", found %s", p.found())
}

// shown is an operand as a closing tag names it.
func (o *operand) shown() string {
	switch {
	case o.path != nil:
		return o.path.original
	case o.sub != nil:
		return o.sub.path.original
	case o.literal == nil:
		return "null"
	}
	if _, none := o.literal.(value.Undefined); none {
		return "undefined"
	}
	return value.Text(o.literal)
}
