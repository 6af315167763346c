package sandbox

import (
	"context"
	"strconv"
	"strings"

	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/symbols"
)

// profiled is told of functions, of all instances of a sandbox.
type profiled struct{}

var _ experimental.FunctionListener = profiled{}

// listenerFor returns what is told of functions; nil for nobody.
func listenerFor(explain bool) experimental.FunctionListenerFactory {
	if !explain {
		return nil
	}
	return experimental.FunctionListenerFactoryFunc(func(api.FunctionDefinition) experimental.FunctionListener { return profiled{} })
}

// profileOf returns the profile of the call that ctx belongs to; nil when it has none.
func profileOf(ctx context.Context) (*instance, *Profile) {
	in, ok := ctx.Value(instanceKey{}).(*instance)
	if !ok || in.state == nil || in.fuel == nil {
		return nil, nil
	}
	return in, in.state.call.Profile
}

// Before implements [experimental.FunctionListener].
func (profiled) Before(ctx context.Context, _ api.Module, def api.FunctionDefinition, _ []uint64, _ experimental.StackIterator) {
	in, p := profileOf(ctx)
	if p == nil {
		return
	}
	if p.below == nil {
		p.below, p.Nodes = map[step]int32{}, []Node{{Parent: -1, Function: "host"}}
	}
	p.spend(in)
	caller := p.now()
	at := step{caller, def.Index()}
	node, known := p.below[at]
	switch {
	case known:
	case len(p.Nodes) == maxNodes:
		node = caller
	default:
		node = int32(len(p.Nodes))
		p.below[at] = node
		p.Nodes = append(p.Nodes, Node{Parent: caller, Function: in.module.code.Names().Symbols.Function(def.Index())})
	}
	if node != caller {
		p.Nodes[node].Calls++
	}
	p.open = append(p.open, node)
}

// now is the node that runs.
func (p *Profile) now() int32 {
	if len(p.open) == 0 {
		return 0
	}
	return p.open[len(p.open)-1]
}

// spend counts the fuel since the last time for the node that runs.
func (p *Profile) spend(in *instance) {
	used := in.used()
	p.Nodes[p.now()].Fuel += used - p.last
	p.last = used
}

// After implements [experimental.FunctionListener].
func (profiled) After(ctx context.Context, _ api.Module, _ api.FunctionDefinition, _ []uint64) {
	if in, p := profileOf(ctx); p != nil && len(p.open) > 0 {
		p.spend(in)
		p.open = p.open[:len(p.open)-1]
	}
}

// Abort implements [experimental.FunctionListener].
func (profiled) Abort(ctx context.Context, mod api.Module, def api.FunctionDefinition, _ error) {
	profiled{}.After(ctx, mod, def, nil)
}

// trace reads the functions that ran out of the engine's account of a guest's end.
func (in *instance) trace(err error) {
	if in.state == nil || in.state.call.Profile == nil {
		return
	}
	p, table := in.state.call.Profile, in.module.code.Names().Symbols
	index, row, known := uint32(0), 0, false
	put := func() {
		if known {
			p.Trace = append(p.Trace, table.Frame(index, row))
		}
		known, row = false, 0
	}
	for line := range strings.Lines(err.Error()) {
		line = strings.TrimSuffix(line, "\n")
		if text, ok := strings.CutPrefix(line, "\t\t"); ok {
			if _, number, ok := strings.Cut(text, symbols.RowPrefix); ok && row == 0 {
				row, _ = strconv.Atoi(number) // 0 when it is none
			}
			continue
		}
		name, ok := strings.CutPrefix(line, "\t.$")
		digits, _, called := strings.Cut(name, "(")
		n, bad := strconv.ParseUint(digits, 10, 32)
		if !ok || !called || bad != nil {
			continue
		}
		put()
		index, known = uint32(n), true
	}
	put()
}
