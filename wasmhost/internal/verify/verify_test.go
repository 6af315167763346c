package verify_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// roomy lets the tests' own shapes and everything metered through.
var roomy = inspect.Limits{
	CompileCost: 1 << 30, ModuleBytes: 1 << 30, CodeBytes: 1 << 30, BodyBytes: 1 << 30, Locals: 1 << 20, Depth: 1 << 30, NameBytes: 1 << 20,
}

// claim is the meter's claim about its result.
func claim(res *meter.Result, opt meter.Options) verify.Claim {
	c := verify.Claim{
		Fuel: res.FuelExport, MaxTableElements: opt.MaxTableElements, Order: res.Hints.Order,
		Reads: verify.Import(opt.Reads), Writes: verify.Import(opt.Writes),
	}
	if c.MaxTableElements == 0 {
		c.MaxTableElements = meter.DefaultTableElements
	}
	for _, g := range res.Globals {
		c.Globals = append(c.Globals, verify.Global(g))
	}
	for _, h := range res.Hints.Hubs {
		c.Hubs = append(c.Hubs, verify.Hub(h))
	}
	if d := res.Words; d != nil {
		c.Words = &verify.Words{Ahead: d.Ahead, Pending: d.Pending, Next: d.Next, Behind: d.Behind}
	}
	return c
}

// verified meters a module and verifies the result.
func verified(tb testing.TB, wasm []byte, opt meter.Options) (*verify.Report, error) {
	tb.Helper()
	original, err := inspect.Parse(wasm, roomy)
	require.NoError(tb, err)
	res, err := meter.Rewrite(wasm, original, opt)
	require.NoError(tb, err)
	rewritten, err := inspect.Parse(res.Wasm, roomy)
	require.NoError(tb, err)
	return verify.Check(original, rewritten, claim(res, opt))
}

// modules returns the real modules of this repository and of the Extism SDK.
func modules(tb testing.TB) map[string][]byte {
	tb.Helper()
	all := map[string][]byte{}
	for _, pattern := range []string{"examples/*/*.wasm", "bench/guests/*.wasm", "pdk/conformance/*/*.wasm"} {
		files, err := filepath.Glob(filepath.Join("../../..", pattern))
		require.NoError(tb, err)
		for _, file := range files {
			wasm, err := os.ReadFile(file)
			require.NoError(tb, err)
			all[filepath.Base(file)] = wasm
		}
	}
	require.NotEmpty(tb, all)
	for name, wasm := range w.Corpus(tb) {
		all["extism/"+name] = wasm
	}
	out := filepath.Join(tb.TempDir(), "textkit.wasm") // modules of Go's compiler are too large to be kept
	cmd := exec.CommandContext(tb.Context(), "go", "build", "-buildmode=c-shared", "-ldflags=-s -w", "-o", out, ".")
	cmd.Dir = "../../../examples/textkit"
	cmd.Env = append(os.Environ(), "GOOS=wasip1", "GOARCH=wasm", "CGO_ENABLED=0", "GOFLAGS=", "GOWORK=off")
	if said, err := cmd.CombinedOutput(); err == nil {
		all["textkit.wasm"], err = os.ReadFile(out)
		require.NoError(tb, err)
	} else {
		tb.Logf("textkit can't be built here: %v\n%s", err, said)
	}
	return all
}

var words = meter.Options{
	Reads:  meter.Import{Module: "extism:host/env", Name: "input_load_u64"},
	Writes: meter.Import{Module: "extism:host/env", Name: "store_u64"},
}

func TestRealModulesAreAccepted(t *testing.T) {
	for name, wasm := range modules(t) {
		t.Run(name, func(t *testing.T) {
			report, err := verified(t, wasm, words)
			require.NoError(t, err)
			t.Logf("%d bytes: %d units between checks, %d steps, %d rounds", len(wasm), report.Work, report.Steps, report.Rounds)
		})
	}
}
