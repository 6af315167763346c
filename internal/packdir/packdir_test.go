package packdir_test

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

	"github.com/genkit-wasm/genkit-wasm/internal/packdir"
)

// fill makes a directory of some files.
func fill(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "project")
	for name, content := range files {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	return dir
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	p, err := packdir.Pack(dir)
	require.NoError(t, err)
	list := []string{}
	bytes := 0
	for _, f := range p.Files {
		list, bytes = append(list, f.Name), bytes+f.Size
	}
	assert.Equal(t, bytes, p.Bytes)
	assert.Len(t, p.Content, p.Archive)
	return list
}

func TestADirectoryIsPackedAsItsPackageSays(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"tests, types, hidden files and packages of the author's own are left out": {map[string]string{
			"package.json": `{"genkit":"src/tool.ts","dependencies":{"sun":"1"},"devDependencies":{"tests":"1"}}`,
			"src/tool.ts":  "", "src/tool.test.ts": "", "src/x.spec.ts": "", "test/all.ts": "", "__mocks__/a.ts": "", ".git/config.json": "", ".env.json": "",
			"README.md": "", "tsconfig.json": "{}", "package-lock.json": "{}", "types.d.ts": "", "t.d.mts": "",
			"node_modules/sun/package.json": "{}", "node_modules/sun/index.js": "", "node_modules/sun/index.d.ts": "", "node_modules/sun/test/a.js": "",
			"node_modules/tests/index.js": "", "node_modules/.bin/x.js": "",
		}, []string{"node_modules/sun/index.js", "node_modules/sun/package.json", "node_modules/sun/test/a.js", "package.json", "src/tool.ts"}},
		"what it lists, and no more": {map[string]string{
			"package.json": `{"files":["dist/**","lib/*.js","test","/one.js"],"main":"dist/main.js"}`,
			"dist/main.js": "", "dist/deep/b.js": "", "lib/c.js": "", "lib/c.ts": "", "test/d.js": "", "src/main.ts": "", "one.js": "", "two.js": "",
		}, []string{"dist/deep/b.js", "dist/main.js", "lib/c.js", "one.js", "package.json", "test/d.js"}},
		"all, where it lists the directory": {map[string]string{"package.json": `{"files":["."]}`, "tool.ts": "", "a/b.js": ""}, []string{"a/b.js", "package.json", "tool.ts"}},
		"dependencies from where Node would find them": {map[string]string{
			"package.json": `{"dependencies":{"a":"1","absent":"1"},"peerDependencies":{"@s/p":"1"},"optionalDependencies":{"a":"1"}}`, "tool.ts": "",
			"node_modules/a/index.js": "", "node_modules/a/package.json": `{"dependencies":{"b":"1","c":"1"}}`, "node_modules/b/index.js": "",
			"node_modules/b/package.json": `{"dependencies":{"a":"1"}}`, "node_modules/a/node_modules/c/index.js": "", "node_modules/c/index.js": "another version",
			"node_modules/@s/p/index.mjs": "",
		}, []string{
			"node_modules/@s/p/index.mjs", "node_modules/a/index.js", "node_modules/a/node_modules/c/index.js", "node_modules/a/package.json", "node_modules/b/index.js",
			"node_modules/b/package.json", "package.json", "tool.ts",
		}},
		"settings of TypeScript that name files, even where files are listed": {map[string]string{
			"package.json": `{"files":["src"]}`, "src/main.ts": "", "tsconfig.json": `{"extends":"./tsconfig.base.json"}`, "tsconfig.base.json": `{"compilerOptions":{"paths":{}}}`,
			"tsconfig.build.json": `{}`, "src/tsconfig.json": `{"compilerOptions":{"baseUrl":"."}}`, "node_modules/a/tsconfig.json": `{"extends":"x"}`,
		}, []string{"package.json", "src/main.ts", "src/tsconfig.json", "tsconfig.base.json", "tsconfig.json"}},
		"all packages, where there is no package.json": {map[string]string{
			"tool.ts": "", "a.txt": "", "node_modules/a/index.js": "",
		}, []string{"node_modules/a/index.js", "tool.ts"}},
	} {
		t.Run(name, func(t *testing.T) { assert.Equal(t, test.want, names(t, fill(t, test.files))) })
	}
}

func TestTheSameFilesGiveTheSameBytes(t *testing.T) {
	files := map[string]string{"package.json": `{"name":"@me/weather"}`, "tool.ts": "1", "lib/a.ts": "2"}
	one, other := fill(t, files), fill(t, files)
	require.NoError(t, os.Chtimes(filepath.Join(other, "tool.ts"), time.Unix(1, 0), time.Unix(1, 0)))
	require.NoError(t, os.Chmod(filepath.Join(other, "tool.ts"), 0o700)) //nolint:gosec // that is what is tried
	first, err := packdir.Pack(one)
	require.NoError(t, err)
	second, err := packdir.Pack(other)
	require.NoError(t, err)
	assert.Equal(t, first.Content, second.Content)
	raw, err := json.Marshal(first)
	require.NoError(t, err)
	assert.Regexp(t, `^\{"entry":"tool\.ts","files":\[\{"name":"lib/a\.ts","size":1\},.*\],"bytes":24,"archive":\d+\}$`, string(raw))
	require.NoError(t, os.WriteFile(filepath.Join(other, "tool.ts"), []byte("3"), 0o600))
	second, err = packdir.Pack(other)
	require.NoError(t, err)
	assert.NotEqual(t, first.Content, second.Content)
}

func TestADirectoryHasAName(t *testing.T) {
	for text, want := range map[string]string{`{"name":"@me/weather"}`: "weather", `{"name":"sun"}`: "sun", `{}`: "project", `{`: "project", `{"name":""}`: "project"} {
		dir := fill(t, map[string]string{"package.json": text})
		assert.Equal(t, want, packdir.Name(dir), text)
		assert.True(t, packdir.IsPackage(dir))
	}
	dir := fill(t, map[string]string{"a": ""})
	t.Chdir(dir)
	assert.Equal(t, "project", packdir.Name("."))
	assert.False(t, packdir.IsPackage(dir))
	assert.True(t, packdir.IsDirectory(dir))
	assert.False(t, packdir.IsDirectory(filepath.Join(dir, "a")))
	assert.False(t, packdir.IsDirectory(filepath.Join(dir, "none")))
}

func TestADirectoryThatCanNotBePackedSaysWhy(t *testing.T) {
	four := strings.Repeat("1", 4<<20)
	many := map[string]string{"tool.ts": "", "i.json": "1"}
	for c := 'a'; c <= 'h'; c++ {
		many[string(c)+".json"] = four
	}
	for name, c := range map[string]struct {
		files map[string]string
		says  []string
	}{
		"nothing":               {map[string]string{"README.md": ""}, []string{"has no file to begin in"}},
		"no entry":              {map[string]string{"package.json": "{}", "lib/a.ts": ""}, []string{"has no file to begin in", "tool.ts, main.ts or index.ts"}},
		"an entry that is not":  {map[string]string{"package.json": `{"genkit":"a.ts"}`, "tool.ts": ""}, []string{`"genkit": "a.ts"`}},
		"a broken package.json": {map[string]string{"package.json": "{", "tool.ts": ""}, []string{"package.json: unexpected end"}},
		"a broken dependency":   {map[string]string{"package.json": `{"dependencies":{"a":"1"}}`, "tool.ts": "", "node_modules/a/package.json": "{"}, []string{"package.json: unexpected end"}},
		"a dependency outside":  {map[string]string{"package.json": `{"dependencies":{"../../x":"1"}}`, "tool.ts": ""}, []string{"no name of a package"}},
		"a file that is long":   {map[string]string{"tool.ts": "", "a.json": four + "1"}, []string{"a.json is longer than 4194304 bytes"}},
		"too much":              {many, []string{"more than", "32.0 MiB", "the largest files are a.json (4.0 MiB), b.json (4.0 MiB), c.json (4.0 MiB)"}},
	} {
		_, err := packdir.Pack(fill(t, c.files))
		require.Error(t, err, name)
		for _, text := range c.says {
			assert.Contains(t, err.Error(), text, name)
		}
	}
	_, err := packdir.Pack(filepath.Join(t.TempDir(), "none"))
	require.ErrorIs(t, err, os.ErrNotExist)
	if runtime.GOOS == "windows" {
		return // links take a right there
	}
	dir := fill(t, map[string]string{"tool.ts": ""})
	require.NoError(t, os.Symlink("/etc/passwd", filepath.Join(dir, "passwd.json")))
	_, err = packdir.Pack(dir)
	require.ErrorContains(t, err, "is a link")
	linked := fill(t, map[string]string{"tool.ts": "", "package.json": `{"dependencies":{"a":"1"}}`, "node_modules/x": ""})
	require.NoError(t, os.Symlink(dir, filepath.Join(linked, "node_modules", "a")))
	_, err = packdir.Pack(linked)
	require.ErrorContains(t, err, "install it with npm")
}
