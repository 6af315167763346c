// Package durable stores the output streams of flows, so that a client can reconnect,
// and several clients can read one stream. Each reader gets all events from the
// beginning, then new ones as they are written.
//
// It defines the [Manager] interface and [Memory], which keeps streams in this process;
// the name is that of Genkit's durable streams. Use:
//
//	m := durable.NewMemory(durable.MemoryConfig{})
//	defer m.Close()
//	w, err := m.Open(ctx, key)      // in the goroutine that runs the flow
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
// A reader reads at its own speed: a slow one never delays the flow or another reader,
// and closing one does not end the stream. The kit durabletest checks the contract of a
// manager.
//
// Experimental: Genkit's own stream managers are in beta. The interface follows them.
package durable

import (
	"context"
	"encoding/json"
)

// Kind is the kind of an event.
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

// String returns the name that Genkit's stores use for the kind.
func (k Kind) String() string {
	switch k {
	case Done:
		return "done"
	case Failed:
		return "error"
	}
	return "chunk"
}

// Event is one step of a stream. Value is JSON. Do not modify it; readers share it.
type Event struct {
	Kind  Kind
	Value json.RawMessage
}

// Manager keeps streams by key. It may be called concurrently.
type Manager interface {
	// Open begins a stream. It fails with ALREADY_EXISTS when the key is taken and with
	// RESOURCE_EXHAUSTED when there is no room. The caller must call End.
	Open(ctx context.Context, key string) (Writer, error)
	// Subscribe returns a reader at the beginning of a stream, which may have ended. It
	// fails with NOT_FOUND if the key was never opened or the stream has been dropped.
	// The caller must close the reader.
	Subscribe(ctx context.Context, key string) (Reader, error)
}

// Writer writes one stream. It may be called concurrently; if one call returns before
// another begins, its event comes first. Write and End do not wait for readers and do
// not keep their arguments.
type Writer interface {
	// Write adds a chunk. It fails with RESOURCE_EXHAUSTED when there is no room
	// for it and with FAILED_PRECONDITION after the end.
	Write(ctx context.Context, chunk json.RawMessage) error
	// End adds the last event, Done or Failed; FAILED_PRECONDITION when the stream has
	// ended. If Done fails with RESOURCE_EXHAUSTED, the stream has not ended. A Failed
	// event of at most [MaxFailureBytes] is always accepted.
	End(ctx context.Context, last Event) error
}

// MaxFailureBytes is the size of a Failed event for which there is always room.
const MaxFailureBytes = 16 << 10

// Reader reads one stream. It belongs to one goroutine.
type Reader interface {
	// Next returns the events that follow, one or more, and waits for them where there
	// are none yet. After the last it returns io.EOF. If ctx ends, it returns
	// ctx.Err().
	Next(ctx context.Context) ([]Event, error)
	// Close releases the reader.
	Close()
}
