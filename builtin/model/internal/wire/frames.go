package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Frames are the events of a stream, however they stand in it.
type Frames interface {
	// Next returns the next event that has data. An event that the end of the stream cut off
	// comes with io.EOF; the end alone is an event without data and io.EOF.
	Next() (Event, error)
	// Stray is the text that stood between the events so far.
	Stray() []byte
}

var (
	_ Frames = (*Events)(nil)
	_ Frames = (*Lines)(nil)
)

// Lines reads a stream of JSON documents, one a line (NDJSON). Empty lines are left out.
type Lines struct {
	r   *bufio.Reader
	max int // bytes of one line
}

// NewLines reads lines of at most maxBytes each.
func NewLines(r io.Reader, maxBytes int) Frames {
	return &Lines{r: bufio.NewReader(r), max: maxBytes}
}

// Next returns the next line that is not empty.
func (l *Lines) Next() (Event, error) {
	var line []byte
	for {
		piece, err := l.r.ReadSlice('\n')
		if len(line)+len(piece) > l.max {
			return Event{}, status.Publicf(status.ResourceExhausted, "a line of the server's stream exceeds the limit of %d bytes", l.max)
		}
		line = append(line, piece...)
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case err != nil && !errors.Is(err, io.EOF):
			return Event{}, err
		default:
			if line = bytes.TrimSpace(line); len(line) > 0 || err != nil {
				return Event{Data: line}, err
			}
			line = nil
		}
	}
}

// Stray is nil: whatever stands in the stream is a line of it.
func (l *Lines) Stray() []byte { return nil }
