package server

import (
	"math"
	"net/http"
	"strconv"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// rateHeaders are the headers that tell of a quota, entries of the document's components.
var rateHeaders = []string{"RateLimit-Limit", "RateLimit-Remaining", "RateLimit-Reset", "RateLimit-Policy"}

// tellRate has the answer to a request that runs something of a tenant tell what is left of the tenant's calls
// of a minute, once the request itself is counted. It is called when the caller is known and may run
// things there. An answer that is about who calls, or says that something is not there, has no such header.
func (s *Server) tellRate(c echo.Context, tenantName string) {
	c.Response().Before(func() {
		switch c.Response().Status {
		case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound:
			return
		}
		rate, ok := s.rateOf(c, tenantName)
		if !ok {
			return
		}
		h, limit := c.Response().Header(), strconv.FormatInt(rate.Limit, 10)
		h.Set("RateLimit-Limit", limit)
		h.Set("RateLimit-Remaining", strconv.FormatInt(rate.Left, 10))
		h.Set("RateLimit-Reset", strconv.FormatInt(int64(math.Ceil(rate.Full.Seconds())), 10))
		h.Set("RateLimit-Policy", limit+";w=60")
	})
}

// rateOf is the quota of a route: the calls of modules, and of what may ask models the one of both
// of which less is left.
func (s *Server) rateOf(c echo.Context, tenantName string) (tenant.Rate, bool) {
	calls, bounded := s.config.Host.CallRate(tenantName)
	if path := c.Path(); s.config.Tenants == nil || path == tenantPath+"/tools/*" || path == tenantPath+"/actions/*" || path == mcpPath {
		return calls, bounded
	}
	models, ok := s.config.Tenants.ModelRate(tenantName)
	if ok && (!bounded || models.Left < calls.Left) {
		return models, true
	}
	return calls, bounded
}
