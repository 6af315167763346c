package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// A server that brings its modules back is alive and not ready, and then is its API.
func TestAServerThatStartsSaysSo(t *testing.T) {
	f := &front{}
	f.show(starting())
	ask := func(method, path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		f.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, nil))
		return w
	}
	alive := ask("GET", "/healthz")
	assert.Equal(t, http.StatusOK, alive.Code)
	assert.JSONEq(t, `{"status":"ok"}`, alive.Body.String())
	for _, path := range []string{"/readyz", "/v1/tenants/default/modules", "/"} {
		busy := ask("POST", path)
		assert.Equal(t, http.StatusServiceUnavailable, busy.Code, path)
		assert.Equal(t, "1", busy.Header().Get("Retry-After"), path)
		assert.Contains(t, busy.Body.String(), `"status_name":"UNAVAILABLE"`, path)
	}
	srv := httptest.NewServer(f)
	defer srv.Close()
	got := cli(t, "ls", "--server", srv.URL)
	assert.Equal(t, exitBusy, got.exit)
	assert.Equal(t, "error: the server is starting\n       try again in 1 s\n", got.err)
	f.show(answer(http.StatusTeapot, ""))
	assert.Equal(t, http.StatusTeapot, ask("GET", "/healthz").Code)
}

// Requests that end in time are waited for; others are cancelled, and read why.
func TestDraining(t *testing.T) {
	for name, patience := range map[string]time.Duration{"in time": time.Minute, "too late": time.Millisecond} {
		t.Run(name, func(t *testing.T) {
			running, cancel := context.WithCancelCause(t.Context())
			began, release := make(chan struct{}), make(chan struct{})
			srv := &http.Server{
				ReadHeaderTimeout: time.Minute, BaseContext: func(net.Listener) context.Context { return running },
				Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					close(began)
					select {
					case <-release:
					case <-r.Context().Done():
						w.WriteHeader(status.Of(context.Cause(r.Context())).HTTP())
					}
				}),
			}
			l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
			require.NoError(t, err)
			served := make(chan error, 1)
			go func() { served <- srv.Serve(l) }()
			codes := make(chan int, 1)
			go func() {
				code := 0
				if req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+l.Addr().String(), nil); err == nil {
					if resp, err := httpClient().Do(req); err == nil {
						code = resp.StatusCode
						_ = resp.Body.Close()
					}
				}
				codes <- code
			}()
			<-began
			var log bytes.Buffer
			if patience > time.Second {
				close(release)
			}
			require.NoError(t, drain(t.Context(), srv, cancel, patience, slog.New(slog.NewTextHandler(&log, nil))))
			require.ErrorIs(t, <-served, http.ErrServerClosed)
			if patience > time.Second {
				assert.Equal(t, http.StatusOK, <-codes)
				assert.Empty(t, log.String())
			} else {
				assert.Equal(t, http.StatusServiceUnavailable, <-codes)
				assert.Contains(t, log.String(), "requests did not end in time and are cancelled")
			}
		})
	}
}

// A server answers to the names of this machine, to its address, and to those that are given.
func TestNamesByWhichAServerIsReached(t *testing.T) {
	for addr, want := range map[string][]string{
		"127.0.0.1:1": {"localhost", "127.0.0.1", "::1", "x", "127.0.0.1"}, ":1": {"localhost", "127.0.0.1", "::1", "x"},
		"tools.example:1": {"localhost", "127.0.0.1", "::1", "x", "tools.example"}, "[2001:db8::1]:1": {"localhost", "127.0.0.1", "::1", "x", "2001:db8::1"},
	} {
		assert.Equal(t, want, allowedHosts(addr, []string{"x"}), addr)
	}
	assert.Equal(t, "http", (&networkFlags{}).scheme())
}

// The log goes to a file as JSON, and to people as text or as dev writes it.
func TestTheLogHasAForm(t *testing.T) {
	for name, test := range map[string]struct {
		flags serveFlags
		want  string
	}{
		"a file":     {serveFlags{logFormat: "auto", logLevel: "info"}, `^\{"time":"[^"]+","level":"INFO","msg":"x","n":1\}\n$`},
		"JSON":       {serveFlags{logFormat: "json", logLevel: "info"}, `^\{.*"msg":"x","n":1\}\n$`},
		"text":       {serveFlags{logFormat: "text", logLevel: "INFO"}, `^time=\S+ level=INFO msg=x n=1\n$`},
		"dev":        {serveFlags{logFormat: "auto", logLevel: "debug", devMode: &devMode{}}, `^\d\d:\d\d:\d\d\.\d{3} INFO  x n=1\n$`},
		"dev's JSON": {serveFlags{logFormat: "json", logLevel: "info", devMode: &devMode{}}, `^\{.*"msg":"x","n":1\}\n$`},
		"too low":    {serveFlags{logFormat: "text", logLevel: "warn"}, `^$`},
	} {
		var errs bytes.Buffer
		log, err := (&app{err: &errs}).logger(&test.flags)
		require.NoError(t, err, name)
		log.Info("x", slog.Int("n", 1))
		assert.Regexp(t, test.want, errs.String(), name)
	}
}

// What --load names are files, folders of modules and scripts, and packages.
func TestWhatAFolderHoldsIsFound(t *testing.T) {
	dir := t.TempDir()
	fill(t, dir, map[string]string{
		"b.wasm": "", "a.ts": "", "c.mjs": "", "d.js": "", "e.mts": "", "types.d.ts": "", "types.d.mts": "", "README.md": "", "sub/f.wasm": "",
		"pack/package.json": "{}", "node_modules/package.json": "{}", ".hidden/package.json": "{}", "plain/x.json": "{}",
		"b.descriptor.json": "{}", "a.policy.json": "{}",
	})
	var found []string
	for _, file := range modulesIn(dir) {
		name, err := filepath.Rel(dir, file)
		require.NoError(t, err)
		found = append(found, filepath.ToSlash(name))
	}
	assert.Equal(t, []string{"a.ts", "b.wasm", "c.mjs", "d.js", "e.mts", "pack"}, found)
	for file, base := range map[string]string{"b.wasm": "b", "a.ts": "a", "pack": "pack", "c.mjs": "c", "other.bin": "other.bin"} {
		assert.Equal(t, filepath.Join(dir, base), baseOf(filepath.Join(dir, file)))
	}
	assert.NotEmpty(t, existing(filepath.Join(dir, "b.descriptor.json")))
	assert.Empty(t, existing(filepath.Join(dir, "b.policy.json")))

	r := &reloader{paths: []string{dir, filepath.Join(dir, "pack"), "one.wasm"}}
	assert.Equal(t, append(modulesIn(dir), filepath.Join(dir, "pack"), "one.wasm"), r.files())
	assert.Nil(t, startReload(nil, nil, &sources{}, time.Second, nil))
	assert.Nil(t, startReload(nil, []string{"x"}, &sources{}, 0, nil))
	(*reloader)(nil).stop()
}

// A file is another version when it, its descriptor or its policy changes, and none while it is empty.
func TestAChangeOfAFileIsSeen(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a.wasm")
	assert.Empty(t, look(file))
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	assert.Empty(t, look(file), "it is being written")
	seen := map[string]bool{}
	for _, change := range []string{"a.wasm", "a.descriptor.json", "a.policy.json", "a.policy.json"} {
		old, _ := os.ReadFile(filepath.Join(dir, change))
		require.NoError(t, os.WriteFile(filepath.Join(dir, change), append(old, 'x'), 0o600))
		now := look(file)
		assert.False(t, seen[now], change)
		seen[now] = true
		assert.Equal(t, now, look(file))
	}
}

// Isolation is what the flags say, and a choice that does not work here is told.
func TestIsolationIsChosen(t *testing.T) {
	for name, test := range map[string]struct {
		flags  resourceFlags
		mode   wasmhost.Isolation
		groups map[string]string
		says   string
	}{
		"nothing":                   {resourceFlags{}, "", map[string]string{}, ""},
		"this process":              {resourceFlags{isolation: "in-process"}, wasmhost.InProcess, map[string]string{}, ""},
		"an unknown mode":           {resourceFlags{isolation: "vm"}, "", nil, `--isolation is "vm", want in-process or process`},
		"groups in this process":    {resourceFlags{isolation: "in-process", groups: []string{"g=a"}}, "", nil, "--isolation-group is for --isolation process"},
		"no way to start itself":    {resourceFlags{isolation: "process"}, "", nil, "--isolation process does not work here"},
		"groups, and no way either": {resourceFlags{groups: []string{"g=a"}}, "", nil, "--isolation process does not work here"},
	} {
		mode, groups, err := test.flags.isolate(t.Context(), nil)
		if test.says != "" {
			assert.ErrorContains(t, err, test.says, name)
			continue
		}
		require.NoError(t, err, name)
		assert.Equal(t, test.mode, mode, name)
		assert.Equal(t, test.groups, groups, name)
	}
	a, log := &app{}, slog.New(slog.DiscardHandler)
	for says, f := range map[string]*resourceFlags{
		`--tenant-quota: there is no tenant "acme"; name it with --tenant acme`: {tenantQuotas: []string{"acme={}"}},
		"--engine":  {engineFlags: engineFlags{engines: []string{"python=x"}}},
		"--quota: ": {quota: "{"},
	} {
		_, _, err := a.hostConfig(t.Context(), f, nil, false, log)
		assert.ErrorContains(t, err, says)
	}
	config, closeUsage, err := a.hostConfig(t.Context(), &resourceFlags{quota: `{"queue":2}`, tenantQuotas: []string{`default={"queue":3}`, `acme={"queue":4}`}}, []string{"acme"}, true, log)
	require.NoError(t, err)
	require.NoError(t, closeUsage())
	assert.Equal(t, []int{2, 3, 4}, []int{int(config.Quota.Queue), int(config.Tenants["default"].Quota.Queue), int(config.Tenants["acme"].Quota.Queue)})
	assert.True(t, config.ReplaceVersions)
	assert.Negative(t, config.IdleTimeout, "0 is never")
}

// Where nobody is asked who calls, there is nothing to open, to protect or to close.
func TestAServerWithoutKeysHasNoGuards(t *testing.T) {
	g, err := (&app{}).openGuards(t.Context(), &serveFlags{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Nil(t, g)
	assert.Nil(t, g.all())
	assert.Nil(t, g.authenticator())
	require.NoError(t, errors.Join(g.close(), (&app{out: io.Discard}).firstKey(t.Context(), g, nil, slog.New(slog.DiscardHandler)), endAudit(nil)))
}
