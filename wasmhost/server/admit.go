package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// admit counts the body of a request that runs something before it is read, in its
// tenant's name. (Modules arrive in files, and are counted there.) A request that is
// refused before its body was read ends its connection: to keep it, all of the body would
// have to be read.
//
// A request that runs something of a tenant, or uploads to it, ends when the tenant is
// suspended or deleted.
func (s *Server) admit(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) (err error) {
		r, tenant := c.Request(), param(c, "tenant")
		own := tenant != "" && !ofOperator(c)
		if own {
			r = r.WithContext(s.config.Host.Pace(r.Context(), tenant))
			c.SetRequest(r)
		}
		body := &noted{ReadCloser: r.Body}
		r.Body = body
		defer func() {
			if err != nil && !body.ended && (r.ContentLength < 0 || r.ContentLength > smallBody) {
				c.Response().Header().Set("Connection", "close")
				if body.read && strings.EqualFold(r.Header.Get("Expect"), "100-continue") {
					c.Set(lingerKey, body)
				}
			}
		}()
		if !own || r.Method != http.MethodPost && r.Method != http.MethodPut {
			return next(c)
		}
		ctx, runs := r.Context(), s.rules[ruleKey{r.Method, c.Path()}] == access.Invoke
		if runs && s.config.Usage != nil {
			var noted *atomic.Bool
			ctx, noted = tenants.WithNote(ctx)
			defer func() { s.countRefusedRun(c, tenant, noted, err) }()
		}
		ctx, done, err := s.config.Host.BeginRun(ctx, tenant)
		if err != nil {
			return err
		}
		defer done()
		if runs {
			s.tellRate(c, tenant)
			ctx = withAuth(ctx, c)
		}
		ctx = s.pays(c, ctx, tenant)
		r = r.WithContext(ctx)
		c.SetRequest(r)
		if r.Method == http.MethodPut {
			return next(c)
		}
		if r.ContentLength > s.config.MaxBodyBytes {
			return tooLarge(s.config.MaxBodyBytes)
		}
		counted, err := s.config.Host.BeginRequest(tenant, r.ContentLength)
		if err != nil {
			return err
		}
		defer counted.Done()
		r.Body = counted.Body(r.Body)
		return next(c)
	}
}

// pays returns a context whose calls are charged to the tenant, and tell in their events who called.
func (s *Server) pays(c echo.Context, ctx context.Context, tenantName string) context.Context { //nolint:revive // ctx is not the request's yet
	caller := ""
	if identity := identityOf(c); identity != nil {
		caller = identity.Subject
		ctx = tenants.WithCaller(ctx, caller)
	}
	var payer allowance.Payer
	if s.config.Tenants != nil {
		payer = s.config.Tenants.Payer(tenantName)
	}
	if s.config.Usage != nil {
		id, _ := s.config.Host.TenantID(tenantName) // it was there a moment ago
		payer = s.config.Usage.Payer(tenantName, id, caller, payer)
	}
	if payer != nil {
		ctx = allowance.WithPayer(ctx, payer)
	}
	return ctx
}

// Bounds of [linger].
const (
	lingerTime  = 500 * time.Millisecond
	lingerBytes = 64 << 20
)

const lingerKey = "genkit-wasm.linger"

// linger goes on reading for a moment when a request was refused while its body was arriving: a
// connection that is closed meanwhile is reset, and the client may lose the answer with it.
// net/http does as much itself, but not for a client that waited for "100 Continue".
func linger(c echo.Context) {
	body, ok := c.Get(lingerKey).(*noted)
	if !ok {
		return
	}
	rc := http.NewResponseController(c.Response())
	if rc.Flush() == nil && rc.SetReadDeadline(time.Now().Add(lingerTime)) == nil {
		_, _ = io.CopyN(io.Discard, body, lingerBytes) // the answer has been given
	}
}

// noted is a body that notes whether it was read, and to its end.
type noted struct {
	io.ReadCloser
	read, ended bool
}

func (n *noted) Read(p []byte) (int, error) {
	read, err := n.ReadCloser.Read(p)
	n.read = true
	n.ended = n.ended || errors.Is(err, io.EOF)
	return read, err
}

// smallBody is the size of a body that is read before a call has its slot: it costs little, and while the
// call is queued the connection is watched for its end.
const smallBody = 16 << 10

// toolCall is the request of a tool: its input and its caller's context.
type toolCall struct {
	slot    *wasmhost.Admission
	members map[string]json.RawMessage
}

// readToolCall waits for the call's slot and reads the call: a small body before it has
// the slot, a larger one afterwards, with the slot lent to others meanwhile. Decoding
// happens in the slot. The call ends with the returned slot, which is nil when reading
// fails.
func (s *Server) readToolCall(c echo.Context, a action.Action) (call toolCall, err error) {
	var body []byte
	read := func() (err error) {
		body, err = s.readRaw(c)
		return err
	}
	n := c.Request().ContentLength
	small := n >= 0 && n <= smallBody
	if small {
		if err := read(); err != nil {
			return call, err
		}
	}
	slot, err := s.config.Host.BeginCall(c.Request().Context(), param(c, "tenant"), a.Desc().Key())
	if err != nil {
		return call, err
	}
	defer func() {
		if err != nil {
			slot.Done()
		}
	}()
	if !small {
		if err := slot.Waits(read); err != nil {
			return call, err
		}
	}
	m, err := s.decode(c, body)
	if err != nil {
		return call, err
	}
	fields, err := members(m)
	return toolCall{slot: slot, members: fields}, err
}
