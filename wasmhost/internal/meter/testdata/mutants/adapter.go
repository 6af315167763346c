package meter

import (
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/verify"
)

// Mutant rewrites a module, says what the verifier is to check, and gives the export of the fuel.
func Mutant(wasm []byte, m *inspect.Module) ([]byte, verify.Claim, error) {
	res, err := Rewrite(wasm, m, Options{})
	if err != nil {
		return nil, verify.Claim{}, err
	}
	claim := verify.Claim{Fuel: res.FuelExport, MaxTableElements: DefaultTableElements, Order: res.Hints.Order}
	for _, g := range res.Globals {
		claim.Globals = append(claim.Globals, verify.Global(g))
	}
	for _, h := range res.Hints.Hubs {
		claim.Hubs = append(claim.Hubs, verify.Hub(h))
	}
	return res.Wasm, claim, nil
}
