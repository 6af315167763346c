package inspect_test

import (
	"bytes"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// code wraps one body, of type () -> (), in a module with a memory and a table.
func code(body ...[]byte) []byte {
	types := make([]uint32, len(body))
	return w.Module(w.Types(w.FuncType("", "")), w.Funcs(types...), w.Tables(w.Table("r", w.Limits(1))), w.Memories(w.Limits(1)), w.Code(body...))
}

func instructions(body ...byte) []byte { return code(w.Body("", body...)) }

func repeat(n int, code ...byte) []byte { return bytes.Repeat(code, n) }

func header(version ...byte) []byte { return append([]byte("\x00asm"), version...) }

func TestRefusals(t *testing.T) {
	void := w.Types(w.FuncType("", ""))
	huge := []byte{0xff, 0xff, 0xff, 0xff, 0x0f}
	cases := []struct {
		name string
		code string
		wasm []byte
		lim  inspect.Limits
	}{
		{name: "an empty file", code: inspect.CodeEmpty},
		{name: "a text file", code: inspect.CodeBadMagic, wasm: []byte("(module)")},
		{name: "one byte that is not the magic", code: inspect.CodeBadMagic, wasm: []byte("P")},
		{name: "half the magic", code: inspect.CodeTruncated, wasm: []byte("\x00as")},
		{name: "half the version", code: inspect.CodeTruncated, wasm: header(1)},
		{name: "a component", code: inspect.CodeComponent, wasm: header(0x0d, 0, 1, 0)},
		{name: "a component of another version", code: inspect.CodeComponent, wasm: header(0x0e, 0, 1, 0)},
		{name: "version 2", code: inspect.CodeBadVersion, wasm: header(2, 0, 0, 0)},
		{name: "a file over its limit", code: inspect.CodeModuleTooLarge, wasm: everything(), lim: inspect.Limits{ModuleBytes: 100}},
		{name: "a section beyond the file", code: inspect.CodeTruncated, wasm: w.Module([]byte{1, 50, 0})},
		{name: "a section of 4 GiB", code: inspect.CodeTruncated, wasm: w.Module([]byte{1}, huge)},
		{name: "a section longer than its content", code: inspect.CodeSectionBounds, wasm: w.Module([]byte{1, 3, 0, 0, 0})},
		{name: "content longer than its section", code: inspect.CodeSectionBounds, wasm: w.Module([]byte{1, 4, 1, 0x60, 1, 0x7f}, w.Funcs())},
		{name: "an overlong section size", code: inspect.CodeBadLEB, wasm: w.Module([]byte{1, 0x81, 0x80, 0x80, 0x80, 0x80, 0})},
		{name: "a section size with bits beyond 32", code: inspect.CodeBadLEB, wasm: w.Module([]byte{1, 0xff, 0xff, 0xff, 0xff, 0x7f})},
		{name: "an unknown section", code: inspect.CodeSectionUnknown, wasm: w.Module(w.Section(40))},
		{name: "sections out of order", code: inspect.CodeSectionOrder, wasm: w.Module(w.Funcs(), void)},
		{name: "the data count after the code", code: inspect.CodeSectionOrder, wasm: w.Module(void, w.Funcs(0), w.Code(w.Body("")), w.DataCount(0))},
		{name: "a section twice", code: inspect.CodeSectionOrder, wasm: w.Module(void, void)},
		{name: "a tag section", code: inspect.CodeExceptions, wasm: w.Module(void, w.Section(13, w.Vec()))},
		{name: "a start section", code: inspect.CodeStartSection, wasm: w.Module(void, w.Funcs(0), w.Section(8, w.U32(0)), w.Code(w.Body("")))},

		{name: "a vector of a billion types", code: inspect.CodeTooManyTypes, wasm: w.Module(w.Section(1, huge))},
		{name: "more types than bytes", code: inspect.CodeCountBounds, wasm: w.Module(w.Section(1, w.U32(100), []byte{0x60, 0, 0}))},
		{name: "too many types", code: inspect.CodeTooManyTypes, wasm: w.Module(w.Types(w.FuncType("", ""), w.FuncType("", ""))), lim: inspect.Limits{Types: 1}},
		{name: "too many parameters", code: inspect.CodeTooManyParams, wasm: w.Module(w.Types(w.FuncType(strings.Repeat("i", 129), "")))},
		{name: "too many results", code: inspect.CodeTooManyResults, wasm: w.Module(w.Types(w.FuncType("", strings.Repeat("i", 33))))},
		{name: "a garbage collected type", code: inspect.CodeTypedReferences, wasm: w.Module(w.Types([]byte{0x5f, 0, 0}))},
		{name: "a type group", code: inspect.CodeTypedReferences, wasm: w.Module(w.Types([]byte{0x4e, 0, 0}))},
		{name: "an unknown value type", code: inspect.CodeBadType, wasm: w.Module(w.Types([]byte{0x60, 1, 0x11, 0}))},
		{name: "a typed reference", code: inspect.CodeTypedReferences, wasm: w.Module(w.Types([]byte{0x60, 1, 0x64, 0}))},
		{name: "an exception reference", code: inspect.CodeExceptions, wasm: w.Module(w.Types([]byte{0x60, 1, 0x69, 0}))},

		{name: "an imported table", code: inspect.CodeImportKind, wasm: w.Module(w.Imports(w.Cat(w.Name("env"), w.Name("t"), []byte{1, 0x70, 0, 1})))},
		{name: "an imported memory", code: inspect.CodeImportKind, wasm: w.Module(w.Imports(w.Cat(w.Name("env"), w.Name("memory"), []byte{2, 0, 1})))},
		{name: "an imported global", code: inspect.CodeImportKind, wasm: w.Module(w.Imports(w.Cat(w.Name("env"), w.Name("g"), []byte{3, 0x7f, 0})))},
		{name: "an imported tag", code: inspect.CodeImportKind, wasm: w.Module(w.Imports(w.Cat(w.Name("env"), w.Name("e"), []byte{4, 0, 0})))},
		{name: "an import of unknown kind", code: inspect.CodeImportKind, wasm: w.Module(w.Imports(w.Cat(w.Name("env"), w.Name("e"), []byte{9, 0})))},
		{name: "an import of an unknown type", code: inspect.CodeBadIndex, wasm: w.Module(w.Imports(w.ImportFunc("env", "f", 3)))},
		{name: "too many imports", code: inspect.CodeTooManyImports, wasm: w.Module(void, w.Imports(w.ImportFunc("a", "b", 0), w.ImportFunc("a", "c", 0))), lim: inspect.Limits{Imports: 1}},
		{name: "an import name that is not UTF-8", code: inspect.CodeBadName, wasm: w.Module(void, w.Imports(w.ImportFunc("env", "\xff\xfe", 0)))},
		{name: "a function of an unknown type", code: inspect.CodeBadIndex, wasm: w.Module(w.Funcs(1))},
		{name: "300,000 functions", code: inspect.CodeTooManyFunctions, wasm: w.Module(void, w.Funcs(make([]uint32, 300_000)...))},
		{name: "functions without bodies", code: inspect.CodeFunctionMismatch, wasm: w.Module(void, w.Funcs(0))},
		{name: "bodies without functions", code: inspect.CodeFunctionMismatch, wasm: w.Module(void, w.Code(w.Body("")))},

		{name: "two memories", code: inspect.CodeTooManyMemories, wasm: w.Module(w.Memories(w.Limits(1), w.Limits(1)))},
		{name: "a 64-bit memory", code: inspect.CodeMemory64, wasm: w.Module(w.Memories([]byte{4, 1}))},
		{name: "a shared memory", code: inspect.CodeSharedMemory, wasm: w.Module(w.Memories([]byte{3, 1, 2}))},
		{name: "a memory of unknown flags", code: inspect.CodeMalformed, wasm: w.Module(w.Memories([]byte{8, 1}))},
		{name: "a memory that starts too large", code: inspect.CodeMemoryTooLarge, wasm: w.Module(w.Memories(w.Limits(513)))},
		{name: "a memory maximum beyond 4 GiB", code: inspect.CodeMemoryTooLarge, wasm: w.Module(w.Memories(w.Limits(1, 65537)))},
		{name: "a minimum above the maximum", code: inspect.CodeMalformed, wasm: w.Module(w.Memories(w.Limits(3, 2)))},
		{name: "a table of 100 million entries", code: inspect.CodeTableTooLarge, wasm: w.Module(w.Tables(w.Table("r", w.Limits(100_000_000))))},
		{name: "nine tables", code: inspect.CodeTooManyTables, wasm: w.Module(w.Tables(bytes.Split(repeat(9, 0x70, 0, 1, ','), []byte{','})[:9]...))},
		{name: "a table of numbers", code: inspect.CodeBadType, wasm: w.Module(w.Tables(w.Table("i", w.Limits(1))))},
		{name: "a table with an initial value", code: inspect.CodeTypedReferences, wasm: w.Module(w.Tables([]byte{0x40, 0, 0x70, 0, 1, 0xd0, 0x70, 0x0b}))},

		{name: "too many globals", code: inspect.CodeTooManyGlobals, wasm: w.Module(w.Globals(w.Global("i", true, 0x41, 0), w.Global("i", true, 0x41, 0))), lim: inspect.Limits{Globals: 1}},
		{name: "a global of unknown mutability", code: inspect.CodeMalformed, wasm: w.Module(w.Globals([]byte{0x7f, 2, 0x41, 0, 0x0b}))},
		{name: "a computed constant", code: inspect.CodeUnknownOpcode, wasm: w.Module(w.Globals(w.Global("i", true, 0x41, 0, 0x41, 0, 0x6a)))},
		{name: "a global set to an unknown function", code: inspect.CodeBadIndex, wasm: w.Module(w.Globals(w.Global("r", false, 0xd2, 9)))},
		{name: "an unknown function exported", code: inspect.CodeBadIndex, wasm: w.Module(w.Exports(w.Export("f", 0, 0)))},
		{name: "an unknown memory exported", code: inspect.CodeBadIndex, wasm: w.Module(w.Exports(w.Export("m", 2, 0)))},
		{name: "an export of unknown kind", code: inspect.CodeMalformed, wasm: w.Module(w.Exports(w.Export("m", 7, 0)))},
		{name: "a name exported twice", code: inspect.CodeDuplicateExport, wasm: w.Module(w.Memories(w.Limits(1)), w.Exports(w.Export("m", 2, 0), w.Export("m", 2, 0)))},
		{name: "an export name with a newline", code: inspect.CodeBadName, wasm: w.Module(w.Memories(w.Limits(1)), w.Exports(w.Export("a\nb", 2, 0)))},
		{name: "an export name with a zero byte", code: inspect.CodeBadName, wasm: w.Module(w.Memories(w.Limits(1)), w.Exports(w.Export("a\x00b", 2, 0)))},
		{name: "an export name that runs backwards", code: inspect.CodeBadName, wasm: w.Module(w.Memories(w.Limits(1)), w.Exports(w.Export("a\u202eb", 2, 0)))},
		{name: "an export name of a megabyte", code: inspect.CodeNameTooLong, wasm: w.Module(w.Memories(w.Limits(1)), w.Exports(w.Export(strings.Repeat("a", 1<<20), 2, 0)))},
		{name: "too many exports", code: inspect.CodeTooManyExports, wasm: everything(), lim: inspect.Limits{Exports: 3}},

		{name: "an element segment for an unknown table", code: inspect.CodeBadIndex, wasm: w.Module(w.Elements(w.Cat([]byte{2, 1, 0x41, 0, 0x0b, 0}, w.Vec())))},
		{name: "an element segment of an unknown form", code: inspect.CodeMalformed, wasm: w.Module(w.Elements([]byte{8, 0}))},
		{name: "an element segment of an unknown kind", code: inspect.CodeMalformed, wasm: w.Module(w.Elements([]byte{1, 1, 0}))},
		{name: "an element segment of a billion entries", code: inspect.CodeTooManyElements, wasm: w.Module(w.Elements(w.Cat([]byte{1, 0}, huge)))},
		{name: "too many elements over several segments", code: inspect.CodeTooManyElements, wasm: everything(), lim: inspect.Limits{Elements: 8}},
		{name: "a data segment for a second memory", code: inspect.CodeTooManyMemories, wasm: w.Module(w.Data([]byte{2, 1, 0x41, 0, 0x0b, 0}))},
		{name: "a data segment of an unknown form", code: inspect.CodeMalformed, wasm: w.Module(w.Data([]byte{3, 0}))},
		{name: "a data segment of 4 GiB", code: inspect.CodeTruncated, wasm: w.Module(w.Data(w.Cat([]byte{1}, huge)))},
		{name: "too many data segments", code: inspect.CodeTooManyData, wasm: everything(), lim: inspect.Limits{DataSegments: 2}},
		{name: "a data count that does not fit", code: inspect.CodeDataCountMismatch, wasm: w.Module(w.DataCount(2), w.Data([]byte{1, 0}))},
		{name: "a data count without data", code: inspect.CodeDataCountMismatch, wasm: w.Module(w.DataCount(2))},
		{name: "data.drop without a data count", code: inspect.CodeDataCountMismatch, wasm: instructions(0xfc, 9, 0)},

		{name: "too many custom sections", code: inspect.CodeTooManyCustom, wasm: w.Module(bytes.Repeat(w.Custom("a", nil), 65))},
		{name: "too large custom sections", code: inspect.CodeCustomTooLarge, wasm: w.Module(w.Custom("a", make([]byte, 100)), w.Custom("b", make([]byte, 100))), lim: inspect.Limits{CustomBytes: 150}},
		{name: "a custom section with a control character", code: inspect.CodeBadName, wasm: w.Module(w.Custom("a\x1b[2J", nil))},
		{name: "two name sections", code: inspect.CodeDuplicateCustom, wasm: w.Module(w.Custom("name", nil), w.Custom("name", nil))},
		{name: "a name section that claims a billion names", code: inspect.CodeCountBounds, wasm: w.Module(w.Custom("name", w.Cat([]byte{1}, w.RawBody(w.Cat([]byte{0xff, 0xff, 0xff, 0x7f}, make([]byte, 20))))))},
		{name: "a name section with a subsection too long", code: inspect.CodeTruncated, wasm: w.Module(w.Custom("name", []byte{1, 9, 0}))},
		{name: "a name section with bytes left over", code: inspect.CodeMalformed, wasm: w.Module(w.Custom("name", []byte{1, 2, 0, 0}))},

		{name: "a body beyond the section", code: inspect.CodeTruncated, wasm: w.Module(void, w.Funcs(0), w.Code([]byte{9, 0, 0x0b}))},
		{name: "a body without its end", code: inspect.CodeTruncated, wasm: code(w.RawBody([]byte{0, 1}))},
		{name: "a first body without its end", code: inspect.CodeSectionBounds, wasm: code(w.RawBody([]byte{0, 1}), w.Body(""))},
		{name: "code after the end", code: inspect.CodeMalformed, wasm: code(w.RawBody([]byte{0, 0x0b, 1}))},
		{name: "too much code", code: inspect.CodeCodeTooLarge, wasm: instructions(repeat(100, 1)...), lim: inspect.Limits{CodeBytes: 50}},
		{name: "a body of 5 MB", code: inspect.CodeBodyTooLarge, wasm: instructions(repeat(5_000_000, 1)...)},
		{name: "2^32-1 locals", code: inspect.CodeTooManyLocals, wasm: code(w.RawBody(w.Cat([]byte{1}, huge, []byte{0x7f, 0x0b})))},
		{name: "2^33 locals in many runs", code: inspect.CodeTooManyLocals, wasm: code(w.RawBody(w.Cat([]byte{3}, bytes.Repeat(w.Cat(huge, []byte{0x7f}), 3), []byte{0x0b})))},
		{name: "an unknown type of local", code: inspect.CodeBadType, wasm: code(w.RawBody([]byte{1, 1, 0x40, 0x0b}))},
		{name: "deep nesting", code: inspect.CodeTooDeep, wasm: instructions(w.Cat(repeat(2000, 2, 0x40), repeat(2000, 0x0b))...), lim: inspect.Limits{Depth: 1999}},
		{name: "an else without an if", code: inspect.CodeMalformed, wasm: instructions(0x05)},
		{name: "two elses", code: inspect.CodeMalformed, wasm: instructions(0x41, 0, 0x04, 0x40, 0x05, 0x05, 0x0b)},
		{name: "a branch to nowhere", code: inspect.CodeBadIndex, wasm: instructions(0x0c, 1)},
		{name: "a br_table to nowhere", code: inspect.CodeBadIndex, wasm: instructions(0x41, 0, 0x0e, 1, 0, 5)},
		{name: "a br_table with a million labels", code: inspect.CodeBrTableTooLarge, wasm: instructions(w.Cat([]byte{0x41, 0, 0x0e}, w.U32(1_000_000), make([]byte, 1_000_001))...)},
		{name: "a br_table without its labels", code: inspect.CodeCountBounds, wasm: instructions(0x41, 0, 0x0e, 0xff, 0xff, 0xff, 0x0f, 0)},
		{name: "a call of an unknown function", code: inspect.CodeBadIndex, wasm: instructions(0x10, 1)},
		{name: "a block of an unknown type", code: inspect.CodeBadIndex, wasm: instructions(0x02, 7, 0x0b)},
		{name: "a block type in two bytes", code: inspect.CodeBadType, wasm: instructions(0x02, 0xc0, 0x7f, 0x0b)},
		{name: "an i32 with bits beyond 32", code: inspect.CodeBadLEB, wasm: instructions(0x41, 0xff, 0xff, 0xff, 0xff, 0x4f, 0x1a)},
		{name: "an i64 in eleven bytes", code: inspect.CodeBadLEB, wasm: instructions(w.Cat([]byte{0x42}, repeat(10, 0x80), []byte{0, 0x1a})...)},
		{name: "an i64 with bits beyond 64", code: inspect.CodeBadLEB, wasm: instructions(w.Cat([]byte{0x42}, repeat(9, 0x80), []byte{2, 0x1a})...)},

		{name: "an unknown instruction", code: inspect.CodeUnknownOpcode, wasm: instructions(0x27)},
		{name: "an unknown misc instruction", code: inspect.CodeUnknownOpcode, wasm: instructions(0xfc, 18)},
		{name: "an unknown vector instruction", code: inspect.CodeUnknownOpcode, wasm: instructions(0xfd, 0x9a, 1)},
		{name: "a relaxed vector instruction", code: inspect.CodeUnknownOpcode, wasm: instructions(0xfd, 0x80, 2)},
		{name: "a vector instruction in three bytes", code: inspect.CodeBadLEB, wasm: instructions(0xfd, 0x80, 0x81, 0)},
		{name: "a vector instruction that wazero would read as another", code: inspect.CodeBadLEB, wasm: instructions(0xfd, 0x80, 0)},
		{name: "an atomic instruction", code: inspect.CodeThreads, wasm: instructions(0xfe, 3, 0)},
		{name: "a try block", code: inspect.CodeExceptions, wasm: instructions(0x06, 0x40, 0x0b)},
		{name: "a try_table", code: inspect.CodeExceptions, wasm: instructions(0x1f, 0x40, 0, 0x0b)},
		{name: "a tail call", code: inspect.CodeTailCall, wasm: instructions(0x12, 0)},
		{name: "a call through a reference", code: inspect.CodeTypedReferences, wasm: instructions(0x14, 0)},
		{name: "a garbage collector instruction", code: inspect.CodeTypedReferences, wasm: instructions(0xfb, 0)},
		{name: "a null of a typed reference", code: inspect.CodeTypedReferences, wasm: instructions(0xd0, 0x6e, 0x1a)},
		{name: "a load from a second memory", code: inspect.CodeTooManyMemories, wasm: instructions(0x41, 0, 0x28, 0x42, 1, 0, 0x1a)},
		{name: "an alignment that overflows", code: inspect.CodeMalformed, wasm: instructions(0x41, 0, 0x28, 33, 0, 0x1a)},
		{name: "a growth of a second memory", code: inspect.CodeTooManyMemories, wasm: instructions(0x41, 0, 0x40, 1, 0x1a)},
		{name: "a copy from a second memory", code: inspect.CodeTooManyMemories, wasm: instructions(0x41, 0, 0x41, 0, 0x41, 0, 0xfc, 10, 0, 1)},
		{name: "a select of two types", code: inspect.CodeMalformed, wasm: instructions(0x1c, 2, 0x7f, 0x7f)},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			m, err := inspect.Parse(c.wasm, c.lim)
			assert.Nil(t, m)
			assertCode(t, c.code, err)
		})
	}
}

func TestARefusalSaysWhatToDo(t *testing.T) {
	_, err := inspect.Parse(header(0x0d, 0, 1, 0), inspect.Limits{})
	var refusal *inspect.Refusal
	assert.ErrorAs(t, err, &refusal)
	assert.Contains(t, refusal.Hint, "wasm32-wasip1")
	assert.Contains(t, refusal.Error(), inspect.CodeComponent)
}

func TestPaddedNumbersAreAccepted(t *testing.T) {
	_, err := inspect.Parse(instructions(0x41, 0x80, 0x80, 0x80, 0x80, 0x00, 0x1a, 0x42, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x1a, 0x41, 0xff, 0xff, 0xff, 0xff, 0x7f, 0x1a), inspect.Limits{})
	assert.NoError(t, err)
}

// An upload of a few bytes must not make the parser allocate for what it declares.
func TestClaimsAllocateNothing(t *testing.T) {
	for id := byte(1); id <= 11; id++ { // the data count, 12, is a number and no claim
		wasm := w.Module(w.Section(id, []byte{0xff, 0xff, 0xff, 0xff, 0x0f}))
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		_, err := inspect.Parse(wasm, inspect.Limits{})
		runtime.ReadMemStats(&after)
		assert.Error(t, err)
		assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(64<<10), "section %d", id)
	}
}
