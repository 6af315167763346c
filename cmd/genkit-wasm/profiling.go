package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

const (
	profilesPath     = "/debug/pprof/"
	profileSeconds   = 30       // of a CPU profile whose request says nothing
	traceSeconds     = 1        // of a trace
	maxSeconds       = 300      // of either
	maxProfile       = 64 << 20 // bytes of a profile, which is kept until it is whole
	profilesAtATime  = 2
	profilesPatience = 30 * time.Second // for a reader of an answer
	profilesClosing  = time.Second      // for answers at the server's end
)

// profiler is the listener of --pprof: the Go runtime's profiles of this process, on a loopback
// address of its own. It is not net/http/pprof, whose handlers would also be on
// [http.DefaultServeMux], wait for the request alone, and show the command line.
type profiler struct {
	log      *slog.Logger
	listener net.Listener
	srv      *http.Server
	stop     context.CancelCauseFunc // ends what runs
	served   chan error
	slots    chan struct{}
	names    []string // of the hosts that a request may be for
	// auth asks who calls; nil asks nobody.
	auth access.Authenticator
}

// checkProfilesAddr refuses an address that is not one of this machine.
func checkProfilesAddr(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return usagef("--pprof %q: want HOST:PORT, such as 127.0.0.1:6060", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return usagef("--pprof %q: profiles are served on loopback addresses only: 127.0.0.1, [::1] or localhost", addr)
	}
	return nil
}

// openProfiles listens at addr and begins to answer; nil where addr is empty. ctx carries values
// alone. Where auth is set, it takes an identity with the scope admin.
func openProfiles(ctx context.Context, addr string, auth access.Authenticator, log *slog.Logger) (*profiler, error) {
	if addr == "" {
		return nil, nil
	}
	if err := checkProfilesAddr(addr); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, &failure{exit: exitFailed, text: fmt.Sprintf("--pprof: %v", err), hint: "choose another port with --pprof 127.0.0.1:PORT", cause: err}
	}
	if bound, ok := l.Addr().(*net.TCPAddr); !ok || !bound.IP.IsLoopback() {
		return nil, errors.Join(usagef("--pprof %q resolves to %s, which is not a loopback address", addr, l.Addr()), l.Close())
	}
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	p := &profiler{
		log: log, listener: l, stop: stop, served: make(chan error, 1), slots: make(chan struct{}, profilesAtATime), auth: auth,
		names: []string{"localhost", "127.0.0.1", "::1"},
	}
	if host, _, _ := net.SplitHostPort(addr); !slices.Contains(p.names, host) {
		p.names = append(p.names, host)
	}
	open := newConnections(16)
	p.srv = &http.Server{
		Handler: open.handler(http.HandlerFunc(p.serve)), ConnState: open.state, ConnContext: open.context,
		// No ReadTimeout: it would end requests that wait for their profile. Requests with a body are refused.
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return running },
		ErrorLog:    slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() { p.served <- p.srv.Serve(l) }()
	log.Info("profiles are served", slog.String("url", "http://"+l.Addr().String()+profilesPath), slog.Bool("auth", auth != nil))
	return p, nil
}

// close ends what runs, without waiting for profiles to be whole, and then the listener.
func (p *profiler) close(ctx context.Context) error {
	if p == nil {
		return nil
	}
	p.stop(status.Publicf(status.Unavailable, "the server is shutting down"))
	patience, done := context.WithTimeout(ctx, profilesClosing)
	defer done()
	err := p.srv.Shutdown(patience)
	if errors.Is(err, context.DeadlineExceeded) {
		err = p.srv.Close() // a reader that does not read
	}
	if serr := <-p.served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// serve answers a request: a profile, or the list of them.
func (p *profiler) serve(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if r.ContentLength != 0 {
		h.Set("Connection", "close") // the body is not read
		_ = control.SetReadDeadline(time.Now().Add(profilesClosing))
	}
	ctx, done := context.WithCancelCause(r.Context())
	defer done(nil)
	who, err := p.admit(r, done, h)
	var out []byte
	kind := "application/octet-stream"
	if err == nil {
		out, kind, err = p.answer(ctx, r)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	p.log.Info("profile", slog.String("path", abi.Line(r.URL.Path, 64)), slog.String("identity", abi.Line(who, 256)), slog.String("code", status.Of(err).String()), slog.Int("bytes", len(out)))
	_ = control.SetWriteDeadline(time.Now().Add(profilesPatience))
	if err != nil {
		refuse(w, err)
		return
	}
	h.Set("Content-Type", kind)
	if !strings.HasPrefix(kind, "text/plain") {
		h.Set("Content-Disposition", `attachment; filename="`+strings.TrimPrefix(r.URL.Path, profilesPath)+`"`)
	}
	h.Set("Content-Length", strconv.Itoa(len(out)))
	_, _ = w.Write(out)
}

// admit checks who asks, and from where. end is called when the identity ends, until the request's
// context does.
func (p *profiler) admit(r *http.Request, end context.CancelCauseFunc, h http.Header) (who string, err error) {
	given := r.Header.Values("Authorization")
	r.Header.Del("Authorization")
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = strings.Trim(r.Host, "[]")
	}
	site := r.Header.Get("Sec-Fetch-Site")
	switch {
	case !slices.Contains(p.names, strings.ToLower(host)):
		return "", status.Publicf(status.PermissionDenied, "this server does not answer to the host name %q", abi.Line(r.Host, 80))
	case site != "" && site != "none" && site != "same-origin" || r.Header.Get("Origin") != "":
		return "", status.Publicf(status.PermissionDenied, "a page may not send this request")
	case r.Method != http.MethodGet || r.ContentLength != 0:
		return "", status.Publicf(status.InvalidArgument, "profiles are had by GET, without a body")
	case p.auth == nil:
		return "", nil
	}
	h.Set("WWW-Authenticate", `Bearer realm="genkit-wasm"`)
	token := ""
	if len(given) == 1 {
		scheme, rest, _ := strings.Cut(given[0], " ")
		if strings.EqualFold(scheme, "Bearer") {
			token = strings.TrimSpace(rest)
		}
	}
	if token == "" || len(token) > access.MaxTokenBytes {
		return "", status.Publicf(status.Unauthenticated, "an API key or a token is wanted, as \"Authorization: Bearer …\"")
	}
	var from netip.Addr
	if at, err := netip.ParseAddrPort(r.RemoteAddr); err == nil {
		from = at.Addr().Unmap()
	}
	identity, err := p.auth.Authenticate(r.Context(), access.Credentials{Token: token, From: from})
	switch {
	case err != nil:
		return "", err
	case identity == nil:
		return "", status.Errorf(status.Internal, "the authenticator returned neither an identity nor an error")
	}
	h.Del("WWW-Authenticate")
	if !identity.Scopes.Admin {
		return identity.Subject, status.Publicf(status.PermissionDenied, "this takes the scope \"admin\"")
	}
	stop := identity.Life.OnEnd(func(err error) { end(err) })
	context.AfterFunc(r.Context(), stop)
	return identity.Subject, nil
}

// answer makes what a request asks for.
func (p *profiler) answer(ctx context.Context, r *http.Request) (out []byte, kind string, err error) {
	name, ok := strings.CutPrefix(r.URL.Path, profilesPath)
	if !ok || name != "" && name != "profile" && name != "trace" && pprof.Lookup(name) == nil {
		return nil, "", status.Publicf(status.NotFound, server.NoPath+"; %s lists what is there", profilesPath)
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, "", status.Publicf(status.InvalidArgument, "the query can't be read")
	}
	number := func(name string, least, most, unset int) (n int) {
		if n = unset; query.Has(name) && err == nil {
			var wrong error
			if n, wrong = strconv.Atoi(query.Get(name)); wrong != nil || n < least || n > most {
				err = status.Publicf(status.InvalidArgument, "%s: want %d to %d", name, least, most)
			}
		}
		query.Del(name)
		return n
	}
	seconds, debug, gc := 0, 0, 0
	switch name {
	case "":
	case "profile":
		seconds = number("seconds", 1, maxSeconds, profileSeconds)
	case "trace":
		seconds = number("seconds", 1, maxSeconds, traceSeconds)
	default:
		debug = number("debug", 0, 2, 0)
		if name == "heap" {
			gc = number("gc", 0, 1, 0)
		}
	}
	if err == nil && len(query) > 0 {
		err = status.Publicf(status.InvalidArgument, "this takes no parameter %q", abi.Line(slices.Min(slices.Collect(maps.Keys(query))), 64))
	}
	if err != nil {
		return nil, "", err
	}
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	default:
		return nil, "", status.Publicf(status.Unavailable, "other profiles are under way").WithRetryAfter(time.Second)
	}
	b := &bounded{most: maxProfile, full: make(chan struct{})}
	kind = "application/octet-stream"
	switch name {
	case "":
		kind = "text/plain; charset=utf-8"
		listProfiles(b)
	case "profile":
		err = during(ctx, seconds, b, pprof.StartCPUProfile, pprof.StopCPUProfile)
	case "trace":
		err = during(ctx, seconds, b, trace.Start, trace.Stop)
	default:
		if gc == 1 {
			runtime.GC()
		}
		if debug > 0 {
			kind = "text/plain; charset=utf-8"
		}
		err = pprof.Lookup(name).WriteTo(b, debug)
	}
	if out, whole := b.bytes(); err == nil && whole {
		return out, kind, nil
	}
	if err == nil || errors.Is(err, errFull) {
		err = status.Publicf(status.ResourceExhausted, "the profile is longer than %d bytes; ask for fewer seconds", maxProfile)
	}
	return nil, "", err
}

// during records for some seconds, or until ctx ends or there is too much.
func during(ctx context.Context, seconds int, b *bounded, start func(w io.Writer) error, stop func()) error {
	if err := start(b); err != nil {
		return status.Publicf(status.Unavailable, "another profile of that kind is under way").WithCause(err).WithRetryAfter(time.Second)
	}
	defer stop()
	timer := time.NewTimer(time.Duration(seconds) * time.Second)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-b.full:
		return errFull
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// listProfiles writes the names of the profiles.
func listProfiles(b *bounded) {
	_, _ = fmt.Fprintf(b, "profile?seconds=%d\ntrace?seconds=%d\n", profileSeconds, traceSeconds)
	for _, p := range pprof.Profiles() {
		_, _ = fmt.Fprintf(b, "%s\n", p.Name())
	}
}

// refuse writes a failure as the API does.
func refuse(w http.ResponseWriter, err error) {
	code, wire := status.Of(err).HTTP(), status.ToWire(err, false)
	if e := status.Convert(err); e.RetryAfter > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(cmp.Or(e.RetryAfter/time.Second, 1))))
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(server.Problem{
		Type: "about:blank", Title: http.StatusText(code), Status: code, Detail: access.Redact(wire.Message), StatusName: wire.Status, RequestID: rand.Text(),
	})
}

var errFull = errors.New("the profile is too long")

// bounded keeps what is written to it, up to most bytes. It is safe for concurrent use.
type bounded struct {
	most int
	full chan struct{} // closed once more came

	mu   sync.Mutex // guards the fields below
	kept bytes.Buffer
	over bool
}

func (b *bounded) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.over && b.kept.Len()+len(p) > b.most {
		b.over = true
		close(b.full)
	}
	if b.over {
		return 0, errFull
	}
	return b.kept.Write(p)
}

// bytes returns what was written, and whether it is all of it. Nothing may be written after.
func (b *bounded) bytes() (all []byte, whole bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.kept.Bytes(), !b.over
}
