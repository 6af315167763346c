// Command names writes the list of what Genkit Go exports, which docs/migrating.md has to
// cover: functions and types, one a line, of the packages that an application meets. Run it
// in this module after Genkit Go was updated:
//
//	go run ./names > names/genkit-go.txt
package main

import (
	"context"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// module is Genkit Go's, packages are those that are listed.
const module = "github.com/firebase/genkit/go"

var packages = []string{"genkit", "ai", "core"}

func main() {
	if err := list(context.Background(), os.Stdout); err != nil { //nolint:forbidigo // a program has no caller
		slog.New(slog.NewTextHandler(os.Stderr, nil)).Error("names", slog.Any("error", err))
		os.Exit(1)
	}
}

// list writes the version and the names.
func list(ctx context.Context, w io.Writer) error {
	out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}} {{.Dir}}", module).Output()
	if err != nil {
		return fmt.Errorf("find %s: %w", module, err)
	}
	version, dir, _ := strings.Cut(strings.TrimSpace(string(out)), " ")
	if _, err := fmt.Fprintf(w, "# %s %s: exported functions and types\n", module, version); err != nil {
		return err
	}
	for _, name := range packages {
		names, err := exported(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		for _, n := range names {
			if _, err := fmt.Fprintf(w, "%s.%s\n", name, n); err != nil {
				return err
			}
		}
	}
	return nil
}

// exported returns the functions and types that a package exports, sorted.
func exported(dir string) ([]string, error) {
	notTest := func(i fs.FileInfo) bool { return !strings.HasSuffix(i.Name(), "_test.go") }
	parsed, err := parser.ParseDir(token.NewFileSet(), dir, notTest, parser.SkipObjectResolution) //nolint:staticcheck // no build tags matter here
	if err != nil {
		return nil, err
	}
	var names []string
	add := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	for _, p := range parsed {
		for _, f := range p.Files {
			for _, d := range f.Decls {
				switch d := d.(type) {
				case *ast.FuncDecl:
					if d.Recv == nil {
						add(d.Name)
					}
				case *ast.GenDecl:
					for _, s := range d.Specs {
						if t, ok := s.(*ast.TypeSpec); ok {
							add(t.Name)
						}
					}
				}
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names), nil
}
