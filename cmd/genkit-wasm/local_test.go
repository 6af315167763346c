package main

import (
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// extism returns the path of a plug-in that the Extism SDK ships for its tests.
func extism(t *testing.T, name string) string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/extism/go-sdk").Output()
	file := filepath.Join(strings.TrimSpace(string(out)), "wasm", name)
	if _, statErr := os.Stat(file); err != nil || statErr != nil {
		peer.Missing(t, "the Extism SDK's plug-ins are not in the module cache")
	}
	return file
}

const vowels = `{"abi":"genkit/1","name":"vowels","tools":[{"name":"count","export":"count_vowels","io":"text","outputSchema":{"type":"object","required":["count"]}}]}`

func TestRun(t *testing.T) {
	t.Run("a tool with JSON", func(t *testing.T) {
		assert.Equal(t, outcome{out: "{\"sum\":0.3}\n"}, cli(t, "run", calcFile, "add", "--input", `{"a":0.1,"b":0.2}`))
	})
	t.Run("input from a pipe and from a file", func(t *testing.T) {
		assert.Equal(t, outcome{out: "[1,2]\n"}, cliWith(t, " [1,\n2] ", "run", calcFile, "calc/echo", "--input", "-"))
		assert.Equal(t, outcome{out: "[1,2]\n"}, cli(t, "run", calcFile, "echo", "--input", "@"+write(t, "in.json", "[1,2]")))
	})
	t.Run("any Extism plug-in with a sidecar", func(t *testing.T) {
		got := cli(t, "run", extism(t, "count_vowels.wasm"), "--descriptor", write(t, "vowels.json", vowels), "--input", `"Hello, World"`)
		require.Equal(t, exitOK, got.exit, got.err)
		var result struct{ Count int }
		require.NoError(t, json.Unmarshal([]byte(got.out), &result), got.out)
		assert.Equal(t, 3, result.Count)
	})
	t.Run("chunks go beside the result", func(t *testing.T) {
		chunks := "{\"message\":{\"n\":1}}\n{\"message\":{\"n\":2}}\n{\"message\":\"drei é\"}\n"
		assert.Equal(t, outcome{out: "{\"chunks\":3}\n", err: chunks}, cli(t, "run", conformanceFile, "emit3", "--input", "{}"))
		assert.Equal(t, outcome{out: chunks + "{\"result\":{\"chunks\":3}}\n"}, cli(t, "run", conformanceFile, "emit3", "--input", "{}", "--stream"))
	})
	t.Run("an interrupt", func(t *testing.T) {
		assert.Equal(t, outcome{out: "{\"interrupt\":{\"why\":1}}\n"}, cli(t, "run", conformanceFile, "interrupt", "--input", `{"why":1}`))
	})
	t.Run("a context", func(t *testing.T) {
		assert.Equal(t, outcome{out: "{\"auth\":1}\n"}, cli(t, "run", conformanceFile, "context", "--input", "{}", "--context", `{"auth":1}`))
	})
	t.Run("a module's log lines", func(t *testing.T) {
		assert.NotContains(t, cli(t, "run", conformanceFile, "log", "--input", "{}").err, "level=DEBUG")
		assert.Contains(t, cli(t, "run", conformanceFile, "log", "--input", "{}", "-v").err, "level=DEBUG")
	})
}

func TestRunFailures(t *testing.T) {
	limit := write(t, "p.json", `{"limits":{"timeoutMs":50}}`)
	for name, test := range map[string]struct {
		args []string
		exit int
		says string
	}{
		"a tool that is not there":      {[]string{calcFile, "sub"}, exitNotFound, "the module has /tool/calc/add, /tool/calc/echo"},
		"no tool where there are two":   {[]string{calcFile}, exitUsage, "2 tools"},
		"an input that breaks a schema": {[]string{calcFile, "add", "--input", `{"a":1}`}, exitFailed, "/tool/calc/add"},
		"an input that is not JSON":     {[]string{calcFile, "echo", "--input", "hello"}, exitUsage, "needs its quotes"},
		"a context that is no object":   {[]string{calcFile, "echo", "--context", "[]"}, exitUsage, "--context"},
		"a failure of the tool":         {[]string{conformanceFile, "fail", "--input", "{}"}, exitNotFound, ""},
		"a trap":                        {[]string{conformanceFile, "trap", "--input", "{}"}, exitFailed, "unreachable"},
		"a loop without end":            {[]string{conformanceFile, "spin", "--input", "{}", "--policy", limit}, exitFailed, "time limit"},
		"a file that is no module":      {[]string{"cli_test.go", "x"}, exitRefused, "not WebAssembly"},
		"a module without a descriptor": {[]string{extism(t, "count_vowels.wasm"), "x"}, exitRefused, "descriptor"},
		"a policy that is none":         {[]string{calcFile, "echo", "--policy", write(t, "p.json", `{"limits":1}`)}, exitRefused, "policy"},
	} {
		t.Run(name, func(t *testing.T) {
			got := cli(t, append([]string{"run"}, test.args...)...)
			assert.Equal(t, test.exit, got.exit, got.err)
			assert.Contains(t, got.err, test.says)
			assert.Empty(t, got.out)
		})
	}
}

func TestInspect(t *testing.T) {
	got := cli(t, "inspect", calcFile)
	require.Equal(t, exitOK, got.exit, got.err)
	for _, want := range []string{"10.1 KiB", "genkit_v1", "add, echo", "sha256:", "code ", "Adds two numbers", "verdict       accepted"} {
		assert.Contains(t, got.out, want)
	}
	var found findings
	asJSON := cli(t, "inspect", calcFile, "-o", "json")
	require.NoError(t, json.Unmarshal([]byte(asJSON.out), &found))
	assert.Equal(t, "section", found.DescriptorSource)
	assert.Equal(t, "accepted", found.Verdict)

	for name, test := range map[string]struct {
		args []string
		says []string
	}{
		"a file that is no module":       {[]string{"cli_test.go"}, []string{"error: module refused: the file is not WebAssembly", "\n       send a binary .wasm file"}},
		"a component":                    {[]string{write(t, "c.wasm", "\x00asm\x0d\x00\x01\x00")}, []string{"component", "\n       build the core module"}},
		"a module without a descriptor":  {[]string{extism(t, "count_vowels.wasm")}, []string{"--descriptor"}},
		"a grant that is missing":        {[]string{extism(t, "http.wasm"), "--descriptor", write(t, "d.json", `{"abi":"genkit/1","tools":[{"name":"get","export":"run_test"}]}`)}, []string{`"http"`, "--policy"}},
		"a descriptor that does not fit": {[]string{calcFile, "--descriptor", write(t, "d.json", vowels)}, []string{"count_vowels"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := cli(t, append([]string{"inspect"}, test.args...)...)
			assert.Equal(t, exitRefused, got.exit)
			for _, want := range test.says {
				assert.Contains(t, got.err, want)
			}
		})
	}
}

func TestHelpAndCompletion(t *testing.T) {
	help := cli(t, "--help")
	assert.Equal(t, exitOK, help.exit)
	for _, want := range []string{"Exit codes:", serverEnv, "serve", "upload", "inspect", "generate", "completion"} {
		assert.Contains(t, help.out, want)
	}
	assert.Equal(t, help.out, cli(t).out, "no command is a call for help")
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		got := cli(t, "completion", shell)
		assert.Equal(t, exitOK, got.exit, got.err)
		assert.NotEmpty(t, got.out)
	}
	assert.Contains(t, cli(t, "version").out, "genkit/1")
	assert.Contains(t, cli(t, "version", "-o", "json").out, `"abi": "genkit/1"`)
}

func TestServerFromEnvironment(t *testing.T) {
	t.Setenv(serverEnv, startServer(t))
	assert.Contains(t, cli(t, "ls").out, "no modules yet")
}

// A command that works on files says which one it was and what the system said; a server tells its callers neither.
func TestTheOperatorReadsWhichFileItWas(t *testing.T) {
	err := storedir.Problem("make the data directory", &fs.PathError{Op: "mkdir", Path: "/srv/data", Err: syscall.EROFS})
	require.NotContains(t, status.Convert(err).Message, "/srv")
	told := local(err, false)
	assert.EqualError(t, told, "make the data directory: the server may not write where it has to: mkdir /srv/data: read-only file system")
	assert.Equal(t, told, local(told, false))
}
