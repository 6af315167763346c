// Package wasmtest assembles WebAssembly modules byte by byte, for the tests of the packages that read them. It owns
// no checks: a test that needs a broken module breaks it here.
//
//	wasm := wasmtest.Module(
//		wasmtest.Types(wasmtest.FuncType("", "i")),
//		wasmtest.Funcs(0),
//		wasmtest.Exports(wasmtest.Export("answer", 0, 0)),
//		wasmtest.Code(wasmtest.Body("", 0x41, 42)),
//	)
//
// Value types are written as letters: i for i32, I for i64, f for f32, F for f64, v for v128, r for funcref and x for
// externref.
package wasmtest

import "bytes"

// Header is the magic number and the version of a core module.
var Header = []byte{0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00}

// Section numbers.
const (
	SecCustom byte = iota
	SecType
	SecImport
	SecFunction
	SecTable
	SecMemory
	SecGlobal
	SecExport
	SecStart
	SecElement
	SecCode
	SecData
	SecDataCount
)

// Module joins the header and the sections given, in the order given.
func Module(sections ...[]byte) []byte {
	return append(bytes.Clone(Header), bytes.Join(sections, nil)...)
}

// Section frames content with its number and its size.
func Section(id byte, content ...[]byte) []byte {
	body := bytes.Join(content, nil)
	return append(append([]byte{id}, U32(uint32(len(body)))...), body...)
}

// Vec puts the count in front of the items.
func Vec(items ...[]byte) []byte {
	return append(U32(uint32(len(items))), bytes.Join(items, nil)...)
}

// U32 encodes an unsigned LEB128.
func U32(v uint32) []byte {
	var out []byte
	for v >= 0x80 {
		out = append(out, byte(v)|0x80)
		v >>= 7
	}
	return append(out, byte(v))
}

// S64 encodes a signed LEB128, which serves i32.const, i64.const and block types.
func S64(v int64) []byte {
	var out []byte
	for {
		b := byte(v & 0x7f)
		v >>= 7
		if v == 0 && b&0x40 == 0 || v == -1 && b&0x40 != 0 {
			return append(out, b)
		}
		out = append(out, b|0x80)
	}
}

// Name encodes a length and the bytes of s, whether or not they are UTF-8.
func Name(s string) []byte { return append(U32(uint32(len(s))), s...) }

// ValTypes turns letters into value type bytes.
func ValTypes(letters string) []byte {
	codes := map[rune]byte{'i': 0x7f, 'I': 0x7e, 'f': 0x7d, 'F': 0x7c, 'v': 0x7b, 'r': 0x70, 'x': 0x6f}
	out := make([]byte, 0, len(letters))
	for _, letter := range letters {
		out = append(out, codes[letter])
	}
	return out
}

// FuncType encodes a function type from the letters of its parameters and results.
func FuncType(params, results string) []byte {
	out := append([]byte{0x60}, U32(uint32(len(params)))...)
	out = append(append(out, ValTypes(params)...), U32(uint32(len(results)))...)
	return append(out, ValTypes(results)...)
}

// Body encodes one function body: a run of locals for each letter, the code, and the final end.
func Body(locals string, code ...byte) []byte {
	runs := make([][]byte, 0, len(locals))
	for _, t := range ValTypes(locals) {
		runs = append(runs, []byte{1, t})
	}
	return RawBody(append(append(Vec(runs...), code...), 0x0b))
}

// RawBody frames content that already holds its locals and its end.
func RawBody(content []byte) []byte { return append(U32(uint32(len(content))), content...) }

// Types makes the section of its items.
func Types(items ...[]byte) []byte { return Section(SecType, Vec(items...)) }

// Imports makes the section of its items.
func Imports(items ...[]byte) []byte { return Section(SecImport, Vec(items...)) }

// Tables makes the section of its items.
func Tables(items ...[]byte) []byte { return Section(SecTable, Vec(items...)) }

// Memories makes the section of its items.
func Memories(items ...[]byte) []byte { return Section(SecMemory, Vec(items...)) }

// Globals makes the section of its items.
func Globals(items ...[]byte) []byte { return Section(SecGlobal, Vec(items...)) }

// Exports makes the section of its items.
func Exports(items ...[]byte) []byte { return Section(SecExport, Vec(items...)) }

// Elements makes the section of its items.
func Elements(items ...[]byte) []byte { return Section(SecElement, Vec(items...)) }

// Code makes the section of its items.
func Code(items ...[]byte) []byte { return Section(SecCode, Vec(items...)) }

// Data makes the section of its items.
func Data(items ...[]byte) []byte { return Section(SecData, Vec(items...)) }

// Funcs is the function section: a type index for each body.
func Funcs(types ...uint32) []byte {
	items := make([][]byte, len(types))
	for i, t := range types {
		items[i] = U32(t)
	}
	return Section(SecFunction, Vec(items...))
}

// DataCount is the section that memory.init and data.drop need.
func DataCount(n uint32) []byte { return Section(SecDataCount, U32(n)) }

// Custom is a custom section.
func Custom(name string, data []byte) []byte { return Section(SecCustom, Name(name), data) }

// ImportFunc imports a function of the type with that index.
func ImportFunc(module, name string, typ uint32) []byte {
	return bytes.Join([][]byte{Name(module), Name(name), {0}, U32(typ)}, nil)
}

// Export exports the item of that kind (0 function, 1 table, 2 memory, 3 global) and index.
func Export(name string, kind byte, index uint32) []byte {
	return append(append(Name(name), kind), U32(index)...)
}

// Limits encodes a minimum, and a maximum when one is given.
func Limits(min uint32, max ...uint32) []byte {
	if len(max) == 0 {
		return append([]byte{0}, U32(min)...)
	}
	return append(append([]byte{1}, U32(min)...), U32(max[0])...)
}

// Global encodes a global of one type letter with an initial expression without its end.
func Global(letter string, mutable bool, init ...byte) []byte {
	mut := byte(0)
	if mutable {
		mut = 1
	}
	return append(append(append(ValTypes(letter), mut), init...), 0x0b)
}

// Table encodes a table of one type letter (r or x).
func Table(letter string, limits []byte) []byte { return append(ValTypes(letter), limits...) }

// Cat joins code fragments.
func Cat(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// Says is a module of the contract genkit/1 whose one function outputs a constant.
func Says(descriptor, export, output string) []byte {
	letters := make([][]byte, len(output))
	for i := range letters {
		letters[i] = []byte{output[i]}
	}
	return Module(
		Types(FuncType("", "i"), FuncType("ii", "")), Imports(ImportFunc("genkit_v1", "output", 1)),
		Funcs(0), Memories(Limits(1, 1)), Exports(Export(export, 0, 1)),
		Code(Body("", Cat([]byte{0x41, 0, 0x41}, S64(int64(len(output))), []byte{0x10, 0, 0x41, 0})...)),
		Data(Cat([]byte{0, 0x41, 0, 0x0b}, Vec(letters...))), Custom("genkit.module", []byte(descriptor)),
	)
}
