package script

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// resolver finds what imports mean among the files of an archive, as Node does: relative files with the usual endings,
// packages in node_modules with their exports, imports and main files.
type resolver struct {
	tree      *tree
	manifests map[string]*manifest // by directory; nil where there is none
	broken    map[string]error     // of manifests, by directory
	configs   map[string]config    // by the name of a tsconfig.json
	dirs      map[string]bool
}

func newResolver(t *tree) *resolver {
	r := &resolver{tree: t, manifests: map[string]*manifest{}, broken: map[string]error{}, configs: map[string]config{}, dirs: map[string]bool{".": true}}
	for name := range t.files {
		for dir := path.Dir(name); !r.dirs[dir]; dir = path.Dir(dir) {
			r.dirs[dir] = true
		}
	}
	return r
}

// The endings that an import may leave out. In packages JavaScript comes first, as their TypeScript is not for use.
var (
	ownEndings     = []string{".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".json"}
	packageEndings = []string{".js", ".jsx", ".mjs", ".cjs", ".json", ".ts", ".tsx", ".mts", ".cts"}
)

// entryNames are the files that a package's script may begin in without its package.json saying so, in their order.
var entryNames = []string{"tool", "main", "index", "src/tool", "src/main", "src/index"}

// resolved is what an import stands for.
type resolved struct {
	file  string // "" for an empty module
	pure  bool   // its package says that importing it alone does nothing
	genre genre
}

type genre int

const (
	isFile    genre = iota
	isPrelude       // "genkit"
	isEmpty         // a module that its package replaces with nothing
)

// missingError is the reason why an import stands for nothing, for the author.
type missingError struct{ why string }

func (e missingError) Error() string { return e.why }

func missing(format string, args ...any) error { return missingError{fmt.Sprintf(format, args...)} }

// entry finds the file in which the script begins.
func (r *resolver) entry() (string, error) {
	m, err := r.manifest(".")
	if err != nil {
		return "", err
	}
	if m != nil && m.genkit != "" {
		if at, ok := inside(".", m.genkit); ok {
			if file, ok := r.file(at, ownEndings); ok {
				return file, nil
			}
		}
		return "", missing("package.json says \"genkit\": %q, and the upload has no such file", m.genkit)
	}
	if m != nil {
		for _, name := range []string{m.module, m.main} {
			if at, ok := inside(".", name); ok && name != "" {
				if file, ok := r.path(at, ownEndings); ok {
					return file, nil
				}
			}
		}
	}
	for _, name := range entryNames {
		for _, ending := range ownEndings[:len(ownEndings)-1] {
			if _, ok := r.tree.files[name+ending]; ok {
				return name + ending, nil
			}
		}
	}
	return "", missing("the upload has no file to begin in: name it in package.json as \"genkit\", \"module\" or \"main\", or call it tool.ts, main.ts or index.ts")
}

// resolve finds what a file imports. required is that it does so by require(), not by import.
func (r *resolver) resolve(name, importer string, required bool) (resolved, error) {
	if name == "genkit" || name == "genkit-wasm" {
		return resolved{genre: isPrelude}, nil
	}
	directory, endings := path.Dir(importer), endingsAt(importer)
	relative := strings.HasPrefix(name, "./") || strings.HasPrefix(name, "../") || name == "." || name == ".."
	switch {
	case strings.HasPrefix(name, "node:"):
		return resolved{}, builtin(name)
	case strings.HasPrefix(name, "/"), strings.ContainsAny(name, ":\\\x00"), name == "":
		return resolved{}, missing("the script imports %q; an import may name a file of the upload, relative to the one that it stands in, or a package in its node_modules", shortened(name))
	}
	if !relative && !inPackages(importer) {
		if file, ok, err := r.aliased(name, directory); err != nil || ok {
			return r.replaced(file), err
		}
	}
	switch {
	case strings.HasPrefix(name, "#"):
		return r.internal(name, directory, required)
	case !relative:
		return r.bare(name, directory, required)
	}
	at := path.Join(directory, name)
	if at == ".." || strings.HasPrefix(at, "../") {
		return resolved{}, missing("the script imports %q, which lies outside the upload", shortened(name))
	}
	if strings.HasSuffix(name, "/") {
		at += "/"
	}
	file, ok := r.path(at, endings)
	if !ok {
		return resolved{}, missing("the script imports %q, and the upload has no such file", shortened(name))
	}
	return r.replaced(file), nil
}

func shortened(name string) string { return name[:min(len(name), 200)] }

func endingsAt(importer string) []string {
	if inPackages(importer) {
		return packageEndings
	}
	return ownEndings
}

func inPackages(file string) bool {
	return strings.HasPrefix(file, "node_modules/") || strings.Contains(file, "/node_modules/")
}

func conditions(required bool) []string {
	if required {
		return []string{"genkit-wasm", "browser", "module", "require"}
	}
	return []string{"genkit-wasm", "browser", "module", "import"}
}

// bare finds a package, or a file of it.
func (r *resolver) bare(name, directory string, required bool) (resolved, error) {
	if own, m := r.scope(directory); m != nil && m.browser != nil {
		if instead, ok := m.browser[name]; ok {
			return r.instead(own, instead)
		}
	}
	parts := strings.SplitN(name, "/", 3)
	length := 1
	if strings.HasPrefix(name, "@") {
		length = 2
	}
	if len(parts) < length || slices.Contains(parts, "") || slices.Contains(parts, "..") || slices.Contains(parts, ".") {
		return resolved{}, missing("the script imports %q, which is no name of a package", shortened(name))
	}
	called := strings.Join(parts[:length], "/")
	below := "." + strings.TrimPrefix(name, called)
	if own, m := r.scope(directory); m != nil && m.name == called && m.exports != nil { // a package may import itself
		return r.exported(own, m, below, name, required)
	}
	for at := directory; ; at = path.Dir(at) {
		if path.Base(at) != "node_modules" {
			if home := path.Join(at, "node_modules", called); r.dirs[home] {
				return r.inPackage(home, below, name, required)
			} else if below == "." {
				if file, ok := r.file(home, packageEndings); ok {
					return resolved{file: file}, nil
				}
			}
		}
		if at == "." {
			break
		}
	}
	if isBuiltin(called) {
		return resolved{}, builtin(name)
	}
	return resolved{}, missing("the script imports the package %q, which is not in the upload; install it (npm install %s) before you pack the directory", shortened(name), shortened(called))
}

// inPackage finds a file of a package, or its main one.
func (r *resolver) inPackage(home, below, name string, required bool) (resolved, error) {
	m, err := r.manifest(home)
	if err != nil {
		return resolved{}, err
	}
	if m != nil && m.exports != nil && m.exports.kind != 'n' {
		return r.exported(home, m, below, name, required)
	}
	file, ok := r.path(path.Join(home, below), packageEndings)
	if !ok {
		return resolved{}, missing("the script imports %q, and %s has no such file", shortened(name), home)
	}
	return r.replaced(file), nil
}

// exported finds what a package exports under a name.
func (r *resolver) exported(home string, m *manifest, below, name string, required bool) (resolved, error) {
	found, err := lookup(m.exports, below, conditions(required))
	if err != nil {
		return resolved{}, missing("the script imports %q, which %s does not export", shortened(name), path.Join(home, "package.json"))
	}
	at, ok := inside(home, found)
	if ok && strings.HasPrefix(found, "./") {
		if file, ok := r.file(at, nil); ok {
			return r.replaced(file), nil
		}
	}
	return resolved{}, missing("the script imports %q, for which %s names the file %q, which the upload does not have", shortened(name), path.Join(home, "package.json"), shortened(found))
}

// internal finds a name of the package's own imports: "#…".
func (r *resolver) internal(name, directory string, required bool) (resolved, error) {
	home, m := r.scope(directory)
	if m != nil && m.imports != nil && m.imports.kind == '{' {
		if found, err := lookup(m.imports, name, conditions(required)); err == nil {
			if !strings.HasPrefix(found, "./") {
				if strings.HasPrefix(found, "#") || strings.HasPrefix(found, ".") {
					return resolved{}, missing("the script imports %q, for which package.json says %q", shortened(name), shortened(found))
				}
				return r.resolve(found, path.Join(home, "package.json"), required)
			}
			if at, ok := inside(home, found); ok {
				if file, ok := r.file(at, endingsAt(at)); ok {
					return r.replaced(file), nil
				}
			}
		}
	}
	return resolved{}, missing("the script imports %q, which the \"imports\" of its package.json don't have", shortened(name))
}

// replaced is a file with what its package's "browser" puts in its place.
func (r *resolver) replaced(file string) resolved {
	home, m := r.scope(path.Dir(file))
	if m == nil {
		return resolved{file: file}
	}
	if m.browser != nil {
		name := "./" + strings.TrimPrefix(strings.TrimPrefix(file, home), "/")
		if home == "." {
			name = "./" + file
		}
		if instead, ok := m.browser[name]; ok {
			if found, err := r.instead(home, instead); err == nil {
				return found
			}
		}
	}
	return resolved{file: file, pure: m.pure}
}

// instead is what "browser" of the package.json in a directory names.
func (r *resolver) instead(home, name string) (resolved, error) {
	if name == "" {
		return resolved{genre: isEmpty}, nil
	}
	if at, ok := inside(home, name); ok {
		if file, ok := r.file(at, packageEndings); ok {
			return resolved{file: file}, nil
		}
	}
	return resolved{}, missing("%s replaces a file with %q, which the upload does not have", path.Join(home, "package.json"), shortened(name))
}

// path finds a file by a path that may leave its ending out, or name a directory.
func (r *resolver) path(at string, endings []string) (string, bool) {
	directory := strings.TrimSuffix(at, "/")
	if directory == at {
		if file, ok := r.file(at, endings); ok {
			return file, true
		}
	}
	if !r.dirs[directory] {
		return "", false
	}
	if m, err := r.manifest(directory); err == nil && m != nil {
		for _, name := range []string{m.module, m.main} {
			if name == "" {
				continue
			}
			main := path.Join(directory, name)
			if main != directory && directory != "." && !strings.HasPrefix(main, directory+"/") {
				continue
			}
			if file, ok := r.file(main, endings); ok {
				return file, true
			}
			if file, ok := r.file(path.Join(main, "index"), endings); ok {
				return file, true
			}
		}
	}
	return r.file(path.Join(directory, "index"), endings)
}

// typescript are the endings that a file may have in truth which an import names as JavaScript, as TypeScript wants it.
var typescript = map[string][]string{".js": {".ts", ".tsx"}, ".jsx": {".tsx"}, ".mjs": {".mts"}, ".cjs": {".cts"}}

// file finds a file by its name, or by its name without the ending.
func (r *resolver) file(at string, endings []string) (string, bool) {
	if _, ok := r.tree.files[at]; ok && at != "" {
		return at, true
	}
	for _, ending := range endings {
		if _, ok := r.tree.files[at+ending]; ok {
			return at + ending, true
		}
	}
	ending := path.Ext(at)
	for _, instead := range typescript[ending] {
		if _, ok := r.tree.files[strings.TrimSuffix(at, ending)+instead]; ok && endings != nil {
			return strings.TrimSuffix(at, ending) + instead, true
		}
	}
	return "", false
}

// scope returns the package.json that a directory belongs to, and where that lies.
func (r *resolver) scope(directory string) (string, *manifest) {
	for {
		if m, err := r.manifest(directory); err == nil && m != nil {
			return directory, m
		}
		if directory == "." || path.Base(directory) == "node_modules" {
			return directory, nil
		}
		directory = path.Dir(directory)
	}
}

// manifest reads the package.json of a directory, once; nil where there is none.
func (r *resolver) manifest(directory string) (*manifest, error) {
	if m, known := r.manifests[directory]; known {
		return m, r.broken[directory]
	}
	name := path.Join(directory, "package.json")
	var m *manifest
	if raw, ok := r.tree.files[name]; ok {
		var err error
		if m, err = readManifest(raw); err != nil {
			r.broken[directory] = missing("%s can't be read: %v", name, err)
		}
	}
	r.manifests[directory] = m
	return m, r.broken[directory]
}

func builtin(name string) error {
	return missing("the script imports %q, a module of Node, which does not exist here: a script has no files, processes or sockets. docs/scripts.md lists what there is", shortened(name))
}

func isBuiltin(name string) bool {
	return slices.Contains(builtins, strings.TrimPrefix(name, "node:"))
}

// builtins are the modules that Node brings.
var builtins = strings.Fields(`assert async_hooks buffer child_process cluster console constants crypto dgram diagnostics_channel dns domain events
	fs http http2 https inspector module net os path perf_hooks process punycode querystring readline repl sqlite stream string_decoder sys test timers tls
	trace_events tty url util v8 vm wasi worker_threads zlib`)

// why is the text of an error for the author.
func why(err error) string {
	if m, ok := errors.AsType[missingError](err); ok {
		return m.why
	}
	return err.Error()
}
