package usage

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"regexp"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// Sink takes events somewhere: into a file, to a billing service, into a broker. An embedder
// brings one of its own.
type Sink interface {
	// Send delivers events, each a CloudEvent 1.0 in JSON on one line; see [Decode]. It is
	// called by one goroutine at a time and may take its time: calls do not wait for it. When it
	// fails, the same events come again later, perhaps after a restart; receivers tell them by
	// their ids. An error that is a *[RefusedError] says that they should not come again. The slices
	// are only Send's until it returns.
	Send(ctx context.Context, events []json.RawMessage) error
}

// Target is a sink with its queue.
type Target struct {
	// Name is the sink's in logs, reports and the name of its queue: 1 to 40 small letters,
	// digits and "-", no two the same.
	Name string
	Sink Sink
	// QueueBytes bounds the events that wait: 64 MiB. When there are more, the oldest are
	// dropped, counted, and one line of the log says so.
	QueueBytes int64
	// InMemory keeps the queue in memory, also where the book has a directory; it is right for
	// what is on the same disk.
	InMemory bool
}

// RefusedError says that a receiver does not want some events, however often they come.
type RefusedError struct {
	Err error
	// Events is how many it refuses where it has taken the others, and it is not known which; 0 is all of them.
	Events int
}

func (r *RefusedError) Error() string { return "the receiver refuses the events: " + r.Err.Error() }

// Unwrap returns the cause.
func (r *RefusedError) Unwrap() error { return r.Err }

const (
	defaultQueueBytes = 64 << 20
	// maxBlocks bounds the blocks of blockEvents events that wait to be put into queues, which takes
	// milliseconds.
	maxBlocks   = 256
	blockEvents = 128
	// gather is how long events gather before they are put into queues together.
	gather = 10 * time.Millisecond
	// closeTime is how long sinks may take at the end for what still waits.
	closeTime = 3 * time.Second
	maxSinks  = 8
)

var sinkName = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// CheckTargets refuses with INVALID_ARGUMENT what [Open] would: more than 8 targets, names out of their form or given
// twice, and negative sizes. The sinks need not be there yet.
func CheckTargets(targets []Target) error {
	if len(targets) > maxSinks {
		return status.Publicf(status.InvalidArgument, "usage: %d sinks exceed the limit of %d", len(targets), maxSinks)
	}
	seen := map[string]bool{}
	for _, t := range targets {
		if !sinkName.MatchString(t.Name) || seen[t.Name] || t.QueueBytes < 0 {
			return status.Publicf(status.InvalidArgument, "usage: sink %q: want a name of its own, of 1 to 40 small letters, digits and \"-\", and no negative size", t.Name)
		}
		seen[t.Name] = true
	}
	return nil
}

// hub hands events to the queues of the sinks.
type hub struct {
	log     *slog.Logger
	targets []*target
	stop    chan struct{}
	wake    chan struct{} // has room for one
	work    sync.WaitGroup
	senders sync.WaitGroup
	ends    context.Context // of deliveries
	end     context.CancelFunc

	mu      sync.Mutex // guards the fields below; taken after the book's mu
	pending []*block
	spare   *block
	lost    int64 // since pending was last taken

	refusals refusals
	prefix   string // of the IDs of refusals' events
	serial   uint64 // of the last one; run's own, as is what follows

	text   []byte            // scratch of encoded
	cuts   []int             // where the events in text end
	events []json.RawMessage // of text
	again  *time.Timer       // set while a queue takes nothing
}

// block are events that came one after the other.
type block struct {
	n      int
	events [blockEvents]Event
}

// newHub opens the queues of sinks: by queues where it is not nil, else in files where that is not nil, else in memory.
func newHub(targets []Target, queues func(name string, maxBytes int64) (Queue, error), files storedir.FS, log *slog.Logger, prefix string) (*hub, error) {
	h := &hub{log: log, prefix: prefix + "r", stop: make(chan struct{}), wake: make(chan struct{}, 1)}
	h.ends, h.end = context.WithCancel(context.Background()) //nolint:forbidigo // deliveries outlive the requests whose events they have
	if err := CheckTargets(targets); err != nil {
		return nil, err
	}
	for _, t := range targets {
		if t.Sink == nil {
			return nil, status.Publicf(status.InvalidArgument, "usage: sink %q: want a sink", t.Name)
		}
		if t.QueueBytes == 0 {
			t.QueueBytes = defaultQueueBytes
		}
		to := &target{Target: t, log: log.With(slog.String("sink", t.Name)), more: make(chan struct{}, 1), stop: h.stop, flushed: make(chan struct{})}
		for _, q := range []struct {
			at   *waiting
			name string
			most int64
			log  *slog.Logger
		}{
			{&to.queue, "queue-" + t.Name, t.QueueBytes, to.log},
			{&to.refusals, "refused-" + t.Name, refusalQueueBytes, to.log.With(slog.String("of", "refusals"))},
		} {
			q.at.log = q.log
			var err error
			switch {
			case t.InMemory || queues == nil && files == nil:
				q.at.queue = newMemoryQueue(q.most, q.log)
			case queues != nil:
				q.at.queue, err = queues(q.name, q.most)
			default:
				q.at.queue, err = openSpool(files, q.name, q.most, q.log)
			}
			if err != nil {
				for _, t := range append(h.targets, to) {
					err = errors.Join(err, t.queue.close(), t.refusals.close())
				}
				h.end()
				return nil, err
			}
		}
		h.targets = append(h.targets, to)
	}
	h.work.Go(h.run)
	for _, t := range h.targets {
		h.senders.Go(func() { t.run(h.ends) })
	}
	return h, nil
}

// take keeps an event for the queues. It never waits.
func (h *hub) take(e *Event) {
	h.mu.Lock()
	last := len(h.pending) - 1
	first := last < 0
	if first || h.pending[last].n == blockEvents {
		if last+1 >= maxBlocks {
			h.lost += int64(h.pending[0].n)
			h.spare = h.pending[0]
			h.pending = append(h.pending[:0], h.pending[1:]...)
		}
		next := h.spare
		if h.spare = nil; next == nil {
			next = &block{}
		}
		next.n = 0
		h.pending = append(h.pending, next)
		last = len(h.pending) - 1
	}
	to := h.pending[last]
	to.events[to.n] = *e
	to.n++
	h.mu.Unlock()
	if first {
		select {
		case h.wake <- struct{}{}:
		default:
		}
	}
}

func (h *hub) run() {
	minute := time.NewTicker(refusalsEvery)
	defer minute.Stop()
	h.again = time.NewTimer(retryFirst)
	defer h.again.Stop()
	for ended := false; !ended; {
		due := false
		select {
		case <-h.again.C:
			h.putHeld()
		case <-minute.C:
			due = true
		case <-h.wake:
			pause := time.NewTimer(gather)
			select {
			case <-pause.C:
			case <-h.stop:
				pause.Stop()
			}
		case <-h.stop:
			ended = true
		}
		h.mu.Lock()
		blocks, lost := h.pending, h.lost
		h.pending, h.lost = nil, 0
		h.mu.Unlock()
		if lost > 0 {
			h.log.Error("usage events came faster than they could be put into the queues of the sinks, and some were dropped", slog.Int64("events", lost))
			for _, t := range h.targets {
				t.lost.Add(lost)
			}
		}
		for _, b := range blocks {
			h.hand(b)
		}
		if len(blocks) > 0 {
			h.mu.Lock()
			h.spare = blocks[0]
			h.mu.Unlock()
		}
		if due || ended {
			h.handRefusals()
		}
	}
	h.putHeld()
	for _, t := range h.targets {
		close(t.flushed)
	}
}

// hand puts events into the queues.
func (h *hub) hand(b *block) {
	events := h.encoded(b.events[:b.n])
	for _, t := range h.targets {
		h.put(t, &t.queue, events)
	}
}

func (h *hub) put(t *target, to *waiting, events []json.RawMessage) {
	if !to.put(h.ends, events) {
		h.again.Reset(retryFirst)
	}
	t.notify()
}

// putHeld puts what queues could not take before.
func (h *hub) putHeld() {
	for _, t := range h.targets {
		for _, q := range []*waiting{&t.queue, &t.refusals} {
			if len(q.held) > 0 {
				h.put(t, q, nil)
			}
		}
	}
}

// handRefusals puts the events of what was refused since it was called last into their queues.
func (h *hub) handRefusals() {
	refused := h.refusals.take(time.Now())
	if len(refused) == 0 {
		return
	}
	for i := range refused {
		h.serial++
		refused[i].ID = h.prefix + strconv.FormatUint(h.serial, 10)
	}
	events := h.encoded(refused)
	for _, t := range h.targets {
		h.put(t, &t.refusals, events)
	}
}

// encoded returns the JSON of events, which is there until it is called again.
func (h *hub) encoded(events []Event) []json.RawMessage {
	if cap(h.text) > mostScratch {
		h.text = nil
	}
	h.text, h.cuts, h.events = h.text[:0], h.cuts[:0], h.events[:0]
	for i := range events {
		h.text = appendEvent(h.text, &events[i])
		h.cuts = append(h.cuts, len(h.text))
	}
	start := 0
	for _, end := range h.cuts {
		h.events = append(h.events, h.text[start:end:end])
		start = end
	}
	return h.events
}

func (h *hub) reports() []SinkReport {
	all := make([]SinkReport, len(h.targets))
	for i, t := range h.targets {
		all[i] = t.report()
	}
	return all
}

// close puts what is pending into the queues and gives the sinks a moment for it.
func (h *hub) close() error {
	close(h.stop)
	h.work.Wait()
	ended := make(chan struct{})
	go func() {
		h.senders.Wait()
		close(ended)
	}()
	patience := time.NewTimer(closeTime)
	defer patience.Stop()
	select {
	case <-ended:
	case <-patience.C:
	}
	h.end()
	<-ended
	var errs []error
	for _, t := range h.targets {
		errs = append(errs, t.queue.close(), t.refusals.close())
		if c, ok := t.Sink.(interface{ Close() error }); ok {
			errs = append(errs, c.Close())
		}
	}
	return errors.Join(errs...)
}

// target delivers the events of a sink's queues: those of refusals when there are no others.
type target struct {
	Target
	log             *slog.Logger
	queue, refusals waiting
	more            chan struct{} // has room for one
	stop            <-chan struct{}
	flushed         chan struct{} // closed when nothing is put into the queues any more

	impatient                atomic.Bool // of tests: a failure is tried again at once
	lost, delivered, refused atomic.Int64
	failing                  atomic.Bool
}

// Waits after a failure.
const (
	retryFirst = time.Second
	retryMost  = time.Minute
)

func (t *target) notify() {
	select {
	case t.more <- struct{}{}:
	default:
	}
}

func (t *target) report() SinkReport {
	r := SinkReport{Name: t.Name, Delivered: t.delivered.Load(), Dropped: t.lost.Load(), Refused: t.refused.Load(), Failing: t.failing.Load()}
	events, refusals := t.queue.stats(), t.refusals.stats()
	r.Queued, r.QueuedBytes = events.Queued, events.QueuedBytes
	r.Dropped += events.Dropped
	r.RefusalsQueued, r.RefusalsDropped = refusals.Queued, refusals.Dropped
	return r
}

// next returns the events that are to be delivered next, and the queue that they are from.
func (t *target) next(ctx context.Context) ([]json.RawMessage, *waiting, error) {
	for _, q := range []*waiting{&t.queue, &t.refusals} {
		if events, err := q.next(ctx); err != nil || len(events) > 0 {
			return events, q, err
		}
	}
	return nil, nil, nil
}

// run delivers until the hub is closed: then what is there, up to the first failure.
func (t *target) run(ctx context.Context) {
	wait := retryFirst
	flushed := false
	for {
		events, from, err := t.next(ctx)
		if err == nil && len(events) == 0 {
			if flushed {
				return
			}
			select {
			case <-t.more:
			case <-t.flushed:
				flushed = true
			}
			continue
		}
		if err == nil {
			err = t.deliver(ctx, events)
			t.tell(err)
		}
		if err == nil {
			wait = retryFirst
			from.done(ctx)
			continue
		}
		if !t.pause(wait, err) {
			return // the next start goes on
		}
		wait = min(2*wait, retryMost)
	}
}

// tell has the log know when deliveries begin to fail, and when they succeed again.
func (t *target) tell(err error) {
	switch was := t.failing.Swap(err != nil); {
	case err == nil && was:
		t.log.Warn("usage events are delivered again")
	case err != nil && !was:
		t.log.Error("usage events can't be delivered; they wait and are tried again", slog.Any("error", err))
	}
}

// pause waits after a failure; false when the hub is closed.
func (t *target) pause(wait time.Duration, err error) bool {
	pause := wait + rand.N(wait/2+1) //nolint:gosec // no secret
	if after := status.Convert(err).RetryAfter; after > pause {
		pause = min(after, retryMost)
	}
	if t.impatient.Load() {
		pause = time.Millisecond
	}
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-t.stop:
		return false
	}
}

// deliver sends events. Where the receiver refuses them, it sends them by halves, to find those that
// it means; these are dropped.
func (t *target) deliver(ctx context.Context, events []json.RawMessage) error {
	err := guarded(ctx, func(ctx context.Context) error { return t.Sink.Send(ctx, events) })
	if err == nil {
		t.delivered.Add(int64(len(events)))
		return nil
	}
	refusal, refused := errors.AsType[*RefusedError](err)
	if !refused {
		return err
	}
	n := min(refusal.Events, len(events))
	if n <= 0 && len(events) > 1 {
		half := len(events) / 2
		return errors.Join(t.deliver(ctx, events[:half]), t.deliver(ctx, events[half:]))
	}
	n = max(n, 1)
	t.delivered.Add(int64(len(events) - n))
	if t.refused.Add(int64(n)) == int64(n) {
		t.log.Error("the receiver of usage events refuses some, which are dropped; further ones are counted", slog.Int("events", n), slog.Any("error", err))
	}
	return nil
}

// SinkReport tells what became of a sink's events since the server began.
type SinkReport struct {
	Name        string `json:"name"`
	Delivered   int64  `json:"delivered"`
	Queued      int64  `json:"queued"` // that wait, also those of before
	QueuedBytes int64  `json:"queuedBytes"`
	Dropped     int64  `json:"dropped"` // because the queue was full or damaged
	Refused     int64  `json:"refused"` // by the receiver, for good
	Failing     bool   `json:"failing"` // the last delivery failed and is tried again
	// RefusalsQueued and RefusalsDropped are of the events of the kind [Refused], which have a
	// queue of their own and are in none of the numbers above but Delivered and Refused.
	RefusalsQueued  int64 `json:"refusalsQueued"`
	RefusalsDropped int64 `json:"refusalsDropped"`
}
