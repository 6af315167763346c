package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// A call that was recorded runs again without its server, its secret and its grants, and becomes a case of test.
func TestARecordedCallRunsAgain(t *testing.T) {
	_, port := weatherServer(t)
	here := fmt.Sprintf("http://localhost:%d", port)
	t.Setenv("THE_KEY", cliSecret)
	dir := t.TempDir()
	file, want := filepath.Join(dir, "call.json"), "{\"city\":\"Oslo\",\"celsius\":21.5,\"remembered\":false}\n"
	recorded := cli(t, "run", weatherFile, "--input", `{"city":"Oslo"}`, "--context", fmt.Sprintf(`{"weatherServer":%q}`, here),
		"--allow-host", here, "--secret", "WEATHER_KEY=env:THE_KEY", "--grant", "kv", "--record", file)
	require.Equal(t, outcome{out: want}, recorded)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	assert.NotContains(t, string(raw), cliSecret, "values of secrets are not recorded, nor where an answer has them")
	assert.Contains(t, string(raw), "{{secret:WEATHER_KEY}}")
	assert.Contains(t, string(raw), "[secret:WEATHER_KEY]")

	t.Setenv("THE_KEY", "")
	again := cli(t, "replay", file)
	assert.Equal(t, exitOK, again.exit, again.err)
	assert.Regexp(t, `^the same, byte for byte: /tool/weather/\w+, \d+ events, \d+ units of fuel\n$`, again.out)

	other := filepath.Join(dir, "other.json")
	changed := strings.Replace(string(raw), `"input": {
    "city": "Oslo"`, `"input": {
    "city": "Rome"`, 1)
	require.NotEqual(t, string(raw), changed)
	require.NoError(t, os.WriteFile(other, []byte(changed), 0o600))
	differs := cli(t, "replay", other)
	assert.Equal(t, exitFailed, differs.exit)
	assert.Regexp(t, `^the first difference is event 1 of \d+\n  recorded  .*[oO]slo.*\n  replayed  .*[rR]ome`, differs.out)
	assert.Regexp(t, `"same":false,"difference":\{"event":1,`, strings.Join(strings.Fields(cli(t, "replay", other, "-o", "json").out), ""))

	cases := filepath.Join(dir, "cases.yaml")
	added := cli(t, "replay", file, "--case", cases, "--name", "Oslo is warm")
	assert.Equal(t, outcome{out: "added \"Oslo is warm\" to " + cases + "\n"}, added)
	assert.Equal(t, outcome{out: "ok    Oslo is warm\n1 passed, 0 failed\n"}, cli(t, "test", weatherFile, "--cases", cases, "--no-hostile"))
	text, err := os.ReadFile(cases)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(cases, []byte(strings.ReplaceAll(string(text), "localhost", "example.com")), 0o600))
	lacks := cli(t, "test", weatherFile, "--cases", cases, "--no-hostile")
	assert.Equal(t, exitOK, lacks.exit, "context and answer have the same host: %s", lacks.out)
	require.NoError(t, os.WriteFile(cases, []byte(strings.Replace(string(text), `"url":"http://localhost`, `"url":"http://elsewhere`, 1)), 0o600))
	lacks = cli(t, "test", weatherFile, "--cases", cases, "--no-hostile")
	assert.Equal(t, exitFailed, lacks.exit)
	assert.Regexp(t, `the case has no answer to these; add them to its "host":\n +- http: .*localhost.*\n +answer: \{"status": 200(?s:.*)nothing asked for http .*elsewhere`, lacks.out)
}

func TestOtherCallsAreRecorded(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "call.json")
	for _, args := range [][]string{
		{conformanceFile, "fail", "--input", "{}"},
		{conformanceFile, "trap", "--input", "{}"},
		{conformanceFile, "interrupt", "--input", `{"why":1}`},
		{conformanceFile, "emit3", "--input", "{}"},
		{conformanceFile, "log", "--input", "{}"},
		{conformanceFile, "context", "--input", "{}", "--context", `{"auth":1}`},
		{capabilitiesFile, "now", "--input", "null", "--grant", "kv,clock", "--allow-host", "*", "--policy", write(t, "p.json", `{"grants":{"generate":["*"],"actions":["*"]}}`)},
	} {
		require.NoError(t, os.RemoveAll(file))
		plain := cli(t, append([]string{"run"}, args...)...)
		with := cli(t, append([]string{"run", "--record", file}, args...)...)
		assert.Equal(t, plain.exit, with.exit, "%v: %s", args, with.err)
		got := cli(t, "replay", file)
		assert.Equal(t, exitOK, got.exit, "%v: %s%s", args, got.out, got.err)
	}
	assert.Contains(t, cli(t, "replay", file, conformanceFile).err, "another module")
	for name, test := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"no recording":     {[]string{"replay", write(t, "x.json", "{}")}, exitUsage, "form 0"},
		"no file":          {[]string{"replay", filepath.Join(dir, "none")}, exitUsage, "no such file"},
		"nothing ran":      {[]string{"run", calcFile, "add", "--input", "{}", "--record", file}, exitFailed, "nothing of the module ran"},
		"nowhere to write": {[]string{"run", conformanceFile, "fail", "--input", "{}", "--record", filepath.Join(dir, "no", "dir")}, exitNotFound, "no such file"},
		"cases of another": {[]string{"replay", file, "--case", write(t, "cases.yaml", "case: 1\n")}, exitUsage, "case"},
		"directories": {[]string{"run", capabilitiesFile, "now", "--input", "null", "--grant", "kv,clock", "--allow-host", "*", "--mount", "docs=" + dir, "--record", file, "--policy", write(t, "p.json",
			`{"grants":{"generate":["*"],"actions":["*"],"files":[{"mount":"docs","path":"/docs"}]}}`)}, exitUsage, "can't be recorded"},
	} {
		got := cli(t, test.args...)
		assert.Equal(t, test.exit, got.exit, name)
		assert.Contains(t, got.err, test.says, name)
	}
}

// dice is a module whose tool outputs a digit of random bytes that its initialisation took, one that the call takes, and
// one of the time.
func dice() []byte {
	i32 := func(v int64) []byte { return wasmtest.Cat([]byte{0x41}, wasmtest.S64(v)) }
	call := func(f byte) []byte { return []byte{0x10, f} }
	digits := func(into, from, n int64) (code []byte) { // mem[into+i] = '0' + mem[from+i]&7
		for i := range n {
			code = wasmtest.Cat(code, i32(into+i), i32(from+i), []byte{0x2d, 0, 0}, i32(7), []byte{0x71}, i32('0'), []byte{0x6a, 0x3a, 0, 0})
		}
		return code
	}
	return wasmtest.Module(
		wasmtest.Types(wasmtest.FuncType("", "i"), wasmtest.FuncType("ii", ""), wasmtest.FuncType("ii", "i"), wasmtest.FuncType("iIi", "i"), wasmtest.FuncType("", "")),
		wasmtest.Imports(wasmtest.ImportFunc("genkit_v1", "output", 1), wasmtest.ImportFunc("wasi_snapshot_preview1", "random_get", 2),
			wasmtest.ImportFunc("wasi_snapshot_preview1", "clock_time_get", 3)),
		wasmtest.Funcs(0, 4), wasmtest.Memories(wasmtest.Limits(1, 1)), wasmtest.Exports(wasmtest.Export("roll", 0, 3), wasmtest.Export("_initialize", 0, 4), wasmtest.Export("memory", 2, 0)),
		wasmtest.Code(
			wasmtest.Body("", wasmtest.Cat(i32(16), i32(16), call(1), []byte{0x1a}, i32(0), []byte{0x42, 0}, i32(32), call(2), []byte{0x1a},
				i32(64), i32('1'), []byte{0x3a, 0, 0}, digits(65, 0, 36), i32(64), i32(37), call(0), i32(0))...),
			wasmtest.Body("", wasmtest.Cat(i32(0), i32(16), call(1), []byte{0x1a})...),
		),
		wasmtest.Custom("genkit.module", []byte(`{"abi":"genkit/1","name":"dice","tools":[{"name":"roll"}]}`)),
	)
}

// What a guest can't compute is the same again: random bytes, those of the initialisation among them, and the time.
func TestChanceIsRecorded(t *testing.T) {
	dir := t.TempDir()
	module, file := filepath.Join(dir, "dice.wasm"), filepath.Join(dir, "call.json")
	require.NoError(t, os.WriteFile(module, dice(), 0o600))
	results := map[string]bool{}
	for range 2 {
		got := cli(t, "run", module, "--grant", "clock", "--record", file)
		require.Equal(t, exitOK, got.exit, got.err)
		results[got.out] = true
		again := cli(t, "replay", file)
		assert.Equal(t, exitOK, again.exit, again.out)
		assert.Contains(t, again.out, "2 events", "random bytes, and the time")
	}
	assert.Len(t, results, 2, "two calls have other digits")
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, []byte(strings.Replace(string(raw), `"seed": "`, `"seed": "AAAA`, 1)), 0o600))
	assert.Contains(t, cli(t, "replay", file).err, "start.seed")
	broken := regexp.MustCompile(`"seed": "[^"]*"`).ReplaceAllString(string(raw), `"seed": "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="`)
	require.NoError(t, os.WriteFile(file, []byte(broken), 0o600))
	assert.Regexp(t, `ends in another way\n  recorded  \{"output":1\d{36},"fuel":\d+\}\n  replayed  \{"output":1\d{36}`, cli(t, "replay", file).out, "the initialisation took other bytes")
}
