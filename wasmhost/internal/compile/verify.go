package compile

import (
	"errors"
	"math"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// errUnproven refuses a module whose metered form could not be proven to be right. The reason goes to the log only. It is
// a bug of the rewriter or the verifier, and never a fault of the uploaded module.
func errUnproven(cause error) error {
	return status.Publicf(status.Internal, "the module was refused because its metered form could not be verified; this is a fault of the server").WithCause(cause)
}

// proven has the meter's output verified. Nothing is compiled, run or cached before. The output is parsed
// again from its bytes: what the meter believes that it has written is not used.
func proven(original *inspect.Module, metered *meter.Result, opt meter.Options) error {
	rewritten, err := inspect.Parse(metered.Wasm, unbounded())
	if err == nil {
		_, err = verify.Check(original, rewritten, claimOf(metered, opt))
	}
	if err != nil {
		return errUnproven(err)
	}
	return nil
}

// claimOf collects the meter's statements about its result that instances rely on, such as which global holds
// the fuel. The verifier proves each of them, and takes order and hubs as hints.
func claimOf(metered *meter.Result, opt meter.Options) verify.Claim {
	c := verify.Claim{
		Fuel:             metered.FuelExport,
		MaxTableElements: opt.MaxTableElements,
		Reads:            verify.Import(opt.Reads),
		Writes:           verify.Import(opt.Writes),
		Order:            metered.Hints.Order,
	}
	if c.MaxTableElements == 0 {
		c.MaxTableElements = meter.DefaultTableElements
	}
	for _, g := range metered.Globals {
		c.Globals = append(c.Globals, verify.Global(g))
	}
	for _, h := range metered.Hints.Hubs {
		c.Hubs = append(c.Hubs, verify.Hub(h))
	}
	if d := metered.Words; d != nil {
		c.Words = &verify.Words{Ahead: d.Ahead, Pending: d.Pending, Next: d.Next, Behind: d.Behind}
	}
	return c
}

// cause is the text of what an error was caused by, "" when that says no more.
func cause(err error) string {
	if c := errors.Unwrap(err); c != nil {
		return c.Error()
	}
	return ""
}

// unbounded are the limits for a module that has been inspected before.
func unbounded() inspect.Limits {
	const most = math.MaxInt32
	return inspect.Limits{
		ModuleBytes: most, CodeBytes: most, BodyBytes: most, CustomBytes: most, CustomSections: most, NameBytes: most,
		Types: most, Params: most, Results: most, Imports: most, Functions: most, Globals: most, Exports: most, Tables: most,
		Elements: most, DataSegments: most, MemoryPages: most, TableElements: most, Locals: most, Depth: most,
		BrTableTargets: most, CompileCost: most,
	}
}
