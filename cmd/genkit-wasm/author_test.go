package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
)

// guard builds examples/guard: a Go module, which only its genkit_describe can describe,
// with a part of most kinds.
func guard(t *testing.T) string {
	t.Helper()
	if raced {
		t.Skip("compiles megabytes of module, which takes a minute under the race detector")
	}
	file := filepath.Join(t.TempDir(), "anything.wasm")
	out, err := exec.CommandContext(t.Context(), "make", "-C", "../../examples/guard", "build", "OUT="+file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	return file
}

func TestAModuleThatDescribesItselfIsShownWhole(t *testing.T) {
	if testing.Short() {
		t.Skip("it builds a module of four megabytes and compiles it, which make long does")
	}
	file := guard(t)
	shown := cli(t, "inspect", file)
	require.Equal(t, exitOK, shown.exit, shown.err)
	for _, want := range []string{`name +guard`, `tool +find`, `middleware +redact`, `format +csv`, `embedder +words`, `evaluator +leaks`, `resource +rule`, `prompt +reply`, `verdict +accepted`} {
		assert.Regexp(t, `(?m)^`+want, shown.out)
	}
	static := cli(t, "inspect", "--static", file)
	assert.Equal(t, exitOK, static.exit)
	assert.NotRegexp(t, `(?m)^name`, static.out, "nothing of it ran")

	url := startServer(t)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	up := on("upload", file, "--name", "guard", "--policy", "../../examples/guard/policy.json") // by itself it would be asked for its name
	require.Equal(t, exitOK, up.exit, up.err)
	assert.Regexp(t, `^module guard, revision 1, .* MiB\n  guard/find\n  embedder guard/words\n  evaluator guard/leaks\n  resource guard/rule\n  prompt guard/reply\n  middleware guard/redact\n  format guard/csv\n$`, up.out)
	assert.Regexp(t, `^module guard, revision 1, .* MiB, unchanged\n`, on("upload", file, "--name", "guard").out)
	assert.Regexp(t, `(?m)^guard +1 .* 1 tool, 1 middleware, 1 format, 1 embedder, 1 evaluator, 1 resource, 1 prompt +rewrite +current$`, on("ls").out)
	assert.Regexp(t, `(?m)^middleware +guard/redact`, on("ls", "--actions").out)
	assert.Regexp(t, `(?m)^format +guard/csv`, on("ls", "--actions").out)

	assert.Regexp(t, `(?m)^embedder +guard/words`, on("ls", "--actions").out)
	for key, c := range map[string]struct{ input, want string }{
		"/embedder/guard/words":          {`{"input":[{"content":[{"text":"a a"}]}]}`, `^{"embeddings":\[{"embedding":\[[01,]+\]}\]}\n$`},
		"/evaluator/guard/leaks":         {`{"dataset":[{"testCaseId":"1","output":"a@b.example"}],"evalRunId":"r"}`, `"status":"FAIL"`},
		"/resource/guard/rule":           {`{"uri":"wasm://guard/rules/mail"}`, `are replaced by`},
		"/executable-prompt/guard/reply": {`{"letter":"Dear all"}`, `"tools":\["/tool/guard/find"\],"use":\[{"name":"guard/redact"}\]`},
		"guard/find":                     {`{"text":"a@b.example"}`, `^{"addresses":\["a@b.example"\]}\n$`},
	} {
		assert.Regexp(t, c.want, on("call", key, "--input", c.input).out, key)
	}
	got := on("generate", "--model", "test/scripted", "--use", "guard/redact", "--format", "guard/csv",
		"--config", `{"script":[{"message":{"role":"model","content":[{"text":"name,mail\nAda,[hidden-1]"}]}}]}`, "Ask ada@example.com")
	assert.Equal(t, outcome{out: "name,mail\nAda,ada@example.com\n"}, got)
	bad := on("generate", "--model", "test/scripted", "--format", "json", "--schema", `{"type":"object","required":["a"]}`,
		"--config", `{"script":[{"message":{"role":"model","content":[{"text":"{}"}]}}]}`, "x")
	assert.NotEqual(t, exitOK, bad.exit, "the output lacks what the schema requires")
	assert.Equal(t, exitUsage, on("generate", "--model", "test/scripted", "--use", "a={", "x").exit)
}

// Actions that are no tools run here by their keys, with the module's name or without.
func TestOtherActionsRunHere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plug.wasm")
	require.NoError(t, os.WriteFile(file, wasmtest.Says(`{"abi":"genkit/1","name":"plug","embedders":[{"name":"e","export":"f"}],"prompts":[{"name":"p","source":"Hello."}]}`,
		"f", `{"embeddings":[{"embedding":[1]}]}`), 0o600))
	for _, key := range []string{"/embedder/e", "/embedder/plug/e"} {
		assert.Equal(t, outcome{out: `{"embeddings":[{"embedding":[1]}]}` + "\n"}, cli(t, "run", file, key, "--input", `{"input":[{"content":[{"text":"a"}]}]}`))
	}
	assert.Regexp(t, `"text":"Hello."`, cli(t, "run", file, "/executable-prompt/p").out)
	assert.Equal(t, exitNotFound, cli(t, "run", file, "/embedder/x").exit)
	assert.Equal(t, exitUsage, cli(t, "bench", file, "/prompt/p", "--count", "1").exit, "it runs nothing")
}

// Cases call them as well, and hostile inputs go to them.
func TestCasesOfOtherActions(t *testing.T) {
	file := filepath.Join(t.TempDir(), "plug.wasm")
	require.NoError(t, os.WriteFile(file, wasmtest.Says(`{"abi":"genkit/1","name":"plug","embedders":[{"name":"e","export":"f"},{"name":"bad","export":"f","info":{"dimensions":2}}],"models":[{"name":"m","export":"f"}],
		"prompts":[{"name":"p","source":"Hello, {{name}}."}]}`, "f", `{"embeddings":[{"embedding":[1]}]}`), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(filepath.Dir(file), "cases.yaml"), []byte(`cases:
  - name: embeds
    tool: /embedder/e
    input: {input: [{content: [{text: a}]}]}
    want: {embeddings: [{embedding: [1]}]}
  - name: greets
    tool: /executable-prompt/p
    input: {name: Ada}
    want: {messages: [{role: user, content: [{text: "Hello, Ada."}]}]}
`), 0o600))
	got := cli(t, "test", file, "--no-hostile")
	assert.Equal(t, outcome{out: "ok    embeds\nok    greets\nno case calls: /embedder/bad, /model/m\n2 passed, 0 failed\n"}, got)
	hostile := cli(t, "test", file)
	assert.Equal(t, exitFailed, hostile.exit)
	assert.Regexp(t, `ok    /embedder/e: \d+ hostile inputs (?s:.*)FAIL  /embedder/bad: \d+ hostile inputs`, hostile.out, "its vectors are shorter than it says")
	assert.NotContains(t, hostile.out, "prompt/p:")
}

func TestACommandIsNotTakenForAReactor(t *testing.T) {
	dir := t.TempDir()
	source := "package main\n\n//go:wasmexport greet\nfunc greet() int32 { return 0 }\n\nfunc main() {}\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte("module guest\n\ngo 1.24\n"), 0o600))
	build := exec.CommandContext(t.Context(), "go", "build", "-o", "guest.wasm", ".")
	build.Dir, build.Env = dir, append(build.Environ(), "GOOS=wasip1", "GOARCH=wasm", "GOFLAGS=", "GOWORK=off")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)
	descriptor := write(t, "d.json", `{"abi":"genkit/1","name":"greeter","tools":[{"name":"greet"}]}`)
	for _, command := range [][]string{{"inspect", "--descriptor", descriptor}, {"run", "--descriptor", descriptor}, {"inspect"}, {"run"}} {
		got := cli(t, append(command, filepath.Join(dir, "guest.wasm"))...)
		assert.Equal(t, exitRefused, got.exit, "%v", command)
		assert.Contains(t, got.err, "-buildmode=c-shared", "%v", command)
	}
}

func TestCall(t *testing.T) {
	url := startServer(t, "--load", filepath.Dir(calcFile), "--load", "../../examples/approval")
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	for _, name := range []string{"calc/add", "add", "/tool/calc/add"} {
		assert.Equal(t, outcome{out: "{\"sum\":0.3}\n"}, on("call", name, "--input", `{"a":0.1,"b":0.2}`), name)
	}
	assert.Contains(t, on("call", "transfer", "--input", `{"to":"ann","amount":50}`).out, `{"interrupt":`)
	assert.Equal(t, outcome{out: "{\"result\":{\"sum\":3}}\n"}, on("call", "add", "--stream", "--input", `{"a":1,"b":2}`))
	assert.Contains(t, on("call", "add", "--input", `{"a":"x"}`).err, "/a: got string, want number")
	assert.Equal(t, exitNotFound, on("call", "calc/none").exit)
	assert.Equal(t, exitUsage, on("call", "add", "--input", "{").exit)
	assert.Equal(t, exitUsage, on("call").exit)

	// A module of AssemblyScript names itself, too, whatever its file is called.
	raw, err := os.ReadFile("../../examples/units/units.wasm")
	require.NoError(t, err)
	assert.Contains(t, on("upload", write(t, "other.wasm", string(raw))).out, "module units, revision 1")

	// All tools of a module at once.
	assert.Equal(t, outcome{out: "it is 42\n"}, on("generate", "--model", "test/scripted", "--tool", "calc/*", "--config", answers, "20 + 22?"))
	none := on("generate", "--model", "test/scripted", "--tool", "none/*", "--config", answers, "x")
	assert.Equal(t, exitNotFound, none.exit)
	assert.Contains(t, none.err, `"none/"`)
}

func TestANewBuildKeepsItsPolicy(t *testing.T) {
	url := startServer(t)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	policy := write(t, "p.json", `{"grants":{"kv":true},"limits":{"timeoutMs":700}}`)
	require.Equal(t, exitOK, on("upload", calcFile, "--name", "m", "--policy", policy).exit)
	again := on("upload", conformanceFile, "--name", "m", "--descriptor", "../../pdk/conformance/descriptor.json")
	require.Equal(t, exitOK, again.exit, again.err)
	assert.Contains(t, again.out, "policy kept: kv; limits timeoutMs")
	assert.Equal(t, 2, strings.Count(on("versions", "m").out, "kv; limits timeoutMs"))

	require.Equal(t, exitOK, on("upload", calcFile, "--name", "m", "--policy", write(t, "none.json", `{}`)).exit)
	assert.Regexp(t, `(?m)^m +3 .* no grants +current$`, on("versions", "m").out)
}

func TestHintsNameAnotherCommandThanTheOneThatFailed(t *testing.T) {
	url := startServer(t)
	ls := cli(t, "ls", "--tenant", "nobody", "--server", url)
	assert.NotContains(t, ls.err, "genkit-wasm ls")
	assert.Contains(t, ls.err, "genkit-wasm tenant create nobody")
	for args, hint := range map[string]string{"upload": "see genkit-wasm upload --help", "ls --none": "see genkit-wasm ls --help", "none": "see genkit-wasm --help"} {
		assert.Contains(t, cli(t, strings.Fields(args)...).err, hint, args)
	}
}

func TestTablesFitTheirTerminal(t *testing.T) {
	cells := [][]string{{"TYPE", "NAME", "DESCRIPTION"}, {"tool", "calc/add", strings.Repeat("long ", 20)}, {"tool", "é/ü", "short"}}
	fit(cells, 40)
	for _, row := range cells {
		assert.LessOrEqual(t, len([]rune(strings.Join(row, "  "))), 40)
	}
	assert.True(t, strings.HasSuffix(cells[1][2], "…"))
	assert.Equal(t, "calc/add", cells[1][1], "what is short stays whole")
	narrow := [][]string{{"A", "B"}, {"12345678", "12345678"}}
	fit(narrow, 5)
	assert.Equal(t, "12345678", narrow[1][0], "nothing is cut below what can be read")
}

func TestFlagsSayWhatIsWrongWithThem(t *testing.T) {
	url := startServer(t)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	missing := filepath.Join(t.TempDir(), "none.json")
	for name, test := range map[string]struct {
		got  outcome
		says string
	}{
		"a revision below 1":          {on("rollback", "m", "--revision", "0"), "--revision is 0, want 1 to 2147483647"},
		"turns below 0":               {on("generate", "x", "--max-turns", "-1"), "--max-turns is -1, want 0 to 2147483647"},
		"a middleware's broken JSON":  {on("generate", "x", "--use", "redact={bad"), `--use "redact={bad": want NAME or NAME=JSON`},
		"a middleware without a name": {on("generate", "x", "--use", "={}"), "want NAME or NAME=JSON"},
		"a middleware without JSON":   {on("generate", "x", "--use", "redact="), "want NAME or NAME=JSON"},
		"a policy's broken JSON":      {on("upload", calcFile, "--policy", "{bad"), "--policy: "},
		"a policy that is not there":  {on("upload", calcFile, "--policy", missing), "want FILE, @FILE or a JSON object"},
		"a descriptor not there":      {cli(t, "inspect", calcFile, "--descriptor", "@"+missing), "want FILE, @FILE or a JSON object"},
	} {
		assert.Equal(t, exitUsage, test.got.exit, name)
		assert.Contains(t, test.got.err, test.says, name)
	}
	// No turn is a choice, not the default.
	none := on("generate", "x", "--model", "test/scripted", "--tool", "none", "--max-turns", "0", "--config", answers)
	assert.Equal(t, exitNotFound, none.exit, none.err)
	require.Equal(t, exitOK, on("upload", calcFile).exit)
	none = on("generate", "20 + 22?", "--model", "test/scripted", "--tool", "calc/*", "--max-turns", "0", "--config", answers)
	assert.Equal(t, exitFailed, none.exit, none.err)
	assert.Contains(t, none.err, "iterations (0)")
}

func TestPoliciesAndDescriptorsAreFilesOrJSON(t *testing.T) {
	url := startServer(t)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	const policy = `{"grants":{"kv":true}}`
	file := write(t, "p.json", policy)
	for i, form := range []string{policy, " " + policy, "@" + file, file, "-"} {
		got := cliWith(t, policy, "upload", calcFile, "--name", "m", "--policy", form, "--server", url)
		require.Equal(t, exitOK, got.exit, "%s: %s", form, got.err)
		assert.Regexp(t, `(?m)^m +1 .* kv +current$`, on("versions", "m").out, i)
		require.Equal(t, exitOK, on("rm", "m", "-y").exit)
	}
	assert.Equal(t, exitOK, cli(t, "inspect", extism(t, "count_vowels.wasm"), "--descriptor", vowels).exit)
	got := cli(t, "run", extism(t, "count_vowels.wasm"), "--descriptor", vowels, "--input", `"Hello, World"`)
	assert.Contains(t, got.out, `"count":3`, got.err)
}

func TestActionsAreListedOnce(t *testing.T) {
	url, log := startLogged(t, "--load", calcFile, "--tenant", "acme")
	assert.Contains(t, log.String(), "loading a module")
	assert.Contains(t, log.String(), calcFile)
	shown := cli(t, "ls", "--actions", "--server", url)
	assert.Equal(t, 1, strings.Count(shown.out, "calc/add"), shown.out)
	assert.Regexp(t, `(?m)^tool +calc/add`, shown.out)
	assert.Regexp(t, `(?m)^middleware +retry`, shown.out)
	assert.NotContains(t, shown.out, "tool.v2")
}

func TestAnUnknownTenantIsExplained(t *testing.T) {
	url := startServer(t)
	for _, command := range [][]string{{"call", "add"}, {"ls", "--actions"}, {"generate", "x"}, {"upload", calcFile}, {"flow", "x"}, {"flow", "x", "--stream"}} {
		got := cli(t, append(command, "--tenant", "nobody", "--server", url)...)
		assert.Equal(t, exitNotFound, got.exit, command)
		assert.Contains(t, got.err, "--tenant names the tenant", command)
	}
	known := cli(t, "call", "none", "--server", url)
	assert.NotContains(t, known.err, "--tenant names the tenant")
}

// A command that asks no server takes no URL of one.
func TestOnlyCommandsThatAskAServerTakeOne(t *testing.T) {
	asks := []string{"audit", "backup", "call", "doctor", "flow", "generate", "login", "ls", "mcp", "models", "rm", "rollback", "upload", "usage", "versions"}
	for _, command := range (&app{}).command().Commands() {
		want := slices.Contains(asks, command.Name())
		help := cli(t, command.Name(), "--help")
		assert.Equal(t, want, strings.Contains(help.out, "--server"), command.Name())
		if !want {
			assert.Equal(t, exitUsage, cli(t, command.Name(), "--server", "http://127.0.0.1:1").exit, command.Name())
		}
	}
	assert.Equal(t, exitUnreachable, cli(t, "--server", "http://127.0.0.1:1", "ls").exit, "the flag may stand before the command")
}
