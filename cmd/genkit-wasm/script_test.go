package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
)

const greetFile = "../../examples/greet/greet.ts"

// TestAScriptFromUploadToAnAgent has no program to call: no node, npm, clang or Go.
func TestAScriptFromUploadToAnAgent(t *testing.T) {
	engine := "javascript=" + write(t, "qjs.wasm", string(jsenginetest.File(t)))
	binary(t)
	t.Setenv("PATH", "")
	data := filepath.Join(t.TempDir(), "data")
	p := serve(t, data, "--engine", engine)

	up := p.do("upload", greetFile)
	require.Equal(t, exitOK, up.exit, up.err)
	assert.Contains(t, up.out, "  greet/greet\n")
	turns := `{"script":[
		{"message":{"role":"model","content":[{"toolRequest":{"name":"greet","ref":"1","input":{"name":"Ada"}}}]}},
		{"message":{"role":"model","content":[{"text":"done"}]}}]}`
	generated := p.do("generate", "greet Ada", "--model", "test/scripted", "--tool", "greet", "--config", turns, "-o", "json")
	require.Equal(t, exitOK, generated.exit, generated.err)
	assert.Contains(t, generated.out, `"greeting": "Hello, Ada!"`)
	assert.Contains(t, generated.out, `"text": "done"`)

	wrong := p.do("call", "greet/greet", "--input", `{"name":"nobody"}`)
	assert.Equal(t, exitFailed, wrong.exit)
	assert.Contains(t, wrong.err, "RangeError: there is nobody to greet (greet.ts:11:17)")
	bad := p.do("upload", write(t, "bad.ts", "let a: = 1;"))
	assert.Equal(t, exitRefused, bad.exit)
	assert.Contains(t, bad.err, `bad.ts:1:8: Unexpected "="`)

	assert.Equal(t, "{\"greeting\":\"Hello, Bo!\"}\n", p.do("run", greetFile, "--engine", engine, "--input", `{"name":"Bo"}`).out)
	inspected := p.do("inspect", greetFile, "--engine", engine, "-o", "json")
	require.Equal(t, exitOK, inspected.exit, inspected.err)
	var found findings
	require.NoError(t, json.Unmarshal([]byte(inspected.out), &found))
	assert.Equal(t, "typescript", found.Language)
	require.Len(t, found.Descriptor.Tools, 1)
	assert.Equal(t, "greet", found.Descriptor.Tools[0].Name)
	assert.Equal(t, exitUsage, p.do("inspect", greetFile, "--engine", "javascript="+greetFile).exit, "that is no engine")

	dir := project(t)
	up = p.do("upload", dir)
	require.Equal(t, exitOK, up.exit, up.err)
	assert.Contains(t, up.err, "packed 5 files, ")
	assert.Contains(t, up.err, "; the script begins in src/tool.ts")
	assert.Contains(t, up.out, "module weather, revision 1, ")
	assert.Equal(t, "{\"weather\":\"sun in Rome\"}\n", p.do("call", "weather/weather", "--input", `{"city":"Rome"}`).out)
	wrong = p.do("call", "weather/weather", "--input", `{"city":""}`)
	assert.Contains(t, wrong.err, "RangeError: which city? (src/lib/check.ts:3:24)")
	again := p.do("upload", dir)
	assert.Contains(t, again.out, ", unchanged", "the same directory gives the same bytes")
	ran := p.do("run", dir, "--engine", engine, "--input", `{"city":"Bonn"}`)
	assert.Equal(t, "{\"weather\":\"sun in Bonn\"}\n", ran.out, ran.err)
	inspected = p.do("inspect", dir, "--engine", engine)
	assert.Contains(t, inspected.out, "weather")
	assert.Equal(t, exitOK, inspected.exit, inspected.err)
	dry := p.do("upload", dir, "--dry-run", "-o", "json")
	require.Equal(t, exitOK, dry.exit, dry.err)
	var list packed
	require.NoError(t, json.Unmarshal([]byte(dry.out), &list))
	assert.Len(t, list.Files, 5)
}

// project is a directory of a script of several files, and of what does not belong to it.
func project(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	fill(t, dir, map[string]string{
		"package.json":          `{"name":"@me/weather","genkit":"src/tool.ts","dependencies":{"sun":"1"},"devDependencies":{"tests":"1"}}`,
		"src/tool.ts":           "import { tool, s } from 'genkit';\nimport { check } from './lib/check';\nimport sun from 'sun';\ntool({ name: 'weather', description: 'x', input: s.object({ city: s.string() }), run: ({ city }) => ({ weather: sun() + ' in ' + check(city) }) });\n",
		"src/lib/check.ts":      "export const check = (city: string): string => {\n  if (city !== '') return city;\n             throw new RangeError('which city?');\n};\n",
		"src/lib/check.test.ts": "a test", "test/all.ts": "a test", ".git/config": "secret", ".env": "secret", "README.md": "text", "tsconfig.json": "{}", "types.d.ts": "",
		"node_modules/sun/package.json": `{"name":"sun","main":"index.js"}`, "node_modules/sun/index.js": "module.exports = () => 'sun';", "node_modules/sun/index.d.ts": "",
		"node_modules/tests/index.js": "a tool of the author's", "node_modules/.bin/x.js": "",
	})
	return dir
}

func fill(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
}

func names(p *packed) []string {
	list := []string{}
	for _, f := range p.Files {
		list = append(list, f.Name)
	}
	return list
}

func TestADirectoryIsPackedAsItsPackageSays(t *testing.T) {
	dir := project(t)
	first, err := pack(dir)
	require.NoError(t, err)
	assert.Equal(t, []string{"node_modules/sun/index.js", "node_modules/sun/package.json", "package.json", "src/lib/check.ts", "src/tool.ts"}, names(first))
	require.NoError(t, os.Chtimes(filepath.Join(dir, "package.json"), time.Unix(1, 0), time.Unix(1, 0)))
	require.NoError(t, os.Chmod(filepath.Join(dir, "package.json"), 0o700))
	second, err := pack(dir)
	require.NoError(t, err)
	assert.Equal(t, first.archive, second.archive)

	assert.True(t, isPackage(dir))
	assert.Equal(t, []string{dir}, modulesIn(filepath.Dir(dir)), "what --load finds in a folder")
	name, err := nameOfFile(dir)
	require.NoError(t, err)
	assert.Equal(t, "weather", name)
	before := look(dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "src", "lib", "check.ts"), []byte("export const check = (a) => a;"), 0o600))
	assert.NotEqual(t, before, look(dir), "dev loads it again")

	listed := t.TempDir()
	fill(t, listed, map[string]string{
		"package.json": `{"files":["dist/**","lib/*.js","test"],"main":"dist/main.js","dependencies":{"a":"1","absent":"1"}}`, "dist/main.js": "", "dist/deep/b.js": "", "lib/c.js": "", "lib/c.ts": "",
		"test/d.js": "", "src/main.ts": "", "node_modules/a/index.js": "", "node_modules/a/package.json": `{"dependencies":{"b":"1","c":"1"}}`, "node_modules/b/index.js": "",
		"node_modules/a/node_modules/c/index.js": "", "node_modules/c/index.js": "another version",
	})
	p, err := pack(listed)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"dist/deep/b.js", "dist/main.js", "lib/c.js", "node_modules/a/index.js", "node_modules/a/node_modules/c/index.js", "node_modules/a/package.json", "node_modules/b/index.js",
		"package.json", "test/d.js",
	}, names(p))
}

func TestADirectoryThatCanNotBePackedSaysWhy(t *testing.T) {
	for name, c := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"nothing":               {map[string]string{"README.md": ""}, []string{"has no file to begin in"}},
		"no entry":              {map[string]string{"package.json": "{}", "lib/a.ts": ""}, []string{"has no file to begin in", "tool.ts, main.ts or index.ts"}},
		"an entry that is not":  {map[string]string{"package.json": `{"genkit":"a.ts"}`, "tool.ts": ""}, []string{`"genkit": "a.ts"`}},
		"a broken package.json": {map[string]string{"package.json": "{", "tool.ts": ""}, []string{"package.json"}},
		"a dependency outside":  {map[string]string{"package.json": `{"dependencies":{"../../x":"1"}}`, "tool.ts": ""}, []string{"no name of a package"}},
		"too much": {map[string]string{
			"tool.ts": "", "a.json": strings.Repeat("1", 4<<20), "b.json": strings.Repeat("1", 4<<20), "c.json": strings.Repeat("1", 4<<20), "d.json": strings.Repeat("1", 4<<20), "e.json": strings.Repeat("1", 4<<20),
			"f.json": strings.Repeat("1", 4<<20), "g.json": strings.Repeat("1", 4<<20), "h.json": strings.Repeat("1", 4<<20), "i.json": "1",
		}, []string{"32.0 MiB", "the largest files are a.json (4.0 MiB), b.json (4.0 MiB), c.json (4.0 MiB)"}},
	} {
		dir := t.TempDir()
		fill(t, dir, c.files)
		_, err := pack(dir)
		require.Error(t, err, name)
		for _, text := range c.says {
			assert.Contains(t, err.Error(), text, name)
		}
	}
	if runtime.GOOS == "windows" {
		return // links take a right there
	}
	dir := project(t)
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "src", "passwd.json")))
	_, err := pack(dir)
	require.ErrorContains(t, err, "is a link")
}

func TestAProgramWithoutAnEngineSaysHowToGetIt(t *testing.T) {
	if builtinEngine != nil {
		t.Skip("it has one")
	}
	p := serve(t, filepath.Join(t.TempDir(), "data"))
	up := p.do("upload", greetFile)
	assert.NotEqual(t, exitOK, up.exit)
	assert.Contains(t, up.err, "--engine javascript=FILE")
}
