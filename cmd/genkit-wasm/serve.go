package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/ballast"
	"github.com/genkit-wasm/genkit-wasm/internal/closing"
	"github.com/genkit-wasm/genkit-wasm/internal/descriptors"
	"github.com/genkit-wasm/genkit-wasm/internal/listening"
	"github.com/genkit-wasm/genkit-wasm/internal/prettylog"
	"github.com/genkit-wasm/genkit-wasm/internal/profiling"
	"github.com/genkit-wasm/genkit-wasm/internal/settings"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	addr, data, defaultModel string
	providers, mcpConfig     []string
	limits, grants           string
	generateLimits           string
	reachFlags
	tenants, load         []string
	allowedHosts, origins []string
	drainDelay            time.Duration
	drainTimeout          time.Duration
	logFormat, logLevel   string
	dev, keepStreams      bool
	devMode               *devMode // of the command dev
	resourceFlags
	networkFlags
	secretFlags
	accountFlags
	tenantMetrics bool
	auditDays     int
	config        string             // the file
	set           []settings.Setting // all of them, and where each comes from
}

func (a *app) serveCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start the server",
		Long: "Serve brings back the modules of the data directory and answers the HTTP API; /openapi.json describes it. " +
			"As it is, it lets everybody in, so it listens on loopback addresses only, and refuses requests that a page of another site could have sent. " +
			"With --auth every request needs an API key; then, with TLS or behind a proxy, it may listen on any address:\n\n" +
			"  genkit-wasm serve --auth --addr 0.0.0.0:3400 --tls-cert cert.pem --tls-key key.pem --allowed-host tools.example.com\n\n" +
			"On SIGTERM or an interrupt it turns /readyz to 503 and goes on for --drain-delay; then it takes no new connections and lets running " +
			"requests end for --drain-timeout; then it cancels them, which their callers read as 503, UNAVAILABLE. A second signal ends it at once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var err error
			if f.set, err = settingsOf(cmd.Flags(), f.config); err != nil {
				return err
			}
			return a.serve(cmd.Context(), f)
		},
	}
	serveFlagsOn(cmd, f)
	f.networkFlags.add(cmd.Flags())
	return cmd
}

// serveFlagsOn adds the flags that serve and dev share.
func serveFlagsOn(cmd *cobra.Command, f *serveFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.config, "config", "", "a YAML `FILE` with settings, each under its flag's name; see \"genkit-wasm config\"")
	flags.StringVar(&f.addr, "addr", "127.0.0.1:3400", "where to listen; port 0 takes a free one")
	flags.StringVar(&f.data, "data", "./data", "the directory of modules and compiled code")
	flags.StringArrayVar(&f.tenants, "tenant", nil, "a tenant besides \"default\", made where there is none; may be given again. \"genkit-wasm tenant\" changes it, and makes others")
	flags.StringArrayVar(&f.load, "load", nil, "a module `FILE`, or a directory of them or of one script with a package.json, to put into service; may be given again")
	flags.StringVar(&f.limits, "limits", "", "limits of every module, `JSON` or @FILE, such as {\"timeoutMs\":10000}; the others keep their defaults")
	flags.StringVar(&f.grants, "grants", "", "the most that policies may grant, `JSON` or @FILE, such as {\"kv\":true,\"http\":[{\"host\":\"api.example.com\"}]} (default: no upper bound; with --auth "+guardedGrants+")")
	flags.StringVar(&f.generateLimits, "generate-limits", "", "bounds for one generate request and everything it causes, `JSON` or @FILE: {\"modelCalls\":256,\"toolRuns\":1000,\"generates\":64,\"tokens\":-1,\"seconds\":600,\"use\":64,\"names\":512,\"values\":100000} are the defaults, -1 is no bound")
	f.flags(cmd)
	flags.StringVar(&f.defaultModel, "default-model", "", "the model of requests that name none")
	flags.StringArrayVar(&f.providers, "provider", nil, "a server of OpenAI's chat completions whose models are NAME/…: `NAME=URL`, such as lmstudio=http://localhost:1234/v1, with the key in NAME_API_KEY if it wants one; or the name of a known one, such as deepseek, groq, mistral, openrouter or xai; may be given again")
	spanFlag(flags, &f.drainDelay, "drain-delay", 0, 24*time.Hour, "how long the server goes on as before after a signal, but for /readyz, so that a load balancer that asks it finds another one first")
	f.drainTimeout = 20 * time.Second
	spanFlag(flags, &f.drainTimeout, "drain-timeout", 0, 24*time.Hour, "how long running requests may take to end")
	flags.StringArrayVar(&f.mcpConfig, "mcp-config", nil, "a `FILE` of MCP servers as Claude Desktop, Cursor and VS Code have it, {\"mcpServers\": {…}}, whose tools the default tenant gets as mcp:tool/SERVER/NAME; TENANT=FILE for another tenant; may be given again")
	flags.StringArrayVar(&f.allowedHosts, "allowed-host", nil, "a name besides localhost that the Host header may carry; may be given again")
	flags.StringArrayVar(&f.origins, "trusted-origin", nil, "an `ORIGIN`, such as https://console.example.com, whose pages may send requests; may be given again")
	flags.StringVar(&f.logFormat, "log-format", "auto", "text, json, or auto: text for a terminal, else json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&f.dev, "dev", false, "for development: show the text of every failure to callers, and let an upload replace a version")
	f.resourceFlags.add(flags)
	f.secretFlags.add(flags)
	f.accountFlags.add(flags)
	wholeFlag(flags, &f.auditDays, "audit-days", 0, 36500, "how many days entries of the audit log are kept at least; older files are removed, and an entry says so. 0 keeps all")
	flags.BoolVar(&f.tenantMetrics, "metrics-by-tenant", false, "give the metrics of tenants, which GET /metrics has, a label with the tenant's name")
	flags.BoolVar(&f.keepStreams, "keep-streams", false, "keep the streams of flows for 5 minutes after their end: they can be read again, and a flow runs on when its reader leaves")
}

func (a *app) logger(f *serveFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("--log-level is %q, want debug, info, warn or error", f.logLevel)
	}
	options := &slog.HandlerOptions{Level: level, ReplaceAttr: readable}
	_, tty := terminal(a.err)
	switch {
	case f.devMode != nil && f.logFormat == "auto":
		return slog.New(prettylog.New(a.err, prettylog.Options{Level: level, Colour: coloured(a.err), Guest: wasmhost.GuestLog})), nil
	case f.logFormat == "text" || (f.logFormat == "auto" && tty):
		return slog.New(slog.NewTextHandler(a.err, options)), nil
	case f.logFormat == "json" || f.logFormat == "auto":
		return slog.New(slog.NewJSONHandler(a.err, options)), nil
	}
	return nil, usagef("--log-format is %q, want auto, text or json", f.logFormat)
}

// readable writes durations as people read them, "1.5ms", also in JSON, where they would
// be a number of nanoseconds that does not say so.
func readable(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		d := a.Value.Duration()
		if d > time.Millisecond {
			d = d.Round(time.Microsecond)
		}
		a.Value = slog.StringValue(d.String())
	}
	return a
}

// limits reads --limits, by the rules of a policy.
func (a *app) limits(text string) (policy.Limits, error) {
	raw, err := a.jsonValue("limits", text)
	if err != nil || raw == nil {
		return policy.Limits{}, err
	}
	p, err := policy.Parse(slices.Concat([]byte(`{"limits":`), raw, []byte(`}`)))
	if err != nil {
		return policy.Limits{}, usagef("--limits: %s", status.Convert(err).Message)
	}
	return p.Limits, nil
}

// serverGenerateLimits bound a request of a server, whose callers need not mean it well.
var serverGenerateLimits = allowance.Limits{ModelCalls: 256, ToolRuns: 1000, Generates: 64, Tokens: -1, Seconds: 600}

// generates reads --generate-limits.
func (a *app) generates(text string) (allowance.Limits, error) {
	raw, err := a.jsonValue("generate-limits", text)
	if err != nil || raw == nil {
		return serverGenerateLimits, err
	}
	l, err := allowance.Parse(raw)
	if err != nil {
		return l, usagef("--generate-limits: %s", status.Convert(err).Message)
	}
	return l.Or(serverGenerateLimits), nil
}

// guardedGrants are what policies may grant at most where others than the operator upload
// and nothing else was said: what reaches nobody else.
const guardedGrants = `{"kv":true,"clock":true}`

// serve runs until ctx ends, and then drains.
// ballastBytes spaces the server's collections, whose own heap is a few MiB: see docs/benchmarks.md, BenchmarkTenfoldQuota.
const ballastBytes = 32 << 20

func (a *app) serve(ctx context.Context, f *serveFlags) (err error) {
	defer ballast.Keep(ballastBytes)()
	if err := a.checkSettings(ctx, f); err != nil {
		return located(err, f.set)
	}
	log, err := a.logger(f)
	if err != nil {
		return err
	}
	limits, err := a.limits(f.limits)
	if err != nil {
		return err
	}
	watched, err := observe(ctx, f, log)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, watched.close(context.WithoutCancel(ctx))) }()
	log = watched.logger(log)
	host, closeUsage, err := a.hostConfig(ctx, &f.resourceFlags, f.tenants, f.dev || f.devMode != nil, log)
	if err != nil {
		return err
	}
	defer func() {
		if err := closeUsage(); err != nil {
			log.Error("the usage journal is not whole", slog.Any("error", err))
		}
	}()
	if f.auth && f.grants == "" {
		f.grants = guardedGrants
		log.Info("modules may be granted no more than this; --grants says what else", slog.String("grants", f.grants))
	}
	grants, err := a.grants(f.grants)
	if err != nil {
		return err
	}
	generates, err := a.generates(f.generateLimits)
	if err != nil {
		return err
	}
	accounts, err := a.accounts(&f.accountFlags)
	if err != nil {
		return err
	}
	secretKeys, err := f.keys()
	if err != nil {
		return err
	}
	mcpServers, err := f.mcpServers()
	if err != nil {
		return err
	}
	if err := f.loadTLS(log); err != nil {
		return err
	}
	l, err := f.listen(ctx, f.addr, f.allowedHosts)
	if err != nil {
		return err
	}
	a.drains.Store(true)
	// Runs outlive ctx by the time of the drain.
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	front := &front{}
	front.show(starting())
	srv := &http.Server{
		Handler: closing.Bodies(front), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return running },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	listening.BoundConnections(srv, descriptors.Limit()/2, f.closed)
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	var api *server.Server
	var g *guards
	var changes *audit.Log
	var profiles *profiling.Server
	stop := func(b *backend) error {
		patience, done := context.WithTimeout(context.WithoutCancel(ctx), f.drainTimeout)
		defer done()
		err := drain(context.WithoutCancel(ctx), srv, cancel, f.drainTimeout, log)
		if api != nil && api.Close(patience) != nil { // flows that run on without a reader
			log.Warn("flows did not end in time and were cancelled")
		}
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		err = errors.Join(err, profiles.Close(context.WithoutCancel(ctx)), watched.stop(context.WithoutCancel(ctx)))
		if b != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
		return errors.Join(err, g.close(), endAudit(changes))
	}
	if changes, err = openAudit(f.data, f.auditDays, f.set, log); err != nil {
		return errors.Join(err, stop(nil))
	}
	if g, err = a.openGuards(ctx, f, log); err != nil {
		return errors.Join(err, stop(nil))
	}
	if profiles, err = openProfiles(ctx, f.pprof, g.authenticator(), log); err != nil {
		return errors.Join(err, stop(nil))
	}
	b, err := openBackend(ctx, backendConfig{
		data: f.data, limits: limits, grants: grants, reach: &f.reachFlags, defaultModel: f.defaultModel, providers: f.providers, mcp: mcpServers, generates: generates, host: host, log: log,
		keys: g.all(), accounts: &accounts, secretKeys: secretKeys, guarded: f.auth,
		apart: func(ctx context.Context) wasmhost.Isolation { return byDefault(ctx, a.compiler, log) },
	})
	if err != nil {
		return errors.Join(local(err, false), stop(nil))
	}
	var draining atomic.Bool
	if api, err = a.api(ctx, f, b, g, changes, log, &draining); err != nil {
		return errors.Join(err, stop(b))
	}
	front.show(watched.handler(api.Handler()))
	if err := watched.show(ctx, a, b); err != nil {
		return errors.Join(local(err, false), stop(b))
	}
	if err := a.firstKey(ctx, g, changes, log); err != nil {
		return errors.Join(err, stop(b))
	}
	if err := a.line("listening on %s://%s", f.scheme(), l.Addr()); err != nil {
		return errors.Join(err, stop(b))
	}
	select {
	case err := <-served:
		served <- err
		return errors.Join(local(err, false), stop(b))
	case <-ctx.Done():
	}
	draining.Store(true)
	log.Info("draining", slog.Duration("delay", f.drainDelay), slog.Duration("timeout", f.drainTimeout))
	select {
	case err := <-served:
		served <- err
	case <-time.After(f.drainDelay):
	}
	return stop(b)
}

// api loads the modules that --load names and makes the API.
func (a *app) api(ctx context.Context, f *serveFlags, b *backend, g *guards, changes *audit.Log, log *slog.Logger, draining *atomic.Bool) (*server.Server, error) {
	if err := b.load(ctx, f.load, log); err != nil {
		return nil, err
	}
	var streams durable.Manager
	if f.keepStreams {
		streams = durable.NewMemory(durable.MemoryConfig{})
	}
	config := server.Config{
		Host: b.host, Tenants: b.tenants, Usage: b.book, Secrets: b.secrets, Audit: changes, Registry: b.registry, Logger: log, Dev: f.dev,
		AllowedHosts:   allowedHosts(f.addr, f.allowedHosts),
		TrustedOrigins: f.origins, FlowStreams: streams,
		Ready: func() error {
			if draining.Load() {
				return status.Publicf(status.Unavailable, "the server is draining")
			}
			return nil
		},
	}
	var err error
	if config.Metrics, err = metrics.New(metrics.Config{ByTenant: f.tenantMetrics, Version: buildVersion()}); err != nil {
		return nil, err
	}
	if err = config.Metrics.Watch(b.host); err != nil {
		return nil, err
	}
	if b.book != nil {
		if err = config.Metrics.WatchUsage(b.book); err != nil {
			return nil, err
		}
	}
	if err = config.Metrics.WatchSources(sourcesOf(f, b, g, changes)); err != nil {
		return nil, err
	}
	if config.Backup, err = b.backups(g, changes); err != nil {
		return nil, local(err, false)
	}
	g.protect(&config, f)
	srv, err := server.New(config)
	if err != nil {
		return nil, usage(err)
	}
	return srv, nil
}

// sourcesOf are what the metrics tell beside the host and the API.
func sourcesOf(f *serveFlags, b *backend, g *guards, changes *audit.Log) metrics.Sources {
	s := metrics.Sources{Audit: changes.Failures, ClosedConnections: f.closed.Counts}
	if f.certs != nil {
		s.CertificateEnd = f.certs.End
	}
	if b.journal != nil {
		s.Journal = func() (unwritten, lost int64) {
			r := b.journal.Total()
			return r.Unwritten, r.Lost
		}
	}
	if g != nil && len(g.issuers) > 0 {
		s.Issuers = func() []metrics.Issuer {
			all := make([]metrics.Issuer, len(g.issuers))
			for i, issuer := range g.issuers {
				all[i] = metrics.Issuer(issuer.KeyState())
			}
			return all
		}
	}
	return s
}

// allowedHosts are the names by which the server is reached: on this machine, by its address,
// and those that are given.
func allowedHosts(addr string, given []string) []string {
	hosts := append([]string{"localhost", "127.0.0.1", "::1"}, given...)
	if host, _, _ := net.SplitHostPort(addr); host != "" {
		hosts = append(hosts, host)
	}
	return hosts
}

// cancelled is how long cancelled requests may take to notice.
const cancelled = 5 * time.Second

// drain lets running requests end, cancels those that take too long and closes
// what is left. ctx does not end with the server.
func drain(ctx context.Context, srv *http.Server, cancel context.CancelCauseFunc, timeout time.Duration, log *slog.Logger) error {
	patience, done := context.WithTimeout(ctx, timeout)
	defer done()
	err := srv.Shutdown(patience)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.Warn("requests did not end in time and are cancelled", slog.Duration("timeout", timeout))
	cancel(status.Publicf(status.Unavailable, "the server is shutting down").WithRetryAfter(time.Second))
	patience, done = context.WithTimeout(ctx, cancelled)
	defer done()
	if srv.Shutdown(patience) != nil {
		return srv.Close()
	}
	return nil
}

// front is the handler of a server that is still starting, and then the API.
type front struct{ handler atomic.Pointer[http.Handler] }

func (f *front) show(h http.Handler) { f.handler.Store(&h) }

func (f *front) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	(*f.handler.Load()).ServeHTTP(w, r)
}

// starting answers while modules are brought back: the process is alive, and
// everything else is to be tried again.
func starting() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = fmt.Fprintln(w, `{"status":"ok"}`)
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/problem+json")
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
		_, _ = fmt.Fprintln(w, `{"type":"about:blank","title":"Service Unavailable","status":503,"detail":"the server is starting","status_name":"UNAVAILABLE","request_id":""}`)
	})
	return mux
}
