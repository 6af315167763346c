package meter

import (
	"bytes"
	"encoding/binary"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/inspect"
)

// rewriter is the state of one Rewrite.
type rewriter struct {
	wasm   []byte
	mod    *inspect.Module
	opt    Options
	out    []byte
	yield  uint32 // index of the imported function, and of the first one that moves
	moved  uint32 // by how much
	fuel   uint32 // index of the fuel global
	uses   []inspect.FuncUse
	plan   plan
	result Result

	helps   helper // the module gets those before it
	helper  uint32 // index of the first one
	words   words
	code    []byte // the body being written
	length  uint32 // its local for a length
	counter uint32 // its local for what counted loops owe
}

// added are the sections that a metered module always has, in file order.
var added = [...]byte{inspect.SectionType, inspect.SectionImport, inspect.SectionGlobal, inspect.SectionExport}

// rank is the place of a section in a file.
func rank(id byte) int {
	if id == inspect.SectionDataCount {
		return int(inspect.SectionElement)*2 + 1
	}
	return int(id) * 2
}

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
	case inspect.SectionType:
		body = append(appendU32(nil, count+3), rest...)
		body = append(body, 0x60, 0, 0) // of yield
		body = append(body, 0x60, 3, byte(inspect.I32), byte(inspect.I32), byte(inspect.I32), 0)
		body = append(body, 0x60, 1, byte(inspect.I64), Words)
		body = append(body, bytes.Repeat([]byte{byte(inspect.I64)}, Words)...)
	case inspect.SectionImport:
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
	case inspect.SectionGlobal:
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
	c := checker{functions: make([]function, len(hub))}
	for i, is := range hub {
		if is {
			c.functions[i] = newHub(g.size[i])
		}
	}
	w.plan.wasm = w.wasm
	written := make([]byte, 0, w.mod.CodeBytes+w.mod.CodeBytes/2+16)
	at := make([][2]int, len(w.mod.Bodies))
	for _, i := range order {
		b := w.mod.Bodies[i]
		w.plan.body(w.mod, b, w.yield)
		if !w.plan.each {
			c.place(&w.plan, int(i))
			w.plan.outlines()
		}
		params := len(w.mod.Types[w.mod.Functions[i]].Params)
		w.body(b, uint32(params)+b.Locals)
		from := len(written)
		written = append(written, w.code...)
		at[i] = [2]int{from, len(written)}
		w.helps = max(w.helps, w.plan.helps)
	}
	w.result.MaxDebt = c.worst

	section := appendU32(make([]byte, 0, len(written)+4*len(at)+256), w.functions())
	add := func(body []byte) { section = append(appendU32(section, uint32(len(body))), body...) }
	for _, r := range at {
		add(written[r[0]:r[1]])
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

// body writes one body. locals is the index of the first of the locals that it may get: one for the lengths it charges
// for and one for the loops that it counts.
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
		w.code = append(w.code, w.wasm[at:e.at]...)
		at = e.end
		w.edit(e)
	}
	w.code = append(w.code, w.wasm[at:b.End]...)
}

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
	case editBack:
		w.back(e)
	case editCheck:
		if e.on {
			w.check()
		}
	}
}

const (
	opI64GtS       = 0x55
	opI64LeS       = 0x57
	opI64GeS       = 0x59
	opI64Add       = 0x7c
	opI64Sub       = 0x7d
	opI64Shl       = 0x86
	opI64ShrU      = 0x88
	opI64ExtendU32 = 0xad
	typeEmpty      = 0x40
)

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

// leaveOverQuantum jumps when the counter holds more than it should. The arm that goes on stands first, as in check.
func (w *rewriter) leaveOverQuantum(label uint32) {
	c := appendU32(append(w.code, byte(inspect.OpLocalGet)), w.counter)
	c = append(appendS64(append(c, byte(inspect.OpI64Const)), LoopQuantum), opI64LeS, byte(inspect.OpIf), typeEmpty)
	w.code = append(appendU32(append(c, byte(inspect.OpElse), byte(inspect.OpBr)), label+1), byte(inspect.OpEnd))
}

// overQuantum pushes whether the counter holds more than it should.
func (w *rewriter) overQuantum() []byte {
	c := appendU32(append(w.code, byte(inspect.OpLocalGet)), w.counter)
	return append(appendS64(append(c, byte(inspect.OpI64Const)), LoopQuantum), opI64GtS)
}

// jumpIf is a br_if, as an if around a br where that is faster: where several ways lead to a place, wazero puts a block of
// its own on the way of a br_if, and then compares into a register first.
func (w *rewriter) jumpIf(label uint32) {
	if w.plan.roomy() {
		w.emit([]byte{byte(inspect.OpIf), typeEmpty, byte(inspect.OpBr)})
		w.code = append(appendU32(w.code, label+1), byte(inspect.OpEnd))
	} else {
		w.brIf(label)
	}
}

func (w *rewriter) brIf(label uint32) {
	w.code = appendU32(append(w.code, byte(inspect.OpBrIf)), label)
}

// wrap opens the loop around a counted loop, of which it is given the first bytes.
func (w *rewriter) wrap(head []byte) {
	w.code = append(w.code, head...)
	w.code = append(w.overQuantum(), byte(inspect.OpIf), typeEmpty)
	w.flush()
	w.check()
	w.code = append(w.code, byte(inspect.OpEnd))
}

// flush pays what the counter holds.
func (w *rewriter) flush() {
	c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), w.fuel)
	c = appendU32(append(c, byte(inspect.OpLocalGet)), w.counter)
	c = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)
	w.code = appendU32(append(c, byte(inspect.OpI64Const), 0, byte(inspect.OpLocalSet)), w.counter)
}

// check calls the host when fuel is below zero. The arm without the call stands first, because wazero's allocator of
// registers takes the first way to a place as the one to be fast: so nothing is put on the stack and fetched back where
// the host is not called.
func (w *rewriter) check() {
	if w.plan.outline {
		w.code = appendU32(append(w.code, byte(inspect.OpCall)), w.helper+uint32(helpCheck))
		return
	}
	c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), w.fuel)
	c = append(c, byte(inspect.OpI64Const), 0, opI64GeS, byte(inspect.OpIf), typeEmpty, byte(inspect.OpElse), byte(inspect.OpCall))
	w.code = append(appendU32(c, w.yield), byte(inspect.OpEnd))
}

// chargeLength takes the price of the length on top of the stack, which stays there.
func (w *rewriter) chargeLength(shift int) {
	c := appendU32(append(w.code, byte(inspect.OpLocalTee)), w.length)
	c = appendU32(append(c, byte(inspect.OpGlobalGet)), w.fuel)
	c = appendU32(append(c, byte(inspect.OpLocalGet)), w.length)
	c = append(c, opI64ExtendU32, byte(inspect.OpI64Const))
	if shift >= 0 {
		c = append(appendS64(c, int64(shift)), opI64ShrU)
	} else {
		c = append(appendS64(c, int64(-shift)), opI64Shl)
	}
	w.code = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)
	w.check()
}

func appendU32(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

func appendS64(dst []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}

func appendName(dst []byte, name string) []byte {
	return append(appendU32(dst, uint32(len(name))), name...)
}

func appendExport(dst []byte, name string, global uint32) []byte {
	return appendU32(append(appendName(dst, name), byte(inspect.ExternGlobal)), global)
}

// readS32 reads a signed LEB128 number that inspect.Parse has read before.
func readS32(src []byte) int32 {
	var v int64
	for i, b := range src {
		v |= int64(b&0x7f) << (7 * i)
		if b < 0x80 {
			if b&0x40 != 0 {
				v |= -1 << (7 * (i + 1))
			}
			break
		}
	}
	return int32(v)
}
