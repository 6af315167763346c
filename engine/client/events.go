package client

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// errTooBig reports an event over the limit.
var errTooBig = errors.New("the event is too big")

// decoder reads server-sent events (WHATWG HTML, 9.2): lines that end in LF, CRLF or
// CR, joined data lines, comments. The field "error" is read like "data", for that is
// where Genkit's JS servers put a failure; other members of an event are ignored.
type decoder struct {
	r     *bufio.Reader
	limit int
	data  []byte // of the event that is being read
	has   bool   // a data line has come
	line  []byte
	skip  bool // an LF that belongs to the CR before it
	first bool
}

func newDecoder(r io.Reader, limit int) *decoder {
	return &decoder{r: bufio.NewReader(r), limit: limit, first: true}
}

// next returns the data of the next event that has some; it is good until the next
// call. An event that is cut off at the end of the stream is none: io.EOF.
func (d *decoder) next() ([]byte, error) {
	d.data, d.has = d.data[:0], false
	for {
		line, err := d.readLine()
		if err != nil {
			return nil, err
		}
		if len(line) == 0 {
			if d.has {
				return d.data, nil
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if s := string(name); s != "data" && s != "error" {
			continue // a comment, an id, a type
		}
		value = bytes.TrimPrefix(value, []byte(" "))
		if len(d.data)+1+len(value) > d.limit {
			return nil, errTooBig
		}
		if d.has {
			d.data = append(d.data, '\n')
		}
		d.data, d.has = append(d.data, value...), true
	}
}

var byteOrderMark = []byte("\uFEFF")

// readLine returns a line without its end.
func (d *decoder) readLine() ([]byte, error) {
	d.line = d.line[:0]
	for {
		if _, err := d.r.Peek(1); err != nil {
			return nil, err // a line without an end does not count
		}
		chunk, _ := d.r.Peek(d.r.Buffered())
		if d.skip && chunk[0] == '\n' {
			d.skip = false
			_, _ = d.r.Discard(1) // it is buffered
			continue
		}
		d.skip = false
		end := bytes.IndexAny(chunk, "\r\n")
		n := end
		if end < 0 {
			n = len(chunk)
		}
		if len(d.line)+n > d.limit+len("data: ") {
			return nil, errTooBig
		}
		d.line = append(d.line, chunk[:n]...)
		if end < 0 {
			_, _ = d.r.Discard(n)
			continue
		}
		d.skip = chunk[end] == '\r'
		_, _ = d.r.Discard(n + 1)
		if d.first {
			d.first = false
			d.line = bytes.TrimPrefix(d.line, byteOrderMark)
		}
		return d.line, nil
	}
}
