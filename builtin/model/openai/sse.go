package openai

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// events reads server-sent events (HTML standard, § 9.2.6). Lines end with LF, CR or
// CRLF; comments and all fields but event and data are left out. Two things that
// servers of this API send beside the standard are understood: the field "error", and a
// JSON document without any field, which is how some report an error after they had
// promised a stream.
type events struct {
	r     *bufio.Reader
	max   int // bytes of one event
	begun bool
	skip  bool // the line before ended with CR: an LF belongs to it
}

// event is one event that has data.
type event struct {
	data []byte
	// failed is set when the event says of itself that it reports an error.
	failed bool
	// bare is set when data is a document that stood in the stream by itself.
	bare bool
}

func newEvents(r io.Reader, maxBytes int) *events {
	return &events{r: bufio.NewReader(r), max: maxBytes}
}

var byteOrderMark = []byte("\uFEFF")

// next returns the next event that has any data. An event that the end of the stream
// cut off comes with io.EOF; the end alone is an event without data and io.EOF.
func (e *events) next() (event, error) {
	var ev event
	seen := false
	for {
		line, err := e.line(len(ev.data))
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return event{}, err
		}
		if len(line) == 0 && seen {
			return ev, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			ev.failed = string(value) == "error"
		case "data", "error":
			if seen {
				ev.data = append(ev.data, '\n')
			}
			seen, ev.failed = true, ev.failed || string(name) == "error"
			ev.data = append(ev.data, value...)
		default:
			if !seen && opensDocument(line) {
				return e.document(line, err)
			}
		}
		if err != nil {
			return ev, err
		}
	}
}

// opensDocument reports whether a line is the beginning of a JSON object or list.
func opensDocument(line []byte) bool {
	line = bytes.TrimLeft(line, " \t")
	return len(line) > 0 && (line[0] == '{' || line[0] == '[')
}

// document reads the rest of the stream, of which line is the beginning.
func (e *events) document(line []byte, err error) (event, error) {
	ev := event{data: line, bare: true}
	for err == nil {
		if line, err = e.line(len(ev.data) + 1); err != nil && !errors.Is(err, io.EOF) {
			return event{}, err
		}
		if len(ev.data) >= e.max {
			return event{}, e.tooLong()
		}
		ev.data = append(append(ev.data, '\n'), line...)
	}
	return ev, err
}

func (e *events) tooLong() error {
	return status.Publicf(status.ResourceExhausted, "an event of the server's stream exceeds the limit of %d bytes", e.max)
}

// line returns the next line without its end, io.EOF with the last one.
func (e *events) line(used int) ([]byte, error) {
	var line []byte
	for {
		c, err := e.r.ReadByte()
		if err != nil {
			return line, err
		}
		after := e.skip
		e.skip = c == '\r'
		switch {
		case c == '\n' && after:
		case c == '\n' || c == '\r':
			return line, nil
		case used+len(line) >= e.max:
			return nil, e.tooLong()
		default:
			line = append(line, c)
		}
	}
}

// boundedReader fails when there is more to read than the limit, where
// io.LimitReader would end in silence.
type boundedReader struct {
	r           io.Reader
	left, limit int64
}

// Read reads.
func (b *boundedReader) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, status.Publicf(status.ResourceExhausted, "the server's answer exceeds the limit of %d bytes", b.limit)
	}
	return n, err
}
