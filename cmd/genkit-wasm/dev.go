package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/genkit-wasm/genkit-wasm/engine"
	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/devexport"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/otlp"
	"github.com/genkit-wasm/genkit-wasm/internal/packdir"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// devMode is the part of the command dev that serve does not have.
type devMode struct {
	port int
	root string
	poll time.Duration
	// watch are directories of sources.
	watch []string
}

func (a *app) devCommand() *cobra.Command {
	f := &serveFlags{devMode: &devMode{}}
	cmd := &cobra.Command{
		Use:   "dev",
		Short: "Start the server for development: with the Dev UI, reload and readable logs",
		Long: "Dev is serve with three additions. Genkit's command line and Dev UI find the server and see the actions of the default tenant " +
			"(genkit start -- genkit-wasm dev); what runs is traced there with its inputs and outputs. " +
			"A file of --load that changes is put into service again; while it is refused, what was there before stays. " +
			"A directory of --watch is built as \"build\" does when its sources change, put into service with its policy.json while calls of the build before go on, and tested by its " + casesFile + ", with a line for each build. " +
			"Logs are written for people, guests' lines among them.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f.dev = true
			var err error
			if f.set, err = settingsOf(cmd.Flags(), f.config); err != nil {
				return err
			}
			return a.serve(cmd.Context(), f)
		},
	}
	serveFlagsOn(cmd, f)
	flags := cmd.Flags()
	wholeFlag(flags, &f.devMode.port, "reflection-port", -1, 65535, "the port for Genkit's tools; 0 takes GENKIT_REFLECTION_PORT, else a free one from 3100 on")
	flags.StringVar(&f.devMode.root, "project", "", "the project's `FOLDER`, where Genkit's tools look for the server; the nearest one with a project file when left out")
	f.devMode.poll = 500 * time.Millisecond
	spanFlag(flags, &f.devMode.poll, "reload-every", 0, 24*time.Hour, "how often files of --load and --watch are looked at; 0 never reloads")
	flags.StringArrayVar(&f.devMode.watch, "watch", nil, "a `DIR` of sources that is built and put into service when it changes; may be given again")
	return cmd
}

// observation is where traces, metrics and lines go: to the Dev UI, to a collector,
// or nowhere.
type observation struct {
	dev      *devMode
	exporter *devexport.Exporter // of dev
	pipeline *otlp.Pipeline
	log      *slog.Logger
	load     []string
	engines  engineFlags
	server   *reflection.Server
	reload   *reloader
}

func observe(ctx context.Context, f *serveFlags, log *slog.Logger) (*observation, error) {
	o := &observation{dev: f.devMode, log: log, load: f.load, engines: f.engineFlags}
	c := otlp.Config{Service: "genkit-wasm"}
	if o.dev != nil {
		xc := devexport.FromEnv(os.Getenv)
		xc.Logger = log
		o.exporter = devexport.New(xc)
		c.Processors = append(c.Processors, o.exporter.Processor())
	}
	var err error
	if o.pipeline, err = otlp.FromEnv(ctx, c); err != nil {
		return nil, errors.Join(usage(errors.New(status.Convert(err).Message)), o.close(context.WithoutCancel(ctx)))
	}
	return o, nil
}

// logger returns log with what else gets its lines.
func (o *observation) logger(log *slog.Logger) *slog.Logger {
	h := log.Handler()
	if also := o.pipeline.LogHandler(); also != nil {
		h = slog.NewMultiHandler(h, also)
	}
	if o.exporter != nil {
		h = o.exporter.LogHandler(h)
	}
	return slog.New(h)
}

// context returns ctx with the exporters that observe a run.
func (o *observation) context(ctx context.Context) context.Context {
	ctx = o.pipeline.Context(ctx)
	if o.dev != nil {
		ctx = telemetry.WithBodies(ctx)
	}
	return ctx
}

// handler returns next with each request's run observed, below the caller's trace where
// it names one.
func (o *observation) handler(next http.Handler) http.Handler {
	if o.pipeline == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(w, r.WithContext(o.context(telemetry.Extract(r.Context(), r.Header))))
	})
}

// show starts the parts that dev adds.
func (o *observation) show(ctx context.Context, a *app, b *backend) error {
	if o.dev == nil {
		return nil
	}
	e, err := b.engineOf(wasmhost.DefaultTenant)
	if err != nil {
		return err
	}
	o.server, err = reflection.Start(ctx, shown{e, o}, reflection.Config{
		Name: "genkit-wasm", Port: o.dev.port, Root: o.dev.root, Exporter: o.exporter, Logger: o.log, Always: true,
		OnQuit: func() { interrupt(os.Getpid()) },
	})
	if err != nil {
		return err
	}
	built := &sources{app: a, b: b, engines: o.engines, dirs: map[string]bool{}}
	for _, dir := range o.dev.watch {
		built.dirs[dir] = true
	}
	o.reload = startReload(b, o.load, built, o.dev.poll, o.log)
	return a.line("Genkit's tools reach %s", o.server.URL())
}

// shown is an engine whose runs are observed.
type shown struct {
	*engine.Engine
	o *observation
}

func (s shown) Context(ctx context.Context) context.Context {
	return s.o.context(s.Engine.Context(ctx))
}

// interrupt asks this process to end in good order.
func interrupt(pid int) {
	if p, err := os.FindProcess(pid); err == nil {
		_ = p.Signal(os.Interrupt) // where there are no signals, the tools end the process
	}
}

// stop ends the reloader and the server that show has started.
func (o *observation) stop(ctx context.Context) error {
	o.reload.stop()
	ctx, cancel := context.WithTimeout(ctx, cancelled)
	defer cancel()
	return o.server.Close(ctx)
}

// close sends the remaining spans.
func (o *observation) close(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, cancelled)
	defer cancel()
	err := o.pipeline.Close(ctx)
	if o.exporter != nil {
		err = errors.Join(err, o.exporter.Close(ctx))
	}
	if err != nil { // telemetry is no reason to fail
		o.log.Warn("telemetry was not sent to its end", slog.Any("error", err))
	}
	return nil
}

// reloader puts files of --load into service again when they change. It looks at them
// now and then: notices of the file system get lost over network mounts and in
// containers, and editors replace files instead of writing them.
type reloader struct {
	b      *backend
	paths  []string
	built  *sources
	log    *slog.Logger
	seen   map[string]string // by file: what it looked like when it was loaded or tried
	cancel context.CancelFunc
	done   chan struct{}
}

// startReload starts looking; nil when there is nothing to look at.
func startReload(b *backend, paths []string, built *sources, every time.Duration, log *slog.Logger) *reloader {
	if len(paths)+len(built.dirs) == 0 || every <= 0 {
		return nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	r := &reloader{b: b, paths: paths, built: built, log: log, seen: map[string]string{}, cancel: cancel, done: make(chan struct{})}
	for _, file := range r.files() {
		r.seen[file] = look(file)
	}
	for dir := range built.dirs {
		r.seen[dir] = "" // it has not been built yet
	}
	go r.run(ctx, every)
	return r
}

func (r *reloader) stop() {
	if r != nil {
		r.cancel()
		<-r.done
	}
}

func (r *reloader) run(ctx context.Context, every time.Duration) {
	defer close(r.done)
	tick := time.NewTicker(every)
	defer tick.Stop()
	unsettled := map[string]string{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			unsettled = r.round(ctx, unsettled)
		}
	}
}

// round loads the files that changed before the last round and have not changed since:
// what is still being written is left for the next.
func (r *reloader) round(ctx context.Context, before map[string]string) (unsettled map[string]string) {
	unsettled = map[string]string{}
	for _, file := range slices.AppendSeq(r.files(), maps.Keys(r.built.dirs)) {
		now := ""
		if r.built.dirs[file] {
			now = lookAt(file)
		} else {
			now = look(file)
		}
		switch {
		case now == "" || now == r.seen[file]:
		case before[file] != now:
			unsettled[file] = now
		default:
			r.seen[file] = now
			if r.built.dirs[file] {
				r.build(ctx, file)
				continue
			}
			if err := r.b.loadFile(ctx, file); err != nil {
				r.log.Error("not reloaded; what was there before stays", slog.String("file", file), slog.Any("error", err))
				continue
			}
			r.log.Info("reloaded", slog.String("file", file), slog.String("tenant", wasmhost.DefaultTenant))
		}
	}
	return unsettled
}

// build builds a directory of sources and tells how that went, in a line.
func (r *reloader) build(ctx context.Context, dir string) {
	began := time.Now()
	said, err := r.built.build(ctx, dir)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		r.log.Error("not built; what was there before stays", slog.String("dir", dir), slog.Any("error", err))
		return
	}
	r.log.Info("built, and in service", append([]any{slog.String("dir", dir), slog.Duration("took", time.Since(began).Round(time.Millisecond))}, said...)...)
}

// files returns the module files that the paths name at this moment.
func (r *reloader) files() []string {
	var files []string
	for _, path := range r.paths {
		if packdir.IsDirectory(path) && !packdir.IsPackage(path) {
			files = append(files, modulesIn(path)...)
			continue
		}
		files = append(files, path)
	}
	return files
}

// look returns a text that tells a version of a module, its descriptor and its policy from
// another one; "" when there is no module.
func look(file string) string {
	base := baseOf(file)
	var b strings.Builder
	if packdir.IsDirectory(file) { // a package
		p, err := packdir.Pack(file)
		if err != nil {
			return "" // it is being written
		}
		fmt.Fprintf(&b, "%x;", sha256.Sum256(p.Content))
	}
	for i, path := range []string{file, base + ".descriptor.json", base + ".policy.json"} {
		info, err := os.Stat(path)
		if i == 0 && (errors.Is(err, fs.ErrNotExist) || (err == nil && info.Size() == 0)) {
			return ""
		}
		if err == nil {
			fmt.Fprintf(&b, "%d %d;", info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}
