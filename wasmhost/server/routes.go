package server

import (
	"cmp"
	"log/slog"
	"net/http"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/pdk"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// New makes a server. It fails with INVALID_ARGUMENT when Host or Registry is
// missing or an origin is not one.
func New(config Config) (*Server, error) {
	if config.Host == nil || config.Registry == nil {
		return nil, status.Errorf(status.InvalidArgument, "server: Host and Registry are required")
	}
	if config.Keys != nil && config.Auth == nil {
		return nil, status.Errorf(status.InvalidArgument, "server: Keys without Auth would let everybody make keys")
	}
	if config.Secrets != nil && config.Tenants == nil {
		return nil, status.Errorf(status.InvalidArgument, "server: Secrets need Tenants")
	}
	if l, ok := config.Audit.(*audit.Log); ok && l == nil {
		config.Audit = nil
	}
	config.MaxUploadBytes = cmp.Or(config.MaxUploadBytes, defaultUploadBytes)
	config.MaxBodyBytes = cmp.Or(config.MaxBodyBytes, defaultBodyBytes)
	config.ReadTimeout = cmp.Or(config.ReadTimeout, defaultReadTimeout)
	config.WriteTimeout = cmp.Or(config.WriteTimeout, defaultWriteTimeout)
	s := &Server{
		config: config, log: config.Logger, echo: echo.New(), origins: http.NewCrossOriginProtection(),
		arriving: spools{tenant: map[string]int{}}, listening: listeners{tenant: map[string]int{}}, rules: map[ruleKey]access.Scope{}, changes: map[ruleKey]string{},
		scrapes: make(chan struct{}, 2), reports: newReporting(),
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	for _, origin := range config.TrustedOrigins {
		if err := s.origins.AddTrustedOrigin(origin); err != nil {
			return nil, status.Errorf(status.InvalidArgument, "server: %w", err)
		}
	}
	if config.AllowedHosts != nil {
		s.hosts = map[string]bool{}
		for _, host := range config.AllowedHosts {
			s.hosts[caller.HostName(host)] = true
		}
	}
	var err error
	if s.flows, err = newFlows(config); err != nil {
		return nil, err
	}
	if err := s.routes(); err != nil {
		return nil, err
	}
	return s, nil
}

func (s *Server) routes() error {
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.identify, s.observe, s.recoverPanic, s.guard, s.authenticate, s.admit)
	table := s.table()
	for i, r := range table {
		if err := checkRule(r); err != nil {
			return err
		}
		r = conditional(r)
		table[i] = r
		r.handle = s.queried(r)
		s.echo.Add(r.method, r.path, s.auditing(r))
		if audited(r) || r.doc.id == docGetBackup.id {
			s.changes[ruleKey{r.method, r.path}] = r.doc.id
		}
		s.rules[ruleKey{r.method, r.path}] = r.scope
		if r.method == http.MethodGet {
			s.echo.HEAD(r.path, r.handle) // net/http drops the body
			s.rules[ruleKey{http.MethodHead, r.path}] = r.scope
		}
	}
	var more [][]byte
	if s.config.Tenants != nil {
		more = append(more, tenantComponents)
	}
	if s.config.Secrets != nil {
		more = append(more, secretComponents)
	}
	if s.config.Usage != nil {
		more = append(more, usageComponents)
	}
	if s.config.Audit != nil {
		more = append(more, auditComponents)
	}
	var err error
	if s.openAPI, err = document(table, s.config.Auth != nil, s.config.Audit != nil, more...); err != nil {
		return err
	}
	s.queries, err = queriesOf(s.openAPI)
	return err
}

func (s *Server) table() []route {
	modulePath := tenantPath + "/modules/:name"
	table := []route{
		{http.MethodGet, tenantPath + "/modules", access.Read, s.listing(s.listModules), docListModules},
		{http.MethodPut, modulePath, access.Manage, s.putModule, s.repeatable(replays(docPutModule, http.StatusCreated, http.StatusOK), sentAgain)},
		{http.MethodGet, modulePath, access.Read, s.getModule, docGetModule},
		{http.MethodDelete, modulePath, access.Manage, s.deleteModule, docDeleteModule},
		{http.MethodGet, modulePath + "/versions", access.Read, s.listing(s.listVersions), docListVersions},
		{http.MethodPost, modulePath + "/rollback", access.Manage, s.rollback, docRollback},
		{http.MethodGet, tenantPath + "/usage", access.Read, s.getUsage, docGetUsage},
		{http.MethodGet, tenantPath + "/actions", access.Read, s.listing(s.listActions), docListActions},
		{http.MethodPost, tenantPath + "/tools/*", access.Invoke, s.runTool, docRunTool},
		{http.MethodPost, tenantPath + "/actions/*", access.Invoke, s.runAction, docRunAction},
		{http.MethodPost, tenantPath + "/generate", access.Invoke, s.generate, docGenerate},
		{http.MethodPost, tenantPath + "/flows/*", access.Invoke, s.runFlow, docRunFlow},
		{http.MethodPost, mcpPath, access.Invoke, s.mcp, docMCP},
		{http.MethodGet, "/", open, s.index, docIndex},
		{http.MethodGet, "/openapi.json", open, s.getOpenAPI, docOpenAPI},
		{http.MethodGet, "/genkit-wasm.d.ts", open, s.getTypes, docTypes},
		{http.MethodGet, "/healthz", open, s.health, docHealth},
		{http.MethodGet, "/readyz", open, s.ready, docReady},
	}
	if s.config.Metrics != nil {
		table = append(table, route{http.MethodGet, "/metrics", access.Admin, s.getMetrics, docMetrics})
	}
	return slices.Concat(table, s.usageTable(), s.tenantTable(), s.secretTable(), s.accessTable(), s.auditTable(), s.backupTable(), s.openAITable())
}

func (s *Server) getOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/json", s.openAPI)
}

// getTypes gives authors of scripts what their editors ask for.
func (s *Server) getTypes(c echo.Context) error {
	types, err := pdk.Files.ReadFile(pdk.Types)
	if err != nil {
		return err
	}
	return c.Blob(http.StatusOK, "text/plain; charset=utf-8", types)
}

// getMetrics answers two scrapes at a time: each looks at all tenants.
func (s *Server) getMetrics(c echo.Context) error {
	select {
	case s.scrapes <- struct{}{}:
	default:
		return status.Publicf(status.Unavailable, "other requests for the metrics are under way").WithRetryAfter(time.Second)
	}
	defer func() { <-s.scrapes }()
	s.config.Metrics.ServeHTTP(c.Response(), c.Request())
	return nil
}

func (s *Server) health(c echo.Context) error {
	return writeJSON(c, http.StatusOK, map[string]string{"status": "ok"})
}

func (s *Server) ready(c echo.Context) error {
	if s.config.Ready == nil {
		return writeJSON(c, http.StatusOK, map[string]string{"status": "ready"})
	}
	if err := s.config.Ready(); err != nil {
		return status.Publicf(status.Unavailable, "not ready: %s", status.ToWire(err, s.config.Dev).Message).
			WithCause(err).WithRetryAfter(time.Second)
	}
	return writeJSON(c, http.StatusOK, map[string]string{"status": "ready"})
}
