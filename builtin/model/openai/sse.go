package openai

import (
	"bufio"
	"bytes"
	"errors"
	"io"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// events reads the data of server-sent events (HTML standard, § 9.2.6). Lines end
// with LF, CR or CRLF; comments and all fields but data are left out.
type events struct {
	r     *bufio.Reader
	max   int // bytes of one event
	begun bool
	skip  bool // the line before ended with CR: an LF belongs to it
}

func newEvents(r io.Reader, maxBytes int) *events {
	return &events{r: bufio.NewReader(r), max: maxBytes}
}

var byteOrderMark = []byte("\uFEFF")

// next returns the data of the next event that has any. An event that the end of
// the stream cut off comes with io.EOF; the end alone is a nil slice and io.EOF.
func (e *events) next() ([]byte, error) {
	var data []byte
	seen := false
	for {
		line, err := e.line(len(data))
		if !e.begun {
			e.begun = true
			line = bytes.TrimPrefix(line, byteOrderMark)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		if len(line) == 0 && seen {
			return data, err
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		if string(name) == "data" {
			if seen {
				data = append(data, '\n')
			}
			seen = true
			data = append(data, bytes.TrimPrefix(value, []byte(" "))...)
		}
		if err != nil {
			return data, err
		}
	}
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
			return nil, status.Publicf(status.ResourceExhausted, "an event of the server's stream exceeds the limit of %d bytes", e.max)
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
