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

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

// serveFlags are the flags of serve.
type serveFlags struct {
	addr, data, defaultModel string
	limits, grants           string
	reachFlags
	tenants, load         []string
	allowedHosts, origins []string
	drainTimeout          time.Duration
	logFormat, logLevel   string
	dev, keepStreams      bool
	devMode               *devMode // of the command dev
	resourceFlags
}

func (a *app) serveCommand() *cobra.Command {
	f := &serveFlags{}
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Start the server",
		Long: "Serve brings back the modules of the data directory and answers the HTTP API; /openapi.json describes it. " +
			"It knows no users, so it listens on loopback addresses only, and refuses requests that a page of another site could have sent.\n\n" +
			"On SIGTERM or an interrupt it turns /readyz to 503, takes no new connections, and lets running requests end for --drain-timeout; " +
			"then it cancels them. A second signal ends it at once.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return a.serve(cmd.Context(), f) },
	}
	serveFlagsOn(cmd, f)
	return cmd
}

// serveFlagsOn adds the flags that serve and dev share.
func serveFlagsOn(cmd *cobra.Command, f *serveFlags) {
	flags := cmd.Flags()
	flags.StringVar(&f.addr, "addr", "127.0.0.1:3400", "where to listen; port 0 takes a free one")
	flags.StringVar(&f.data, "data", "./data", "the directory of modules and compiled code")
	flags.StringArrayVar(&f.tenants, "tenant", nil, "a tenant besides \"default\"; may be given again")
	flags.StringArrayVar(&f.load, "load", nil, "a module `FILE`, or a directory of them, to put into service; may be given again")
	flags.StringVar(&f.limits, "limits", "", "limits of every module, `JSON` or @FILE, such as {\"timeoutMs\":10000}; the others keep their defaults")
	flags.StringVar(&f.grants, "grants", "", "the most that policies may grant, `JSON` or @FILE, such as {\"kv\":true,\"http\":[{\"host\":\"api.example.com\"}]} (default: what they grant)")
	f.flags(cmd)
	flags.StringVar(&f.defaultModel, "default-model", "", "the model of requests that name none")
	flags.DurationVar(&f.drainTimeout, "drain-timeout", 20*time.Second, "how long running requests may take to end")
	flags.StringArrayVar(&f.allowedHosts, "allowed-host", nil, "a name besides localhost that the Host header may carry; may be given again")
	flags.StringArrayVar(&f.origins, "trusted-origin", nil, "an `ORIGIN`, such as https://console.example.com, whose pages may send requests; may be given again")
	flags.StringVar(&f.logFormat, "log-format", "auto", "text, json, or auto: text for a terminal, else json")
	flags.StringVar(&f.logLevel, "log-level", "info", "debug, info, warn or error")
	flags.BoolVar(&f.dev, "dev", false, "for development: show the text of every failure to callers, and let an upload replace a version")
	f.add(flags)
	flags.BoolVar(&f.keepStreams, "keep-streams", false, "keep the streams of flows for 5 minutes after their end: they can be read again, and a flow runs on when its reader leaves")
}

func (a *app) logger(f *serveFlags) (*slog.Logger, error) {
	var level slog.Level
	if err := level.UnmarshalText([]byte(f.logLevel)); err != nil {
		return nil, usagef("--log-level is %q, want debug, info, warn or error", f.logLevel)
	}
	options := &slog.HandlerOptions{Level: level}
	_, tty := terminal(a.err)
	switch {
	case f.devMode != nil && f.logFormat == "auto":
		return slog.New(newPretty(a.err, level)), nil
	case f.logFormat == "text" || (f.logFormat == "auto" && tty):
		return slog.New(slog.NewTextHandler(a.err, options)), nil
	case f.logFormat == "json" || f.logFormat == "auto":
		return slog.New(slog.NewJSONHandler(a.err, options)), nil
	}
	return nil, usagef("--log-format is %q, want auto, text or json", f.logFormat)
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

// listen opens the port; it refuses an address beyond loopback.
func listen(ctx context.Context, addr string) (net.Listener, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usagef("--addr %q: want HOST:PORT, such as 127.0.0.1:3400", addr)
	}
	ip := net.ParseIP(host)
	if host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, &failure{
			exit: exitUsage, text: fmt.Sprintf("--addr %q is reachable from other machines, and this server lets in whoever reaches it", addr),
			hint: "listen on 127.0.0.1, [::1] or localhost, and put a proxy that knows your users before it",
		}
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &failure{exit: exitFailed, text: fmt.Sprintf("listen: %v", err), hint: "choose another port with --addr 127.0.0.1:PORT", cause: err}
	}
	if bound, ok := l.Addr().(*net.TCPAddr); !ok || !bound.IP.IsLoopback() {
		return nil, errors.Join(usagef("--addr %q resolves to %s, which is not a loopback address", addr, l.Addr()), l.Close())
	}
	return l, nil
}

// serve runs until ctx ends, and then drains.
func (a *app) serve(ctx context.Context, f *serveFlags) (err error) {
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
	host, closeUsage, err := a.hostConfig(&f.resourceFlags, f.dev || f.devMode != nil)
	if err != nil {
		return err
	}
	defer func() {
		if err := closeUsage(); err != nil {
			log.Error("the usage journal is not whole", slog.Any("error", err))
		}
	}()
	grants, err := a.grants(f.grants)
	if err != nil {
		return err
	}
	l, err := listen(ctx, f.addr)
	if err != nil {
		return err
	}
	// What runs outlives ctx by the time of the drain.
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	front := &front{}
	front.show(starting())
	srv := &http.Server{
		Handler: front, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return running },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	var api *server.Server
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
		err = errors.Join(err, watched.stop(context.WithoutCancel(ctx)))
		if b != nil {
			err = errors.Join(err, b.close(context.WithoutCancel(ctx)))
		}
		return err
	}
	b, err := openBackend(ctx, backendConfig{data: f.data, tenants: f.tenants, limits: limits, grants: grants, reach: &f.reachFlags, defaultModel: f.defaultModel, host: host, log: log})
	if err != nil {
		return errors.Join(local(err, false), stop(nil))
	}
	var draining atomic.Bool
	if api, err = a.api(ctx, f, b, log, &draining); err != nil {
		return errors.Join(err, stop(b))
	}
	front.show(watched.handler(api.Handler()))
	if err := watched.show(ctx, a, b); err != nil {
		return errors.Join(local(err, false), stop(b))
	}
	if err := a.line("listening on http://%s", l.Addr()); err != nil {
		return errors.Join(err, stop(b))
	}
	select {
	case err := <-served:
		served <- err
		return errors.Join(local(err, false), stop(b))
	case <-ctx.Done():
	}
	draining.Store(true)
	log.Info("draining", slog.Duration("timeout", f.drainTimeout))
	return stop(b)
}

// api loads what --load names and makes the API.
func (a *app) api(ctx context.Context, f *serveFlags, b *backend, log *slog.Logger, draining *atomic.Bool) (*server.Server, error) {
	if err := b.load(ctx, f.load); err != nil {
		return nil, err
	}
	var streams durable.Manager
	if f.keepStreams {
		streams = durable.NewMemory(durable.MemoryConfig{})
	}
	srv, err := server.New(server.Config{
		Host: b.host, Registry: b.registry, Logger: log, Dev: f.dev,
		AllowedHosts:   append([]string{"localhost", "127.0.0.1", "::1"}, append(f.allowedHosts, hostOf(f.addr))...),
		TrustedOrigins: f.origins, FlowStreams: streams,
		Ready: func() error {
			if draining.Load() {
				return status.Publicf(status.Unavailable, "the server is draining")
			}
			return nil
		},
	})
	if err != nil {
		return nil, usage(err)
	}
	return srv, nil
}

func hostOf(addr string) string {
	host, _, _ := net.SplitHostPort(addr)
	return host
}

// cancelled is how long cancelled requests may take to notice.
const cancelled = 5 * time.Second

// drain lets running requests end, cancels those that take too long and closes
// what is left. ctx does not end with the server.
func drain(ctx context.Context, srv *http.Server, cancel context.CancelFunc, timeout time.Duration, log *slog.Logger) error {
	patience, done := context.WithTimeout(ctx, timeout)
	defer done()
	err := srv.Shutdown(patience)
	if !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	log.Warn("requests did not end in time and are cancelled", slog.Duration("timeout", timeout))
	cancel()
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
