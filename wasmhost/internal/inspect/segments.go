package inspect

import "unicode/utf8"

// elementSection reads the segments in all eight forms.
func (p *parser) elementSection() {
	n := p.count("element segments", CodeTooManyElements, p.lim.Elements, 2)
	for range n {
		start := p.pos
		form := p.u32()
		if p.err == nil && form > 7 {
			p.fail(CodeMalformed, start, "", "element segment of the unknown form %d", form)
		}
		active, explicit, exprs := form&1 == 0, form&2 != 0, form&4 != 0
		if active {
			if explicit {
				p.tableIndex()
			}
			p.constExpr()
		} else {
			p.mod.PassiveElem++
		}
		switch {
		case form == 0 || form == 4: // funcref, not written
		case exprs:
			p.refType()
		default:
			if kind := p.byte(); p.err == nil && kind != 0 {
				p.fail(CodeMalformed, p.pos-1, "", "element segment of the unknown kind %d", kind)
			}
		}
		p.elementItems(exprs)
		if p.err != nil {
			return
		}
		p.mod.ElemSegments++
	}
}

func (p *parser) elementItems(exprs bool) {
	itemBytes := 1
	if exprs {
		itemBytes = 3
	}
	n := p.count("table elements", CodeTooManyElements, p.lim.Elements-p.elements, itemBytes)
	p.elements += n
	for range n {
		if exprs {
			p.constExpr()
		} else {
			p.funcRef()
		}
		if p.err != nil {
			return
		}
	}
}

func (p *parser) tableIndex() uint32 {
	start := p.pos
	index := p.u32()
	if p.err == nil && int64(index) >= int64(len(p.mod.Tables)) {
		p.fail(CodeBadIndex, start, "", "table %d does not exist", index)
	}
	return index
}

func (p *parser) dataSection() {
	n := p.count("data segments", CodeTooManyData, p.lim.DataSegments, 2)
	for range n {
		start := p.pos
		switch form := p.u32(); {
		case p.err != nil:
		case form == 0:
			p.constExpr()
		case form == 1:
			p.mod.PassiveData++
		case form == 2:
			if memory := p.u32(); p.err == nil && memory != 0 {
				p.fail(CodeTooManyMemories, start, "", "a data segment for memory %d; one memory is allowed", memory)
			}
			p.constExpr()
		default:
			p.fail(CodeMalformed, start, "", "data segment of the unknown form %d", form)
		}
		size := p.u32()
		if p.err == nil && uint64(size) > uint64(p.remaining()) {
			p.short()
		}
		p.skip(int(size))
		if p.err != nil {
			return
		}
		p.mod.DataSegments++
	}
}

func (p *parser) customSection() {
	start := p.pos
	if len(p.mod.Custom) >= p.lim.CustomSections {
		p.fail(CodeTooManyCustom, start, "strip the module", "more than %d custom sections", p.lim.CustomSections)
	}
	if p.customBytes += p.remaining(); p.customBytes > p.lim.CustomBytes {
		p.fail(CodeCustomTooLarge, start, "strip debug information (-ldflags='-s -w', wasm-strip)",
			"the custom sections hold %d bytes, more than the limit of %d", p.customBytes, p.lim.CustomBytes)
	}
	name := p.name("custom section name", p.lim.NameBytes)
	if p.err != nil {
		return
	}
	custom := CustomSection{Name: name, Offset: p.pos, Size: p.remaining()}
	if name == "name" {
		for _, other := range p.mod.Custom {
			if other.Name == name {
				p.fail(CodeDuplicateCustom, start, "keep one of them", "the custom section %q occurs more than once", name)
			}
		}
		p.nameSection()
	}
	p.mod.Custom = append(p.mod.Custom, custom)
	p.skip(p.end - p.pos)
}

// nameSection checks the framing of the debug names, which wazero decodes eagerly and without bounds of its own.
func (p *parser) nameSection() {
	sectionEnd := p.end
	for p.err == nil && p.pos < sectionEnd {
		id := p.byte()
		size := p.u32()
		if p.err != nil || uint64(size) > uint64(p.remaining()) {
			p.short()
			return
		}
		p.end = p.pos + int(size)
		switch id {
		case 0:
			p.debugName()
		case 1:
			p.nameMap()
		case 2:
			for range p.count("named functions", CodeCountBounds, len(p.buf), 2) {
				p.u32()
				p.nameMap()
				if p.err != nil {
					return
				}
			}
		default:
			p.pos = p.end
		}
		if p.err == nil && p.pos != p.end {
			p.fail(CodeMalformed, p.pos, "strip the name section", "the name section is damaged")
		}
		p.end = sectionEnd
	}
}

func (p *parser) nameMap() {
	for range p.count("names", CodeCountBounds, len(p.buf), 2) {
		p.u32()
		p.debugName()
		if p.err != nil {
			return
		}
	}
}

func (p *parser) debugName() {
	start := p.pos
	size := p.u32()
	if p.err == nil && uint64(size) > uint64(p.remaining()) {
		p.short()
	}
	if p.err != nil {
		return
	}
	if !utf8.Valid(p.buf[p.pos : p.pos+int(size)]) {
		p.fail(CodeBadName, start, "strip the name section", "a name in the name section is not valid UTF-8")
	}
	p.skip(int(size))
}
