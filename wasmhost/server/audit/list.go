package audit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Query says which entries [Log.List] returns; a field that is not set admits all.
type Query struct {
	// Before has only entries with smaller numbers returned.
	Before uint64
	// Limit is how many are returned at most: 100.
	Limit int
	Since time.Time
	// Who and What are compared as a whole.
	Who, What string
}

// maxFiles bounds the files that are read for one list.
const maxFiles = 4

// List returns entries, the newest first. next is the Before with which the list goes on,
// 0 at its end: a list that has looked at many entries ends early, perhaps without any. It
// reads files, and fails with UNAVAILABLE when others do so already, or they can't be read,
// and with DATA_LOSS when they are damaged.
func (l *Log) List(q Query) (entries []Entry, next uint64, err error) {
	select {
	case l.lists <- struct{}{}:
		defer func() { <-l.lists }()
	default:
		return nil, 0, status.Publicf(status.Unavailable, "the audit log is being read by others").WithRetryAfter(time.Second)
	}
	if q.Limit == 0 {
		q.Limit = 100
	}
	l.mu.Lock()
	last, closed := l.head.seq, l.closed
	l.mu.Unlock()
	if closed {
		return nil, 0, status.Publicf(status.Unavailable, "the audit log is closed")
	}
	if q.Before == 0 || q.Before > last {
		q.Before = last + 1
	}
	names, err := l.files.ReadDir(".")
	if err != nil {
		return nil, 0, status.Errorf(status.Unavailable, "read the audit log: %w", err)
	}
	all := firsts(names)
	for read := 0; len(all) > 0; all = all[:len(all)-1] {
		first := all[len(all)-1]
		if first >= q.Before {
			continue
		}
		if read++; read > maxFiles {
			return entries, q.Before, nil
		}
		page, end, older, err := l.readPart(first, q)
		if errors.Is(err, fs.ErrNotExist) {
			return entries, 0, nil // it was old, and was removed a moment ago
		}
		if err != nil {
			return nil, 0, fmt.Errorf("audit log, file %s: %w", nameOf(first), err)
		}
		if end+1 < q.Before { // the file ends before the one that was read, or acknowledged, after it begins
			return nil, 0, status.Errorf(status.DataLoss, "audit log: the entries %d to %d are missing", end+1, q.Before-1)
		}
		for _, e := range slices.Backward(page) {
			if len(entries) == q.Limit {
				return entries, entries[len(entries)-1].Seq, nil
			}
			entries = append(entries, e)
		}
		if older || first == 1 {
			return entries, 0, nil
		}
		q.Before = first
	}
	return entries, 0, nil
}

// readPart returns the entries of a file that a query asks for, and the last number that
// the file has below Before. older says that the file begins before Since.
func (l *Log) readPart(first uint64, q Query) (page []Entry, end uint64, older bool, err error) {
	file, err := l.files.OpenFile(nameOf(first), os.O_RDONLY, 0)
	if err != nil {
		return nil, 0, false, status.Errorf(status.Unavailable, "open the file: %w", err)
	}
	defer func() { _ = file.Close() }()
	end = first - 1
	_, _, err = read(file, readOnly{file}, first, func(e Entry) {
		if e.Seq >= q.Before {
			return
		}
		end = e.Seq
		if e.At.Before(q.Since) {
			older = true
			return
		}
		if (q.Who != "" && q.Who != e.Who) || (q.What != "" && q.What != e.What) {
			return
		}
		page = append(page, e)
		if len(page) > 2*(q.Limit+1) { // only the last ones can be on the page
			page = append(page[:0], page[len(page)-q.Limit-1:]...)
		}
	})
	return page, end, older, err
}
