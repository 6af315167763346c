package reflection_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/coder/websocket"

	"github.com/genkit-wasm/genkit-wasm/engine/reflection"
)

// Any posted body is answered with JSON or text, and nothing crashes.
func FuzzRunAction(f *testing.F) {
	for _, seed := range []string{
		`{"key":"/flow/echo","input":"x"}`, `{"key":"/dynamic-action-provider/wasm/default:tool/*"}`, `{"key":"/dynamic-action-provider/:"}`, `{"key":"//"}`,
		`{"key":"/flow/echo","telemetryLabels":{"":""}}`, `{"key":"/flow/context","context":{"auth":[]}}`, `{"context":" "}`, `{"key":"/custom/talk","init":1}`, `[]`, ``,
	} {
		f.Add([]byte(seed), true)
	}
	s, err := reflection.Start(f.Context(), newApp(f), reflection.Config{Port: -1, Root: f.TempDir(), Always: true, Getenv: getenv(nil)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close(context.Background()) })
	handler := s.Handler()
	f.Fuzz(func(t *testing.T, body []byte, stream bool) {
		if strings.Contains(string(body), "wait") { // waits for its end
			return
		}
		url := "http://127.0.0.1/api/runAction"
		if stream {
			url += "?stream=true"
		}
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(string(body))))
		if w.Code == http.StatusNotFound && strings.HasPrefix(w.Body.String(), "action ") {
			return
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(w.Body.String(), "\n"), "\n") {
			if !json.Valid([]byte(line)) {
				t.Fatalf("%q is answered with %q", body, w.Body)
			}
		}
	})
}

// After any frame of the tools, the next request is answered.
func FuzzMessage(f *testing.F) {
	for _, seed := range []string{
		`{"jsonrpc":"2.0","id":"1","method":"listActions"}`, `{"id":{},"method":"x"}`, `{"id":null,"method":"runAction"}`, `{"method":"configure","params":{"telemetryServerUrl":"x"}}`,
		`{"id":"1","result":3}`, `{"id":"9","method":"runAction","params":{"key":"/custom/talk","streamInput":true}}`, `{"method":"endInputStream","params":{"requestId":"9"}}`, `[]`, `nul`,
	} {
		f.Add(seed)
	}
	conns := make(chan *websocket.Conn, 1)
	end := make(chan struct{})
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ws, err := websocket.Accept(w, r, nil); err == nil {
			ws.SetReadLimit(1 << 24)
			conns <- ws
			<-end
			_ = ws.CloseNow()
		}
	}))
	f.Cleanup(func() { close(end); srv.Close() })
	s, err := reflection.Start(f.Context(), newApp(f), reflection.Config{V2: "ws" + strings.TrimPrefix(srv.URL, "http"), Always: true, Getenv: getenv(nil)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = s.Close(context.Background()) })
	ws := <-conns
	f.Fuzz(func(t *testing.T, raw string) {
		if strings.Contains(raw, "the-end") || !utf8.ValidString(raw) { // the protocol itself refuses other text
			return
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for _, line := range []string{raw, `{"jsonrpc":"2.0","id":"the-end","method":"nosuch"}`} {
			if err := ws.Write(ctx, websocket.MessageText, []byte(line)); err != nil {
				t.Fatal(err)
			}
		}
		for {
			_, got, err := ws.Read(ctx)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(got), "the-end") {
				return
			}
		}
	})
}

// A runtime file that somebody else wrote does no harm.
func FuzzStaleRuntimeFile(f *testing.F) {
	f.Add([]byte(`{"reflectionServerUrl":"http://localhost:3100"}`))
	f.Add([]byte(`{"reflectionServerUrl":":"}`))
	f.Add([]byte(`{`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		root := t.TempDir()
		dir := filepath.Join(root, ".genkit", "runtimes")
		if os.MkdirAll(dir, 0o755) != nil || os.WriteFile(filepath.Join(dir, "other.json"), raw, 0o600) != nil {
			t.Skip("no folder")
		}
		s := start(t, newApp(t), reflection.Config{Root: root})
		if s.URL() == "" {
			t.Fatal("not started")
		}
	})
}
