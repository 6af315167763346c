package tenant

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Event is what one call has taken: a line of a bill. Fuel is the same for the same
// module and input on every machine; the times are this machine's.
type Event struct {
	Time     time.Time   `json:"time"` // of the end
	Tenant   string      `json:"tenant"`
	Module   string      `json:"module"`
	Revision int         `json:"revision"`
	Digest   string      `json:"digest"`
	Tool     string      `json:"tool"`
	Code     status.Code `json:"code"` // "OK", or why it failed
	Fuel     int64       `json:"fuel"`
	// QueuedNS is the time before the guest began to run: its turn, and a new instance
	// where none waited. WallNS is the rest.
	QueuedNS time.Duration `json:"queuedNs"`
	WallNS   time.Duration `json:"wallNs"`
	// MemoryBytes is what the instance held at the end.
	MemoryBytes int64 `json:"memoryBytes"`
	InputBytes  int   `json:"inputBytes"`
	OutputBytes int   `json:"outputBytes"`
}

// Sink takes events, one for each call that ran, also when it failed. Record is called
// concurrently and on the way of the call: it should not wait.
type Sink interface{ Record(e Event) }

// Totals are the sums of a tenant's or a module's events since the host began.
type Totals struct {
	Calls       int64         `json:"calls"`
	Failures    int64         `json:"failures"` // of Calls
	Refused     int64         `json:"refused"`  // that never ran: queue full, too many
	Fuel        int64         `json:"fuel"`
	QueuedNS    time.Duration `json:"queuedNs"`
	WallNS      time.Duration `json:"wallNs"`
	ByteSeconds float64       `json:"byteSeconds"` // memory times wall time
	InputBytes  int64         `json:"inputBytes"`
	OutputBytes int64         `json:"outputBytes"`
}

// Add counts one event.
func (s *Totals) Add(e *Event) {
	s.Calls++
	if e.Code != status.OK {
		s.Failures++
	}
	s.Fuel += e.Fuel
	s.QueuedNS += e.QueuedNS
	s.WallNS += e.WallNS
	s.ByteSeconds += float64(e.MemoryBytes) * e.WallNS.Seconds()
	s.InputBytes += int64(e.InputBytes)
	s.OutputBytes += int64(e.OutputBytes)
}

// Journal is a sink that writes each event as a line of JSON. Lines reach the writer
// within a second, and all of them when it is closed. A writer that fails does not stop
// calls: Close tells the first error, and how many lines were lost. See [NewJournal].
type Journal struct {
	events chan Event
	done   chan struct{}
	err    error // set before done is closed

	mu     sync.RWMutex // held for reading while an event is handed over
	closed bool
}

var _ Sink = (*Journal)(nil)

// journalRoom is how many events wait for a slow writer before calls wait for it too:
// a bill must not lose lines.
const journalRoom = 8192

// NewJournal starts a journal on w. Close it before w.
func NewJournal(w io.Writer) *Journal {
	j := &Journal{events: make(chan Event, journalRoom), done: make(chan struct{})}
	go j.write(w)
	return j
}

// Record hands an event over. After Close it drops it.
func (j *Journal) Record(e Event) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	if !j.closed {
		j.events <- e
	}
}

// Close writes what is left and ends the journal.
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

func (j *Journal) write(w io.Writer) {
	defer close(j.done)
	buf := bufio.NewWriterSize(w, 64<<10)
	enc := json.NewEncoder(buf)
	flush := time.NewTicker(time.Second)
	defer flush.Stop()
	var failed error
	lost := 0
	for {
		select {
		case e, ok := <-j.events:
			if !ok {
				failed = errors.Join(failed, buf.Flush())
				if failed != nil {
					j.err = status.Errorf(status.DataLoss, "usage journal: %d events after the first error were lost: %w", lost, failed)
				}
				return
			}
			if failed != nil {
				lost++
			} else {
				failed = enc.Encode(e)
			}
		case <-flush.C:
			if failed == nil {
				failed = buf.Flush()
			}
		}
	}
}
