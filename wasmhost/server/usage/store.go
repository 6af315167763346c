package usage

import (
	"errors"
	"io/fs"
	"os"
	"slices"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Store keeps the sums of a book: text under names, which are 1 to 64 small letters, digits, "-" and ".". It
// belongs to one book at a time, which calls one method after the other. The package usagetest checks this
// contract.
//
// An error that is not one of those named says that the store could not do its work now; it is tried again.
type Store interface {
	// Names returns the names under which something is stored, sorted.
	Names() ([]string, error)
	// Read returns what is stored under a name; NOT_FOUND where nothing is, DATA_LOSS where it can't be
	// read and never will be. The caller owns the text.
	Read(name string) ([]byte, error)
	// Append adds text to what is stored under a name; where it is empty, none is added, and nothing is stored that was
	// not. Once it has returned all that is stored under the name outlives the process and a power cut. When it fails, or
	// is cut off, any beginning of the text may be there; none of it where nothing was stored, so that no name ever
	// has an empty text.
	Append(name string, text []byte) error
	// Replace puts text in the place of what is stored under a name, whole or not at all. Where it is empty, nothing
	// is stored any more; that is no error where nothing was.
	Replace(name string, text []byte) error
}

const maxFileBytes = 256 << 20

// dirStore keeps each name in a file.
type dirStore struct {
	files storedir.FS
	// named is set when the names of the files are on the disk.
	named bool
}

// newDirStore keeps names in the files of a directory, which an earlier process may have left unsynced.
func newDirStore(files storedir.FS) *dirStore {
	return &dirStore{files, files.SyncDir(".") == nil} // else with what is written first
}

// Names implements [Store].
func (d *dirStore) Names() ([]string, error) {
	entries, err := d.files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	slices.Sort(names)
	return names, nil
}

// Read implements [Store].
func (d *dirStore) Read(name string) ([]byte, error) {
	raw, err := d.files.ReadFile(name, maxFileBytes)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, status.Errorf(status.NotFound, "the usage accounts have no %q", name)
	case errors.Is(err, storedir.ErrIrregular):
		return nil, status.Errorf(status.DataLoss, "read %q of the usage accounts: %w", name, err)
	}
	return raw, err
}

// Append implements [Store].
func (d *dirStore) Append(name string, text []byte) error {
	f, err := d.files.OpenFile(name, os.O_APPEND|os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		if len(text) == 0 {
			return nil
		}
		d.named = false // until it is known
		err = storedir.WriteFile(d.files, ".", name, text)
		d.named = err == nil
		return err
	}
	if err != nil {
		return err
	}
	if len(text) > 0 {
		_, err = f.Write(text)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil && !d.named {
		err = d.files.SyncDir(".")
		d.named = err == nil
	}
	return errors.Join(err, f.Close())
}

// isEmpty reports whether a file has lost all it had: none is made without text.
func (d *dirStore) isEmpty(name string) bool {
	_, err := d.files.ReadFile(name, 0)
	return err == nil
}

// Replace implements [Store].
func (d *dirStore) Replace(name string, text []byte) error {
	if len(text) > 0 {
		return storedir.WriteFile(d.files, ".", name, text)
	}
	if err := d.files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}
