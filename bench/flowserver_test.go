package bench_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
)

// BenchmarkFlowServer is a call of a flow over loopback, with a client of net/http that
// checks each answer; beside it, the same answer from a handler that does nothing, which
// is what net/http and the client cost. test/oracle/flowbench measures peers.
func BenchmarkFlowServer(b *testing.B) {
	const payload = `"hello, flow"`
	f, err := flow.NewStreaming("echo", func(_ context.Context, in string, send func(string) error) (string, error) {
		for range 3 {
			if err := send(in); err != nil {
				return "", err
			}
		}
		return in, nil
	})
	require.NoError(b, err)
	m := durable.NewMemory(durable.MemoryConfig{MaxStreams: 1000})
	defer m.Close()
	unary := `{"result":` + payload + "}\n"
	stream := strings.Repeat(`data: {"message":`+payload+"}\n\n", 3) + `data: {"result":` + payload + "}\n\n"
	idle := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, unary)
	})
	for _, test := range []struct {
		name, accept, want string
		streams            durable.Manager
		handler            http.Handler
	}{
		{"unary", "application/json", unary, nil, nil},
		{"nothing", "application/json", unary, nil, idle},
		{"sse", "text/event-stream", stream, nil, nil},
		{"sse_kept", "text/event-stream", stream, m, nil},
	} {
		srv, err := flowserver.New(flowserver.Config{Streams: test.streams})
		require.NoError(b, err)
		h := test.handler
		if h == nil {
			h = srv.Handler(flowserver.Flow{Action: f})
		}
		for _, c := range []int{1, 64, 512} {
			b.Run(fmt.Sprintf("answer=%s/c=%d", test.name, c), func(b *testing.B) {
				ts := httptest.NewServer(h)
				defer ts.Close()
				client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: c}}
				defer client.CloseIdleConnections()
				work := make(chan struct{})
				failed := make(chan error, c)
				for range c {
					go func() { failed <- flowClient(client, ts.URL, test.accept, test.want, work) }()
				}
				b.ReportAllocs()
				for b.Loop() {
					work <- struct{}{}
				}
				close(work)
				for range c {
					require.NoError(b, <-failed)
				}
			})
		}
		require.NoError(b, srv.Close(b.Context()))
	}
}

// flowClient makes a call for each value of work and checks what comes back.
func flowClient(client *http.Client, url, accept, want string, work <-chan struct{}) (err error) {
	for range work {
		if err != nil {
			continue // the work is taken all the same, so that its giver does not wait
		}
		err = func() error {
			req, err := http.NewRequest(http.MethodPost, url, strings.NewReader(`{"data":"hello, flow"}`))
			if err != nil {
				return err
			}
			req.Header.Set("Content-Type", "application/json")
			req.Header.Set("Accept", accept)
			resp, err := client.Do(req)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			var body bytes.Buffer
			if _, err := body.ReadFrom(resp.Body); err != nil {
				return err
			}
			if body.String() != want {
				return fmt.Errorf("got %q, want %q", body.String(), want)
			}
			return nil
		}()
	}
	return err
}
