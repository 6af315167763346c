// Package audit keeps a log of who did what to which object, from where and with which
// result. Entries are only added, and each carries a hash over itself and the entry before
// it, so that a changed, missing or moved one is found.
//
// It owns the files and the chain; it knows nothing of HTTP. Use:
//
//	log, err := audit.Open("data/audit", audit.Config{})
//	entry, err := log.Append(audit.Entry{Who: "key:abc", What: "createTenant", On: "/v1/tenants/acme", Result: "201"})
//	err = log.Close()
//
// An entry is on the disk when Append returns. Those that are appended at the same time are
// written and synced together. The directory has files named by the number of the first
// entry, each of which begins with the hash of the last entry of the file before; see
// [Verify]. A directory belongs to one process.
//
// Experimental: the package is new, and its form may change.
package audit

import (
	"cmp"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Config configures [Open]. The zero value is usable.
type Config struct {
	// MaxFileBytes is the size from which on a new file is begun: 8 MiB. A reader of the
	// log reads whole files.
	MaxFileBytes int64
	// Keep is how long entries are kept at least: a file is removed when it was last written so long ago, after an
	// entry that says so ([Removal]). 0 keeps all.
	Keep time.Duration
	// Logger tells of entries that were counted and can't be written. When the log is opened and closed, and each hour
	// in which entries were added, it gets a line with the number and the hash of the last entry, an anchor for [Verify] where lines are kept
	// in another place. nil drops them.
	Logger *slog.Logger
}

const (
	defaultFileBytes = 8 << 20
	// maxBatch bounds the entries that are synced together.
	maxBatch = 256
	// countEvery is how often entries that are counted are written.
	countEvery = time.Minute
	// maxCounted bounds the entries that are counted apart; those beyond share one.
	maxCounted = 64
)

// Log is an open log. It is safe for concurrent use.
type Log struct {
	config Config
	files  storedir.FS
	wake   chan struct{}
	done   chan struct{}
	lists  chan struct{} // a place for each reader

	mu      sync.Mutex // guards the fields below
	pending []*waiter
	counted map[counted]int
	closed  bool
	head    head
	failed  int64 // entries that could not be written
	failing bool  // the last could not

	at *tail // the last file; the writer's own
}

type waiter struct {
	entry Entry
	done  chan error
}

// counted is what entries have in common that are written as one.
type counted struct{ what, who, from, result string }

// Open opens the log in a directory, and makes it where there is none. It fails with
// FAILED_PRECONDITION when another process has it, and with DATA_LOSS when the last file is
// damaged or its chain is broken: then nothing may be added.
func Open(path string, c Config) (*Log, error) {
	files, err := storedir.Open(path, "audit log")
	if err != nil {
		return nil, err
	}
	l, err := open(files, c)
	if err != nil {
		_ = files.Close()
		return nil, err
	}
	return l, nil
}

func open(files storedir.FS, c Config) (*Log, error) {
	c.MaxFileBytes = cmp.Or(c.MaxFileBytes, defaultFileBytes)
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if err := storedir.RemoveTemporary(files, "."); err != nil {
		return nil, status.Errorf(status.Unavailable, "open the audit log: %w", err)
	}
	l := &Log{
		config: c, files: files, wake: make(chan struct{}, 1), done: make(chan struct{}), lists: make(chan struct{}, 2),
		counted: map[counted]int{},
	}
	var err error
	if l.at, l.head, err = openTail(files); err != nil {
		return nil, err
	}
	if l.at.journal.Foreign {
		c.Logger.Error("bytes that no server has written followed the last entry of the audit log, and were cut off", slog.Int64("bytes", l.at.journal.Cut))
	}
	go l.run()
	entries, err := files.ReadDir(".")
	if err == nil {
		err = l.noteAside(entries)
	}
	if err != nil {
		return nil, errors.Join(err, l.end())
	}
	return l, nil
}

// Append adds an entry and returns it with its number, time and hash once it is on the
// disk. It fails with UNAVAILABLE when it can't be written, and when the log is closed; then
// it may still turn up when the log is opened again.
func (l *Log) Append(e Entry) (Entry, error) {
	w := &waiter{entry: e.bounded(), done: make(chan error, 1)}
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return Entry{}, status.Publicf(status.Unavailable, "the audit log is closed")
	}
	l.pending = append(l.pending, w)
	l.mu.Unlock()
	l.signal()
	if err := <-w.done; err != nil {
		return Entry{}, unwritten(err)
	}
	return w.entry, nil
}

// unwritten is the error of a log that can't be written. It says which shortage of the machine
// that comes from, and nothing else of the cause.
func unwritten(err error) error {
	text := "the audit log can't be written"
	if number, ok := errors.AsType[syscall.Errno](err); ok {
		if known := status.Convert(storedir.Problem(text, number)); known.Public() {
			text = known.Message
		}
	}
	return status.Publicf(status.Unavailable, "%s", text).WithCause(err).WithRetryAfter(time.Second)
}

// Count notes an entry that anybody can cause, such as a failed attempt to sign in. Equal
// ones are written as one entry with a count, once a minute and by [Log.Close]; those of
// more than 64 kinds a minute as one without a source. A crash loses those of the last
// minute.
func (l *Log) Count(e Entry) {
	e = e.bounded()
	key := counted{e.What, e.Who, sourceOf(e.From), e.Result}
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.counted[key]; !there && len(l.counted) >= maxCounted {
		key = counted{what: e.What, result: e.Result} // of all others
	}
	l.counted[key]++
}

// Hold has changes wait until release is called, so that all files can be copied as they are at
// one moment. Reading goes on. It is meant for backups, and short.
func (l *Log) Hold() (release func()) { return storedir.Hold(l.files) }

// Head returns the last entry that is on the disk.
func (l *Log) Head() Head {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.head.show()
}

// Failures returns how many entries could not be written since the log was opened, and whether the last was one of
// them: then changes are refused.
func (l *Log) Failures() (failed int64, failing bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failed, l.failing
}

// Close writes what was counted, ends the log and gives up its directory.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.mu.Unlock()
	return errors.Join(l.end(), l.files.Close())
}

// end writes what waits, and closes the last file.
func (l *Log) end() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.signal()
	<-l.done
	return l.at.file.Close()
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default: // it is about to look
	}
}

// run writes until the log is closed.
func (l *Log) run() {
	defer close(l.done)
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	l.retain(time.Now())
	retained := time.Now()
	told := l.anchor(nil)
	for {
		select {
		case <-l.wake:
		case <-tick.C:
			l.takeCounted()
			if now := time.Now(); now.Sub(retained) >= retainEvery {
				l.retain(now)
				retained = now
				told = l.anchor(told)
			}
		}
		l.writePending()
		l.mu.Lock()
		closed := l.closed
		l.mu.Unlock()
		if closed {
			l.takeCounted()
			l.writePending()
			l.anchor(told)
			return
		}
	}
}

// anchor has a line of the server's log tell the last entry, where another one was told before.
func (l *Log) anchor(told *Head) *Head {
	at := l.Head()
	if told == nil || *told != at {
		l.config.Logger.Info("the audit log ends with this entry", slog.Uint64("seq", at.Seq), slog.String("hash", at.Hash))
	}
	return &at
}

// takeCounted makes entries of what was counted.
func (l *Log) takeCounted() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, n := range l.counted {
		l.pending = append(l.pending, &waiter{
			entry: Entry{What: key.what, Who: key.who, From: key.from, Result: key.result, Count: n}, done: make(chan error, 1),
		})
	}
	clear(l.counted)
}

// writePending writes what waits, in batches.
func (l *Log) writePending() {
	for {
		l.mu.Lock()
		batch := l.pending[:min(len(l.pending), maxBatch)]
		l.pending = l.pending[len(batch):]
		at := l.head
		l.mu.Unlock()
		if len(batch) == 0 {
			return
		}
		now := time.Now().UTC().Truncate(time.Millisecond)
		payloads := make([][]byte, len(batch))
		var err error
		for i, w := range batch {
			w.entry.At = now
			if payloads[i], at, err = seal(&w.entry, at); err != nil {
				break
			}
		}
		if err == nil {
			err = l.commit(payloads)
		}
		l.mu.Lock()
		if l.failing = err != nil; err == nil {
			l.head = at
		} else {
			l.failed += int64(len(batch))
		}
		l.mu.Unlock()
		for _, w := range batch {
			if err != nil && w.entry.Count > 0 {
				l.config.Logger.Error("counted entries of the audit log were not written", slog.String("what", w.entry.What), slog.Int("count", w.entry.Count), slog.Any("error", err))
			}
			w.done <- err
		}
	}
}

// sourceOf returns the network that counts as one source: an IPv4 address, or the 64 bits
// of an IPv6 address's network.
func sourceOf(from string) string {
	addr, err := netip.ParseAddr(from)
	if err != nil || addr.Is4() {
		return from
	}
	p, err := addr.Prefix(64)
	if err != nil {
		return from
	}
	return p.String()
}

// commit writes entries to the last file, or to a new one when that is full. An entry is
// never written to a file that is full: what an earlier attempt has left of the next file
// stays the end of the log.
func (l *Log) commit(payloads [][]byte) error {
	if err := l.at.present(l.files); err != nil {
		return err
	}
	if l.at.journal.Size() >= l.config.MaxFileBytes && l.head.seq >= l.at.first {
		next, err := createTail(l.files, l.head)
		if err != nil {
			return err
		}
		_ = l.at.file.Close() // all of it is synced
		l.at = next
	}
	_, err := l.at.journal.Commit(payloads)
	return err
}
