// Package durable keeps the streams of flows, so that a reader who was cut off can
// come back and others can read along: everything from the beginning, then what comes.
//
// It owns the interface of a stream manager and the one that keeps streams in memory.
// Use:
//
//	m := durable.NewMemory(durable.MemoryConfig{})
//	defer m.Close()
//	w, err := m.Open(ctx, key)      // by whoever runs the flow
//	err = w.Write(ctx, chunk)
//	err = w.End(ctx, durable.Event{Kind: durable.Done, Value: output})
//
//	r, err := m.Subscribe(ctx, key) // by each reader
//	defer r.Close()
//	for {
//		events, err := r.Next(ctx)  // io.EOF after the last
//		…
//	}
//
// A reader pulls at its own speed: a slow one never holds up the flow or another
// reader, and one that leaves ends nothing. The kit durabletest holds what every
// manager has to obey.
package durable

import (
	"context"
	"encoding/json"
)

// Kind says what an event is.
type Kind int

// The kinds. A stream is any number of chunks and then one Done or Failed.
const (
	Chunk Kind = iota
	// Done carries the output.
	Done
	// Failed carries the error as it goes to a caller: {status, message,
	// details?}, without anything private.
	Failed
)

// Last reports whether the event ends its stream.
func (k Kind) Last() bool { return k == Done || k == Failed }

// String names the kind, as foreign stores write it.
func (k Kind) String() string {
	switch k {
	case Done:
		return "done"
	case Failed:
		return "error"
	}
	return "chunk"
}

// Event is one step of a stream. Value is JSON and must not be changed by whoever
// holds the event.
type Event struct {
	Kind  Kind
	Value json.RawMessage
}

// Manager keeps streams by key. It may be called concurrently.
type Manager interface {
	// Open begins a stream. It fails with ALREADY_EXISTS when the key is taken
	// and with RESOURCE_EXHAUSTED when there is no room. The writer must be
	// ended.
	Open(ctx context.Context, key string) (Writer, error)
	// Subscribe reads a stream from its beginning, also one that has ended;
	// NOT_FOUND when there is none or it is kept no longer. The reader must be
	// closed. It may be called before, while and after the stream is written.
	Subscribe(ctx context.Context, key string) (Reader, error)
}

// Writer writes one stream. It may be called concurrently; events are kept in the
// order in which the calls return. Neither call waits for a reader, and what is
// passed may be used again once it has returned.
type Writer interface {
	// Write adds a chunk. It fails with RESOURCE_EXHAUSTED when there is no room
	// for it and with FAILED_PRECONDITION after the end.
	Write(ctx context.Context, chunk json.RawMessage) error
	// End adds the last event, Done or Failed; FAILED_PRECONDITION when the
	// stream has ended. Done may fail with RESOURCE_EXHAUSTED, and has not ended
	// the stream then; Failed of at most [MaxFailureBytes] always fits.
	End(ctx context.Context, last Event) error
}

// MaxFailureBytes is the size of a Failed event for which there is always room.
const MaxFailureBytes = 16 << 10

// Reader reads one stream. It belongs to one goroutine.
type Reader interface {
	// Next returns the events that follow, one or more, and waits for them where
	// there are none yet. After the last it returns io.EOF, and when ctx ends
	// ctx's error.
	Next(ctx context.Context) ([]Event, error)
	// Close gives up what the reader holds.
	Close()
}
