package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/guestbuild"
	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/internal/scaffold"
	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
)

// shortLanguages are those that short runs go through: one that is compiled, and one that is not. Go's and Rust's compilers take
// most of the time.
var shortLanguages = map[string]bool{"c": true, "ts": true}

func skipInShortRuns(t *testing.T, language string) {
	t.Helper()
	if (testing.Short() || raced) && !shortLanguages[language] {
		t.Skip("takes long; make long goes through all languages")
	}
}

// needsToolchain ends a test as [peer.Missing] does where a language can't be built.
func needsToolchain(t *testing.T, language string) {
	t.Helper()
	built := map[string]guestbuild.Language{"go": guestbuild.Go, "rust": guestbuild.Rust, "c": guestbuild.C, "cpp": guestbuild.CPP}[language]
	for _, tool := range guestbuild.Toolchains(t.Context()) {
		if tool.Language == built && tool.Missing != "" {
			peer.Missing(t, "%s: %s", tool.Missing, tool.Fix)
		}
	}
}

// newProject makes a project in a new directory.
func newProject(t *testing.T, language, name string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	args := []string{"new", language, name, dir}
	if language == "go" {
		args = append(args, "--pdk", "../../pdk/go")
	}
	got := cli(t, args...)
	require.Equal(t, exitOK, got.exit, got.err)
	return dir
}

var shellBlock = regexp.MustCompile("(?s)```sh\n(.*?)```")

// TestAToolFromNewToAnAgent goes the way of an author in each language: a new project, every command of its README
// as pasted, and a generate loop that calls the tool on the server.
func TestAToolFromNewToAnAgent(t *testing.T) {
	t.Parallel()
	program := binary(t)
	engine := "javascript=" + write(t, "qjs.wasm", string(jsenginetest.File(t)))
	p := serve(t, filepath.Join(t.TempDir(), "data"), "--engine", engine)
	for _, l := range scaffold.Languages() {
		t.Run(l.Name, func(t *testing.T) {
			skipInShortRuns(t, l.Name)
			needsToolchain(t, l.Name)
			name := "greeter-" + l.Name
			dir := newProject(t, l.Name, name)
			readme, err := os.ReadFile(filepath.Join(dir, "README.md"))
			require.NoError(t, err)
			blocks := shellBlock.FindAllStringSubmatch(string(readme), -1)
			require.Len(t, blocks, 2)
			for _, block := range blocks {
				out := paste(t, program, engine, p.url, dir, block[1])
				for line := range strings.Lines(block[1]) {
					if want, ok := strings.CutPrefix(line, "# "); ok {
						assert.Contains(t, out, want, block[1])
					}
				}
			}
			turns := `{"script":[
				{"message":{"role":"model","content":[{"toolRequest":{"name":"greet","ref":"1","input":{"name":"Ada"}}}]}},
				{"message":{"role":"model","content":[{"text":"done"}]}}]}`
			generated := p.do("generate", "greet Ada", "--model", "test/scripted", "--tool", name+"/greet", "--config", turns, "-o", "json")
			require.Equal(t, exitOK, generated.exit, generated.err)
			assert.Contains(t, generated.out, `"greeting": "Hello, Ada!"`)
			assert.Contains(t, generated.out, `"text": "done"`)
		})
	}
}

// paste runs a block of a README. The binary of the tests has no engine of scripts, as one of "make build" has, so
// commands that need it are told where it is.
func paste(t *testing.T, program, engine, url, dir, block string) string {
	t.Helper()
	if _, err := exec.LookPath("bash"); err != nil {
		peer.Missing(t, "bash is not installed")
	}
	const shim = `genkit-wasm() { case $1 in build|test|run|inspect) "$PROGRAM" "$@" --engine "$ENGINE";; *) "$PROGRAM" "$@";; esac; }` + "\n"
	cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", shim+block)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asProgram+"=1", "PROGRAM="+program, "ENGINE="+engine, serverEnv+"="+url)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", block, out)
	return string(out)
}

// The same sources give the same bytes, wherever they are.
func TestBuildsAreReproducible(t *testing.T) {
	for _, l := range scaffold.Languages() {
		if (scaffold.Project{Language: l}).Script() {
			continue
		}
		t.Run(l.Name, func(t *testing.T) {
			skipInShortRuns(t, l.Name)
			needsToolchain(t, l.Name)
			var built [2][]byte
			for i := range built {
				dir := newProject(t, l.Name, "same")
				moved := filepath.Join(t.TempDir(), fmt.Sprintf("other-%d", i))
				require.NoError(t, os.Rename(dir, moved))
				got := cli(t, "build", moved, "-o", "json")
				require.Equal(t, exitOK, got.exit, got.err)
				var found findings
				require.NoError(t, json.Unmarshal([]byte(got.out), &found))
				assert.Equal(t, "section", found.DescriptorSource, "nobody has to run it to list its tools")
				assert.Equal(t, filepath.Join(moved, "same.wasm"), found.File, "the name is the descriptor's, not the directory's")
				require.Len(t, found.Descriptor.Tools, 1)
				assert.Contains(t, string(found.Descriptor.Tools[0].InputSchema), `"who to greet"`)
				var err error
				built[i], err = os.ReadFile(found.File)
				require.NoError(t, err)
			}
			assert.Equal(t, string(built[0]), string(built[1]))
			if l.Name != "c" { // of all the quickest
				return
			}
			tested := cli(t, "test", newProject(t, "c", "same"), "-o", "json")
			require.Equal(t, exitOK, tested.exit, tested.err)
			var r tooltest.Report
			require.NoError(t, json.Unmarshal([]byte(tested.out), &r))
			assert.Zero(t, r.Failed)
			assert.Empty(t, r.NeverCalled, "the cases of a new project call all of its tools")
		})
	}
}

func TestNewListsItsLanguages(t *testing.T) {
	got := cli(t, "new")
	require.Equal(t, exitOK, got.exit)
	for _, l := range scaffold.Languages() {
		assert.Regexp(t, `(?m)^`+l.Name+` +`+regexp.QuoteMeta(l.Title)+` `, got.out)
	}
	var listed struct{ Languages []scaffold.Language }
	require.NoError(t, json.Unmarshal([]byte(cli(t, "new", "-o", "json").out), &listed))
	assert.Len(t, listed.Languages, 6)
	assert.Equal(t, "go", listed.Languages[0].Name)
}

func TestNewRefusesWhatItCannotMake(t *testing.T) {
	full := filepath.Dir(write(t, "mine.txt", "x"))
	kit, err := filepath.Abs("../../pdk/go")
	require.NoError(t, err)
	t.Chdir(t.TempDir()) // where a name that is taken by mistake makes its directory
	for name, test := range map[string]struct {
		args []string
		says string
	}{
		"one argument":            {[]string{"c"}, "want LANGUAGE NAME [DIR]"},
		"four arguments":          {[]string{"c", "a", "b", "c"}, "want LANGUAGE NAME [DIR]"},
		"an unknown language":     {[]string{"cobol", "x"}, `there is no language "cobol"; want go, ts, js, rust, c, cpp`},
		"a name with a slash":     {[]string{"c", "../x"}, `module name "../x": want 1 to 64 letters`},
		"an empty name":           {[]string{"c", ""}, "module name"},
		"a name that is a flag":   {[]string{"c", "--", "-x"}, "module name"},
		"a directory with a file": {[]string{"c", "x", full}, "the directory is not empty"},
		"a file":                  {[]string{"c", "x", filepath.Join(full, "mine.txt")}, "mine.txt"},
		"a kit for C":             {[]string{"c", "x", t.TempDir(), "--pdk", kit}, "--pdk is for Go"},
		"a kit that is none":      {[]string{"go", "x", t.TempDir(), "--pdk", full}, "is not the kit in Go"},
	} {
		got := cli(t, append([]string{"new"}, test.args...)...)
		assert.Equal(t, exitUsage, got.exit, name)
		assert.Contains(t, got.err, test.says, name)
	}
	for dir, want := range map[string]int{full: 1, ".": 0} {
		entries, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, entries, want, "nothing was written")
	}
}

func TestNewTellsProgramsWhatItMade(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "p")
	got := cli(t, "new", "c", "x", dir, "-o", "json")
	require.Equal(t, exitOK, got.exit, got.err)
	var made created
	require.NoError(t, json.Unmarshal([]byte(got.out), &made))
	assert.Equal(t, created{
		Language: "c", Name: "x", Dir: dir, Files: []string{".gitignore", "README.md", "actions.h", "cases.yaml", "genkit.h", "json.h", "number.h", "x.c"},
		Next: []string{"genkit-wasm build", "genkit-wasm test", "genkit-wasm upload x.wasm"},
	}, made)
	script := cli(t, "new", "js", "y", filepath.Join(t.TempDir(), "y"))
	assert.Contains(t, script.out, "then genkit-wasm test, genkit-wasm upload y.js\n")
}

// The program of "make run", in the bin of a clone, makes projects in Go that build: it takes the kit from the clone. Another one says which
// line to add, and so does a build that has failed for the want of it.
func TestNewTakesTheKitOfItsClone(t *testing.T) {
	clone, err := filepath.EvalSymlinks(t.TempDir())
	require.NoError(t, err)
	fill(t, clone, map[string]string{"pdk/go/go.mod": "module " + scaffold.Kit + "\n\ngo 1.24\n", "bin/genkit-wasm": "", "other/genkit-wasm": "", "alone/bin/genkit-wasm": ""})
	assert.Equal(t, filepath.Join(clone, "pdk", "go"), kitBeside(filepath.Join(clone, "bin", "genkit-wasm")))
	for _, program := range []string{"other/genkit-wasm", "alone/bin/genkit-wasm", "none"} {
		assert.Empty(t, kitBeside(filepath.Join(clone, program)), program)
	}
	without := filepath.Join(t.TempDir(), "z")
	got := cli(t, "new", "go", "z", without)
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Contains(t, got.err, replaceLine)
	assert.Contains(t, kitHint(without), replaceLine)
	assert.Empty(t, kitHint(newProject(t, "go", "with")), "it has the line")
	assert.Empty(t, kitHint(clone))

	if os.Link(binary(t), filepath.Join(clone, "program")) != nil { // another disk
		return
	}
	require.NoError(t, os.Rename(filepath.Join(clone, "program"), filepath.Join(clone, "bin", "genkit-wasm")))
	dir := filepath.Join(t.TempDir(), "x")
	cmd := exec.CommandContext(t.Context(), filepath.Join(clone, "bin", "genkit-wasm"), "new", "go", "x", dir)
	cmd.Env = append(os.Environ(), asProgram+"=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "go.mod takes the kit from "+filepath.Join(clone, "pdk", "go"))
	mod, err := os.ReadFile(filepath.Join(dir, "go.mod"))
	require.NoError(t, err)
	assert.Contains(t, string(mod), "replace "+scaffold.Kit+" => "+filepath.Join(clone, "pdk", "go"))
}

// A build for the want of the kit says so.
func TestABuildWithoutTheKitSaysWhatToAdd(t *testing.T) {
	needsToolchain(t, "go")
	dir := filepath.Join(t.TempDir(), "z")
	require.Equal(t, exitOK, cli(t, "new", "go", "z", dir).exit)
	t.Setenv("GOPROXY", "off")
	for _, verb := range []string{"build", "test"} {
		got := cli(t, verb, dir)
		assert.Equal(t, exitFailed, got.exit)
		assert.Contains(t, got.err, replaceLine, verb)
	}
}

func TestTheKitHasTheVersionOfTheProgram(t *testing.T) {
	for program, want := range map[string]string{
		"v1.2.3": "v1.2.3", "v1.2.3-rc.1": "v1.2.3-rc.1", "(devel)": "v0.0.0", "": "v0.0.0", "1.2": "v0.0.0",
		"v0.0.0-20261130141900-2b9ee44aabbc+dirty": "v0.0.0-20261130141900-2b9ee44aabbc",
	} {
		assert.Equal(t, want, kitVersion(program), program)
	}
}

func TestBuildSaysWhatIsWrong(t *testing.T) {
	empty := t.TempDir()
	got := cli(t, "build", empty)
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, "no sources: want go.mod")
	assert.Equal(t, exitUsage, cli(t, "build", filepath.Join(empty, "none")).exit)
	assert.Equal(t, exitUsage, cli(t, "build", empty, empty).exit)

	c := newProject(t, "c", "x")
	assert.Contains(t, cli(t, "build", c, "--timeout", "0s").err, "--timeout is 0s, want 1ns to 24h0m0s")
	needsToolchain(t, "c")
	late := cli(t, "build", c, "--timeout", "1ns")
	assert.Equal(t, exitFailed, late.exit)
	require.NoError(t, os.WriteFile(filepath.Join(c, "x.c"), []byte("int f( {"), 0o600))
	broken := cli(t, "build", c)
	assert.Equal(t, exitFailed, broken.exit)
	assert.Contains(t, broken.err, "x.c:1:8: error", "the compiler's own words")
	assert.Contains(t, broken.err, "the build failed")
	assert.NoFileExists(t, filepath.Join(c, "x.wasm"))
	assert.Equal(t, exitFailed, cli(t, "test", c).exit)

	// A module that no server would take is written, and refused.
	plain := filepath.Dir(write(t, "f.c", "__attribute__((export_name(\"f\"))) int f(void) { return 0; }"))
	out := filepath.Join(t.TempDir(), "named.wasm")
	refused := cli(t, "build", plain, "--out", out)
	assert.Equal(t, exitRefused, refused.exit)
	assert.Contains(t, refused.err, "the module has no descriptor")
	assert.FileExists(t, out)
	assert.Equal(t, exitUsage, cli(t, "build", plain, "--out", filepath.Join(out, "below", "a.wasm")).exit)

	t.Setenv("PATH", empty)
	for _, name := range []string{"CLANG", "WASM_LD"} {
		t.Setenv(name, "")
	}
	missing := cli(t, "build", c)
	assert.Equal(t, exitFailed, missing.exit)
	assert.Contains(t, missing.err, "clang is not installed\n       install clang and lld")
}

func TestBuildOfAScriptChecksIt(t *testing.T) {
	if raced {
		t.Skip("compiles the engine of scripts, which takes long under the race detector")
	}
	engine := "javascript=" + write(t, "qjs.wasm", string(jsenginetest.File(t)))
	dir := newProject(t, "ts", "x")
	got := cli(t, "build", dir, "--engine", engine)
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Contains(t, got.err, "nothing to build: a script is uploaded as it is")
	assert.Regexp(t, `(?m)^tool +greet  Greets`, got.out)
	assert.Equal(t, exitUsage, cli(t, "build", dir, "--engine", engine, "--out", "x.wasm").exit)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.ts"), []byte("let a: = 1;"), 0o600))
	bad := cli(t, "build", dir, "--engine", engine)
	assert.Equal(t, exitRefused, bad.exit)
	assert.Contains(t, bad.err, `x.ts:1:8: Unexpected "="`)
}

func TestBuildNamesTheGrantsThatAModuleNeeds(t *testing.T) {
	needsToolchain(t, "c")
	dir := newProject(t, "c", "x")
	source := `#include "genkit.h"
GENKIT_DESCRIPTOR({"abi": "genkit/1", "name": "x", "tools": [{"name": "f"}]})
GENKIT_TOOL(f) { genkit_buffer v; return genkit_kv_get(GENKIT_STRING("k"), &v); }
`
	require.NoError(t, os.WriteFile(filepath.Join(dir, "x.c"), []byte(source), 0o600))
	got := cli(t, "build", dir)
	assert.Equal(t, exitOK, got.exit, got.err)
	assert.Contains(t, got.err, `"kv_get" (grant "kv")`)
	assert.Contains(t, got.err, "--policy FILE")
}
