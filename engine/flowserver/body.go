package flowserver

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
)

const jsonType = "application/json"

// firstRead is the most that is allocated on the word of a Content-Length alone.
const firstRead = 64 << 10

// errBroken marks a body that ended or stalled before it was complete.
var errBroken = errors.New("broken body")

// input reads the body and returns the flow's input and init, nil where there is none.
func (s *Server) input(rc *http.ResponseController, r *http.Request) (data, init json.RawMessage, err error) {
	if r.Body == nil || r.ContentLength == 0 {
		return nil, nil, nil
	}
	if err := negotiation.Plain(r.Header); err != nil {
		return nil, nil, withHTTP(http.StatusUnsupportedMediaType, err)
	}
	if r.ContentLength > 0 && !isJSON(r.Header) {
		return nil, nil, notJSON()
	}
	if r.ContentLength > s.config.MaxBodyBytes {
		return nil, nil, tooLarge(s.config.MaxBodyBytes)
	}
	// A response that is not a connection's, such as a recorder's, has no
	// deadlines and needs none.
	_ = rc.SetReadDeadline(time.Now().Add(s.config.ReadTimeout))
	body, err := readAll(r.Body, r.ContentLength, s.config.MaxBodyBytes)
	if err != nil {
		return nil, nil, err // the deadline stays, as what is left may never come
	}
	// While the flow runs, the connection is watched for its end, which a
	// deadline must not be taken for.
	_ = rc.SetReadDeadline(time.Time{})
	if len(body) == 0 {
		return nil, nil, nil
	}
	if !isJSON(r.Header) { // of a body whose length was not said
		return nil, nil, notJSON()
	}
	if err := schema.CheckUnique(body); err != nil {
		return nil, nil, status.Publicf(status.InvalidArgument, "body: %w", err)
	}
	return envelope(body)
}

func readAll(body io.Reader, length, limit int64) ([]byte, error) {
	size := int64(512)
	if length > 0 {
		size = min(length+1, firstRead) // one more to see the end in
	}
	buf := make([]byte, 0, size)
	for {
		if len(buf) == cap(buf) {
			buf = append(buf, 0)[:len(buf)]
		}
		n, err := body.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		switch {
		case int64(len(buf)) > limit:
			return nil, tooLarge(limit)
		case errors.Is(err, io.EOF):
			return buf, nil
		case err != nil:
			return nil, readError(err)
		}
	}
}

func tooLarge(limit int64) error {
	return withHTTP(http.StatusRequestEntityTooLarge, status.Publicf(status.InvalidArgument, "the body exceeds the limit of %d bytes", limit))
}

func notJSON() error {
	return withHTTP(http.StatusUnsupportedMediaType, status.Publicf(status.InvalidArgument, "the body's Content-Type is not %s", jsonType))
}

func readError(err error) error {
	if errors.Is(err, status.ErrUnauthenticated) || errors.Is(err, status.ErrUnavailable) { // the caller may not call any more, or the server closes
		return err
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return withHTTP(http.StatusRequestTimeout, status.Publicf(status.DeadlineExceeded, "the body took too long to arrive").WithCause(errors.Join(errBroken, err)))
	}
	return status.Publicf(status.InvalidArgument, "the body ended before it was complete").WithCause(errors.Join(errBroken, err))
}

func isJSON(header http.Header) bool {
	// Of a header that comes twice, a proxy may have gone by the other one.
	contentType := strings.Join(header.Values("Content-Type"), ", ")
	if contentType == jsonType {
		return true
	}
	mt, params, err := mime.ParseMediaType(contentType)
	if err != nil || mt != jsonType {
		return false
	}
	charset, ok := params["charset"]
	return !ok || strings.EqualFold(charset, "utf-8")
}

// envelope returns the member "data" of a body, which has been checked to be JSON, nil
// when it is absent. No name comes twice (JS takes the last; a body with two is refused
// here, since others may take the first), and "init", the value at the start of a
// bidirectional action. Other members are passed over.
func envelope(body []byte) (data, init json.RawMessage, err error) {
	i := space(body, 0)
	if body[i] != '{' {
		return nil, nil, status.Publicf(status.InvalidArgument, "body: want a JSON object")
	}
	for i = space(body, i+1); body[i] != '}'; i = space(body, i) {
		if body[i] == ',' {
			i = space(body, i+1)
		}
		end := valueEnd(body, i)
		name := memberName(body[i:end])
		start := space(body, space(body, end)+1) // past the colon
		i = valueEnd(body, start)
		switch name {
		case "data":
			data = body[start:i:i]
		case "init":
			init = body[start:i:i]
		}
	}
	return data, init, nil
}

func memberName(quoted []byte) string {
	switch string(quoted) { // without decoding, as it nearly always is
	case `"data"`:
		return "data"
	case `"init"`:
		return "init"
	}
	var name string
	_ = json.Unmarshal(quoted, &name) // it has been checked
	return name
}

func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r') {
		i++
	}
	return i
}

// valueEnd returns where the JSON value that begins at i ends.
func valueEnd(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // the end of a number or word before it
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return i
			}
		}
	}
	return i
}
