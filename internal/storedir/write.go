package storedir

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path"
	"strings"
)

// TemporaryPrefix begins the names of files that are unfinished, or are being removed.
// [RemoveTemporary] removes those that a killed process left.
const TemporaryPrefix = ".tmp-"

// TemporaryName returns a name that nothing else has.
func TemporaryName() string { return TemporaryPrefix + rand.Text() }

// UnsettledError says that a change was made and is not known to last: a power cut may
// undo it.
type UnsettledError struct{ Err error }

func (e *UnsettledError) Error() string { return e.Err.Error() }

// Unwrap returns the cause.
func (e *UnsettledError) Unwrap() error { return e.Err }

// Unsettled reports whether an error leaves the content of the disk unknown.
func Unsettled(err error) bool {
	_, ok := errors.AsType[*UnsettledError](err)
	return ok
}

// WriteFile puts a file into the directory dir, or in the place of the one of that name:
// whole, and on the disk when it returns nil. When it fails the old one is there, or it is
// [Unsettled] which of the two.
func WriteFile(fsys FS, dir, name string, content []byte) error {
	temporary := path.Join(dir, TemporaryName())
	err := WriteNew(fsys, temporary, content)
	if err != nil {
		Discard(fsys, temporary)
		return err
	}
	if err := Rename(fsys, dir, temporary, path.Join(dir, name)); err != nil {
		Discard(fsys, temporary)
		return err
	}
	return nil
}

// WriteNew makes a file and syncs it; its name is not on the disk yet.
func WriteNew(fsys FS, name string, content []byte) error {
	f, err := fsys.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = f.Write(content); err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close())
}

// Rename renames within dir, and the new name is on the disk when it returns nil. A
// failure is always [Unsettled]: a rename may have happened and failed.
func Rename(fsys FS, dir, from, to string) error {
	err := fsys.Rename(from, to)
	if err == nil {
		err = fsys.SyncDir(dir)
	}
	if err != nil {
		return &UnsettledError{err}
	}
	return nil
}

// Mkdir makes a directory in dir where there is none; it is on the disk when it returns nil.
func Mkdir(fsys FS, dir, name string) error {
	if err := fsys.Mkdir(path.Join(dir, name), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return fsys.SyncDir(dir)
}

// Discard removes a file or directory, with all below it. Entries that it can't remove
// now are removed when the directory is opened again.
func Discard(fsys FS, name string) { _ = RemoveAll(fsys, name) }

// RemoveAll removes a file, or a directory with all in it; nothing is there is no failure.
func RemoveAll(fsys FS, name string) error {
	err := fsys.Remove(name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	entries, readErr := fsys.ReadDir(name)
	if readErr != nil {
		return err
	}
	for _, e := range entries {
		if err := RemoveAll(fsys, path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	if err = fsys.Remove(name); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// RemoveTemporary removes files with a temporary name from the directories.
func RemoveTemporary(fsys FS, dirs ...string) error {
	for _, dir := range dirs {
		entries, err := fsys.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), TemporaryPrefix) {
				continue
			}
			if err := RemoveAll(fsys, path.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
