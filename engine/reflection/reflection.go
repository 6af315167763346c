// Package reflection shows an engine to Genkit's command line and Dev UI, which list
// its actions and run them.
//
// It owns both forms of Genkit's reflection API: version 1, an HTTP server on a loopback
// port that the tools find by a file, and version 2, a WebSocket that is dialled to the
// tools. It is for development: [Start] does nothing unless GENKIT_ENV is dev, and what
// it shows and records holds back nothing. Use:
//
//	srv, err := reflection.Start(ctx, eng, reflection.Config{})
//	defer srv.Close(ctx)
//
// A [Server] is safe for concurrent use. Genkit's sources are js/core/src/reflection.ts
// and reflection-v2.ts; where this package differs is in docs/reflection.md.
package reflection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
)

// App is the application that is shown; *engine.Engine is one.
type App interface {
	Name() string
	Registry() *registry.Registry
	// Context returns ctx with the values that the app gives each run.
	Context(ctx context.Context) context.Context
}

// SpecVersion is the version of the reflection API that is spoken.
const SpecVersion = 1

// Version is the version of Genkit's wire format that is spoken, as the tools show it.
const Version = "1.43.0"

const runtimeVersion = "go/" + Version

// DefaultMaxBody bounds a request of version 1 and a message of version 2.
const DefaultMaxBody = 30 << 20

// The environment that Genkit's tools give to the programs that they start.
const (
	envMode      = "GENKIT_ENV"
	envPort      = "GENKIT_REFLECTION_PORT"
	envV2        = "GENKIT_REFLECTION_V2_SERVER"
	envRuntimeID = "GENKIT_RUNTIME_ID"
)

// Config configures a server. Fields that are left empty come from the environment, as
// Genkit's tools set it.
type Config struct {
	// Name is shown for the app; "" takes the app's.
	Name string
	// Port is that of version 1 on 127.0.0.1. 0 takes GENKIT_REFLECTION_PORT, else the
	// first free one of 3100 to 3199, else any; -1 any.
	Port int
	// Root is the project's folder, below which the tools look for runtimes. ""
	// takes the nearest one that holds a go.mod or another project file.
	Root string
	// V2 is the ws URL of the tools; "" takes GENKIT_REFLECTION_V2_SERVER. When there
	// is one, version 2 is spoken instead of version 1.
	//
	// Experimental: Genkit's tools use version 2 behind a flag.
	V2 string
	// Exporter sends the traces; it stays the caller's. nil makes one, which
	// Close ends.
	Exporter *devexport.Exporter
	// MaxBody bounds the body of one request, in bytes; 0 takes the default.
	MaxBody int64
	// AllowedHosts are names besides localhost that the Host header may carry.
	AllowedHosts []string
	// AllowedOrigins are origins besides those of this machine's own pages whose
	// pages may send requests.
	AllowedOrigins []string
	// Logger gets warnings; nil drops them.
	Logger *slog.Logger
	// OnQuit is called when the tools ask the process to end; nil only ends the
	// server.
	OnQuit func()
	// Always starts the server whatever GENKIT_ENV says.
	Always bool
	// Getenv reads the environment; nil is os.Getenv.
	Getenv func(name string) string
}

// Server is a running reflection server. A nil one does nothing.
type Server struct {
	config   Config
	app      App
	log      *slog.Logger
	exporter *devexport.Exporter
	owned    bool // the exporter is ours
	id       string
	name     string
	runs     *runs
	stop     func(ctx context.Context) error // of the version that is spoken
	url      string
	unlisted atomic.Value // string; why actions were missing in the last listing

	closing sync.Once
	closed  error
}

// Start starts to show app. ctx is for the start only. Without GENKIT_ENV=dev it
// returns nil and no error, unless the config says otherwise.
//
// It fails with INVALID_ARGUMENT for a port or URL that is none, and with UNAVAILABLE
// when the port is taken. Version 2 connects in the background, again and again.
func Start(ctx context.Context, app App, c Config) (*Server, error) {
	if c.Getenv == nil {
		c.Getenv = os.Getenv
	}
	if !c.Always && c.Getenv(envMode) != "dev" {
		return nil, nil //nolint:nilnil // a nil server does nothing
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.MaxBody <= 0 {
		c.MaxBody = DefaultMaxBody
	}
	if c.V2 == "" {
		c.V2 = c.Getenv(envV2)
	}
	s := &Server{config: c, app: app, log: c.Logger, name: c.Name, exporter: c.Exporter}
	if s.name == "" {
		s.name = app.Name()
	}
	if err := s.openExporter(); err != nil {
		return nil, err
	}
	s.runs = newRuns(app, s.exporter, s.log)
	start := s.startV1
	if c.V2 != "" {
		start = s.startV2
	}
	if err := start(ctx); err != nil {
		return nil, errors.Join(err, s.closeExporter(ctx))
	}
	return s, nil
}

func (s *Server) openExporter() error {
	asked := devexport.FromEnv(s.config.Getenv)
	if s.exporter == nil {
		asked.Logger = s.log
		s.owned = true
		s.exporter = devexport.New(asked)
	}
	if asked.URL == "" || s.exporter.URL() != "" {
		return nil
	}
	if err := s.exporter.SetURL(asked.URL); err != nil {
		return errors.Join(fmt.Errorf("%s: %w", devexport.EnvURL, err), s.closeExporter(context.Background())) //nolint:forbidigo // at start-up; nothing has been sent that could be waited for
	}
	return nil
}

func (s *Server) closeExporter(ctx context.Context) error {
	if !s.owned {
		return nil
	}
	return s.exporter.Close(ctx)
}

// Exporter returns the exporter of the traces, for programs that want to show runs made
// outside of this server too; nil for a nil server.
func (s *Server) Exporter() *devexport.Exporter {
	if s == nil {
		return nil
	}
	return s.exporter
}

// Context returns ctx with everything that makes runs below it visible in the Dev UI: the
// exporter's spans, with inputs and outputs.
func (s *Server) Context(ctx context.Context) context.Context {
	if s == nil {
		return ctx
	}
	return observed(ctx, s.exporter)
}

// URL is where version 1 is served, or where version 2 is dialled; "" for a nil server.
func (s *Server) URL() string {
	if s == nil {
		return ""
	}
	return s.url
}

// ID is the runtime's id; "" for a nil server.
func (s *Server) ID() string {
	if s == nil {
		return ""
	}
	return s.id
}

// flushAtEnd is how long Close waits for the telemetry server when its ctx has no end.
const flushAtEnd = 2 * time.Second

// Close removes the runtime file, cancels runs and waits for them, and sends the
// traces that are left, at most until ctx ends. It may be called more than once.
func (s *Server) Close(ctx context.Context) error {
	if s == nil {
		return nil
	}
	s.closing.Do(func() {
		s.runs.end()
		err := errors.Join(s.stop(ctx), s.runs.wait(ctx))
		flush, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushAtEnd)
		defer cancel()
		if s.owned {
			err = errors.Join(err, s.exporter.Close(flush))
		} else {
			err = errors.Join(err, s.exporter.Flush(flush))
		}
		s.closed = err
	})
	return s.closed
}

func (s *Server) runtimeID(port int) string {
	if id := s.config.Getenv(envRuntimeID); id != "" {
		return id
	}
	id := strconv.Itoa(os.Getpid())
	if port > 0 {
		id += "-" + strconv.Itoa(port)
	}
	return id
}

func invalid(format string, args ...any) error {
	return status.Publicf(status.InvalidArgument, format, args...)
}

// setTelemetry takes the URL that the tools tell, unless the environment told one. Only
// this machine's own addresses are taken: traces hold everything.
func (s *Server) setTelemetry(raw string) {
	if raw == "" || s.config.Getenv(devexport.EnvURL) != "" || raw == s.exporter.URL() {
		return
	}
	if !onLoopback(raw) {
		s.log.Warn("a telemetry server on another machine is refused; name it in GENKIT_TELEMETRY_SERVER", slog.String("url", raw))
		return
	}
	if err := s.exporter.SetURL(raw); err != nil {
		s.log.Warn("the telemetry server's URL is refused", slog.String("url", raw), slog.Any("error", err))
	}
}

func (s *Server) noteSpecVersion(v int) {
	switch {
	case v == SpecVersion:
	case v < SpecVersion:
		s.log.Warn("the genkit command line may be too old for this runtime", slog.Int("spec_version", v), slog.Int("want", SpecVersion))
	default:
		s.log.Warn("the genkit command line is newer than this runtime", slog.Int("spec_version", v), slog.Int("want", SpecVersion))
	}
}
