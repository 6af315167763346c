package telemetrytest

import (
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
)

// Server is a telemetry server like that of Genkit's tools: it keeps the traces and
// lines that are posted to it. It is safe for concurrent use.
type Server struct {
	URL string

	mu     sync.Mutex // guards the fields below
	traces map[string]map[string]any
	logs   []map[string]any
}

// NewServer starts a server that ends with the test.
func NewServer(t testing.TB) *Server {
	t.Helper()
	s := &Server{traces: map[string]map[string]any{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /api/traces", s.take(s.addTrace))
	mux.HandleFunc("POST /api/otlp", s.take(s.addLogs))
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	s.URL = srv.URL
	return s
}

func (s *Server) take(keep func(body map[string]any)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		var body map[string]any
		if err != nil || json.Unmarshal(raw, &body) != nil || r.Header.Get("Content-Type") != "application/json" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		keep(body)
		_, _ = io.WriteString(w, "OK")
	}
}

// addTrace merges spans as the tools do it; mu is held.
func (s *Server) addTrace(body map[string]any) {
	id, _ := body["traceId"].(string)
	t := s.traces[id]
	if t == nil {
		t = map[string]any{"spans": map[string]any{}}
		s.traces[id] = t
	}
	all, _ := t["spans"].(map[string]any)
	spans, _ := body["spans"].(map[string]any)
	maps.Copy(all, spans)
	maps.Copy(t, body)
	t["spans"] = all
}

func (s *Server) addLogs(body map[string]any) {
	for _, r := range list(body["resourceLogs"]) {
		for _, scope := range list(r["scopeLogs"]) {
			s.logs = append(s.logs, list(scope["logRecords"])...)
		}
	}
}

func list(v any) []map[string]any {
	all, _ := v.([]any)
	out := make([]map[string]any, 0, len(all))
	for _, one := range all {
		if m, ok := one.(map[string]any); ok {
			out = append(out, m)
		}
	}
	return out
}

// Trace returns the merged trace of an id, nil when there is none.
func (s *Server) Trace(id string) map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.traces[id])
}

// Spans returns the spans of a trace by their display name.
func (s *Server) Spans(id string) map[string]map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[string]map[string]any{}
	spans, _ := s.traces[id]["spans"].(map[string]any)
	for _, one := range spans {
		span, _ := one.(map[string]any)
		name, _ := span["displayName"].(string)
		out[name] = span
	}
	return out
}

// TraceIDs returns the ids of all traces.
func (s *Server) TraceIDs() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make([]string, 0, len(s.traces))
	for id := range s.traces {
		ids = append(ids, id)
	}
	return ids
}

// Logs returns the log records in their order.
func (s *Server) Logs() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]map[string]any{}, s.logs...)
}
