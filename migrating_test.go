package repo_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// tableRow is a row of docs/migrating.md: a name of Genkit Go, and ours or a dash.
var tableRow = regexp.MustCompile("(?m)^\\| `([^`]+)` \\| (?:`([^`]+)`|—) \\| (.*) \\|$")

// qualified is a name of ours in a row's last column, such as `tool.IsResumed`.
var qualified = regexp.MustCompile("`([a-z]+\\.[A-Z][A-Za-z.]*)`")

// TestTheMigrationTableIsTrue holds docs/migrating.md to both sides: it has each name that
// Genkit Go exports, once, and every name of ours in it exists.
func TestTheMigrationTableIsTrue(t *testing.T) {
	page, err := os.ReadFile("docs/migrating.md")
	require.NoError(t, err)
	list, err := os.ReadFile("test/oracle/names/genkit-go.txt")
	require.NoError(t, err)
	ours := exportedNames(t)
	missing := map[string]bool{}
	version := ""
	for line := range strings.Lines(string(list)) {
		if name := strings.TrimSpace(line); strings.HasPrefix(name, "#") {
			version = strings.TrimPrefix(strings.TrimSuffix(strings.Fields(name)[2], ":"), "v")
		} else {
			missing[name] = true
		}
	}
	assert.Contains(t, string(page), "Genkit Go "+version)
	assert.Greater(t, len(missing), 300)
	for _, row := range tableRow.FindAllStringSubmatch(string(page), -1) {
		theirs, name, note := row[1], row[2], row[3]
		assert.True(t, missing[theirs], "Genkit Go does not export %s, or it stands there twice", theirs)
		delete(missing, theirs)
		if name == "" {
			assert.NotEmpty(t, note, "%s: nothing stands for it, and nobody says why", theirs)
			continue
		}
		assert.True(t, ours[name], "%s: there is no %s", theirs, name)
		for _, q := range qualified.FindAllStringSubmatch(note, -1) {
			assert.True(t, ours[q[1]] || strings.HasPrefix(q[1], "context."), "%s: there is no %s", theirs, q[1])
		}
	}
	assert.Empty(t, missing, "names of Genkit Go that the table lacks")
}

// exportedNames returns the exported names of the packages of the engine and the built-ins, as
// "package.Name", and methods as "package.Type.Method".
func exportedNames(t *testing.T) map[string]bool {
	t.Helper()
	names := map[string]bool{}
	for _, root := range []string{"engine", "builtin"} {
		err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (d.Name() == "internal" || d.Name() == "testdata") {
				return fs.SkipDir
			}
			if !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return nil
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			for _, decl := range f.Decls {
				for _, name := range declared(decl) {
					names[f.Name.Name+"."+name] = true
				}
			}
			return nil
		})
		require.NoError(t, err)
	}
	return names
}

// declared returns the exported names of a declaration.
func declared(decl ast.Decl) (names []string) {
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if !d.Name.IsExported() {
			return nil
		}
		if d.Recv == nil {
			return []string{d.Name.Name}
		}
		of := d.Recv.List[0].Type
		if p, ok := of.(*ast.StarExpr); ok {
			of = p.X
		}
		switch generic := of.(type) {
		case *ast.IndexExpr:
			of = generic.X
		case *ast.IndexListExpr:
			of = generic.X
		}
		if id, ok := of.(*ast.Ident); ok && id.IsExported() {
			return []string{id.Name + "." + d.Name.Name}
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			switch s := spec.(type) {
			case *ast.TypeSpec:
				names = append(names, s.Name.Name)
			case *ast.ValueSpec:
				for _, id := range s.Names {
					names = append(names, id.Name)
				}
			}
		}
	}
	return names
}
