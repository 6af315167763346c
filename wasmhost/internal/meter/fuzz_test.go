package meter_test

import (
	"bytes"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/meter"
)

// FuzzRewrite holds that what Parse lets through and wazero validates can be rewritten, that wazero validates the
// result, that Parse can read it, and that the rewriting is the same twice.
func FuzzRewrite(f *testing.F) {
	for seed := range uint64(40) {
		f.Add(generate(seed))
		f.Add(generate(seed + withTables))
	}
	for _, wasm := range bombs() {
		f.Add(wasm)
	}
	f.Add(wordCopier())
	config := wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(16)
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := inspect.Parse(wasm, inspect.Limits{ModuleBytes: 1 << 16, MemoryPages: 16})
		if err != nil {
			return
		}
		r := wazero.NewRuntimeWithConfig(ctx, config)
		defer r.Close(ctx)
		if _, err := r.CompileModule(ctx, wasm); err != nil {
			return
		}
		var opt meter.Options // any import may be one of words, if it has their type
		for _, imp := range m.Imports {
			switch typ := m.Types[imp.Type]; {
			case len(typ.Results) > 0 && opt.Reads == meter.Import{}:
				opt.Reads = meter.Import{Module: imp.Module, Name: imp.Name}
			case len(typ.Results) == 0 && opt.Writes == meter.Import{}:
				opt.Writes = meter.Import{Module: imp.Module, Name: imp.Name}
			}
		}
		res, err := meter.Rewrite(wasm, m, opt)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := r.CompileModule(ctx, res.Wasm); err != nil {
			t.Fatalf("wazero refuses the rewritten module: %v", err)
		}
		if _, err := inspect.Parse(res.Wasm, inspect.Limits{CompileCost: 1 << 40}); err != nil {
			t.Fatalf("Parse refuses the rewritten module: %v", err)
		}
		again, err := meter.Rewrite(wasm, m, opt)
		if err != nil || !bytes.Equal(res.Wasm, again.Wasm) {
			t.Fatal("rewriting twice gives two results")
		}
	})
}
