package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

const sourceInC = `#define EXPORT(name) __attribute__((export_name(#name)))
__attribute__((import_module("genkit_v1"), import_name("output"))) void output(const char *, int);
__attribute__((import_module("genkit_v1"), import_name("log"))) void logged(int, const char *, int);
__attribute__((import_module("genkit_v1"), import_name("input_len"))) int input_len(void);

volatile int sum;

__attribute__((noinline)) static void step(int n) {
  for (int i = 0; i < n; i++)
    sum += i;
}

__attribute__((noinline)) static int divide(int n, int by) {
  logged(2, "divides", 7);
  return n /
    by; /* traps for 0 */
}

EXPORT(work) int work(void) {
  step(100);
  step(10000);
  output("1", 1);
  return 0;
}

EXPORT(broken) int broken(void) {
  step(10);
  return divide(sum, input_len() - 2); /* {} */
}

__attribute__((noinline)) static void touch(unsigned at) {
  for (unsigned i = at; ; i += 65536)
    *(volatile int *)i = 1;
}

EXPORT(outside) int outside(void) {
  touch(8);
  return 0;
}
`

// What a module says of itself stands where its author wrote it: the lines are those of the text above.
func TestATrapNamesFunctionFileAndLine(t *testing.T) {
	wasm := wasmtest.BuildC(t, sourceInC, "-g", "-O1")
	file := filepath.Join(t.TempDir(), "traps.wasm")
	require.NoError(t, os.WriteFile(file, wasm, 0o600))
	descriptor := write(t, "d.json", `{"abi":"genkit/1","name":"traps","tools":[{"name":"work"},{"name":"broken"},{"name":"outside"}]}`)
	run := func(tool string, args ...string) outcome {
		return cli(t, append([]string{"run", file, tool, "--descriptor", descriptor, "--input", "{}"}, args...)...)
	}
	line := func(text string) string {
		before, _, ok := strings.Cut(sourceInC, text)
		require.True(t, ok, text)
		return "[^ ]*\\.c:" + regexp.QuoteMeta(strings.TrimSpace(jsonOf(t, 1+strings.Count(before, "\n"))))
	}
	broken := run("broken", "--explain")
	assert.Equal(t, exitFailed, broken.exit)
	assert.Regexp(t, `(?m)^ended in\n  divide  `+line("return n /")+`\n  broken  `+line("return divide")+`\nlog  INFO divides\nfuel  \d+ in \d+ functions$`, broken.err)
	assert.Regexp(t, `(?m)^ended in\n  touch  `+line("*(volatile int *)i = 1")+`\n  outside  `+line("touch(8)")+`$`, run("outside", "--explain").err)
	assert.NotContains(t, run("broken").err, "ended in")

	folded := filepath.Join(t.TempDir(), "stacks")
	work := run("work", "--folded", folded, "-o", "json")
	require.Equal(t, exitOK, work.exit, work.err)
	assert.Equal(t, "1\n", work.out)
	var x explained
	require.NoError(t, json.Unmarshal([]byte(work.err), &x), work.err)
	assert.Nil(t, x.Trace)
	require.NotEmpty(t, x.Functions)
	assert.Equal(t, "step", x.Functions[0].Function)
	assert.EqualValues(t, 2, x.Functions[0].Calls)
	var own int64
	for _, f := range x.Functions {
		own += f.Fuel
		if f.Function == "work" {
			assert.Equal(t, x.Fuel, f.FuelAll, "all of it is work's, with what it calls")
		}
	}
	assert.Equal(t, x.Fuel, own, "each unit is a function's")
	text, err := os.ReadFile(folded)
	require.NoError(t, err)
	assert.Regexp(t, `(?m)^work;step \d+$`, string(text))
	plain := cli(t, "bench", file, "work", "--descriptor", descriptor, "--input", "{}", "--count", "1", "-o", "json")
	assert.Contains(t, strings.Join(strings.Fields(plain.out), ""), `"fuel":{"min":`+strings.TrimSpace(jsonOf(t, x.Fuel)), "explaining costs no fuel: %s", plain.err)
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	raw, err := json.Marshal(v)
	require.NoError(t, err)
	return string(raw)
}

// A module without DWARF has the lines of a source map that lies beside it.
func TestATrapHasTheLineOfASourceMap(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mapped.wasm")
	wasm := wasmtest.Module(
		wasmtest.Types(wasmtest.FuncType("", "i")), wasmtest.Funcs(0, 0), wasmtest.Exports(wasmtest.Export("f", 0, 1)),
		wasmtest.Code(wasmtest.Body("", 0x00), wasmtest.Body("", 0x10, 0)),
		wasmtest.Custom("genkit.module", []byte(`{"abi":"genkit/1","name":"mapped","tools":[{"name":"f"}]}`)),
		wasmtest.Custom("name", wasmtest.Cat([]byte{1, 7, 1, 0, 4}, []byte("inne"))),
	)
	require.NoError(t, os.WriteFile(file, wasm, 0o600))
	assert.Regexp(t, `(?m)^ended in\n  inn.*\n  f\nfuel `, cli(t, "run", file, "--explain").err, "names alone")
	at := strings.Index(string(wasm), "\x00\x00\x0b") + 1 // unreachable of the first body
	require.Positive(t, at)
	// Two segments: the unreachable is line 3, column 1 of a.ts, the call five bytes on is line 8.
	vlq := func(v int) string {
		const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
		v <<= 1
		var b strings.Builder
		for {
			d := v & 31
			if v >>= 5; v > 0 {
				d |= 32
			}
			b.WriteByte(digits[d])
			if v == 0 {
				return b.String()
			}
		}
	}
	mappings := vlq(at) + vlq(0) + vlq(2) + vlq(1) + "," + vlq(4) + vlq(0) + vlq(5) + vlq(0)
	require.NoError(t, os.WriteFile(file+".map", []byte(`{"version":3,"sources":["src/a.ts"],"names":[],"mappings":"`+mappings+`"}`), 0o600))
	got := cli(t, "run", file, "--explain")
	assert.Regexp(t, `(?m)^ended in\n  inn.*  src/a.ts:3\n  f  src/a.ts:8\nfuel `, got.err)
	for _, damaged := range []string{"", "{", `{"version":3,"mappings":"!!"}`, `{"version":3,"sources":[],"mappings":"` + mappings + `"}`, `{"version":3,"mappings":"ggggggggggggggggggggg"}`} {
		require.NoError(t, os.WriteFile(file+".map", []byte(damaged), 0o600))
		assert.Regexp(t, `(?m)^ended in\n  inn.*[^0-9]\n  f\nfuel `, cli(t, "run", file, "--explain").err, damaged)
	}
}

func TestExplainSaysWhatItCantDo(t *testing.T) {
	assert.Equal(t, exitUsage, cli(t, "run", calcFile, "add", "--explain", "--record", "x").exit)
	got := cli(t, "run", calcFile, "add", "--input", "{}", "--explain")
	assert.Equal(t, exitFailed, got.exit)
	assert.NotContains(t, got.err, "fuel  ")
	assert.Regexp(t, `(?m)^fuel  \d+ in [1-9]`, cli(t, "run", calcFile, "add", "--input", `{"a":1,"b":2}`, "--explain").err)
}
