package sandbox_test

import (
	"io/fs"
	"path/filepath"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

const (
	opUnreachable  = 0x00
	opLoop         = 0x03
	opIf           = 0x04
	opEnd          = 0x0b
	opBr           = 0x0c
	opCall         = 0x10
	opCallIndirect = 0x11
	opDrop         = 0x1a
	opTableGet     = 0x25
	opTableSet     = 0x26
	opI32Const     = 0x41
	opRefFunc      = 0xd2
	opRefIsNull    = 0xd1
	opI32Eqz       = 0x45
	void           = 0x40
)

// withOK makes a module of functions of type () → i32: the last one returns 0 and is
// exported as "ok", the first one as "f".
func withOK(bodies [][]byte, more ...[]byte) []byte {
	types := make([]uint32, len(bodies)+1)
	last := uint32(len(bodies))
	sections := [][]byte{w.Types(w.FuncType("", "i")), w.Funcs(types...)}
	sections = append(sections, more...)
	sections = append(sections,
		w.Exports(w.Export("f", 0, 0), w.Export("ok", 0, last)),
		w.Code(append(bodies, w.Body("", opI32Const, 0))...))
	return w.Module(sections...)
}

// loopModule never returns.
func loopModule() []byte {
	return withOK([][]byte{w.Body("", opLoop, void, opBr, 0, opEnd, opUnreachable)})
}

// callTree calls 2^depth functions without a loop.
func callTree(depth int) []byte {
	var bodies [][]byte
	for i := range depth {
		next := w.U32(uint32(i + 1))
		code := append(append([]byte{opCall}, next...), opDrop, opCall)
		bodies = append(bodies, w.Body("", append(code, next...)...))
	}
	return withOK(bodies)
}

// recursion calls itself without end.
func recursion() []byte {
	return withOK([][]byte{w.Body("", opCall, 0)})
}

// fills fills 16 MiB over and over, in straight lines that a loop repeats.
func fills() []byte {
	code := []byte{opLoop, void}
	for range 100 {
		code = append(code, opI32Const, 0, opI32Const, 1, opI32Const)
		code = append(code, w.S64(16<<20)...)
		code = append(code, 0xfc, 0x0b, 0)
	}
	code = append(code, opBr, 0, opEnd, opUnreachable)
	return withOK([][]byte{w.Body("", code...)}, w.Memories(w.Limits(256, 256)))
}

// tablePoisoner fails when entry 0 of its table is taken, then takes it.
func tablePoisoner() []byte {
	return w.Module(
		w.Types(w.FuncType("", "i")), w.Funcs(0, 0),
		w.Tables(w.Table("r", w.Limits(1, 1))),
		w.Exports(w.Export("f", 0, 0), w.Export("ok", 0, 1)),
		w.Elements(w.Cat([]byte{0x03, 0x00}, w.Vec(w.U32(1)))), // declared, so that ref.func may name it
		w.Code(
			w.Body("",
				opI32Const, 0, opTableGet, 0, opRefIsNull, opI32Eqz, opIf, void, opUnreachable, opEnd,
				opI32Const, 0, opRefFunc, 1, opTableSet, 0,
				opI32Const, 0),
			w.Body("", opI32Const, 0),
		))
}

func walk(dir string, visit func(file string)) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			visit(path)
		}
		return err
	})
}

// caller repeats one call of a host function that moves many bytes for little fuel.
func caller(module, name, params, results string, args ...byte) []byte {
	code := append([]byte{opLoop, void}, args...)
	code = append(code, opCall, 0)
	for range results {
		code = append(code, opDrop)
	}
	code = append(code, opBr, 0, opEnd, opUnreachable)
	return w.Module(
		w.Types(w.FuncType("", "i"), w.FuncType(params, results)),
		w.Imports(w.ImportFunc(module, name, 1)),
		w.Funcs(0, 0), w.Memories(w.Limits(32)), w.Exports(w.Export("f", 0, 1), w.Export("ok", 0, 2), w.Export("memory", 2, 0)),
		w.Code(w.Body("", code...), w.Body("", opI32Const, 0)))
}
