package prompt

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/frontmatter"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/handlebars"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Limits of a directory that is loaded.
const (
	// MaxFileBytes bounds one prompt file.
	MaxFileBytes = handlebars.MaxBytes
	// MaxFiles bounds the prompt files of one directory, those below it included.
	MaxFiles = 10000
	// MaxEntries bounds the files and directories that are looked at.
	MaxEntries = 100000
	// MaxDirs bounds directories inside directories.
	MaxDirs = 32
)

const extension = ".prompt"

// Load registers a prompt of a file's source under a name, "<name>.<variant>" with a
// variant; without a name the front matter gives it. It fails with INVALID_ARGUMENT,
// naming the line, when the source is broken.
func Load(reg *registry.Registry, name, source string) (*Prompt, error) {
	shown := name
	if name == "" {
		shown = "prompt"
	}
	f, err := ParseFile(shown, source)
	if err != nil {
		return nil, err
	}
	r := reader{f: f}
	base, variant := splitVariant(name)
	if name == "" {
		base = r.text("name")
	}
	if variant == "" {
		variant = r.text("variant")
	}
	d, err := f.define(base, variant)
	if err != nil {
		return nil, err
	}
	if _, err := d.resolve(reg); err != nil && !errors.Is(err, status.ErrNotFound) {
		return nil, err
	}
	return register(reg, d)
}

// LoadFile registers the prompt of a file: "name.prompt" is the prompt "name",
// "name.variant.prompt" a variant, under namespace unless that is "". It fails like
// [Load], and with NOT_FOUND when there is no such file.
func LoadFile(reg *registry.Registry, file, namespace string) (*Prompt, error) {
	base, ok := strings.CutSuffix(filepath.Base(file), extension)
	if !ok || base == "" {
		return nil, status.Publicf(status.InvalidArgument, "a prompt file ends in %s: %q", extension, file)
	}
	source, err := readSource(file)
	if err != nil {
		return nil, err
	}
	if namespace = strings.Trim(namespace, "/"); namespace != "" {
		base = namespace + "/" + base
	}
	return Load(reg, base, source)
}

// readSource reads a file up to its limit.
func readSource(file string) (string, error) {
	f, err := os.Open(file)
	if errors.Is(err, fs.ErrNotExist) {
		return "", status.Publicf(status.NotFound, "no prompt file at %q", file)
	}
	if err != nil {
		return "", status.Errorf(status.InvalidArgument, "open the prompt file: %w", err)
	}
	defer func() { _ = f.Close() }()
	b, err := io.ReadAll(io.LimitReader(f, MaxFileBytes+1))
	if err != nil {
		return "", status.Errorf(status.InvalidArgument, "read the prompt file: %w", err)
	}
	if len(b) > MaxFileBytes {
		return "", status.Publicf(status.InvalidArgument, "the prompt file %q exceeds the limit of %d bytes", file, MaxFileBytes)
	}
	return string(b), nil
}

// define makes a definition of the file.
func (f *File) define(name, variant string) (*definition, error) {
	c, err := f.config(name, variant)
	if err != nil {
		return nil, err
	}
	return newDefinition(c, f)
}

// Set is a directory of prompts that was loaded. It can be loaded again.
type Set struct {
	reg       *registry.Registry
	namespace string
	open      func() (fsys fs.FS, follow bool, done func(), err error)

	mu    sync.Mutex // guards the fields below
	files map[string]*loaded
}

// loaded is one file of a set.
type loaded struct {
	size     int64
	modified time.Time
	sum      [sha256.Size]byte
	seen     bool // in the walk under way

	prompt  *Prompt
	partial string
	problem error
}

// LoadDir registers the prompts of a directory and those below it: "dir/name.prompt" is the
// prompt "dir/name", "name.variant.prompt" a variant, "_name.prompt" the partial "name".
// Names are put under namespace, unless that is "". Files and directories that begin
// with a dot are left out, and symbolic links are followed only to files inside.
//
// A file that is broken does not keep the others from being loaded: the prompt is
// registered all the same and fails with what is wrong when it is used. The error joins
// what is wrong with each, by path and line; the set is of use all the same. Without a
// set there is nothing to load: NOT_FOUND when there is no such directory.
func LoadDir(reg *registry.Registry, dir, namespace string) (*Set, error) {
	s := newSet(reg, namespace, func() (fs.FS, bool, func(), error) {
		root, err := os.OpenRoot(dir)
		if err != nil {
			return nil, false, nil, err
		}
		return root.FS(), true, func() { _ = root.Close() }, nil
	})
	return s.first(dir)
}

// LoadFS is [LoadDir] for a directory of a file system, such as an embedded one; "." or
// "" is all of it. Symbolic links in it are not followed.
func LoadFS(reg *registry.Registry, fsys fs.FS, dir, namespace string) (*Set, error) {
	if dir == "" {
		dir = "."
	}
	s := newSet(reg, namespace, func() (fs.FS, bool, func(), error) {
		sub, err := fs.Sub(fsys, dir)
		return sub, false, func() {}, err
	})
	return s.first(dir)
}

func newSet(reg *registry.Registry, namespace string, open func() (fs.FS, bool, func(), error)) *Set {
	return &Set{reg: reg, namespace: strings.Trim(namespace, "/"), open: open, files: map[string]*loaded{}}
}

func (s *Set) first(dir string) (*Set, error) {
	_, err := s.Reload()
	if err != nil && len(s.files) == 0 {
		code := status.InvalidArgument
		if errors.Is(err, fs.ErrNotExist) {
			code = status.NotFound
		}
		return nil, status.Errorf(code, "load the prompts of %q: %w", dir, err)
	}
	return s, s.Problem()
}

// Prompts returns the prompts of the set by name.
func (s *Set) Prompts() []*Prompt {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*Prompt
	for _, f := range s.files {
		if f.prompt != nil {
			list = append(list, f.prompt)
		}
	}
	slices.SortFunc(list, func(a, b *Prompt) int { return strings.Compare(a.name, b.name) })
	return list
}

// Problem joins the faults of the set's files, nil when there are none.
func (s *Set) Problem() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		if f := s.files[name]; f.problem != nil {
			problems = append(problems, f.problem)
		}
	}
	if len(problems) == 0 {
		return nil
	}
	return status.Publicf(status.InvalidArgument, "%w", errors.Join(problems...))
}

// Reload looks for files that are new, changed or gone, and reports whether there are
// any. A prompt is replaced in one step; a rendering that is under way ends with the
// old one, and a file that is broken leaves the old one in its place, if there is
// one. The error is that of the directory; those of files are told by [Set.Problem].
func (s *Set) Reload() (changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fsys, follow, done, err := s.open()
	if err != nil {
		return false, err
	}
	defer done()
	for _, f := range s.files {
		f.seen = false
	}
	w := &walker{s: s, fsys: fsys, follow: follow}
	if err := w.dir(".", 0); err != nil {
		return w.changed, err
	}
	freed := false
	for name, f := range s.files {
		if !f.seen {
			s.drop(f)
			delete(s.files, name)
			w.changed, freed = true, true
		}
	}
	if freed {
		return w.changed, w.again()
	}
	return w.changed, nil
}

// again loads the files that something is wrong with: a partial's name may be free now.
func (w *walker) again() error {
	for _, name := range slices.Sorted(maps.Keys(w.s.files)) {
		if f := w.s.files[name]; f.problem != nil {
			f.size, f.sum = -1, [sha256.Size]byte{}
			if err := w.file(name); err != nil {
				return err
			}
		}
	}
	return nil
}

// drop removes the prompt or partial of a file from the registry. A partial has no place to be
// taken out of, so it becomes nothing.
func (s *Set) drop(f *loaded) {
	if f.prompt != nil {
		f.prompt.remove()
	}
	if f.partial != "" {
		s.reg.SetValue(PartialKind, f.partial, nil)
	}
}

// walker goes through a directory once.
type walker struct {
	s       *Set
	fsys    fs.FS
	follow  bool
	changed bool
	entries int
	files   int
}

func (w *walker) dir(name string, depth int) error {
	if depth > MaxDirs {
		return status.Errorf(status.InvalidArgument, "%s: directories are nested deeper than %d", name, MaxDirs)
	}
	entries, err := fs.ReadDir(w.fsys, name)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if w.entries++; w.entries > MaxEntries {
			return status.Errorf(status.ResourceExhausted, "%s: more than %d files and directories", name, MaxEntries)
		}
		if strings.HasPrefix(e.Name(), ".") {
			continue
		}
		full := path.Join(name, e.Name())
		switch {
		case e.IsDir():
			if err := w.dir(full, depth+1); err != nil {
				return err
			}
		case !strings.HasSuffix(e.Name(), extension):
		case e.Type().IsRegular(), w.follow && e.Type()&fs.ModeSymlink != 0:
			if err := w.file(full); err != nil {
				return err
			}
		}
	}
	return nil
}

// file loads one file, if it is new or changed.
func (w *walker) file(name string) error {
	if w.files++; w.files > MaxFiles {
		return status.Errorf(status.ResourceExhausted, "%s: more than %d prompt files", name, MaxFiles)
	}
	f := w.s.files[name]
	isNew := f == nil
	if isNew {
		f = &loaded{}
		w.s.files[name] = f
	}
	f.seen = true
	info, err := fs.Stat(w.fsys, name)
	if err != nil {
		w.problem(f, status.Errorf(status.InvalidArgument, "%s: %w", name, err))
		return nil
	}
	if !info.Mode().IsRegular() {
		delete(w.s.files, name)
		return nil
	}
	if !isNew && info.Size() == f.size && info.ModTime().Equal(f.modified) && !info.ModTime().IsZero() && time.Since(f.modified) > settled {
		return nil
	}
	source, err := read(w.fsys, name)
	if err != nil {
		w.problem(f, status.Errorf(status.InvalidArgument, "%s: %w", name, err))
		return nil
	}
	sum := sha256.Sum256([]byte(source))
	f.size, f.modified = info.Size(), info.ModTime()
	if !isNew && sum == f.sum {
		return nil
	}
	f.sum = sum
	w.changed = true
	f.problem = w.s.apply(f, name, source)
	return nil
}

// settled is the age from which a file's modification time is trusted: clocks of file
// systems are coarse, so a file that was changed again just now may have the same time.
const settled = 2 * time.Second

func (w *walker) problem(f *loaded, err error) {
	if f.problem == nil || f.problem.Error() != err.Error() {
		w.changed = true
	}
	f.problem = err
}

func read(fsys fs.FS, name string) (string, error) {
	file, err := fsys.Open(name)
	if err != nil {
		return "", err
	}
	defer func() { _ = file.Close() }()
	raw, err := io.ReadAll(io.LimitReader(file, MaxFileBytes+1))
	if err == nil && len(raw) > MaxFileBytes {
		err = fmt.Errorf("more than %d bytes", MaxFileBytes)
	}
	return string(raw), err
}

// apply registers the prompt or partial of a file, or replaces the one that the file held before.
func (s *Set) apply(f *loaded, name, source string) error {
	base := strings.TrimSuffix(path.Base(name), extension)
	if partial, ok := strings.CutPrefix(base, "_"); ok {
		return s.applyPartial(f, name, partial, source)
	}
	base, variant := splitVariant(base)
	if dir := path.Dir(name); dir != "." {
		base = dir + "/" + base
	}
	if s.namespace != "" {
		base = s.namespace + "/" + base
	}
	d, problem := s.read(name, base, variant, source)
	switch {
	case f.prompt == nil:
		if problem != nil {
			d = &definition{cfg: Config{name: base, variant: variant}, broken: problem}
		}
		p, err := register(s.reg, d)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		f.prompt = p
	case problem == nil || f.prompt.definition.Load().broken != nil:
		if problem != nil {
			d = &definition{cfg: Config{name: base, variant: variant}, broken: problem}
		}
		f.prompt.replace(d)
	}
	return problem
}

func (s *Set) read(name, base, variant, source string) (*definition, error) {
	file, err := ParseFile(name, source)
	if err != nil {
		return nil, err
	}
	d, err := file.define(base, variant)
	if err != nil {
		return nil, err
	}
	if _, err := d.resolve(s.reg); err != nil && !errors.Is(err, status.ErrNotFound) {
		return nil, err
	}
	return d, nil
}

// applyPartial registers a partial: the file's text behind its front matter, if it has
// some.
func (s *Set) applyPartial(f *loaded, name, partial, source string) error {
	doc := frontmatter.Split(source)
	t, err := handlebars.Parse(doc.Body)
	if err != nil {
		line := 1
		if e, ok := errors.AsType[*handlebars.Error](err); ok {
			line, err = e.Line, e.Err
		}
		return status.Publicf(status.InvalidArgument, "%s:%d: %w", name, doc.BodyLine+line-1, err)
	}
	if partial == "" {
		return status.Publicf(status.InvalidArgument, "%s: a partial needs a name", name)
	}
	if f.partial != "" {
		s.reg.SetValue(PartialKind, partial, t)
		return nil
	}
	if err := s.reg.RegisterValue(PartialKind, partial, t); err != nil {
		if v, _ := s.reg.Value(PartialKind, partial); v != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		s.reg.SetValue(PartialKind, partial, t) // it was one that is gone
	}
	f.partial = partial
	return nil
}

// splitVariant cuts a name at the first dot of its last segment.
func splitVariant(name string) (base, variant string) {
	slash := strings.LastIndexByte(name, '/') + 1
	base, variant, _ = strings.Cut(name[slash:], ".")
	return name[:slash] + base, variant
}

// DefaultInterval is how often [Set.Watch] looks when it is not told.
const DefaultInterval = 500 * time.Millisecond

// Watch reloads the set again and again, until ctx ends. It tells the logger, which
// may be nil, what changed and what is wrong. It looks at the directory rather than
// waiting to be told, so that it works on every file system; it is meant for
// development.
func (s *Set) Watch(ctx context.Context, interval time.Duration, logger *slog.Logger) {
	if interval <= 0 {
		interval = DefaultInterval
	}
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	var last string
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		changed, err := s.Reload()
		if err == nil && changed {
			logger.InfoContext(ctx, "prompts were loaded again")
			err = s.Problem()
		} else if err == nil {
			continue
		}
		if err == nil {
			last = ""
		} else if err.Error() != last { // say it once
			last = err.Error()
			logger.ErrorContext(ctx, "prompts can't be loaded", "error", err)
		}
	}
}
