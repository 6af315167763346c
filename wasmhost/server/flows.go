package server

import (
	"context"
	"net/http"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// newFlows makes what answers the flow route. Bounds and time are the server's.
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
// flow server. A stream that is kept is the tenant's alone.
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
	err = s.flows.Serve(flowWriter{c.Response()}, c.Request(), flowserver.Flow{Action: a, Scope: tenant})
	if err != nil {
		c.Set(logErrorKey, err) // it has been answered
	}
	return nil
}

// flowWriter is Echo's response, whose Flush says what went wrong.
type flowWriter struct{ *echo.Response }

func (w flowWriter) FlushError() error {
	return http.NewResponseController(w.Writer).Flush()
}

func (w flowWriter) Unwrap() http.ResponseWriter { return w.Writer }

func isFlow(c echo.Context) bool { return c.Path() == tenantPath+"/flows/*" }

// Close waits for the flows that run on because their streams are kept, and lets none
// begin. When ctx ends first they are cancelled and waited for all the same, and ctx's
// error is returned. Requests that are under way are the HTTP server's to wait for.
func (s *Server) Close(ctx context.Context) error { return s.flows.Close(ctx) }
