package flowserver_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
)

// sink is a response that keeps nothing.
type sink struct{ h http.Header }

func (s sink) Header() http.Header         { return s.h }
func (s sink) Write(p []byte) (int, error) { return len(p), nil }
func (s sink) WriteHeader(int)             {}
func (s sink) Flush()                      {}

func (s sink) SetReadDeadline(time.Time) error  { return nil }
func (s sink) SetWriteDeadline(time.Time) error { return nil }

// BenchmarkServe measures the cost that the flow server adds to net/http.
func BenchmarkServe(b *testing.B) {
	f, err := flow.NewStreaming("echo", func(_ context.Context, in string, send func(string) error) (string, error) {
		for range 3 {
			if err := send(in); err != nil {
				return "", err
			}
		}
		return in, nil
	})
	require.NoError(b, err)
	srv, err := flowserver.New(flowserver.Config{})
	require.NoError(b, err)
	h := srv.Handler(flowserver.Flow{Action: f})
	body := []byte(`{"data":"hello, flow"}`)
	for _, accept := range []string{"application/json", "text/event-stream"} {
		b.Run(accept, func(b *testing.B) {
			reader := bytes.NewReader(body)
			req := httptest.NewRequest(http.MethodPost, "/", nil)
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", accept)
			req.ContentLength, req.Body = int64(len(body)), io.NopCloser(reader)
			w := sink{http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				reader.Reset(body)
				clear(w.h)
				h.ServeHTTP(w, req)
			}
		})
	}
}
