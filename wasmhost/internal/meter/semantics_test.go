package meter_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// outcome is everything that a call leaves behind.
type outcome struct {
	result uint64
	trap   string
	memory [32]byte
	pages  uint32
	i32    uint64
	i64    uint64
	ticks  int
}

type metered struct {
	outcome
	fuel int64
}

// tick is the host's function of generated modules; it counts its calls.
func tick(tb testing.TB, r wazero.Runtime, ticks *int) {
	tb.Helper()
	_, err := r.NewHostModuleBuilder("env").NewFunctionBuilder().WithFunc(func(v uint32) uint32 { *ticks++; return v*31 + uint32(*ticks) }).Export("tick").Instantiate(ctx)
	require.NoError(tb, err)
}

func call(tb testing.TB, m api.Module, ticks *int) outcome {
	tb.Helper()
	var o outcome
	*ticks = 0
	results, err := m.ExportedFunction("run").Call(ctx, 12, 34)
	if err != nil {
		o.trap, _, _ = strings.Cut(err.Error(), "\n")
	} else {
		o.result = results[0]
	}
	o.memory, o.pages = memoryHash(m), m.ExportedMemory("memory").Size()
	o.i32, o.i64 = m.ExportedGlobal("g0").Get(), m.ExportedGlobal("g1").Get()
	o.ticks = *ticks
	return o
}

// A metered module does what its original does, and costs the same twice and on both engines.
func TestRandomModulesKeepTheirMeaning(t *testing.T) {
	n := uint64(300)
	if testing.Short() || raced {
		n = 50
	}
	hosts := map[string]*host{}
	ticks := 0
	for name, config := range engines() {
		hosts[name] = newHost(t, config)
		tick(t, hosts[name], &ticks)
	}
	traps, yields := 0, 0
	var charged, executed int64
	for seed := range 2 * n {
		if seed%2 == 1 {
			seed += withTables
		}
		wasm := generate(seed)
		res := rewrite(t, wasm)
		var first *metered
		for name, h := range hosts {
			original, err := h.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
			require.NoError(t, err, "seed %d", seed)
			want := call(t, original, &ticks)
			require.NoError(t, original.Close(ctx))
			for range 2 {
				h.slice, h.yields = 1+int64(seed%1000), 0
				instance := h.run(t, res)
				got := metered{call(t, instance, &ticks), h.used()}
				require.Equal(t, want, got.outcome, "seed %d on the %s", seed, name)
				if first == nil {
					first = &got
				}
				require.Equal(t, first.fuel, got.fuel, "seed %d on the %s", seed, name)
				require.Positive(t, got.fuel)
				require.NoError(t, instance.Close(ctx))
				yields += h.yields
			}
			if want.trap != "" {
				traps++
			}
		}
		if first.trap == "" {
			exact := hosts["compiler"].exactly(t, wasm, &ticks)
			require.GreaterOrEqual(t, first.fuel, exact, "seed %d: something ran without being paid for", seed)
			charged, executed = charged+first.fuel, executed+exact
		}
	}
	t.Logf("%d modules, %d trapping calls of %d, %d yields, %d units charged for %d executed", 2*n, traps, 4*n, yields, charged, executed)
	require.Less(t, float64(charged), 1.25*float64(executed))
	require.Less(t, traps, int(2*n), "most calls must end well for the test to mean something")
	require.Positive(t, traps)
}

// exactly is the cost of a call when each instruction is charged by itself.
func (h *host) exactly(t *testing.T, wasm []byte, ticks *int) int64 {
	t.Helper()
	m, err := inspect.Parse(wasm, roomy)
	require.NoError(t, err)
	res, err := meter.RewriteEach(wasm, m)
	require.NoError(t, err)
	h.yields = 0
	instance := h.run(t, res)
	call(t, instance, ticks)
	used := h.used()
	require.NoError(t, instance.Close(ctx))
	return used
}
