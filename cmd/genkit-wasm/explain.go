package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/intercept"
)

const (
	maxSourceMap = 32 << 20
	topFunctions = 20
)

// explained is the output of --explain for programs.
type explained struct {
	Fuel      int64          `json:"fuel"`
	Functions []functionCost `json:"functions"`       // the dearest first
	Log       []string       `json:"log"`             // "LEVEL line"
	Trace     []traced       `json:"trace,omitempty"` // the innermost first, of a call that trapped or was ended
}

// functionCost is what a function has cost, over all its callers.
type functionCost struct {
	Function string `json:"function"`
	Calls    int64  `json:"calls"`
	Fuel     int64  `json:"fuel"`      // its own
	FuelAll  int64  `json:"fuelBelow"` // with what it has called
}

type traced struct {
	Function string `json:"function"`
	File     string `json:"file,omitempty"`
	Line     int    `json:"line,omitempty"`
}

// explainer hears of one call. It changes nothing of it.
type explainer struct {
	begun   bool
	profile intercept.Profile
	lines   []string
	fuel    int64
}

var (
	_ intercept.Interceptor = (*explainer)(nil)
	_ intercept.Profiler    = (*explainer)(nil)
)

// begin takes the first call. Guests of one call run one at a time.
func (e *explainer) begin(intercept.Call) intercept.Interceptor {
	if e.begun {
		return nil
	}
	e.begun = true
	return e
}

// Ask implements [intercept.Interceptor].
func (*explainer) Ask(ctx context.Context, _ abi.Capability, _ []byte, host func(context.Context) (json.RawMessage, error)) (json.RawMessage, error) {
	return host(ctx)
}

// Fetch implements [intercept.Interceptor].
func (*explainer) Fetch(ctx context.Context, _, _ []byte, host func(context.Context) (*intercept.Fetched, error)) (*intercept.Fetched, error) {
	return host(ctx)
}

// Random implements [intercept.Sources].
func (*explainer) Random(p []byte) error {
	_, err := rand.Read(p)
	return err
}

// Clock implements [intercept.Sources].
func (*explainer) Clock(_ uint32, now int64) int64 { return now }

// Chunk implements [intercept.Interceptor].
func (*explainer) Chunk(json.RawMessage) {}

// Line implements [intercept.Interceptor].
func (e *explainer) Line(level slog.Level, line string) {
	e.lines = append(e.lines, level.String()+" "+line)
}

// Profile implements [intercept.Profiler].
func (e *explainer) Profile(p intercept.Profile) { e.profile = p }

// End implements [intercept.Interceptor].
func (e *explainer) End(o intercept.Outcome) { e.fuel = o.Fuel }

// explainRun is run, and tells on the standard error what it has cost and where it ended.
func (a *app) explainRun(ctx context.Context, f *toolFlags, stream bool, folded string) error {
	f.mapped = true
	ctx, call, err := a.openCall(ctx, f)
	if err != nil {
		return err
	}
	defer call.host.close()
	e := &explainer{}
	ran := a.runTool(intercept.With(ctx, e.begin), call, stream)
	if ctx.Err() != nil {
		return ran
	}
	if !e.begun {
		return cmp.Or(ran, usagef("%s runs nothing of the module, so there is nothing to explain", call.tool.Desc().Key()))
	}
	told := a.tellExplained(e)
	if folded != "" {
		told = errors.Join(told, writeWhole(folded, []byte(e.folded())))
	}
	return cmp.Or(ran, told)
}

// withSourceMap puts the source map beside a module into it.
func withSourceMap(up wasmhost.Upload, file string) (wasmhost.Upload, error) {
	raw, err := readFile(file+".map", maxSourceMap)
	if errors.Is(err, os.ErrNotExist) || err == nil && (up.Language != "" || len(raw) == 0) {
		return up, nil
	}
	if err != nil {
		return up, err
	}
	up.Wasm = guestbuild.WithSection(up.Wasm, wasmhost.SourceMapSection, raw)
	return up, nil
}

// functions sums up the nodes of a profile by function. What a function calls of itself counts once.
func (e *explainer) functions() []functionCost {
	below := make([]int64, len(e.profile.Nodes))
	for i := len(e.profile.Nodes) - 1; i > 0; i-- { // callers come before what they call
		n := &e.profile.Nodes[i]
		below[i] += n.Fuel
		below[n.Parent] += below[i]
	}
	byName := map[string]*functionCost{}
	for i := range e.profile.Nodes {
		n := &e.profile.Nodes[i]
		if i == 0 {
			continue
		}
		c := byName[n.Function]
		if c == nil {
			c = &functionCost{Function: n.Function}
			byName[n.Function] = c
		}
		c.Calls += n.Calls
		c.Fuel += n.Fuel
		if !e.inside(n.Parent, n.Function) {
			c.FuelAll += below[i]
		}
	}
	out := []functionCost{}
	for _, c := range byName {
		out = append(out, *c)
	}
	slices.SortFunc(out, func(a, b functionCost) int {
		return cmp.Or(cmp.Compare(b.Fuel, a.Fuel), cmp.Compare(b.FuelAll, a.FuelAll), strings.Compare(a.Function, b.Function))
	})
	return out
}

// inside reports whether a node, or one that leads to it, is of a function.
func (e *explainer) inside(node int, function string) bool {
	for ; node > 0; node = e.profile.Nodes[node].Parent {
		if e.profile.Nodes[node].Function == function {
			return true
		}
	}
	return false
}

// folded are the stacks with their own fuel, a line each: the form that flame graph tools read.
func (e *explainer) folded() string {
	var b strings.Builder
	stacks := make([]string, len(e.profile.Nodes))
	for i, n := range e.profile.Nodes {
		name := strings.ReplaceAll(abi.Line(n.Function, 200), ";", ":")
		if stacks[i] = name; i > 0 && n.Parent > 0 {
			stacks[i] = stacks[n.Parent] + ";" + name
		}
		if i > 0 && n.Fuel > 0 {
			fmt.Fprintf(&b, "%s %d\n", stacks[i], n.Fuel)
		}
	}
	return b.String()
}

// tellExplained prints what was heard to the standard error.
func (a *app) tellExplained(e *explainer) error {
	x := explained{Fuel: e.fuel, Functions: e.functions(), Log: append([]string{}, e.lines...)}
	for _, f := range e.profile.Trace {
		x.Trace = append(x.Trace, traced(f))
	}
	if a.json() {
		raw, err := json.Marshal(x)
		if err == nil {
			_, err = fmt.Fprintf(a.err, "%s\n", raw)
		}
		return err
	}
	var b strings.Builder
	if len(x.Trace) > 0 {
		b.WriteString("ended in\n")
	}
	for _, f := range x.Trace {
		fmt.Fprintf(&b, "  %s", abi.Line(f.Function, 200))
		if f.File != "" {
			fmt.Fprintf(&b, "  %s:%d", abi.Line(f.File, 300), f.Line)
		}
		b.WriteString("\n")
	}
	for _, line := range x.Log {
		fmt.Fprintf(&b, "log  %s\n", abi.Line(line, 4000))
	}
	fmt.Fprintf(&b, "fuel  %d in %d functions\n", x.Fuel, len(x.Functions))
	if len(x.Functions) > 0 {
		fmt.Fprintf(&b, "%14s %14s %9s  %s\n", "own", "with calls", "calls", "function")
	}
	for _, f := range x.Functions[:min(len(x.Functions), topFunctions)] {
		fmt.Fprintf(&b, "%14d %14d %9d  %s\n", f.Fuel, f.FuelAll, f.Calls, abi.Line(f.Function, 200))
	}
	if more := len(x.Functions) - topFunctions; more > 0 {
		fmt.Fprintf(&b, "and %d more (-o json shows all)\n", more)
	}
	_, err := a.err.Write([]byte(b.String()))
	return err
}
