package inspect_test

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"strconv"
	"testing"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

// documentedCodes reads the constants out of the source, so that none is forgotten.
func documentedCodes(tb testing.TB) map[string]bool {
	tb.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), "refusal.go", nil, 0)
	if err != nil {
		tb.Fatal(err)
	}
	codes := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		if spec, ok := n.(*ast.ValueSpec); ok {
			for _, v := range spec.Values {
				if lit, ok := v.(*ast.BasicLit); ok {
					code, _ := strconv.Unquote(lit.Value)
					codes[code] = true
				}
			}
		}
		return true
	})
	return codes
}

// FuzzParse holds that Parse never panics, refuses with a documented code only, and lets nothing through on whose
// instructions its own walk fails. Accepted modules are then given to wazero, which must neither panic nor hang.
func FuzzParse(f *testing.F) {
	codes := documentedCodes(f)
	f.Add(everything())
	f.Add(instructions(repeat(50, 0x02, 0x40, 0x20, 0, 0x0d, 0, 0x0b)...))
	f.Add(withResults(3, 5))
	f.Add(withLocals(5, touch(5), []byte{0x41, 1, 0x04, 0x40}, touch(5), []byte{0x05}, touch(2), []byte{0x0b}, touch(3)))
	ctx := context.Background()
	f.Fuzz(func(t *testing.T, wasm []byte) {
		m, err := inspect.Parse(wasm, inspect.Limits{ModuleBytes: 1 << 16, MemoryPages: 16})
		if err != nil {
			var refusal *inspect.Refusal
			if !errors.As(err, &refusal) || !codes[refusal.Code] || refusal.Message == "" {
				t.Fatalf("undocumented refusal: %v", err)
			}
			return
		}
		for _, b := range m.Bodies {
			walk := m.Instructions(b)
			end := b.Code
			for in := walk.Next(); in != nil; in = walk.Next() {
				end = in.End
			}
			if end != b.End {
				t.Fatalf("the walk of a body ends at %d, not at %d", end, b.End)
			}
		}
		r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter().WithCoreFeatures(api.CoreFeaturesV2).WithMemoryLimitPages(16))
		defer r.Close(ctx)
		compiled, err := r.CompileModule(ctx, wasm)
		if err != nil {
			return
		}
		if got, want := len(compiled.ImportedFunctions()), len(m.Imports); got != want {
			t.Fatalf("wazero sees %d imports, Parse %d", got, want)
		}
		for name, def := range compiled.ExportedFunctions() {
			e, ok := m.Export(name)
			if !ok || e.Kind != inspect.ExternFunc || e.Index != def.Index() || len(m.FuncType(e.Index).Params) != len(def.ParamTypes()) {
				t.Fatalf("wazero and Parse disagree on export %q", name)
			}
		}
	})
}
