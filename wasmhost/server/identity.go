package server

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// authenticate finds out who asks, and refuses what they may not do, before anything of the
// request but its head is read, and before anything of a tenant is looked at. What is not a
// route goes by: it has no answer but that.
//
// The token goes no further than here: the header is removed, so that no handler, log or
// guest sees it.
func (s *Server) authenticate(next echo.HandlerFunc) echo.HandlerFunc {
	if s.config.Auth == nil {
		return next
	}
	return func(c echo.Context) (err error) {
		r := c.Request()
		known := false
		defer func() {
			if err != nil && !known {
				s.countRefused(c, err)
				if s.config.Metrics != nil && identityOf(c) == nil && c.Get(attemptedKey) != nil {
					s.config.Metrics.SignInRefused(err)
				}
			}
			if err != nil && !known && r.ContentLength != 0 {
				unread(c)
			}
		}()
		rule, ok := s.rules[ruleKey{r.Method, c.Path()}]
		given := caller.TakeTokens(r)
		if len(given) > 0 {
			c.Set(attemptedKey, true)
		}
		if !ok || rule == open {
			known = true
			return next(c)
		}
		identity, err := caller.Authenticate(r.Context(), s.config.Auth, given, s.from(r), c.Response().Header())
		if err != nil {
			return err
		}
		c.Set(identityKey, identity)
		if err := allowed(c, identity, rule); err != nil {
			return err
		}
		known = true
		defer watch(c, identity)()
		return next(c)
	}
}

// lingering is how long, after the answer, a body that is not wanted may go on to arrive: a
// connection that is closed while its sender writes is reset, and the answer lost.
const lingering = time.Second

// unread has the connection end without the body of its request, for which no answer waits.
func unread(c echo.Context) {
	c.Response().Header().Set("Connection", "close")
	_ = http.NewResponseController(c.Response()).SetReadDeadline(time.Now().Add(lingering))
}

// allowed refuses what the identity may not do. A tenant of which it may do nothing does not
// exist for it: the answer is the one of a tenant that does not.
func allowed(c echo.Context, identity *access.Identity, rule access.Scope) error {
	if rule == signedIn {
		return nil
	}
	tenant := param(c, "tenant")
	switch {
	case identity.Scopes.Allows(tenant, rule):
		return nil
	case tenant != "" && !identity.Scopes.Sees(tenant):
		return noTenant(tenant)
	case rule == access.Admin:
		return status.Publicf(status.PermissionDenied, "this takes the scope \"admin\"")
	}
	return status.Publicf(status.PermissionDenied, "this takes the scope %q", abi.Line(tenant, 80)+":"+string(rule))
}

// noTenant is the host's error for a tenant that does not exist, word for word.
func noTenant(tenant string) error {
	return status.Publicf(status.NotFound, "tenant %q does not exist", abi.Line(tenant, 80)).WithDetails(map[string]string{"tenant": tenant})
}

// watch has the request end with its identity: its context ends, and a body that is still
// arriving is read no further. The caller reads why, where the answer has not begun.
func watch(c echo.Context, identity *access.Identity) (done func()) {
	r := c.Request()
	ctx, cancel := context.WithCancelCause(r.Context())
	control := http.NewResponseController(c.Response().Writer) // the writer of now: OnEnd's function runs beside a handler that may set another
	r = r.WithContext(ctx)
	r.Body = &watched{ReadCloser: r.Body, ctx: ctx}
	c.SetRequest(r)
	stop := identity.Life.OnEnd(func(err error) {
		cancel(err) // before the deadline: code that sets another one looks at the context afterwards
		_ = control.SetReadDeadline(time.Now())
	})
	return func() {
		stop()
		if ctx.Err() != nil && identity.Life.Err() != nil {
			_ = control.SetReadDeadline(time.Now().Add(lingering)) // the handler may have set another one
		}
		cancel(nil)
	}
}

// watched is a body that can't be read any more once its request's identity has ended.
type watched struct {
	io.ReadCloser
	ctx context.Context
}

func (w *watched) Read(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	n, err := w.ReadCloser.Read(p)
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return n, err
}
