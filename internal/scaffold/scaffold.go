// Package scaffold makes the directory of a new tool: sources that build as they stand, cases for them, a
// README and what git ignores.
//
// It owns the templates; it runs nothing. Use:
//
//	p := scaffold.Project{Language: "c", Name: "greeter"}
//	files, err := p.Files()
//	err = scaffold.Write("greeter", files)
//
// Everything here is safe for concurrent use.
package scaffold

import (
	"bytes"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"github.com/genkit-wasm/genkit-wasm/pdk"
)

// Language is one that a project can be in.
type Language struct {
	Name  string `json:"name"`  // as the command line has it, such as "cpp"
	Title string `json:"title"` // as people write it, such as "C++"
	Needs string `json:"needs"` // the toolchain that builds a project
	// Source is the file with the tool, where NAME stands for the project's.
	Source string `json:"source"`

	kit map[string]string // files of package pdk by their place in the project
}

// Languages lists all of them.
func Languages() []Language {
	c := map[string]string{"genkit.h": "c/genkit.h", "json.h": "c/json.h", "number.h": "c/number.h", "actions.h": "c/actions.h"}
	return []Language{
		{Name: "go", Title: "Go", Needs: "Go 1.24 or later", Source: "greet.go"},
		{Name: "ts", Title: "TypeScript", Needs: "nothing", Source: "NAME.ts", kit: map[string]string{"genkit-wasm.d.ts": pdk.Types}},
		{Name: "js", Title: "JavaScript", Needs: "nothing", Source: "NAME.js"},
		{Name: "rust", Title: "Rust", Needs: "rustc with wasm32-unknown-unknown", Source: "src/lib.rs", kit: map[string]string{"src/genkit.rs": "rust/genkit.rs", "src/json.rs": "rust/json.rs", "src/actions.rs": "rust/actions.rs"}},
		{Name: "c", Title: "C", Needs: "clang and wasm-ld", Source: "NAME.c", kit: c},
		{Name: "cpp", Title: "C++", Needs: "clang and wasm-ld", Source: "NAME.cpp", kit: c},
	}
}

// Find returns the language of a name, or of what people call it.
func Find(name string) (Language, bool) {
	for _, l := range Languages() {
		if strings.EqualFold(name, l.Name) || strings.EqualFold(name, l.Title) {
			return l, true
		}
	}
	return Language{}, false
}

// Project says what a new directory holds.
type Project struct {
	Language Language
	Name     string // of the module, by the rules of a descriptor, which the caller has checked
	// KitVersion is the version of the Go kit that go.mod requires; "v0.0.0" when empty.
	KitVersion string
	// KitDir is a copy of the Go kit that takes the place of the published one; empty for none.
	KitDir string
}

// Kit is the module of the kit in Go.
const Kit = "github.com/genkit-wasm/genkit-wasm/pdk/go"

// File is one file of a project.
type File struct {
	Path    string // below the project, with slashes
	Content []byte
}

//go:embed all:templates
var templates embed.FS

// Files returns what the directory of the project holds, sorted by path.
func (p Project) Files() ([]File, error) {
	if p.KitVersion == "" {
		p.KitVersion = "v0.0.0"
	}
	var files []File
	for _, dir := range []string{"templates/common", "templates/" + p.Language.Name} {
		err := fs.WalkDir(templates, dir, func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			content, err := p.render(file)
			if err != nil {
				return err
			}
			files = append(files, File{p.place(strings.TrimPrefix(file, dir+"/")), content})
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	for to, from := range p.Language.kit {
		content, err := pdk.Files.ReadFile(from)
		if err != nil {
			return nil, err
		}
		files = append(files, File{to, content})
	}
	return sorted(files), nil
}

func sorted(files []File) []File {
	slices.SortFunc(files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return files
}

// place is where a template's file goes.
func (p Project) place(file string) string {
	file = strings.TrimSuffix(file, ".tmpl")
	if file == "gitignore" { // git would obey it among the templates
		return ".gitignore"
	}
	return strings.ReplaceAll(file, "NAME", p.Name)
}

// Artifact is the file that a build makes, or the script itself.
func (p Project) Artifact() string {
	if source := p.Language.Source; path.Ext(source) == ".ts" || path.Ext(source) == ".js" {
		return p.place(source)
	}
	return p.Name + ".wasm"
}

// Script reports that nothing has to be built.
func (p Project) Script() bool { return p.Language.Needs == "nothing" }

func (p Project) render(file string) ([]byte, error) {
	// Braces are common in sources.
	t, err := template.New(path.Base(file)).Delims("<%", "%>").Option("missingkey=error").ParseFS(templates, file)
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, p); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// Source is the file with the tool.
func (p Project) Source() string { return p.place(p.Language.Source) }

// KitModule is the module path of the kit in Go.
func (Project) KitModule() string { return Kit }

// KitReplace is KitDir as go.mod has it: quoted where a character asks for it.
func (p Project) KitReplace() string {
	if strings.ContainsFunc(p.KitDir, func(r rune) bool { return !pathCharacter(r) }) {
		return strconv.Quote(p.KitDir)
	}
	return p.KitDir
}

func pathCharacter(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("/._-+~", r)
}

// CrateName is the name as Cargo takes it.
func (p Project) CrateName() string {
	name := strings.ReplaceAll(p.Name, ".", "-")
	if name[0] >= '0' && name[0] <= '9' {
		return "tool-" + name
	}
	return name
}

// ErrNotEmpty says that a project's directory holds something.
var ErrNotEmpty = errors.New("the directory is not empty")

// Write writes files below dir, which it makes. It fails with [ErrNotEmpty] where something is there; it
// replaces no file.
func Write(dir string, files []File) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if len(entries) > 0 {
		return fmt.Errorf("%s: %w", dir, ErrNotEmpty)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close() //nolint:errcheck // each file was closed and checked
	for _, f := range files {
		if err := write(root, f); err != nil {
			return err
		}
	}
	return nil
}

func write(root *os.Root, f File) error {
	name := filepath.FromSlash(f.Path)
	if err := root.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	out, err := root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return err
	}
	_, err = out.Write(f.Content)
	return errors.Join(err, out.Close())
}
