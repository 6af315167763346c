package meter

import (
	"slices"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// A convention that moves payloads a word at a call of the host spends ten times as long on the calls as the guest on the
// words. The imports that Options name get functions of the module in their place, which keep words in globals: those
// that were read ahead of the guest, and those that the host has yet to store. The guest can't tell, and its fuel is the same.

// Words is how many words a module reads ahead, or leaves for the host to store.
const Words = 8

// AheadFunc is the function of [YieldModule] that a module imports when it reads ahead. It takes an offset and gives the word
// there and those that follow it, so its type is (i64) -> (i64 × [Words]).
const AheadFunc = "ahead"

// findWords looks for the imports among those of the module.
func (w *rewriter) findWords() {
	d := &w.words
	const i64 = inspect.I64
	reads := w.imports(w.opt.Reads, []inspect.ValType{i64}, []inspect.ValType{i64})
	writes := w.imports(w.opt.Writes, []inspect.ValType{i64, i64}, nil)
	d.globals = w.fuel + 1
	next := d.globals
	if len(reads) > 0 {
		d.base, d.ahead, d.firstIn = next, next+1, next+2
		next += 2 + Words
		w.moved++
	}
	if len(writes) > 0 {
		d.write, d.next, d.pending, d.behind = writes[0], next, next+1, next+2
	}
	w.helper = w.yield + w.moved + uint32(len(w.mod.Bodies))
	w.plan.moved, w.plan.instead = w.moved, make([]uint32, len(w.mod.Imports))
	for _, group := range [][]uint32{reads, writes} {
		for _, i := range group {
			w.plan.instead[i] = w.helper
		}
		if len(group) > 0 {
			d.types = append(d.types, w.mod.Imports[group[0]].Type)
			w.helper++
		}
	}
	d.reads, d.writes = len(reads) > 0, len(writes) > 0
}

// imports returns the indices of an import of that type; a module may import a function more than once.
func (w *rewriter) imports(name Import, params, results []inspect.ValType) []uint32 {
	var found []uint32
	for i, imp := range w.mod.Imports {
		t := w.mod.Types[imp.Type]
		if name == (Import{imp.Module, imp.Name}) && slices.Equal(t.Params, params) && slices.Equal(t.Results, results) {
			found = append(found, uint32(i))
		}
	}
	return found
}

// nameWords chooses the names of the globals that the host reads and writes.
func (w *rewriter) nameWords(prefix string) {
	d := &w.words
	if !d.reads && !d.writes {
		return
	}
	names := &WordGlobals{}
	if d.reads {
		names.Ahead = prefix + "/ahead"
	}
	if d.writes {
		names.Pending, names.Next = prefix+"/pending", prefix+"/next"
		for i := range Words {
			names.Behind = append(names.Behind, prefix+"/behind/"+strconv.Itoa(i))
		}
	}
	w.result.Words = names
}

// count is how many globals there are.
func (d *words) count() uint32 { return uint32(len(d.types)) * (2 + Words) }

// appendGlobals declares the globals.
func (d *words) appendGlobals(body []byte) []byte {
	for i := range d.count() {
		if d.writes && d.globals+i == d.pending {
			body = append(body, byte(inspect.I32), 1, byte(inspect.OpI32Const), 0, opEnd)
		} else {
			body = append(body, byte(inspect.I64), 1, byte(inspect.OpI64Const), 0, opEnd)
		}
	}
	return body
}

// appendWordExports exports them, and tells how many there are.
func (w *rewriter) appendWordExports(body []byte) ([]byte, uint32) {
	names, d, n := w.result.Words, &w.words, uint32(0)
	if names == nil {
		return body, 0
	}
	export := func(name string, global uint32) {
		if name != "" {
			body = appendExport(body, name, global)
			n++
		}
	}
	export(names.Ahead, d.ahead)
	export(names.Pending, d.pending)
	export(names.Next, d.next)
	for i, name := range names.Behind {
		export(name, d.behind+uint32(i))
	}
	return body, n
}

const (
	opBlock     = byte(inspect.OpBlock)
	opIf        = byte(inspect.OpIf)
	opBrTable   = byte(inspect.OpBrTable)
	opCall      = byte(inspect.OpCall)
	opGlobalGet = byte(inspect.OpGlobalGet)
	opGlobalSet = byte(inspect.OpGlobalSet)
	opLocalTee  = byte(inspect.OpLocalTee)
	opI64Const  = byte(inspect.OpI64Const)
	opI64Eq     = 0x51
	opI64LtU    = 0x54
	opI32Wrap   = 0xa7
)

// choose writes a switch with [Words] arms. The bytes in index push the number n that it switches on; arm n/span runs and returns
// from the function. Where n is too large, or no multiple of span, execution goes on behind the arms.
func (w *rewriter) choose(index []byte, span int, arm func(i uint32)) {
	for range Words {
		w.emit([]byte{opBlock, typeEmpty})
	}
	w.emit(index, appendU32([]byte{opBrTable}, uint32(Words*span)))
	for i := range Words * span {
		label := uint32(Words)
		if i%span == 0 {
			label = uint32(i / span)
		}
		w.code = appendU32(w.code, label)
	}
	w.code = appendU32(w.code, Words)
	for i := range uint32(Words) {
		w.emit([]byte{opEnd})
		arm(i)
		w.emit([]byte{opReturn})
	}
}

// global reads or writes a global, as op says.
func (w *rewriter) global(op byte, index uint32) { w.code = appendU32(append(w.code, op), index) }

// readBody is the function that reads: from what was read ahead, or else through the host.
func (w *rewriter) readBody() []byte {
	const offset, at = 0, 1
	d := &w.words
	w.code = append(w.code[:0], 1, 1, byte(inspect.I64))
	w.get(offset)
	w.global(opGlobalGet, d.base)
	w.emit([]byte{opI64Sub, opLocalTee, at})
	w.global(opGlobalGet, d.ahead)
	w.emit([]byte{opI64LtU, opIf, typeEmpty})
	w.choose([]byte{opLocalGet, at, opI32Wrap}, 8, func(i uint32) { w.global(opGlobalGet, d.firstIn+i) })
	// Nothing was read ahead at this offset: the host gives Words words at once, the last of them on top of the stack.
	w.emit([]byte{opEnd, opLocalGet, offset})
	w.code = appendU32(append(w.code, opCall), w.yield+1)
	for i := range uint32(Words) {
		w.global(opGlobalSet, d.firstIn+Words-1-i)
	}
	w.get(offset)
	w.global(opGlobalSet, d.base)
	w.emit(appendS64([]byte{opI64Const}, 8*Words))
	w.global(opGlobalSet, d.ahead)
	w.global(opGlobalGet, d.firstIn)
	w.emit([]byte{opEnd})
	return w.code
}

// writeBody is the function that writes: it leaves a word that follows the one before to the host, as long as there is room.
func (w *rewriter) writeBody() []byte {
	const offset, value = 0, 1
	d := &w.words
	w.code = append(w.code[:0], 0)
	w.get(offset)
	w.global(opGlobalGet, d.next)
	w.emit([]byte{opI64Eq, opIf, typeEmpty})
	w.choose(appendU32([]byte{opGlobalGet}, d.pending), 1, func(i uint32) {
		w.get(value)
		w.global(opGlobalSet, d.behind+i)
		w.emit([]byte{byte(inspect.OpI32Const), byte(i + 1)})
		w.global(opGlobalSet, d.pending)
		w.get(offset)
		w.emit([]byte{opI64Const, 8, opI64Add})
		w.global(opGlobalSet, d.next)
	})
	// A word that does not follow the one before, or finds no room, is stored by the host, which stores those that wait first.
	w.emit([]byte{opEnd})
	w.get(offset, value)
	w.code = append(appendU32(append(w.code, opCall), d.write), opEnd)
	return w.code
}

// appendExport writes the export of a global.
func appendExport(dst []byte, name string, global uint32) []byte {
	return appendU32(append(appendName(dst, name), byte(inspect.ExternGlobal)), global)
}

func appendName(dst []byte, name string) []byte {
	return append(appendU32(dst, uint32(len(name))), name...)
}
