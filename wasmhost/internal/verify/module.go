package verify

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

const yieldModule = "genkit:meter"

// module compares everything but the functions' code.
func (c *checker) module() {
	c.findWords()
	c.sections()
	c.types()
	c.importList()
	c.memories()
	c.tables()
	c.globals()
	c.exports()
	c.customs()
	c.want(!c.old.HasStart && !c.new.HasStart, "a start function")
	c.want(len(c.new.Functions) >= len(c.old.Functions) && slices.Equal(c.old.Functions, c.new.Functions[:len(c.old.Functions)]), "types of functions")
	c.want(len(c.new.Bodies) == len(c.new.Functions) && len(c.old.Bodies) == len(c.old.Functions), "functions without code")
	c.addedFunctions()
	c.shapes = c.newShapes()
}

// section returns the place of the content of a section, which is empty when there is none.
func section(m *inspect.Module, id byte) (start, end int) {
	for _, s := range m.Sections {
		if s.ID == id && id != inspect.SectionCustom {
			return s.Start, s.End
		}
	}
	return 0, 0
}

// items returns the place of what follows the count of a section.
func items(m *inspect.Module, id byte) (start, end int) {
	start, end = section(m, id)
	if start < end {
		_, size, ok := u32(m.Bytes()[start:end])
		if ok {
			start += size
		}
	}
	return start, end
}

// sections wants the same sections, and compares those that stay as they are.
func (c *checker) sections() {
	for id := range inspect.SectionDataCount + 1 {
		switch id {
		case inspect.SectionCustom:
		case inspect.SectionType, inspect.SectionImport, inspect.SectionGlobal, inspect.SectionExport:
			c.want(has(c.new, id), "there is no section %d", id)
		default:
			c.want(has(c.old, id) == has(c.new, id), "section %d was added or taken away", id)
		}
	}
	for _, id := range []byte{inspect.SectionMemory, inspect.SectionData, inspect.SectionDataCount} {
		from, to := section(c.old, id)
		at, end := section(c.new, id)
		c.want(bytes.Equal(c.from[from:to], c.to[at:end]), "section %d was changed", id)
	}
	from, to := section(c.old, inspect.SectionElement)
	at, end := section(c.new, inspect.SectionElement)
	if c.err == nil && from < to {
		c.want(c.same(from, to, at, end) == end, "the elements were changed")
	}
}

// same compares a stretch of the original with what stands in the rewritten module from at on, where function indices have
// moved. It returns where that ends, or -1.
func (c *checker) same(from, to, at, end int) int {
	uses := c.old.FuncUses
	first, _ := slices.BinarySearchFunc(uses, from, func(u inspect.FuncUse, offset int) int { return u.Offset - offset })
	piece := func(want []byte) bool {
		if at < 0 || end-at < len(want) || !bytes.Equal(c.to[at:at+len(want)], want) {
			return false
		}
		at += len(want)
		return true
	}
	var index []byte
	for _, use := range uses[first:] {
		if use.Offset >= to {
			break
		}
		if use.Index < c.imports {
			continue
		}
		index = appendU32(index[:0], use.Index+c.moved)
		if !piece(c.from[from:use.Offset]) || !piece(index) {
			return -1
		}
		from = use.End
	}
	if !piece(c.from[from:to]) {
		return -1
	}
	return at
}

func (c *checker) types() {
	const i32, i64 = inspect.I32, inspect.I64
	added := []inspect.FuncType{
		{},
		{Params: []inspect.ValType{i32, i32, i32}},
		{Params: []inspect.ValType{i64}, Results: slices.Repeat([]inspect.ValType{i64}, keptWords)},
	}
	want := slices.Concat(c.old.Types, added)
	c.want(slices.EqualFunc(want, c.new.Types, func(a, b inspect.FuncType) bool {
		return slices.Equal(a.Params, b.Params) && slices.Equal(a.Results, b.Results)
	}), "types of functions were changed")
}

func (c *checker) importList() {
	own := uint32(len(c.old.Types))
	want := append(slices.Clone(c.old.Imports), inspect.Import{Module: yieldModule, Name: "yield", Type: own})
	if c.words.reads {
		want = append(want, inspect.Import{Module: yieldModule, Name: "ahead", Type: own + 2})
	}
	c.want(slices.Equal(want, c.new.Imports), "imports were changed")
}

func (c *checker) memories() {
	a, b := c.old.Memory, c.new.Memory
	c.want((a == nil) == (b == nil) && (a == nil || *a == *b), "the memory was changed")
}

// tables wants a maximum of each table: the original's, or less, down to the larger of the limit and its minimum.
func (c *checker) tables() {
	if len(c.old.Tables) != len(c.new.Tables) {
		c.fail("%d tables have become %d", len(c.old.Tables), len(c.new.Tables))
		return
	}
	for i, a := range c.old.Tables {
		most := max(a.Min, c.claim.MaxTableElements)
		if a.HasMax {
			most = min(most, a.Max)
		}
		b := c.new.Tables[i]
		c.want(b == inspect.TableType{Elem: a.Elem, Min: a.Min, Max: most, HasMax: true}, "table %d has other limits", i)
	}
}

// globals wants the original's globals, and after them the meter's, which begin as zero.
func (c *checker) globals() {
	from, to := items(c.old, inspect.SectionGlobal)
	at, end := items(c.new, inspect.SectionGlobal)
	added := []byte{byte(inspect.I64), 1, 0x42, 0, 0x0b}
	n := 1
	if c.words.reads {
		added = append(added, bytes.Repeat(added[:5], 2+keptWords)...)
		n += 2 + keptWords
	}
	if c.words.writes {
		added = append(added, added[:5]...)
		added = append(added, byte(inspect.I32), 1, 0x41, 0, 0x0b)
		added = append(added, bytes.Repeat(added[:5], keptWords)...)
		n += 2 + keptWords
	}
	if at = c.same(from, to, at, end); at < 0 || !bytes.Equal(c.to[at:end], added) || len(c.new.Globals) != len(c.old.Globals)+n {
		c.fail("globals were changed")
	}
}

// exports wants the original's exports, and after them those that the host was told of.
func (c *checker) exports() {
	from, to := items(c.old, inspect.SectionExport)
	at, end := items(c.new, inspect.SectionExport)
	if c.same(from, to, at, end) < 0 || len(c.new.Exports) < len(c.old.Exports) {
		c.fail("exports were changed")
		return
	}
	var want []inspect.Export
	add := func(name string, global uint32) {
		want = append(want, inspect.Export{Name: name, Kind: inspect.ExternGlobal, Index: global})
	}
	add(c.claim.Fuel, c.fuel)
	var globals []Global
	for i, g := range c.old.Globals {
		if g.Mutable && len(globals) < len(c.claim.Globals) {
			name := c.claim.Globals[len(globals)].Export
			restorable := g.Type == inspect.I32 || g.Type == inspect.I64 || g.Type == inspect.F32 || g.Type == inspect.F64
			globals = append(globals, Global{uint32(i), name, g.Type, !restorable})
			add(name, uint32(i))
		} else if g.Mutable {
			c.fail("the host was not told of global %d", i)
		}
	}
	c.want(slices.Equal(globals, c.claim.Globals), "the host was told something else of the globals")
	c.wordExports(add)
	c.want(slices.Equal(want, c.new.Exports[len(c.old.Exports):]), "the meter exports something else than it says")
}

func (c *checker) wordExports(add func(name string, global uint32)) {
	d, names := &c.words, c.claim.Words
	if names == nil {
		c.want(!d.reads && !d.writes, "the host was not told that words are kept")
		return
	}
	if d.reads {
		add(names.Ahead, d.base+1)
	}
	c.want(d.reads || names.Ahead == "", "no words are read ahead")
	if d.writes {
		add(names.Pending, d.next+1)
		add(names.Next, d.next)
		for i, name := range names.Behind {
			add(name, d.next+2+uint32(i))
		}
	}
	n := 0
	if d.writes {
		n = keptWords
	}
	c.want(len(names.Behind) == n && (d.writes || names.Pending == "" && names.Next == ""), "the host was told of %d words", len(names.Behind))
}

// customs wants no custom section that the original has not, in no other order, and none with names of functions, whose
// indices have moved.
func (c *checker) customs() {
	rest := c.old.Custom
	for _, s := range c.new.Custom {
		i := slices.IndexFunc(rest, func(o inspect.CustomSection) bool {
			return o.Name == s.Name && bytes.Equal(c.from[o.Offset:o.Offset+o.Size], c.to[s.Offset:s.Offset+s.Size])
		})
		if i < 0 || s.Name == "name" {
			c.fail("the custom section %q was changed or added", s.Name)
			return
		}
		rest = rest[i+1:]
	}
}

// Check proves that rewritten, parsed from bytes of any origin, is a metered form of original, which wazero must have
// validated. The error is a [*Failure]. It is safe for concurrent use.
func Check(original, rewritten *inspect.Module, claim Claim) (_ *Report, err error) {
	defer func() { // a fault of the verifier refuses the module
		if r := recover(); r != nil {
			err = &Failure{Func: -1, Offset: -1, Reason: fmt.Sprintf("the verifier panicked: %v", r)}
		}
	}()
	if original == nil || rewritten == nil {
		return nil, &Failure{Func: -1, Offset: -1, Reason: "there is no module"}
	}
	c := newChecker(original, rewritten, claim)
	c.module()
	c.functions()
	if c.err != nil {
		return nil, c.err
	}
	return &c.report, nil
}
