package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/packdir"
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

func TestADirectoryIsOnePackageOrAFolderOfScripts(t *testing.T) {
	dir := project(t)
	assert.Equal(t, []string{dir}, modulesIn(filepath.Dir(dir)), "what --load finds in a folder")
	name, err := nameOfFile(dir)
	require.NoError(t, err)
	assert.Equal(t, "weather", name)
	before := look(dir)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "src", "lib", "check.ts"), []byte("export const check = (a) => a;"), 0o600))
	assert.NotEqual(t, before, look(dir), "dev loads it again")
	require.NoError(t, os.Remove(filepath.Join(dir, "src", "tool.ts")))
	assert.Empty(t, look(dir), "half of it is not loaded")

	bare := cli(t, "upload", t.TempDir(), "--server", "http://127.0.0.1:1")
	assert.Equal(t, exitUsage, bare.exit)
	assert.Contains(t, bare.err, "has no file to begin in")
	dry := cli(t, "upload", project(t), "--dry-run")
	assert.Equal(t, exitOK, dry.exit, dry.err)
	assert.Regexp(t, `(?m)^ +\d+ B  node_modules/sun/index\.js\n(.*\n){4}packed 5 files, .* B in \d+ B; the script begins in src/tool\.ts$`, dry.out)
	var list packdir.Package
	require.NoError(t, json.Unmarshal([]byte(cli(t, "upload", project(t), "--dry-run", "-o", "json").out), &list))
	assert.Len(t, list.Files, 5)
	assert.Equal(t, exitUsage, cli(t, "upload", greetFile, "--dry-run").exit, "of a file there is nothing to list")
}

func TestAProgramWithoutAnEngineSaysHowToGetIt(t *testing.T) {
	t.Parallel()
	if builtinEngine != nil {
		t.Skip("it has one")
	}
	p := serve(t, filepath.Join(t.TempDir(), "data"))
	up := p.do("upload", greetFile)
	assert.NotEqual(t, exitOK, up.exit)
	assert.Contains(t, up.err, "--engine javascript=FILE")
}
