package hosttest_test

import (
	"encoding/base64"
	"encoding/json"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// builder assembles a module function by function. Imports come before functions.
type builder struct {
	types, imports, exports, bodies [][]byte
	known                           map[string]uint32
	funcs                           []uint32
	data                            []byte
	before                          [][]byte // sections before the code
}

func (b *builder) typ(params, results string) uint32 {
	key := params + ">" + results
	if b.known == nil {
		b.known = map[string]uint32{}
	}
	if _, ok := b.known[key]; !ok {
		b.known[key] = uint32(len(b.types))
		b.types = append(b.types, w.FuncType(params, results))
	}
	return b.known[key]
}

// imp imports a function and returns the code of a call of it.
func (b *builder) imp(module, name, params, results string) []byte {
	b.imports = append(b.imports, w.ImportFunc(module, name, b.typ(params, results)))
	return []byte{0x10, byte(len(b.imports) - 1)}
}

func (b *builder) native(name, params, results string) []byte {
	return b.imp("genkit_v1", name, params, results)
}

// text is the code that pushes the place and the length of a constant.
func (b *builder) text(s string) []byte {
	at := len(b.data)
	b.data = append(b.data, s...)
	return w.Cat(num(at), num(len(s)))
}

func num(n int) []byte { return w.Cat([]byte{0x41}, w.S64(int64(n))) }

// export adds a function () -> i32 with one local.
func (b *builder) export(name string, code ...[]byte) {
	b.add(name, "i", w.Cat(code...))
}

func (b *builder) add(name, results string, code []byte) {
	b.exports = append(b.exports, w.Export(name, 0, uint32(len(b.imports)+len(b.funcs))))
	b.funcs = append(b.funcs, b.typ("", results))
	b.bodies = append(b.bodies, w.Body("i", code...))
}

// says exports functions that output constants, by name and text in turn.
func (b *builder) says(output []byte, pairs ...string) {
	for i := 0; i < len(pairs); i += 2 {
		b.export(pairs[i], b.text(pairs[i+1]), output, num(0))
	}
}

// module gives the bytes, with a descriptor of the lists unless they are empty.
func (b *builder) module(lists string) []byte {
	letters := make([][]byte, len(b.data))
	for i := range letters {
		letters[i] = b.data[i : i+1]
	}
	sections := [][]byte{w.Types(b.types...)}
	if len(b.imports) > 0 {
		sections = append(sections, w.Imports(b.imports...))
	}
	b.exports = append(b.exports, w.Export("memory", 2, 0))
	sections = append(sections, w.Funcs(b.funcs...), w.Memories(w.Limits(2, 2)), w.Exports(b.exports...))
	sections = append(sections, b.before...)
	sections = append(sections, w.Code(b.bodies...), w.Data(w.Cat([]byte{0, 0x41, 0, 0x0b}, w.Vec(letters...))))
	if lists != "" {
		sections = append(sections, w.Custom("genkit.module", []byte(descriptorOf(lists))))
	}
	return w.Module(sections...)
}

func descriptorOf(lists string) string { return `{"abi":"genkit/1","name":"v",` + lists + `}` }

const (
	oneTool  = `"tools":[{"name":"f"}]`
	at       = 70000 // where a guest puts what it gets
	returned = 90000
)

// saying is a module of constants.
func saying(lists string, pairs ...string) []byte {
	b := &builder{}
	b.says(b.native("output", "ii", ""), pairs...)
	return b.module(lists)
}

// quoting fails with its input as the message, as export "q", beside constants.
func quoting(lists string, pairs ...string) []byte {
	b := &builder{}
	output, input, length, fail := b.native("output", "ii", ""), b.native("input", "i", ""), b.native("input_len", "", "i"), b.native("error", "ii", "")
	b.says(output, pairs...)
	b.export("q", num(at), input, num(at), length, fail, num(1))
	return b.module(lists)
}

// relaying hands its input to a capability and outputs the reply, as export "f", beside constants.
func relaying(capability, lists string, pairs ...string) []byte {
	b := &builder{}
	output, input, length, reply := b.native("output", "ii", ""), b.native("input", "i", ""), b.native("input_len", "", "i"), b.native("reply", "i", "")
	call := b.native(capability, "ii", "i")
	b.says(output, pairs...)
	b.export("f", num(at), input, num(at), length, call, []byte{0x21, 0}, num(returned), reply, num(returned), []byte{0x20, 0}, output, num(0))
	return b.module(lists)
}

// wrapping calls next with a constant and outputs the value of the reply, which stands between the first
// six bytes and the last; it fails without a word where there is none.
func wrapping(request, lists string, pairs ...string) []byte {
	b := &builder{}
	output, reply, next := b.native("output", "ii", ""), b.native("reply", "i", ""), b.native("next", "ii", "i")
	b.says(output, pairs...)
	b.export("f", b.text(request), next, []byte{0x21, 0}, num(returned), reply,
		num(returned+2), []byte{0x2d, 0, 0}, num('o'), []byte{0x47, 0x04, 0x40}, num(1), []byte{0x0f, 0x0b}, // not {"o…: return 1
		num(returned+6), []byte{0x20, 0}, num(7), []byte{0x6b}, output, num(0))
	return b.module(lists)
}

func raw(s string) json.RawMessage { return json.RawMessage(s) }

// vectorModules are the vectors whose modules are assembled here.
func vectorModules() (all []moduleVector) {
	add := func(name, says string, wasm []byte, v moduleVector, clauses ...string) {
		v.Name, v.Says, v.Wasm, v.Clauses = name, says, base64.StdEncoding.EncodeToString(wasm), clauses
		all = append(all, v)
	}
	refused := func(code string) moduleVector { return moduleVector{Refused: code} }
	runs := func(of ...moduleRun) moduleVector { return moduleVector{Runs: of} }
	run := func(key, input, output string) moduleRun {
		return moduleRun{Key: key, Input: raw(input), Expect: moduleExpect{Output: raw(output)}}
	}
	fails := func(key, input, code, contains string) moduleRun {
		return moduleRun{Key: key, Input: raw(input), Expect: moduleExpect{Code: code, Contains: contains}}
	}
	addUploads(add, refused, runs, run)
	addCapabilities(add, refused, runs, run)
	addHooks(add, runs, run, fails)
	addActions(add, refused, runs, run, fails)
	addWIT(add, refused, runs, run, fails)
	return all
}

type (
	addFunc  func(name, says string, wasm []byte, v moduleVector, clauses ...string)
	runFunc  func(key, input, output string) moduleRun
	failFunc func(key, input, code, contains string) moduleRun
)

func addUploads(add addFunc, refused func(string) moduleVector, runs func(...moduleRun) moduleVector, run runFunc) {
	bare := &builder{}
	bare.export("f", num(0))
	add("module-bare", "A module that imports nothing is a native one; no output is null.", bare.module(oneTool), runs(run("/tool/v/f", "1", "null")), "1.1", "6.3")
	add("module-component", "A component is no core module.", []byte("\x00asm\x0d\x00\x01\x00"), refused("INVALID_ARGUMENT"), "1.1")
	memory := &builder{}
	memory.imports = [][]byte{w.Cat(w.Name("env"), w.Name("memory"), []byte{2}, w.Limits(1))}
	add("module-memory-imported", "A module defines its own memory.", memory.module(oneTool), refused("INVALID_ARGUMENT"), "1.2")
	for name, from := range map[string][4]string{
		"module-import-unknown": {"env", "f", "", ""}, "module-import-other-name": {"genkit_v1", "outputs", "ii", ""}, "module-import-other-type": {"genkit_v1", "output", "i", ""},
	} {
		b := &builder{}
		b.imp(from[0], from[1], from[2], from[3])
		b.export("f", num(0))
		add(name, "Imports are those of the contract, by name and type.", b.module(oneTool), refused("INVALID_ARGUMENT"), "1.3", "3.2")
	}
	start := &builder{before: [][]byte{w.Section(8, w.U32(0))}}
	start.add("f", "", nil)
	add("module-start", "There is no start section.", start.module(oneTool), refused("INVALID_ARGUMENT"), "1.4")
	typed := &builder{}
	typed.exports = append(typed.exports, w.Export("f", 0, 0))
	typed.funcs = append(typed.funcs, typed.typ("i", "i"))
	typed.bodies = append(typed.bodies, w.Body("", 0x20, 0))
	add("module-tool-type", "A tool takes nothing and returns an i32.", typed.module(oneTool), refused("INVALID_ARGUMENT"), "1.5")
	add("module-tool-missing", "A tool is an export.", saying(`"tools":[{"name":"g"}]`, "f", "1"), refused("INVALID_ARGUMENT"), "1.5")
	initial := &builder{}
	output := initial.native("output", "ii", "")
	initial.add("_initialize", "", w.Cat(num(at), num('7'), []byte{0x3a, 0, 0}))
	initial.export("f", num(at), num(1), output, num(0))
	add("module-initialised", "What _initialize leaves in the memory is there in each call.", initial.module(oneTool), runs(run("/tool/v/f", "null", "7"), run("/tool/v/f", "null", "7")), "2.2")
	random := &builder{}
	output = random.native("output", "ii", "")
	get := random.imp("wasi_snapshot_preview1", "random_get", "ii", "i")
	random.export("f", num(at), num(8), get, []byte{0x1a}, num(at), num(at), []byte{0x29, 3, 0, 0x42}, w.S64(0x0f0f0f0f0f0f0f0f), []byte{0x83, 0x42}, w.S64(0x6161616161616161), []byte{0x7c, 0x37, 3, 0},
		num(at), num(8), output, num(0))
	add("module-random", "Random bytes are fresh for each call.", random.module(`"tools":[{"name":"f","io":"text"}]`), runs(moduleRun{Key: "/tool/v/f", Input: raw(`""`), Repeat: true}), "2.5")
	wasi := &builder{}
	output = wasi.native("output", "ii", "")
	sizes := wasi.imp("wasi_snapshot_preview1", "environ_sizes_get", "ii", "i")
	wasi.export("f", num(at), num(at+4), sizes, []byte{0x1a}, num(at), num(at), []byte{0x28, 2, 0}, num('0'), []byte{0x6a, 0x3a, 0, 0}, num(at), num(1), output, num(0))
	add("module-environment", "There is no environment.", wasi.module(oneTool), runs(run("/tool/v/f", "null", "0")), "7.1")
	command := &builder{}
	command.add("_start", "", nil)
	add("module-command", "A command, which exports _start only, can't be called.", command.module(oneTool), refused("INVALID_ARGUMENT"), "7.1")
	describing := &builder{}
	describing.says(describing.native("output", "ii", ""), "f", "1", "genkit_describe", descriptorOf(oneTool))
	add("descriptor-export", "The descriptor may be the output of genkit_describe.", describing.module(""), runs(run("/tool/v/f", "null", "1")), "5.1")
	sidecar := runs(run("/tool/v/other", "null", "1"))
	sidecar.Descriptor = raw(descriptorOf(`"tools":[{"name":"other","export":"f"}]`))
	add("descriptor-sidecar", "A descriptor beside the upload takes the place of the module's own.", saying(oneTool, "f", "1"), sidecar, "5.1")
	add("descriptor-unknown-fields", "Fields of a descriptor that are not known are ignored.", saying(`"tools":[{"name":"f","later":1}],"later":{}`, "f", "1"), runs(run("/tool/v/f", "null", "1")), "5.2")
	add("descriptor-empty", "A module offers at least one part.", saying(`"tools":[]`, "f", "1"), refused("INVALID_ARGUMENT"), "5.3")
	add("descriptor-twice", "Names of a list are unlike each other.", saying(`"tools":[{"name":"f"},{"name":"f"}]`, "f", "1"), refused("INVALID_ARGUMENT"), "5.4")
	add("descriptor-multipart", "A multipart tool is a tool.v2.", saying(`"tools":[{"name":"f","multipart":true}]`, "f", `{"output":1,"content":[{"text":"a"}]}`),
		runs(run("/tool.v2/v/f", "null", `{"output":1,"content":[{"text":"a"}]}`)), "5.4")
	extism := &builder{}
	alloc, store, set := extism.imp("extism:host/env", "alloc", "I", "I"), extism.imp("extism:host/env", "store_u64", "II", ""), extism.imp("extism:host/env", "output_set", "II", "")
	eight := func(text uint64) []byte {
		return w.Cat([]byte{0x42, 8}, alloc, []byte{0xa7, 0x22, 0, 0xad, 0x42}, w.S64(int64(text)), store, []byte{0x20, 0, 0xad, 0x42, 8}, set, num(0))
	}
	extism.export("f", eight(0x226d736974786522)) // "extism" with its quotes
	extism.export("g", eight(0x226d736974786522))
	add("extism", "Extism's convention has the same descriptor, io and schemas.", extism.module(`"tools":[{"name":"f"},{"name":"g","outputSchema":{"type":"integer"}}]`),
		runs(run("/tool/v/f", "null", `"extism"`), moduleRun{Key: "/tool/v/g", Expect: moduleExpect{Code: "INTERNAL"}}), "6.1", "6.2")
	both := &builder{}
	both.imp("extism:host/env", "alloc", "I", "I")
	both.native("output", "ii", "")
	both.export("f", num(0))
	add("extism-and-native", "A module speaks one convention.", both.module(oneTool), refused("INVALID_ARGUMENT"), "6.1")
}

func addCapabilities(add addFunc, refused func(string) moduleVector, runs func(...moduleRun) moduleVector, run runFunc) {
	granted := func(policy string, of ...moduleRun) moduleVector {
		v := runs(of...)
		v.Policy = raw(policy)
		return v
	}
	add("ungranted", "What a module asks for grants nothing: an import that is not granted is refused at upload.", relaying("now", oneTool+`,"requests":{"clock":true}`), refused("PERMISSION_DENIED"), "2.1", "3.14", "5.5")
	add("now", "The time, where the clock is granted.", relaying("now", oneTool), granted(`{"grants":{"clock":true}}`, moduleRun{Key: "/tool/v/f", Expect: moduleExpect{Contains: `{"ok":"2`}}), "3.12", "3.6")
	add("resumed", "Nothing, in a first run.", relaying("resumed", oneTool), runs(run("/tool/v/f", "null", `{"ok":null}`)), "3.10", "3.6")
	add("next-outside", "Only hooks have a next.", relaying("next", oneTool), runs(run("/tool/v/f", "{}", `{"error":{"code":"FAILED_PRECONDITION"}}`)), "3.11")
	add("unknown-field", "A request with a field that is not known is refused.", relaying("kv_get", oneTool), granted(`{"grants":{"kv":true}}`,
		run("/tool/v/f", `{"key":"a","later":1}`, `{"error":{"code":"INVALID_ARGUMENT"}}`), run("/tool/v/f", `{"key":"a"}`, `{"ok":null}`)), "3.13")
	early := &builder{}
	output, reply, kv := early.native("output", "ii", ""), early.native("reply", "i", ""), early.native("kv_get", "ii", "i")
	early.add("_initialize", "", w.Cat(num(at), early.text(`{"key":"a"}`), kv, []byte{0x36, 2, 0}, num(returned), reply))
	early.export("f", num(returned), num(at), []byte{0x28, 2, 0}, output, num(0))
	add("initialisation-is-granted-nothing", "During initialisation nothing is granted.", early.module(oneTool), granted(`{"grants":{"kv":true}}`, run("/tool/v/f", "null", `{"error":{"code":"PERMISSION_DENIED"}}`)), "3.15")
	const answer = `{"message":{"role":"model","content":[{"text":"answered"}]},"finishReason":"stop"}`
	asks := `{"model":"v/m","messages":[{"role":"user","content":[{"text":"a"}]}]`
	add("generate", "A granted model answers; middleware is not a guest's to choose.", relaying("generate", oneTool+`,"models":[{"name":"m"}]`, "m", answer),
		granted(`{"grants":{"generate":["v/m"]}}`, run("/tool/v/f", asks+`}`, `{"ok":{"message":{"content":[{"text":"answered"}]}}}`), run("/tool/v/f", asks+`,"use":[{"name":"x"}]}`, `{"error":{"code":"PERMISSION_DENIED"}}`),
			run("/tool/v/f", `{"model":"other/m","messages":[]}`, `{"error":{"code":"PERMISSION_DENIED"}}`)), "3.20")
}

func addHooks(add addFunc, runs func(...moduleRun) moduleVector, run runFunc, fails failFunc) {
	const lists = `"tools":[{"name":"t"}],"models":[{"name":"m"}],"middleware":[{"name":"f","hooks":["model"]}]`
	const said = `{"message":{"role":"model","content":[{"text":"the model"}]},"finishReason":"stop"}`
	const ask = `{"model":"v/m","messages":[{"role":"system","content":[{"text":"s"}]},{"role":"user","content":[{"text":"a"}]}],"use":[{"name":"v/f"}]`
	const same = `{"role":"system","content":[{"text":"s"}]},{"role":"user","content":[{"text":"a"}]}`
	add("hook-answers", "A hook may answer in the model's place.", saying(lists, "t", "1", "m", said, "f", `{"message":{"role":"model","content":[{"text":"the hook"}]},"finishReason":"stop"}`),
		runs(run("/util/generate", ask+`}`, `{"message":{"content":[{"text":"the hook"}]}}`)), "9.1")
	add("hook-next", "next hands the request on, and a hook may add messages of the user.", wrapping(`{"messages":[`+same+`,{"role":"user","content":[{"text":"more"}]}]}`, lists, "t", "1", "m", said),
		runs(run("/util/generate", ask+`}`, `{"message":{"content":[{"text":"the model"}]}}`)), "9.1", "9.2", "3.6")
	add("hook-forbidden", "A hook changes no message of its caller; what next fails with is passed on by a hook that fails without a word.",
		wrapping(`{"messages":[{"role":"user","content":[{"text":"a"}]}]}`, lists, "t", "1", "m", said), runs(fails("/util/generate", ask+`}`, "PERMISSION_DENIED", "")), "9.2", "9.3")
	add("hook-notes", "An answer of a hook carries no notes of the loop.",
		saying(lists, "t", "1", "m", said, "f", `{"message":{"role":"model","content":[{"toolRequest":{"name":"t","input":{}},"metadata":{"interrupt":true,"acme/x":1}}]},"finishReason":"stop"}`),
		runs(moduleRun{Key: "/util/generate", Input: raw(ask + `,"tools":["v/t"],"returnToolRequests":true}`), Expect: moduleExpect{Contains: `"acme/x":1`, Lacks: `"interrupt"`}}), "9.4")
	add("format", "A format's instructions reach the model in the user's message.", quoting(`"models":[{"name":"m","export":"q"}],"formats":[{"name":"f"}]`, "f", `"as instructed"`),
		runs(fails("/util/generate", `{"model":"v/m","messages":[{"role":"user","content":[{"text":"a"}]}],"output":{"format":"v/f"}}`, "INTERNAL", `as instructed`)), "10.1")
}

func addActions(add addFunc, refused func(string) moduleVector, runs func(...moduleRun) moduleVector, run runFunc, fails failFunc) {
	const doc = `{"content":[{"text":"a"}]}`
	embeds := `{"input":[` + doc + `],"options":{"n":1}}`
	add("action-embedder", "An embedder is an action of Genkit's kind, whose options are checked before it runs.",
		saying(`"embedders":[{"name":"f","configSchema":{"type":"object","properties":{"n":{"type":"integer"}}}}]`, "f", `{"embeddings":[{"embedding":[0.5]}]}`),
		runs(run("/embedder/v/f", embeds, `{"embeddings":[{"embedding":[0.5]}]}`), fails("/embedder/v/f", `{"input":[],"options":{"n":"x"}}`, "INVALID_ARGUMENT", "")), "11.1", "11.3")
	add("action-asked", "The input is Genkit's request.", quoting(`"retrievers":[{"name":"q"}],"indexers":[{"name":"q"}]`),
		runs(fails("/retriever/v/q", `{"query":`+doc+`}`, "INTERNAL", `{"query":`+doc+`}`), fails("/indexer/v/q", `{"documents":[`+doc+`]}`, "INTERNAL", `{"documents":[`+doc+`]}`)), "11.1")
	add("action-output", "An output of another form is INTERNAL.", saying(`"embedders":[{"name":"f"}]`, "f", `{"vectors":[]}`), runs(fails("/embedder/v/f", embeds, "INTERNAL", "")), "11.2")
	add("action-dimensions", "Vectors have the length that is said, and there is one for each document.", saying(`"embedders":[{"name":"f","info":{"dimensions":2}},{"name":"g"}]`, "f", `{"embeddings":[{"embedding":[1]}]}`, "g", `{"embeddings":[]}`),
		runs(fails("/embedder/v/f", embeds, "INTERNAL", ""), fails("/embedder/v/g", embeds, "INTERNAL", "")), "11.4")
	add("action-evaluator", "An evaluator is asked case by case; a failure is the case's score.", saying(`"evaluators":[{"name":"f"}]`, "f", `[{"testCaseId":"a","evaluation":{"score":1}}]`),
		runs(moduleRun{Key: "/evaluator/v/f", Input: raw(`{"dataset":[{"testCaseId":"a"},{"testCaseId":"b"}],"evalRunId":"r"}`), Expect: moduleExpect{Output: raw(`[{"testCaseId":"a","evaluation":{"score":1}},{"testCaseId":"b"}]`), Contains: "Evaluation of test case b failed"}}), "11.5")
	add("action-reranker", "A reranker gives no more than it was given, each with a score.",
		saying(`"rerankers":[{"name":"f"},{"name":"g"}]`, "f", `{"documents":[{"content":[{"text":"a"}],"metadata":{"score":0.5}}]}`, "g", `{"documents":[`+doc+`]}`),
		runs(run("/reranker/v/f", `{"query":`+doc+`,"documents":[`+doc+`]}`, `{"documents":[{"metadata":{"score":0.5}}]}`), fails("/reranker/v/f", `{"query":`+doc+`,"documents":[]}`, "INTERNAL", ""),
			fails("/reranker/v/g", `{"query":`+doc+`,"documents":[`+doc+`]}`, "INTERNAL", "")), "11.6")
	streaming := &builder{}
	output, emit := streaming.native("output", "ii", ""), streaming.native("emit", "ii", "i")
	streaming.export("f", streaming.text(`{"content":[{"text":"a"}]}`), emit, []byte{0x1a}, streaming.text(`{"message":{"role":"model","content":[{"text":"all"}]},"finishReason":"stop"}`), output, num(0))
	streaming.export("g", streaming.text(`{"message":{"role":"user","content":[{"text":"all"}]}}`), output, num(0))
	add("action-model", "A model streams, and speaks as the model.", streaming.module(`"models":[{"name":"f"},{"name":"g"}]`),
		runs(moduleRun{Key: "/model/v/f", Input: raw(`{"messages":[]}`), Expect: moduleExpect{Output: raw(`{"message":{"role":"model","content":[{"text":"all"}]}}`), Chunks: raw(`[{"content":[{"text":"a"}]}]`)}},
			fails("/model/v/g", `{"messages":[]}`, "INTERNAL", "")), "11.7", "3.7")
	add("action-model-credentials", "A model sees no credentials of the config.", quoting(`"models":[{"name":"q"}]`),
		runs(moduleRun{Key: "/model/v/q", Input: raw(`{"messages":[],"config":{"temperature":0.5,"apiKey":"hush"}}`), Expect: moduleExpect{Code: "INTERNAL", Contains: `"temperature":0.5`, Lacks: "hush"}}), "11.7")
	add("action-parts", "Parts carry no notes of the engine, and ask for no tool.",
		saying(`"retrievers":[{"name":"f"},{"name":"g"}]`, "f", `{"documents":[{"content":[{"text":"a","metadata":{"interrupt":true,"acme/x":1}}]}]}`, "g", `{"documents":[{"content":[{"toolRequest":{"name":"t"}}]}]}`),
		runs(moduleRun{Key: "/retriever/v/f", Input: raw(`{"query":` + doc + `}`), Expect: moduleExpect{Contains: `"acme/x":1`, Lacks: "interrupt"}}, fails("/retriever/v/g", `{"query":`+doc+`}`, "INTERNAL", "")), "11.8")
	add("action-resource", "A resource answers below its module's address.", saying(`"resources":[{"name":"f","template":"notes/{id}"}]`, "f", `{"content":[{"text":"a note"}]}`),
		runs(run("/resource/v/f", `{"uri":"wasm://v/notes/7"}`, `{"content":[{"text":"a note"}]}`), fails("/resource/v/f", `{"uri":"file:///notes/7"}`, "INVALID_ARGUMENT", "")), "11.9")
	add("action-resource-foreign", "An address is written without a scheme.", saying(`"resources":[{"name":"f","uri":"file:///x"}]`, "f", "1"), refused("INVALID_ARGUMENT"), "11.9")
	add("action-prompt", "A prompt is rendered, and names its module's own tools.", saying(`"tools":[{"name":"f"}],"prompts":[{"name":"p","source":"---\ntools: [f]\n---\nHello, {{name}}."}]`, "f", "1"),
		runs(run("/executable-prompt/v/p", `{"name":"Ada"}`, `{"tools":["/tool/v/f"],"messages":[{"role":"user","content":[{"text":"Hello, Ada."}]}]}`)), "11.10")
	add("action-prompt-reach", "A prompt names no tool of another that is not granted.", saying(`"prompts":[{"name":"p","source":"---\ntools: [admin/wipe]\n---\nHello."}]`), refused("PERMISSION_DENIED"), "11.10")
}

// witGuest returns its input, as export "f", by the canonical ABI. Its realloc gives the place room, its return area is
// at area and begins with the discriminant, if any; the text that it returns is at text.
type witGuest struct {
	lists              string
	room, area         int
	text, length       int // length -1: that of the input
	discriminant       int // -1: none
	without, otherType string
	imports            [4]string
	postTraps          bool
}

func (g witGuest) module() []byte {
	b := &builder{}
	if g.imports[0] != "" {
		b.imp(g.imports[0], g.imports[1], g.imports[2], g.imports[3])
	}
	add := func(name, params, results string, code ...[]byte) {
		if name == g.without {
			return
		}
		if name == g.otherType {
			params += "i"
		}
		b.exports = append(b.exports, w.Export(name, 0, uint32(len(b.imports)+len(b.funcs))))
		b.funcs = append(b.funcs, b.typ(params, results))
		b.bodies = append(b.bodies, w.Body("", w.Cat(code...)...))
	}
	add("cabi_realloc", "iiii", "i", num(g.room))
	store := func(at int, value []byte) []byte { return w.Cat(num(at), value, []byte{0x36, 2, 0}) }
	length, pointer := num(g.length), g.area
	if g.length < 0 {
		length = []byte{0x20, 1}
	}
	code := [][]byte{}
	if g.discriminant >= 0 {
		code, pointer = append(code, store(g.area, num(g.discriminant))), g.area+4
	}
	add("f", "ii", "i", append(code, store(pointer, num(g.text)), store(pointer+4, length), num(g.area))...)
	post := []byte{}
	if g.postTraps {
		post = []byte{0}
	}
	add("cabi_post_f", "i", "", post)
	return b.module(g.lists)
}

func addWIT(add addFunc, refused func(string) moduleVector, runs func(...moduleRun) moduleVector, run runFunc, fails failFunc) {
	const asString, asResult = `"tools":[{"name":"f","wit":"string"}]`, `"tools":[{"name":"f","wit":"result"}]`
	good := witGuest{room: at, area: returned, text: at, length: -1, discriminant: -1}
	of := func(lists string, change func(*witGuest)) []byte {
		g := good
		g.lists = lists
		if change != nil {
			change(&g)
		}
		return g.module()
	}
	add("wit-string", "A function of a string that returns a string, by the canonical ABI.", of(asString, nil), runs(run("/tool/v/f", `{"a":"é"}`, `{"a":"é"}`), run("/tool/v/f", "1", "1")), "6.4", "6.5", "5.4")
	add("wit-text", "The field io holds for it, too.", of(`"tools":[{"name":"f","wit":"string","io":"text"}]`, nil), runs(run("/tool/v/f", `"é"`, `"é"`), run("/tool/v/f", `""`, `""`)), "6.4")
	add("wit-result", "A result is an output.", of(asResult, func(g *witGuest) { g.discriminant = 0 }), runs(run("/tool/v/f", `[1]`, `[1]`)), "6.5")
	add("wit-error", "Or an error, in JSON or as text.", of(asResult, func(g *witGuest) { g.discriminant = 1 }),
		runs(fails("/tool/v/f", `{"code":"NOT_FOUND","message":"it is gone"}`, "NOT_FOUND", "it is gone"), fails("/tool/v/f", `"words"`, "INTERNAL", "words")), "6.5")
	add("wit-discriminant", "A result is one of two.", of(asResult, func(g *witGuest) { g.discriminant = 2 }), runs(fails("/tool/v/f", "1", "INTERNAL", "discriminant")), "6.6")
	for name, change := range map[string]func(*witGuest){
		"wit-room-outside": func(g *witGuest) { g.room = 2<<16 - 3 }, "wit-text-outside": func(g *witGuest) { g.text, g.length = 2<<16-3, 4 }, "wit-text-far": func(g *witGuest) { g.text, g.length = -1, 2 },
	} {
		add(name, "What lies outside of the memory fails the call.", of(asString, change), runs(fails("/tool/v/f", `"123"`, "INTERNAL", "memory")), "6.6")
	}
	add("wit-area-unaligned", "What is returned lies at a multiple of four.", of(asString, func(g *witGuest) { g.area++ }), runs(fails("/tool/v/f", `1`, "INTERNAL", "memory")), "6.6")
	add("wit-text-long", "A text obeys the limit of outputs.", of(asString, func(g *witGuest) { g.text, g.length = 0, 1<<16 }),
		func() moduleVector {
			v := runs(fails("/tool/v/f", `1`, "RESOURCE_EXHAUSTED", ""))
			v.Policy = raw(`{"limits":{"outputBytes":1000}}`)
			return v
		}(), "6.6")
	add("wit-post", "What is called after the text was read may end the call.", of(asString, func(g *witGuest) { g.postTraps = true }), runs(fails("/tool/v/f", `1`, "INTERNAL", "trap")), "6.5")
	for name, change := range map[string]func(*witGuest){
		"wit-no-realloc": func(g *witGuest) { g.without = "cabi_realloc" }, "wit-realloc-type": func(g *witGuest) { g.otherType = "cabi_realloc" }, "wit-type": func(g *witGuest) { g.otherType = "f" },
		"wit-post-type": func(g *witGuest) { g.otherType = "cabi_post_f" }, "wit-extism": func(g *witGuest) { g.imports = [4]string{"extism:host/env", "alloc", "I", "I"} },
	} {
		add(name, "A tool of WIT has the functions of the canonical ABI.", of(asString, change), refused("INVALID_ARGUMENT"), "6.4")
	}
	add("wit-unknown", "There are two types.", of(`"tools":[{"name":"f","wit":"list"}]`, nil), refused("INVALID_ARGUMENT"), "6.4")
}
