package script_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

func TestMain(m *testing.M) {
	script.Child()
	goleak.VerifyTestMain(m)
}

// self starts this test again as a process that transforms.
func self(t testing.TB) []string {
	t.Helper()
	path, err := os.Executable()
	require.NoError(t, err)
	return []string{path}
}

func TestTheEngineIsAModuleOfTheContract(t *testing.T) {
	file := jsenginetest.File(t)
	wasm, err := script.Engine(file)
	require.NoError(t, err)
	again, err := script.Engine(bytes.Clone(file))
	require.NoError(t, err)
	assert.Equal(t, wasm, again, "the code cache goes by its bytes")
	m, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err, "an upload's limits hold for it")
	var exports []string
	for _, e := range m.Exports {
		exports = append(exports, e.Name)
	}
	assert.Equal(t, []string{"memory", "_initialize", "genkit_setup", "genkit_call", "genkit_describe"}, exports)
	for _, i := range m.Imports {
		assert.Contains(t, []string{"genkit_v1", "wasi_snapshot_preview1"}, i.Module, i.Name)
	}
	assert.Empty(t, m.Custom)

	file = bytes.Clone(file)
	file[len(file)/2] ^= 1
	_, err = script.Engine(file)
	require.ErrorIs(t, err, status.ErrInvalidArgument, "other bytes are no engine")
	assert.Contains(t, err.Error(), script.EngineDigest)
}

func TestAScriptIsTransformedOrSaysWhereItIsWrong(t *testing.T) {
	for name, c := range map[string]struct {
		language script.Language
		source   string
		code     string // is in it
		wrong    string // or the error
	}{
		"types go":                        {script.TypeScript, "interface A { b: number }\nconst a = <T,>(x: T): T => x as T;\na({ b: 1 } satisfies A);", "const a = (x) => x;", ""},
		"an enum stays":                   {script.TypeScript, "enum E { A = 3 }\nconsole.log(E.A);", `["A"] = 3]`, ""},
		"JavaScript":                      {script.JavaScript, "tool({ name: `x` });", "tool(", ""},
		"an import of the prelude":        {script.TypeScript, `import { tool } from "genkit"; tool({});`, `require("genkit")`, ""},
		"an import of types alone":        {script.TypeScript, `import type { A } from "./types"; let a: A;`, "let a", ""},
		"types in JavaScript":             {script.JavaScript, "let a: number = 1;", "", `x.js:1:6: Expected`},
		"a syntax error":                  {script.TypeScript, "const a = 1;\n\n  const b = ;", "", `x.ts:3:13: Unexpected ";"`},
		"several":                         {script.TypeScript, "break;\ncontinue;", "", "x.ts:1:1: Cannot use \"break\" here:\nx.ts:2:1: "},
		"await at the top":                {script.TypeScript, "await 1;", "", "x.ts:1:1: top-level await is not supported (a script is evaluated"},
		"no UTF-8":                        {script.TypeScript, "\xff", "", "x.ts is not valid UTF-8"},
		"a NUL in a text":                 {script.TypeScript, "const a = 'a\x00b'; console.log(a);", `"a\0b"`, ""},
		"characters beyond ASCII":         {script.TypeScript, "console.log('zürich 🎉');", `z\xFCrich \u{1F389}`, ""},
		"a language that is none":         {script.TypeScript, "<html></html>", "", "x.ts:1:"},
		"a text that looks like a module": {script.JavaScript, "\x00asm\x01\x00\x00\x00", "", "x.js:1:1: "},
	} {
		t.Run(name, func(t *testing.T) {
			file := map[script.Language]string{script.TypeScript: "x.ts", script.JavaScript: "x.js"}[c.language]
			for how, command := range map[string][]string{"here": nil, "in a process": self(t)} {
				s, err := script.TransformApart(t.Context(), command, file, c.language, []byte(c.source))
				if c.wrong != "" {
					require.ErrorIs(t, err, status.ErrInvalidArgument, how)
					assert.Contains(t, status.Convert(err).Message, c.wrong, how)
					continue
				}
				require.NoError(t, err, how)
				assert.Contains(t, string(s.Code), c.code, how)
				assert.NotContains(t, string(s.Code), "\x00")
			}
		})
	}
}

// TestTransformingReadsNoFiles gives a script the names of files that would change the result if they were read, or
// break it.
func TestTransformingReadsNoFiles(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	source := "import { a } from './secret';\nimport data from './data.json';\nexport const b = (a, data);\n"
	clean, err := script.Transform("tool.ts", script.TypeScript, []byte(source))
	require.NoError(t, err)
	for name, content := range map[string]string{
		"secret.ts": "export const a = 'canary'", "data.json": `"canary"`, "tool.ts": "canary", "tool.ts.map": "canary",
		"tsconfig.json": "{canary", "package.json": "{canary",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	for _, comment := range []string{"", "//# sourceMappingURL=tool.ts.map\n", "//# sourceMappingURL=" + filepath.Join(dir, "tool.ts.map") + "\n", "//# sourceMappingURL=file://" + dir + "/tool.ts.map\n"} {
		s, err := script.Transform("tool.ts", script.TypeScript, []byte(source+comment))
		require.NoError(t, err, comment)
		assert.Equal(t, string(clean.Code), strings.Replace(string(s.Code), comment, "", 1), comment)
	}
}

// hostileSources take more time or memory than their size allows, or as much stack as there is.
func TestHostileSourcesEndInTheirProcess(t *testing.T) {
	if raced {
		t.Skip("under the race detector a process may take twelve times the time and memory")
	}
	const n = 256 << 10
	for name, source := range map[string]string{
		"deep if":          strings.Repeat("if(a)", n/5) + ";",
		"deep functions":   strings.Repeat("x(()=>{", n/7) + strings.Repeat("})", n/7),
		"a list of commas": strings.Repeat("a,", n/2) + "1",
		"nested arrows":    strings.Repeat("a=>", n/3) + "1",
	} {
		t.Run(name, func(t *testing.T) {
			_, err := script.TransformApart(t.Context(), self(t), "x.ts", script.TypeScript, []byte(source))
			require.Error(t, err)
			assert.Contains(t, []status.Code{status.ResourceExhausted, status.InvalidArgument}, status.Of(err), "%v", err)
		})
	}
}

func TestSizesAreBounded(t *testing.T) {
	for name, c := range map[string]struct {
		command []string
		most    int
	}{"here": {nil, script.MaxHere}, "in a process": {self(t), script.MaxBytes}} {
		fits := []byte("let a; //" + strings.Repeat("x", c.most-9))
		_, err := script.TransformApart(t.Context(), c.command, "x.js", script.JavaScript, fits)
		require.NoError(t, err, name)
		_, err = script.TransformApart(t.Context(), c.command, "x.js", script.JavaScript, append(fits, 'x'))
		require.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
}

func TestPlacesAreThoseOfTheAuthor(t *testing.T) {
	source := "// a comment\ninterface A {\n  b: number;\n}\n\nconst f = (x: number): number => {\n  throw new Error(`no ${x}`);\n};\n"
	s, err := script.Transform("tool.ts", script.TypeScript, []byte(source))
	require.NoError(t, err)
	line, column := 0, 0
	for i, text := range strings.Split(string(s.Code), "\n") {
		if at := strings.Index(text, "throw"); at >= 0 {
			line, column = i+1, at+1
		}
	}
	require.NotZero(t, line, "%s", s.Code)
	assert.Equal(t, "Error: no (tool.ts:7:3) and (tool.ts:7:3)",
		s.Locate(fmt.Sprintf("Error: no (<script>:%d:%d) and (<script>:%d:%d)", line, column, line, column)))
	assert.Equal(t, "at tool.ts", s.Locate("at <script>:1:1"), "what esbuild has added")
	assert.Equal(t, "at tool.ts", s.Locate("at <script>:99999:1"))
	assert.Equal(t, "<script> <script>:x", s.Locate("<script> <script>:x"))
}

// FuzzTransform looks for panics and for code that the engine would not read to its end.
func FuzzTransform(f *testing.F) {
	f.Add("tool({ name: 'x', run: () => 1 })", true)
	f.Add("enum A { B = `${1}` }", true)
	f.Add("a<b>(c)", false)
	f.Fuzz(func(t *testing.T, source string, typed bool) {
		if len(source) > 1<<12 {
			return
		}
		language := script.JavaScript
		if typed {
			language = script.TypeScript
		}
		s, err := script.Transform("x", language, []byte(source))
		if err != nil {
			if status.Of(err) != status.InvalidArgument {
				t.Errorf("%v", err)
			}
			return
		}
		if bytes.IndexByte(s.Code, 0) >= 0 {
			t.Errorf("a NUL in %q", s.Code)
		}
	})
}
