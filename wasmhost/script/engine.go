package script

import (
	"crypto/sha256"
	_ "embed"
	"encoding/binary"
	"encoding/hex"
	"sync"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// EngineModule and EngineVersion name the Go module that carries the engine, in the file [EngineFile]: a build of
// QuickJS-NG 0.10.1 for WASI, under the MIT licence. Its Go code is not used.
const (
	EngineModule  = "github.com/fastschema/qjs"
	EngineVersion = "v0.0.6"
	EngineFile    = "qjs.wasm"
	// EngineDigest is the SHA-256 of the file.
	EngineDigest = "88fcbeead33cca3ec8394feb0fb3eec8047ec9ac5062aba7a63799cee11989b7"
)

// What is known of that file beside its exports.
const (
	constructors = 126 // the function that runs the constructors of its C code
	stackGlobal  = 0   // the pointer to C's stack
	// staticAt and staticEnd bound memory that is free after C's stack has been moved away: the stack that the file
	// brings, but for its upper end, which is in use until then.
	staticAt, staticEnd = 100352, 160000
	stackLimitField     = 128 // of the engine's runtime: the address below which its stack is full
)

// C's stack is moved to memory of its own, since the 64 KiB that the file brings lie above its data and are
// bounded by nothing: the WASI build sets no limit. Scripts may use stackForScripts of it; the rest is for C code that
// does not look at the limit.
const (
	stackForScripts = 256 << 10
	stackReserve    = 128 << 10
)

// grown is memory that is taken and freed once before the image is made, so that calls that need no more of it don't
// grow their instance, which would cost it its place in the pool. Pages that nobody has written to cost nothing.
const grown = 1 << 20

// Exports of the engine as [Engine] makes it.
const (
	// CallExport is the export of all that scripts declare; see [Input].
	CallExport = "genkit_call"
	// SetupExport runs the script, once in an instance: the initialisation's input is what [Transform] returned.
	SetupExport = "genkit_setup"
)

// The parts of the prelude, in their order: the bodies of one function.
var (
	//go:embed prelude/core.js
	preludeCore string
	//go:embed prelude/url.js
	preludeURL string
	//go:embed prelude/web.js
	preludeWeb string
	//go:embed prelude/crypto.js
	preludeCrypto string
)

// prelude is what every script finds, made as short as its meaning allows: the engine keeps the text of each function.
var prelude = sync.OnceValue(func() string {
	text := "(() => {\n\"use strict\";\n" + preludeCore + preludeURL + preludeWeb + preludeCrypto + preludeEnd
	r := api.Transform(text, api.TransformOptions{
		MinifyWhitespace: true, MinifySyntax: true, MinifyIdentifiers: true, Target: api.ES2023, Charset: api.CharsetASCII, TsconfigRaw: "{}", LogLevel: api.LogLevelSilent,
	})
	if len(r.Errors) > 0 {
		panic("the prelude: " + r.Errors[0].Text) // it is a constant: a test would say so
	}
	return string(r.Code)
})

// preludeEnd shows the prelude's entry points to the functions that [glue] writes.
const preludeEnd = `defineProperty(globalThis, "__genkit", { value: freeze({ load, call, describe, finish }) });
})();
`

// operations of the prelude's function host, by number. Those from opCapability on are capabilities.
const (
	opOutput = iota
	opError
	opLog // and four more, for each level one
	_
	_
	_
	_
	opSucceed
	opFail
	opInput
	opRandom
	opLoad
	opCapability
)

// capabilities are those that scripts have, in the order of their operations.
var capabilities = []abi.Capability{
	abi.CapEmit, abi.CapInterrupt, abi.CapContext, abi.CapResumed, abi.CapNow, abi.CapHTTP,
	abi.CapKVGet, abi.CapKVSet, abi.CapKVDelete, abi.CapKVList, abi.CapRun, abi.CapGenerate, abi.CapNext,
}

// Engine makes a module of the contract genkit/1 of the file [EngineFile]: it adds functions which connect QuickJS
// with the host, and the prelude. The result is the same for all scripts; an instance becomes a script's when
// [SetupExport] runs it. It fails with INVALID_ARGUMENT when the bytes are not those of [EngineDigest].
func Engine(file []byte) ([]byte, error) {
	sum := sha256.Sum256(file)
	if got := hex.EncodeToString(sum[:]); got != EngineDigest {
		return nil, status.Publicf(status.InvalidArgument, "the JavaScript engine has the SHA-256 %s, want %s: %s of %s %s", got, EngineDigest, EngineFile, EngineModule, EngineVersion)
	}
	m, err := inspect.Parse(file, inspect.Limits{})
	if err != nil {
		return nil, status.Errorf(status.Internal, "parse the JavaScript engine: %w", err)
	}
	return glued(m), nil
}

const (
	typeI32 = byte(inspect.I32)
	typeI64 = byte(inspect.I64)
)

func sig(params, results []byte) signature { return signature{params, results} }

func types(t ...byte) []byte { return t }

// The imports that are added, by place; capabilities follow.
const (
	importInputLen = iota
	importInput
	importOutput
	importError
	importLog
	importReply
	importRandom
	importCapability
)

func addedImports() []addedImport {
	list := []addedImport{
		{abi.ModuleNative, "input_len", sig(nil, types(typeI32))},
		{abi.ModuleNative, "input", sig(types(typeI32), nil)},
		{abi.ModuleNative, "output", sig(types(typeI32, typeI32), nil)},
		{abi.ModuleNative, "error", sig(types(typeI32, typeI32), nil)},
		{abi.ModuleNative, "log", sig(types(typeI32, typeI32, typeI32), nil)},
		{abi.ModuleNative, "reply", sig(types(typeI32), nil)},
		{abi.ModuleWASI, "random_get", sig(types(typeI32, typeI32), types(typeI32))},
	}
	for _, c := range capabilities {
		list = append(list, addedImport{abi.ModuleNative, string(c), sig(types(typeI32, typeI32), types(typeI32))})
	}
	return list
}

// The functions that are added, by place.
const (
	functionHost = iota // takes the place of the file's import jsFunctionProxy
	functionRun
	functionInitialize
	functionSetup
	functionCall
	functionDescribe
)

// The globals that are added, by place.
const (
	globalContext = iota // the JSContext
	globalResult         // of the call: -1 before it has one
	globals
)

// glue writes the added functions.
type glue struct {
	numbers

	m *inspect.Module
	static
}

// static collects what lies in memory from staticAt on.
type static struct{ data []byte }

// text puts text that ends with a zero and returns its address.
func (s *static) text(text string) int32 {
	at := staticAt + int32(len(s.data))
	s.data = append(append(s.data, text...), 0)
	return at
}

// evaluation puts a QJSEvalOptions for the text at an address, which 0 leaves open, and returns its own.
func (s *static) evaluation(text, file int32) int32 {
	for len(s.data)%8 != 0 {
		s.data = append(s.data, 0)
	}
	at := staticAt + int32(len(s.data))
	for _, word := range []int32{text, 0, 0, file, 0} { // buf, bytecode, its length, file name, flags
		s.data = binary.LittleEndian.AppendUint32(s.data, uint32(word))
	}
	return at
}

func glued(m *inspect.Module) []byte {
	imports := addedImports()
	g := &glue{numbers: numbering(m, len(imports)), m: m}
	inner := g.text("<genkit>")
	load, call, describe, finish := g.evaluation(g.text("__genkit.load()"), inner), g.evaluation(g.text("__genkit.call()"), inner),
		g.evaluation(g.text("__genkit.describe()"), inner), g.evaluation(g.text("__genkit.finish()"), inner)
	script := g.evaluation(0, g.text(scriptFile))
	first := g.evaluation(g.text(prelude()), inner)
	a := &addition{
		imports: imports, globals: globals, offset: staticAt,
		functions: []addedFunction{
			{sig(types(typeI32, typeI64, typeI32, typeI32), types(typeI64)), types(typeI32, typeI32, typeI32, typeI32, typeI32, typeI64), g.host(script)},
			{sig(types(typeI32), types(typeI32)), types(typeI64), g.run(finish)},
			{sig(nil, nil), types(typeI32, typeI32), g.initialize(first)},
			{sig(nil, types(typeI32)), types(typeI32, typeI32), g.setup(load, script)},
			{sig(nil, types(typeI32)), nil, code{}.constant(call).call(g.added(functionRun))},
			{sig(nil, types(typeI32)), nil, code{}.constant(describe).call(g.added(functionRun))},
		},
		exports: []string{"", "", "_initialize", SetupExport, CallExport, abi.DescribeExport},
	}
	if a.data = g.data; staticAt+len(a.data) > staticEnd {
		panic("the prelude does not fit into the engine's memory") // it is a constant: a test would say so
	}
	return extend(m, g.numbers, a)
}

func (g *glue) added(function uint32) uint32 { return g.functions + function }

func (g *glue) imported(place uint32) uint32 { return g.imports + place }

func (g *glue) exported(name string) uint32 {
	e, ok := g.m.Export(name)
	if !ok {
		panic("the JavaScript engine has no export " + name) // its digest was checked
	}
	return g.old(e.Index)
}

func (g *glue) context(c code) code { return c.global(g.globals + globalContext) }

// initialize makes the engine and evaluates the prelude.
func (g *glue) initialize(prelude int32) code {
	const stack, engine = 0, 1
	c := code{}.call(g.old(constructors))
	c = c.constant(stackForScripts + stackReserve).call(g.exported("malloc")).set(stack)
	c = c.get(stack).op(opEqz).when().op(opUnreachable, opEnd)
	c = c.get(stack).constant(stackForScripts + stackReserve).op(opAdd).constant(-16).op(opAnd).setGlobal(stackGlobal)
	c = c.call(g.exported("initialize")).call(g.exported("QJS_GetRuntime")).set(engine)
	c = c.get(engine).load(4).setGlobal(g.globals + globalContext)
	c = c.get(engine).load(0).get(stack).constant(stackReserve).op(opAdd).store(stackLimitField)
	c = g.context(c)
	c = g.context(c).call(g.exported("JS_GetGlobalObject"))
	c = c.constant(g.text("__genkit"))
	c = g.context(c).constant64(0).constant64(0).constant64(0).call(g.exported("QJS_CreateFunctionProxy"))
	c = c.call(g.exported("JS_SetPropertyStr")).op(opDrop)
	c = g.context(c).constant(prelude).call(g.exported("QJS_Eval")).call(g.exported("QJS_IsException"))
	return c.when().op(opUnreachable, opEnd)
}

// setup evaluates the script, which is the input.
func (g *glue) setup(load, script int32) code {
	const text, length = 0, 1
	c := code{}.call(g.imported(importInputLen)).set(length)
	c = c.get(length).constant(1).op(opAdd).call(g.exported("malloc")).set(text)
	c = c.get(text).op(opEqz).when().op(opUnreachable, opEnd)
	c = c.get(text).call(g.imported(importInput))
	c = c.get(text).get(length).op(opAdd).constant(0).store8()
	c = c.constant(script).get(text).store(0)
	c = c.constant(load).call(g.added(functionRun))
	c = c.get(text).call(g.exported("free"))
	c = c.constant(script).constant(0).store(0)
	c = c.constant(grown).call(g.exported("malloc")).set(text)
	c = c.get(text).when().get(text).constant(0).store8().get(text).call(g.exported("free")).op(opEnd)
	return c
}

// run evaluates one of the prelude's functions, and all that it has set going. What it throws was either reported by
// the prelude or is the lack of memory or stack to do so.
func (g *glue) run(finish int32) code {
	const evaluation, value = 0, 1
	const unreported = `{"code":"RESOURCE_EXHAUSTED","message":"the script failed, and had no memory or stack left to say why"}`
	result := g.globals + globalResult
	evaluate := func(c code) code {
		c = c.call(g.exported("QJS_Eval")).set(value)
		c = c.get(value).call(g.exported("QJS_IsException")).when()
		c = g.context(c).call(g.exported("JS_GetException")).set(value).op(opEnd)
		return g.context(c).get(value).call(g.exported("JS_FreeValue"))
	}
	c := code{}.constant(-1).setGlobal(result)
	c = evaluate(g.context(c).get(evaluation))
	c = c.global(result).constant(0).op(opLessSigned).when()
	c = evaluate(g.context(c).constant(finish)).op(opEnd)
	c = c.global(result).constant(0).op(opLessSigned).when()
	c = c.constant(g.text(unreported)).constant(int32(len(unreported))).call(g.imported(importError))
	c = c.constant(1).setGlobal(result).op(opEnd)
	return c.global(result)
}

// host is the prelude's function host(operation, text). Its arguments follow four of the file's own.
func (g *glue) host(script int32) code {
	const (
		argc, argv                           = 2, 3
		operation, packed, text, length, buf = 4, 5, 6, 7, 8
		value                                = 9
		operationAt, textAt                  = 4 * 8, 5 * 8
	)
	// string makes value of the zero-terminated bytes at buf, and frees them.
	str := func(c code) code {
		c = g.context(c).get(buf).call(g.exported("QJS_NewString")).set(value)
		return c.get(buf).call(g.exported("free"))
	}
	// room takes length bytes and one for a zero.
	room := func(c code) code {
		c = c.get(length).constant(1).op(opAdd).call(g.exported("malloc")).set(buf)
		c = c.get(buf).op(opEqz).when()
		c = g.context(c).constant(g.text("out of memory")).call(g.exported("QJS_ThrowInternalError")).op(opReturn, opEnd)
		return c.get(buf).get(length).op(opAdd).constant(0).store8()
	}
	c := code{}.call(g.exported("JS_NewUndefined")).set(value)
	c = c.get(argc).constant(6).op(opLessSigned).when().get(value).op(opReturn, opEnd)
	c = g.context(c).get(argv).load64(operationAt).call(g.exported("QJS_ToInt32")).set(operation)
	c = g.context(c).get(argv).load64(textAt).call(g.exported("QJS_ToCString")).set(packed)
	c = c.get(packed).op(opEqz).when()
	c = g.context(c).constant(g.text("a string for the host can't be made")).call(g.exported("QJS_ThrowInternalError")).op(opReturn, opEnd)
	c = c.get(packed).load(4).set(text).get(packed).load(0).set(length).get(packed).call(g.exported("free"))
	on := func(op int32, do func(code) code) {
		c = do(c.get(operation).constant(op).op(opEq).when()).op(opEnd)
	}
	on(opOutput, func(c code) code { return c.get(text).get(length).call(g.imported(importOutput)) })
	on(opError, func(c code) code { return c.get(text).get(length).call(g.imported(importError)) })
	for level := range int32(opSucceed - opLog) {
		on(opLog+level, func(c code) code { return c.constant(level).get(text).get(length).call(g.imported(importLog)) })
	}
	on(opSucceed, func(c code) code { return c.constant(0).setGlobal(g.globals + globalResult) })
	on(opFail, func(c code) code { return c.constant(1).setGlobal(g.globals + globalResult) })
	on(opInput, func(c code) code {
		c = room(c.call(g.imported(importInputLen)).set(length))
		return str(c.get(buf).call(g.imported(importInput)))
	})
	on(opRandom, func(c code) code { // as many bytes as the text is long
		c = room(c)
		c = c.get(buf).get(length).call(g.imported(importRandom)).op(opDrop)
		c = g.context(c).get(buf).get(length).call(g.exported("JS_NewArrayBufferCopy")).set(value)
		return c.get(buf).call(g.exported("free"))
	})
	on(opLoad, func(c code) code { // there is a text while setup runs
		c = c.constant(script).load(0).when()
		return g.context(c).constant(script).call(g.exported("QJS_Eval")).set(value).op(opEnd)
	})
	for i := range capabilities {
		on(opCapability+int32(i), func(c code) code {
			c = room(c.get(text).get(length).call(g.imported(importCapability + uint32(i))).set(length))
			return str(c.get(buf).call(g.imported(importReply)))
		})
	}
	c = g.context(c).get(text).call(g.exported("JS_FreeCString"))
	return c.get(value)
}

// Input is the input of a call of [CallExport]: which of the script's declarations is meant, by its kind ("tool",
// "middleware", "format") and name, and its own input, which is JSON.
func Input(kind, name string, input []byte) []byte {
	return append(append(make([]byte, 0, len(kind)+len(name)+2+len(input)), kind+"/"+name+"\n"...), input...)
}

// InputOverhead is how much longer an input may be than its own.
const InputOverhead = len("middleware") + 64 + 2
