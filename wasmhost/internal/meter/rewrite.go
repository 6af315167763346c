package meter

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// The function that a metered module imports, of type () -> ().
const (
	YieldModule = "genkit:meter"
	YieldFunc   = "yield"
)

// added are the sections that a metered module always has, in file order.
var added = [...]byte{inspect.SectionType, inspect.SectionImport, inspect.SectionGlobal, inspect.SectionExport}

// Section IDs are not in file order: the data count section (12) stands before the code section (10).
// rank is the place of a section in a file.
func rank(id byte) int {
	if id == inspect.SectionDataCount {
		return int(inspect.SectionElement)*2 + 1
	}
	return int(id) * 2
}

// module writes all sections in file order: those of the original, those that are added where the original has none, and at the
// end the custom sections.
func (w *rewriter) module() {
	code := w.bodies() // tells which helpers there are
	w.out = append(w.out, w.wasm[:8]...)
	next := 0 // of added
	until := func(limit int) {
		for ; next < len(added) && rank(added[next]) < limit; next++ {
			w.section(inspect.Section{ID: added[next]}, code)
		}
	}
	for _, s := range w.mod.Sections {
		if s.ID == inspect.SectionCustom {
			continue
		}
		until(rank(s.ID))
		if next < len(added) && added[next] == s.ID {
			next++
		}
		w.section(s, code)
	}
	until(1 << 10)
	w.customSections()
}

// section writes one section, of which s may be empty when the original has none. code is the new code section.
func (w *rewriter) section(s inspect.Section, code []byte) {
	content := w.wasm[s.Start:s.End]
	count, rest := splitCount(content)
	restAt := s.End - len(rest)
	var body []byte
	switch s.ID {
	case inspect.SectionType: // of yield and checks, of the helpers for fill and copy, of ahead
		body = append(appendU32(nil, count+3), rest...)
		body = append(body, 0x60, 0, 0) // of yield
		body = append(body, 0x60, 3, byte(inspect.I32), byte(inspect.I32), byte(inspect.I32), 0)
		body = append(body, 0x60, 1, byte(inspect.I64), Words)
		body = append(body, bytes.Repeat([]byte{byte(inspect.I64)}, Words)...)
	case inspect.SectionImport: // behind those of the original, so that their indices stay
		body = append(appendU32(nil, count+w.moved), rest...)
		body = appendName(appendName(body, YieldModule), YieldFunc)
		body = appendU32(append(body, byte(inspect.ExternFunc)), uint32(len(w.mod.Types)))
		if w.words.reads {
			body = appendName(appendName(body, YieldModule), AheadFunc)
			body = appendU32(append(body, byte(inspect.ExternFunc)), uint32(len(w.mod.Types))+2)
		}
	case inspect.SectionFunction:
		body = append(appendU32(nil, w.functions()), rest...)
		for _, typ := range w.words.types {
			body = appendU32(body, typ)
		}
		for h := range w.helps {
			typ := uint32(len(w.mod.Types)) // that of yield
			if h != helpCheck {
				typ++
			}
			body = appendU32(body, typ)
		}
	case inspect.SectionTable:
		body = w.tables()
	case inspect.SectionGlobal: // the fuel is 0 until the host sets it
		body = w.appendUses(appendU32(nil, count+1+w.words.count()), restAt, s.End)
		body = append(body, byte(inspect.I64), 1, byte(inspect.OpI64Const), 0, byte(inspect.OpEnd))
		body = w.words.appendGlobals(body)
	case inspect.SectionExport:
		words, n := w.appendWordExports(nil)
		body = w.appendUses(appendU32(nil, count+1+uint32(len(w.result.Globals))+n), restAt, s.End)
		body = appendExport(body, w.result.FuelExport, w.fuel)
		for _, g := range w.result.Globals {
			body = appendExport(body, g.Export, g.Index)
		}
		body = append(body, words...)
	case inspect.SectionElement:
		body = w.appendUses(nil, s.Start, s.End)
	case inspect.SectionCode:
		body = code
	default:
		body = content
	}
	w.out = append(w.out, s.ID)
	w.out = append(appendU32(w.out, uint32(len(body))), body...)
}

// splitCount takes the length off a vector; an absent section has length zero.
func splitCount(content []byte) (uint32, []byte) {
	n, size := binary.Uvarint(content)
	if size <= 0 {
		return 0, nil
	}
	return uint32(n), content[size:]
}

// appendUses copies a stretch of the original with its function indices moved.
func (w *rewriter) appendUses(dst []byte, from, to int) []byte {
	for len(w.uses) > 0 && w.uses[0].Offset < to {
		use := w.uses[0]
		w.uses = w.uses[1:]
		if use.Offset < from || use.Index < w.yield {
			continue
		}
		dst = append(dst, w.wasm[from:use.Offset]...)
		dst = appendU32(dst, use.Index+w.moved)
		from = use.End
	}
	return append(dst, w.wasm[from:to]...)
}

// tables writes every table with a maximum: its own, or the one of the options.
func (w *rewriter) tables() []byte {
	body := appendU32(nil, uint32(len(w.mod.Tables)))
	for _, t := range w.mod.Tables {
		limit := max(t.Min, w.opt.MaxTableElements)
		if t.HasMax {
			limit = min(limit, t.Max)
		}
		body = append(body, byte(t.Elem), 1)
		body = appendU32(appendU32(body, t.Min), limit)
	}
	return body
}

// customSections puts the custom sections that still hold at the end of the module. One without a name says nothing to
// anybody, and wazero can't read one that ends the file.
func (w *rewriter) customSections() {
	custom := w.mod.Custom
	for _, s := range w.mod.Sections {
		if s.ID != inspect.SectionCustom {
			continue
		}
		name := custom[0].Name
		custom = custom[1:]
		if name == "" || name == "name" || name == "linking" || strings.HasPrefix(name, "reloc.") || strings.HasPrefix(name, ".debug_") {
			continue
		}
		w.out = append(w.out, w.wasm[s.Offset:s.End]...)
	}
}

// functions is how many functions the module defines.
func (w *rewriter) functions() uint32 {
	return uint32(len(w.mod.Bodies)+len(w.words.types)) + uint32(w.helps)
}

// bodies writes the code section. It writes each function after those that it calls, whose prices it has to know.
func (w *rewriter) bodies() []byte {
	g := newGraph(w.mod)
	hub, order := g.hubs()
	c := checker{functions: make([]function, len(hub)), before: -1}
	for i, is := range hub {
		if is {
			c.functions[i] = newHub(g.size[i])
		}
	}
	w.plan.wasm, w.plan.functions = w.wasm, c.functions
	// Bodies are written one after the other in the order of the calls, and put into the section in the order of indices.
	written := make([]byte, 0, w.mod.CodeBytes+w.mod.CodeBytes/2+16)
	at := make([][2]int, len(w.mod.Bodies))
	spans := make([][]Span, len(w.mod.Bodies))
	for _, i := range order {
		b := w.mod.Bodies[i]
		w.plan.body(w.mod, int(i), w.yield)
		if !w.plan.each {
			c.place(&w.plan, int(i))
			w.plan.outlines()
		}
		params := len(w.mod.Types[w.mod.Functions[i]].Params)
		w.body(b, uint32(params)+b.Locals)
		from := len(written)
		written = append(written, w.code...)
		at[i] = [2]int{from, len(written)}
		if w.opt.Map {
			spans[i] = w.spans
			w.spans = nil
		}
		w.helps = max(w.helps, w.plan.helps)
	}
	w.result.MaxDebt = c.debt()
	w.result.Hints = hints(&c, order)

	section := appendU32(make([]byte, 0, len(written)+4*len(at)+256), w.functions())
	add := func(body []byte) { section = append(appendU32(section, uint32(len(body))), body...) }
	for i, r := range at {
		add(written[r[0]:r[1]])
		for _, s := range spans[i] {
			s.Out += len(section) - (r[1] - r[0])
			w.result.Map = append(w.result.Map, s)
		}
	}
	if w.words.reads {
		add(w.readBody())
	}
	if w.words.writes {
		add(w.writeBody())
	}
	for h := range w.helps {
		add(w.helperBody(h))
	}
	return section
}

// hints returns the order of functions and the hubs, which a verifier need not find out.
func hints(c *checker, order []int32) Hints {
	var h Hints
	for _, i := range order {
		h.Order = append(h.Order, uint32(i))
		if f := &c.functions[i]; f.hub {
			h.Hubs = append(h.Hubs, Hub{Func: uint32(i), Pre: max(f.pre, f.thru)})
		}
	}
	return h
}

// body writes one body. locals is the index of the first of the locals that it may get: one for the lengths it charges
// for and one for the loops that it counts. The code between two edits is copied byte for byte.
func (w *rewriter) body(b inspect.Body, locals uint32) {
	runs, rest := splitCount(w.wasm[b.Start:b.Code])
	var extra []byte
	if w.plan.lengths {
		w.length = locals
		locals++
		runs++
		extra = append(extra, 1, byte(inspect.I32))
	}
	if w.plan.counts {
		w.counter = locals
		runs++
		extra = append(extra, 1, byte(inspect.I64))
	}
	w.code = append(append(appendU32(w.code[:0], runs), rest...), extra...)
	at := b.Code
	for i := range w.plan.edits {
		e := &w.plan.edits[i]
		w.copied(at, e.at)
		at = e.end
		w.edit(e)
	}
	w.copied(at, b.End)
}

// copied writes code of the original as it is.
func (w *rewriter) copied(from, to int) {
	if w.opt.Map {
		w.spans = append(w.spans, Span{len(w.code), from, to - from})
	}
	w.code = append(w.code, w.wasm[from:to]...)
}

// edit writes the bytes that an edit puts in the place of the original's. Labels and flushes depend on which loops are counted, and are
// computed here from the finished plan.
func (w *rewriter) edit(e *edit) {
	p := &w.plan
	switch e.kind {
	case editFunc:
		w.code = appendU32(w.code, e.index)
	case editHelp:
		w.code = appendU32(append(w.code, byte(inspect.OpCall)), w.helper+e.index)
	case editLength:
		w.chargeLength(e.shift)
	case editCharge:
		w.charge(&p.regions[e.region])
	case editDirect:
		w.code = appendU32(append(w.code, byte(inspect.OpBr)), e.index)
	case editJump:
		label := e.index
		if e.around != e.loop {
			label += p.wrappers(e.loop, e.around)
		}
		if p.arrivals[e.landing] > 1 {
			w.jumpIf(label)
		} else {
			w.brIf(label)
		}
	case editLabel:
		w.code = appendU32(w.code, e.index+p.wrappers(e.loop, e.around))
	case editTable:
		n := p.labels[e.index].index
		w.code = appendU32(w.code, n-1)
		for _, l := range p.labels[e.index+1:][:n] {
			label := l.index
			if l.around != e.loop {
				label += p.wrappers(e.loop, l.around)
			}
			w.code = appendU32(w.code, label)
		}
	case editUnroll:
		l := &p.plains[e.index]
		l.cost = p.regions[e.region].cost
		w.writeOut(l)
	case editWrap:
		if p.loops[e.loop].counted {
			w.wrap(w.wasm[e.at:e.head])
		}
	case editUnwrap:
		if p.loops[e.loop].counted {
			w.code = append(w.code, byte(inspect.OpEnd))
		}
	case editFlush:
		if p.owed[e.landing] > 0 {
			w.flush()
			if e.on {
				w.check()
			}
		}
	case editLeave:
		w.leaveIf(e)
	case editBack:
		w.back(e)
	case editCheck:
		if e.on {
			w.check()
		}
	}
}

// charge takes the cost of a region out of the fuel, or adds it to the counter.
func (w *rewriter) charge(r *region) {
	p := &w.plan
	if p.counted(r.loop) {
		if r.check && p.loops[r.loop].counted {
			w.leaveOverQuantum(1)
		}
		if r.cost > 0 {
			w.count(r.cost)
		}
		return
	}
	if r.landing >= 0 && p.owed[r.landing] > 0 {
		w.flush()
	}
	if r.before {
		w.check()
	}
	if r.cost > 0 {
		c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), w.fuel)
		c = appendS64(append(c, byte(inspect.OpI64Const)), r.cost)
		w.code = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)
	}
	if r.check {
		w.check()
	}
}
