package scaffold_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/scaffold"
)

func project(t *testing.T, language, name string) scaffold.Project {
	t.Helper()
	l, known := scaffold.Find(language)
	require.True(t, known, language)
	return scaffold.Project{Language: l, Name: name}
}

func contents(t *testing.T, p scaffold.Project) map[string]string {
	t.Helper()
	files, err := p.Files()
	require.NoError(t, err)
	all := map[string]string{}
	for _, f := range files {
		require.NotContains(t, all, f.Path)
		all[f.Path] = string(f.Content)
	}
	return all
}

func TestEveryLanguageHasAWholeProject(t *testing.T) {
	for _, l := range scaffold.Languages() {
		p := scaffold.Project{Language: l, Name: "the.name-1"}
		files := contents(t, p)
		for _, want := range []string{"README.md", "cases.yaml", ".gitignore", p.Source()} {
			assert.Contains(t, files, want, l.Name)
		}
		for path, text := range files {
			assert.NotContains(t, text, "<%", "%s: %s", l.Name, path)
			assert.True(t, strings.HasSuffix(text, "\n"), "%s: %s ends without a newline", l.Name, path)
			assert.NotContains(t, path, "NAME", l.Name)
		}
		assert.Contains(t, files["README.md"], "genkit-wasm upload "+p.Artifact(), l.Name)
		assert.Equal(t, !p.Script(), strings.Contains(files["README.md"], "genkit-wasm build"), l.Name)
	}
}

func TestFilesOfTheKitsAreThoseOfTheRepository(t *testing.T) {
	for place, original := range map[[2]string]string{
		{"c", "genkit.h"}:          "../../pdk/c/genkit.h",
		{"cpp", "json.h"}:          "../../pdk/c/json.h",
		{"cpp", "number.h"}:        "../../pdk/c/number.h",
		{"cpp", "actions.h"}:       "../../pdk/c/actions.h",
		{"rust", "src/genkit.rs"}:  "../../pdk/rust/genkit.rs",
		{"rust", "src/json.rs"}:    "../../pdk/rust/json.rs",
		{"rust", "src/actions.rs"}: "../../pdk/rust/actions.rs",
		{"ts", "genkit-wasm.d.ts"}: "../../pdk/ts/genkit-wasm.d.ts",
	} {
		want, err := os.ReadFile(original)
		require.NoError(t, err)
		assert.Equal(t, string(want), contents(t, project(t, place[0], "x"))[place[1]])
	}
}

func TestGoNamesTheKit(t *testing.T) {
	p := project(t, "go", "x")
	assert.Contains(t, contents(t, p)["go.mod"], "require "+scaffold.Kit+" v0.0.0\n")
	assert.NotContains(t, contents(t, p)["go.mod"], "replace")
	assert.Contains(t, contents(t, p)["README.md"], "go mod edit -replace="+scaffold.Kit+"=")

	p.KitVersion = "v1.2.3"
	assert.Contains(t, contents(t, p)["go.mod"], "require "+scaffold.Kit+" v1.2.3\n")
	assert.Contains(t, contents(t, p)["README.md"], "go mod tidy")

	p.KitDir = "/a/b"
	assert.Contains(t, contents(t, p)["go.mod"], "\nreplace "+scaffold.Kit+" => /a/b\n")
	p.KitDir = "/with space/\"b"
	assert.Contains(t, contents(t, p)["go.mod"], ` => "/with space/\"b"`+"\n")
}

func TestCratesHaveNamesThatCargoTakes(t *testing.T) {
	for name, want := range map[string]string{"a.b": "a-b", "1a": "tool-1a", "a_b-c": "a_b-c"} {
		assert.Contains(t, contents(t, project(t, "rust", name))["Cargo.toml"], "\nname = \""+want+"\"\n")
	}
}

func TestFindTakesNamesAndTitles(t *testing.T) {
	for text, want := range map[string]string{"cpp": "cpp", "C++": "cpp", "TypeScript": "ts", "RUST": "rust"} {
		l, known := scaffold.Find(text)
		assert.True(t, known, text)
		assert.Equal(t, want, l.Name)
	}
	_, known := scaffold.Find("cobol")
	assert.False(t, known)
}

func TestWriteReplacesNothing(t *testing.T) {
	files := []scaffold.File{{Path: "a", Content: []byte("new")}, {Path: "b/c", Content: []byte("deep")}}
	dir := filepath.Join(t.TempDir(), "x", "y")
	require.NoError(t, scaffold.Write(dir, files))
	got, err := os.ReadFile(filepath.Join(dir, "b", "c"))
	require.NoError(t, err)
	assert.Equal(t, "deep", string(got))

	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("mine"), 0o600))
	require.ErrorIs(t, scaffold.Write(dir, files), scaffold.ErrNotEmpty)
	got, err = os.ReadFile(filepath.Join(dir, "a"))
	require.NoError(t, err)
	assert.Equal(t, "mine", string(got))

	require.Error(t, scaffold.Write(filepath.Join(dir, "a"), files), "that is a file")
	outside := []scaffold.File{{Path: "../escape", Content: nil}}
	require.Error(t, scaffold.Write(t.TempDir(), outside))
}
