// Package client_test drives flow servers with Genkit's own JS client.
package client_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/flow"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/contextprovider"
	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world holds the flows that client.mjs calls, and what it asks of them.
type world struct {
	*registry.Registry
	running, cancelled atomic.Int64
	step               chan string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{Registry: registry.New(nil), step: make(chan string)}
	type count struct {
		Count int `json:"count"`
	}
	streamy, err := flow.NewStreaming("streamy", func(_ context.Context, n int, send func(count) error) (string, error) {
		for i := range n {
			if err := send(count{i}); err != nil {
				return "", err
			}
		}
		return fmt.Sprintf("done %d, streamed: %d times", n, n), nil
	})
	require.NoError(t, err)
	require.NoError(t, w.Register(streamy))
	for name, fn := range map[string]action.Func{
		"echo": func(_ context.Context, in json.RawMessage, _ action.Emit) (json.RawMessage, error) { return in, nil },
		"twice": func(_ context.Context, in json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			return in, emit(in)
		},
		"who": func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			return action.Context(ctx), nil
		},
		"refuses": func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return nil, status.Publicf(status.PermissionDenied, "not you").WithDetails(map[string]int{"n": 1})
		},
		"private": func(context.Context, json.RawMessage, action.Emit) (json.RawMessage, error) {
			return nil, errors.New("the secret is 42")
		},
		"breaks": func(_ context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
			return nil, errors.Join(emit(json.RawMessage(`1`)), emit(json.RawMessage(`2`)), status.Publicf(status.Aborted, "halfway"))
		},
		"waits": func(ctx context.Context, _ json.RawMessage, _ action.Emit) (json.RawMessage, error) {
			w.running.Add(1)
			<-ctx.Done()
			w.running.Add(-1)
			w.cancelled.Add(1)
			return nil, ctx.Err()
		},
		"steps": w.steps,
	} {
		a, err := action.New(action.Desc{Kind: action.Flow, Name: name}, fn)
		require.NoError(t, err)
		require.NoError(t, w.Register(a))
	}
	return w
}

func (w *world) steps(ctx context.Context, _ json.RawMessage, emit action.Emit) (json.RawMessage, error) {
	for {
		select {
		case value := <-w.step:
			switch value {
			case "end":
				return json.RawMessage(`"over"`), nil
			case "fail":
				return nil, status.Publicf(status.Aborted, "as asked")
			}
			if err := emit(json.RawMessage(value)); err != nil {
				return nil, err
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// control answers the script.
func (w *world) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/running", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, w.running.Load()) })
	mux.HandleFunc("/cancelled", func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, w.cancelled.Load()) })
	mux.HandleFunc("/step", func(_ http.ResponseWriter, r *http.Request) {
		select {
		case w.step <- r.URL.Query().Get("value"):
		case <-r.Context().Done():
		}
	})
	return mux
}

// packages returns the folder that holds Genkit's packages, or skips.
func packages(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("GENKIT_FACES")
	if dir == "" {
		dir = ".."
	}
	dir, err := filepath.Abs(dir)
	require.NoError(t, err)
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "genkit")); err != nil {
		peer.Missing(t, "Genkit's JS packages are not installed: run npm ci in test/faces, or point GENKIT_FACES to a folder with node_modules")
	}
	if _, err := exec.LookPath("node"); err != nil {
		peer.Missing(t, "node is not installed")
	}
	return dir
}

// drive runs the script against the bases plain and kept.
func drive(t *testing.T, w *world, plain, kept string) {
	t.Helper()
	dir := packages(t)
	control := httptest.NewServer(w.control())
	defer control.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", "client.mjs", plain, kept, control.URL)
	cmd.Env = append(os.Environ(), "GENKIT_FACES="+dir)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	checks := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var check struct {
			Name, Error string
			OK          bool
		}
		require.NoError(t, json.Unmarshal(lines.Bytes(), &check), "%s", lines.Text())
		checks++
		t.Run(check.Name, func(t *testing.T) { assert.True(t, check.OK, check.Error) })
	}
	require.NoError(t, cmd.Wait())
	assert.Equal(t, 45, checks, "checks")
}

func flows(t *testing.T, streams durable.Manager) *flowserver.Server {
	t.Helper()
	srv, err := flowserver.New(flowserver.Config{Streams: streams, Context: []contextprovider.Provider{contextprovider.APIKey("s3cret")}})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, srv.Close(context.Background())) })
	return srv
}

func TestTheJSClientOnHTTP(t *testing.T) {
	packages(t)
	w, m := newWorld(t), durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	mux := http.NewServeMux()
	mux.Handle("/plain/", flows(t, nil).Registry("/plain/", w.Registry))
	mux.Handle("/kept/", flows(t, m).Registry("/kept/", w.Registry))
	srv := httptest.NewServer(mux)
	defer srv.Close()
	drive(t, w, srv.URL+"/plain", srv.URL+"/kept")
}

func TestTheJSClientOnTheServer(t *testing.T) {
	packages(t)
	w, m := newWorld(t), durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	host, err := wasmhost.New(t.Context(), wasmhost.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, host.Close(context.Background())) })
	var bases []string
	for _, streams := range []durable.Manager{nil, m} {
		api, err := server.New(server.Config{
			Host: host, Registry: func(string) (*registry.Registry, error) { return w.Registry, nil },
			FlowStreams: streams, FlowContext: []contextprovider.Provider{contextprovider.APIKey("s3cret")},
		})
		require.NoError(t, err)
		srv := httptest.NewServer(api.Handler())
		t.Cleanup(func() {
			srv.Close()
			assert.NoError(t, api.Close(context.Background()))
		})
		bases = append(bases, srv.URL+"/v1/tenants/default/flows")
	}
	drive(t, w, bases[0], bases[1])
}
