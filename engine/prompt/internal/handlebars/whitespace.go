package handlebars

import (
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// whitespace trims the text around tags as handlebars.js does (its
// whitespace-control.js): "~" removes all white space on its side, and a tag that
// stands alone on a line, other than a value, takes the line with it.
//
//	"Items:\n{{#each x}}\n- {{this}}\n{{/each}}\nEnd"      with x = ["a"] gives
//	"Items:\n- a\nEnd"                                     and not "Items:\n\n- a\n\nEnd"
//
// Tags are visited in the order of the source, inner blocks before the tags of the block itself. The
// order is part of the behaviour: whether a tag stands alone is decided by the original text, but a
// text is trimmed on each side once only.
type whitespace struct{}

// stripped holds the effects of a node on the text around it. open and close: its outer tags have "~" there.
// openAlone and closeAlone: inside the block, the opening or closing tag is alone on its line, so that it
// depends on the text outside. alone: it may stand alone as a whole, as comments and partials do. matters: it
// is not text.
type stripped struct {
	open, close                           bool
	openAlone, closeAlone, alone, matters bool
}

// program trims the texts of a program around each of its nodes. root is true for the template itself, whose
// beginning and end count as line ends; those of a block do not.
func (w whitespace) program(p *program, root bool) {
	if p == nil {
		return
	}
	for i, n := range p.body {
		s := w.node(n)
		if !s.matters {
			continue
		}
		before, after := spaceBefore(p.body, i, root), spaceAfter(p.body, i, root)
		openAlone, closeAlone := s.openAlone && before, s.closeAlone && after
		if s.close {
			omitRight(p.body, i+1, true)
		}
		if s.open {
			omitLeft(p.body, i-1, true)
		}
		// A partial or comment that is alone: its line goes, and a partial keeps the indent.
		if s.alone && before && after {
			omitRight(p.body, i+1, false)
			if omitLeft(p.body, i-1, false) {
				indent(n, p.body[i-1])
			}
		}
		// The texts inside the block that stand next to its opening and its closing tag.
		first, last := programsOf(n)
		if openAlone {
			omitRight(first.body, 0, false)
			omitLeft(p.body, i-1, false)
		}
		if closeAlone {
			omitRight(p.body, i+1, false)
			omitLeft(last.body, len(last.body)-1, false)
		}
	}
}

// indent notes the white space before a partial that stands alone.
func indent(n, before node) {
	partial, ok := n.(*partialNode)
	text, is := before.(*textNode)
	if ok && is && partial.program == nil {
		partial.indent = text.original[len(strings.TrimRight(text.original, " \t")):]
	}
}

// programsOf returns the first and the last program of a block, as a standalone tag of
// it sees them.
func programsOf(n node) (first, last *program) {
	switch n := n.(type) {
	case *blockNode:
		first, last = n.program, n.inverse
	case *partialNode:
		first = n.program
	}
	if first == nil {
		first = last
	}
	if last == nil {
		last = first
	}
	return first, last
}

// node handles the inside of a node and returns what it asks of the text outside.
func (w whitespace) node(n node) stripped {
	switch n := n.(type) {
	case *mustacheNode:
		return stripped{open: n.strip.open, close: n.strip.close, matters: true}
	case *commentNode:
		return stripped{open: n.strip.open, close: n.strip.close, alone: true, matters: true}
	case *partialNode:
		if n.program == nil {
			return stripped{open: n.strip.open, close: n.strip.close, alone: true, matters: true}
		}
		return w.block(n.program, nil, n.strip, strip{}, n.closeStrip)
	case *blockNode:
		return w.block(n.program, n.inverse, n.openStrip, n.inverseStrip, n.closeStrip)
	}
	return stripped{}
}

// block trims the inside of a block: behind its opening tag, around its else, before its closing tag. main or
// inverse may be nil; in a chain of else-ifs the programs next to a tag are those of the chain's first and last
// block.
func (w whitespace) block(main, inverse *program, open, middle, end strip) stripped {
	w.program(main, false)
	w.program(inverse, false)
	if main == nil {
		main, inverse = inverse, nil
	}
	// firstInverse is the block after the first else, lastInverse the one before the closing tag. They
	// differ in a chain.
	firstInverse, lastInverse := inverse, inverse
	if inverse != nil && inverse.chained {
		firstInverse = chainedProgram(inverse.body[0])
		for lastInverse.chained {
			lastInverse = chainedProgram(lastInverse.body[len(lastInverse.body)-1])
		}
	}
	last := main
	if firstInverse != nil {
		last = firstInverse
	}
	s := stripped{
		open: open.open, close: end.close, matters: true,
		openAlone: spaceAfter(main.body, -1, false), closeAlone: spaceBefore(last.body, len(last.body), false),
	}
	if open.close {
		omitRight(main.body, 0, true)
	}
	if inverse == nil {
		if end.open {
			omitLeft(main.body, len(main.body)-1, true)
		}
		return s
	}
	if middle.open {
		omitLeft(main.body, len(main.body)-1, true)
	}
	if middle.close {
		omitRight(firstInverse.body, 0, true)
	}
	if end.open {
		omitLeft(lastInverse.body, len(lastInverse.body)-1, true)
	}
	// An else that stands alone takes its line with it, like the tags around it.
	if spaceBefore(main.body, len(main.body), false) && spaceAfter(firstInverse.body, -1, false) {
		omitLeft(main.body, len(main.body)-1, false)
		omitRight(firstInverse.body, 0, false)
	}
	return s
}

// chainedProgram returns the program of the block of an else-if, an empty one for any other node.
func chainedProgram(n node) *program {
	b, ok := n.(*blockNode)
	if !ok || b.program == nil {
		return &program{}
	}
	return b.program
}

// textAt returns the text node at i, nil when there is none.
func textAt(body []node, i int) *textNode {
	if i < 0 || i >= len(body) {
		return nil
	}
	t, _ := body[i].(*textNode)
	return t
}

// spaceBefore reports whether there is nothing but white space between the node at i
// and the beginning of its line.
func spaceBefore(body []node, i int, root bool) bool {
	if i-1 < 0 || i-1 >= len(body) {
		return root
	}
	// The text before the node must end with a line break and white space behind that.
	t := textAt(body, i-1)
	if t == nil {
		return false
	}
	head := strings.TrimRightFunc(t.original, jsSpaceButLine)
	if strings.HasSuffix(head, "\n") {
		return true
	}
	return i-2 < 0 && root && head == ""
}

// spaceAfter is spaceBefore for the other side.
func spaceAfter(body []node, i int, root bool) bool {
	if i+1 >= len(body) {
		return root
	}
	t := textAt(body, i+1)
	if t == nil {
		return false
	}
	tail := strings.TrimLeftFunc(t.original, jsSpaceButLine)
	if strings.HasPrefix(tail, "\n") {
		return true
	}
	return i+2 >= len(body) && root && tail == ""
}

// omitRight removes white space at the beginning of the text at i: all of it for "~", or the rest of the line up
// to and including its line break for a tag that stands alone. The latter happens to a text once at most.
func omitRight(body []node, i int, all bool) {
	t := textAt(body, i)
	if t == nil || (!all && t.rightStripped) {
		return
	}
	before := t.value
	if all {
		t.value = strings.TrimLeftFunc(t.value, value.IsSpace)
	} else {
		t.value = strings.TrimPrefix(strings.TrimPrefix(strings.TrimLeft(t.value, " \t"), "\r"), "\n")
	}
	t.rightStripped = t.value != before
}

// omitLeft is omitRight for the end of the text at i; it reports whether something
// went.
func omitLeft(body []node, i int, all bool) bool {
	t := textAt(body, i)
	if t == nil || (!all && t.leftStripped) {
		return false
	}
	before := t.value
	if all {
		t.value = strings.TrimRightFunc(t.value, value.IsSpace)
	} else {
		t.value = strings.TrimRight(t.value, " \t")
	}
	t.leftStripped = t.value != before
	return t.leftStripped
}

// jsSpaceButLine reports white space as JavaScript's \s knows it, line breaks aside.
func jsSpaceButLine(r rune) bool { return r != '\n' && value.IsSpace(r) }
