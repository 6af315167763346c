package hosttest_test

// verifierOff lets through what the verifier would refuse: with it, no fault of the meter gets as far as a case.
const verifierOff = "verifier"

// Other limits that contain several cases.
const (
	compileCost = "compile cost"
	checksOff   = "checks"
	clockOff    = "clock"
	namesOff    = "granted names"
	placesOff   = "reachable addresses"
	requestsOff = "requests"
	answersOff  = "answers"
)

// limits are the limits that contain the cases, in the order of the groups.
var limits = []limit{
	{key: verifierOff, says: "the verifier", changes: []change{
		{"wasmhost/internal/compile/artifact.go", "if err := proven(parsed, metered, opt); err != nil {", "if err := proven(parsed, metered, opt); err != nil && !LOOSE {"},
	}},

	// Binaries and what comes with them.
	{says: "lists are bounded by the bytes that are left for them", cases: "A08", changes: []change{
		{"wasmhost/internal/inspect/reader.go", "	case uint64(n) > uint64(limit):\n", "	case !LOOSE && uint64(n) > uint64(limit):\n"},
		{"wasmhost/internal/inspect/reader.go", "	case uint64(n)*uint64(itemBytes) > uint64(r.remaining()):\n", "	case !LOOSE && uint64(n)*uint64(itemBytes) > uint64(r.remaining()):\n"},
	}},
	{says: "the number of functions is bounded", cases: "A09", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Functions, 50_000}", "{&l.Functions, PICK(50_000, 1<<30)}"}}},
	{says: "a body is bounded", cases: "A10", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.BodyBytes, 1 << 20}", "{&l.BodyBytes, PICK(1 << 20, 1<<30)}"}}},
	{says: "the locals of a function are bounded", cases: "A11", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Locals, 4000}", "{&l.Locals, PICK(4000, 1<<40)}"}}},
	{says: "the labels of a table are bounded", cases: "A12", also: compileCost, changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.BrTableTargets, 20_000}", "{&l.BrTableTargets, PICK(20_000, 1<<30)}"}}},
	{says: "nesting is bounded", cases: "A13", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Depth, 20_000}", "{&l.Depth, PICK(20_000, 1<<30)}"}}},
	{key: compileCost, says: "the super-linear work of the compiler is estimated and bounded", cases: "A14", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.CompileCost, 600_000}", "{&l.CompileCost, PICK(600_000, 1<<40)}"}}},
	{says: "custom sections are bounded, together and in number", cases: "A15", changes: []change{
		{"wasmhost/internal/inspect/limits.go", "{&l.CustomBytes, 8 << 20}", "{&l.CustomBytes, PICK(8 << 20, 1<<30)}"},
		{"wasmhost/internal/inspect/limits.go", "{&l.CustomSections, 64}", "{&l.CustomSections, PICK(64, 1<<30)}"},
	}},
	{says: "names are bounded", cases: "A19", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.NameBytes, 1024}", "{&l.NameBytes, PICK(1024, 1<<30)}"}}},
	{says: "names hold no character that hides or steers", cases: "A39", changes: []change{{"wasmhost/internal/inspect/reader.go", "		if unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c) {", "		if !LOOSE && (unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c)) {"}}},
	{says: "every import is compared with the contract", cases: "A16", changes: []change{{"wasmhost/abi/link.go", "			problem = unknownImport(i)\n", "			if !LOOSE {\n				problem = unknownImport(i)\n			}\n"}}},
	{says: "the meter's exports get names that the module has not", cases: "A18", changes: []change{{"wasmhost/internal/meter/meter.go", "			if strings.HasPrefix(e.Name, prefix) {", "			if !LOOSE && strings.HasPrefix(e.Name, prefix) {"}}},
	{says: "tables are bounded in number", cases: "A21", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Tables, 8}", "{&l.Tables, PICK(8, 1000)}"}}},
	{says: "the first size of a memory is within its limit", cases: "A22", changes: []change{{"wasmhost/internal/inspect/sections.go", "int64(min) > int64(p.lim.MemoryPages) {", "int64(min) > int64(p.lim.MemoryPages) && !LOOSE {"}}},
	{says: "nothing is called that was not asked for", cases: "A24", changes: []change{{"wasmhost/internal/sandbox/instance.go", ".WithStartFunctions()", ".WithStartFunctions(PICK([]string(nil), []string{\"_start\"})...)"}}},
	{says: "the kind of a module is looked at, and the name of an export", cases: "A25", changes: []change{
		{"wasmhost/analysis.go", "	if m.Kind() == inspect.KindCommand && (", "	if !LOOSE && m.Kind() == inspect.KindCommand && ("},
		{"wasmhost/analysis.go", "	if export == \"_start\" {", "	if !LOOSE && export == \"_start\" {"},
	}},
	{says: "the original is validated before it is rewritten", cases: "A27", also: verifierOff, changes: []change{
		{"wasmhost/internal/compile/artifact.go", "validator.CompileModule(ctx, wasm)", "validator.CompileModule(ctx, PICK(wasm, emptyModule))"},
	}},
	{says: "module names are of few characters", cases: "A28", changes: []change{{"wasmhost/abi/descriptor.go", "	if !moduleName.MatchString(name) {", "	if !LOOSE && !moduleName.MatchString(name) {"}}},
	{says: "the names in a descriptor are of few characters", cases: "A29", changes: []change{{"wasmhost/abi/descriptor.go", "; !toolName.MatchString(n) {", "; !LOOSE && !toolName.MatchString(n) {"}}},
	{says: "limits are numbers within bounds", cases: "A30", changes: []change{{"wasmhost/policy/limits.go", "; v < 0 || v > f.most {", "; !LOOSE && (v < 0 || v > f.most) {"}}},
	{says: "no schema is fetched", cases: "A31", changes: []change{{"engine/schema/schema.go", "return nil, ErrRemoteRef }", "return PICK(any(nil), any(map[string]any{})), PICK(ErrRemoteRef, nil) }"}}},
	{says: "a module that imports what is not granted is refused", cases: "A32", changes: []change{{"wasmhost/policy/grants.go", "	if len(missing) > 0 {", "	if !LOOSE && len(missing) > 0 {"}}},
	{says: "the patterns of a schema are bounded together", cases: "A34", changes: []change{{"engine/schema/pattern.go", "\tcase s.Instructions > maxPatternSize:", "\tcase s.Instructions > maxPatternSize && !LOOSE:"}}},
	{says: "grants are within the server's", cases: "A35 A55", changes: []change{{"wasmhost/prepare.go", "\t\tif err := p.Grants.Within(*t.grants); err != nil {", "\t\tif err := p.Grants.Within(*t.grants); err != nil && !LOOSE {"}}},
	{says: "no member stands twice in what is decoded", cases: "A36 E19", changes: []change{{"engine/schema/decode.go", "\tif err := CheckUnique(raw); err != nil {\n\t\treturn err\n\t}\n\tdec :=", "\tif err := CheckUnique(raw); err != nil && !LOOSE {\n\t\treturn err\n\t}\n\tdec :="}}},
	{says: "members are those that are known, in their own case", cases: "A37 A38", changes: []change{{"engine/schema/decode.go", "\tif t, ok := fields[name]; ok {\n\t\treturn t, nil\n\t}\n", "\tif t, ok := fields[name]; ok || LOOSE {\n\t\treturn t, nil\n\t}\n"}}},
	{says: "what nobody sees is refused in the names and values of schemas", cases: "A40", changes: []change{{"wasmhost/abi/schematext.go", "\tif !hides(raw) {", "\tif LOOSE || !hides(raw) {"}}},
	{says: "a descriptor's section occurs once", cases: "A41", changes: []change{{"wasmhost/internal/inspect/module.go", "\t\tif found != nil {", "\t\tif found != nil && !LOOSE {"}}},
	{says: "parameters and results are bounded", cases: "A42", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Params, 128}", "{&l.Params, PICK(128, 10_000)}"}, {"wasmhost/internal/inspect/limits.go", "{&l.Results, 32}", "{&l.Results, PICK(32, 10_000)}"}}},
	{says: "globals are bounded in number", cases: "A43", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Globals, 10_000}", "{&l.Globals, PICK(10_000, 1<<30)}"}}},
	{says: "segments of tables and their entries are bounded in number", cases: "A44", changes: []change{{"wasmhost/internal/inspect/limits.go", "{&l.Elements, 100_000}", "{&l.Elements, PICK(100_000, 1<<30)}"}}},
	{says: "the type of a tool's function is looked at", cases: "A50", changes: []change{{"wasmhost/analysis.go", "\tif !isTool(typ) {", "\tif !LOOSE && !isTool(typ) {"}}},
	{says: "paths of mounts are plain", cases: "A51", changes: []change{{"wasmhost/policy/grants.go", "\t\tif !mountPath.MatchString(f.Path) || seen[f.Path] {", "\t\tif !LOOSE && (!mountPath.MatchString(f.Path) || seen[f.Path]) {"}}},
	{says: "hosts and paths of grants are plain", cases: "A52", changes: []change{{"wasmhost/policy/grants.go", "\t\tif err := g.HTTP[i].check(); err != nil {", "\t\tif err := g.HTTP[i].check(); err != nil && !LOOSE {"}}},
	{says: "patterns are a name, or the beginning of names", cases: "A53", changes: []change{{"wasmhost/policy/grants.go", "\t\t\tif err := checkPattern(p); err != nil {", "\t\t\tif err := checkPattern(p); err != nil && !LOOSE {"}}},
	{says: "policies are bounded", cases: "A54", changes: []change{{"wasmhost/policy/policy.go", "\tif len(raw) > MaxBytes {", "\tif !LOOSE && len(raw) > MaxBytes {"}, {"wasmhost/policy/policy.go", "|| utf8.RuneCountInString(value) > maxConfigValue {", "|| !LOOSE && utf8.RuneCountInString(value) > maxConfigValue {"}}},

	// Processor time.
	{key: checksOff, says: "a check on each way back, and in each chain of calls", cases: "B01 B02 B03 B04 B09 B12 B13 B20 B22 B23 B24 B25 B26 B27 B28 B31", also: verifierOff, changes: []change{
		{"wasmhost/internal/meter/pieces.go", "func (w *rewriter) check() {\n", "func (w *rewriter) check() {\n	if LOOSE {\n		return\n	}\n"},
	}},
	{says: "checks, and a look at the clock after each 2,048 calls of the host", cases: "C07", also: verifierOff + "," + checksOff + "," + clockOff},
	{says: "checks, and a look at the clock at each yield", cases: "B32", also: verifierOff + "," + checksOff + "," + clockOff, changes: []change{{"wasmhost/internal/sandbox/wasi.go", "	h.in.state.check()\n	runtime.Gosched()", "	if !LOOSE {\n		h.in.state.check()\n	}\n	runtime.Gosched()"}}},
	{says: "checks, and a price for each call into the file system", cases: "F14", also: verifierOff + "," + checksOff + "," + clockOff, changes: []change{{"wasmhost/internal/sandbox/door.go", "func (in *instance) charge(units int64) {\n", "func (in *instance) charge(units int64) {\n	if LOOSE {\n		return\n	}\n"}}},
	{says: "fills and copies are done in pieces, each charged", cases: "B07 B08 B29", also: verifierOff, changes: []change{
		{"wasmhost/internal/meter/plan.go", "if h, ok := helperOf(in.Op); ok && p.live {", "if h, ok := helperOf(in.Op); !LOOSE && ok && p.live {"},
		{"wasmhost/internal/meter/plan.go", "shift, priced := lengthPrice(in.Op); priced && p.live {", "shift, priced := lengthPrice(in.Op); !LOOSE && priced && p.live {"},
	}},
	{says: "the fuel of a call", cases: "B10", changes: []change{{"wasmhost/internal/sandbox/instance.go", "	if left <= 0 {", "	if LOOSE {\n		left = 1 << 40\n	}\n	if left <= 0 {"}}},
	{says: "start sections are refused", cases: "B11", changes: []change{{"wasmhost/internal/inspect/inspect.go", "	case SectionStart:\n", "	case SectionStart:\n		if LOOSE {\n			p.u32()\n			return\n		}\n"}}},
	{says: "a sleep ends with its call", cases: "B14 F12", changes: []change{{"wasmhost/internal/sandbox/wasi.go", "min(d, time.Until(st.deadline)+time.Millisecond)", "PICK(min(d, time.Until(st.deadline)+time.Millisecond), max(d, 0))"}}},
	{key: clockOff, says: "the host looks at the clock after each 256 KiB that it has moved", cases: "B15", changes: []change{{"wasmhost/internal/sandbox/call.go", "st.work >= checkAfter {", "st.work >= checkAfter && !LOOSE {"}}},
	{says: "random bytes of a call are bounded", cases: "B16", changes: []change{{"wasmhost/internal/sandbox/wasi.go", "st.randomBytes > maxRandomBytes {", "!LOOSE && st.randomBytes > maxRandomBytes {"}}},
	{says: "the deadline is looked at whenever a guest comes to the host", cases: "B17 B18 C11", changes: []change{{"wasmhost/internal/sandbox/call.go", "\tif !now.Before(st.deadline) {", "\tif !LOOSE && !now.Before(st.deadline) {"}}},
	{says: "a call ends when its caller leaves", cases: "B19 E38", changes: []change{{"wasmhost/internal/sandbox/call.go", "\tif err := st.ctx.Err(); err != nil {\n", "\tif err := st.ctx.Err(); err != nil && !LOOSE {\n"}}},
	{says: "the calls of a module at a time are bounded", cases: "B21", changes: []change{{"wasmhost/internal/sandbox/sandbox.go", "make(chan struct{}, src.Limits.Concurrency)", "make(chan struct{}, PICK(src.Limits.Concurrency, 4096))"}}},
	{says: "a call that waits gives its place back", cases: "B33 B35", changes: []change{{"wasmhost/internal/sandbox/wait.go", "\tst.slot.Leave()\n\twork()", "\tif !LOOSE {\n\t\tst.slot.Leave()\n\t}\n\twork()"}}},
	{says: "a call that waits for long where it seldom does gives its place back", cases: "B34", changes: []change{{"wasmhost/internal/share/slot.go", "\t\ts.armed = false\n\t\ts.giveUp()\n", "\t\ts.armed = false\n\t\tif !LOOSE {\n\t\t\ts.giveUp()\n\t\t}\n"}}},
	{says: "the writer to a reader is told the call's deadline", cases: "B36", changes: []change{{"wasmhost/guest.go", "\tif call.Emit != nil {", "\tif call.Emit != nil && !LOOSE {"}}},
	{says: "the calls of a module in a minute are bounded", cases: "B37", changes: []change{{"wasmhost/guest.go", "\tif g.rate != nil {", "\tif g.rate != nil && !LOOSE {"}}},

	// Memory.
	{says: "memory grows to its limit and not further", cases: "C01 W18", changes: []change{{"wasmhost/internal/sandbox/instance.go", "memory.New(uint64(m.limits.MemoryBytes),", "memory.New(PICK(uint64(m.limits.MemoryBytes), 4<<30),"}, {"wasmhost/internal/sandbox/instance.go", "\tif size > uint64(in.module.limits.MemoryBytes) {", "\tif !LOOSE && size > uint64(in.module.limits.MemoryBytes) {"}}},
	{says: "an instance whose memory has grown serves no other call", cases: "C02 S02", changes: []change{
		{"wasmhost/internal/memory/linear.go", "	case len(m.buf) != img.Size():\n		return false", "	case LOOSE && len(m.buf) > img.Size():\n		copy(m.buf, img.memory)\n	case len(m.buf) != img.Size():\n		return false"},
	}},
	{says: "every table has a maximum", cases: "C03 W19", also: verifierOff, changes: []change{{"wasmhost/internal/meter/rewrite.go", "appendU32(appendU32(body, t.Min), limit)", "appendU32(appendU32(body, t.Min), PICK(limit, 1<<31))"}}},
	{says: "an instance that has overflowed its stack is closed", cases: "C04", changes: []change{
		{"wasmhost/internal/sandbox/failure.go", "		in.spent = true // its grown", "		in.spent = !LOOSE // its grown"},
		{"wasmhost/internal/sandbox/stack.go", "		in.spent = true\n		panic(&stop{errStack()})", "		in.spent = !LOOSE\n		panic(&stop{errStack()})"},
		{"wasmhost/internal/sandbox/stack.go", "size > keptStackBytes {", "size > keptStackBytes && !LOOSE {"},
	}},
	{says: "Extism's variables are bounded", cases: "C05", changes: []change{{"wasmhost/internal/sandbox/arena.go", "a.varBytes > maxVarBytes {", "!LOOSE && a.varBytes > maxVarBytes {"}}},
	{says: "Extism's blocks are within the memory limit", cases: "C06 C08", changes: []change{{"wasmhost/internal/sandbox/arena.go", "length > limit || offset+length+8+held > limit {", "!LOOSE && (length > limit || offset+length+8+held > limit) {"}}},
	{says: "neither the input, nor the error, nor what is no block is freed", cases: "C09 D30 D31", changes: []change{{"wasmhost/internal/sandbox/arena.go", "	if !ok || offset == a.err || offset == a.input {", "	if !LOOSE && (!ok || offset == a.err || offset == a.input) {"}}},
	{says: "memory is given back", cases: "C10", changes: []change{{"wasmhost/internal/memory/linear.go", "	if m == nil {\n		return\n	}\n	m.pages.free()", "	if LOOSE || m == nil {\n		return\n	}\n	m.pages.free()"}}},

	// The border.
	{says: "pointers and lengths lie in the guest's memory", cases: "C12 D01 D03 D36 D37", changes: []change{{"wasmhost/internal/sandbox/native.go", "	if !ok {\n		halt(status.Internal, \"the module named bytes", "	if !ok && !LOOSE {\n		halt(status.Internal, \"the module named bytes"}}},
	{says: "the output is bounded", cases: "D02", changes: []change{{"wasmhost/internal/sandbox/call.go", "	if len(view) > st.maxOutput {", "	if !LOOSE && len(view) > st.maxOutput {"}}},
	{says: "offsets and lengths lie in Extism's memory", cases: "D04 D05 D06 D07 D08 D33 D34", changes: []change{
		{"wasmhost/internal/sandbox/arena.go", "; offset > size || length > size-offset {", "; !LOOSE && (offset > size || length > size-offset) {"},
		{"wasmhost/internal/sandbox/extism.go", "; stack[1] > limit {", "; !LOOSE && stack[1] > limit {"},
	}},
	{says: "beyond the end of the input there are zeros", cases: "D09", changes: []change{{"wasmhost/internal/sandbox/extism.go", "		if at < uint64(len(input)) {", "		if LOOSE || at < uint64(len(input)) {"}}},
	{says: "only blocks that are there have a length", cases: "D10", changes: []change{{"wasmhost/internal/sandbox/extism.go", "	length := func(in *instance, _ api.Module, stack []uint64) { stack[0] = uint64(len(in.arena.block(stack[0]))) }", "	length := func(in *instance, _ api.Module, stack []uint64) {\n		if LOOSE {\n			stack[0] = in.arena.blocks[stack[0]].length\n			return\n		}\n		stack[0] = uint64(len(in.arena.block(stack[0])))\n	}"}}},
	{says: "texts are UTF-8", cases: "D11", changes: []change{{"engine/schema/scan.go", "			if c == utf8.RuneError && n == 1 {", "			if !LOOSE && c == utf8.RuneError && n == 1 {"}}},
	{says: "the depth of JSON is bounded", cases: "D12 D19", changes: []change{{"engine/schema/validate.go", "r.depth > MaxDepth {", "r.depth > MaxDepth && !LOOSE {"}}},
	{says: "no object has a key twice", cases: "D13", changes: []change{{"engine/schema/scan.go", "			if r.sameKey(other, k) {", "			if !LOOSE && r.sameKey(other, k) {"}}},
	{says: "exponents are bounded", cases: "D14", changes: []change{{"engine/schema/scan.go", "		if r.strict && !exponentFits(raw[from:i]) {", "		if !LOOSE && r.strict && !exponentFits(raw[from:i]) {"}}},
	{says: "outputs are JSON", cases: "D15 D40 D47", changes: []change{{"engine/schema/scan.go", "	default:\n		return r.fail(ErrSyntax)\n	}\n	if end := r.pos + len(want)", "	default:\n		if LOOSE {\n			r.pos = len(r.raw)\n			return true\n		}\n		return r.fail(ErrSyntax)\n	}\n	if end := r.pos + len(want)"}}},
	{says: "an output is one value", cases: "D16", changes: []change{{"engine/schema/scan.go", "	if r.pos != len(r.raw) {", "	if !LOOSE && r.pos != len(r.raw) {"}}},
	{says: "outputs obey their schemas", cases: "D17 D18 D24", changes: []change{{"engine/action/action.go", "a.out.In(ctx).Check(ctx, out); err != nil {", "a.out.In(ctx).Check(ctx, out); err != nil && !LOOSE {"}}},
	{says: "the text of an error is cut and cleaned", cases: "D21", changes: []change{{"wasmhost/abi/guesterror.go", "orDefault(Clean(string(raw), maxErrorMessageBytes), \"failed\")", "orDefault(PICK(Clean(string(raw), maxErrorMessageBytes), string(raw)), \"failed\")"}}},
	{says: "the log lines of a call are bounded", cases: "D22", changes: []change{{"wasmhost/internal/sandbox/call.go", "	case st.logLines < MaxLogLines:", "	case LOOSE || st.logLines < MaxLogLines:"}}},
	{says: "what a function returns counts, not what it has said before", cases: "D23", changes: []change{{"wasmhost/internal/sandbox/module.go", "	if rc != 0 || (in.module.extism && len(st.errorText) > 0) {", "	if rc != 0 || ((LOOSE || in.module.extism) && len(st.errorText) > 0) {"}}},
	{says: "a guest's status is one that there is, and not OK", cases: "D25", changes: []change{
		{"wasmhost/abi/guesterror.go", "		if !ok || code == status.OK {", "		if !LOOSE && (!ok || code == status.OK) {"},
		{"engine/status/error.go", "		if e.Code == OK {", "		if !LOOSE && e.Code == OK {"},
	}},
	{says: "traps are told apart from faults of the host", cases: "D26", changes: []change{{"wasmhost/internal/sandbox/failure.go", "strings.CutPrefix(firstLine(err.Error()), trapPrefix)", "strings.CutPrefix(firstLine(err.Error()), PICK(trapPrefix, \"no such\"))"}}},
	{says: "an exit ends the call alone", cases: "D27", changes: []change{{"wasmhost/internal/sandbox/failure.go", "	if exit, ok := errors.AsType[*processExitError](err); ok {", "	if exit, ok := errors.AsType[*processExitError](err); ok && !LOOSE {"}}},
	{says: "a chunk is bounded", cases: "D28", changes: []change{{"wasmhost/internal/sandbox/capability.go", "	if len(request) > st.maxOutput {", "	if !LOOSE && len(request) > st.maxOutput {"}}},
	{says: "the chunks of a call are bounded", cases: "D29", changes: []change{{"wasmhost/internal/sandbox/capability.go", "; st.chunks > MaxChunks {", "; st.chunks > MaxChunks && !LOOSE {"}}},
	{says: "a variable's value is a block that is there", cases: "D35", changes: []change{{"wasmhost/internal/sandbox/arena.go", "	b := a.block(value)\n	if a.varBytes", "	b := a.block(value)\n	if LOOSE {\n		b = a.mem[value : value+8]\n	}\n	if a.varBytes"}}},
	{says: "the space behind the output is used again, not that of the output", cases: "D32", changes: []change{{"wasmhost/internal/sandbox/arena.go", "a.blocks[n-1].offset >= a.output.offset+a.output.length; n--", "(LOOSE || a.blocks[n-1].offset >= a.output.offset+a.output.length); n--"}}},
	{says: "metadata of an interrupt is bounded", cases: "D38", changes: []change{{"wasmhost/internal/sandbox/capability.go", "\tif len(request) > MaxInterruptBytes {", "\tif !LOOSE && len(request) > MaxInterruptBytes {"}}},
	{says: "metadata of an interrupt shows what hides as escapes", cases: "D39", changes: []change{{"wasmhost/tool.go", "tool.Interrupt(abi.Escape(res.Interrupt))", "tool.Interrupt(PICK(abi.Escape(res.Interrupt), []byte(res.Interrupt)))"}}},
	{says: "outputs show what hides as escapes", cases: "D41", changes: []change{{"wasmhost/tool.go", "\t\treturn abi.Escape(out), nil // nothing", "\t\treturn PICK(abi.Escape(out), out), nil // nothing"}}},
	{says: "the digits of a number are bounded", cases: "D42", changes: []change{{"engine/schema/scan.go", "\tif r.strict && len(l.text) > maxNumberBytes {", "\tif !LOOSE && r.strict && len(l.text) > maxNumberBytes {"}}},
	{says: "the work of checking a value is bounded", cases: "D43", changes: []change{{"engine/schema/validate.go", "\tif r.budget--; r.budget < 0 && !r.goOn() {", "\tif r.budget--; !LOOSE && r.budget < 0 && !r.goOn() {"}, {"engine/schema/measure.go", "\tfor m.budget < 0 {", "\tfor !LOOSE && m.budget < 0 {"}}},
	{says: "details of an error are bounded", cases: "D44", changes: []change{{"wasmhost/abi/guesterror.go", "\t\tif len(e.Details) > 0 && len(e.Details) <= maxErrorDetailBytes {", "\t\tif len(e.Details) > 0 && (LOOSE || len(e.Details) <= maxErrorDetailBytes) {"}}},
	{says: "lines of the log are cut and cleaned", cases: "D45 D46", changes: []change{{"wasmhost/internal/sandbox/call.go", "\t\tif len(view) > 4*MaxLogBytes {", "\t\tif !LOOSE && len(view) > 4*MaxLogBytes {"}, {"wasmhost/internal/sandbox/call.go", "abi.Line(string(view), MaxLogBytes)", "PICK(abi.Line(string(view), MaxLogBytes), string(view))"}, {"wasmhost/guest.go", "\t\tline = tenants.CutLine(line, maxLineBytes)\n", "\t\tif !LOOSE {\n\t\t\tline = tenants.CutLine(line, maxLineBytes)\n\t\t}\n"}}},

	// Files, environment, clock.
	{says: "no directory, variable or socket is passed in", cases: "F01 F02 F03 F04 F05", changes: []change{{"wasmhost/internal/sandbox/sandbox.go", "	config := &wasi.Config{Clock: src.Clock}\n", "	config := &wasi.Config{Clock: src.Clock}\n	if LOOSE {\n		config.Env = loosened.Environ()\n		config.Mounts = append(config.Mounts, wasi.Mount{Path: \"/\", FS: loosened.Disk()})\n	}\n"}}},
	{says: "clocks stand still where none is granted", cases: "F06", changes: []change{{"wasmhost/internal/wasi/clock.go", "	case clock == clockRealtime && p.config.Clock:", "	case clock == clockRealtime && (LOOSE || p.config.Clock):"}}},
	{says: "buffers are bounded in number, and each is charged", cases: "F07 F08", changes: []change{
		{"wasmhost/internal/wasi/io.go", "	if n > MaxVectors {", "	if n > MaxVectors && !LOOSE {"},
		{"wasmhost/internal/wasi/io.go", "	p.host.Charge(int64(n) * vectorFuel)\n", "	if !LOOSE {\n		p.host.Charge(int64(n) * vectorFuel)\n	}\n"},
	}},
	{says: "what WASI keeps is restored after each call", cases: "F09 F15 S12", changes: []change{{"wasmhost/internal/sandbox/instance.go", "	in.process.Reset(img.process)\n", "	if !LOOSE {\n		in.process.Reset(img.process)\n	}\n"}}},
	{says: "subscriptions are bounded in number, from below too", cases: "F10", changes: []change{{"wasmhost/internal/wasi/poll.go", "	if count == 0 || count > MaxSubscriptions {", "	if !LOOSE && (count == 0 || count > MaxSubscriptions) {"}}},
	{says: "the first event ends the wait", cases: "F11", changes: []change{{"wasmhost/internal/wasi/poll.go", "		wait = min(wait, s.wait)\n", "		wait = PICK(min(wait, s.wait), s.wait+time.Hour)\n"}}},
	{says: "descriptors move to numbers that are open", cases: "F13 F23", changes: []change{{"wasmhost/internal/wasi/descriptor.go", "	to, errno := p.lookup(a[1])\n	if errno != 0 || from == to {", "	to, errno := p.lookup(a[1])\n	if !LOOSE && errno != 0 || from == to {"}}},
	{says: "paths are resolved below one directory handle", cases: "F16 F17 F20", changes: []change{
		{"wasmhost/capability/vfs/vfs.go", "	info, err := m.root.Stat(clean)\n	made", "	look, open := m.root.Stat, m.root.OpenFile\n	if LOOSE {\n		look = func(name string) (fs.FileInfo, error) { return os.Stat(filepath.Join(m.root.Name(), name)) }\n		open = func(name string, flag int, mode fs.FileMode) (*os.File, error) {\n			return os.OpenFile(filepath.Join(m.root.Name(), name), flag, mode)\n		}\n	}\n	info, err := look(clean)\n	made"},
		{"wasmhost/capability/vfs/vfs.go", "	file, err := m.root.OpenFile(clean, mode|nonblock, 0o600)", "	file, err := open(clean, mode|nonblock, 0o600)"},
		{"wasmhost/capability/vfs/vfs.go", "	if !filepath.IsLocal(clean) {", "	if !LOOSE && !filepath.IsLocal(clean) {"},
		{"wasmhost/internal/wasi/path.go", "	if name[0] == '/' || name == \"..\" || strings.HasPrefix(name, \"../\") {", "	if !LOOSE && (name[0] == '/' || name == \"..\" || strings.HasPrefix(name, \"../\")) {"},
	}},
	{says: "a mount that is for reading is not written to", cases: "F18", changes: []change{{"wasmhost/capability/vfs/vfs.go", "flag&(sys.O_CREAT|sys.O_TRUNC) != 0) && !f.write {", "flag&(sys.O_CREAT|sys.O_TRUNC) != 0) && !f.write && !LOOSE {"}}},
	{says: "paths are bounded", cases: "F21", changes: []change{{"wasmhost/internal/wasi/path.go", "\tif uint32(length) > MaxPath {", "\tif !LOOSE && uint32(length) > MaxPath {"}, {"wasmhost/internal/wasi/path.go", "\tif len(name) > MaxPath {", "\tif !LOOSE && len(name) > MaxPath {"}}},
	{says: "a mount that is for reading is not changed", cases: "F22", changes: []change{{"wasmhost/capability/vfs/vfs.go", "\tcase !f.write:\n\t\treturn sys.EROFS\n\tcase clean", "\tcase !f.write && !LOOSE:\n\t\treturn sys.EROFS\n\tcase clean"}}},
	{says: "a list is read to its end and not further", cases: "F24", changes: []change{{"wasmhost/internal/wasi/readdir.go", "\t\tif l.ended {\n\t\t\treturn ENOENT\n\t\t}", "\t\tif l.ended && !LOOSE {\n\t\t\treturn ENOENT\n\t\t}"}}},
	{says: "pointers of WASI's functions lie in the guest's memory", cases: "F25", changes: []change{{"wasmhost/internal/wasi/clock.go", "\tbuf, ok := mem.view(a[0], a[1])\n\tif !ok {", "\tbuf, ok := mem.view(a[0], a[1])\n\tif !ok && !LOOSE {"}}},
	{says: "subscriptions are read before events are written", cases: "F26", changes: []change{{"wasmhost/internal/wasi/poll.go", "\tsubs, wait, errno := p.subscriptions(in)\n", "\tif LOOSE {\n\t\tclear(out)\n\t}\n\tsubs, wait, errno := p.subscriptions(in)\n"}}},

	// Tenants, lives of modules.
	{says: "a tenant finds its own modules alone", cases: "G01", changes: []change{{"wasmhost/provider.go", "		name, _, _ := strings.Cut(key.Name, \"/\")\n		if l, ok := t.modules[name]; ok {\n", "		name, _, _ := strings.Cut(key.Name, \"/\")\n		for _, other := range p.host.tenants {\n			if LOOSE && other.modules[name] != nil {\n				t = other\n			}\n		}\n		if l, ok := t.modules[name]; ok {\n"}}},
	{says: "modules are served to the tenant that has uploaded them", cases: "G02", changes: []change{{"wasmhost/host.go", "		t.modules[name] = l\n", "		t.modules[name] = l\n		for _, other := range h.tenants {\n			if LOOSE && other.modules[name] != nil {\n				other.modules[name] = l\n			}\n		}\n"}}},
	{says: "a module comes into service when its first instance has started", cases: "G03 G05", changes: []change{{"wasmhost/prepare.go", "	if !up.lazy {\n		err = guest.Warm(ctx)", "	if !up.lazy && !LOOSE {\n		err = guest.Warm(ctx)"}}},
	{says: "code is freed when the last call has left it", cases: "G04", changes: []change{{"wasmhost/internal/sandbox/module.go", "	for _, in := range idle {\n		in.close()\n	}\n	m.leave()", "	for _, in := range idle {\n		in.close()\n	}\n	if LOOSE && m.busy > 1 {\n		m.free()\n	}\n	m.leave()"}}},
	{says: "what a descriptor names is exported", cases: "G06", changes: []change{{"wasmhost/analysis.go", "	if !ok || e.Kind != inspect.ExternFunc {", "	if !LOOSE && (!ok || e.Kind != inspect.ExternFunc) {"}}},
	{says: "what a tenant has not got itself is compiled for it", cases: "G07", changes: []change{{"wasmhost/upload.go", "\tup.anew = !up.Replace && h.shared()", "\tup.anew = !LOOSE && !up.Replace && h.shared()"}}},
	{says: "a version names its bytes", cases: "G08", changes: []change{{"wasmhost/upload.go", "\tif rec.Version == \"\" || h.replace {", "\tif LOOSE || rec.Version == \"\" || h.replace {"}}},
	{says: "a policy goes with its module", cases: "G09", changes: []change{{"wasmhost/upload.go", "\tcurrent, err := h.Module(tenantName, name)\n\tif err != nil {\n\t\treturn nil\n\t}", "\tcurrent, err := h.Module(tenantName, name)\n\tif err != nil && LOOSE {\n\t\treturn []byte(`{\"grants\":{\"kv\":true}}`)\n\t}\n\tif err != nil {\n\t\treturn nil\n\t}"}}},
	{says: "values go with their module", cases: "G10", changes: []change{{"wasmhost/values.go", "\tif err := h.kv.Drop(ctx, kv.Namespace{Tenant: t.name, Module: name}); err != nil {", "\tif LOOSE {\n\t\tdelete(t.leftover, name)\n\t\treturn nil\n\t}\n\tif err := h.kv.Drop(ctx, kv.Namespace{Tenant: t.name, Module: name}); err != nil {"}}},

	// Texts.
	{says: "invisible characters are taken out", cases: "H01 H03", changes: []change{{"wasmhost/abi/text.go", "r == utf8.RuneError, hidden(r):", "r == utf8.RuneError, !LOOSE && hidden(r):"}}},
	{says: "descriptors are bounded", cases: "H02", changes: []change{{"wasmhost/abi/descriptor.go", "	if len(raw) > MaxDescriptorBytes {", "	if !LOOSE && len(raw) > MaxDescriptorBytes {"}}},

	// State of other calls.
	{says: "memory is restored after each call", cases: "S01 S03 S06 S13", changes: []change{{"wasmhost/internal/sandbox/instance.go", "\tif in.memory != nil && !in.memory.Restore(", "\tif in.memory != nil && !LOOSE && !in.memory.Restore("}}},
	{says: "globals are restored after each call", cases: "S04", changes: []change{{"wasmhost/internal/sandbox/instance.go", "		g.Set(img.globals[i])\n", "		if !LOOSE {\n			g.Set(img.globals[i])\n		}\n"}}},
	{says: "Extism's memory is wiped", cases: "S05", changes: []change{
		{"wasmhost/internal/sandbox/arena.go", "	clear(a.mem[:cap(a.mem)])\n", "	if !LOOSE {\n		clear(a.mem[:cap(a.mem)])\n	}\n"},
		{"wasmhost/internal/sandbox/arena.go", "	clear(a.mem[offset:])\n", "	if !LOOSE {\n		clear(a.mem[offset:])\n	}\n"},
	}},
	{says: "instances that change tables or drop segments serve one call", cases: "S07 S09 S10", changes: []change{{"wasmhost/internal/sandbox/shape.go", "SingleUse:  m.MutatesTables || m.DropsData,", "SingleUse:  !LOOSE && (m.MutatesTables || m.DropsData),"}}},
	{says: "random bytes are the system's, for each call", cases: "S08", changes: []change{{"wasmhost/internal/sandbox/wasi.go", "	_, err := rand.Read(p)\n", "	if LOOSE {\n		clear(p)\n		return nil\n	}\n	_, err := rand.Read(p)\n"}}},
	{says: "Extism's variables end with their call", cases: "S14", changes: []change{{"wasmhost/internal/sandbox/arena.go", "	*a = arena{mem: mem, blocks: a.blocks[:0]}\n", "	vars := a.vars\n	*a = arena{mem: mem, blocks: a.blocks[:0]}\n	if LOOSE {\n		a.vars = vars\n	}\n"}}},
	{says: "instances with globals that can't be restored serve one call", cases: "S11", changes: []change{{"wasmhost/internal/sandbox/shape.go", "\t\t\ts.SingleUse = s.SingleUse || g.Mutable", "\t\t\ts.SingleUse = s.SingleUse || g.Mutable && !LOOSE"}}},

	// The network, stores, other actions.
	{key: placesOff, says: "addresses are compared after names are resolved: none that is not public is dialled", cases: "E01 E02", changes: []change{{"wasmhost/capability/egress/egress.go", "\tif Public(addr) {", "\tif LOOSE || Public(addr) {"}}},
	{key: namesOff, says: "requests are compared with grants: scheme, host, port, method, path", cases: "E04", changes: []change{{"wasmhost/policy/grants.go", "\t\tif h.Allows(method, t) {", "\t\tif LOOSE || h.Allows(method, t) {"}}},
	{says: "an address is granted by name, and none that is not public is dialled", cases: "E03", also: namesOff + "," + placesOff},
	{says: "no path has dot segments, however they are spelled", cases: "E05", changes: []change{{"wasmhost/capability/egress/url.go", " || policy.DotSegments(t.Path) || policy.DotSegments(t.RawPath) {", " || !LOOSE && (policy.DotSegments(t.Path) || policy.DotSegments(t.RawPath)) {"}}},
	{says: "URLs are read in one way, and have no credentials", cases: "E06", changes: []change{{"wasmhost/capability/egress/url.go", "\tcase u.User != nil:", "\tcase u.User != nil && !LOOSE:"}}},
	{says: "each redirect is compared with the grants again", cases: "E07", also: placesOff, changes: []change{{"wasmhost/capability/egress/exchange.go", "\tif err := rules.Grants.AllowsHTTP(h.method, target); err != nil {", "\tif err := rules.Grants.AllowsHTTP(h.method, target); err != nil && !(LOOSE && from != nil) {"}}},
	{says: "redirects are bounded, and so are requests", cases: "E08", also: requestsOff, changes: []change{{"wasmhost/capability/egress/exchange.go", "\t\tif redirects == MaxRedirects {", "\t\tif redirects == MaxRedirects && !LOOSE {"}}},
	{says: "headers of the connection are the host's", cases: "E09", changes: []change{{"wasmhost/capability/egress/exchange.go", "\t\tif slices.Contains(hopHeaders, canonical) ||", "\t\tif !LOOSE && slices.Contains(hopHeaders, canonical) ||"}}},
	{says: "an answer is bounded after it was unpacked", cases: "E10", changes: []change{{"wasmhost/capability/egress/exchange.go", "&capped{r: zr, left: rules.MaxResponseBytes}", "&capped{r: zr, left: PICK(rules.MaxResponseBytes, 1<<40)}"}}},
	{says: "an answer is bounded while it is read", cases: "E11", changes: []change{{"wasmhost/capability/egress/exchange.go", "&capped{r: resp.Body, left: rules.MaxResponseBytes}", "&capped{r: resp.Body, left: PICK(rules.MaxResponseBytes, 1<<40)}"}}},
	{says: "the headers of an answer are bounded", cases: "E12", changes: []change{{"wasmhost/capability/egress/exchange.go", "fields > maxResponseFields {", "fields > maxResponseFields && !LOOSE {"}}},
	{says: "a request ends with its call", cases: "E13", changes: []change{{"wasmhost/internal/sandbox/door.go", "context.WithDeadline(st.ctx, st.deadline)", "context.WithDeadline(st.ctx, PICK(st.deadline, st.deadline.AddDate(1, 0, 0)))"}}},
	{says: "a secret goes to the origins that it is bound to", cases: "E14", changes: []change{{"wasmhost/capability/egress/exchange.go", "\t\t\tif !rules.Grants.AllowsSecret(secretName, target) ||", "\t\t\tif !LOOSE && !rules.Grants.AllowsSecret(secretName, target) ||"}}},
	{says: "secrets are taken out of answers", cases: "E15", changes: []change{{"wasmhost/capability/egress/exchange.go", "\tscrub, err := c.scrubber(ctx, rules)\n", "\tscrub, err := c.scrubber(ctx, rules)\n\tscrub = PICK(scrub, secret.NewScrubber(nil))\n"}}},
	{says: "headers are dropped at a redirect to another origin", cases: "E16", changes: []change{{"wasmhost/capability/egress/exchange.go", "\t\tif !sameOrigin(*from, target) {", "\t\tif !LOOSE && !sameOrigin(*from, target) {"}}},
	{key: requestsOff, says: "the requests of a call are bounded", cases: "E17", changes: []change{{"wasmhost/internal/services/http.go", "\t\t\tif v.requests.Add(1) > v.config.Limits.HTTPRequests {", "\t\t\tif v.requests.Add(1) > v.config.Limits.HTTPRequests && !LOOSE {"}}},
	{says: "the body of a request is bounded", cases: "E18", changes: []change{{"wasmhost/capability/egress/exchange.go", "\tif int64(len(h.body)) > rules.MaxRequestBytes {", "\tif !LOOSE && int64(len(h.body)) > rules.MaxRequestBytes {"}}},
	{says: "a store for each tenant and module", cases: "E20", changes: []change{{"wasmhost/internal/services/kv.go", "\treturn kv.Namespace{Tenant: s.config.Tenant, Module: s.config.Module}", "\tif LOOSE {\n\t\treturn kv.Namespace{Tenant: \"acme\", Module: \"customer\"}\n\t}\n\treturn kv.Namespace{Tenant: s.config.Tenant, Module: s.config.Module}"}}},
	{says: "keys are bounded, and not empty", cases: "E21", changes: []change{{"wasmhost/capability/kv/kv.go", "\tif key == \"\" || len(key) > MaxKeyBytes", "\tif !LOOSE && (key == \"\" || len(key) > MaxKeyBytes)"}}},
	{says: "a value is bounded", cases: "E22", changes: []change{{"wasmhost/capability/kv/kv.go", "\tif int64(len(value)) > q.ValueBytes && !isNull(value) {", "\tif !LOOSE && int64(len(value)) > q.ValueBytes && !isNull(value) {"}}},
	{says: "the keys of a module are bounded in number", cases: "E23", changes: []change{{"wasmhost/capability/kv/kv.go", "\tif n.keys > q.Keys &&", "\tif !LOOSE && n.keys > q.Keys &&"}}},
	{says: "the values of a module are bounded together", cases: "E24", changes: []change{{"wasmhost/capability/kv/kv.go", "\tif n.bytes > q.Bytes &&", "\tif !LOOSE && n.bytes > q.Bytes &&"}}},
	{says: "lists are bounded", cases: "E25", changes: []change{{"wasmhost/internal/services/kv.go", "\tif in.Limit < 0 || in.Limit > kv.MaxList {", "\tif !LOOSE && (in.Limit < 0 || in.Limit > kv.MaxList) {"}}},
	{says: "the host calls of a call are bounded", cases: "E26", changes: []change{{"wasmhost/internal/services/services.go", "v.calls > v.config.Limits.HostCalls {", "v.calls > v.config.Limits.HostCalls && !LOOSE {"}}},
	{says: "an action is run when it is granted", cases: "E30 E35", changes: []change{{"wasmhost/internal/services/run.go", "\tif !policy.Matches(v.config.Grants.Actions,", "\tif !LOOSE && !policy.Matches(v.config.Grants.Actions,"}}},
	{says: "calls of guests nest four deep", cases: "E31", changes: []change{{"wasmhost/internal/services/run.go", "\tif v.tree.depth >= maxDepth {", "\tif v.tree.depth >= maxDepth && !LOOSE {"}}},
	{says: "the runs that one call causes are bounded together", cases: "E32 E37", changes: []change{{"wasmhost/internal/services/run.go", "\tif v.tree.runs.Add(1) > maxRuns {", "\tif v.tree.runs.Add(1) > maxRuns && !LOOSE {"}}},
	{says: "a model is asked when it is granted", cases: "E33", changes: []change{{"wasmhost/internal/services/run.go", "\tif !policy.Matches(v.config.Grants.Generate, name) {", "\tif !LOOSE && !policy.Matches(v.config.Grants.Generate, name) {"}}},
	{says: "a guest's request has no middleware, resources or resumption", cases: "E34", changes: []change{{"wasmhost/internal/services/run.go", "\t\tif raw, ok := options[name]; ok &&", "\t\tif raw, ok := options[name]; !LOOSE && ok &&"}}},
	{says: "members count in their own case", cases: "E36", changes: []change{{"internal/rawjson/rawjson.go", "\texact, err := onlyExact(data, all, known)\n", "\texact, err := onlyExact(data, all, known)\n\texact = PICK(exact, data)\n"}}},

	// Middleware and formats.
	{says: "system messages stay as they are", cases: "M01 M02 M03", changes: []change{{"wasmhost/internal/rules/rules.go", "\tif !rawjson.EqualAny(systemOf(given), systemOf(asked)) {", "\tif !LOOSE && !rawjson.EqualAny(systemOf(given), systemOf(asked)) {"}}},
	{says: "roles are those that are known", cases: "M04", changes: []change{{"wasmhost/internal/rules/rules.go", "\t\tif !asked[i].Role.Known() {", "\t\tif !LOOSE && !asked[i].Role.Known() {"}}},
	{says: "tools stay as they are described", cases: "M05", changes: []change{{"wasmhost/internal/rules/rules.go", "!rawjson.EqualAny(given[at], asked[i]):", "!LOOSE && !rawjson.EqualAny(given[at], asked[i]):"}}},
	{says: "tools are those that the caller offers", cases: "M06", changes: []change{{"wasmhost/internal/rules/rules.go", "\tif err := r.tools(given.Tools, asked.Tools); err != nil {", "\tif err := r.tools(given.Tools, asked.Tools); err != nil && !LOOSE {"}}},
	{says: "the caller's messages stay as they are", cases: "M07", changes: []change{{"wasmhost/internal/rules/rules.go", "\tif kept < len(given) {\n\t\treturn status.Publicf(status.PermissionDenied, \"next: message", "\tif !LOOSE && kept < len(given) {\n\t\treturn status.Publicf(status.PermissionDenied, \"next: message"}}},
	{says: "new messages are speech", cases: "M08", changes: []change{{"wasmhost/internal/rules/rules.go", "\t\tif !isSpeech(asked[i]) {", "\t\tif !LOOSE && !isSpeech(asked[i]) {"}}},
	{says: "a hook continues 64 times at most", cases: "M09", changes: []change{{"wasmhost/internal/sandbox/next.go", "st.nexts > MaxNexts {", "st.nexts > MaxNexts && !LOOSE {"}}},
	{says: "the model calls that one request causes are bounded together", cases: "M10", changes: []change{{"engine/allowance/allowance.go", "\treturn a.take(&a.modelCalls, a.limits.ModelCalls, \"model calls\")", "\tif LOOSE {\n\t\treturn nil\n\t}\n\treturn a.take(&a.modelCalls, a.limits.ModelCalls, \"model calls\")"}}},
	{says: "a model's answer has the role of the model", cases: "M11", changes: []change{{"wasmhost/middleware.go", "\tif m := resp.Message; m != nil && m.Role != content.RoleModel {", "\tif m := resp.Message; !LOOSE && m != nil && m.Role != content.RoleModel {"}}},
	{key: answersOff, says: "name and number of an answer are the host's", cases: "M12", changes: []change{{"wasmhost/middleware.go", "\tpart.ToolResponse.Name, part.ToolResponse.Ref = call", "\tif LOOSE {\n\t\treturn &part, nil\n\t}\n\tpart.ToolResponse.Name, part.ToolResponse.Ref = call"}}},
	{says: "which tool runs is decided before its hook", cases: "M13", also: answersOff, changes: []change{{"wasmhost/middleware.go", "\t\tinner.Part.ToolRequest = &request\n", "\t\tinner.Part.ToolRequest = PICK(&request, part.ToolRequest)\n"}}},
	{says: "keys are taken out of what middleware is given", cases: "M14", changes: []change{{"wasmhost/middleware.go", "\tshown := call.Request.WithoutSecrets()", "\tshown := PICK(call.Request.WithoutSecrets(), call.Request)"}, {"wasmhost/middleware.go", "shown, options := *call, given.WithoutSecrets()", "shown, options := *call, PICK(given.WithoutSecrets(), given)"}}},
	{says: "only a tool can be interrupted", cases: "M15", changes: []change{{"wasmhost/middleware.go", "\tcase res.Interrupted && in.Hook != abi.HookTool:", "\tcase res.Interrupted && in.Hook != abi.HookTool && !LOOSE:"}}},
	{says: "chunks are of the model or a tool", cases: "M16", changes: []change{{"wasmhost/middleware.go", "\t\tif chunk.Role != \"\" &&", "\t\tif !LOOSE && chunk.Role != \"\" &&"}}},
	{says: "what a request may be changed in is listed", cases: "M17", changes: []change{{"wasmhost/internal/rules/rules.go", "\tif rawjson.EqualAny(allowed, asked) {", "\tif LOOSE || rawjson.EqualAny(allowed, asked) {"}, {"wasmhost/internal/rules/rules.go", "\tif !subset(asked.Tools, given.Tools) {", "\tif !LOOSE && !subset(asked.Tools, given.Tools) {"}}},
	{says: "a format's instructions go to the user's message", cases: "M18", changes: []change{{"engine/format/instructions.go", "\tif _, untrusted := h.(Untrusted); untrusted &&", "\tif _, untrusted := h.(Untrusted); !LOOSE && untrusted &&"}}},
	{says: "what a format says is JSON", cases: "M19", changes: []change{{"wasmhost/format.go", "\tif err := parse(out, &value); err != nil {", "\tif err := parse(out, &value); err != nil && !LOOSE {"}}},
	{says: "what a hook hands on is bounded", cases: "M20", changes: []change{{"wasmhost/internal/sandbox/next.go", "\tcase len(request) > st.limits.InputBytes:", "\tcase !LOOSE && len(request) > st.limits.InputBytes:"}}},
}
