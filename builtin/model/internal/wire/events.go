package wire

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Events reads server-sent events (HTML standard, § 9.2.6). Lines end with LF, CR or
// CRLF; comments and all fields but event and data are left out. Two things that
// servers send beside the standard are understood: the field "error", and a
// JSON document without any field, which is how some report an error after they had
// promised a stream.
type Events struct {
	r     *bufio.Reader
	max   int // bytes of one event
	begun bool
	skip  bool // the line before ended with CR: an LF belongs to it
	stray []byte
}

// maxStray bounds how much of the text beside events is kept.
const maxStray = 4 << 10

// Stray is the text that stood between the events so far: lines that are no field of an
// event. A good stream has none; a server that fails may write its words so.
func (e *Events) Stray() []byte { return e.stray }

// keep keeps a line that is no field. The last line may be the beginning of one.
func (e *Events) keep(name, line []byte, cut bool) {
	known := []string{"data", "event", "error", "id", "retry"}
	if len(name) == 0 || slices.Contains(known, string(name)) || len(e.stray) >= maxStray {
		return // an empty line, a comment, a field without a use here
	}
	if cut && slices.ContainsFunc(known, func(field string) bool { return strings.HasPrefix(field, string(line)) }) {
		return
	}
	if len(e.stray) > 0 {
		e.stray = append(e.stray, '\n')
	}
	e.stray = append(e.stray, line[:min(len(line), maxStray)]...)
}

// Event is one event that has data.
type Event struct {
	Data []byte
	// Failed is set when the event says of itself that it reports an error.
	Failed bool
	// Bare is set when Data is a document that stood in the stream by itself.
	Bare bool
}

// NewEvents reads events of at most maxBytes each.
func NewEvents(r io.Reader, maxBytes int) *Events {
	return &Events{r: bufio.NewReader(r), max: maxBytes}
}

var byteOrderMark = []byte("\uFEFF")

// Next returns the next event that has any data. An event that the end of the stream
// cut off comes with io.EOF; the end alone is an event without data and io.EOF.
func (e *Events) Next() (Event, error) {
	var ev Event
	seen := false
	for {
		line, err := e.line(len(ev.Data))
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return Event{}, err
		}
		if len(line) == 0 && seen {
			return ev, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "event":
			ev.Failed = string(value) == "error"
		case "data", "error":
			if seen {
				ev.Data = append(ev.Data, '\n')
			}
			seen, ev.Failed = true, ev.Failed || string(name) == "error"
			ev.Data = append(ev.Data, value...)
		default:
			if !seen && opensDocument(line) {
				return e.document(line, err)
			}
			if !seen {
				e.keep(name, line, err != nil)
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
func (e *Events) document(line []byte, err error) (Event, error) {
	ev := Event{Data: line, Bare: true}
	for err == nil {
		if line, err = e.line(len(ev.Data) + 1); err != nil && !errors.Is(err, io.EOF) {
			return Event{}, err
		}
		if len(ev.Data) >= e.max {
			return Event{}, e.tooLong()
		}
		ev.Data = append(append(ev.Data, '\n'), line...)
	}
	return ev, err
}

func (e *Events) tooLong() error {
	return status.Publicf(status.ResourceExhausted, "an event of the server's stream exceeds the limit of %d bytes", e.max)
}

// line returns the next line without its end, io.EOF with the last one.
func (e *Events) line(used int) ([]byte, error) {
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

// Bound returns a reader that fails with RESOURCE_EXHAUSTED when r holds more than limit
// bytes, where io.LimitReader would end in silence.
func Bound(r io.Reader, limit int64) io.Reader { return &bounded{r, limit, limit} }

type bounded struct {
	r           io.Reader
	left, limit int64
}

// Read reads.
func (b *bounded) Read(p []byte) (int, error) {
	if int64(len(p)) > b.left+1 {
		p = p[:b.left+1]
	}
	n, err := b.r.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return 0, status.Publicf(status.ResourceExhausted, "the server's answer exceeds the limit of %d bytes", b.limit)
	}
	return n, err
}
