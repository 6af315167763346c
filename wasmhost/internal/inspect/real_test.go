package inspect_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
)

func TestTheExtismCorpusPasses(t *testing.T) {
	for name, wasm := range w.Corpus(t) {
		m, err := inspect.Parse(wasm, inspect.Limits{})
		if assert.NoError(t, err, name) {
			assert.NotEmpty(t, m.Exports, name)
			assert.Len(t, m.Bodies, len(m.Functions), name)
		}
	}
}

func TestCompilersPass(t *testing.T) {
	const goJSON = `package main

import "encoding/json"

//go:wasmexport run
func run() int32 { b, _ := json.Marshal(map[string]any{"a": 1}); return int32(len(b)) }

func main() {}
`
	const goHTTP = `package main

import (
	"html/template"
	"net/http"
	"os"
)

//go:wasmexport run
func run() int32 {
	_, err := http.Get("https://example.com")
	template.Must(template.New("x").Parse("{{.}}")).Execute(os.Stdout, err)
	return 0
}

func main() {}
`
	const c = `static char heap[4096];
struct pair { int a, b; };
int add(int a, int b) { return a + b; }
int (*table[])(int, int) = { add };
int run(int which, int n) { int s = 0; for (int i = 0; i < n; i++) s += table[which](i, heap[i & 4095]); return s; }
`
	const rust = `#[no_mangle]
pub extern "C" fn run(n: u32) -> u32 { let v: Vec<String> = (0..n).map(|i| format!("{i}")).collect(); v.join(",").len() as u32 }
`
	for name, build := range map[string]func(testing.TB) []byte{
		"Go with encoding/json": func(tb testing.TB) []byte { return w.BuildGo(tb, goJSON) },
		"Go with net/http":      func(tb testing.TB) []byte { return w.BuildGo(tb, goHTTP) },
		"C":                     func(tb testing.TB) []byte { return w.BuildC(tb, c) },
		"C without optimising":  func(tb testing.TB) []byte { return w.BuildC(tb, c, "-O0", "-g") },
		"C with vectors":        func(tb testing.TB) []byte { return w.BuildC(tb, c, "-O3", "-msimd128", "-mbulk-memory") },
		"Rust":                  func(tb testing.TB) []byte { return w.BuildRust(tb, rust) },
	} {
		t.Run(name, func(t *testing.T) {
			wasm := build(t)
			start := time.Now()
			m, err := inspect.Parse(wasm, inspect.Limits{})
			require.NoError(t, err)
			t.Logf("%d bytes in %v, estimated cost %d of %d", m.Size, time.Since(start), m.CompileCost, inspect.DefaultLimits().CompileCost+m.CodeBytes/2)
			_, ok := m.Export("run")
			assert.True(t, ok)
		})
	}
}

func BenchmarkParse(b *testing.B) {
	for name, wasm := range w.Corpus(b) {
		if name != "count_vowels_std.wasm" {
			continue
		}
		b.SetBytes(int64(len(wasm)))
		b.ReportAllocs()
		for b.Loop() {
			if _, err := inspect.Parse(wasm, inspect.Limits{}); err != nil {
				b.Fatal(err)
			}
		}
	}
}
