// Package profiling serves the Go runtime's profiles of this process, on a loopback address of its own. It is not
// net/http/pprof, whose handlers would also be on [http.DefaultServeMux], wait for the request alone, and show the command
// line: here a profile ends when who asked for it may not ask any more, when it becomes too long, and with the server.
//
//	s, err := profiling.Start(ctx, "127.0.0.1:6060", profiling.Config{Auth: auth, Logger: log})
//	defer s.Close(ctx)
package profiling

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/caller"
	"github.com/genkit-wasm/genkit-wasm/internal/listening"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// Path is where the profiles are, and their list.
const Path = "/debug/pprof/"

const (
	connections = 16
	patience    = 30 * time.Second // for a reader of an answer
	closing     = time.Second      // for answers at the server's end
)

// Config says who may see profiles. The zero value lets everybody in who reaches the address.
type Config struct {
	// Auth asks who calls, and takes an identity with the scope admin; nil asks nobody.
	Auth access.Authenticator
	// Logger gets a line for each request; nil for none.
	Logger *slog.Logger
}

// CheckAddress refuses an address that is not HOST:PORT of this machine, with INVALID_ARGUMENT.
func CheckAddress(addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "%q: want HOST:PORT, such as 127.0.0.1:6060", addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return status.Publicf(status.InvalidArgument, "%q: profiles are served on loopback addresses only: 127.0.0.1, [::1] or localhost", addr)
	}
	return nil
}

// Server answers requests for profiles.
type Server struct {
	log    *slog.Logger
	srv    *http.Server
	addr   net.Addr
	stop   context.CancelCauseFunc // ends what runs
	served chan error
	maker  *maker
	names  []string // of the hosts that a request may be for
	auth   access.Authenticator
}

// Start listens at addr and begins to answer. ctx carries values alone. It fails with INVALID_ARGUMENT for an address that
// is not of this machine, and with UNAVAILABLE where it can't listen.
func Start(ctx context.Context, addr string, c Config) (*Server, error) {
	if err := CheckAddress(addr); err != nil {
		return nil, err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, status.Publicf(status.Unavailable, "%v", err).WithCause(err)
	}
	if bound, ok := l.Addr().(*net.TCPAddr); !ok || !bound.IP.IsLoopback() {
		err := status.Publicf(status.InvalidArgument, "%q resolves to %s, which is not a loopback address", addr, l.Addr())
		return nil, errors.Join(err, l.Close())
	}
	running, stop := context.WithCancelCause(context.WithoutCancel(ctx))
	s := &Server{
		log: c.Logger, addr: l.Addr(), stop: stop, served: make(chan error, 1), maker: newMaker(), auth: c.Auth,
		names: []string{"localhost", "127.0.0.1", "::1"},
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if host := caller.HostName(addr); !slices.Contains(s.names, host) {
		s.names = append(s.names, host)
	}
	s.srv = &http.Server{
		Handler: http.HandlerFunc(s.serve),
		// No ReadTimeout: it would end requests that wait for their profile. Requests with a body are refused.
		ReadHeaderTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MaxHeaderBytes: 32 << 10,
		BaseContext: func(net.Listener) context.Context { return running },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	listening.BoundConnections(s.srv, connections, nil)
	go func() { s.served <- s.srv.Serve(l) }()
	s.log.Info("profiles are served", slog.String("url", s.URL()), slog.Bool("auth", s.auth != nil))
	return s, nil
}

// URL is where the list of the profiles is.
func (s *Server) URL() string { return "http://" + s.addr.String() + Path }

// Close ends what runs, without waiting for profiles to be whole, and then the listener. A nil server is closed already.
func (s *Server) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.stop(status.Publicf(status.Unavailable, "the server is shutting down"))
	ctx, done := context.WithTimeout(ctx, closing)
	defer done()
	err := s.srv.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.srv.Close() // a reader that does not read
	}
	if serr := <-s.served; !errors.Is(serr, http.ErrServerClosed) {
		err = errors.Join(err, serr)
	}
	return err
}

// serve answers a request: a profile, or the list of them.
func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	control := http.NewResponseController(w)
	h := w.Header()
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
	if r.ContentLength != 0 {
		h.Set("Connection", "close") // the body is not read
		_ = control.SetReadDeadline(time.Now().Add(closing))
	}
	ctx, done := context.WithCancelCause(r.Context())
	defer done(nil)
	who, err := s.admit(r, done, h)
	var p *profile
	if err == nil {
		p, err = s.answer(ctx, r)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	bytes := 0
	if err == nil {
		bytes = len(p.content)
	}
	s.log.Info("profile", slog.String("path", abi.Line(r.URL.Path, 64)), slog.String("identity", abi.Line(who, 256)), slog.String("code", status.Of(err).String()), slog.Int("bytes", bytes))
	_ = control.SetWriteDeadline(time.Now().Add(patience))
	if err != nil {
		refuse(w, err)
		return
	}
	h.Set("Content-Type", "application/octet-stream")
	if p.text {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	} else {
		h.Set("Content-Disposition", `attachment; filename="`+strings.TrimPrefix(r.URL.Path, Path)+`"`)
	}
	h.Set("Content-Length", strconv.Itoa(bytes))
	_, _ = w.Write(p.content)
}

// admit checks who asks, and from where. end is called when the identity ends, until the request's
// context does.
func (s *Server) admit(r *http.Request, end context.CancelCauseFunc, answer http.Header) (who string, err error) {
	tokens := caller.TakeTokens(r)
	site := r.Header.Get("Sec-Fetch-Site")
	switch {
	case !slices.Contains(s.names, caller.HostName(r.Host)):
		return "", status.Publicf(status.PermissionDenied, "this server does not answer to the host name %q", abi.Line(r.Host, 80))
	case site != "" && site != "none" && site != "same-origin" || r.Header.Get("Origin") != "":
		return "", status.Publicf(status.PermissionDenied, "a page may not send this request")
	case r.Method != http.MethodGet || r.ContentLength != 0:
		return "", status.Publicf(status.InvalidArgument, "profiles are had by GET, without a body")
	case s.auth == nil:
		return "", nil
	}
	identity, err := caller.Authenticate(r.Context(), s.auth, tokens, caller.Address(r.RemoteAddr), answer)
	if err != nil {
		return "", err
	}
	if !identity.Scopes.Admin {
		return identity.Subject, status.Publicf(status.PermissionDenied, "this takes the scope \"admin\"")
	}
	stop := identity.Life.OnEnd(func(err error) { end(err) })
	context.AfterFunc(r.Context(), stop)
	return identity.Subject, nil
}

// answer makes what a request asks for.
func (s *Server) answer(ctx context.Context, r *http.Request) (*profile, error) {
	name, ok := strings.CutPrefix(r.URL.Path, Path)
	if !ok || !known(name) {
		return nil, status.Publicf(status.NotFound, server.NoPath+"; %s lists what is there", Path)
	}
	query, err := parse(name, r.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	return s.maker.make(ctx, name, query)
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
