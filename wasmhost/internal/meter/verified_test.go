package meter_test

import (
	"bytes"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// verified returns the verifier's report on a metered module.
func verified(tb testing.TB, wasm []byte, res *meter.Result, opt meter.Options) error {
	tb.Helper()
	original, err := inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	rewritten, err := inspect.Parse(res.Wasm, inspect.Limits{CompileCost: 1 << 30, Locals: 1 << 20, Depth: 1 << 20, BodyBytes: 1 << 30, CodeBytes: 1 << 30, ModuleBytes: 1 << 30})
	require.NoError(tb, err)
	claim := verify.Claim{
		Fuel: res.FuelExport, MaxTableElements: opt.MaxTableElements, Order: res.Hints.Order,
		Reads: verify.Import(opt.Reads), Writes: verify.Import(opt.Writes),
	}
	if claim.MaxTableElements == 0 {
		claim.MaxTableElements = meter.DefaultTableElements
	}
	for _, g := range res.Globals {
		claim.Globals = append(claim.Globals, verify.Global(g))
	}
	for _, h := range res.Hints.Hubs {
		claim.Hubs = append(claim.Hubs, verify.Hub(h))
	}
	if d := res.Words; d != nil {
		claim.Words = &verify.Words{Ahead: d.Ahead, Pending: d.Pending, Next: d.Next, Behind: d.Behind}
	}
	_, err = verify.Check(original, rewritten, claim)
	return err
}

// Programs that end, programs that don't, and those that were written to do harm: the verifier accepts what the meter makes of
// each.
func TestGeneratedModulesAreVerified(t *testing.T) {
	n := uint64(3000)
	if testing.Short() || raced {
		n = 300
	}
	failed := 0
	accepted := func(wasm []byte, format string, args ...any) {
		t.Helper()
		if err := verified(t, wasm, rewrite(t, wasm), meter.Options{}); err != nil {
			t.Errorf(format+": %v", append(args, err)...)
			if failed++; failed > 20 {
				t.FailNow()
			}
		}
	}
	for seed := range n {
		accepted(generate(seed), "seed %d", seed)
		accepted(generate(seed|withTables), "seed %d with tables", seed)
		accepted(writeWander(seed), "seed %d without an end", seed)
	}
	for name, wasm := range bombs() {
		accepted(wasm, "%s", name)
	}
	for name, wasm := range endless() {
		accepted(wasm, "%s", name)
	}
	work := bytes.Repeat([]byte{0x23, 0, 0x41, 1, 0x6a, 0x24, 0}, 1000)
	accepted(climbing(1, false, work), "work behind a recursive call")
	accepted(climbing(1, true, work), "work behind a recursion through a table")
}

func TestProgramsWithoutAnEndAreVerified(t *testing.T) {
	n := uint64(3000)
	if testing.Short() || raced {
		n = 300
	}
	failed := 0
	for seed := range n {
		wasm := writeWander(seed)
		if err := verified(t, wasm, rewrite(t, wasm), meter.Options{}); err != nil {
			t.Errorf("seed %d: %v", seed, err)
			if failed++; failed > 20 {
				t.FailNow()
			}
		}
	}
}
