package schema

import (
	"math"
	"regexp/syntax"
	"sync"
	"unicode/utf8"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// pattern is a regular expression whose matching is counted. It accepts the syntax of package regexp
// and gives the same answers as [regexp.Regexp.MatchString]. Package regexp can't be used
// itself, because it can't be interrupted, and an expression of twenty bytes can cost it a thousand
// steps for each byte of the text.
type pattern struct {
	text  string
	size  int // see patternSize
	parse sync.Once
	prog  *syntax.Prog // see program
	empty bool         // it has assertions of zero width
	begin bool         // it matches at the start of the text only
}

var _ jsonschema.Regexp = (*pattern)(nil)

// newPattern parses an expression, as jsonschema.RegexpEngine wants it. Its program is
// made when it is first needed: it may take a hundred times the room of the text.
func newPattern(text string) (jsonschema.Regexp, error) {
	re, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		return nil, err
	}
	return &pattern{text: text, size: expressionSize(re)}, nil
}

// patterns returns an engine that makes each expression of a schema once.
func patterns() jsonschema.RegexpEngine {
	made := map[string]jsonschema.Regexp{}
	return func(text string) (jsonschema.Regexp, error) {
		if p, ok := made[text]; ok {
			return p, nil
		}
		p, err := newPattern(text)
		if err == nil {
			made[text] = p
		}
		return p, err
	}
}

// String returns the expression.
func (p *pattern) String() string { return p.text }

// MatchString is for the compiler's validator, which asks after a [meter] has found
// that matching is affordable.
func (p *pattern) MatchString(text string) bool {
	m, _ := machines.Get().(*machine)
	defer m.free()
	budget := math.MaxInt
	return match(m, p, text, &budget) == matched
}

// program returns the compiled expression.
func (p *pattern) program() *syntax.Prog {
	p.parse.Do(func() {
		re, err := syntax.Parse(p.text, syntax.Perl)
		if err == nil {
			p.prog, err = syntax.Compile(re.Simplify())
		}
		if err != nil { // it was parsed before, and Compile refuses nothing
			p.prog = &syntax.Prog{Inst: []syntax.Inst{{Op: syntax.InstFail}}}
		}
		for i := range p.prog.Inst {
			p.empty = p.empty || p.prog.Inst[i].Op == syntax.InstEmptyWidth
		}
		p.begin = p.prog.StartCond()&syntax.EmptyBeginText != 0
	})
	return p.prog
}

// machine simulates the expression's automaton (Thompson's construction, as in package regexp): now holds the
// instructions that the text read so far may have led to, and stack those that have not been followed yet.
// Only whether there is a match is asked, so no positions are kept. It belongs to one goroutine.
type machine struct {
	now   threads
	stack []uint32
	steps int // instructions looked at since they were paid for
}

// threads is a sparse set of instructions (Briggs and Torczon, 1993): place needs no clearing, since an entry
// counts only when list confirms it.
type threads struct {
	list  []uint32
	place []uint32 // of each instruction in list; anything when it is not in the set
}

// add puts an instruction into the set and reports whether it was new.
func (t *threads) add(pc uint32) bool {
	if at := t.place[pc]; int(at) < len(t.list) && t.list[at] == pc {
		return false
	}
	t.place[pc] = uint32(len(t.list)) //nolint:gosec // fewer than maxPatternSize times a few
	t.list = append(t.list, pc)
	return true
}

// fit empties the set and makes room for a program of size instructions.
func (t *threads) fit(size int) {
	t.list = t.list[:0]
	if len(t.place) < size {
		t.place = make([]uint32, size)
	}
}

// machines are reused by patterns that are matched outside of a reader.
var machines = sync.Pool{New: func() any { return new(machine) }}

// bytes returns the machine's memory.
func (m *machine) bytes() int { return 4 * (cap(m.now.list) + len(m.now.place) + cap(m.stack)) }

// free returns the machine to the pool, unless a large expression has made it large.
func (m *machine) free() {
	if m.bytes() <= keptBytes {
		machines.Put(m)
	}
}

// outcome is how a match ended.
type outcome uint8

const (
	unmatched outcome = iota
	matched
	unpaid // the budget was too small
)

// stepsForUnit is how many instructions are looked at for one unit of work.
const stepsForUnit = 4

// match looks for p anywhere in text, which is valid UTF-8, and takes what that costs
// from budget: a unit for every [stepsForUnit] instructions that are looked at, each
// character for one more.
func match[T string | []byte](m *machine, p *pattern, text T, budget *int) outcome {
	prog := p.program()
	m.now.fit(len(prog.Inst))
	m.steps = stepsForUnit // so that no match is free
	before := rune(-1)
	for pos := 0; ; {
		// r is the character at pos, -1 at the end, as syntax.EmptyOpContext wants it.
		r, width := rune(-1), 0
		if pos < len(text) {
			if r, width = rune(text[pos]), 1; r >= utf8.RuneSelf {
				r, width = utf8.DecodeRuneInString(string(text[pos:min(pos+utf8.UTFMax, len(text))]))
			}
		}
		// Assertions such as ^, $ and \b look at the characters on both sides.
		var around syntax.EmptyOp
		if p.empty {
			around = syntax.EmptyOpContext(before, r)
		}
		// A match may begin at each character, unless the expression is anchored at the start.
		if pos == 0 || !p.begin {
			m.stack = append(m.stack, uint32(prog.Start)) //nolint:gosec // an index
		}
		// First everything that needs no character, then one character for all of it.
		if m.follow(prog, around) {
			*budget -= m.steps / stepsForUnit
			return matched
		}
		m.steps++
		*budget -= m.steps / stepsForUnit
		m.steps %= stepsForUnit
		switch {
		case *budget < 0:
			return unpaid
		case width == 0, p.begin && len(m.now.list) == 0:
			return unmatched
		}
		m.consume(prog, r)
		pos += width
		before = r
	}
}

// follow goes from the instructions on the stack to all those that take a character,
// and reports whether a match ends here.
func (m *machine) follow(prog *syntax.Prog, around syntax.EmptyOp) bool {
	for len(m.stack) > 0 {
		pc := m.stack[len(m.stack)-1]
		m.stack = m.stack[:len(m.stack)-1]
		m.steps++
		if !m.now.add(pc) {
			continue
		}
		switch inst := &prog.Inst[pc]; inst.Op {
		case syntax.InstMatch:
			m.stack = m.stack[:0]
			return true
		case syntax.InstAlt, syntax.InstAltMatch:
			m.stack = append(m.stack, inst.Arg, inst.Out)
		case syntax.InstCapture, syntax.InstNop:
			m.stack = append(m.stack, inst.Out)
		case syntax.InstEmptyWidth:
			if syntax.EmptyOp(inst.Arg)&^around == 0 { //nolint:gosec // the compiler put one there
				m.stack = append(m.stack, inst.Out)
			}
		}
	}
	return false
}

// consume passes the character r: the instructions that accept it push their successors on the stack, and the
// set is emptied for the next position.
func (m *machine) consume(prog *syntax.Prog, r rune) {
	m.steps += len(m.now.list)
	for _, pc := range m.now.list {
		inst, ok := &prog.Inst[pc], false
		switch inst.Op {
		case syntax.InstRune1:
			ok = r == inst.Rune[0]
		case syntax.InstRune:
			ok = inst.MatchRune(r)
		case syntax.InstRuneAny:
			ok = true
		case syntax.InstRuneAnyNotNL:
			ok = r != '\n'
		}
		if ok {
			m.stack = append(m.stack, inst.Out)
		}
	}
	m.now.list = m.now.list[:0]
}
