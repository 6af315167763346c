package meter_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// mutant is a fault of the meter, as a change of its source. The old text stands once in its file. The verifier has to
// refuse a module of each, unless all that it does is charge too much: then the prices have to differ.
type mutant struct {
	name, file, old, new string
	dearer               bool
}

var mutants = []mutant{
	// Checks that are left out or do nothing.
	{name: "no check on a jump back", file: "checks.go", old: "from.entry; e.on {", new: "from.entry; e.on {\n		e.on = false"},
	{name: "no check on a known jump back", file: "checks.go", old: "c.entry >= 0 && c.entry+head > from.entry; e.on {", new: "c.entry >= 0 && c.entry+head > from.entry; e.on && s.to >= 0 { e.on = false } else if e.on {"},
	{name: "no check at the head of a loop", file: "rewrite.go", old: "	if r.check {\n		w.check()", new: "	if r.check && false {\n		w.check()"},
	{name: "no check before a charge", file: "rewrite.go", old: "	if r.before {\n		w.check()", new: "	if r.before && false {\n		w.check()"},
	{name: "no check before a call through a table", file: "checks.go", old: "|| c.over(0); before.on {\n			c.checked()\n		}\n		c.before", new: "|| c.over(0); before.on {\n			c.checked()\n			before.on = false\n		}\n		c.before"},
	{name: "no check in a hub before a call", file: "checks.go", old: "c.over(g.pre) || c.self.hub && g.deep && c.entry >= 0; before.on {", new: "c.over(g.pre); before.on {"},
	{name: "no check where a hub ends", file: "checks.go", old: "c.self.hub && (c.climb > HubReturn || c.check > hubPost)", new: "false"},
	{name: "no check after a flush", file: "rewrite.go", old: "			if e.on {\n				w.check()\n			}\n		}\n	case editLeave:", new: "		}\n	case editLeave:"},
	{name: "no check in a wrapper", file: "unroll.go", old: "	w.flush()\n	w.check()\n", new: "	w.flush()\n"},
	{name: "no check after a length", file: "pieces.go", old: "	w.code = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)\n	w.check()\n", new: "	w.code = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)\n"},
	{name: "a helper that checks nothing", file: "pieces.go", old: "	if h == helpCheck {\n		w.code = append(w.code[:0], 0)\n		w.check()\n", new: "	if h == helpCheck {\n		w.code = append(w.code[:0], 0)\n"},
	{name: "a check the wrong way round", file: "pieces.go", old: "byte(inspect.OpI64Const), 0, opI64GeS,", new: "byte(inspect.OpI64Const), 0, opI64LeS,"},
	{name: "a check of another global", file: "pieces.go", old: "	c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), w.fuel)\n	c = append(c, byte(inspect.OpI64Const), 0, opI64GeS", new: "	c := appendU32(append(w.code, byte(inspect.OpGlobalGet)), 1)\n	c = append(c, byte(inspect.OpI64Const), 0, opI64GeS"},
	{name: "a window without an end", file: "checks.go", old: "	limit := int64(WindowUnits)\n", new: "	return false\n	limit := int64(WindowUnits)\n"},
	{name: "every second hub is none", file: "rewrite.go", old: "		if is {\n			c.functions[i] = newHub", new: "		if is && i%2 == 0 {\n			c.functions[i] = newHub"},
	{name: "a loop before the first check of a hub is forgotten", file: "checks.go", old: "c.entry >= 0 && (c.self.hub || c.entry+l.most > WindowUnits)", new: "false"},

	// Charges that are left out or too small.
	{name: "every seventh price is skipped", file: "rewrite.go", old: "	if r.cost > 0 {\n		c := appendU32", new: "	if r.cost > 0 && r.cost%7 != 0 {\n		c := appendU32"},
	{name: "charges of one less", file: "rewrite.go", old: "	c = appendS64(append(c, byte(inspect.OpI64Const)), r.cost)\n", new: "	c = appendS64(append(c, byte(inspect.OpI64Const)), max(1, r.cost-1))\n"},
	{name: "a division for the price of an addition", file: "weight.go", old: "		return weightDivide\n", new: "		return weightSimple\n"},
	{name: "folded prices are dropped", file: "plan.go", old: "			p.regions[r.parent].cost += r.cost\n", new: ""},
	{name: "nobody pays for the head of a loop", file: "loops.go", old: "			p.regions[s.region].cost += p.regions[p.loops[s.loop].own].cost\n", new: "			_ = s\n"},
	{name: "a jump pays itself", file: "loops.go", old: "			l.heads++ // the head would pay", new: "			// the head would pay"},
	{name: "lengths shifted too far", file: "weight.go", old: "		return bytesShift, true\n", new: "		return bytesShift + 6, true\n"},
	{name: "pages shifted the wrong way", file: "weight.go", old: "		return -pageShift, true\n", new: "		return pageShift, true\n"},
	{name: "a piece of a gibibyte", file: "pieces.go", old: "const PieceBytes = 64 << 10", new: "const PieceBytes = 1 << 30"},
	{name: "fills and copies in one go", file: "plan.go", old: "if h, ok := helperOf(in.Op); ok && p.live {", new: "if h, ok := helperOf(in.Op); ok && p.live && p.each {"},
	{name: "a charge on a global of the guest", file: "meter.go", old: "		fuel:  uint32(len(m.Globals)),", new: "		fuel:  uint32(max(0, len(m.Globals)-1)),"},

	// Counted loops.
	{name: "counts of one less", file: "unroll.go", old: "	c = appendS64(append(c, byte(inspect.OpI64Const)), cost)\n", new: "	c = appendS64(append(c, byte(inspect.OpI64Const)), cost-1)\n"},
	{name: "three rounds for four", file: "unroll.go", old: "	w.count(rounds * l.cost)\n", new: "	w.count((rounds - 1) * l.cost)\n"},
	{name: "a round less where a loop is left", file: "unroll.go", old: "			w.count(round * l.cost)\n", new: "			w.count((round - 1) * l.cost)\n"},
	{name: "a guard that never holds", file: "unroll.go", old: "append(c, byte(inspect.OpI64Const)), LoopQuantum), opI64LeS", new: "append(c, byte(inspect.OpI64Const)), 1<<40), opI64LeS"},
	{name: "no guard at the head of a counted loop", file: "rewrite.go", old: "		if r.check && p.loops[r.loop].counted {", new: "		if false {"},
	{name: "flushes pay nothing", file: "unroll.go", old: "	c = appendU32(append(c, opI64Sub, byte(inspect.OpGlobalSet)), w.fuel)\n	w.code = appendU32(append(c, byte(inspect.OpI64Const), 0", new: "	c = append(c, opDrop, opDrop)\n	w.code = appendU32(append(c, byte(inspect.OpI64Const), 0"},
	{name: "no flush after a loop", file: "loops.go", old: "		p.arrive(in.End, after)\n", new: ""},
	{name: "no flush after a block that loops are left to", file: "plan.go", old: "		p.arrive(in.End, b.landing)\n", new: ""},
	{name: "no flush before a return", file: "loops.go", old: "	p.flush(in.Offset, landing)\n", new: "	_ = landing\n"},
	{name: "no flush where a loop is left with the function", file: "loops.go", old: "	w.flush()\n	if e.on {\n		w.check()\n	}\n	w.code = append(appendU32(append(w.code, byte(inspect.OpBr)), label+1), opEnd)", new: "	w.code = append(appendU32(append(w.code, byte(inspect.OpBr)), label+1), opEnd)"},
	{name: "a flush in each round", file: "plan.go", old: "	if target == 0 && in.Op == inspect.OpBrIf && p.inner >= 0 && p.live {", new: "	if target == 0 && in.Op == inspect.OpBrIf && p.inner >= 0 && p.live && p.each {"},
	{name: "a table may leave a counted loop with the function", file: "plan.go", old: "		p.upToDate() // it can't be known", new: "		// it can't be known"},
	{name: "loops with calls are counted", file: "loops.go", old: "l.backs > 0 && !b.calls && !p.each", new: "l.backs > 0 && !p.each"},
	{name: "dear loops are counted", file: "loops.go", old: "l.counted && l.cost <= LoopQuantum", new: "l.counted"},
	{name: "loops that are jumped to from inside rotate", file: "loops.go", old: "r.check && !l.mixed && l.depth == 0", new: "r.check && l.depth == 0"},
	{name: "any number of flushes in a row", file: "loops.go", old: "const maxUnpaid = 8", new: "const maxUnpaid = 1 << 30"},

	// Work that is paid for long before it is done.
	{name: "regions go on past calls", file: "plan.go", old: "function == callAny || p.functions[function].pauses()", new: "false"},
	{name: "regions go on past calls through tables", file: "plan.go", old: "function == callAny || p.functions[function].pauses()", new: "function >= 0 && p.functions[function].pauses()"},
	{name: "regions go on past blocks with calls", file: "plan.go", old: "b.out >= last && !b.pauses && !long", new: "b.out >= last && !long"},
	{name: "regions go on past long blocks", file: "plan.go", old: "b.out >= last && !b.pauses && !long", new: "b.out >= last && !b.pauses"},
	{name: "regions without an end", file: "plan.go", old: "p.regions[p.cur].cost+weight > RegionUnits", new: "false"},
	{name: "much is paid before a call that follows it", file: "plan.go", old: "	afterPause   = 32 //", new: "	afterPause   = 3200 //"},

	// Meaning.
	{name: "a label off by one", file: "rewrite.go", old: "		w.code = appendU32(w.code, e.index+p.wrappers(e.loop, e.around))\n", new: "		w.code = appendU32(w.code, e.index+p.wrappers(e.loop, e.around)+1)\n"},
	{name: "wrappers are not counted", file: "loops.go", old: "	n := p.loops[from].depth\n", new: "	n := min(p.loops[from].depth, 0)\n"},
	{name: "a known jump to another block", file: "loops.go", old: "			return uint32(len(p.blocks) - 1 - i), true\n", new: "			return uint32(max(0, len(p.blocks)-2-i)), true\n"},
	{name: "another function is called", file: "plan.go", old: "kind: editFunc, index: in.Index + p.moved})\n	}\n	if p.live {\n		after", new: "kind: editFunc, index: max(in.Index, 1) + p.moved - 1})\n	}\n	if p.live {\n		after"},
	{name: "a copy from the wrong end", file: "pieces.go", old: "		w.emit([]byte{opI32LeU, byte(inspect.OpIf), typeEmpty})\n		w.forward(op)", new: "		w.emit([]byte{opI32LtU, byte(inspect.OpIf), typeEmpty})\n		w.forward(op)"},
	{name: "a table gets room for one more", file: "rewrite.go", old: "appendU32(appendU32(body, t.Min), limit)", new: "appendU32(appendU32(body, t.Min), limit+1)"},
	{name: "a comparison is not inverted", file: "unroll.go", old: "0x4a: 0x4c,", new: "0x4a: 0x4a,"},
	{name: "a global is exported as another", file: "rewrite.go", old: "			body = appendExport(body, g.Export, g.Index)\n", new: "			body = appendExport(body, g.Export, g.Index^1)\n"},

	// Mutants that only charge too much.
	{name: "loops cost two", file: "plan.go", old: "	r.cost, r.landing = weightSimple, b.landing\n", new: "	r.cost, r.landing = 2*weightSimple, b.landing\n", dearer: true},
	{name: "counts of one more", file: "unroll.go", old: "	c = appendS64(append(c, byte(inspect.OpI64Const)), cost)\n", new: "	c = appendS64(append(c, byte(inspect.OpI64Const)), cost+1)\n", dearer: true},
	{name: "what follows a jump is charged before it", file: "plan.go", old: "		p.branch(in)\n		if p.live { // where it does not jump, code runs less often than before it\n			p.cur = p.start(in.End, p.cur, false)\n		}\n", new: "		p.branch(in)\n", dearer: true},
	{name: "arms are charged with their if", file: "plan.go", old: "		p.step(stepIf, b.number)\n		p.cur = p.start(in.End, p.cur, false)\n", new: "		p.step(stepIf, b.number)\n", dearer: true},
	{name: "dear arms are folded", file: "weight.go", old: "const FoldedCost = 8", new: "const FoldedCost = 9", dearer: true},
}

// everyVictim has the table of docs/verifier.md printed.
var withMutants = flag.Bool("mutants", false, "build the mutants of the meter, as make mutants does: more than a minute")

var everyVictim = flag.Bool("victims", false, "try each mutant of the meter with every module, instead of until it is caught")

// victim is a module that the mutants rewrite, and what its run costs, or -1.
type victim struct {
	File  string
	Price int64
}

// verdict is the driver's output for a mutant.
type verdict struct {
	Name             string
	Changed, Refused int // modules: of which it makes something else, and of those the ones that the verifier refuses
	Priced           int // modules that cost something else
	Reason           string
}

// Every mutant of the meter makes at least one module that the verifier refuses, or, when it charges too much and does
// nothing else, that costs something else than it should. So the verifier and the prices are worth their trust.
func TestMutantsAreCaught(t *testing.T) {
	if !*withMutants {
		t.Skip("builds sixty mutants of the meter, which takes more than a minute: run make mutants, as the gate does")
	}
	verdicts := runMutants(t, writeVictims(t))
	require.Zero(t, verdicts[0].Refused, "the meter itself: %s", verdicts[0].Reason)
	require.Zero(t, verdicts[0].Priced, "the meter itself costs something else")
	for i, m := range mutants {
		v := verdicts[i+1]
		require.Equal(t, m.name, v.Name)
		t.Logf("%-55s %4d changed %4d refused %4d cost something else: %.100s", v.Name, v.Changed, v.Refused, v.Priced, v.Reason)
		if assert.Positive(t, v.Changed, "%s changes nothing", m.name); m.dearer {
			assert.Positive(t, v.Priced+v.Refused, "%s: no price tells", m.name)
		} else {
			assert.Positive(t, v.Refused, "%s: the verifier accepts it", m.name)
		}
	}
}

// writeVictims writes the modules to try mutants with, and a list of them, which it returns.
func writeVictims(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	var list []victim
	add := func(name string, wasm []byte, price int64) {
		file := filepath.Join(dir, strings.Map(func(r rune) rune {
			if r == '/' || r == ' ' {
				return '_'
			}
			return r
		}, name)+".wasm")
		require.NoError(t, os.WriteFile(file, wasm, 0o600))
		list = append(list, victim{file, price})
	}
	h := newHost(t, wazero.NewRuntimeConfigInterpreter())
	ticks := 0
	tick(t, h, &ticks)
	for seed := range uint64(30) {
		for _, seed := range []uint64{seed, seed + withTables} {
			wasm := generate(seed)
			h.slice, h.yields = 1<<40, 0
			instance := h.run(t, rewrite(t, wasm))
			h.yields = 1
			h.fuel.Set(uint64(h.slice))
			call(t, instance, &ticks)
			add(fmt.Sprint("generated ", seed), wasm, h.used())
			require.NoError(t, instance.Close(ctx))
		}
	}
	for seed := range uint64(60) {
		add(fmt.Sprint("wander ", seed), writeWander(seed), -1)
	}
	for seed := range uint64(20) {
		add(fmt.Sprint("tangle ", seed), tangle{rand.New(rand.NewPCG(seed, 2))}.module(), -1)
	}
	for _, group := range []map[string][]byte{bombs(), endless(), flushes(), heavies()} {
		for name, wasm := range group {
			add(name, wasm, -1)
		}
	}
	add("climbing", climbing(1000, false, bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 1000)), -1)
	add("climbing by a table", climbing(1000, true, bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 1000)), -1)
	for name, wasm := range w.Corpus(t) {
		if len(wasm) < 200<<10 {
			add(name, wasm, -1)
		}
	}
	b, err := json.Marshal(list)
	require.NoError(t, err)
	file := filepath.Join(dir, "victims.json")
	require.NoError(t, os.WriteFile(file, b, 0o600))
	return file
}

// runMutants builds the driver with all mutants, each a package of its own that stands in no folder, and returns what it says of the
// meter itself, and then of each.
func runMutants(t *testing.T, victims string) []verdict {
	t.Helper()
	const module, place = "github.com/genkit-wasm/genkit-wasm/", "wasmhost/internal/meter/internal/mutants/"
	here, err := os.Getwd()
	require.NoError(t, err)
	root, dir := filepath.Join(here, "../../.."), t.TempDir()
	overlay := map[string]string{}
	put := func(name string, text []byte) {
		file := filepath.Join(dir, strings.ReplaceAll(name, "/", "_"))
		require.NoError(t, os.WriteFile(file, text, 0o600))
		overlay[filepath.Join(root, place, name)] = file
	}
	read := func(name string) []byte {
		b, err := os.ReadFile(name)
		require.NoError(t, err)
		return b
	}
	sources, err := filepath.Glob("*.go")
	require.NoError(t, err)
	imports, table := &strings.Builder{}, &strings.Builder{}
	for i, m := range append([]mutant{{name: "none"}}, mutants...) {
		pkg := fmt.Sprintf("m%02d", i)
		for _, name := range sources {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			text := read(name)
			if name == m.file {
				require.Equal(t, 1, bytes.Count(text, []byte(m.old)), "%s: its text stands so often in %s", m.name, m.file)
				text = bytes.Replace(text, []byte(m.old), []byte(m.new), 1)
			}
			put(pkg+"/"+name, text)
		}
		put(pkg+"/adapter.go", read("testdata/mutants/adapter.go"))
		fmt.Fprintf(imports, "import %s %q\n", pkg, module+place+pkg)
		fmt.Fprintf(table, "\t{%q, %s.Mutant},\n", m.name, pkg)
	}
	put("driver.go", read("testdata/mutants/driver.go"))
	put("table.go", []byte("package main\n\n"+imports.String()+"\nvar mutants = []mutant{\n"+table.String()+"}\n"))
	b, err := json.Marshal(map[string]any{"Replace": overlay})
	require.NoError(t, err)
	list := filepath.Join(dir, "overlay.json")
	require.NoError(t, os.WriteFile(list, b, 0o600))
	args := []string{"run", "-overlay", list, "./" + place, victims}
	if *everyVictim {
		args = append(args, "every")
	}
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = root
	var out, complaints bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaints
	require.NoError(t, cmd.Run(), "%s", &complaints)
	var verdicts []verdict
	for decoder := json.NewDecoder(&out); decoder.More(); {
		var v verdict
		require.NoError(t, decoder.Decode(&v))
		verdicts = append(verdicts, v)
	}
	require.Len(t, verdicts, len(mutants)+1)
	return verdicts
}
