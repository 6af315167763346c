package script

import (
	"encoding/binary"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// code is the body of a function that is being written.
type code []byte

func (c code) op(bytes ...byte) code        { return append(c, bytes...) }
func (c code) index(op byte, i uint32) code { return appendU32(append(c, op), i) }

func (c code) constant(v int32) code     { return appendS64(append(c, 0x41), int64(v)) }
func (c code) constant64(v int64) code   { return appendS64(append(c, 0x42), v) }
func (c code) get(local uint32) code     { return c.index(0x20, local) }
func (c code) set(local uint32) code     { return c.index(0x21, local) }
func (c code) global(i uint32) code      { return c.index(0x23, i) }
func (c code) setGlobal(i uint32) code   { return c.index(0x24, i) }
func (c code) call(function uint32) code { return c.index(0x10, function) }

// load and store go by 4 bytes, or by 8 with load64.
func (c code) load(offset uint32) code   { return appendU32(append(c, 0x28, 2), offset) }
func (c code) load64(offset uint32) code { return appendU32(append(c, 0x29, 3), offset) }
func (c code) store(offset uint32) code  { return appendU32(append(c, 0x36, 2), offset) }
func (c code) store8() code              { return append(c, 0x3a, 0, 0) }

// Instructions without operands.
const (
	opUnreachable = 0x00
	opElse        = 0x05
	opEnd         = 0x0b
	opReturn      = 0x0f
	opDrop        = 0x1a
	opEqz         = 0x45
	opEq          = 0x46
	opLessSigned  = 0x48
	opAdd         = 0x6a
	opAnd         = 0x71
)

// when opens an if without a result, to be closed by opEnd.
func (c code) when() code { return append(c, 0x04, 0x40) }

func appendU32(dst []byte, v uint32) []byte { return binary.AppendUvarint(dst, uint64(v)) }

func appendS64(dst []byte, v int64) []byte {
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if (v == 0 && b&0x40 == 0) || (v == -1 && b&0x40 != 0) {
			return append(dst, b)
		}
		dst = append(dst, b|0x80)
	}
}

func appendText(dst []byte, text string) []byte {
	return append(appendU32(dst, uint32(len(text))), text...)
}

// signature is the type of a function, of value types as the binary format has them.
type signature struct{ params, results []byte }

func (s signature) encode() []byte {
	b := append(appendU32([]byte{0x60}, uint32(len(s.params))), s.params...)
	return append(appendU32(b, uint32(len(s.results))), s.results...)
}

// addition is what [extend] adds to a module.
type addition struct {
	imports   []addedImport
	functions []addedFunction // in the order of their numbers
	globals   int             // mutable i32, 0 at first
	data      []byte          // at offset
	offset    int32
	exports   []string // of functions, by their place; empty for none
}

type addedImport struct {
	module, name string
	signature    signature
}

type addedFunction struct {
	signature signature
	locals    []byte // the type of each
	body      code   // without the final end
}

// numbers are the places that functions and globals have in an extended module.
type numbers struct {
	imports   uint32 // of the first added import
	functions uint32 // of the first added function
	globals   uint32 // of the first added global
	old       func(uint32) uint32
}

// numbering says where things will be in m with so many imports added behind its own and its import 0
// taken out, whose place the first added function takes.
func numbering(m *inspect.Module, added int) numbers {
	was, moved := uint32(len(m.Imports)), uint32(added)-1
	functions := was + moved + uint32(len(m.Bodies))
	return numbers{
		imports: was - 1, functions: functions, globals: uint32(len(m.Globals)),
		old: func(i uint32) uint32 {
			switch {
			case i == 0:
				return functions
			case i < was:
				return i - 1
			}
			return i + moved
		},
	}
}

// extend writes m with additions. Import 0 of m is taken out: its callers call the first added function. Of
// m's exports the memory alone is kept. Custom sections are left out.
func extend(m *inspect.Module, n numbers, a *addition) []byte {
	wasm := m.Bytes()
	out := slices.Clone(wasm[:8])
	uses := m.FuncUses
	for _, s := range m.Sections {
		content := wasm[s.Start:s.End]
		count, size := binary.Uvarint(content)
		rest := content[max(size, 0):]
		var body []byte
		switch s.ID {
		case inspect.SectionCustom:
			continue
		case inspect.SectionType:
			body = append(appendU32(nil, uint32(count)+uint32(len(a.imports)+len(a.functions))), rest...)
			for _, i := range a.imports {
				body = append(body, i.signature.encode()...)
			}
			for _, f := range a.functions {
				body = append(body, f.signature.encode()...)
			}
		case inspect.SectionImport:
			body = appendU32(nil, uint32(len(m.Imports)-1+len(a.imports)))
			for _, i := range m.Imports[1:] {
				body = appendU32(append(appendText(appendText(body, i.Module), i.Name), 0), i.Type)
			}
			for k, i := range a.imports {
				body = appendU32(append(appendText(appendText(body, i.module), i.name), 0), uint32(len(m.Types)+k))
			}
		case inspect.SectionFunction:
			body = append(appendU32(nil, uint32(count)+uint32(len(a.functions))), rest...)
			for k := range a.functions {
				body = appendU32(body, uint32(len(m.Types)+len(a.imports)+k))
			}
		case inspect.SectionGlobal:
			body = append(appendU32(nil, uint32(count)+uint32(a.globals)), rest...)
			for range a.globals {
				body = append(body, 0x7f, 1, 0x41, 0, opEnd)
			}
		case inspect.SectionExport:
			body = a.exportSection(n)
		case inspect.SectionElement:
			body = moveUses(wasm, s.Start, s.End, uses, n)
		case inspect.SectionDataCount:
			body = appendU32(nil, uint32(count)+1)
		case inspect.SectionCode:
			body = a.codeSection(m, n)
		case inspect.SectionData:
			body = append(appendU32(nil, uint32(count)+1), rest...)
			body = append(code(append(body, 0)).constant(a.offset), opEnd)
			body = append(appendU32(body, uint32(len(a.data))), a.data...)
		default:
			body = content
		}
		out = append(appendU32(append(out, s.ID), uint32(len(body))), body...)
	}
	return out
}

func (a *addition) exportSection(n numbers) []byte {
	body, count := append(appendText(nil, "memory"), 2, 0), uint32(1)
	for k, name := range a.exports {
		if name != "" {
			body = appendU32(append(appendText(body, name), 0), n.functions+uint32(k))
			count++
		}
	}
	return append(appendU32(nil, count), body...)
}

// moveUses copies bytes of the module with the function indices in it moved.
func moveUses(wasm []byte, from, to int, uses []inspect.FuncUse, n numbers) []byte {
	var body []byte
	for _, use := range uses {
		if use.Offset >= from && use.End <= to {
			body = append(body, wasm[from:use.Offset]...)
			body = appendU32(body, n.old(use.Index))
			from = use.End
		}
	}
	return append(body, wasm[from:to]...)
}

func (a *addition) codeSection(m *inspect.Module, n numbers) []byte {
	wasm := m.Bytes()
	section := appendU32(nil, uint32(len(m.Bodies)+len(a.functions)))
	var body []byte
	for _, b := range m.Bodies {
		body = append(body[:0], wasm[b.Start:b.Code]...)
		at := b.Code
		for it := m.Instructions(b); ; {
			in := it.Next()
			if in == nil {
				break
			}
			if in.Op == inspect.OpCall || in.Op == inspect.OpRefFunc {
				body = append(body, wasm[at:in.Offset]...)
				body = code(body).index(byte(in.Op), n.old(in.Index))
				at = in.End
			}
		}
		body = append(body, wasm[at:b.End]...)
		section = append(appendU32(section, uint32(len(body))), body...)
	}
	for _, f := range a.functions {
		body = appendU32(body[:0], uint32(len(f.locals)))
		for _, t := range f.locals {
			body = append(body, 1, t)
		}
		body = append(append(body, f.body...), opEnd)
		section = append(appendU32(section, uint32(len(body))), body...)
	}
	return section
}
