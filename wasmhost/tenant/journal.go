package tenant

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Journal is a sink that writes each event as a line of JSON. A call's end waits until the
// writer has its line, a tenth of a second at most: the events of calls that were answered
// are in the file when the process is killed. The lines of calls that end together are
// written together.
//
// A writer that fails stops no calls. The journal says so in the log, keeps the events
// that can't be written, [JournalKeeps] bytes of them, and tries again each second;
// further ones are lost, and counted by tenant ([Journal.Report]). A line that the
// writer took a part of is ended and written again, whole: a reader passes over lines
// that are not JSON. See [NewJournal] and [OpenJournal].
type Journal struct {
	events chan handed
	done   chan struct{}
	err    error // set before done is closed

	mu     sync.RWMutex // held for reading while an event is handed over
	closed bool

	reports sync.Mutex // guards report and lost
	report  map[string]*JournalReport
	lost    int64 // of all tenants, also of those that are gone
}

var _ Sink = (*Journal)(nil)

// JournalReport counts the events of a tenant that a journal could not write.
type JournalReport struct {
	Unwritten int64 `json:"unwritten"` // events that are kept and tried again
	Lost      int64 `json:"lost"`      // events that were not kept, since the journal began
}

const (
	// JournalKeeps bounds the bytes of the lines that a journal keeps while its
	// writer fails.
	JournalKeeps = 8 << 20
	// journalRoom is how many events wait for a slow writer before calls wait for it
	// too: a bill must not lose lines.
	journalRoom = 8192
	// journalBatch is how many bytes are written at a time.
	journalBatch = 64 << 10
	// journalPatience is how long a call waits for a slow writer to take its line.
	journalPatience = 100 * time.Millisecond
	// journalRetry is the time between two tries.
	journalRetry = time.Second
)

// NewJournal starts a journal on w. Close it before w. log gets an error when w begins
// to fail; nil drops it.
func NewJournal(w io.Writer, log *slog.Logger) *Journal {
	return newJournal(w, log, false, func() error { return nil })
}

func newJournal(w io.Writer, log *slog.Logger, torn bool, end func() error) *Journal {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	j := &Journal{events: make(chan handed, journalRoom), done: make(chan struct{}), report: map[string]*JournalReport{}}
	go j.run(&journalWriter{to: w, log: log, torn: torn, close: end, journal: j})
	return j
}

// OpenJournal starts a journal that appends to the file at path, which it makes when it is
// not there, for its owner alone. A last line that a crash has cut off is ended first.
// Closing the journal closes the file.
func OpenJournal(path string, log *slog.Logger) (*Journal, error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600) //nolint:gosec // the operator's path
	if err != nil {
		return nil, err
	}
	return newJournal(file, log, isTorn(file), file.Close), nil
}

// isTorn reports whether the last line of a file has no end. Where that can't be known it
// is taken to have none: an empty line is passed over.
func isTorn(file *os.File) bool {
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() == 0 {
		return false
	}
	again, err := os.Open(file.Name())
	if err != nil {
		return true
	}
	last := make([]byte, 1)
	_, err = again.ReadAt(last, info.Size()-1)
	return again.Close() != nil || err != nil || last[0] != '\n'
}

// handed is an event that is to be written.
type handed struct {
	event Event
	// taken gets a token when the event has been written, or is kept for a writer that
	// fails. It has room for it.
	taken chan struct{}
}

// Record hands an event over, and waits until it is written: see [Journal]. After Close it
// drops it.
func (j *Journal) Record(e Event) {
	taken := make(chan struct{}, 1)
	if !j.hand(handed{e, taken}) {
		return
	}
	patience := time.NewTimer(journalPatience)
	defer patience.Stop()
	select {
	case <-taken:
	case <-patience.C:
	}
}

func (j *Journal) hand(e handed) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if j.closed {
		return false
	}
	j.events <- e
	return true
}

// Report counts the events of a tenant that could not be written.
func (j *Journal) Report(tenant string) JournalReport {
	j.reports.Lock()
	defer j.reports.Unlock()
	if r := j.report[tenant]; r != nil {
		return *r
	}
	return JournalReport{}
}

// Total counts the events of all tenants that could not be written. Lost does not fall when a tenant is forgotten.
func (j *Journal) Total() JournalReport {
	j.reports.Lock()
	defer j.reports.Unlock()
	all := JournalReport{Lost: j.lost}
	for _, r := range j.report {
		all.Unwritten += r.Unwritten
	}
	return all
}

// Forget drops the report on a tenant that is gone, but for events that may still be written.
func (j *Journal) Forget(tenant string) {
	j.reports.Lock()
	defer j.reports.Unlock()
	if r := j.report[tenant]; r != nil {
		if r.Lost = 0; r.Unwritten == 0 {
			delete(j.report, tenant)
		}
	}
}

// note changes the report on a tenant.
func (j *Journal) note(tenant string, change func(*JournalReport)) {
	j.reports.Lock()
	defer j.reports.Unlock()
	r := j.report[tenant]
	if r == nil {
		r = &JournalReport{}
		j.report[tenant] = r
	}
	change(r)
}

// Close writes the remaining events and ends the journal. It fails with DATA_LOSS when events were
// lost, since the journal began or now.
func (j *Journal) Close() error {
	j.mu.Lock()
	if !j.closed {
		j.closed = true
		close(j.events)
	}
	j.mu.Unlock()
	<-j.done
	return j.err
}

func (j *Journal) run(w *journalWriter) {
	defer close(j.done)
	var retry <-chan time.Time
	for {
		select {
		case e, more := <-j.events:
			if !more {
				j.err = w.end()
				w.release()
				return
			}
			w.add(&e.event)
			w.waiting = append(w.waiting, e.taken)
			if !w.failing() && (len(j.events) == 0 || len(w.kept) >= journalBatch) {
				w.write()
			}
			if w.failing() || len(w.kept) == 0 {
				w.release()
			}
		case <-retry:
			retry = nil
			w.write()
		}
		if w.failing() && retry == nil {
			retry = time.After(journalRetry)
		}
	}
}

// journalWriter is the state of a journal's goroutine.
type journalWriter struct {
	to      io.Writer
	log     *slog.Logger
	close   func() error
	journal *Journal

	kept  []byte       // whole lines that are to be written
	lines []keptLine   // of kept
	torn  bool         // the last write has no end of line
	since time.Time    // when it began to fail; zero while it does not
	cause error        // of the last failure
	lost  int64        // since the journal began
	told  bool         // the log has been told that events are lost, since since
	line  bytes.Buffer // scratch

	waiting []chan struct{} // of calls whose lines are in kept
}

// release lets the calls go on that wait for their lines.
func (w *journalWriter) release() {
	for i, taken := range w.waiting {
		taken <- struct{}{}
		w.waiting[i] = nil
	}
	w.waiting = w.waiting[:0]
}

// keptLine is a line that is to be written.
type keptLine struct {
	tenant string
	bytes  int
}

func (w *journalWriter) failing() bool { return !w.since.IsZero() }

// add keeps an event for writing, if there is room.
func (w *journalWriter) add(e *Event) {
	w.line.Reset()
	err := json.NewEncoder(&w.line).Encode(e)
	if err == nil && (!w.failing() || len(w.kept)+w.line.Len() <= JournalKeeps) {
		w.kept = append(w.kept, w.line.Bytes()...)
		w.lines = append(w.lines, keptLine{e.Tenant, w.line.Len()})
		if w.failing() {
			w.journal.note(e.Tenant, func(r *JournalReport) { r.Unwritten++ })
		}
		return
	}
	w.lost++
	w.journal.note(e.Tenant, func(r *JournalReport) { r.Lost++; w.journal.lost++ })
	if !w.told {
		w.told = true
		w.log.Error("usage events are lost: the journal can't be written, and no more are kept", slog.Int("kept", len(w.lines)), slog.Any("error", w.cause))
	}
}

// write tries to write all that is kept.
func (w *journalWriter) write() {
	if w.torn {
		n, err := w.to.Write([]byte("\n"))
		if n == 0 {
			w.failed(err)
			return
		}
		w.torn = false
	}
	n, err := w.to.Write(w.kept)
	if n < len(w.kept) && err == nil {
		err = io.ErrShortWrite
	}
	w.wrote(min(n, len(w.kept)))
	if err != nil {
		w.failed(err)
		return
	}
	if w.failing() {
		w.log.Warn("the usage journal is written again", slog.Duration("after", time.Since(w.since)), slog.Int64("lost", w.lost))
	}
	w.since, w.told = time.Time{}, false
}

// wrote forgets the lines of which the first n bytes of kept are the whole, but for the
// end of the last.
func (w *journalWriter) wrote(n int) {
	whole, lines := 0, 0
	for _, l := range w.lines {
		if n < whole+l.bytes-1 {
			w.torn = n > whole
			break
		}
		whole += l.bytes
		lines++
		if w.failing() {
			w.journal.note(l.tenant, func(r *JournalReport) { r.Unwritten-- })
		}
		if w.torn = n < whole; w.torn {
			break
		}
	}
	w.lines = append(w.lines[:0], w.lines[lines:]...)
	w.kept = append(w.kept[:0], w.kept[whole:]...)
}

// failed notes that the remaining events could not be written.
func (w *journalWriter) failed(err error) {
	w.cause = err
	if w.failing() {
		return
	}
	w.since = time.Now()
	for _, l := range w.lines {
		w.journal.note(l.tenant, func(r *JournalReport) { r.Unwritten++ })
	}
	w.log.Error("the usage journal can't be written; events are kept and tried again each second", slog.Int("kept_bytes", JournalKeeps), slog.Any("error", err))
}

// end writes the remaining events for the last time.
func (w *journalWriter) end() error {
	if len(w.kept) > 0 {
		w.write()
	}
	lost := w.lost + int64(len(w.lines))
	err := w.close()
	switch {
	case lost > 0:
		return status.Errorf(status.DataLoss, "usage journal: %d events were lost: %w", lost, w.cause)
	case err != nil:
		return fmt.Errorf("usage journal: %w", err)
	}
	return nil
}
