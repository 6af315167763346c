package hosttest

import (
	"fmt"
	"maps"
	"strings"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// guest is a module of the corpus in the making: imports first, then functions of type
// () → i32, each of which becomes a tool when it has a name.
type guest struct {
	types   [][]byte
	imports [][]byte
	tools   []string // names; "" for functions that are none
	bodies  [][]byte
	pages   uint32   // minimum of the memory; none when 0
	most    uint32   // its maximum; none when 0
	data    string   // at 0
	passive []string // segments that code copies; they come first
	tables  [][]byte
	elems   [][]byte
	globals [][]byte
	exports [][]byte
	end     [][]byte          // sections at the end
	members map[string]string // more members of a tool's JSON
	limits  map[string]int64  // other limits than those of limitsOfCases
	grants  string            // of its policy, a JSON object; none when ""
}

// limitsOfCases are the limits under which hostile tools run: tight, so that a run of the
// corpus is short.
func limitsOfCases() map[string]int64 {
	return map[string]int64{"timeoutMs": 150, "memoryBytes": 4 << 20, "outputBytes": 64 << 10, "tableElements": 10_000}
}

// Functions that native imports, in this order.
const (
	nativeInputLen = iota
	nativeInput
	nativeOutput
	nativeError
	nativeLog
	nativeEmit
	nativeRandom
)

// native is a guest that imports what the constants above name.
func native() *guest {
	g := &guest{types: [][]byte{w.FuncType("", "i")}, pages: 1, members: map[string]string{}}
	g.use("genkit_v1", "input_len", "", "i")
	g.use("genkit_v1", "input", "i", "")
	g.use("genkit_v1", "output", "ii", "")
	g.use("genkit_v1", "error", "ii", "")
	g.use("genkit_v1", "log", "iii", "")
	g.use("genkit_v1", "emit", "ii", "i")
	g.use("wasi_snapshot_preview1", "random_get", "ii", "i")
	return g
}

// Functions that extism imports, in this order.
const (
	extismAlloc = iota
	extismFree
	extismLoad8
	extismLoad64
	extismStore8
	extismStore64
	extismInput8
	extismOutput
	extismVarGet
	extismVarSet
	extismError
	extismLength
)

// extism is a guest that imports what the constants above name.
func extism() *guest {
	g := &guest{types: [][]byte{w.FuncType("", "i")}, members: map[string]string{}}
	for _, f := range []struct{ name, params, results string }{
		{"alloc", "I", "I"},
		{"free", "I", ""},
		{"load_u8", "I", "i"},
		{"load_u64", "I", "I"},
		{"store_u8", "Ii", ""},
		{"store_u64", "II", ""},
		{"input_load_u8", "I", "i"},
		{"output_set", "II", ""},
		{"var_get", "I", "I"},
		{"var_set", "II", ""},
		{"error_set", "I", ""},
		{"length", "I", "I"},
	} {
		g.use("extism:host/env", f.name, f.params, f.results)
	}
	return g
}

// bare is a guest without imports.
func bare() *guest {
	return &guest{types: [][]byte{w.FuncType("", "i")}, members: map[string]string{}}
}

// use imports a function and returns its index.
func (g *guest) use(module, name, params, results string) uint32 {
	g.types = append(g.types, w.FuncType(params, results))
	g.imports = append(g.imports, w.ImportFunc(module, name, uint32(len(g.types)-1)))
	return uint32(len(g.imports) - 1)
}

// add appends a function and returns its index. Call it after every use.
func (g *guest) add(tool, locals string, code ...[]byte) uint32 {
	g.tools = append(g.tools, tool)
	g.bodies = append(g.bodies, w.Body(locals, cat(code...)...))
	return uint32(len(g.imports) + len(g.bodies) - 1)
}

// tool is add for the one tool of most cases, "f"; a second one, "ok", shows that the
// module still works.
func (g *guest) tool(locals string, code ...[]byte) *guest {
	g.add("f", locals, code...)
	g.add("ok", "", i32(0))
	return g
}

func (g *guest) wasm() []byte {
	types := make([]uint32, len(g.bodies))
	for i := len(g.tools); i < len(types); i++ {
		types[i] = uint32(len(g.types) - 1) // bodies beyond the tools are of the last type
	}
	sections := [][]byte{w.Types(g.types...), w.Imports(g.imports...), w.Funcs(types...)}
	if len(g.tables) > 0 {
		sections = append(sections, w.Tables(g.tables...))
	}
	exports := g.exports
	if g.pages > 0 {
		limits := w.Limits(g.pages)
		if g.most > 0 {
			limits = w.Limits(g.pages, g.most)
		}
		sections = append(sections, w.Memories(limits))
		exports = append(exports, w.Export("memory", 2, 0))
	}
	if len(g.globals) > 0 {
		sections = append(sections, w.Globals(g.globals...))
	}
	for i, name := range g.tools {
		if name != "" {
			exports = append(exports, w.Export(name, 0, uint32(len(g.imports)+i)))
		}
	}
	sections = append(sections, w.Exports(exports...))
	if len(g.elems) > 0 {
		sections = append(sections, w.Elements(g.elems...))
	}
	var data [][]byte
	for _, text := range g.passive {
		data = append(data, cat([]byte{1}, w.Name(text)))
	}
	if g.data != "" {
		data = append(data, cat([]byte{0}, i32(0), []byte{opEnd}, w.Name(g.data)))
	}
	if len(g.passive) > 0 {
		sections = append(sections, w.DataCount(uint32(len(data))))
	}
	sections = append(sections, w.Code(g.bodies...))
	if len(data) > 0 {
		sections = append(sections, w.Data(data...))
	}
	return w.Module(append(sections, g.end...)...)
}

// upload is the module with a descriptor of its tools beside it.
func (g *guest) upload(name string) wasmhost.Upload {
	var tools []string
	for _, tool := range g.tools {
		if tool != "" && !strings.HasPrefix(tool, "_") && tool != "genkit_describe" {
			tools = append(tools, fmt.Sprintf(`{"name":%q%s}`, tool, g.members[tool]))
		}
	}
	limits := limitsOfCases()
	maps.Copy(limits, g.limits)
	parts := make([]string, 0, len(limits))
	for k, v := range limits {
		parts = append(parts, fmt.Sprintf("%q:%d", k, v))
	}
	grants := g.grants
	if grants == "" {
		grants = "{}"
	}
	return wasmhost.Upload{
		Name: name, Wasm: g.wasm(),
		Descriptor: fmt.Appendf(nil, `{"abi":"genkit/1","name":%q,"tools":[%s]}`, name, strings.Join(tools, ",")),
		Policy:     fmt.Appendf(nil, `{"limits":{%s},"grants":%s}`, strings.Join(parts, ","), grants),
	}
}

// under replaces a limit of the policy.
func (g *guest) under(limit string, value int64) *guest {
	if g.limits == nil {
		g.limits = map[string]int64{}
	}
	g.limits[limit] = value
	return g
}

// with adds members to the tool's JSON.
func (g *guest) with(tool, members string) *guest {
	g.members[tool] = "," + members
	return g
}

const opEnd = 0x0b

// Instructions without operands, and with those that the corpus needs.
var (
	unreachable = []byte{0x00}
	drop        = []byte{0x1a}
	add         = []byte{0x6a}
	add64       = []byte{0x7c}
	and         = []byte{0x71}
	shiftRight  = []byte{0x76}
	i32Load     = []byte{0x28, 2, 0}
	i32Load8    = []byte{0x2d, 0, 0}
	i32Store    = []byte{0x36, 2, 0}
	i32Store8   = []byte{0x3a, 0, 0}
	memoryFill  = []byte{0xfc, 11, 0}
	memoryCopy  = []byte{0xfc, 10, 0, 0}
	memoryGrow  = []byte{0x40, 0}
	refNull     = []byte{0xd0, 0x70}
	tableGrow   = []byte{0xfc, 15, 0}
)

func cat(parts ...[]byte) []byte { return w.Cat(parts...) }

func i32(v int64) []byte { return append([]byte{0x41}, w.S64(int64(int32(v)))...) }

func i64(v int64) []byte { return append([]byte{0x42}, w.S64(v)...) }

func call(index uint32) []byte { return append([]byte{0x10}, w.U32(index)...) }

func localGet(i uint32) []byte { return append([]byte{0x20}, w.U32(i)...) }

func localSet(i uint32) []byte { return append([]byte{0x21}, w.U32(i)...) }

func globalGet(i uint32) []byte { return append([]byte{0x23}, w.U32(i)...) }

func globalSet(i uint32) []byte { return append([]byte{0x24}, w.U32(i)...) }

// forever repeats code without end; what stands after it is never reached.
func forever(code ...[]byte) []byte {
	return cat([]byte{0x03, 0x40}, cat(code...), []byte{0x0c, 0, opEnd}, unreachable)
}

// times repeats code, counting the local i down from n.
func times(i uint32, n int64, code ...[]byte) []byte {
	return cat(i32(n), localSet(i), []byte{0x03, 0x40}, cat(code...),
		localGet(i), i32(-1), add, []byte{0x22}, w.U32(i), []byte{0x0d, 0, opEnd})
}

// repeated is n copies of code.
func repeated(n int, code ...[]byte) []byte {
	one := cat(code...)
	out := make([]byte, 0, n*len(one))
	for range n {
		out = append(out, one...)
	}
	return out
}

// outputs is a guest whose tool outputs a text.
func outputs(text string) *guest {
	g := native()
	g.data, g.pages = text, uint32(len(text)>>16)+1
	return g.tool("", i32(0), i32(int64(len(text))), call(nativeOutput), i32(0))
}
