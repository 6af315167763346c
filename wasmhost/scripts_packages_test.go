package wasmhost_test

import (
	"archive/tar"
	"bytes"
	"maps"
	"path/filepath"
	"slices"
	"testing"

	"github.com/rogpeppe/go-internal/txtar"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// packaged is an upload of several files.
func packaged(t testing.TB, name string, files map[string]string) wasmhost.Upload {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, file := range slices.Sorted(maps.Keys(files)) {
		require.NoError(t, w.WriteHeader(&tar.Header{Name: file, Mode: 0o644, Size: int64(len(files[file])), Typeflag: tar.TypeReg}))
		_, err := w.Write([]byte(files[file]))
		require.NoError(t, err)
	}
	require.NoError(t, w.Close())
	return wasmhost.Upload{Name: name, Language: script.Package, Wasm: b.Bytes()}
}

// packageHost is a scriptHost that has a process for bundling.
func packageHost(t testing.TB) *wasmhost.Host {
	t.Helper()
	return scriptHost(t, func(c *wasmhost.Config) { c.Compiler = program })
}

func TestAPackageOfSeveralFilesIsATool(t *testing.T) {
	h := packageHost(t)
	archive, err := txtar.ParseFile(filepath.Join("script", "testdata", "package.txtar"))
	require.NoError(t, err)
	files := map[string]string{}
	for _, f := range archive.Files {
		files[f.Name] = string(f.Data)
	}
	up := packaged(t, "results", files)
	rec, err := h.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	assert.Equal(t, "package", rec.Language)
	assert.Equal(t, module.Digest(up.Wasm), rec.Digest, "what is hashed is the upload's bytes")
	out, err := call(t, h, "results/results", `null`)
	require.NoError(t, err)
	assert.JSONEq(t, `{
		"sibling": "src/sibling.ts", "renamed": "src/renamed.ts", "directory": "src/directory/index.ts", "data": 2, "inner": "src/inner.ts",
		"letters": "src/data/letters.json", "plain": "plain/lib/main.js", "hash": "plain/lib/main.js", "file": "plain/lib/file.js", "esm": "dual/esm.mjs",
		"required": "dual/cjs.cjs", "feature": "dual/features/deep.js", "scoped": "@scope/pkg/m.js", "nested": "outer with outer/node_modules/shared",
		"indexed": "indexed/index.js", "self": "src/self.ts", "odd": true, "swapped": "swapped/browser.js with 0", "optional": "absent", "env": "production",
		"lazy": "src/lazy.mjs"}`, out)
	again, err := h.Load(t.Context(), tenant, up)
	require.NoError(t, err)
	assert.False(t, again.Changed)
}

func TestErrorsOfAPackageNameItsFiles(t *testing.T) {
	h := packageHost(t)
	files := map[string]string{
		"tool.ts":      "import { tool } from 'genkit';\nimport { fail } from './lib/fail';\ntool({ name: 'fail', description: 'x', run: (how: string) => fail(how) });\n",
		"lib/fail.ts":  "type How = string;\nexport const fail = (how: How) => {\n  if (how === 'slow') return null;\n    throw new RangeError(how);\n};\n",
		"package.json": `{"type":"module"}`,
	}
	_, err := h.Load(t.Context(), tenant, packaged(t, "m", files))
	require.NoError(t, err)
	_, err = call(t, h, "m/fail", `"now"`)
	require.ErrorIs(t, err, status.ErrInternal)
	assert.Equal(t, "RangeError: now (lib/fail.ts:4:15)", status.Convert(err).Message)

	files["lib/fail.ts"] = "\n\nexport const fail = (() => { throw new TypeError('at the top'); })();"
	_, err = h.Load(t.Context(), tenant, packaged(t, "m", files))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, status.Convert(err).Message, "lib/fail.ts:3:")
	files["lib/fail.ts"] = "import { readFileSync } from 'node:fs';\nexport const fail = readFileSync;"
	_, err = h.Load(t.Context(), tenant, packaged(t, "m", files))
	require.ErrorIs(t, err, status.ErrInvalidArgument)
	assert.Contains(t, status.Convert(err).Message, `lib/fail.ts:1:30: the script imports "node:fs", a module of Node`)
	out, err := call(t, h, "m/fail", `"slow"`)
	require.NoError(t, err, "the revision before is in service")
	assert.Equal(t, "null", out)
}
