package repo_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// pages calls f with each page of documentation and each source file of the repository.
func pages(t *testing.T, f func(path, text string)) {
	t.Helper()
	err := filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || name == "node_modules" || name == "build" || name != "." && strings.HasPrefix(name, ".") {
				return filepath.SkipDir
			}
			return nil
		}
		ext := filepath.Ext(path)
		if ext != ".md" && (ext != ".go" || strings.HasSuffix(path, "_test.go")) && d.Name() != "Makefile" && d.Name() != "package.json" {
			return nil
		}
		raw, err := os.ReadFile(path)
		if err == nil {
			f(filepath.ToSlash(path), string(raw))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestAssemblyScriptsCompilerComesFromItsPackage holds every place that runs asc to
// installing the package assemblyscript before: "npx asc" alone runs a stranger's package.
func TestAssemblyScriptsCompilerComesFromItsPackage(t *testing.T) {
	runs := regexp.MustCompile(`(?m)^[^#\n]*\bnpx (-\S+ )*asc\b`)
	other := regexp.MustCompile(`\bnpm (i|install|ci)\b[^\n]*\bassemblyscript@\d+\.\d+\.\d+|\bnpm ci\b`)
	found := 0
	pages(t, func(path, text string) {
		for _, at := range runs.FindAllStringIndex(text, -1) {
			found++
			installs := other.FindStringIndex(text)
			if installs == nil || installs[0] > at[0] {
				t.Errorf("%s: %q, and no line before it installs assemblyscript in a version", path, strings.TrimSpace(text[at[0]:at[1]]))
			}
		}
	})
	if found == 0 {
		t.Error("no page shows how to run asc")
	}
}

// TestAKitInGoIsNamedWithItsReplaceLine holds every page that has somebody require the kit
// in Go to the replace line without which an untagged module is not found.
func TestAKitInGoIsNamedWithItsReplaceLine(t *testing.T) {
	const kit = "github.com/genkit-wasm/genkit-wasm/pdk/go"
	names := regexp.MustCompile(`(?m)^.*(require[ =]|go get |go mod edit|import pdk |import \().*$`)
	found := 0
	pages(t, func(path, text string) {
		if filepath.Ext(path) != ".md" {
			return
		}
		shown := false
		for _, line := range names.FindAllString(text, -1) {
			shown = shown || strings.Contains(line, kit)
		}
		if !shown {
			return
		}
		found++
		if !regexp.MustCompile(`replace[ =]` + regexp.QuoteMeta(kit) + ` ?=>? ?\S+`).MatchString(text) {
			t.Errorf("%s names the kit in Go without the line that replaces it by a folder", path)
		}
	})
	if found < 1 {
		t.Error("no page names the kit")
	}
}
