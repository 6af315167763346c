package audit

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"regexp"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir/journal"
)

// kind says in a file whose it is.
const kind = "gkwaud"

// header begins a file.
type header struct {
	// First is the number of its first entry, Before the hash of the entry before that.
	First  uint64 `json:"first"`
	Before string `json:"before"`
}

// headerOf returns the end of the chain that a file goes on with.
func headerOf(j *journal.Journal) (at head, err error) {
	var h header
	if err := json.Unmarshal(j.Header(), &h); err != nil {
		return at, status.Errorf(status.DataLoss, "its header can't be read: %w", err)
	}
	raw, err := hex.DecodeString(h.Before)
	if err != nil || len(raw) != hashBytes || h.First == 0 {
		return at, status.Errorf(status.DataLoss, "its header is none of an audit log")
	}
	at.seq = h.First - 1
	copy(at.hash[:], raw)
	if at.seq == 0 && at != (head{}) {
		return at, status.Errorf(status.DataLoss, "its header names an entry before the first one")
	}
	return at, nil
}

var fileName = regexp.MustCompile(`^audit-([0-9]{16})\.log$`)

func nameOf(first uint64) string { return fmt.Sprintf("audit-%016d.log", first) }

// firsts returns the numbers of the first entries of the files in a directory, in order.
func firsts(entries []fs.DirEntry) []uint64 {
	var all []uint64
	for _, e := range entries {
		if m := fileName.FindStringSubmatch(e.Name()); m != nil {
			n, _ := strconv.ParseUint(m[1], 10, 64) // 16 digits
			all = append(all, n)
		}
	}
	return all // ReadDir sorts
}

// tail is the file that is written.
type tail struct {
	file    storedir.File
	journal *journal.Journal
	first   uint64
}

// openTail opens the last file, and makes the first one where there is none.
func openTail(files storedir.FS) (*tail, head, error) {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil, head{}, status.Errorf(status.Unavailable, "read the audit log: %w", err)
	}
	all := firsts(entries)
	if len(all) == 0 {
		t, err := createTail(files, head{})
		return t, head{}, err
	}
	first := all[len(all)-1]
	// A crash may have come between the naming of the file and the syncing of its name.
	if err := files.SyncDir("."); err != nil {
		return nil, head{}, status.Errorf(status.Unavailable, "sync the audit log: %w", err)
	}
	file, err := files.OpenFile(nameOf(first), os.O_RDWR, 0)
	if err != nil {
		return nil, head{}, status.Errorf(status.Unavailable, "open the audit log: %w", err)
	}
	t := &tail{file: file, first: first}
	var at head
	if t.journal, at, err = read(file, file, first, nil); err != nil {
		_ = file.Close()
		return nil, head{}, fmt.Errorf("audit log, file %s: %w", nameOf(first), err)
	}
	return t, at, nil
}

// read opens a file of entries and calls each for every one that follows the one before.
// It returns the end of the chain. A file that is written meanwhile can look as if it lacked
// its end, which was acknowledged after its length was asked for: then it is read again.
func read(stat interface{ Stat() (fs.FileInfo, error) }, file journal.File, first uint64, each func(Entry)) (*journal.Journal, head, error) {
	for attempt := 0; ; attempt++ {
		called := false
		before, err := stat.Stat()
		if err != nil {
			return nil, head{}, status.Errorf(status.Unavailable, "read the file: %w", err)
		}
		j, at, err := readOnce(before, file, first, func(e Entry) {
			if called = true; each != nil {
				each(e)
			}
		})
		if err == nil || called || attempt == maxAttempts || !errors.Is(err, status.ErrDataLoss) {
			return j, at, err
		}
		if after, failed := stat.Stat(); failed != nil || after.Size() == before.Size() {
			return j, at, err
		}
	}
}

const maxAttempts = 10

func readOnce(info fs.FileInfo, file journal.File, first uint64, each func(Entry)) (*journal.Journal, head, error) {
	if !info.Mode().IsRegular() {
		return nil, head{}, status.Errorf(status.DataLoss, "it is no file")
	}
	var at head
	j, err := journal.Open(kind, file, info.Size(), func(j *journal.Journal) (err error) {
		if at, err = headerOf(j); err == nil && at.seq+1 != first {
			err = status.Errorf(status.DataLoss, "it begins with entry %d, and its name says %d", at.seq+1, first)
		}
		return err
	}, func(payload []byte, _ int64) error {
		e, next, err := unseal(payload, at)
		if err != nil {
			return err
		}
		at = next
		each(e)
		return nil
	})
	return j, at, err
}

// createTail makes the file that goes on after the end of the chain, whole or not at all. One
// of its name, which an earlier attempt has left, has no entries and is replaced.
func createTail(files storedir.FS, at head) (*tail, error) {
	h, err := json.Marshal(header{at.seq + 1, hex.EncodeToString(at.hash[:])})
	if err != nil {
		return nil, status.Errorf(status.Internal, "encode the header of an audit log: %w", err)
	}
	t := &tail{first: at.seq + 1}
	temporary := storedir.TemporaryName()
	if t.file, err = files.OpenFile(temporary, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600); err != nil {
		return nil, storedir.Problem("make a file of the audit log", err)
	}
	if t.journal, err = journal.Create(kind, t.file, h, nil); err == nil {
		err = storedir.Rename(files, ".", temporary, nameOf(t.first))
	}
	if err != nil {
		err = errors.Join(err, t.file.Close())
		storedir.Discard(files, temporary)
		return nil, storedir.Problem("make a file of the audit log", err)
	}
	return t, nil
}

// readOnly is a file that a reader opens as a journal: nothing that opening would put right
// is written, as the file may be one that a server writes.
type readOnly struct{ journal.File }

func (readOnly) WriteAt(p []byte, _ int64) (int, error) { return len(p), nil }
func (readOnly) Truncate(int64) error                   { return nil }
func (readOnly) Sync() error                            { return nil }
