package script

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// Bounds of an archive's content, beside [MaxPackageFiles], [MaxPackageFileBytes] and [MaxPackageExpandedBytes].
const (
	maxNameBytes = 512
	maxDepth     = 32
)

// tree holds the files of an archive by their names, which are relative, with slashes, and clean.
type tree struct {
	files map[string][]byte
	names map[string]entryName // of files and directories, by their names in lower case
	bytes int64
	count int
}

type entryName struct {
	name      string
	directory bool
}

// readArchive reads a tar, a tar.gz or a zip. It fails with INVALID_ARGUMENT, before it has read much, on an archive that
// holds more than it may, anything but files and directories, or names that lead elsewhere or collide.
func readArchive(archive []byte) (*tree, error) {
	t := &tree{files: map[string][]byte{}, names: map[string]entryName{}}
	var err error
	switch {
	case bytes.HasPrefix(archive, []byte("\x1f\x8b")):
		var zipped *gzip.Reader
		if zipped, err = gzip.NewReader(bytes.NewReader(archive)); err == nil {
			err = t.readTar(zipped)
		}
	case bytes.HasPrefix(archive, []byte("PK\x03\x04")), bytes.HasPrefix(archive, []byte("PK\x05\x06")):
		err = t.readZip(archive)
	case len(archive) > 262 && string(archive[257:262]) == "ustar":
		err = t.readTar(bytes.NewReader(archive))
	default:
		return nil, status.Publicf(status.InvalidArgument, "the upload is no archive that is known here: want a tar, a tar.gz or a zip")
	}
	if err != nil {
		if e := status.Convert(err); e.Code == status.InvalidArgument {
			return nil, e
		}
		return nil, status.Publicf(status.InvalidArgument, "the archive is damaged: %s", abi.Line(err.Error(), 200))
	}
	t.stripRoot()
	return t, nil
}

// errStream ends a stream that expands to more than an archive may.
var errStream = status.Publicf(status.InvalidArgument, "the archive expands to more than %d bytes", int64(MaxPackageExpandedBytes))

// bounded reads at most left bytes, and fails behind them.
type bounded struct {
	io.Reader
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errStream
	}
	n, err := b.Reader.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

func (t *tree) readTar(stream io.Reader) error {
	// A file has a header of 512 bytes, and up to as much of padding; long names take two more such blocks.
	r := tar.NewReader(&bounded{stream, MaxPackageExpandedBytes + MaxPackageFiles*2048 + 1<<20})
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err == nil {
			err = t.countEntry()
		}
		if err != nil {
			return err
		}
		switch h.Typeflag {
		case tar.TypeXGlobalHeader:
			continue
		case tar.TypeReg, tar.TypeDir:
		default:
			return refusedEntry(h.Name, "is a link or a device, and may be a file or a directory")
		}
		if err := t.add(h.Name, h.Typeflag == tar.TypeDir, h.Size, r); err != nil {
			return err
		}
	}
}

func (t *tree) readZip(archive []byte) error {
	r, err := zip.NewReader(bytes.NewReader(archive), int64(len(archive)))
	if err != nil {
		return err
	}
	for _, f := range r.File {
		if err := t.countEntry(); err != nil {
			return err
		}
		mode := f.Mode()
		if !mode.IsDir() && mode&fs.ModeType != 0 {
			return refusedEntry(f.Name, "is a link or a device, and may be a file or a directory")
		}
		if f.Flags&1 != 0 {
			return refusedEntry(f.Name, "is encrypted")
		}
		if f.UncompressedSize64 > MaxPackageFileBytes {
			return tooBig(f.Name)
		}
		content, err := f.Open()
		if err != nil {
			return err
		}
		err = t.add(f.Name, mode.IsDir(), int64(f.UncompressedSize64), content)
		if closed := content.Close(); err == nil {
			err = closed
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func refusedEntry(name, why string) error {
	return status.Publicf(status.InvalidArgument, "the archive's entry %q %s", abi.Line(name, 200), why)
}

func tooBig(name string) error {
	return refusedEntry(name, fmt.Sprintf("is longer than %d bytes", MaxPackageFileBytes))
}

// add checks an entry and keeps its content. size is what the archive says of it.
func (t *tree) add(name string, directory bool, size int64, content io.Reader) error {
	clean, err := cleanName(name)
	if err != nil || clean == "" {
		return err
	}
	if err := t.claim(clean, directory); err != nil || directory {
		return err
	}
	if size > MaxPackageFileBytes {
		return tooBig(name)
	}
	raw, err := io.ReadAll(io.LimitReader(content, MaxPackageFileBytes+1))
	if err != nil {
		return err
	}
	if len(raw) > MaxPackageFileBytes {
		return tooBig(name)
	}
	if t.bytes += int64(len(raw)); t.bytes > MaxPackageExpandedBytes {
		return errStream
	}
	if base := path.Base(clean); strings.HasPrefix(clean, "__MACOSX/") || strings.HasPrefix(base, "._") || base == ".DS_Store" {
		return nil // what macOS adds
	}
	t.files[clean] = raw
	return nil
}

// countEntry refuses an entry too many.
func (t *tree) countEntry() error {
	if t.count++; t.count > MaxPackageFiles {
		return status.Publicf(status.InvalidArgument, "the archive has more than %d entries; leave out what the script does not need", MaxPackageFiles)
	}
	return nil
}

// cleanName is the name of an entry without "./" before and "/" behind it; empty for the archive's root.
func cleanName(name string) (string, error) {
	clean := name
	for strings.HasPrefix(clean, "./") {
		clean = clean[2:]
	}
	clean = strings.TrimSuffix(clean, "/")
	if clean == "" && name != "" && name[0] != '/' || clean == "." {
		return "", nil
	}
	switch {
	case len(clean) > maxNameBytes:
		return "", refusedEntry(name, fmt.Sprintf("has a name of more than %d bytes", maxNameBytes))
	case clean == "" || clean[0] == '/' || strings.ContainsAny(clean, `\:`):
		return "", refusedEntry(name, `has an absolute name, or one with "\" or ":"`)
	case abi.Line(clean, maxNameBytes) != clean:
		return "", refusedEntry(name, "has characters in its name that can't be shown")
	case strings.Count(clean, "/") >= maxDepth:
		return "", refusedEntry(name, fmt.Sprintf("lies more than %d directories deep", maxDepth))
	}
	for part := range strings.SplitSeq(clean, "/") {
		if part == "" || part == "." || part == ".." {
			return "", refusedEntry(name, `has an empty part in its name, or "." or ".."`)
		}
	}
	return clean, nil
}

// claim takes a name and those of its directories, and refuses one that another entry has, in whatever case.
func (t *tree) claim(name string, directory bool) error {
	for i := range len(name) {
		if name[i] != '/' {
			continue
		}
		if err := t.claimOne(name[:i], true); err != nil {
			return err
		}
	}
	return t.claimOne(name, directory)
}

func (t *tree) claimOne(name string, directory bool) error {
	folded := strings.ToLower(name)
	was, taken := t.names[folded]
	if taken && (was.name != name || !directory || !was.directory) {
		if was.name == name {
			return refusedEntry(name, "is there twice")
		}
		return refusedEntry(name, fmt.Sprintf("differs from %q in the case of letters alone", was.name))
	}
	t.names[folded] = entryName{name, directory}
	return nil
}

// stripRoot takes away the one directory that holds all else, as "npm pack" and downloads of repositories have it.
func (t *tree) stripRoot() {
	root := ""
	for name := range t.files {
		first, _, below := strings.Cut(name, "/")
		if !below || first == "node_modules" || (root != "" && root != first) {
			return
		}
		root = first
	}
	stripped := make(map[string][]byte, len(t.files))
	for name, content := range t.files {
		stripped[strings.TrimPrefix(name, root+"/")] = content
	}
	t.files = stripped
}
