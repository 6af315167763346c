package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
)

const (
	requestIDHeader = "X-Request-Id"
	requestIDKey    = "genkit-wasm.request-id"
	maxRequestID    = 128
)

// identify gives each request an id, the caller's when it is fit for a log, and
// every response the headers that go with all of them.
func (s *Server) identify(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(requestIDHeader)
		if !usableID(id) {
			id = rand.Text()
		}
		c.Set(requestIDKey, id)
		w := &timedWriter{ResponseWriter: c.Response().Writer, timeout: s.config.WriteTimeout}
		c.Response().Writer = w
		h := w.Header()
		h.Set(requestIDHeader, id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		return next(c)
	}
}

func usableID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	return !strings.ContainsFunc(id, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("-_.:", r)
	})
}

func requestID(c echo.Context) string {
	id, _ := c.Get(requestIDKey).(string)
	return id
}

// timedWriter gives each write of a response a deadline of its own.
type timedWriter struct {
	http.ResponseWriter
	timeout time.Duration
}

func (w *timedWriter) extend() {
	// A writer that has no deadlines, such as a recorder, is not a connection.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.timeout))
}

func (w *timedWriter) WriteHeader(code int) {
	w.extend()
	w.ResponseWriter.WriteHeader(code)
}

func (w *timedWriter) Write(p []byte) (int, error) {
	w.extend()
	return w.ResponseWriter.Write(p)
}

func (w *timedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// observe logs one line for each request.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		defer func() { s.logRequest(c, time.Since(start)) }()
		if err := next(c); err != nil {
			s.fail(err, c) // here, so that the line tells the status
		}
		return nil
	}
}

func (s *Server) logRequest(c echo.Context, took time.Duration) {
	level := slog.LevelInfo
	attrs := []slog.Attr{
		slog.String("method", abi.Line(c.Request().Method, 16)),
		slog.String("route", routeOf(c)),
		slog.Int("status", c.Response().Status),
		slog.Duration("took", took),
		slog.Int64("bytes", c.Response().Size),
		slog.String("request_id", requestID(c)),
	}
	if err, ok := c.Get(logErrorKey).(error); ok {
		attrs = append(attrs, slog.String("code", status.Of(err).String()))
		if httpStatusOf(err) >= http.StatusInternalServerError {
			level = slog.LevelError
			attrs = append(attrs, slog.String("error", err.Error()))
		}
	}
	s.log.LogAttrs(c.Request().Context(), level, "request", attrs...)
}

// routeOf returns the route's template, so that what is logged has few values.
func routeOf(c echo.Context) string {
	if path := c.Path(); path != "" {
		return path
	}
	return "(none)"
}

// recoverPanic makes an error of a handler's panic. One that comes after the
// response has begun ends the connection, so that a reader sees it is not whole.
func (s *Server) recoverPanic(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		defer func() {
			r := recover()
			if r == nil {
				return
			}
			if cause, ok := r.(error); ok && errors.Is(cause, http.ErrAbortHandler) {
				panic(r)
			}
			err = status.Errorf(status.Internal, "handler panicked: %v\n%s", r, debug.Stack())
			if c.Response().Committed {
				c.Set(logErrorKey, err)
				panic(http.ErrAbortHandler)
			}
		}()
		return next(c)
	}
}

// guard refuses what a browser may have been tricked into sending: a Host that is
// not ours (a name that was pointed at this address), and requests that change
// something from a page of another site.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if s.hosts != nil && !s.hosts[hostName(r.Host)] {
			return status.Publicf(status.PermissionDenied, "this server does not answer to the host name %q", abi.Line(r.Host, 80))
		}
		if isFlow(c) && s.flows.CrossOrigin(c.Response(), r) {
			return nil
		}
		if err := s.origins.Check(r); err != nil {
			return status.Publicf(status.PermissionDenied, "a page of another site may not send this request").
				WithCause(fmt.Errorf("cross-origin check: %w", err))
		}
		return next(c)
	}
}

// hostName returns the name of a Host header: lower case, without port, brackets
// and the final full stop.
func hostName(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = hostport
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	return strings.TrimSuffix(strings.ToLower(host), ".")
}
