package backup

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Target says what is restored.
type Target struct {
	// Parts are the first elements that names of files may have.
	Parts []string
	// Check looks at the restored directory before it gets its place; nil does not. What it
	// leaves there is restored, too.
	Check func(ctx context.Context, dir string) error
	// DryRun restores into a temporary directory, and removes that.
	DryRun bool
	// fleeting is set where nothing has to outlive the process.
	fleeting bool
}

// ignored are entries that a directory may have and be empty: file systems make them.
var ignored = []string{"lost+found"}

// Restore reads an archive into a data directory, which is made where it is not there, and must
// be empty: FAILED_PRECONDITION where it is not. The files go into a directory in it, are
// synced and checked there, and get their places at the end: an archive that is damaged, as
// [Read] and Check tell, leaves the data directory as it was. A process that is killed leaves
// one that [CheckFinished] refuses.
func Restore(ctx context.Context, r io.Reader, dir string, t Target) (info Info, err error) {
	if t.DryRun {
		return dryRun(ctx, r, dir, t)
	}
	_, err = os.Stat(dir)
	made := errors.Is(err, fs.ErrNotExist)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return info, storedir.Problem("make the data directory", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return info, storedir.Problem("open the data directory", err)
	}
	done := func() error { return root.Close() }
	defer func() { err = errors.Join(err, done()) }()
	if err := begin(root, dir); err != nil {
		return info, err
	}
	info, err = restore(ctx, r, root, dir, t)
	if err != nil {
		err = errors.Join(err, root.RemoveAll(Unfinished))
		if made {
			done = func() error { return errors.Join(root.Close(), os.Remove(dir)) }
		}
	}
	return info, err
}

func dryRun(ctx context.Context, r io.Reader, dir string, t Target) (info Info, err error) {
	if err := checkEmpty(dir); err != nil {
		return info, err
	}
	temporary, err := os.MkdirTemp("", "genkit-wasm-restore-")
	if err != nil {
		return info, storedir.Problem("make a temporary directory", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(temporary)) }()
	t.DryRun, t.fleeting = false, true
	return Restore(ctx, r, temporary, t)
}

func checkEmpty(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return storedir.Problem("read the data directory", err)
	}
	if err := CheckFinished(dir); err != nil {
		return err
	}
	return refuseEntries(dir, entries)
}

func refuseEntries(dir string, entries []fs.DirEntry) error {
	for _, e := range entries {
		if e.Name() != Unfinished && !slices.Contains(ignored, e.Name()) {
			return status.Publicf(status.FailedPrecondition, "the directory %q is not empty: a backup is restored into an empty one", dir)
		}
	}
	return nil
}

// begin makes the directory to work in. From then on no server starts, so that who comes first
// is found by the other.
func begin(root *os.Root, dir string) error {
	err := root.Mkdir(Unfinished, 0o700)
	if errors.Is(err, fs.ErrExist) {
		return CheckFinished(dir)
	}
	if err != nil {
		return storedir.Problem("write to the data directory", err)
	}
	entries, err := fs.ReadDir(root.FS(), ".")
	if err == nil {
		err = refuseEntries(dir, entries)
	}
	if err == nil {
		err = storedir.Sync(root, ".")
	}
	if err != nil {
		return errors.Join(storedir.Problem("write to the data directory", err), root.Remove(Unfinished))
	}
	return nil
}

func restore(ctx context.Context, r io.Reader, root *os.Root, dir string, t Target) (Info, error) {
	to := &extraction{root: root, fleeting: t.fleeting, dirs: map[string]bool{".": true}}
	info, err := Read(r, t.Parts, func(f *File) error {
		if err := ctx.Err(); err != nil {
			return status.Convert(err)
		}
		return to.extract(f)
	})
	if err != nil {
		return info, err
	}
	if t.Check != nil {
		if err := t.Check(ctx, filepath.Join(dir, Unfinished)); err != nil {
			return info, err
		}
	}
	if err := to.place(); err != nil {
		return info, storedir.Problem("restore", err)
	}
	return info, nil
}

// extraction puts files into the directory to work in.
type extraction struct {
	root     *os.Root
	fleeting bool
	dirs     map[string]bool // that were made
}

func (x *extraction) extract(f *File) error {
	if err := x.makeDir(path.Dir(f.Name)); err != nil {
		return storedir.Problem("restore", err)
	}
	out, err := x.root.OpenFile(Unfinished+"/"+f.Name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return storedir.Problem("restore", err)
	}
	if _, err = io.Copy(out, f); err == nil && !x.fleeting {
		err = out.Sync()
	}
	if err := errors.Join(err, out.Close()); err != nil {
		return storedir.Problem("restore", err)
	}
	return nil
}

func (x *extraction) makeDir(name string) error {
	if x.dirs[name] {
		return nil
	}
	if err := x.makeDir(path.Dir(name)); err != nil {
		return err
	}
	x.dirs[name] = true
	return x.root.Mkdir(Unfinished+"/"+name, 0o700)
}

// place gives the files their places.
func (x *extraction) place() error {
	err := fs.WalkDir(x.root.FS(), Unfinished, func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.IsDir() {
			err = storedir.Sync(x.root, name)
		}
		return err
	})
	if err != nil {
		return err
	}
	entries, err := fs.ReadDir(x.root.FS(), Unfinished)
	if err != nil {
		return err
	}
	for i, e := range entries {
		if err := x.root.Rename(Unfinished+"/"+e.Name(), e.Name()); err != nil {
			for _, moved := range entries[:i] { // nothing stays
				err = errors.Join(err, x.root.RemoveAll(moved.Name()))
			}
			return err
		}
	}
	if err := storedir.Sync(x.root, "."); err != nil {
		return err
	}
	if err := x.root.Remove(Unfinished); err != nil {
		return err
	}
	return storedir.Sync(x.root, ".")
}
