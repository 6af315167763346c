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
//	POST   /v1/tenants/{t}/mcp                        a message of an MCP client; see the package mcp
//	GET    /v1/tenants, POST /v1/tenants              {"tenants": [Tenant, …], "cursor"?}; {"name", …settings} → 201 Tenant
//	GET    /v1/tenants/{t}, PATCH /v1/tenants/{t}     Tenant; a merge patch, with If-Match → Tenant
//	DELETE /v1/tenants/{t}                            202 Operation
//	POST   /v1/tenants/{t}/suspend, …/resume          Tenant
//	POST   /v1/tenants/{t}/repair                     {…settings}? → Tenant, of which the record was damaged
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
//	GET    /v1/backup                                 a tar with all that the server keeps
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
	"log/slog"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
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
	// Audit is the log of changes, which GET /v1/audit lists, such as an [audit.Log]; nil keeps none.
	// The caller that opened it closes it after the last request.
	Audit audit.Keeper
	// Backup makes the archives of GET /v1/backup; nil has no such route.
	Backup *backup.Maker
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
	config    Config
	log       *slog.Logger
	echo      *echo.Echo
	origins   *http.CrossOriginProtection
	hosts     map[string]bool // nil: all
	rules     map[ruleKey]access.Scope
	changes   map[ruleKey]string // the operations of routes that the audit log has
	scrapes   chan struct{}      // a place for each that is answered
	reports   reporting
	arriving  spools
	listening listeners
	openAPI   []byte
	queries   map[string][]string // by operation: the parameters of its query
	flows     *flowserver.Server
	// keyChanges is held from looking at the preconditions of a change of a key to its end.
	keyChanges sync.Mutex
	owed       owed // to the audit log
}

// Handler returns the API. It keeps the paths that it is given: to mount it below
// another, strip the prefix.
func (s *Server) Handler() http.Handler { return s.echo }
