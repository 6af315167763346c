//go:build unix

package faces_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/internal/scaffold"
)

// TestTypeScriptTakesTheTypesOfScripts has the compiler check what "new ts" writes, the examples, and testdata/types.ts, which
// has what must be refused, too.
func TestTypeScriptTakesTheTypesOfScripts(t *testing.T) {
	modules := nodeModules(t)
	compiler := filepath.Join(modules, "typescript", "bin", "tsc")
	if _, err := os.Stat(compiler); err != nil {
		peer.Missing(t, "TypeScript is not installed: run make faces")
	}
	dir := filepath.Join(t.TempDir(), "project")
	language, _ := scaffold.Find("ts")
	files, err := scaffold.Project{Language: language, Name: "tool"}.Files()
	require.NoError(t, err)
	require.NoError(t, scaffold.Write(dir, files))
	examples, err := filepath.Glob("../../examples/*/*.ts")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, name := range append(examples, "testdata/types.ts") {
		source, err := os.ReadFile(name)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.Base(name)), source, 0o600))
	}
	page, err := os.ReadFile("../../docs/scripts.md")
	require.NoError(t, err)
	for i, block := range regexp.MustCompile("(?ms)^```ts\nimport(.*?)^```").FindAllStringSubmatch(string(page), -1) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("page%d.ts", i)), []byte("import"+block[1]), 0o600))
	}
	for folder, name := range map[string]string{"zod4": "zod", "typebox": "typebox", "@sinclair/typebox": "@sinclair/typebox"} {
		require.NoError(t, os.CopyFS(filepath.Join(dir, "node_modules", filepath.FromSlash(name)), os.DirFS(filepath.Join(modules, filepath.FromSlash(folder)))))
	}
	cmd := exec.CommandContext(t.Context(), "node", compiler, "--project", dir)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
}
