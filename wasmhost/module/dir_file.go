package module

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

const temporaryPrefix = ".tmp-"

// files does the writing of a [Dir]. Every change to the disk is announced to
// step first, which tests use to end the work at that point.
type files struct {
	root *os.Root
	step func() error
}

func (f files) change() error {
	if f.step == nil {
		return nil
	}
	return f.step()
}

func temporaryName() string { return temporaryPrefix + rand.Text() }

// sync writes a directory's entries to the disk.
func (f files) sync(dir string) error {
	if err := f.change(); err != nil {
		return err
	}
	return storedir.Sync(f.root, dir)
}

// write puts a file into dir, or another in its place, all or nothing.
func (f files) write(dir, name string, content []byte) error {
	temporary := dir + "/" + temporaryName()
	err := f.writeNew(temporary, content)
	if err == nil {
		err = f.rename(temporary, dir+"/"+name)
	}
	if err != nil {
		f.discard(temporary)
		return err
	}
	return f.sync(dir)
}

func (f files) writeNew(path string, content []byte) error {
	if err := f.change(); err != nil {
		return err
	}
	file, err := f.root.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	// In two pieces, so that a test can stop in the middle of a file.
	half := len(content) / 2
	_, err = file.Write(content[:half])
	if err == nil {
		err = f.change()
	}
	if err == nil {
		_, err = file.Write(content[half:])
	}
	if err == nil {
		err = file.Sync()
	}
	return errors.Join(err, file.Close())
}

func (f files) rename(from, to string) error {
	if err := f.change(); err != nil {
		return err
	}
	return f.root.Rename(from, to)
}

func (f files) mkdir(dir string) error {
	if err := f.change(); err != nil {
		return err
	}
	if err := f.root.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

// discard removes what is of no use any more. What it can't remove now is removed
// when the directory is opened again.
func (f files) discard(path string) {
	if f.change() == nil {
		_ = f.root.RemoveAll(path)
	}
}

// list returns the sorted names in a directory.
func (f files) list(dir string) ([]string, error) {
	d, err := f.root.Open(dir)
	if err != nil {
		return nil, err
	}
	names, err := d.Readdirnames(-1)
	slices.Sort(names)
	return names, errors.Join(err, d.Close())
}

func (f files) removeTemporary(dirs ...string) error {
	for _, dir := range dirs {
		names, err := f.list(dir)
		if err != nil {
			return err
		}
		for _, name := range names {
			if strings.HasPrefix(name, temporaryPrefix) {
				if err := f.root.RemoveAll(dir + "/" + name); err != nil {
					return err
				}
			}
		}
	}
	return nil
}
