// Package server is the HTTP API of a host and its tenants' registries: modules are
// uploaded, listed, rolled back and removed; tools, flows and generate are run.
//
// It owns routes, request and response bodies, problems and the OpenAPI document.
// It runs everything through the tenant's registry and needs no more of the engine
// than that. Use:
//
//	srv, err := server.New(server.Config{Host: host, Registry: registryOf})
//	http.ListenAndServe("127.0.0.1:3400", srv.Handler())
//
// The routes, all below the tenant {t} but the last ones; each names the shape of
// what it takes and gives in the document that /openapi.json answers:
//
//	GET    /v1/tenants/{t}/modules                    {"modules": [Record, …]}
//	PUT    /v1/tenants/{t}/modules/{name}             module bytes or multipart → 201 Record (200: nothing changed)
//	GET    /v1/tenants/{t}/modules/{name}             Record
//	DELETE /v1/tenants/{t}/modules/{name}             204
//	GET    /v1/tenants/{t}/modules/{name}/versions    {"versions": [Record, …]}
//	POST   /v1/tenants/{t}/modules/{name}/rollback    {"revision"?: n} → Record
//	GET    /v1/tenants/{t}/usage                      what the tenant takes and has taken
//	GET    /v1/tenants/{t}/usage/report?by=tool&since=7d  sums by day, tool, model, …
//	GET    /v1/usage?by=tenant&since=7d               the same, of all tenants or one
//	GET    /v1/tenants/{t}/actions?type=tool          {"actions": [Desc, …], "middleware"?: [Desc, …], "failures"?: [Wire, …]}
//	POST   /v1/tenants/{t}/tools/{tool}               {"input"?, "context"?} → {"result"} or {"interrupt"}
//	POST   /v1/tenants/{t}/generate                   GenerateActionOptions → GenerateResponse
//	POST   /v1/tenants/{t}/flows/{flow}               {"data"?} → {"result"}
//	GET    /v1/tenants, POST /v1/tenants              {"tenants": [Tenant, …], "cursor"?}; {"name", …settings} → 201 Tenant
//	GET    /v1/tenants/{t}, PATCH /v1/tenants/{t}     Tenant; a merge patch, with If-Match → Tenant
//	DELETE /v1/tenants/{t}                            202 Operation
//	POST   /v1/tenants/{t}/suspend, …/resume          Tenant
//	GET    /v1/tenants/{t}/budget                     what the tenant has used of its budget
//	GET    /v1/tenants/{t}/secrets                    {"secrets": [Value, …]}: {"name", "revision", "changedAt"}, never what they are
//	PUT    /v1/tenants/{t}/secrets/{name}             {"value"} → 201 Value (200: there was one)
//	DELETE /v1/tenants/{t}/secrets/{name}             204
//	…      /v1/tenants/{t}/credentials/{provider}     the same of the tenant's own API keys for providers of models
//	GET    /v1/operations, /v1/operations/{id}        {"operations": [Operation, …], "cursor"?}; Operation
//	GET    /v1/identity                               who asks
//	GET    /v1/keys, POST /v1/keys                    {"keys": [Key, …], "cursor"?}; {"name", "scopes", "expiresAt"?} → 201 {"token", "key"}
//	GET    /v1/keys/{id}, DELETE /v1/keys/{id}        Key; 204
//	POST   /v1/keys/{id}/rotate                       {"overlapSeconds"?, "expiresAt"?} → {"token", "key"}
//	GET    /v1/audit                                  {"entries": [Entry, …], "cursor"?}
//	GET    /                                          where everything is, for people and programs
//	GET    /metrics                                   for Prometheus, where the server has them
//	GET    /openapi.json, /healthz, /readyz
//
// Those of tenants and operations are there where [Config].Tenants is; see the package admin.
// Those of sums by day are there where [Config].Usage is. Lists take limit and cursor; those of modules, versions and actions come whole without.
//
// Those of secrets and credentials are there where [Config].Secrets is; see the package secrets.
//
// Those of /v1/identity and /v1/keys are there where [Config].Auth and [Config].Keys are;
// then every route but the last ones takes an identity, with the scope that the document
// says. See the package access.
//
// The three POSTs at the end stream when the request's Accept header contains
// text/event-stream or its query says stream=true. Failures are RFC 9457 problems
// (see [Problem]). The flow route is the flow server's (engine/flowserver), with its
// shapes.
package server

import (
	"cmp"
	"log/slog"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// Config configures a server. Host and Registry are required; everything else
// has a usable zero value.
type Config struct {
	// Host holds the modules.
	Host *wasmhost.Host
	// Registry returns the registry in which a tenant's tools, flows and
	// generate are looked up; NOT_FOUND when there is no such tenant. It is
	// called for each request and concurrently.
	Registry func(tenant string) (*registry.Registry, error)
	// Logger gets a line for each request and the text of failures that may
	// not leave the process; nil drops them. Bodies are never logged.
	Logger *slog.Logger
	// MaxUploadBytes bounds a module: 16 MiB.
	MaxUploadBytes int64
	// MaxBodyBytes bounds every other body: 4 MiB.
	MaxBodyBytes int64
	// ReadTimeout bounds the time in which a body must have arrived: 2
	// minutes. A module has to arrive at 32 KiB a second, after ten seconds.
	ReadTimeout time.Duration
	// WriteTimeout bounds each write of a response, so that a reader that has
	// stalled holds no stream for ever: 30 s. A stream as a whole is not
	// bounded.
	WriteTimeout time.Duration
	// Ready tells whether requests should be sent here; its error makes
	// /readyz answer 503. nil is always ready.
	Ready func() error
	// AllowedHosts are the names and addresses, without a port, that a Host
	// header may carry; others are refused with 403, which keeps a page whose
	// name was pointed at a loopback address out. nil allows all.
	AllowedHosts []string
	// TrustedOrigins are origins ("https://console.example.com") besides the
	// server's own from which a browser may send requests that change
	// something. Their pages may read what flows answer, too (CORS).
	TrustedOrigins []string
	// Dev shows the text of every failure, also of those that are private.
	Dev bool
	// Auth says who a request's bearer token stands for. Nil lets everybody do everything,
	// which is for loopback addresses. The Authorization header goes no further than to it;
	// a provider of FlowContext does not see it.
	Auth access.Authenticator
	// Keys are the API keys that the routes below /v1/keys create and revoke; nil has no
	// such routes. They need Auth, which asks them, alone or in a chain.
	Keys *access.Keys
	// Tenants are the tenants as resources, which the routes of /v1/tenants and
	// /v1/operations show and change: the service that has started Host. nil has no such
	// routes.
	Tenants *admin.Tenants
	// Secrets are what the tenants' guests and models use, which the routes of
	// /v1/tenants/{t}/secrets and …/credentials set and remove; nil has no such routes. They
	// need Tenants, whose deletion removes them.
	Secrets *secrets.Store
	// Usage counts flows, the model calls of requests, and tools that are no module's, and answers the
	// routes of reports; nil has no such routes. Host's calls reach it as that one's Usage.
	Usage *usage.Book
	// Metrics counts the requests, and answers GET /metrics; nil has no such route.
	Metrics *metrics.Metrics
	// Audit is the log of changes, which GET /v1/audit lists; nil keeps none. Whoever opened
	// it closes it after the last request.
	Audit *audit.Log
	// TrustedProxies are the networks of proxies whose X-Forwarded-For header is believed.
	TrustedProxies []netip.Prefix
	// FlowContext says who calls a flow; see the package contextprovider.
	FlowContext []contextprovider.Provider
	// FlowStreams keeps the streams of flows, which then can be resumed and run
	// on without a reader; nil ends a flow with its reader. Keys differ by
	// tenant.
	FlowStreams durable.Manager
}

const (
	defaultUploadBytes  = 16 << 20
	defaultBodyBytes    = 4 << 20
	defaultReadTimeout  = 2 * time.Minute
	defaultWriteTimeout = 30 * time.Second
)

// Server answers requests. It is safe for concurrent use. Close it where flows have
// streams that are kept; otherwise it has nothing to close.
type Server struct {
	config   Config
	log      *slog.Logger
	echo     *echo.Echo
	origins  *http.CrossOriginProtection
	hosts    map[string]bool // nil: all
	rules    map[ruleKey]access.Scope
	changes  map[ruleKey]string // the operations of routes that are audited
	scrapes  chan struct{}      // a place for each that is answered
	reports  reporting
	arriving spools
	openAPI  []byte
	flows    *flowserver.Server
}

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
	config.MaxUploadBytes = cmp.Or(config.MaxUploadBytes, defaultUploadBytes)
	config.MaxBodyBytes = cmp.Or(config.MaxBodyBytes, defaultBodyBytes)
	config.ReadTimeout = cmp.Or(config.ReadTimeout, defaultReadTimeout)
	config.WriteTimeout = cmp.Or(config.WriteTimeout, defaultWriteTimeout)
	s := &Server{
		config: config, log: config.Logger, echo: echo.New(), origins: http.NewCrossOriginProtection(),
		arriving: spools{tenant: map[string]int{}}, rules: map[ruleKey]access.Scope{}, changes: map[ruleKey]string{},
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
			s.hosts[hostName(host)] = true
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

// Handler returns the API. It keeps the paths that it is given: to mount it below
// another, strip the prefix.
func (s *Server) Handler() http.Handler { return s.echo }

// route is one operation: where it is, who may use it, what answers it, and what the
// document says of it.
type route struct {
	method, path string // path as Echo writes it
	scope        access.Scope
	handle       echo.HandlerFunc
	doc          operation
}

// ruleKey is where the rule of a route is found: its method and its path, as Echo writes it.
type ruleKey struct{ method, path string }

func (s *Server) routes() error {
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.identify, s.observe, s.recoverPanic, s.guard, s.authenticate, s.admit)
	table := s.table()
	for _, r := range table {
		if err := checkRule(r); err != nil {
			return err
		}
		s.echo.Add(r.method, r.path, s.auditing(r))
		if audited(r) {
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
	s.openAPI, err = document(table, s.config.Auth != nil, s.config.Audit != nil, more...)
	return err
}

const tenantPath = "/v1/tenants/:tenant"

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
		{http.MethodPost, tenantPath + "/generate", access.Invoke, s.generate, docGenerate},
		{http.MethodPost, tenantPath + "/flows/*", access.Invoke, s.runFlow, docRunFlow},
		{http.MethodGet, "/", open, s.index, docIndex},
		{http.MethodGet, "/openapi.json", open, s.getOpenAPI, docOpenAPI},
		{http.MethodGet, "/healthz", open, s.health, docHealth},
		{http.MethodGet, "/readyz", open, s.ready, docReady},
	}
	if s.config.Metrics != nil {
		table = append(table, route{http.MethodGet, "/metrics", access.Admin, s.getMetrics, docMetrics})
	}
	return slices.Concat(table, s.usageTable(), s.tenantTable(), s.secretTable(), s.accessTable(), s.auditTable())
}

func (s *Server) getOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/json", s.openAPI)
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
