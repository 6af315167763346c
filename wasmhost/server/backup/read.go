package backup

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// File is a file of an archive that is read.
type File struct {
	Name string
	Size int64
	io.Reader
	// Sum returns the SHA-256 of all once it was read.
	Sum func() [sha256.Size]byte
}

// Read reads an archive to its end and calls each for every file, in the archive's order, which
// reads the file or leaves it. parts are the first elements that names may have. What each got
// is not known to be whole before Read has returned nil.
//
// It fails with INVALID_ARGUMENT when it is no archive of this package, or of a later version,
// and with DATA_LOSS when it is damaged, or not all of it is there.
func Read(r io.Reader, parts []string, each func(f *File) error) (Info, error) {
	in := &reader{tar: tar.NewReader(r), parts: map[string]bool{}, sums: map[string][sha256.Size]byte{}}
	for _, p := range parts {
		in.parts[p] = true
	}
	if err := in.readInfo(); err != nil {
		return Info{}, err
	}
	for {
		h, err := in.next()
		if err != nil {
			return in.info, err
		}
		if h.Name == sumsName {
			break
		}
		if err := in.readFile(h, each); err != nil {
			return in.info, err
		}
	}
	if err := in.checkSums(); err != nil {
		return in.info, err
	}
	if _, err := in.tar.Next(); !errors.Is(err, io.EOF) {
		return in.info, damaged("something follows its end")
	}
	_, err := io.Copy(io.Discard, r) // who writes it must not find that nobody reads
	if err != nil {
		return in.info, status.Errorf(status.Unavailable, "read the archive: %w", err)
	}
	return in.info, nil
}

func damaged(why string, args ...any) error {
	return status.Publicf(status.DataLoss, "the archive is damaged: "+why, args...)
}

type reader struct {
	tar   *tar.Reader
	info  Info
	parts map[string]bool
	sums  map[string][sha256.Size]byte
	bytes int64
}

func (in *reader) next() (*tar.Header, error) {
	h, err := in.tar.Next()
	switch {
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, damaged("it ends too early")
	case errors.Is(err, tar.ErrHeader):
		return nil, damaged("it is no tar from some place on")
	case err != nil:
		return nil, status.Errorf(status.Unavailable, "read the archive: %w", err)
	case h.Typeflag != tar.TypeReg || h.Size < 0:
		return nil, damaged("it has something that is no file")
	}
	return h, nil
}

func foreign(why string) error {
	return status.Publicf(status.InvalidArgument, "this is no backup that \"genkit-wasm backup\" has made: %s", why)
}

func (in *reader) readInfo() error {
	h, err := in.tar.Next()
	if err != nil {
		return foreign("it does not begin as one")
	}
	if h.Name != infoName || h.Typeflag != tar.TypeReg || h.Size > maxInfoBytes {
		return foreign("it does not begin with " + infoName)
	}
	raw, err := in.readSmall(h, maxInfoBytes)
	if err != nil {
		return err
	}
	if json.Unmarshal(raw, &in.info) != nil || in.info.Format != format {
		return foreign("its " + infoName + " can't be read")
	}
	if in.info.Version != version {
		return status.Publicf(status.InvalidArgument, "the backup has version %d of its form, and this program reads version %d: take a newer genkit-wasm", in.info.Version, version)
	}
	in.sums[infoName] = sha256.Sum256(raw)
	return nil
}

func (in *reader) readSmall(h *tar.Header, most int64) ([]byte, error) {
	if h.Size > most {
		return nil, damaged("%s is too long", h.Name)
	}
	raw, err := io.ReadAll(in.tar)
	if err != nil {
		return nil, readError(err)
	}
	return raw, nil
}

func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		return damaged("it ends too early")
	}
	return status.Errorf(status.Unavailable, "read the archive: %w", err)
}

func (in *reader) readFile(h *tar.Header, each func(f *File) error) error {
	part, _, _ := strings.Cut(h.Name, "/")
	if _, twice := in.sums[h.Name]; twice || !usable(h.Name) || !in.parts[part] {
		return damaged("it has a file where none can be")
	}
	if len(in.sums) > in.info.Files {
		return damaged("it has more files than it says")
	}
	sum := sha256.New()
	content := &remembering{Reader: in.tar}
	all := io.TeeReader(content, sum)
	f := &File{Name: h.Name, Size: h.Size, Reader: all, Sum: func() (s [sha256.Size]byte) {
		sum.Sum(s[:0])
		return s
	}}
	if err := each(f); err != nil {
		if content.err != nil {
			return readError(content.err)
		}
		return err
	}
	if _, err := io.Copy(io.Discard, all); err != nil {
		return readError(err)
	}
	in.sums[h.Name] = f.Sum()
	in.bytes += h.Size
	return nil
}

// remembering remembers why reading has failed.
type remembering struct {
	io.Reader
	err error
}

func (r *remembering) Read(p []byte) (int, error) {
	n, err := r.Reader.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		r.err = err
	}
	return n, err
}

// checkSums compares what was read with the archive's last file.
func (in *reader) checkSums() error {
	if len(in.sums)-1 != in.info.Files || in.bytes != in.info.Bytes {
		return damaged("it has not the files that it says")
	}
	lines := bufio.NewScanner(io.LimitReader(in.tar, maxSumsBytes))
	checked := 0
	for lines.Scan() {
		sum, name, ok := strings.Cut(lines.Text(), "  ")
		raw, err := hex.DecodeString(sum)
		known, there := in.sums[name]
		if !ok || err != nil || !there || string(raw) != string(known[:]) {
			return damaged("the content of %s is not what %s says", shown(name, in.parts), sumsName)
		}
		delete(in.sums, name)
		checked++
	}
	if err := lines.Err(); err != nil && !errors.Is(err, bufio.ErrTooLong) {
		return readError(err)
	}
	if len(in.sums) > 0 || checked != in.info.Files+1 {
		return damaged("%s does not have all files", sumsName)
	}
	return nil
}

// shown is a name for a message, which comes from an archive of nobody known.
func shown(name string, parts map[string]bool) string {
	part, _, _ := strings.Cut(name, "/")
	if usable(name) && (parts[part] || name == infoName) {
		return name
	}
	return "a file"
}
