package meter_test

import (
	"strings"
	"testing"

	"github.com/tetratelabs/wazero"
)

// FuzzMeaning holds that a generated module does metered what it did before, on both engines, and that it costs the
// same on both, whatever the slices.
func FuzzMeaning(f *testing.F) {
	for seed := range uint64(8) {
		f.Add(seed*7919+1_000_000, uint16(seed))
		f.Add(seed*7919+withTables, uint16(seed))
	}
	f.Fuzz(func(t *testing.T, seed uint64, slice uint16) {
		wasm := generate(seed)
		res := rewrite(t, wasm)
		fuel := int64(-1)
		for name, config := range engines() {
			h := newHost(t, config.WithMemoryLimitPages(16))
			ticks := 0
			tick(t, h, &ticks)
			original, err := h.InstantiateWithConfig(ctx, wasm, wazero.NewModuleConfig().WithName(""))
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			want := call(t, original, &ticks)
			h.slice = 1 + int64(slice)
			if got := call(t, h.run(t, res), &ticks); got != want {
				t.Fatalf("seed %d on the %s:\ngot  %+v\nwant %+v", seed, name, got, want)
			}
			if strings.Contains(want.trap, "stack overflow") {
				return // the engines' stacks are not of the same depth
			}
			if used := h.used(); fuel >= 0 && used != fuel {
				t.Fatalf("seed %d costs %d and %d: %s", seed, fuel, used, want.trap)
			} else {
				fuel = used
			}
		}
	})
}
