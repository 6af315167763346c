package meter_test

import (
	"context"
	"crypto/sha256"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

var ctx = context.Background()

// roomy lets the tests' own shapes through.
var roomy = inspect.Limits{CompileCost: 1 << 30}

// rewrite parses and meters a module.
func rewrite(tb testing.TB, wasm []byte) *meter.Result {
	tb.Helper()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	res, err := meter.Rewrite(wasm, m, meter.Options{})
	require.NoError(tb, err)
	return res
}

// host is a runtime whose yield adds slices, up to a budget.
type host struct {
	wazero.Runtime
	slice  int64
	budget int64 // the fuel that may still be added; below zero the call is ended
	yields int
	given  int64             // fuel when the guest went on
	worst  int64             // the most that was used without the host
	fuel   api.MutableGlobal // of the instance that runs
	seen   func()            // called at each yield, unless nil
}

type outOfFuel struct{}

func newHost(tb testing.TB, config wazero.RuntimeConfig) *host {
	tb.Helper()
	h := &host{Runtime: wazero.NewRuntimeWithConfig(ctx, config.WithMemoryLimitPages(512)), slice: 100_000, budget: math.MaxInt64}
	tb.Cleanup(func() { h.Close(ctx) })
	_, err := h.NewHostModuleBuilder(meter.YieldModule).NewFunctionBuilder().
		WithGoFunction(api.GoFunc(func(context.Context, []uint64) { h.refill() }), nil, nil).
		Export(meter.YieldFunc).
		NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
		for i, at := range slices.Repeat(stack[:1], meter.Words) { // as wordEnv reads
			stack[i] = 3 * (at + 8*uint64(i))
		}
	}), []api.ValueType{api.ValueTypeI64}, slices.Repeat([]api.ValueType{api.ValueTypeI64}, meter.Words)).Export(meter.AheadFunc).
		Instantiate(ctx)
	require.NoError(tb, err)
	return h
}

func (h *host) refill() {
	h.yields++
	if h.seen != nil {
		h.seen()
	}
	left := int64(h.fuel.Get())
	h.worst = max(h.worst, h.given-left)
	if h.budget -= h.slice; h.budget < 0 || left >= 0 {
		panic(outOfFuel{})
	}
	h.given = left + h.slice
	h.fuel.Set(uint64(h.given))
}

// run instantiates a metered module and hands its fuel to the host.
func (h *host) run(tb testing.TB, res *meter.Result) api.Module {
	tb.Helper()
	instance, err := h.InstantiateWithConfig(ctx, res.Wasm, wazero.NewModuleConfig().WithName("").WithStartFunctions())
	require.NoError(tb, err)
	h.attach(instance, res)
	return instance
}

func (h *host) attach(instance api.Module, res *meter.Result) {
	h.fuel = instance.ExportedGlobal(res.FuelExport).(api.MutableGlobal)
	h.fuel.Set(0)
}

// used is the fuel that was put in, less what is left.
func (h *host) used() int64 { return int64(h.yields)*h.slice - int64(h.fuel.Get()) }

func engines() map[string]wazero.RuntimeConfig {
	return map[string]wazero.RuntimeConfig{
		"compiler":    wazero.NewRuntimeConfigCompiler(),
		"interpreter": wazero.NewRuntimeConfigInterpreter(),
	}
}

func memoryHash(m api.Module) (sum [32]byte) {
	if mem := m.ExportedMemory("memory"); mem != nil {
		b, _ := mem.Read(0, mem.Size())
		sum = sha256.Sum256(b)
	}
	return sum
}

// stub gives the runtime WASI and a function that answers zero for everything else the module imports.
func stub(tb testing.TB, r wazero.Runtime, wasm []byte) {
	tb.Helper()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	wasi_snapshot_preview1.MustInstantiate(ctx, r)
	byModule := map[string]wazero.HostModuleBuilder{}
	seen := map[[2]string]bool{}
	for _, imp := range m.Imports {
		if imp.Module == wasi_snapshot_preview1.ModuleName || seen[[2]string{imp.Module, imp.Name}] {
			continue
		}
		seen[[2]string{imp.Module, imp.Name}] = true
		if byModule[imp.Module] == nil {
			byModule[imp.Module] = r.NewHostModuleBuilder(imp.Module)
		}
		typ := m.Types[imp.Type]
		results := len(typ.Results)
		byModule[imp.Module].NewFunctionBuilder().WithGoFunction(api.GoFunc(func(_ context.Context, stack []uint64) {
			for i := range results {
				stack[i] = 0
			}
		}), valTypes(typ.Params), valTypes(typ.Results)).Export(imp.Name)
	}
	for _, b := range byModule {
		_, err := b.Instantiate(ctx)
		require.NoError(tb, err)
	}
}

func valTypes(types []inspect.ValType) []api.ValueType {
	out := make([]api.ValueType, len(types))
	for i, t := range types {
		out[i] = api.ValueType(t)
	}
	return out
}
