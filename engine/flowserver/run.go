package flowserver

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	arriving "github.com/genkit-wasm/genkit-wasm/internal/closing"
)

// RunConfig says how [Server.Run] listens and ends.
type RunConfig struct {
	// Addr is HOST:PORT; 127.0.0.1 with the port of the environment variable
	// PORT, else 3400, when it is empty.
	Addr string
	// Listener is used in place of Addr where it is given. Run closes it.
	Listener net.Listener
	// DrainTimeout is how long requests and kept streams may take to end once
	// ctx has: 20 s. Then they are cancelled.
	DrainTimeout time.Duration
	// Listening is told the address once it is bound.
	Listening func(net.Addr)
}

// cancelled is how long cancelled requests may take to notice.
const cancelled = 5 * time.Second

// Run serves handler, one of s's or one that holds them, until ctx ends. Then it takes
// no new connections, lets what runs end, cancels what takes too long, and closes s.
// It returns nil when all runs have ended by themselves.
func (s *Server) Run(ctx context.Context, c RunConfig, handler http.Handler) error {
	l := c.Listener
	if l == nil {
		addr := c.Addr
		if addr == "" {
			addr = net.JoinHostPort("127.0.0.1", cmp.Or(os.Getenv("PORT"), "3400"))
		}
		var err error
		if l, err = new(net.ListenConfig).Listen(ctx, "tcp", addr); err != nil {
			return status.Errorf(status.Unavailable, "flowserver: %w", err)
		}
	}
	if c.Listening != nil {
		c.Listening(l.Addr())
	}
	// Runs outlive ctx by the time of the drain.
	running, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	srv := &http.Server{
		Handler: arriving.Bodies(handler), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		BaseContext: func(net.Listener) context.Context { return running },
		ErrorLog:    slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	select {
	case err := <-served:
		cancel(closing())
		return errors.Join(err, srv.Close(), s.Close(context.WithoutCancel(ctx)))
	case <-ctx.Done():
	}
	err := s.drain(context.WithoutCancel(ctx), srv, cancel, cmp.Or(c.DrainTimeout, 20*time.Second))
	if serveErr := <-served; !errors.Is(serveErr, http.ErrServerClosed) {
		err = errors.Join(err, serveErr)
	}
	return err
}

// drain lets requests and kept streams end, then cancels them. ctx does not end.
func (s *Server) drain(ctx context.Context, srv *http.Server, cancel context.CancelCauseFunc, timeout time.Duration) error {
	patience, done := context.WithTimeout(ctx, timeout)
	defer done()
	closed := make(chan error, 1)
	go func() { closed <- s.Close(patience) }() // refuses what comes over connections that are open
	err := srv.Shutdown(patience)
	if err != nil {
		cancel(closing())
		last, done := context.WithTimeout(ctx, cancelled)
		defer done()
		if srv.Shutdown(last) != nil {
			_ = srv.Close() // the flows that are left ignore their contexts
		}
	}
	return errors.Join(err, <-closed)
}
