// Package backup makes an archive of a server's data directory while the server runs, and puts
// one back.
//
// It owns the archive's form, how a moment is held still for it, and the rule that a directory
// is restored as a whole or not at all. It knows the stores by the directories that they are in
// and nothing of what they keep. Use:
//
//	maker, err := backup.New(backup.Config{Dir: "data", Parts: []backup.Part{{Name: "modules", Store: modules}, …}})
//	snapshot, err := maker.Begin(ctx)      // everything as it is at one moment
//	err = snapshot.WriteTo(ctx, w)         // the archive, while changes go on
//	err = snapshot.Close()
//	info, err := backup.Restore(ctx, archive, "data", backup.Target{Parts: names, Check: check})
//
// The archive is a tar: backup.json ([Info]), the files under their names in the data directory,
// and SHA256SUMS with the hash of each of them, in the form of sha256sum. It has what the
// directory has: hashes of API keys, secrets as they are encrypted, and values of guests as they
// are. So it is to be kept as the directory is.
//
// Experimental: the package is new.
package backup

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Holder is a store whose changes wait while they are held.
type Holder interface {
	// Hold waits until each change of a file that is under way has been made, and has further
	// ones wait until release is called.
	Hold() (release func())
}

// Part is a directory, or a file, below the data directory.
type Part struct {
	Name string
	// Store changes it; nil where nobody does meanwhile.
	Store Holder
	// Journals says that its files are changed in place at their beginning, at most
	// [journal.MaxHead] bytes of it; files are never changed elsewhere but at their end.
	Journals bool
}

// Config configures a maker. Dir and Parts are required.
type Config struct {
	// Dir is the data directory. What is not in a part is no part of a backup.
	Dir   string
	Parts []Part
	// Version is the server's, for who reads the archive.
	Version string
	// Flush is called before a moment is held, and has the stores write what they keep in
	// memory for a while; nil does nothing.
	Flush func(ctx context.Context) error
	// Still says that no server has the directory. The parts' locks are held until the snapshot
	// is closed, and files are read where they are. On a file system that is read-only, where
	// nobody can change them, there need not be locks.
	Still bool
}

// Info describes an archive.
type Info struct {
	Format    string    `json:"format"`  // "genkit-wasm-backup"
	Version   int       `json:"version"` // of the form: 1
	CreatedAt time.Time `json:"createdAt"`
	Server    string    `json:"server,omitempty"` // the version of the program
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
	// Skipped counts what was in the directories and is no file of a store, such as a link.
	Skipped int `json:"skipped,omitempty"`
}

const (
	format   = "genkit-wasm-backup"
	version  = 1
	infoName = "backup.json"
	sumsName = "SHA256SUMS"
	// Bounds of an archive.
	maxInfoBytes = 64 << 10
	maxSumsBytes = 1 << 30
	maxFiles     = 4_000_000
	maxName      = 1024
)

// element is a name in a directory of a store. None begins with a dot, so that none leads out.
var element = regexp.MustCompile(`^[A-Za-z0-9!_-][A-Za-z0-9!_.-]*$`)

// usable reports whether a file of an archive may have the name.
func usable(name string) bool {
	if len(name) > maxName {
		return false
	}
	for part := range strings.SplitSeq(name, "/") {
		if !element.MatchString(part) {
			return false
		}
	}
	return true
}

// Unfinished is the directory in a data directory that a restore works in. While it is there the
// data directory is none that a server may use.
const Unfinished = ".restoring"

// CheckFinished fails with FAILED_PRECONDITION when a restore into a data directory has not
// ended.
func CheckFinished(dir string) error {
	if _, err := os.Lstat(filepath.Join(dir, Unfinished)); errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	} else if err != nil && !errors.Is(err, fs.ErrExist) {
		return nil //nolint:nilerr // the stores tell what is wrong with the directory
	}
	return status.Publicf(status.FailedPrecondition, "a restore into %q has not ended: remove all that is in it, and restore again", dir)
}

func checkParts(parts []Part) error {
	if len(parts) == 0 {
		return status.Errorf(status.InvalidArgument, "backup: Parts are required")
	}
	for i, p := range parts {
		if !element.MatchString(p.Name) || p.Name == infoName || p.Name == sumsName ||
			slices.ContainsFunc(parts[:i], func(q Part) bool { return q.Name == p.Name }) {
			return status.Errorf(status.InvalidArgument, "backup: part %q: want a name in the data directory, once", p.Name)
		}
	}
	return nil
}

// isOurs reports whether an entry of a part's directory belongs in a backup: locks and
// unfinished files do not.
func isOurs(part, name string) bool {
	return !strings.HasPrefix(path.Base(name), storedir.TemporaryPrefix) && name != part+"/"+storedir.LockName
}
