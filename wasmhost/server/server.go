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
// The routes, all below the tenant {t} but the last three; each names the shape of
// what it takes and gives in the document that /openapi.json answers:
//
//	GET    /v1/tenants/{t}/modules                    {"modules": [Record, …]}
//	PUT    /v1/tenants/{t}/modules/{name}             module bytes or multipart → 201 Record (200: nothing changed)
//	GET    /v1/tenants/{t}/modules/{name}             Record
//	DELETE /v1/tenants/{t}/modules/{name}             204
//	GET    /v1/tenants/{t}/modules/{name}/versions    {"versions": [Record, …]}
//	POST   /v1/tenants/{t}/modules/{name}/rollback    {"revision"?: n} → Record
//	GET    /v1/tenants/{t}/usage                      what the tenant takes and has taken
//	GET    /v1/tenants/{t}/actions?type=tool          {"actions": [Desc, …]}
//	POST   /v1/tenants/{t}/tools/{tool}               {"input"?, "context"?} → {"result"} or {"interrupt"}
//	POST   /v1/tenants/{t}/generate                   GenerateActionOptions → GenerateResponse
//	POST   /v1/tenants/{t}/flows/{flow}               {"data"?} → {"result"}
//	GET    /openapi.json, /healthz, /readyz
//
// The last three POSTs stream when the request's Accept header contains
// text/event-stream or its query says stream=true. Failures are RFC 9457 problems
// (see [Problem]). The flow route is the flow server's (engine/flowserver), with its
// shapes.
package server

import (
	"cmp"
	"log/slog"
	"net/http"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// Config says what a server serves. Host and Registry are required; everything else
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
	// MaxUploads bounds the uploads that are checked and compiled at a time: 4.
	// Others wait for their turn, once they have arrived.
	MaxUploads int
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
	defaultUploads      = 4
	defaultReadTimeout  = 2 * time.Minute
	defaultWriteTimeout = 30 * time.Second
)

// Server answers requests. It is safe for concurrent use. Close it where flows have
// streams that are kept; otherwise it has nothing to close.
type Server struct {
	config  Config
	log     *slog.Logger
	echo    *echo.Echo
	origins *http.CrossOriginProtection
	hosts   map[string]bool // nil: all
	uploads chan struct{}   // one token for each upload that has arrived

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
	config.MaxUploadBytes = cmp.Or(config.MaxUploadBytes, defaultUploadBytes)
	config.MaxBodyBytes = cmp.Or(config.MaxBodyBytes, defaultBodyBytes)
	config.ReadTimeout = cmp.Or(config.ReadTimeout, defaultReadTimeout)
	config.WriteTimeout = cmp.Or(config.WriteTimeout, defaultWriteTimeout)
	s := &Server{
		config: config, log: config.Logger, echo: echo.New(), origins: http.NewCrossOriginProtection(),
		uploads:  make(chan struct{}, cmp.Or(config.MaxUploads, defaultUploads)),
		arriving: spools{tenant: map[string]int{}},
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

// route is one operation: where it is, who answers it, and what the document says
// of it.
type route struct {
	method, path string // path as Echo writes it
	handle       echo.HandlerFunc
	doc          operation
}

func (s *Server) routes() error {
	s.echo.HideBanner, s.echo.HidePort = true, true
	s.echo.HTTPErrorHandler = s.fail
	s.echo.Use(s.identify, s.observe, s.recoverPanic, s.guard)
	table := s.table()
	for _, r := range table {
		s.echo.Add(r.method, r.path, r.handle)
	}
	var err error
	s.openAPI, err = document(table)
	return err
}

const tenantPath = "/v1/tenants/:tenant"

func (s *Server) table() []route {
	modulePath := tenantPath + "/modules/:name"
	return []route{
		{http.MethodGet, tenantPath + "/modules", s.listModules, docListModules},
		{http.MethodPut, modulePath, s.putModule, docPutModule},
		{http.MethodGet, modulePath, s.getModule, docGetModule},
		{http.MethodDelete, modulePath, s.deleteModule, docDeleteModule},
		{http.MethodGet, modulePath + "/versions", s.listVersions, docListVersions},
		{http.MethodPost, modulePath + "/rollback", s.rollback, docRollback},
		{http.MethodGet, tenantPath + "/usage", s.getUsage, docGetUsage},
		{http.MethodGet, tenantPath + "/actions", s.listActions, docListActions},
		{http.MethodPost, tenantPath + "/tools/*", s.runTool, docRunTool},
		{http.MethodPost, tenantPath + "/generate", s.generate, docGenerate},
		{http.MethodPost, tenantPath + "/flows/*", s.runFlow, docRunFlow},
		{http.MethodGet, "/openapi.json", s.getOpenAPI, docOpenAPI},
		{http.MethodGet, "/healthz", s.health, docHealth},
		{http.MethodGet, "/readyz", s.ready, docReady},
	}
}

func (s *Server) getOpenAPI(c echo.Context) error {
	return c.Blob(http.StatusOK, "application/json", s.openAPI)
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
