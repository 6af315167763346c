package server

import (
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/negotiation"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

// read reads a body of at most limit bytes, in the time that the server gives. One
// that ends before the length that was announced is an error.
func (s *Server) read(c echo.Context, body io.Reader, limit int64) ([]byte, error) {
	if n := c.Request().ContentLength; n > limit && body == c.Request().Body {
		return nil, tooLarge(limit)
	}
	data, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err != nil {
		return nil, readError(err)
	}
	if int64(len(data)) > limit {
		return nil, tooLarge(limit)
	}
	return data, nil
}

// patient calls read, which reads the request's body, and gives the body its time
// to arrive.
func (s *Server) patient(c echo.Context, read func() error) error {
	rc := http.NewResponseController(c.Response())
	// A response that is not a connection's, such as a recorder's, has no
	// deadlines and needs none.
	_ = rc.SetReadDeadline(time.Now().Add(s.config.ReadTimeout))
	if err := read(); err != nil {
		// The deadline stays, as what is left of the body may never come.
		if errors.Is(err, errBroken) {
			c.Response().Header().Set("Connection", "close")
		}
		return err
	}
	// While the request runs, the connection is watched for its end, which a
	// deadline must not be taken for.
	_ = rc.SetReadDeadline(time.Time{})
	return nil
}

// errBroken marks a body that ended or stalled before it was complete.
var errBroken = errors.New("broken body")

func tooLarge(limit int64) error {
	return withHTTP(http.StatusRequestEntityTooLarge, status.Publicf(status.InvalidArgument, "the body exceeds the limit of %d bytes", limit))
}

func readError(err error) error {
	var timeout interface{ Timeout() bool }
	switch {
	case errors.Is(err, status.ErrResourceExhausted), errors.Is(err, status.ErrUnavailable): // it was more than may be held, or the server closes
		return err
	case errors.As(err, &timeout) && timeout.Timeout():
		return withHTTP(http.StatusRequestTimeout, status.Publicf(status.DeadlineExceeded, "the body took too long to arrive").WithCause(errors.Join(errBroken, err)))
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return status.Publicf(status.InvalidArgument, "the body ended before it was complete").WithCause(errors.Join(errBroken, err))
	}
	return status.Publicf(status.InvalidArgument, "the body could not be read").WithCause(errors.Join(errBroken, err))
}

// mediaType returns the type of the body and its parameters; 415 when it is none of
// those that are wanted.
func mediaType(header http.Header, want ...string) (string, map[string]string, error) {
	if err := negotiation.Plain(header); err != nil {
		return "", nil, withHTTP(http.StatusUnsupportedMediaType, err)
	}
	// Of a header that comes twice, a proxy may have gone by the other one.
	given := strings.Join(header.Values("Content-Type"), ", ")
	mt, params, err := mime.ParseMediaType(given)
	if err == nil && slices.Contains(want, mt) {
		if charset, ok := params["charset"]; !ok || strings.EqualFold(charset, "utf-8") {
			return mt, params, nil
		}
	}
	return "", nil, withHTTP(http.StatusUnsupportedMediaType, status.Publicf(status.InvalidArgument,
		"the body's Content-Type is %q, want %s", abi.Line(given, 80), strings.Join(want, " or ")))
}

// readRaw reads a body that says that it is JSON; nil when there is none.
func (s *Server) readRaw(c echo.Context) ([]byte, error) {
	return s.readTyped(c, s.config.MaxBodyBytes, "application/json")
}

// readTyped reads a body of one of the types, of at most limit bytes; nil when there is none.
func (s *Server) readTyped(c echo.Context, limit int64, types ...string) ([]byte, error) {
	r := c.Request()
	if r.ContentLength == 0 {
		return nil, nil
	}
	if r.Header.Get("Content-Type") != "" || r.ContentLength > 0 {
		if _, _, err := mediaType(r.Header, types...); err != nil {
			return nil, err
		}
	}
	var body []byte
	err := s.patient(c, func() (err error) {
		body, err = s.read(c, r.Body, limit)
		return err
	})
	if err != nil || len(body) == 0 {
		return nil, err
	}
	_, _, err = mediaType(r.Header, types...)
	return body, err
}

// readJSON reads a JSON body and checks it as [Server.decode] does; nil when there is no
// body.
func (s *Server) readJSON(c echo.Context) (json.RawMessage, error) {
	body, err := s.readRaw(c)
	if err != nil {
		return nil, err
	}
	return s.decode(c, body)
}

// members returns the members of a JSON object, each as it was written; an absent
// body has none.
func members(body json.RawMessage) (map[string]json.RawMessage, error) {
	if body == nil {
		return nil, nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(body, &m); err != nil || m == nil {
		return nil, status.Publicf(status.InvalidArgument, "body: want a JSON object")
	}
	return m, nil
}

// onlyMembers refuses members that a route does not know, which are mistyped more
// often than not.
func onlyMembers(m map[string]json.RawMessage, known ...string) error {
	for name := range m {
		if !slices.Contains(known, name) {
			return status.Publicf(status.InvalidArgument, "body: the member %q is not known here; want %s", abi.Line(name, 80), quoteAll(known))
		}
	}
	return nil
}

func quoteAll(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = `"` + n + `"`
	}
	return strings.Join(quoted, ", ")
}

// decode checks that a body is one JSON value in valid UTF-8, in which no object has a key
// twice, in the tenant's slot.
func (s *Server) decode(c echo.Context, body []byte) (json.RawMessage, error) {
	if len(body) == 0 {
		return nil, nil
	}
	err := s.config.Host.Decode(c.Request().Context(), param(c, "tenant"), func() error {
		if err := schema.CheckUnique(body); err != nil {
			return status.Publicf(status.InvalidArgument, "body: %w", err)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return body, nil
}
