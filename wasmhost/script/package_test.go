package script_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// header is an entry of a tar with its content.
type header struct {
	tar.Header
	content string
}

func file(name, content string) header {
	return header{tar.Header{Name: name, Mode: 0o644, Typeflag: tar.TypeReg, Size: int64(len(content))}, content}
}

func tarOf(t testing.TB, entries ...header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		require.NoError(t, w.WriteHeader(&e.Header))
		_, err := w.Write([]byte(e.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func zipOf(t testing.TB, entries ...header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.Name, Method: zip.Deflate}
		if e.Typeflag == tar.TypeSymlink {
			h.SetMode(fs.ModeSymlink | 0o777)
		}
		f, err := w.CreateHeader(h)
		require.NoError(t, err)
		_, err = f.Write([]byte(e.content))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return b.Bytes()
}

func gzipOf(t testing.TB, content []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, err := w.Write(content)
	require.NoError(t, err)
	require.NoError(t, w.Close())
	return b.Bytes()
}

// filesOf are entries by name, sorted.
func filesOf(files map[string]string) []header {
	list := make([]header, 0, len(files))
	for _, name := range slices.Sorted(maps.Keys(files)) {
		list = append(list, file(name, files[name]))
	}
	return list
}

// bundled bundles files in a process of its own.
func bundled(t testing.TB, files map[string]string) (*script.Script, error) {
	t.Helper()
	return script.TransformApart(t.Context(), self(t), "x", script.Package, gzipOf(t, tarOf(t, filesOf(files)...)))
}

const declares = `import { tool } from "genkit"; tool({ name: "x", run() {} });`

func TestArchivesOfEveryFormAreRead(t *testing.T) {
	entries := filesOf(map[string]string{"tool.ts": "a", "lib/b.ts": "b"})
	want := map[string][]byte{"tool.ts": []byte("a"), "lib/b.ts": []byte("b")}
	plain := tarOf(t, entries...)
	rooted := tarOf(t, file("package/tool.ts", "a"), file("package/lib/b.ts", "b"), file("__MACOSX/._tool.ts", "x"), file("package/.DS_Store", "x"))
	dotted := tarOf(t, header{Header: tar.Header{Name: "./", Mode: 0o755, Typeflag: tar.TypeDir}}, file("./tool.ts", "a"), header{Header: tar.Header{Name: "lib/", Mode: 0o755, Typeflag: tar.TypeDir}}, file("./lib/b.ts", "b"))
	for name, archive := range map[string][]byte{"tar": plain, "tar.gz": gzipOf(t, plain), "zip": zipOf(t, entries...), "one root": rooted, "dots": dotted} {
		got, err := script.ReadArchive(archive)
		require.NoError(t, err, name)
		assert.Equal(t, want, got, name)
	}
}

func TestHostileArchivesAreRefused(t *testing.T) {
	zeros := strings.Repeat("\x00", script.MaxPackageFileBytes)
	many := make([]header, script.MaxPackageFiles+1)
	for i := range many {
		many[i] = file(fmt.Sprintf("f%d", i), "")
	}
	fill := make([]header, script.MaxPackageExpandedBytes/script.MaxPackageFileBytes+1)
	for i := range fill {
		fill[i] = file(fmt.Sprintf("f%d", i), zeros)
	}
	link := func(kind byte) header {
		return header{Header: tar.Header{Name: "a", Linkname: "/etc/passwd", Mode: 0o777, Typeflag: kind}}
	}
	global := make([]header, script.MaxPackageFiles+1)
	for i := range global {
		global[i] = header{Header: tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}}
	}
	lying := zipOf(t, file("a", strings.Repeat("a", 1000)))
	at := bytes.Index(lying, []byte("PK\x01\x02"))
	require.Positive(t, at)
	lying[at+24], lying[at+25] = 1, 0 // the size when it is expanded
	for name, c := range map[string]struct {
		archive []byte
		says    string
	}{
		"up and out of a tar":        {tarOf(t, file("../a", "x")), `"." or ".."`},
		"up and out of a zip":        {zipOf(t, file("a/../../b", "x")), `"." or ".."`},
		"an absolute name":           {tarOf(t, file("/etc/passwd", "x")), "absolute name"},
		"a drive":                    {zipOf(t, file("c:a", "x")), "absolute name"},
		"a backslash":                {zipOf(t, file(`..\a`, "x")), "absolute name"},
		"a symbolic link":            {tarOf(t, link(tar.TypeSymlink)), "is a link or a device"},
		"a symbolic link in a zip":   {zipOf(t, link(tar.TypeSymlink)), "is a link or a device"},
		"a hard link":                {tarOf(t, link(tar.TypeLink)), "is a link or a device"},
		"a device":                   {tarOf(t, link(tar.TypeChar)), "is a link or a device"},
		"a FIFO":                     {tarOf(t, link(tar.TypeFifo)), "is a link or a device"},
		"a name twice":               {tarOf(t, file("a", "x"), file("./a", "y")), "is there twice"},
		"a file that is a directory": {tarOf(t, file("a", "x"), file("a/b", "y")), "is there twice"},
		"names that differ in case":  {tarOf(t, file("A.ts", "x"), file("a.ts", "y")), "case of letters alone"},
		"directories that do":        {tarOf(t, file("Lib/a.ts", "x"), file("lib/b.ts", "y")), "case of letters alone"},
		"a name that hides":          {tarOf(t, file("a\u202eb", "x")), "can't be shown"},
		"a name with a line break":   {tarOf(t, file("a\nb", "x")), "can't be shown"},
		"a long name":                {tarOf(t, file(strings.Repeat("a", 513), "x")), "more than 512 bytes"},
		"deep directories":           {tarOf(t, file(strings.Repeat("a/", 32)+"a", "x")), "more than 32 directories deep"},
		"an empty part":              {tarOf(t, file("a//b", "x")), "empty part"},
		"too many files":             {gzipOf(t, tarOf(t, many...)), "more than 10000 entries"},
		"too many headers of a tar":  {gzipOf(t, tarOf(t, global...)), "more than 10000 entries"},
		"too many files in a zip":    {zipOf(t, many...), "more than 10000 entries"},
		"a long file":                {gzipOf(t, tarOf(t, file("a", zeros+"x"))), "is longer than"},
		"a long file in a zip":       {zipOf(t, file("a", zeros+"x")), "is longer than"},
		"a bomb":                     {gzipOf(t, tarOf(t, fill...)), "expands to more than"},
		"a bomb in a zip":            {zipOf(t, fill...), "expands to more than"},
		"a zip that lies":            {lying, "damaged"},
		"an end before the end":      {tarOf(t, file("a", "xyz"))[:513], "damaged"},
		"a gzip of nothing":          {gzipOf(t, []byte("hello")), "damaged"},
		"a gzip without its end":     {gzipOf(t, tarOf(t, file("a", "x")))[:40], "damaged"},
		"a text":                     {[]byte(declares), "no archive that is known"},
		"nothing":                    {nil, "no archive that is known"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := script.ReadArchive(c.archive)
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			assert.True(t, status.Convert(err).Public())
			assert.Contains(t, status.Convert(err).Message, c.says)
		})
	}
}

func TestImportsMeanWhatTheyMeanInNode(t *testing.T) {
	archive, err := txtar.ParseFile(filepath.Join("testdata", "package.txtar"))
	require.NoError(t, err)
	files := map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	s, err := bundled(t, files)
	require.NoError(t, err)
	code := string(s.Code)
	for _, value := range []string{
		`"src/sibling.ts"`, `"src/renamed.ts"`, `"src/directory/index.ts"`, `"src/data/letters.json"`, `"src/inner.ts"`, `"src/self.ts"`, `"src/lazy.mjs"`, `list: [1, 2]`,
		`"plain/lib/main.js"`, `"plain/lib/file.js"`, `"dual/esm.mjs"`, `"dual/cjs.cjs"`, `"dual/features/deep.js"`, `"@scope/pkg/m.js"`,
		`"outer with "`, `"outer/node_modules/shared"`, `"indexed/index.js"`, `"swapped/browser.js with "`, `"production"`,
	} {
		assert.Contains(t, code, value)
	}
	assert.NotContains(t, code, `"wrong"`)
	assert.Contains(t, code, `__require("genkit")`)
}

func TestTheEntryIsFound(t *testing.T) {
	other := `throw new Error("another file");`
	for name, files := range map[string]map[string]string{
		"genkit of package.json":       {"package.json": `{"genkit":"a/b.ts","main":"c.js"}`, "a/b.ts": declares, "c.js": other, "tool.ts": other},
		"module of package.json":       {"package.json": `{"module":"a","main":"c.js"}`, "a/index.ts": declares, "c.js": other},
		"main of package.json":         {"package.json": `{"main":"./c"}`, "c.ts": declares, "tool.ts": other},
		"a main that is not there":     {"package.json": `{"main":"index.js"}`, "tool.ts": declares},
		"tool.ts":                      {"tool.ts": declares, "main.ts": other, "index.ts": other},
		"main.mjs":                     {"main.mjs": declares, "index.ts": other},
		"src/index.js":                 {"src/index.js": declares, "lib/tool.ts": other},
		"a package.json of no meaning": {"package.json": `{"main":7,"browser":[],"exports":null}`, "index.ts": declares},
	} {
		s, err := bundled(t, files)
		require.NoError(t, err, name)
		assert.Contains(t, string(s.Code), `"x"`, name)
		assert.NotContains(t, string(s.Code), "another file", name)
	}
}

func TestAPackageThatIsWrongSaysWhere(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)
	for name, c := range map[string]struct {
		files map[string]string
		says  string
	}{
		"no entry":                  {map[string]string{"a.ts": declares, "b/c.ts": ""}, "no file to begin in"},
		"a genkit that is not":      {map[string]string{"package.json": `{"genkit":"../tool.ts"}`, "tool.ts": declares}, `"genkit": "../tool.ts"`},
		"a syntax error":            {map[string]string{"tool.ts": `import "./lib/a";`, "lib/a.ts": "let a: = 1;"}, `lib/a.ts:1:8: Unexpected "="`},
		"a module of Node":          {map[string]string{"tool.ts": "\nimport { readFileSync } from \"fs\"; readFileSync();"}, `tool.ts:2:30: the script imports "fs", a module of Node, which does not exist here`},
		"a module of node:":         {map[string]string{"tool.ts": `import "./a";`, "a.js": "\n\n  import 'node:net';"}, `a.js:3:10: the script imports "node:net", a module of Node`},
		"a module of a package":     {map[string]string{"tool.ts": `import "p";`, "node_modules/p/index.js": `require("child_process")`}, `node_modules/p/index.js:1:9: the script imports "child_process", a module of Node`},
		"a package that is not":     {map[string]string{"tool.ts": `import "left-pad";`}, `tool.ts:1:8: the script imports the package "left-pad", which is not in the upload; install it (npm install left-pad)`},
		"a file that is not":        {map[string]string{"tool.ts": `import "./a";`}, `tool.ts:1:8: the script imports "./a", and the upload has no such file`},
		"a file outside":            {map[string]string{"tool.ts": `import "../../etc/passwd";`}, "lies outside the upload"},
		"an absolute file":          {map[string]string{"tool.ts": `import "/etc/passwd";`}, "relative to the one that it stands in"},
		"a file by its URL":         {map[string]string{"tool.ts": `import "file:///etc/passwd";`}, "relative to the one that it stands in"},
		"an import of data":         {map[string]string{"tool.ts": `import "data:text/javascript,tool()";`}, "relative to the one that it stands in"},
		"an import of the network":  {map[string]string{"tool.ts": `import "https://esm.sh/zod";`}, "relative to the one that it stands in"},
		"a computed import":         {map[string]string{"tool.ts": "export const f = (a) => import(`../../../../../etc/${a}`);"}, "whose name is computed"},
		"a computed require":        {map[string]string{"tool.ts": "export const f = (a) => require(`./${a}.json`);"}, "whose name is computed"},
		"what is not exported":      {map[string]string{"tool.ts": `import "p/b";`, "node_modules/p/package.json": `{"exports":"./a.js"}`, "node_modules/p/a.js": "", "node_modules/p/b.js": ""}, `which node_modules/p/package.json does not export`},
		"an export that leads out":  {map[string]string{"tool.ts": `import "p";`, "node_modules/p/package.json": `{"exports":"./../../a.js"}`, "a.js": ""}, "names the file"},
		"an export of another":      {map[string]string{"tool.ts": `import "p";`, "node_modules/p/package.json": `{"exports":"./node_modules/q/a.js"}`, "node_modules/p/node_modules/q/a.js": ""}, "names the file"},
		"exports of a prototype":    {map[string]string{"tool.ts": `import "p/toString";`, "node_modules/p/package.json": `{"exports":{"__proto__":{"./toString":"./a.js"},".":"./a.js"}}`, "node_modules/p/a.js": ""}, "does not export"},
		"a package.json of nesting": {map[string]string{"tool.ts": `import "p";`, "node_modules/p/package.json": deep, "node_modules/p/index.js": ""}, "nested more than 32 deep"},
		"a long package.json":       {map[string]string{"package.json": strings.Repeat(" ", 2<<20) + "{}", "tool.ts": declares}, "package.json can't be read: it is longer"},
		"a kind that is unknown":    {map[string]string{"tool.ts": `import "./a.png";`, "a.png": "x"}, "a.png is of a kind that a script can't import"},
		"a file of no UTF-8":        {map[string]string{"tool.ts": "\xff"}, "tool.ts is not valid UTF-8"},
		"imports that go round":     {map[string]string{"package.json": `{"imports":{"#a":"#b","#b":"#a"}}`, "tool.ts": `import "#a";`}, `for which package.json says "#b"`},
		"too much that is imported": {map[string]string{"tool.ts": `import "./a"; import "./b";`, "a.ts": strings.Repeat(" ", script.MaxBundledBytes), "b.ts": " "}, "the files that the script imports have more than"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := bundled(t, c.files)
			require.ErrorIs(t, err, status.ErrInvalidArgument)
			assert.Contains(t, status.Convert(err).Message, c.says)
		})
	}
}

func TestImportsMeanWhatTSConfigSays(t *testing.T) {
	resolve := func(files map[string]string, name, importer string) (string, error) {
		tree := map[string][]byte{}
		for file, content := range files {
			tree[file] = []byte(content)
		}
		return script.Resolve(tree, name, importer)
	}
	files := map[string]string{
		"tsconfig.json": "\xef\xbb\xbf" + `{ // of the project
  "extends": ["@tsconfig/node22/tsconfig.json", "./base"],
  "compilerOptions": { /* , */ "paths": { "@/*": ["./absent/*", "./src/*"], "@/deep/*": ["src/far/*"], "exact": ["./src/a.ts",], "*.x": ["./src/*"], "out": ["../../b"], "types": ["./t.d.ts"], "odd": "x", }, },
}`,
		"base.json": `{"compilerOptions":{"baseUrl":"lib","paths":{"lost":["x"]}}}`,
		"src/a.ts":  "", "src/b/index.ts": "", "src/far/c.tsx": "", "lib/plain.ts": "", "lib/src/a.ts": "", "lib/src/b/index.ts": "", "lib/src/far/c.tsx": "", "b.ts": "", "t.d.ts": "", "lib/exact.js": "",
		"sub/tsconfig.json": `{"compilerOptions":{"paths":{"~":["./own"]}}}`, "sub/own.ts": "", "sub/deep/x.ts": "",
		"node_modules/plain/index.js": "", "node_modules/p/index.js": "", "node_modules/exact/index.js": "",
	}
	for _, c := range []struct{ name, importer, want string }{
		{"@/a", "tool.ts", "lib/src/a.ts"},
		{"@/a.js", "src/b/index.ts", "lib/src/a.ts"},
		{"@/b", "tool.ts", "lib/src/b/index.ts"},
		{"@/deep/c", "tool.ts", "lib/src/far/c.tsx"},
		{"exact", "tool.ts", "lib/src/a.ts"},
		{"a.x", "tool.ts", "lib/src/a.ts"},
		{"plain", "tool.ts", "lib/plain.ts"},
		{"p", "tool.ts", "node_modules/p/index.js"},
		{"~", "sub/deep/x.ts", "sub/own.ts"},
		{"plain", "sub/deep/x.ts", "node_modules/plain/index.js"},
		{"exact", "node_modules/p/index.js", "node_modules/exact/index.js"},
		{"genkit", "tool.ts", ""},
	} {
		got, err := resolve(files, c.name, c.importer)
		require.NoError(t, err, c.name)
		assert.Equal(t, c.want, got, "%s in %s", c.name, c.importer)
	}
	for _, name := range []string{"out", "types", "odd", "lost", "@/absent"} {
		_, err := resolve(files, name, "tool.ts")
		require.ErrorContains(t, err, "not in the upload", name)
	}
	for says, config := range map[string]string{
		"tsconfig.json can't be read":           `{"compilerOptions":`,
		"which the upload does not have":        `{"extends":"./none"}`,
		"files that extend each other":          `{"extends":["./tsconfig","./tsconfig","./tsconfig"]}`,
		"nested more than 32 deep":              strings.Repeat("[", 99),
		"tsconfig.json is longer than":          strings.Repeat(" ", 2<<20),
		"tsconfig.json can't be read: unexpect": `{"a":"/* no end`,
	} {
		_, err := resolve(map[string]string{"tsconfig.json": config, "p.ts": ""}, "p", "tool.ts")
		require.ErrorContains(t, err, says)
		_, err = resolve(map[string]string{"tsconfig.json": config, "p.ts": ""}, "./p", "tool.ts")
		require.NoError(t, err, "nothing has to be read for a relative import")
	}
	s, err := bundled(t, map[string]string{"tsconfig.json": `{"compilerOptions":{"paths":{"@/*":["./src/*"]}}}`, "tool.ts": `import { a } from "@/a"; tool(a);`, "src/a.ts": "export const a = 7;"})
	require.NoError(t, err)
	assert.Contains(t, string(s.Code), "7")
}

// TestBundlingOpensNoFiles runs without the process that can't open any: the plugin alone is to keep esbuild from the disk.
func TestBundlingOpensNoFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for name, content := range map[string]string{
		"canary.ts": "export default 'canary'", "canary.json": `"canary"`, "package.json": `{"name":"canary"}`, "tsconfig.json": "{canary", ".pnp.data.json": "{canary",
		"canary.map": `{"version":3,"sources":["canary.txt"],"mappings":"AAAA"}`, "node_modules/canary/index.js": "export default 'canary'",
	} {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	for _, name := range []string{"./canary", "./canary.json", "canary", dir + "/canary.ts", "file://" + dir + "/canary.ts", "../" + filepath.Base(dir) + "/canary"} {
		_, err := script.Bundle(tarOf(t, file("tool.ts", "import a from "+fmt.Sprintf("%q", name)+"; tool(a);")))
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
	for _, code := range []string{"(a) => import(`./can${a}`)", "(a) => require(`./${a}.json`)", "(a) => import('./' + a + '/x')"} {
		_, err := script.Bundle(tarOf(t, file("tool.ts", "export const f = "+code+"; tool(f);")))
		require.ErrorIs(t, err, status.ErrInvalidArgument, code)
		assert.NotContains(t, err.Error(), "canary", code)
	}
	source := "\n\n  null.x; tool();\n"
	for _, comment := range []string{
		"//# sourceMappingURL=canary.map", "//@ sourceMappingURL=" + dir + "/canary.map", "/*# sourceMappingURL=file://" + filepath.ToSlash(dir) + "/canary.map */",
		"//# sourceMappingURL=data:application/json,{\"version\":3,\"sources\":[\"canary.txt\"],\"mappings\":\"AAAA;AACA;AACA\"}",
	} {
		s, err := script.Bundle(tarOf(t, file("tool.ts", source+comment)))
		require.NoError(t, err, comment)
		assert.Equal(t, "at tool.ts:3:3", s.Locate("at "+placeOf(t, s, "null.x")), comment)
	}
}

// TestTheProcessThatBundlesCanNotOpenFiles is about the second lock.
func TestTheProcessThatBundlesCanNotOpenFiles(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no limit on open files; there the plugin that answers imports is all that keeps esbuild from them")
	}
	if os.Getenv("SCRIPT_TEST_SEALED") == "1" {
		require.NoError(t, script.Seal())
		f, err := os.Open(os.Args[0])
		if err == nil {
			f.Close()
		}
		require.Error(t, err)
		return
	}
	t.Setenv("SCRIPT_TEST_SEALED", "1")
	out, err := exec.CommandContext(t.Context(), self(t)[0], "-test.run=^TestTheProcessThatBundlesCanNotOpenFiles$").CombinedOutput()
	require.NoError(t, err, string(out))
}

func TestWithoutAProcessNothingIsBundled(t *testing.T) {
	_, err := script.TransformApart(t.Context(), nil, "x", script.Package, tarOf(t, file("tool.ts", declares)))
	require.ErrorIs(t, err, status.ErrFailedPrecondition)
	_, err = script.TransformApart(t.Context(), self(t), "x", script.Package, make([]byte, script.MaxPackageBytes+1))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestAHostilePackageEndsInItsProcess(t *testing.T) {
	if raced {
		t.Skip("under the race detector a process may take twelve times the time and memory")
	}
	_, err := bundled(t, map[string]string{"tool.ts": `import "./a";`, "a.ts": strings.Repeat("if(a)", 60_000) + ";"})
	require.Error(t, err)
	assert.Contains(t, []status.Code{status.ResourceExhausted, status.InvalidArgument}, status.Of(err), "%v", err)
	chain := map[string]string{"tool.ts": `import "./f0"; ` + declares}
	for i := range 5000 {
		chain[fmt.Sprintf("f%d.ts", i)] = fmt.Sprintf("import './f%d'; export const a%d = 1;", (i+1)%5000, i)
	}
	_, err = bundled(t, chain)
	require.NoError(t, err, "a long cycle of imports is none that is refused")
}

// placeOf is where a text stands in the code that the engine evaluates, as it says so.
func placeOf(t testing.TB, s *script.Script, text string) string {
	t.Helper()
	for i, line := range strings.Split(string(s.Code), "\n") {
		if at := strings.Index(line, text); at >= 0 {
			return fmt.Sprintf("<script>:%d:%d", i+1, at+1)
		}
	}
	t.Fatalf("no %q in %s", text, s.Code)
	return ""
}

func TestPlacesOfAPackageNameItsFiles(t *testing.T) {
	s, err := bundled(t, map[string]string{
		"package.json":              `{"genkit":"src/tool.ts"}`,
		"src/tool.ts":               "interface A { a: string }\n\nimport { fail } from './lib/fail';\nimport p from 'p';\n  first(p, fail);\n",
		"src/lib/fail.ts":           "type B = number;\nexport const fail = (b: B) => {\n    throw second(b);\n};\n",
		"node_modules/p/index.js":   "\n\n\nmodule.exports = () => third();",
		"node_modules/unused/a.mjs": "nothing()",
	})
	require.NoError(t, err)
	for text, want := range map[string]string{"first(": "src/tool.ts:5:3", "throw second": "src/lib/fail.ts:3:5", "third()": "node_modules/p/index.js:4:24"} {
		assert.Equal(t, "Error ("+want+")", s.Locate("Error ("+placeOf(t, s, text)+")"))
	}
	assert.Equal(t, "at the script", s.Locate("at <script>:1:1"), "what esbuild has added")
	many := strings.Repeat(placeOf(t, s, "throw second")+" ", script.MaxLocated+1)
	assert.Equal(t, script.MaxLocated, strings.Count(s.Locate(many), "src/lib/fail.ts:3:5"))
	assert.NotContains(t, s.Locate(many), "<script>")
}

// reference is the search by reading all mappings, from first to last.
func reference(files int, mappings string, line, column int) (file, originalLine, originalColumn int, ok bool) {
	const digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
	f, l, c := 0, 0, 0
	for n, fields := range strings.Split(mappings, ";") {
		generated := 0
		for field := range strings.SplitSeq(fields, ",") {
			var numbers []int
			value, shift := 0, 0
			for i := range len(field) {
				d := strings.IndexByte(digits, field[i])
				value |= (d & 31) << shift
				if shift += 5; d&32 != 0 {
					continue
				}
				if value&1 != 0 {
					value = -value
				}
				numbers = append(numbers, value/2)
				value, shift = 0, 0
			}
			if len(numbers) == 0 {
				continue
			}
			generated += numbers[0]
			if len(numbers) >= 4 {
				f, l, c = f+numbers[1], l+numbers[2], c+numbers[3]
				if n == line && generated <= column {
					file, originalLine, originalColumn, ok = f, l, c, true
				}
			}
		}
	}
	return file, originalLine, originalColumn, ok && file < files
}

// TestPlacesAreFoundWithoutReadingAllMappings compares the search that begins at a mark with one that reads everything.
func TestPlacesAreFoundWithoutReadingAllMappings(t *testing.T) {
	var b strings.Builder
	for line := range 400 {
		for column := range line % 60 {
			fmt.Fprintf(&b, "%c%c%c%c,", "CEGI"[column%4], "AAAC"[(line+column)/300%4], "ACA"[column%3], "CDE"[(line+column)%3])
		}
		b.WriteString(";")
	}
	mappings := b.String()
	require.Greater(t, script.Marks(mappings), 20)
	files := make([]string, 1_000_000)
	found := 0
	for line := 0; line < 410; line += 31 {
		for column := 0; column < 130; column += 13 {
			f, l, c, ok := script.Original(files, mappings, line, column)
			f2, l2, c2, ok2 := reference(len(files), mappings, line, column)
			require.Equal(t, ok2 && l2 >= 0 && c2 >= 0, ok, "%d:%d", line, column)
			if ok {
				found++
				require.Equal(t, []int{f2, l2, c2}, []int{f, l, c}, "%d:%d", line, column)
			}
		}
	}
	assert.Positive(t, found)
}

func FuzzMappings(f *testing.F) {
	f.Add("AAAA;AACA,IAAM", 1, 3)
	f.Add(";;;,,,gggggggggggg;+/", 3, 0)
	f.Add("AAAA,"+strings.Repeat("+", 10_000), 0, 1<<40)
	f.Add("A+/////DA+/////DA+/////D;A////////////A", -1, -1)
	f.Fuzz(func(t *testing.T, mappings string, line, column int) {
		files := []string{"a", "b"}
		file, l, c, ok := script.Original(files, mappings, line, column)
		if ok && (file < 0 || file >= len(files) || l < 0 || c < 0) {
			t.Errorf("the place %d:%d of file %d", l, c, file)
		}
		if most := len(mappings)/512 + 1; script.Marks(mappings) > most {
			t.Errorf("%d marks of %d bytes", script.Marks(mappings), len(mappings))
		}
	})
}

// FuzzReadArchive looks for panics, and for names that lead out of the archive.
func FuzzReadArchive(f *testing.F) {
	entries := []header{file("package.json", "{}"), file("a/tool.ts", declares)}
	f.Add(tarOf(f, entries...))
	f.Add(gzipOf(f, tarOf(f, entries...)))
	f.Add(zipOf(f, entries...))
	f.Fuzz(func(t *testing.T, archive []byte) {
		files, err := script.ReadArchive(archive)
		if err != nil {
			if status.Of(err) != status.InvalidArgument {
				t.Errorf("%v", err)
			}
			return
		}
		for name := range files {
			if !fs.ValidPath(name) || strings.ContainsAny(name, "\\:") {
				t.Errorf("the name %q", name)
			}
		}
	})
}

// FuzzManifest looks for panics of the reader of package.json and of resolution by it, and for files beyond the archive.
func FuzzManifest(f *testing.F) {
	f.Add(`{"exports":{".":{"import":"./a.js"},"./*":"./*.js"},"imports":{"#x":"p/a"},"browser":{"./a.js":"./b.js"}}`, "p/a")
	f.Add(`{"main":"../../a.js","module":"a","browser":"b.js"}`, "p")
	f.Add(`{"exports":[[[null,"./a.js"]]]}`, "#x")
	f.Fuzz(func(t *testing.T, manifest, name string) {
		files := map[string][]byte{"tool.ts": nil, "package.json": []byte(manifest), "node_modules/p/package.json": []byte(manifest), "node_modules/p/a.js": nil, "node_modules/p/b.js": nil}
		found, err := script.Resolve(files, name, "node_modules/p/a.js")
		if err == nil && found != "" && files[found] == nil {
			if _, there := files[found]; !there {
				t.Errorf("%q is no file of the archive", found)
			}
		}
	})
}
