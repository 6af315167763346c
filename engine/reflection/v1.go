package reflection

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/closing"
)

// Ports that are tried when none is given.
const (
	firstPort = 3100
	lastPort  = 3199
)

// startV1 serves HTTP and tells the tools so.
func (s *Server) startV1(ctx context.Context) error {
	l, err := s.listen(ctx)
	if err != nil {
		return err
	}
	addr, ok := l.Addr().(*net.TCPAddr)
	if !ok {
		return errors.Join(status.Errorf(status.Internal, "listening on %v, which is no TCP port", l.Addr()), l.Close())
	}
	s.url = "http://" + l.Addr().String()
	s.id = s.runtimeID(addr.Port)
	base, closes := context.WithCancelCause(context.WithoutCancel(ctx)) // of requests, whose bodies may still be arriving
	srv := &http.Server{
		Handler: closing.Bodies(s.Handler()), BaseContext: func(net.Listener) context.Context { return base }, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(l) }()
	file, err := s.announce(ctx)
	if err != nil { // the server still works for tools that know its port
		s.log.Warn("genkit's tools won't find this runtime", slog.Any("error", err))
	}
	s.stop = func(ctx context.Context) error {
		file.remove()
		closes(status.Publicf(status.Unavailable, "the reflection server is shutting down").WithRetryAfter(time.Second))
		err := shutDown(ctx, srv)
		if serr := <-served; !errors.Is(serr, http.ErrServerClosed) {
			err = errors.Join(err, serr)
		}
		return err
	}
	s.log.Info("reflection server listening", slog.String("url", s.url), slog.String("runtime", s.id))
	return nil
}

// goodbye is how long requests may take to hear that they are cancelled.
const goodbye = time.Second

func shutDown(ctx context.Context, srv *http.Server) error {
	ctx, cancel := context.WithTimeout(ctx, goodbye)
	defer cancel()
	if srv.Shutdown(ctx) != nil {
		return srv.Close()
	}
	return nil
}

func (s *Server) listen(ctx context.Context) (net.Listener, error) {
	first, last, err := s.ports()
	if err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	for port := first; port <= last; port++ {
		l, lerr := lc.Listen(ctx, "tcp4", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
		if lerr == nil {
			return l, nil
		}
		err = lerr
	}
	if first != last { // all of the usual ones are taken
		return lc.Listen(ctx, "tcp4", "127.0.0.1:0")
	}
	return nil, status.Publicf(status.Unavailable, "reflection port: %w", err)
}

// ports returns the range of ports to try; 0 is any.
func (s *Server) ports() (first, last int, err error) {
	switch p := s.config.Port; {
	case p == -1:
		return 0, 0, nil
	case p > 0 && p < 1<<16:
		return p, p, nil
	case p != 0:
		return 0, 0, invalid("reflection port %d: want one between 1 and 65535", p)
	}
	if text := s.config.Getenv(envPort); text != "" {
		p, err := strconv.Atoi(text)
		if err != nil || p < 1 || p >= 1<<16 {
			return 0, 0, invalid("%s is %q, want a port between 1 and 65535", envPort, text)
		}
		return p, p, nil
	}
	return firstPort, lastPort, nil
}

// route is one endpoint of version 1.
type route struct {
	method, path string
	serve        http.HandlerFunc
}

func (s *Server) routes() []route {
	return []route{
		{http.MethodGet, "/api/__health", s.health},
		{http.MethodGet, "/api/__quitquitquit", s.quit},
		{http.MethodGet, "/api/actions", s.listActions},
		{http.MethodGet, "/api/values", s.listValues},
		{http.MethodGet, "/api/envs", s.envs},
		{http.MethodPost, "/api/runAction", s.runAction},
		{http.MethodPost, "/api/cancelAction", s.cancelAction},
		{http.MethodPost, "/api/notify", s.notify},
	}
}

// Handler returns version 1 of the API. Requests that a page of another site could have
// sent are refused with 403.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		mux.HandleFunc(r.method+" "+r.path, r.serve)
	}
	return s.guard(mux)
}

func (s *Server) health(w http.ResponseWriter, r *http.Request) {
	if id := r.URL.Query().Get("id"); id != "" && id != s.id {
		plain(w, http.StatusServiceUnavailable, "Invalid runtime ID")
		return
	}
	plain(w, http.StatusOK, "OK")
}

func (s *Server) quit(w http.ResponseWriter, _ *http.Request) {
	plain(w, http.StatusOK, "OK")
	if s.config.OnQuit != nil {
		s.config.OnQuit()
		return
	}
	// Close waits for this request, too. A Close of the owner waits for this one.
	go func() { _ = s.Close(context.Background()) }() //nolint:forbidigo // it outlives the request that asked for it
}

func (s *Server) envs(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, []string{"dev"})
}

func (s *Server) listActions(w http.ResponseWriter, r *http.Request) {
	all, err := s.describe(r.Context())
	if err != nil {
		s.fail(w, err)
		return
	}
	writeJSON(w, http.StatusOK, all)
}

func (s *Server) listValues(w http.ResponseWriter, r *http.Request) {
	kind := r.URL.Query().Get("type")
	if kind == "" {
		plain(w, http.StatusBadRequest, `Query parameter "type" is required.`)
		return
	}
	all, err := values(s.app.Registry(), kind)
	switch {
	case errors.Is(err, status.ErrInvalidArgument):
		plain(w, http.StatusBadRequest, status.Convert(err).Message)
	case err != nil:
		s.fail(w, err)
	default:
		writeJSON(w, http.StatusOK, all)
	}
}

func (s *Server) cancelAction(w http.ResponseWriter, r *http.Request) {
	var q struct {
		TraceID string `json:"traceId"`
	}
	if !s.read(w, r, &q) {
		return
	}
	switch {
	case q.TraceID == "":
		writeJSON(w, http.StatusBadRequest, map[string]string{"error": "traceId is required"})
	case s.runs.cancel(q.TraceID):
		writeJSON(w, http.StatusOK, map[string]string{"message": "Action cancelled"})
	default:
		writeJSON(w, http.StatusNotFound, map[string]string{"message": "Action not found or already completed"})
	}
}

func (s *Server) notify(w http.ResponseWriter, r *http.Request) {
	var q struct {
		TelemetryServerURL       string `json:"telemetryServerUrl"`
		ReflectionAPISpecVersion int    `json:"reflectionApiSpecVersion"`
	}
	if !s.read(w, r, &q) {
		return
	}
	s.setTelemetry(q.TelemetryServerURL)
	s.noteSpecVersion(q.ReflectionAPISpecVersion)
	plain(w, http.StatusOK, "OK")
}

func (s *Server) runAction(w http.ResponseWriter, r *http.Request) {
	var q request
	if !s.read(w, r, &q) {
		return
	}
	if err := q.check(); err != nil {
		s.badRequest(w, err)
		return
	}
	if err := s.runs.enter(); err != nil {
		s.fail(w, err)
		return
	}
	defer s.runs.leave()
	a, err := resolve(r.Context(), s.app.Registry(), q.Key)
	if errors.Is(err, status.ErrNotFound) {
		plain(w, http.StatusNotFound, "action "+q.Key+" not found")
		return
	}
	if err != nil {
		s.fail(w, err)
		return
	}
	stream := &stream{w: w, chunks: r.URL.Query().Get("stream") == "true"}
	var emit action.Emit
	if stream.chunks {
		emit = stream.emit
	}
	stream.end(answerOf(s.runs.run(r.Context(), a, &q, nil, stream.start, emit)))
}

// stream writes the answer of a run: headers as soon as it has begun, then its chunks,
// a line each, and at the end its result, without a newline.
type stream struct {
	chunks bool

	mu      sync.Mutex // guards the fields below
	w       http.ResponseWriter
	started bool
	ended   bool
}

func (s *stream) start(traceID, spanID string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h := s.w.Header()
	h.Set("X-Genkit-Trace-Id", traceID)
	h.Set("X-Genkit-Span-Id", spanID)
	s.head()
	_ = http.NewResponseController(s.w).Flush() // a reader who has gone is noticed by the writes
}

// head writes the status line; mu is held.
func (s *stream) head() {
	if s.started {
		return
	}
	s.started = true
	contentType := "application/json"
	if s.chunks {
		contentType = "text/plain"
	}
	s.w.Header().Set("Content-Type", contentType)
	s.w.WriteHeader(http.StatusOK)
}

// emit writes a chunk. It fails when the reader has gone, or the run has ended.
func (s *stream) emit(chunk json.RawMessage) error {
	line := append(compact(chunk), '\n')
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return status.Errorf(status.FailedPrecondition, "the run has ended")
	}
	s.head()
	if _, err := s.w.Write(line); err != nil {
		return status.Errorf(status.Cancelled, "write a chunk: %w", err)
	}
	if err := http.NewResponseController(s.w).Flush(); err != nil {
		return status.Errorf(status.Cancelled, "write a chunk: %w", err)
	}
	return nil
}

func (s *stream) end(a answer) {
	body := encode(a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	s.head()
	_, _ = s.w.Write(body) // the reader may have gone
}

// read decodes a request's body; it answers 400 or 413 itself where that fails.
func (s *Server) read(w http.ResponseWriter, r *http.Request, v any) bool {
	raw, err := io.ReadAll(r.Body)
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		writeJSON(w, http.StatusRequestEntityTooLarge, answerOf(outcome{err: status.Publicf(status.ResourceExhausted, "the request is longer than %d bytes", tooLarge.Limit)}))
		return false
	}
	if why, ok := errors.AsType[*status.Error](err); ok && why.Code == status.Unavailable { // the server closes
		w.Header().Set("Retry-After", "1")
		writeJSON(w, http.StatusServiceUnavailable, answerOf(outcome{err: why}))
		return false
	}
	if err != nil {
		s.badRequest(w, status.Errorf(status.InvalidArgument, "read the request: %w", err))
		return false
	}
	if len(raw) == 0 {
		raw = []byte("{}")
	}
	if err := json.Unmarshal(raw, v); err != nil {
		s.badRequest(w, invalid("request: %s", unreadable(err)))
		return false
	}
	return true
}

func (s *Server) badRequest(w http.ResponseWriter, err error) {
	writeJSON(w, http.StatusBadRequest, answerOf(outcome{err: err}))
}

// fail answers as Genkit does it: the tools read the body, not the status.
func (s *Server) fail(w http.ResponseWriter, err error) {
	writeJSON(w, http.StatusOK, answerOf(outcome{err: err}))
}

func plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = fmt.Fprint(w, text)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(encode(v))
}
