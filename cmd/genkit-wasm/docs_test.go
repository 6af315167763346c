package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// pageFile is a block of a page that is a file: after its language it says "file=" and the name.
var pageFile = regexp.MustCompile("(?ms)^```(\\w+) file=(\\S+)\n(.*?)^```$")

// section is a part of a page of documentation with files: sources, and the cases that they pass.
type section struct {
	page, heading string
	files         map[string]string
	language      string // of the first file
}

// sections reads the parts of a page that begin with headings of the second level and have files.
func sections(t *testing.T, page string) []section {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join("../../docs", page))
	require.NoError(t, err)
	var found []section
	for _, part := range strings.Split(string(raw), "\n## ")[1:] {
		s := section{page: page, files: map[string]string{}}
		s.heading, part, _ = strings.Cut(part, "\n")
		for _, block := range pageFile.FindAllStringSubmatch(part, -1) {
			if s.language == "" || s.language == "json" {
				s.language = block[1]
			}
			assert.NotContains(t, s.files, block[2], "%s: %s has a file twice", page, s.heading)
			s.files[block[2]] = block[3]
		}
		if len(s.files) > 0 {
			found = append(found, s)
		}
	}
	require.NotEmpty(t, found, page)
	return found
}

// write puts the files into a directory.
func (s *section) write(t *testing.T, dir string) {
	t.Helper()
	for name, text := range s.files {
		require.NoError(t, os.WriteFile(filepath.Join(dir, filepath.FromSlash(name)), []byte(text), 0o600))
	}
}

// test runs the cases of a section, and the hostile inputs that are made from its schemas, in the directory that its language begins
// with.
func (s *section) test(t *testing.T, engine string) {
	t.Helper()
	dir := t.TempDir()
	language := map[string]string{"go": "go", "rust": "rust", "c": "c", "cpp": "cpp"}[s.language]
	if language != "" {
		needsToolchain(t, language)
		dir = newProject(t, language, "greeter")
		for _, source := range []string{"greet.go", "greeter.c"} { // the page's sources take its place
			_ = os.Remove(filepath.Join(dir, source))
		}
	}
	s.write(t, dir)
	got := cli(t, "test", dir, "--engine", engine)
	assert.Equal(t, exitOK, got.exit, "%s: %s\n%s\n%s", s.page, s.heading, got.out, got.err)
}

func engineFlag(t *testing.T) string {
	t.Helper()
	return "javascript=" + write(t, "qjs.wasm", string(jsenginetest.File(t)))
}

// TestTheCookbookIsTrue runs each recipe as "genkit-wasm test" does for an author.
func TestTheCookbookIsTrue(t *testing.T) {
	engine := engineFlag(t)
	recipes := sections(t, "cookbook.md")
	require.GreaterOrEqual(t, len(recipes), 20)
	page, err := os.ReadFile("../../docs/cookbook.md")
	require.NoError(t, err)
	for _, recipe := range recipes {
		t.Run(recipe.heading, func(t *testing.T) {
			if (testing.Short() || raced) && !slices.Contains([]string{"slug", "luhn", "weather"}, recipe.heading) {
				t.Skip("compiles the engine of scripts anew, which takes seconds; make long runs all recipes")
			}
			assert.Contains(t, string(page), "["+recipe.heading+"](#"+recipe.heading+")", "the table lacks it")
			require.Contains(t, recipe.files, "cases.yaml")
			recipe.test(t, engine)
		})
	}
}

// TestPagesOfLanguagesAreTrue runs the tools that the page of each language shows.
func TestPagesOfLanguagesAreTrue(t *testing.T) {
	engine := engineFlag(t)
	for page, language := range map[string]string{"go.md": "go", "typescript.md": "ts", "rust.md": "rust", "c.md": "c", "cpp.md": "cpp"} {
		t.Run(page, func(t *testing.T) {
			skipInShortRuns(t, language)
			found := sections(t, page)
			require.Len(t, found, 2)
			for _, s := range found {
				s.test(t, engine)
			}
		})
	}
	t.Run("assemblyscript.md", func(t *testing.T) {
		for _, s := range sections(t, "assemblyscript.md") {
			file := compileAssemblyScript(t, &s)
			got := cli(t, "test", file)
			assert.Equal(t, exitOK, got.exit, "%s\n%s\n%s", s.heading, got.out, got.err)
		}
	})
}

// compileAssemblyScript runs the page's command in a directory with the kit and the section's files.
func compileAssemblyScript(t *testing.T, s *section) string {
	t.Helper()
	const kit, modules = "../../pdk/assemblyscript", "../../pdk/conformance/assemblyscript/node_modules"
	if _, err := os.Stat(filepath.Join(modules, "assemblyscript")); err != nil {
		peer.Missing(t, "make -C pdk/conformance/assemblyscript node_modules brings AssemblyScript's compiler")
	}
	dir := t.TempDir()
	assembly := filepath.Join(dir, "assembly")
	require.NoError(t, os.CopyFS(assembly, os.DirFS(kit)))
	s.write(t, assembly)
	require.NoError(t, os.Rename(filepath.Join(assembly, "cases.yaml"), filepath.Join(dir, "cases.yaml")))
	installed, err := filepath.Abs(modules)
	require.NoError(t, err)
	require.NoError(t, os.Symlink(installed, filepath.Join(dir, "node_modules")))
	page, err := os.ReadFile("../../docs/assemblyscript.md")
	require.NoError(t, err)
	command := regexp.MustCompile(`(?s)npx --no-install asc .*?--outFile tool\.wasm`).FindString(string(page))
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", command)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s\n%s", command, out)
	return filepath.Join(dir, "tool.wasm")
}

// TestThePageForPeopleFromElsewhereIsTrue runs what its sections show of the other side's code in the form that it has here.
func TestThePageForPeopleFromElsewhereIsTrue(t *testing.T) {
	engine := engineFlag(t)
	for _, s := range sections(t, "coming-from.md") {
		t.Run(s.heading, func(t *testing.T) {
			if descriptor, ok := s.files["descriptor.json"]; ok {
				runsVowels(t, descriptor)
				return
			}
			if s.language == "rust" {
				skipInShortRuns(t, s.language)
			}
			s.test(t, engine)
		})
	}
}

// runsVowels runs Extism's own plug-in with the descriptor.
func runsVowels(t *testing.T, descriptor string) {
	t.Helper()
	got := cli(t, "run", extism(t, "count_vowels.wasm"), "count_vowels", "--descriptor", write(t, "descriptor.json", descriptor), "--input", `"Hello"`)
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Regexp(t, `"count": ?2\b`, got.out)
}
