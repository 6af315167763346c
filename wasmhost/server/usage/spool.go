package usage

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// spool is a queue in files of a directory: segments, of which the oldest is read and the newest
// written, and a cursor that says how much of the oldest was delivered. A process that ends leaves
// what was not delivered to the next one, which begins a segment of its own.
type spool struct {
	files storedir.FS
	dir   string
	most  int64
	log   *slog.Logger

	mu       sync.Mutex // guards the fields below
	segments []*segment // the oldest first
	out      storedir.File
	bytes    int64
	scratch  []byte // lines that are being written
	torn     bool   // the last write of the newest segment was cut off
	dropped  int64
	told     bool
	unread   int // how often the oldest segment could not be read
	// of the events that Next has returned
	from       *segment
	to         int64
	fromEvents int64
}

// segment is a file of events.
type segment struct {
	number int64
	size   int64 // in bytes
	read   int64 // of which were delivered or passed over
	events int64 // that were not delivered
}

const (
	segmentBytes  = 1 << 20
	segmentSuffix = ".events"
	cursorFile    = "cursor"
	// maxUnread is how often a segment is read in vain before it is passed over, which the pauses between make ten minutes.
	maxUnread = 16
)

var _ Queue = (*spool)(nil)

func (q *spool) path(s *segment) string {
	return fmt.Sprintf("%s/%020d%s", q.dir, s.number, segmentSuffix)
}

func openSpool(files storedir.FS, dir string, most int64, log *slog.Logger) (*spool, error) {
	q := &spool{files: files, dir: dir, most: max(most, 2*segmentBytes), log: log}
	if err := storedir.Mkdir(files, ".", dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, storedir.Problem("make the queue of a sink", err)
	}
	entries, err := files.ReadDir(dir)
	if err != nil {
		return nil, storedir.Problem("read the queue of a sink", err)
	}
	if err := storedir.RemoveTemporary(files, dir); err != nil {
		log.Warn("files that an earlier process left behind can't be removed", slog.Any("error", err))
	}
	number, read := q.readCursor()
	damaged := 0
	for _, e := range entries {
		text, ok := strings.CutSuffix(e.Name(), segmentSuffix)
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || err != nil || n < 0 || len(text) != 20 {
			continue
		}
		s := &segment{number: n}
		raw, err := files.ReadFile(q.path(s), 4*segmentBytes)
		if err != nil {
			log.Error("a part of the queue of usage events can't be read, and is passed over", slog.String("file", e.Name()), slog.Any("error", err))
			damaged++
			continue
		}
		s.size = int64(len(raw))
		if n == number && read <= s.size {
			s.read = read
		}
		events, bad := decodeSegment(raw[s.read:])
		s.events = int64(len(events))
		damaged += bad
		if n < number || s.events == 0 {
			_ = files.Remove(q.path(s)) // it was delivered, or has nothing that could be
			continue
		}
		q.segments = append(q.segments, s)
		q.bytes += s.size
	}
	slices.SortFunc(q.segments, func(a, b *segment) int { return int(max(-1, min(1, a.number-b.number))) })
	if damaged > 0 {
		q.dropped += int64(damaged)
		log.Error("lines of the queue of usage events are damaged and are passed over", slog.Int("lines", damaged))
	}
	return q, nil
}

// readCursor returns how far the oldest segment was delivered. Where that can't be read, events come
// again.
func (q *spool) readCursor() (number, read int64) {
	raw, err := q.files.ReadFile(q.dir+"/"+cursorFile, 256)
	if err != nil {
		return -1, 0
	}
	text, ok := lineOf(bytes.TrimSuffix(raw, []byte("\n")))
	var c cursor
	if !ok || json.Unmarshal(text, &c) != nil || c.Segment < 0 || c.Read < 0 {
		return -1, 0
	}
	return c.Segment, c.Read
}

type cursor struct {
	Segment int64 `json:"segment"`
	Read    int64 `json:"read"`
}

// decodeSegment reads the events of a segment. Lines that are damaged are passed over and counted.
func decodeSegment(raw []byte) (events []json.RawMessage, damaged int) {
	for len(raw) > 0 {
		var line []byte
		line, raw, _ = bytes.Cut(raw, []byte("\n"))
		if len(line) == 0 {
			continue
		}
		text, ok := lineOf(line)
		if !ok || len(text) > maxEventBytes || !json.Valid(text) {
			damaged++
			continue
		}
		events = append(events, text)
	}
	return events, damaged
}

// Put implements [Queue].
func (q *spool) Put(_ context.Context, events []json.RawMessage) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if err := q.write(events); err != nil {
		return err
	}
	for q.bytes > q.most && len(q.segments) > 1 {
		q.remove(q.segments[0], true)
	}
	return nil
}

// drops counts events that are lost. mu is held.
func (q *spool) drops(n int64) {
	q.dropped += n
	if !q.told && n > 0 {
		q.told = true
		tellFull(q.log)
	}
}

// write appends events to the newest segment. mu is held.
func (q *spool) write(events []json.RawMessage) error {
	if len(events) == 0 {
		return nil
	}
	if q.out == nil || q.last().size >= segmentBytes {
		if err := q.begin(); err != nil {
			return err
		}
	}
	s, text := q.last(), q.scratch[:0]
	if q.torn {
		text = append(text, '\n')
	}
	for _, e := range events {
		text = appendLine(text, e)
	}
	if q.scratch = text; cap(text) > mostScratch {
		q.scratch = nil
	}
	n, err := q.out.Write(text)
	s.size += int64(n)
	q.bytes += int64(n)
	if q.torn = err != nil; err != nil {
		return err
	}
	s.events += int64(len(events))
	return nil
}

func (q *spool) last() *segment { return q.segments[len(q.segments)-1] }

// begin begins a segment. mu is held.
func (q *spool) begin() error {
	s := &segment{}
	if len(q.segments) > 0 {
		s.number = q.last().number + 1
	} else if number, _ := q.readCursor(); number >= 0 {
		s.number = number + 1
	}
	out, err := q.files.OpenFile(q.path(s), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	for range 100 { // past files that could not be removed
		if !errors.Is(err, fs.ErrExist) {
			break
		}
		s.number++
		out, err = q.files.OpenFile(q.path(s), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o600)
	}
	if err != nil {
		return err
	}
	if q.out != nil {
		_ = q.out.Sync() // a failure leaves what a power cut may lose
		_ = q.out.Close()
	}
	q.out, q.torn = out, false
	q.segments = append(q.segments, s)
	return nil
}

// remove removes a segment; what was not delivered of it is dropped. mu is held.
func (q *spool) remove(s *segment, dropped bool) {
	i := slices.Index(q.segments, s)
	if i < 0 {
		return
	}
	if dropped {
		q.drops(s.events)
	}
	q.segments = slices.Delete(q.segments, i, i+1)
	q.bytes -= s.size
	if err := q.files.Remove(q.path(s)); err != nil {
		q.log.Warn("a delivered part of the queue of usage events can't be removed", slog.Any("error", err))
	}
}

// Next implements [Queue].
func (q *spool) Next(context.Context) (events []json.RawMessage, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.from = nil
	for len(q.segments) > 0 {
		s := q.segments[0]
		raw, err := q.readFrom(s)
		if err != nil && (storedir.Exhausted(err) || q.unread < maxUnread) {
			q.unread++
			return nil, storedir.Problem("read the queue of a sink", err)
		}
		q.unread = 0
		if err != nil {
			q.log.Error("a part of the queue of usage events can't be read, and is passed over", slog.Any("error", err))
			q.forsake(s)
			continue
		}
		taken := 0
		for len(events) < MaxBatchEvents {
			at := bytes.IndexByte(raw[taken:], '\n')
			if at < 0 {
				break
			}
			more, damaged := decodeSegment(raw[taken : taken+at])
			q.drops(int64(damaged))
			events = append(events, more...)
			taken += at + 1
		}
		if len(events) > 0 {
			q.from, q.to, q.fromEvents = s, s.read+int64(taken), int64(len(events))
			return events, nil
		}
		if s == q.last() && q.out != nil { // the rest is still to be written
			s.read += int64(taken)
			break
		}
		q.forsake(s)
	}
	q.told = false
	return nil, nil
}

// forsake ends a segment of which nothing can be delivered. mu is held.
func (q *spool) forsake(s *segment) {
	if q.out != nil && s == q.last() {
		_ = q.out.Close()
		q.out = nil
	}
	q.remove(s, true)
}

// readFrom reads a segment from where it was delivered to. mu is held.
func (q *spool) readFrom(s *segment) ([]byte, error) {
	f, err := q.files.OpenFile(q.path(s), os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	raw := make([]byte, min(batchBytes+maxEventBytes, s.size-s.read))
	n, err := f.ReadAt(raw, s.read)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return raw[:n], errors.Join(err, f.Close())
}

// Done implements [Queue].
func (q *spool) Done(context.Context) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := q.from
	if q.from = nil; s == nil || !slices.Contains(q.segments, s) {
		return nil
	}
	s.read, s.events = q.to, max(0, s.events-q.fromEvents)
	raw, err := json.Marshal(cursor{s.number, s.read})
	if err == nil {
		err = storedir.WriteFile(q.files, q.dir, cursorFile, appendLine(nil, raw))
	}
	if s.events == 0 && s.read >= s.size && (q.out == nil || s != q.last()) {
		q.remove(s, false)
	}
	return err
}

// Stats implements [Queue].
func (q *spool) Stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	r := QueueStats{Dropped: q.dropped}
	for _, s := range q.segments {
		r.Queued += s.events
		r.QueuedBytes += s.size - s.read
	}
	return r
}

// Close has what was put on the disk.
func (q *spool) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.out == nil {
		return nil
	}
	err := errors.Join(q.out.Sync(), q.out.Close())
	q.out = nil
	return err
}
