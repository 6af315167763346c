package server

import (
	"context"
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// newFlows makes the handler of the flow route. Bounds and time are the server's.
func newFlows(c Config) (*flowserver.Server, error) {
	var cors *flowserver.CORS
	if len(c.TrustedOrigins) > 0 {
		cors = &flowserver.CORS{Origins: c.TrustedOrigins}
	}
	return flowserver.New(flowserver.Config{
		CORS:    cors,
		Context: c.FlowContext, Streams: c.FlowStreams,
		MaxBodyBytes: c.MaxBodyBytes, ReadTimeout: c.ReadTimeout, WriteTimeout: c.WriteTimeout,
		Logger: c.Logger, Dev: c.Dev,
	})
}

// runFlow looks the flow up in the tenant's registry and leaves the protocol to the
// flow server. A stream that is kept is the tenant's alone, and where callers are known the
// caller's; a flow that runs on without a reader ends with its caller's identity.
func (s *Server) runFlow(c echo.Context) error {
	tenant := param(c, "tenant")
	reg, err := s.config.Registry(tenant)
	if err != nil {
		return err
	}
	a, err := reg.Lookup(c.Request().Context(), action.Key{Kind: action.Flow, Name: param(c, "*")})
	if err != nil {
		return err
	}
	id, err := s.config.Host.TenantID(tenant)
	if err != nil {
		return err
	}
	f := flowserver.Flow{Action: ofTenant{s.counted(a, tenant, usage.Flow), s.config.Host, tenant}, Scope: tenant}
	if id != "" {
		f.Scope += "\n" + id // no name of a tenant has a line break
	}
	if identity := identityOf(c); identity != nil {
		f.Scope += "\n" + identity.Subject
		f.OnEnd = identity.Life.OnEnd
	}
	err = s.flows.Serve(flowWriter{c.Response(), c}, c.Request(), f)
	if err != nil {
		c.Set(logErrorKey, err) // it has been answered
	}
	return nil
}

// ofTenant is an action that ends with its tenant, also where it runs on without its request.
type ofTenant struct {
	action.Action
	host   *wasmhost.Host
	tenant string
}

// RunJSON implements [action.Action].
func (a ofTenant) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	ctx, done, err := a.host.BeginRun(ctx, a.tenant)
	if err != nil {
		return nil, err
	}
	defer done()
	out, err := a.Action.RunJSON(ctx, in, emit)
	return out, ended(ctx, err)
}

// flowWriter is Echo's response with a Flush that returns its error. It puts the challenge
// into the answer of a request whose identity has ended.
type flowWriter struct {
	*echo.Response
	c echo.Context
}

func (w flowWriter) WriteHeader(code int) {
	if code == http.StatusUnauthorized && identityEnded(w.c) != nil {
		w.Header().Set(caller.Challenge, caller.ChallengeWrong)
		w.Header().Set("Connection", "close") // what is left of the body is not read
	}
	w.Response.WriteHeader(code)
}

func (w flowWriter) FlushError() error {
	return http.NewResponseController(w.Writer).Flush()
}

func (w flowWriter) Unwrap() http.ResponseWriter { return w.Writer }

// Close waits for the flows that run on because their streams are kept, and lets none
// begin. When ctx ends first they are cancelled and waited for all the same, and ctx's
// error is returned. Requests that are under way are the HTTP server's to wait for.
//
// Entries that the audit log could not take when they were due are added.
func (s *Server) Close(ctx context.Context) error {
	defer s.owed.pay(s.config.Audit)
	return s.flows.Close(ctx)
}
