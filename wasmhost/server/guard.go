package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
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
		c.Set(writerKey, w)
		h := w.Header()
		h.Set(requestIDHeader, id)
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		h.Set("Cache-Control", "no-store")
		if c.Request().ContentLength != 0 {
			// net/http reads what a handler leaves of a body, and waits for it. Handlers
			// that read the body set another deadline.
			_ = http.NewResponseController(w.ResponseWriter).SetReadDeadline(time.Now().Add(s.config.ReadTimeout))
		}
		if len(c.Request().TransferEncoding) > 0 {
			// A request may have had a Content-Length besides, which net/http drops without
			// a word. A proxy that went by it has seen another end of the request than
			// this server, so that what follows on the connection must not be read.
			h.Set("Connection", "close")
		}
		return next(c)
	}
}

func usableID(id string) bool {
	if id == "" || len(id) > maxRequestID {
		return false
	}
	return access.Redact(id) == id && !strings.ContainsFunc(id, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9'
		return !letter && !strings.ContainsRune("-_.:", r)
	})
}

// observe logs one line for each request.
func (s *Server) observe(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		start := time.Now()
		defer func() {
			took := time.Since(start)
			s.logRequest(c, took)
			if s.config.Metrics != nil {
				s.config.Metrics.Request(c.Request().Method, routeOf(c), c.Response().Status, took)
			}
		}()
		if err := next(c); err != nil {
			s.fail(err, c) // here, so that the line tells the status
			linger(c)
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
	if s.config.Auth != nil {
		attrs = append(attrs, slog.String("from", s.from(c.Request()).String()))
		if identity := identityOf(c); identity != nil {
			attrs = append(attrs, slog.String("identity", abi.Line(identity.Subject, 256)))
		}
	}
	if err, ok := c.Get(logErrorKey).(error); ok {
		attrs = append(attrs, slog.String("code", status.Of(err).String()))
		if httpStatusOf(err) >= http.StatusInternalServerError {
			level = slog.LevelError
			attrs = append(attrs, slog.String("error", access.Redact(err.Error())))
		}
		if cause := errors.Unwrap(err); cause != nil && identityOf(c) == nil && status.Of(err) == status.Unauthenticated {
			attrs = append(attrs, slog.String("refused", abi.Line(access.Redact(cause.Error()), 512))) // why a token is not good
		}
	}
	s.log.LogAttrs(c.Request().Context(), level, "request", attrs...)
}

// routeOf returns the route's template, so that logs have few different values.
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

// guard refuses requests that a browser may have been tricked into sending: a Host that is
// not ours (a name that was pointed at this address), and requests that change
// something from a page of another site.
func (s *Server) guard(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		r := c.Request()
		if s.hosts != nil && !s.hosts[caller.HostName(r.Host)] {
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
