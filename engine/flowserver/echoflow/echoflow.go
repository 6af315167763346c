// Package echoflow puts flows on Echo, with the middleware that a server which anybody
// can reach wants: limits of calls and security headers.
//
// It owns adaptors alone; what they adapt is the flow server's. Use:
//
//	e := echo.New()
//	e.HTTPErrorHandler = echoflow.Fail
//	e.Use(echoflow.Secure(), echoflow.RateLimit(echoflow.RateLimitConfig{PerSecond: 10, Burst: 20}))
//	echoflow.All(e, "/flows", srv.Registry("/flows/", eng.Registry()))
//
// Everything here is safe for concurrent use.
package echoflow

import (
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Flow serves one flow at path, which must not hold Echo's ":" or "*". It answers
// preflights, too.
func Flow(e Routes, path string, srv *flowserver.Server, f flowserver.Flow) {
	h := handler(srv.Handler(f))
	e.POST(path, h)
	e.OPTIONS(path, h)
}

// All serves handler, one of the flow server's, below prefix.
func All(e Routes, prefix string, h http.Handler) {
	prefix = strings.TrimSuffix(prefix, "/")
	e.POST(prefix+"/*", handler(h))
	e.OPTIONS(prefix+"/*", handler(h))
}

// Routes is the method that *echo.Echo and *echo.Group have in common.
type Routes interface {
	POST(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
	OPTIONS(path string, h echo.HandlerFunc, m ...echo.MiddlewareFunc) *echo.Route
}

// writer is Echo's response with a Flush that returns its error.
type writer struct{ *echo.Response }

func (w writer) FlushError() error {
	return http.NewResponseController(w.Writer).Flush()
}

func (w writer) Unwrap() http.ResponseWriter { return w.Writer }

func handler(h http.Handler) echo.HandlerFunc {
	return func(c echo.Context) error {
		h.ServeHTTP(writer{c.Response()}, c.Request())
		return nil
	}
}

// Fail is an error handler of Echo that answers in Genkit's shape, {"status",
// "message", "details"?}, what Echo and its middleware refuse. Text that is not public
// is withheld.
func Fail(err error, c echo.Context) {
	if c.Response().Committed {
		return
	}
	code := status.Of(err).HTTP()
	_, ours := errors.AsType[*status.Error](err) // also inside an error of Echo's
	if e, ok := errors.AsType[*echo.HTTPError](err); ok && !ours {
		code = e.Code
		name := status.FromHTTP(code)
		if code == http.StatusMethodNotAllowed {
			name = status.Unimplemented
		}
		err = status.Publicf(name, "%s", strings.ToLower(http.StatusText(code)))
	}
	if after := status.Convert(err).RetryAfter; after > 0 {
		c.Response().Header().Set("Retry-After", strconv.FormatInt(int64(math.Ceil(after.Seconds())), 10))
	}
	_ = c.JSON(code, status.ToWire(err, false)) // a caller who is gone is told nothing
}

// Secure sets the headers that go with answers that are data and no pages: nothing may
// be loaded, framed or guessed from them.
func Secure() echo.MiddlewareFunc {
	return middleware.SecureWithConfig(middleware.SecureConfig{
		ContentTypeNosniff:    "nosniff",
		XFrameOptions:         "DENY",
		ContentSecurityPolicy: "default-src 'none'; frame-ancestors 'none'",
		ReferrerPolicy:        "no-referrer",
		HSTSMaxAge:            365 * 24 * 60 * 60, // sent over TLS alone
	})
}
