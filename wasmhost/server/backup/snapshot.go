package backup

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// Maker makes backups of a data directory, one at a time. It is safe for concurrent use.
type Maker struct {
	config Config
	busy   sync.Mutex // held while a snapshot is open
	most   time.Duration
}

// maxHold bounds the time for which changes wait.
const maxHold = 20 * time.Second

// New makes a maker, and removes what one has left in the directory that was killed.
func New(c Config) (*Maker, error) {
	if err := checkParts(c.Parts); err != nil {
		return nil, err
	}
	m := &Maker{config: c, most: maxHold}
	if c.Still {
		return m, nil
	}
	entries, err := os.ReadDir(c.Dir)
	if err != nil {
		return nil, storedir.Problem("read the data directory", err)
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), storedir.TemporaryPrefix) {
			if err := os.RemoveAll(filepath.Join(c.Dir, e.Name())); err != nil {
				return nil, storedir.Problem("remove an unfinished backup", err)
			}
		}
	}
	return m, nil
}

// Snapshot is a data directory as it was at one moment. It belongs to one caller. Close it.
type Snapshot struct {
	maker *Maker
	root  *os.Root
	dir   string // of links to the files; empty: they are read where they are
	locks []storedir.FS
	files []*snapped
	Info  Info
}

// snapped is a file as it was.
type snapped struct {
	name string
	at   string // where it is read
	size int64
	head []byte // its first bytes, where they are changed in place
}

// Begin holds all stores, notes what is there, and lets them go on: what was acknowledged
// before Begin was called is in the backup. Files are not copied, but get a second name (a
// hard link) in the data directory; where the file system has none, they are copied. It fails
// with UNAVAILABLE when another backup is under way, or when it would have to hold the stores
// for longer than 20 s.
func (m *Maker) Begin(ctx context.Context) (s *Snapshot, err error) {
	if !m.busy.TryLock() {
		return nil, status.Publicf(status.Unavailable, "another backup is under way").WithRetryAfter(5 * time.Second)
	}
	defer func() {
		if s == nil {
			m.busy.Unlock()
		}
	}()
	if m.config.Flush != nil {
		if err := m.config.Flush(ctx); err != nil {
			return nil, err
		}
	}
	root, err := os.OpenRoot(m.config.Dir)
	if err != nil {
		return nil, storedir.Problem("open the data directory", err)
	}
	made := &Snapshot{maker: m, root: root}
	if err := made.take(ctx); err != nil {
		return nil, errors.Join(storedir.Problem("make a backup", err), made.clear())
	}
	return made, nil
}

func (s *Snapshot) take(ctx context.Context) error {
	if s.maker.config.Still {
		if err := s.lock(); err != nil {
			return err
		}
	} else {
		s.dir = storedir.TemporaryName()
		if err := s.root.Mkdir(s.dir, 0o700); err != nil {
			return err
		}
		for _, p := range s.maker.config.Parts {
			if p.Store != nil {
				defer p.Store.Hold()()
			}
		}
	}
	s.Info = Info{Format: format, Version: version, CreatedAt: time.Now().UTC().Truncate(time.Millisecond), Server: s.maker.config.Version}
	by := time.Now().Add(s.maker.most)
	for _, p := range s.maker.config.Parts {
		err := fs.WalkDir(s.root.FS(), p.Name, func(name string, d fs.DirEntry, err error) error {
			switch {
			case errors.Is(err, fs.ErrNotExist) && name == p.Name:
				return nil
			case err != nil:
				return err
			case ctx.Err() != nil:
				return status.Convert(ctx.Err())
			case time.Now().After(by) && s.dir != "":
				return status.Publicf(status.Unavailable, "the data directory has too many files to back it up while the server runs; do it while the server is stopped")
			case !isOurs(p.Name, name):
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			case d.IsDir() && usable(name):
				return nil
			case !d.Type().IsRegular() || !usable(name):
				s.Info.Skipped++
				if d.IsDir() {
					return fs.SkipDir
				}
				return nil
			}
			return s.add(p, name)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lock takes the locks of the parts. Who has one is a server, or another command.
func (s *Snapshot) lock() error {
	for _, p := range s.maker.config.Parts {
		if info, err := s.root.Lstat(p.Name); err != nil || !info.IsDir() {
			continue
		}
		files, err := storedir.Open(filepath.Join(s.maker.config.Dir, p.Name), "directory")
		if errors.Is(err, syscall.EROFS) {
			continue
		}
		if err != nil {
			return err
		}
		s.locks = append(s.locks, files)
	}
	return nil
}

// add notes a file.
func (s *Snapshot) add(p Part, name string) error {
	f := &snapped{name: name, at: name}
	if s.dir != "" {
		f.at = s.dir + "/" + strconv.Itoa(len(s.files))
		err := s.root.Link(name, f.at)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			err = s.copy(name, f.at)
		}
		if err != nil {
			return err
		}
	}
	info, err := s.root.Lstat(f.at)
	if err != nil {
		return err
	}
	f.size = info.Size()
	if p.Journals && s.dir != "" {
		if f.head, err = s.readHead(f.at); err != nil {
			return err
		}
	}
	if s.files = append(s.files, f); len(s.files) > maxFiles {
		return status.Publicf(status.ResourceExhausted, "the data directory has more than %d files", maxFiles)
	}
	s.Info.Files++
	s.Info.Bytes += f.size
	return nil
}

func (s *Snapshot) copy(from, to string) (err error) {
	in, err := s.root.Open(from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	out, err := s.root.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

func (s *Snapshot) readHead(name string) (head []byte, err error) {
	f, err := s.root.Open(name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return io.ReadAll(io.LimitReader(f, journal.MaxHead))
}

// WriteTo writes the archive. One that was not written to its end is refused when it is read.
func (s *Snapshot) WriteTo(ctx context.Context, w io.Writer) error {
	out := &archive{Writer: tar.NewWriter(w)}
	raw, err := json.Marshal(s.Info)
	if err != nil {
		return status.Errorf(status.Internal, "backup: %w", err)
	}
	if err := out.add(infoName, int64(len(raw)), strings.NewReader(string(raw))); err != nil {
		return err
	}
	for _, f := range s.files {
		if err := ctx.Err(); err != nil {
			return status.Convert(err)
		}
		if err := s.write(out, f); err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
	}
	return out.finish()
}

func (s *Snapshot) write(out *archive, f *snapped) (err error) {
	in, err := s.root.Open(f.at)
	if err != nil {
		return storedir.Problem("read a file for the backup", err)
	}
	defer func() { err = errors.Join(err, in.Close()) }()
	head := f.head[:min(int64(len(f.head)), f.size)]
	if _, err := in.Seek(int64(len(head)), io.SeekStart); err != nil {
		return storedir.Problem("read a file for the backup", err)
	}
	return out.add(f.name, f.size, io.MultiReader(strings.NewReader(string(head)), in))
}

// Close removes what the snapshot has put into the data directory.
func (s *Snapshot) Close() error {
	defer s.maker.busy.Unlock()
	return s.clear()
}

func (s *Snapshot) clear() error {
	var err error
	for _, l := range s.locks {
		err = errors.Join(err, l.Close())
	}
	if s.dir != "" {
		err = s.root.RemoveAll(s.dir)
	}
	return errors.Join(err, s.root.Close())
}

// archive is a tar that is written.
type archive struct {
	*tar.Writer
	sums strings.Builder
}

func (a *archive) add(name string, size int64, content io.Reader) error {
	if err := a.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o600, ModTime: time.Unix(0, 0)}); err != nil {
		return status.Errorf(status.Unavailable, "write the archive: %w", err)
	}
	sum := sha256.New()
	n, err := io.Copy(io.MultiWriter(a, sum), io.LimitReader(content, size))
	if err == nil && n < size {
		err = status.Errorf(status.Aborted, "the file was cut off while it was read; make the backup again")
	}
	if err != nil {
		return status.Errorf(status.Unavailable, "write the archive: %w", err)
	}
	a.sums.WriteString(hex.EncodeToString(sum.Sum(nil)) + "  " + name + "\n")
	return nil
}

func (a *archive) finish() error {
	sums := a.sums.String()
	if err := a.add(sumsName, int64(len(sums)), strings.NewReader(sums)); err != nil {
		return err
	}
	if err := a.Close(); err != nil {
		return status.Errorf(status.Unavailable, "write the archive: %w", err)
	}
	return nil
}
