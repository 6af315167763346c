package handlebars

import (
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// whitespace does what handlebars.js does to the text around tags (its
// whitespace-control.js): "~" removes all white space on its side, and a tag that
// stands alone on a line, other than a value, takes the line with it.
type whitespace struct{}

// stripped says what a node asks of the text around it.
type stripped struct {
	open, close                           bool
	openAlone, closeAlone, alone, matters bool
}

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
		if s.alone && before && after {
			omitRight(p.body, i+1, false)
			if omitLeft(p.body, i-1, false) {
				indent(n, p.body[i-1])
			}
		}
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

// indent notes what stood before a partial that stands alone.
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

func (w whitespace) block(main, inverse *program, open, middle, end strip) stripped {
	w.program(main, false)
	w.program(inverse, false)
	if main == nil {
		main, inverse = inverse, nil
	}
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
	if spaceBefore(main.body, len(main.body), false) && spaceAfter(firstInverse.body, -1, false) {
		omitLeft(main.body, len(main.body)-1, false)
		omitRight(firstInverse.body, 0, false)
	}
	return s
}

func chainedProgram(n node) *program {
	b, ok := n.(*blockNode)
	if !ok || b.program == nil {
		return &program{}
	}
	return b.program
}

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

// omitRight removes white space at the beginning of the text at i: all of it, or the
// rest of its line.
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

func jsSpaceButLine(r rune) bool { return r != '\n' && value.IsSpace(r) }
