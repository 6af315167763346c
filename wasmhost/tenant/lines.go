package tenant

import (
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Lines bounds the lines that the modules of a tenant write into the log: a bucket of bytes that
// fills steadily. Once it is empty, lines are dropped and counted until it is half full
// again, so that a tenant that goes on writing makes two messages of that, and not one
// for each line. It is safe for concurrent use.
type Lines struct {
	tell func(LinesReport, bool)

	mu        sync.Mutex // guards the fields below
	perSecond float64
	left      float64
	at        time.Time // at which left was computed
	timer     *time.Timer
	dropping  bool
	dropped   LinesReport // since dropping began
	total     LinesReport
}

// LinesReport counts log lines that were dropped.
type LinesReport struct {
	Lines int64 `json:"droppedLines"`
	Bytes int64 `json:"droppedBytes"` // as they would have been written, see [LineBytes]
}

// LogBurst is how many seconds' bytes a tenant may log at once.
const LogBurst = 16

// NewLines makes a bucket that is full. tell is called when lines begin to be dropped, and
// with the counts once that has ended.
func NewLines(bytesPerSecond int64, tell func(dropped LinesReport, ended bool)) *Lines {
	return &Lines{tell: tell, perSecond: float64(bytesPerSecond), left: float64(bytesPerSecond) * LogBurst, at: time.Now()}
}

// SetRate changes how many bytes a second there may be.
func (l *Lines) SetRate(bytesPerSecond int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fill()
	l.perSecond = float64(bytesPerSecond)
	l.left = min(l.left, l.perSecond*LogBurst)
}

// Take tells whether a line of so many bytes may be written; one that may not is counted.
func (l *Lines) Take(bytes int) bool {
	l.mu.Lock()
	l.fill()
	begins := !l.dropping && l.left < float64(bytes)
	if !l.dropping && !begins {
		l.left -= float64(bytes)
		l.mu.Unlock()
		return true
	}
	if begins {
		l.dropping = true
		half := max(0, l.perSecond*LogBurst/2-l.left)
		l.timer = time.AfterFunc(time.Duration(half/l.perSecond*float64(time.Second))+time.Millisecond, l.resume)
	}
	for _, count := range []*LinesReport{&l.dropped, &l.total} {
		count.Lines++
		count.Bytes += int64(bytes)
	}
	l.mu.Unlock()
	if begins {
		l.tell(LinesReport{}, false)
	}
	return false
}

// fill adds the bytes that have come in since. The lock is held.
func (l *Lines) fill() {
	now := time.Now()
	l.left = min(l.perSecond*LogBurst, l.left+l.perSecond*now.Sub(l.at).Seconds())
	l.at = now
}

// resume ends the dropping.
func (l *Lines) resume() {
	l.mu.Lock()
	was, dropped := l.dropping, l.dropped
	l.dropping, l.dropped = false, LinesReport{}
	l.mu.Unlock()
	if was {
		l.tell(dropped, true)
	}
}

// Close reports the dropped lines, if lines are being dropped.
func (l *Lines) Close() {
	l.mu.Lock()
	timer := l.timer
	l.mu.Unlock()
	if timer != nil {
		timer.Stop()
	}
	l.resume()
}

// Dropped returns the counts of all dropped lines.
func (l *Lines) Dropped() LinesReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// lineOverhead is about the length of the text around a module's line in the log: the time, the level and
// the names of tenant and module.
const lineOverhead = 200

// LineBytes is the length of a line in the log, escaped as text or JSON, with the text around
// it.
func LineBytes(line string) int { return lineOverhead + escaped(line) }

// CutLine cuts a line so that it is no longer than most when it is escaped.
func CutLine(line string, most int) string {
	if escaped(line) <= most {
		return line
	}
	const mark = "…"
	most -= len(mark)
	for i, r := range line {
		size := utf8.RuneLen(r)
		if size < 0 { // invalid
			size = 1
		}
		if most -= escaped(line[i : i+size]); most < 0 {
			return line[:i] + mark
		}
	}
	return line
}

// escaped returns how long text is when it is written as a string. JSON writes no more than
// Go does: what is cleaned has no control characters but tabs and newlines.
func escaped(text string) int { return len(strconv.Quote(text)) - 2 }
