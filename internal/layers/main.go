// Command layers draws how the files of the packages of wasmhost build upon each other, for
// docs/architecture.md:
//
//	go run ./internal/layers -write
//
// A file group is the files of a package whose names begin with the same word: dir.go,
// dir_change.go and dir_record.go are the group dir. An arrow leads from a group to
// another one that declares something it uses: a function, a type, a method, a field, a
// constant or a variable. Layers (see table.go) are lists of groups; a group may use
// groups of lower layers only. The test fails when an arrow leads back up, when a group has
// no layer, and when the drawing in the page is stale.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"sort"
	"strings"
)

const (
	root = "github.com/genkit-wasm/genkit-wasm/"
	page = "docs/architecture.md"
)

func main() {
	write := flag.Bool("write", false, "put the drawing into "+page)
	suggest := flag.Bool("suggest", false, "print the layers that the code has now, for table.go")
	circles := flag.Bool("circles", false, "print the arrows between groups that use each other, directly or over others")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) //nolint:forbidigo // a program begins here
	defer stop()
	if err := run(ctx, os.Stdout, *write, *suggest, *circles); err != nil {
		fmt.Fprintln(os.Stderr, "layers:", err)
		stop()
		os.Exit(1) //nolint:gocritic // stop has run
	}
}

func run(ctx context.Context, out io.Writer, write, suggest, circles bool) error {
	all, err := load(ctx, ".")
	if err != nil {
		return err
	}
	if suggest {
		for _, p := range all {
			if _, err := fmt.Fprintf(out, "\t%q: %q,\n", p.name, strings.Join(p.suggest(), " | ")); err != nil {
				return err
			}
		}
		return nil
	}
	if circles {
		for _, p := range all {
			for _, arrow := range p.circles() {
				if _, err := fmt.Fprintln(out, arrow); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if !write {
		_, err := io.WriteString(out, draw(all))
		return err
	}
	text, err := os.ReadFile(page)
	if err != nil {
		return err
	}
	changed, err := replace(string(text), draw(all))
	if err != nil {
		return err
	}
	return os.WriteFile(page, []byte(changed), 0o644) //nolint:gosec // a page of the documentation
}

// pkg is a package and the arrows between its groups.
type pkg struct {
	name    string // below the module's path
	imports []string
	groups  []string
	// arrows[from][to] are the names that group from uses of group to, sorted.
	arrows map[string]map[string][]string
}

// listed is what go list says of a package.
type listed struct {
	ImportPath string   `json:"ImportPath"`
	Dir        string   `json:"Dir"`
	Export     string   `json:"Export"`
	GoFiles    []string `json:"GoFiles"`
	Imports    []string `json:"Imports"`
	DepOnly    bool     `json:"DepOnly"`
}

// load reads the packages of wasmhost in the module at dir, as they are on Linux.
func load(ctx context.Context, dir string) ([]*pkg, error) {
	cmd := exec.CommandContext(ctx, "go", "list", "-export", "-deps", "-json=ImportPath,Dir,Export,GoFiles,Imports,DepOnly", "./wasmhost/...")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOOS=linux", "GOARCH=amd64")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	exports := map[string]string{}
	var own []listed
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var l listed
		if err := dec.Decode(&l); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
		exports[l.ImportPath] = l.Export
		if !l.DepOnly {
			own = append(own, l)
		}
	}
	all := make([]*pkg, 0, len(own))
	for _, l := range own {
		p, err := read(l, exports)
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

// groupOf returns the group of a file.
func groupOf(file string) string {
	name, _, _ := strings.Cut(strings.TrimSuffix(filepath.Base(file), ".go"), "_")
	return name
}

func read(l listed, exports map[string]string) (*pkg, error) {
	fset := token.NewFileSet()
	files := make([]*ast.File, 0, len(l.GoFiles))
	p := &pkg{name: strings.TrimPrefix(l.ImportPath, root), arrows: map[string]map[string][]string{}}
	for _, name := range l.GoFiles {
		f, err := parser.ParseFile(fset, filepath.Join(l.Dir, name), nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
		if g := groupOf(name); !slices.Contains(p.groups, g) {
			p.groups = append(p.groups, g)
		}
	}
	for _, path := range l.Imports {
		if own, ok := strings.CutPrefix(path, root+"wasmhost/"); ok {
			p.imports = append(p.imports, own)
		}
	}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	config := types.Config{Importer: importer.ForCompiler(fset, "gc", func(path string) (io.ReadCloser, error) { return os.Open(exports[path]) })}
	checked, err := config.Check(l.ImportPath, fset, files, info)
	if err != nil {
		return nil, err
	}
	guards := guardsOf(files)
	at := func(pos token.Pos) string { return groupOf(fset.Position(pos).Filename) }
	for id, o := range info.Uses {
		if !declared(o, checked) || guards(id.Pos()) {
			continue
		}
		if from, to := at(id.Pos()), at(o.Pos()); from != to {
			p.add(from, to, o.Name())
		}
	}
	sort.Strings(p.groups)
	return p, nil
}

// declared reports whether an object is a declaration of the package, a method or a field,
// and not a variable of a function.
func declared(o types.Object, p *types.Package) bool {
	if o.Pkg() != p {
		return false
	}
	if v, ok := o.(*types.Var); ok && o.Parent() == nil {
		return v.IsField()
	}
	return o.Parent() == nil || o.Parent() == p.Scope()
}

// guardsOf reports which places belong to assertions such as var _ Store = (*Dir)(nil),
// which use nothing.
func guardsOf(files []*ast.File) func(token.Pos) bool {
	var guards []ast.Node
	for _, f := range files {
		for _, d := range f.Decls {
			g, ok := d.(*ast.GenDecl)
			if !ok || g.Tok != token.VAR {
				continue
			}
			for _, s := range g.Specs {
				if v, ok := s.(*ast.ValueSpec); ok && v.Names[0].Name == "_" {
					guards = append(guards, v)
				}
			}
		}
	}
	return func(pos token.Pos) bool {
		return slices.ContainsFunc(guards, func(n ast.Node) bool { return n.Pos() <= pos && pos < n.End() })
	}
}

func (p *pkg) add(from, to, name string) {
	if p.arrows[from] == nil {
		p.arrows[from] = map[string][]string{}
	}
	names := p.arrows[from][to]
	if i, found := slices.BinarySearch(names, name); !found {
		p.arrows[from][to] = slices.Insert(names, i, name)
	}
}

// faults returns the arrows that do not lead to a lower layer, and the differences between
// the groups of the table and those of the package.
func (p *pkg) faults(table string) []string {
	layer := map[string]int{}
	for i, names := range strings.Split(table, "|") {
		for g := range strings.FieldsSeq(names) {
			layer[g] = i + 1
		}
	}
	var faults []string
	for _, g := range p.groups {
		if layer[g] == 0 {
			faults = append(faults, fmt.Sprintf("%s: the group %s has no layer in internal/layers/table.go", p.name, g))
		}
	}
	for g := range layer {
		if !slices.Contains(p.groups, g) {
			faults = append(faults, fmt.Sprintf("%s: the table has a group %s, and there is no such file", p.name, g))
		}
	}
	for from, arrows := range p.arrows {
		for to, names := range arrows {
			if layer[from] != 0 && layer[to] != 0 && layer[to] <= layer[from] {
				faults = append(faults, fmt.Sprintf("%s: %s, which is not above %s, uses its %s", p.name, from, to, strings.Join(names, ", ")))
			}
		}
	}
	sort.Strings(faults)
	return faults
}

// suggest returns the layers of the groups: each group lies one layer above the highest
// of those that it uses. Groups that use each other have no layer.
func (p *pkg) suggest() []string {
	height := map[string]int{}
	for done := false; !done; {
		done = true
		for _, g := range p.groups {
			if height[g] != 0 {
				continue
			}
			most, known := 0, true
			for to := range p.arrows[g] {
				most, known = max(most, height[to]), known && height[to] != 0
			}
			if known {
				height[g], done = most+1, false
			}
		}
	}
	var layers []string
	for at := len(p.groups); at > 0; at-- {
		var names []string
		for _, g := range p.groups {
			if height[g] == at {
				names = append(names, g)
			}
		}
		if names != nil {
			layers = append(layers, strings.Join(names, " "))
		}
	}
	return layers
}

// circles returns the arrows by which groups use each other, directly or over others.
func (p *pkg) circles() []string {
	reach := map[string]map[string]bool{}
	for _, g := range p.groups {
		seen, left := map[string]bool{}, []string{g}
		for len(left) > 0 {
			next := left[0]
			left = left[1:]
			for to := range p.arrows[next] {
				if !seen[to] {
					seen[to], left = true, append(left, to)
				}
			}
		}
		reach[g] = seen
	}
	var found []string
	for from, arrows := range p.arrows {
		for to, names := range arrows {
			if reach[to][from] {
				found = append(found, fmt.Sprintf("%s: %s → %s: %s", p.name, from, to, strings.Join(names, " ")))
			}
		}
	}
	sort.Strings(found)
	return found
}

const (
	begin = "<!-- layers: written by `go run ./internal/layers -write` -->\n"
	end   = "<!-- end of layers -->\n"
)

// draw returns the drawing: for each package its layers, top first, and its imports within
// wasmhost.
func draw(all []*pkg) string {
	var b strings.Builder
	b.WriteString(begin + "\n| package | imports of `wasmhost` | layers of its files, top first |\n|---|---|---|\n")
	for _, p := range all {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", p.name, strings.Join(p.imports, ", "), strings.ReplaceAll(layered[p.name], " | ", " → "))
	}
	b.WriteString("\n" + end)
	return b.String()
}

// replace puts the drawing between the marks of a page.
func replace(text, drawing string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, ok2 := strings.Cut(rest, end)
	if !ok || !ok2 {
		return "", errors.New("the page has no marks of the drawing")
	}
	return before + drawing + after, nil
}
