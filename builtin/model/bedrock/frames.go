package bedrock

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/builtin/model/internal/wire"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// eventStream is the content type of a stream of frames.
const eventStream = "application/vnd.amazon.eventstream"

// frames reads the frames of an event stream. Each is a prelude (the length of all, that of
// the headers, and a checksum of the two), headers, a payload and a checksum of all before.
// Source: the specification of Amazon's event stream encoding in Smithy.
type frames struct {
	r     *bufio.Reader
	max   int
	begun bool
}

var _ wire.Frames = (*frames)(nil)

func newFrames(r io.Reader, maxBytes int) wire.Frames {
	return &frames{r: bufio.NewReader(r), max: maxBytes}
}

const (
	preludeLength  = 12
	checksumLength = 4
	wordLength     = 4
)

// Next returns a frame as {"<event type>": payload}; that of an exception is
// {"error": {"type": …, "message": …}} and failed. Text in the place of the first frame, which
// is what a server that fails early writes, is returned as it is.
func (f *frames) Next() (wire.Event, error) {
	first := !f.begun
	f.begun = true
	var prelude [preludeLength]byte
	n, err := io.ReadFull(f.r, prelude[:])
	if first && n > 0 && utf8.Valid(prelude[:n]) && prelude[0] != 0 {
		return f.text(prelude[:n])
	}
	if err != nil {
		return wire.Event{}, err // io.EOF between frames, io.ErrUnexpectedEOF within one
	}
	total, headers := binary.BigEndian.Uint32(prelude[:]), binary.BigEndian.Uint32(prelude[wordLength:])
	if binary.BigEndian.Uint32(prelude[2*wordLength:]) != crc32.ChecksumIEEE(prelude[:2*wordLength]) {
		return wire.Event{}, errFrame("a checksum is wrong")
	}
	switch {
	case uint64(total) > uint64(f.max)+preludeLength:
		return wire.Event{}, status.Publicf(status.ResourceExhausted, "an event of the server's stream exceeds the limit of %d bytes", f.max)
	case total < preludeLength+checksumLength || headers > total-preludeLength-checksumLength:
		return wire.Event{}, errFrame("its lengths do not fit")
	}
	rest := make([]byte, total-preludeLength)
	if _, err := io.ReadFull(f.r, rest); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return wire.Event{}, err
	}
	body := rest[:len(rest)-checksumLength]
	if binary.BigEndian.Uint32(rest[len(body):]) != crc32.Update(crc32.ChecksumIEEE(prelude[:]), crc32.IEEETable, body) {
		return wire.Event{}, errFrame("a checksum is wrong")
	}
	named, err := headersOf(body[:headers])
	if err != nil {
		return wire.Event{}, err
	}
	return eventOf(named, body[headers:])
}

// text reads what stands in the place of frames.
func (f *frames) text(begun []byte) (wire.Event, error) {
	rest, err := io.ReadAll(io.LimitReader(f.r, int64(f.max)))
	if err != nil {
		return wire.Event{}, err
	}
	if len(rest) == f.max {
		return wire.Event{}, status.Publicf(status.ResourceExhausted, "an event of the server's stream exceeds the limit of %d bytes", f.max)
	}
	return wire.Event{Data: append(begun, rest...), Bare: true}, io.EOF
}

// Stray is nil: there is nothing between frames.
func (f *frames) Stray() []byte { return nil }

func errFrame(what string) error {
	return status.Publicf(status.Internal, "a frame of the server's stream can't be read: %s", what)
}

// sizes are the lengths of the values of headers, by their type; -1 is one that is told
// before it.
var sizes = []int{0, 0, 1, 2, 4, 8, -1, -1, 8, 16}

const stringType = 7

// headersOf reads those headers of a frame that are strings.
func headersOf(raw []byte) (map[string]string, error) {
	named := map[string]string{}
	for len(raw) > 0 {
		n := int(raw[0])
		if len(raw) < n+2 || int(raw[n+1]) >= len(sizes) {
			return nil, errFrame("a header does not fit")
		}
		name, kind := string(raw[1:n+1]), raw[n+1]
		raw = raw[n+2:]
		size := sizes[kind]
		if size < 0 {
			if len(raw) < 2 {
				return nil, errFrame("a header does not fit")
			}
			size, raw = int(binary.BigEndian.Uint16(raw)), raw[2:]
		}
		if len(raw) < size {
			return nil, errFrame("a header does not fit")
		}
		if kind == stringType {
			named[name] = string(raw[:size])
		}
		raw = raw[size:]
	}
	return named, nil
}

func eventOf(named map[string]string, payload []byte) (wire.Event, error) {
	if kind := named[":message-type"]; kind == "exception" || kind == "error" {
		failure := map[string]any{"type": wire.Or(named[":exception-type"], named[":error-code"]), "message": named[":error-message"]}
		var own struct {
			Message string `json:"message"`
		}
		if json.Unmarshal(payload, &own) == nil && own.Message != "" {
			failure["message"] = own.Message
		}
		data, err := rawjson.Encode(map[string]any{"error": failure})
		return wire.Event{Data: data, Failed: true}, err
	}
	if !json.Valid(payload) {
		return wire.Event{}, errFrame("its payload is not JSON")
	}
	name, err := rawjson.Encode(strings.ToValidUTF8(named[":event-type"], ""))
	if err != nil {
		return wire.Event{}, err
	}
	data := make([]byte, 0, len(name)+len(payload)+len("{:}"))
	data = append(append(append(append(append(data, '{'), name...), ':'), payload...), '}')
	return wire.Event{Data: data}, nil
}
