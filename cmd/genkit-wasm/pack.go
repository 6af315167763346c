package main

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
)

// packed is a directory as it is uploaded, and its form for programs.
type packed struct {
	Entry   string       `json:"entry"`
	Files   []packedFile `json:"files"`   // by name
	Bytes   int          `json:"bytes"`   // of the files
	Archive int          `json:"archive"` // bytes of the archive

	archive []byte
}

type packedFile struct {
	Name string `json:"name"` // in the archive
	Size int    `json:"size"`
}

// projectFile holds the fields of package.json that say what goes with a package.
type projectFile struct {
	Name         string            `json:"name"`
	Files        []string          `json:"files"`
	Dependencies map[string]string `json:"dependencies"`
	Peers        map[string]string `json:"peerDependencies"`
	Optional     map[string]string `json:"optionalDependencies"`
}

// isDirectory reports whether there is a directory of that name.
func isDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// isPackage reports whether a directory is a package of a script by itself.
func isPackage(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "package.json"))
	return err == nil && info.Mode().IsRegular()
}

func readProject(dir string) (*projectFile, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a package may have none
	}
	if err != nil {
		return nil, usage(err)
	}
	var p projectFile
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, usagef("%s: %w", filepath.Join(dir, "package.json"), err)
	}
	return &p, nil
}

// pack makes the archive of a directory: its scripts, package.json, and the packages of node_modules that it depends on. The
// same files give the same bytes: they are sorted, and have no times and owners.
func pack(dir string) (*packed, error) {
	project, err := readProject(dir)
	if err != nil {
		return nil, err
	}
	p := &packer{root: dir, files: map[string][]byte{}}
	if project != nil {
		p.wanted = project.Files
	}
	if err := p.tree(".", true); err != nil {
		return nil, err
	}
	if project == nil {
		if isDirectory(filepath.Join(dir, "node_modules")) {
			err = p.tree("node_modules", false)
		}
	} else {
		err = p.dependencies(".", project)
	}
	if err != nil {
		return nil, err
	}
	return p.finish()
}

// packer collects the files of a package.
type packer struct {
	root   string
	wanted []string          // of package.json's files
	files  map[string][]byte // by name in the archive
	bytes  int
}

// left out are directories that hold no part of a script.
var leftOut = []string{"test", "tests", "__tests__", "__mocks__", "coverage"}

// goes reports whether a file of a package may be part of a script.
func goes(name string) bool {
	base := path.Base(name)
	switch {
	case base == "package.json":
		return true
	case base == "package-lock.json", strings.HasPrefix(base, "tsconfig"):
		return false
	}
	for _, part := range []string{".d.ts", ".d.mts", ".d.cts", ".test.", ".spec."} {
		if strings.Contains(base, part) {
			return false
		}
	}
	return slices.Contains([]string{".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".json"}, path.Ext(base))
}

// listed reports whether package.json's files have a name: as it stands, as a directory of it, or by a pattern.
func (p *packer) listed(name string) bool {
	if len(p.wanted) == 0 || name == "package.json" {
		return true
	}
	for _, entry := range p.wanted {
		entry = strings.TrimPrefix(path.Clean(strings.TrimSuffix(strings.TrimSuffix(entry, "/*"), "/**")), "/")
		if entry == "." || name == entry || strings.HasPrefix(name, entry+"/") {
			return true
		}
		if ok, err := path.Match(entry, name); ok && err == nil {
			return true
		}
	}
	return false
}

// tree takes the files below a directory of the root; own are the author's.
func (p *packer) tree(dir string, own bool) error {
	return filepath.WalkDir(filepath.Join(p.root, filepath.FromSlash(dir)), func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return usage(err)
		}
		relative, err := filepath.Rel(p.root, file)
		if err != nil {
			return usage(err)
		}
		name, base := filepath.ToSlash(relative), d.Name()
		if name == "." || name == dir {
			return nil
		}
		switch {
		case d.IsDir() && (strings.HasPrefix(base, ".") || base == "node_modules" || (own && slices.Contains(leftOut, base) && len(p.wanted) == 0)):
			return filepath.SkipDir
		case d.IsDir() || strings.HasPrefix(base, ".") || !goes(name) || (own && !p.listed(name)):
			return nil
		case !d.Type().IsRegular():
			return usagef("%s is a link, and a package holds files: copy it, or leave it out by \"files\" in package.json", file)
		}
		return p.take(name)
	})
}

func (p *packer) take(name string) error {
	if _, taken := p.files[name]; taken {
		return nil
	}
	raw, err := readFile(filepath.Join(p.root, filepath.FromSlash(name)), script.MaxPackageFileBytes)
	if err != nil {
		return err
	}
	p.files[name] = raw
	if p.bytes += len(raw); p.bytes > script.MaxPackageExpandedBytes || len(p.files) > script.MaxPackageFiles {
		return p.tooLarge(fmt.Sprintf("more than %d files or %s", script.MaxPackageFiles, size(script.MaxPackageExpandedBytes)))
	}
	return nil
}

// dependencies takes the packages that one depends on, and those that they do, from where Node would find them.
func (p *packer) dependencies(from string, project *projectFile) error {
	names := slices.Sorted(maps.Keys(project.Dependencies))
	names = slices.AppendSeq(names, maps.Keys(project.Peers))
	names = slices.AppendSeq(names, maps.Keys(project.Optional))
	slices.Sort(names)
	for _, name := range slices.Compact(names) {
		if !fs.ValidPath(name) {
			return usagef("%s: the dependency %q is no name of a package", filepath.Join(p.root, from, "package.json"), abi.Line(name, 80))
		}
		home := p.home(from, name)
		if home == "" {
			continue // the server says so if the script imports it
		}
		if _, taken := p.files[home+"/package.json"]; taken {
			continue
		}
		at := filepath.Join(p.root, filepath.FromSlash(home))
		if info, err := os.Lstat(at); err == nil && info.Mode()&fs.ModeSymlink != 0 {
			return usagef("%s is a link, and a package holds files: install it with npm, which copies packages", at)
		}
		if err := p.tree(home, false); err != nil {
			return err
		}
		its, err := readProject(at)
		if err != nil {
			return err
		}
		if its != nil {
			if err := p.dependencies(home, its); err != nil {
				return err
			}
		}
	}
	return nil
}

// home finds the directory of a package that another one depends on; "" where it is not installed.
func (p *packer) home(from, name string) string {
	for at := from; ; at = path.Dir(at) {
		if home := path.Join(at, "node_modules", name); path.Base(at) != "node_modules" && isDirectory(filepath.Join(p.root, filepath.FromSlash(home))) {
			return home
		}
		if at == "." {
			return ""
		}
	}
}

func (p *packer) tooLarge(what string) error {
	names := slices.SortedFunc(maps.Keys(p.files), func(a, b string) int {
		return cmp.Or(cmp.Compare(len(p.files[b]), len(p.files[a])), strings.Compare(a, b))
	})
	largest := make([]string, min(len(names), 3))
	for i := range largest {
		largest[i] = fmt.Sprintf("%s (%s)", names[i], size(len(p.files[names[i]])))
	}
	return usagef("%s holds %s; the largest files are %s", p.root, what, strings.Join(largest, ", "))
}

func (p *packer) finish() (*packed, error) {
	result := &packed{Files: []packedFile{}, Bytes: p.bytes}
	var b bytes.Buffer
	zipped, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one
	w := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		raw := p.files[name]
		result.Files = append(result.Files, packedFile{Name: name, Size: len(raw)})
		err := w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644, Size: int64(len(raw))})
		if err == nil {
			_, err = w.Write(raw)
		}
		if err != nil {
			return nil, fmt.Errorf("pack %s: %w", name, err)
		}
	}
	if err := errors.Join(w.Close(), zipped.Close()); err != nil {
		return nil, fmt.Errorf("pack %s: %w", p.root, err)
	}
	result.archive, result.Archive = b.Bytes(), b.Len()
	if b.Len() > script.MaxPackageBytes {
		return nil, p.tooLarge("more than " + size(script.MaxPackageBytes) + " when it is packed")
	}
	var err error
	if result.Entry, err = script.Entry(result.archive); err != nil {
		return nil, usagef("%s: %s", p.root, status.Convert(err).Message)
	}
	return result, nil
}

// summary says what was packed.
func (p *packed) summary() string {
	return fmt.Sprintf("packed %d files, %s in %s; the script begins in %s", len(p.Files), size(p.Bytes), size(p.Archive), p.Entry)
}

// printPacked lists what an upload would send.
func (a *app) printPacked(p *packed) error {
	if a.json() {
		return a.printJSON(p)
	}
	for _, f := range p.Files {
		if err := a.line("%10s  %s", size(f.Size), f.Name); err != nil {
			return err
		}
	}
	return a.line("%s", p.summary())
}
