package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// The rules of routes that no scope of access expresses. Every route has a rule, or a
// scope, and New fails for one that has none.
const (
	// open lets everybody in.
	open access.Scope = "open"
	// signedIn lets everybody in who has an identity, whatever its scopes are.
	signedIn access.Scope = "signed in"
)

func checkRule(r route) error {
	tenant := strings.Contains(r.path, ":tenant")
	switch r.scope {
	case open, signedIn, access.Admin:
		return nil
	case access.Manage, access.Invoke, access.Read:
		if tenant {
			return nil
		}
	}
	return status.Errorf(status.Internal, "server: the route %s %s needs a rule, and %q is none for it", r.method, r.path, r.scope)
}

const (
	identityKey = "genkit-wasm.identity"
	// challenge is the header of a 401 that is about the request's identity. A 401 without
	// it is an action's.
	challenge      = "WWW-Authenticate"
	challengeNone  = `Bearer realm="genkit-wasm"`
	challengeWrong = `Bearer realm="genkit-wasm", error="invalid_token"`
)

func identityOf(c echo.Context) *access.Identity {
	identity, _ := c.Get(identityKey).(*access.Identity)
	return identity
}

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
			}
			if err != nil && !known && r.ContentLength != 0 {
				unread(c)
			}
		}()
		rule, ok := s.rules[ruleKey{r.Method, c.Path()}]
		given := r.Header.Values("Authorization")
		r.Header.Del("Authorization")
		if len(given) > 0 {
			c.Set(attemptedKey, true)
		}
		if !ok || rule == open {
			known = true
			return next(c)
		}
		token, err := bearer(given)
		if err != nil {
			c.Response().Header().Set(challenge, challengeNone)
			return err
		}
		identity, err := s.config.Auth.Authenticate(r.Context(), access.Credentials{Token: token, From: s.from(r)})
		if err == nil && identity == nil {
			err = status.Errorf(status.Internal, "the authenticator returned neither an identity nor an error")
		}
		if err != nil {
			if status.Of(err) == status.Unauthenticated {
				c.Response().Header().Set(challenge, challengeWrong)
			}
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

// bearer returns the token of the Authorization headers (RFC 6750, 2.1).
func bearer(given []string) (string, error) {
	if len(given) == 0 {
		return "", status.Publicf(status.Unauthenticated, "an API key or a token is wanted, as \"Authorization: Bearer …\"")
	}
	scheme, token, _ := strings.Cut(given[0], " ")
	token = strings.TrimSpace(token)
	if len(given) > 1 || !strings.EqualFold(scheme, "Bearer") || token == "" || len(token) > access.MaxTokenBytes {
		return "", status.Publicf(status.Unauthenticated, "the Authorization header is malformed; want one, \"Bearer …\"")
	}
	return token, nil
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
		cancel(err) // before the deadline: whoever sets another looks at the context then
		_ = control.SetReadDeadline(time.Now())
	})
	return func() {
		stop()
		if ctx.Err() != nil && identity.Life.Err() != nil {
			_ = control.SetReadDeadline(time.Now().Add(lingering)) // whoever answered may have set another
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

// identityEnded returns why the identity of a request has ended, nil when it has not.
func identityEnded(c echo.Context) error {
	identity := identityOf(c)
	if identity == nil {
		return nil
	}
	return identity.Life.Err()
}

// from returns the address that a request came from.
func (s *Server) from(r *http.Request) netip.Addr {
	peer := addrOf(r.RemoteAddr)
	if len(s.config.TrustedProxies) == 0 {
		return peer
	}
	return behindProxies(peer, r.Header.Values("X-Forwarded-For"), s.config.TrustedProxies)
}

// behindProxies goes back from the peer along the X-Forwarded-For headers, to which each
// proxy has added the address of its own peer at the end, as far as the proxies are
// trusted. What lies before is not looked at: anybody may have written it.
func behindProxies(peer netip.Addr, forwarded []string, trusted []netip.Prefix) netip.Addr {
	hops := strings.Split(strings.Join(forwarded, ","), ",")
	at := peer
	for i := len(hops) - 1; i >= 0 && trusts(trusted, at); i-- {
		before := addrOf(strings.TrimSpace(hops[i]))
		if !before.IsValid() {
			break
		}
		at = before
	}
	return at
}

func trusts(trusted []netip.Prefix, addr netip.Addr) bool {
	for _, p := range trusted {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// addrOf reads an address, with a port or without; the zero value for what is none.
func addrOf(text string) netip.Addr {
	if host, _, err := net.SplitHostPort(text); err == nil {
		text = host
	}
	addr, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return addr.Unmap().WithZone("")
}
