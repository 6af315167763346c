package usage

import (
	"log/slog"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// OpenFS opens a book on a disk of a test, with a clock of its own.
func OpenFS(c Config, files storedir.FS, now func() time.Time) (*Book, error) {
	c.now = now
	return open(c, files)
}

// Clock gives a book another clock.
func (b *Book) Clock(now func() time.Time) { b.now = now }

// Keep writes what has changed.
func (b *Book) Keep() error { b.keep(); return b.failed }

// Impatient has the sinks of a book tried again at once.
func Impatient(b *Book) {
	for _, t := range b.hub.targets {
		t.impatient.Store(true)
	}
}

// DecodeDay and DecodeSegment read what was stored.
var (
	DecodeDay     = func(raw []byte) (int, int) { rows, damaged := decodeDay(raw); return len(rows), damaged }
	DecodeSegment = decodeSegment
	AppendLine    = appendLine
	AppendEvent   = appendEvent
)

// Bounds.
const (
	MaxTenantRows = maxTenantRows
	SegmentBytes  = segmentBytes

	MaxRefusalKeys = maxRefusalKeys
)

// DirStore is the store of a directory, as a book opens it.
func DirStore(files storedir.FS) Store { return newDirStore(files) }

// OpenSpool opens a queue in files, as a book does.
func OpenSpool(files storedir.FS, dir string, most int64) (Queue, error) {
	return openSpool(files, dir, most, slog.New(slog.DiscardHandler))
}

// MemoryQueue is a queue in memory.
func MemoryQueue(most int64) Queue { return newMemoryQueue(most, slog.New(slog.DiscardHandler)) }
