package usage

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// FileConfig configures [NewFile].
type FileConfig struct {
	// Path is the file. It is made, for its owner alone, where it is not there.
	Path string `json:"file"`
	// MaxBytes is the size at which the file is renamed and another one begun: 100 MiB.
	MaxBytes int64 `json:"maxBytes,omitempty"`
	// Files is how many renamed files are kept, "PATH.1" being the newest: 10.
	Files int `json:"files,omitempty"`
}

// File is a sink that writes each event as a line into a file, and begins another when that is
// long. Its queue belongs in memory. Close it after the book, unless the book does.
type File struct {
	config FileConfig

	mu   sync.Mutex // guards the fields below
	out  *os.File
	size int64
	torn bool // the last write has no end of line
}

var _ Sink = (*File)(nil)

const (
	defaultFileBytes = 100 << 20
	defaultFiles     = 10
	// MostFiles bounds [FileConfig].Files.
	MostFiles = 1000
)

// NewFile opens the file. It fails with INVALID_ARGUMENT for sizes out of their range, and with the
// system's error where the file can't be opened.
func NewFile(config FileConfig) (*File, error) {
	if config.Path == "" || config.MaxBytes < 0 || config.Files < 0 || config.Files > MostFiles {
		return nil, status.Publicf(status.InvalidArgument, "want \"file\", a \"maxBytes\" and at most %d \"files\" that are not negative", MostFiles)
	}
	config.MaxBytes, config.Files = cmp.Or(config.MaxBytes, defaultFileBytes), cmp.Or(config.Files, defaultFiles)
	f := &File{config: config}
	return f, f.open()
}

func (f *File) open() error {
	out, err := os.OpenFile(f.config.Path, os.O_CREATE|os.O_APPEND|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	info, err := out.Stat()
	if err != nil {
		return errors.Join(err, out.Close())
	}
	f.out, f.size = out, info.Size()
	last := []byte{'\n'}
	if f.size > 0 && info.Mode().IsRegular() {
		if _, err := out.ReadAt(last, f.size-1); err != nil {
			f.out = nil
			return errors.Join(err, out.Close())
		}
	}
	f.torn = last[0] != '\n' // a process was killed while it wrote
	return nil
}

// Send implements [Sink]. The lines of one call may be written in part before it fails; a line that
// was cut off is ended before the next one.
func (f *File) Send(_ context.Context, events []json.RawMessage) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var text bytes.Buffer
	for _, e := range events {
		text.Write(e)
		text.WriteByte('\n')
	}
	if f.out != nil && f.size > 0 && f.size+int64(text.Len()) > f.config.MaxBytes {
		if err := f.rotate(); err != nil {
			return err
		}
	}
	if f.out == nil {
		if err := f.open(); err != nil {
			return err
		}
	}
	raw := text.Bytes()
	if f.torn {
		raw = append([]byte("\n"), raw...)
	}
	n, err := f.out.Write(raw)
	f.size += int64(n)
	if n > 0 {
		f.torn = raw[n-1] != '\n'
	}
	if err != nil {
		return fmt.Errorf("write usage events: %w", err)
	}
	return nil
}

// rotate renames the file to "PATH.1", the one before to "PATH.2" and so on; the oldest is
// removed. mu is held.
func (f *File) rotate() error {
	name := func(i int) string { return fmt.Sprintf("%s.%d", f.config.Path, i) }
	_ = os.Remove(name(f.config.Files))
	for i := f.config.Files - 1; i >= 1; i-- {
		if err := os.Rename(name(i), name(i+1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(f.config.Path, name(1)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	err := f.out.Close()
	f.out, f.torn = nil, false
	return err
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.out == nil {
		return nil
	}
	err := f.out.Close()
	f.out = nil
	return err
}
