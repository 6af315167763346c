package audit

import (
	"encoding/hex"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"strconv"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

const (
	removalWhat = "removeAudit"
	removalWho  = "server"
	// retainEvery is how often old files are looked for.
	retainEvery = time.Hour
)

// old returns the file with the last entry that is too old to be kept, as the end of the chain at which the file
// after it goes on; the zero head for none. A file is as old as its last change. The one that is written stays.
func (l *Log) old(now time.Time) (head, error) {
	entries, err := l.files.ReadDir(".")
	if err != nil {
		return head{}, err
	}
	all := firsts(entries)
	var end head
	for i := range len(all) - 1 {
		changed, err := l.changed(all[i])
		if err != nil || now.Sub(changed) < l.config.Keep {
			return end, err
		}
		if end, err = l.before(all[i+1]); err != nil {
			return head{}, err
		}
	}
	return end, nil
}

func (l *Log) changed(first uint64) (time.Time, error) {
	file, err := l.files.OpenFile(nameOf(first), os.O_RDONLY, 0)
	if err != nil {
		return time.Time{}, err
	}
	defer func() { _ = file.Close() }()
	info, err := file.Stat()
	if err != nil {
		return time.Time{}, err
	}
	return info.ModTime(), nil
}

// before returns the end of the chain that a file goes on with.
func (l *Log) before(first uint64) (head, error) {
	file, err := l.files.OpenFile(nameOf(first), os.O_RDONLY, 0)
	if err != nil {
		return head{}, err
	}
	defer func() { _ = file.Close() }()
	j, _, err := read(file, readOnly{file}, first, func(Entry) {})
	if err != nil {
		return head{}, err
	}
	return headerOf(j)
}

// retain removes files that are too old, once an entry that says so is on the disk. A crash in between leaves
// files that are removed the next time. What fails is logged and tried again later.
func (l *Log) retain(now time.Time) {
	if l.config.Keep <= 0 {
		return
	}
	end, err := l.old(now)
	if err == nil && end.seq > 0 {
		err = l.write(&Entry{
			What: removalWhat, Who: removalWho, On: "entries to " + strconv.FormatUint(end.seq, 10), Result: "OK",
			Removed: &Removal{end.seq, hex.EncodeToString(end.hash[:])},
		})
		if err == nil {
			err = l.remove(end.seq)
		}
	}
	if err != nil {
		l.config.Logger.Error("old files of the audit log can't be removed yet", slog.Any("error", err))
	}
}

// write adds one entry, from the writer itself.
func (l *Log) write(e *Entry) error {
	l.mu.Lock()
	w := &waiter{entry: *e, done: make(chan error, 1)}
	l.pending = append(l.pending, w)
	l.mu.Unlock()
	l.writePending()
	return <-w.done
}

// remove removes the files whose entries have numbers up to the one given, oldest first, so that the chain is whole at each
// moment.
func (l *Log) remove(through uint64) error {
	entries, err := l.files.ReadDir(".")
	if err != nil {
		return err
	}
	all := firsts(entries)
	for i := 0; i+1 < len(all) && all[i+1]-1 <= through; i++ {
		if err := l.files.Remove(nameOf(all[i])); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if err := l.files.SyncDir("."); err != nil {
			return storedir.Problem("sync the audit log", err)
		}
	}
	return nil
}
