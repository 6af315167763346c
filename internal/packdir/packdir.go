// Package packdir makes of a directory with a script of several files the archive that a server takes: the script's own files as
// package.json says, and the packages of node_modules that it depends on. The same files give the same bytes.
//
//	p, err := packdir.Pack("./weather")
//	// p.Content is a .tar.gz, p.Files what is in it, p.Entry where the script begins
package packdir

import (
	"archive/tar"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
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

// Package is a directory as it is uploaded, and its form for programs.
type Package struct {
	Entry   string `json:"entry"`
	Files   []File `json:"files"`   // by name
	Bytes   int    `json:"bytes"`   // of the files
	Archive int    `json:"archive"` // bytes of the archive
	Content []byte `json:"-"`       // the archive
}

// File is one of a package.
type File struct {
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

// IsDirectory reports whether there is a directory of that name.
func IsDirectory(name string) bool {
	info, err := os.Stat(name)
	return err == nil && info.IsDir()
}

// IsPackage reports whether a directory is a package of a script by itself, which has a package.json, and no folder of
// several scripts.
func IsPackage(dir string) bool {
	info, err := os.Stat(filepath.Join(dir, "package.json"))
	return err == nil && info.Mode().IsRegular()
}

// Name is the name of a directory's package: that in its package.json, without its scope, or else the directory's own.
func Name(dir string) string {
	if p, err := readProject(dir); err == nil && p != nil && p.Name != "" {
		return path.Base(p.Name)
	}
	if whole, err := filepath.Abs(dir); err == nil {
		dir = whole
	}
	return filepath.Base(dir)
}

func readProject(dir string) (*projectFile, error) {
	raw, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // a package may have none
	}
	if err != nil {
		return nil, err
	}
	var p projectFile
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "package.json"), err)
	}
	return &p, nil
}

// Pack makes the archive of a directory: its scripts, package.json, and the packages of node_modules that it depends on.
// Files are sorted, and have no times and owners. It fails where the directory holds links, more than a server takes, or
// nothing for a script to begin in.
func Pack(dir string) (*Package, error) {
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
		if IsDirectory(filepath.Join(dir, "node_modules")) {
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
	case base == "package-lock.json", isConfig(name):
		return false
	}
	for _, part := range []string{".d.ts", ".d.mts", ".d.cts", ".test.", ".spec."} {
		if strings.Contains(base, part) {
			return false
		}
	}
	return slices.Contains([]string{".ts", ".tsx", ".mts", ".cts", ".js", ".jsx", ".mjs", ".cjs", ".json"}, path.Ext(base))
}

// isConfig reports whether a file is one of TypeScript's settings.
func isConfig(name string) bool { return strings.HasPrefix(path.Base(name), "tsconfig") }

// aliases reports whether settings of TypeScript may say which files imports mean, which is all that a server reads of them.
func aliases(raw []byte) bool {
	return bytes.Contains(raw, []byte(`"paths"`)) || bytes.Contains(raw, []byte(`"baseUrl"`)) || bytes.Contains(raw, []byte(`"extends"`))
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
			return err
		}
		relative, err := filepath.Rel(p.root, file)
		if err != nil {
			return err
		}
		name, base := filepath.ToSlash(relative), d.Name()
		if name == "." || name == dir {
			return nil
		}
		switch {
		case d.IsDir() && (strings.HasPrefix(base, ".") || base == "node_modules" || (own && slices.Contains(leftOut, base) && len(p.wanted) == 0)):
			return filepath.SkipDir
		case d.IsDir() || strings.HasPrefix(base, "."):
			return nil
		case own && isConfig(name) && d.Type().IsRegular():
			if raw, err := readFile(file); err != nil || !aliases(raw) {
				return err
			}
		case !goes(name) || (own && !p.listed(name)):
			return nil
		case !d.Type().IsRegular():
			return fmt.Errorf("%s is a link, and a package holds files: copy it, or leave it out by \"files\" in package.json", file)
		}
		return p.take(name)
	})
}

func (p *packer) take(name string) error {
	if _, taken := p.files[name]; taken {
		return nil
	}
	raw, err := readFile(filepath.Join(p.root, filepath.FromSlash(name)))
	if err != nil {
		return err
	}
	p.files[name] = raw
	if p.bytes += len(raw); p.bytes > script.MaxPackageExpandedBytes || len(p.files) > script.MaxPackageFiles {
		return p.tooLarge(fmt.Sprintf("more than %d files or %s", script.MaxPackageFiles, mebibytes(script.MaxPackageExpandedBytes)))
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
			return fmt.Errorf("%s: the dependency %q is no name of a package", filepath.Join(p.root, from, "package.json"), abi.Line(name, 80))
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
			return fmt.Errorf("%s is a link, and a package holds files: install it with npm, which copies packages", at)
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
		if home := path.Join(at, "node_modules", name); path.Base(at) != "node_modules" && IsDirectory(filepath.Join(p.root, filepath.FromSlash(home))) {
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
		largest[i] = fmt.Sprintf("%s (%s)", names[i], mebibytes(len(p.files[names[i]])))
	}
	return fmt.Errorf("%s holds %s; the largest files are %s", p.root, what, strings.Join(largest, ", "))
}

func (p *packer) finish() (*Package, error) {
	result := &Package{Files: []File{}, Bytes: p.bytes}
	var b bytes.Buffer
	zipped, _ := gzip.NewWriterLevel(&b, gzip.BestCompression) // the level is one
	w := tar.NewWriter(zipped)
	for _, name := range slices.Sorted(maps.Keys(p.files)) {
		raw := p.files[name]
		result.Files = append(result.Files, File{Name: name, Size: len(raw)})
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
	result.Content, result.Archive = b.Bytes(), b.Len()
	if b.Len() > script.MaxPackageBytes {
		return nil, p.tooLarge("more than " + mebibytes(script.MaxPackageBytes) + " when it is packed")
	}
	var err error
	if result.Entry, err = script.Entry(result.Content); err != nil {
		return nil, fmt.Errorf("%s: %s", p.root, status.Convert(err).Message)
	}
	return result, nil
}

// readFile reads a file of at most as many bytes as one of a package may have.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // it was only read
	raw, err := io.ReadAll(io.LimitReader(f, script.MaxPackageFileBytes+1))
	if err == nil && len(raw) > script.MaxPackageFileBytes {
		err = fmt.Errorf("%s is longer than %d bytes", name, script.MaxPackageFileBytes)
	}
	return raw, err
}

func mebibytes(n int) string { return fmt.Sprintf("%.1f MiB", float64(n)/(1<<20)) }
