package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// usageTable has the routes of a server that keeps accounts of its usage.
func (s *Server) usageTable() []route {
	if s.config.Usage == nil {
		return nil
	}
	return []route{
		{http.MethodGet, "/v1/usage", access.Admin, s.reportAll, docReportAll},
		{http.MethodGet, tenantPath + "/usage/report", access.Read, s.reportTenant, docReportTenant},
	}
}

var (
	docReportAll = operation{
		id: "reportUsage", tag: "server", summary: "Sum up what tenants have used",
		text:      "Days are those of UTC. Tenants that were deleted are among them. \"sinks\" tells how the events are delivered.",
		params:    []string{"by", "firstDay", "lastDay", "ofTenant"},
		responses: map[int]answerDoc{http.StatusOK: {text: "The sums.", content: jsonOf("UsageReport")}},
		failures:  []int{400, 403, 503},
	}
	docReportTenant = operation{
		id: "reportTenantUsage", tag: "modules", summary: "Sum up what a tenant has used",
		text:      "Days are those of UTC.",
		params:    []string{"by", "firstDay", "lastDay"},
		responses: map[int]answerDoc{http.StatusOK: {text: "The sums.", content: jsonOf("UsageReport")}},
		failures:  []int{400, 403, 404, 503},
	}
)

// reportAll answers operators; the query's tenant chooses one.
func (s *Server) reportAll(c echo.Context) error {
	q, err := readQuery(c)
	if err != nil {
		return err
	}
	q.Tenant = c.QueryParam("tenant")
	r, err := s.report(c, "", q)
	if err != nil {
		return err
	}
	r.Sinks = s.config.Usage.Sinks()
	return writeJSON(c, http.StatusOK, r)
}

// reportTenant answers for the tenant that has the name now, and not for earlier ones.
func (s *Server) reportTenant(c echo.Context) error {
	name := param(c, "tenant")
	id, err := s.config.Host.TenantID(name)
	if err != nil {
		return err
	}
	q, err := readQuery(c)
	if err != nil {
		return err
	}
	q.Tenant, q.TenantID = name, id
	r, err := s.report(c, name, q)
	if err != nil {
		return err
	}
	return writeJSON(c, http.StatusOK, r)
}

func (s *Server) report(c echo.Context, tenantName string, q usage.Query) (usage.Report, error) {
	done, err := s.reports.begin(tenantName)
	if err != nil {
		return usage.Report{}, err
	}
	defer done()
	return s.config.Usage.Report(c.Request().Context(), q)
}

// readQuery reads by, since and until.
func readQuery(c echo.Context) (q usage.Query, err error) {
	query, now := c.QueryParams(), time.Now()
	for _, name := range []string{"by", "since", "until"} {
		if query.Has(name) && query.Get(name) == "" {
			return q, status.Publicf(status.InvalidArgument, "query: %q is empty: leave it out, or give it a value", name)
		}
	}
	if q.By, err = usage.ParseBy(query.Get("by")); err != nil {
		return q, status.Publicf(status.InvalidArgument, "query: %s", status.Convert(err).Message)
	}
	for name, at := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if *at, err = usage.ParseDay(query.Get(name), now); err != nil {
			return q, status.Publicf(status.InvalidArgument, "query: %q: %s", name, status.Convert(err).Message)
		}
	}
	return q, nil
}

// counted returns an action whose runs make events. Those of modules make them by themselves.
func (s *Server) counted(a action.Action, tenantName string, kind usage.Kind) action.Action {
	if s.config.Usage == nil {
		return a
	}
	return countedAction{a, s.config.Usage, s.config.Host, tenantName, kind}
}

type countedAction struct {
	action.Action
	book   *usage.Book
	host   *wasmhost.Host
	tenant string
	kind   usage.Kind
}

// RunJSON implements [action.Action].
func (a countedAction) RunJSON(ctx context.Context, in json.RawMessage, emit action.Emit) (out json.RawMessage, err error) {
	id, _ := a.host.TenantID(a.tenant) // it was there a moment ago
	began := time.Now()
	out, err = a.Action.RunJSON(ctx, in, emit)
	if first := tenant.Note(ctx); first && errors.Is(err, action.ErrInvalidInput) { // it did nothing
		a.book.Refuse(a.tenant, id, err)
		return out, err
	}
	a.book.Count(usage.Event{
		Tenant: a.tenant, TenantID: id, Kind: a.kind, Name: a.Desc().Name, Caller: tenant.CallerOf(ctx), Code: status.Of(err),
		WallNS: time.Since(began), InputBytes: int64(len(in)), OutputBytes: int64(len(out)),
	})
	return out, err
}

// countRefusedRun counts a request that has failed before anything of it ran, of which there is no event. One whose
// caller has left, or is no longer known, was not refused.
func (s *Server) countRefusedRun(c echo.Context, tenantName string, noted *atomic.Bool, err error) {
	if err == nil {
		err, _ = c.Get(logErrorKey).(error) // it was answered already
	}
	if err == nil || noted.Load() || identityEnded(c) != nil {
		return
	}
	err = ended(c.Request().Context(), err)
	id, missing := s.config.Host.TenantID(tenantName)
	if status.Of(err) == status.Cancelled || missing != nil {
		return
	}
	s.config.Usage.Refuse(tenantName, id, err)
}
