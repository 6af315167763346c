package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/telemetry/telemetrytest"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// developing is a running genkit-wasm dev.
type developing struct {
	api, reflection string
	log             *locked
}

func startDev(t *testing.T, args ...string) developing {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var out, errs locked
	done := make(chan int, 1)
	data, project := t.TempDir(), t.TempDir() // made before the server is: they are removed after it has ended
	go func() {
		done <- execute(ctx, append([]string{
			"dev", "--addr", "127.0.0.1:0", "--data", data, "--reflection-port", "-1", "--project", project, "--reload-every", "5ms",
		}, args...), strings.NewReader(""), &out, &errs)
	}()
	t.Cleanup(func() {
		cancel()
		assert.Equal(t, exitOK, <-done, errs.String())
	})
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "listening on ") }, time.Minute, 5*time.Millisecond, "%v", &errs)
	d := developing{log: &errs}
	for line := range strings.Lines(out.String()) {
		if url, ok := strings.CutPrefix(line, "Genkit's tools reach "); ok {
			d.reflection = strings.TrimSpace(url)
		}
		if url, ok := strings.CutPrefix(line, "listening on "); ok {
			d.api = strings.TrimSpace(url)
		}
	}
	return d
}

func (d developing) post(t *testing.T, url, body string, header ...string) (string, http.Header) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Content-Type", "application/json")
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return string(raw), resp.Header
}

func TestDevShowsAWasmToolAndItsTrace(t *testing.T) {
	srv := telemetrytest.NewServer(t)
	t.Setenv("GENKIT_TELEMETRY_SERVER", srv.URL)
	d := startDev(t, "--load", conformanceFile)
	got, head := d.post(t, d.reflection+"/api/runAction", `{"key":"/tool/conformance/log","input":{}}`)
	assert.Contains(t, got, `"lines":5`)
	id := head.Get("X-Genkit-Trace-Id")
	span := srv.Spans(id)["conformance/log"]
	require.NotNil(t, span)
	attrs, _ := span["attributes"].(map[string]any)
	assert.Greater(t, attrs["wasm.fuel.consumed"], 0.0)
	assert.Greater(t, attrs["wasm.memory.peak_bytes"], 0.0)
	assert.Equal(t, `{"lines":5}`, attrs["genkit:output"])
	events, _ := span["timeEvents"].(map[string]any)["timeEvent"].([]any)
	assert.Len(t, events, 5, "the guest's lines are on the tool's span")
	var lines []string
	for _, record := range srv.Logs() {
		if record["traceId"] == id {
			text, _ := record["severityText"].(string)
			lines = append(lines, text)
		}
	}
	assert.Equal(t, []string{"DEBUG", "INFO", "WARN", "ERROR"}, lines, "and in the Dev UI's log, from debug on")
	assert.Contains(t, d.log.String(), "conformance/log │ a warn line")

	// Runs over the API are traced too, below the caller's trace.
	const caller = "0af7651916cd43dd8448eb211c80319c"
	got, _ = d.post(t, d.api+"/v1/tenants/default/tools/conformance/log", `{"input":{}}`, "traceparent", "00-"+caller+"-b7ad6b7169203331-01")
	assert.Contains(t, got, `"lines":5`)
	require.Eventually(t, func() bool { return len(srv.Spans(caller)) == 1 }, time.Minute, 5*time.Millisecond)
	assert.Equal(t, "b7ad6b7169203331", srv.Spans(caller)["conformance/log"]["parentSpanId"])
}

func TestDevReloadsAFileThatChanges(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "kit.wasm")
	put := func(from string) {
		raw, err := os.ReadFile(from)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(file+".new", raw, 0o600))
		require.NoError(t, os.Rename(file+".new", file))
	}
	put(calcFile)
	d := startDev(t, "--load", dir)
	actions := func() string {
		resp, err := http.Get(d.reflection + "/api/actions")
		require.NoError(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return string(raw)
	}
	require.Contains(t, actions(), `"/tool/calc/add"`)
	require.NoError(t, os.WriteFile(file, []byte("no module"), 0o600))
	require.Eventually(t, func() bool { return strings.Contains(d.log.String(), "not reloaded") }, time.Minute, 5*time.Millisecond)
	assert.Contains(t, actions(), `"/tool/calc/add"`, "what was there before stays")
	put(conformanceFile)
	require.Eventually(t, func() bool { return strings.Contains(actions(), `"/tool/conformance/log"`) }, time.Minute, 20*time.Millisecond)
	assert.Contains(t, d.log.String(), "reloaded")
}

func TestServeWithoutTelemetryObservesNothing(t *testing.T) {
	o, err := observe(t.Context(), &serveFlags{}, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	assert.Nil(t, o.pipeline)
	assert.Equal(t, t.Context(), o.context(t.Context()))
	assert.NoError(t, errors.Join(o.stop(t.Context()), o.close(t.Context())))
}

func TestServeTracesByOTLP(t *testing.T) {
	got := make(chan string, 16)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		raw, _ := io.ReadAll(r.Body)
		got <- r.URL.Path + string(raw)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer srv.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", srv.URL)
	t.Setenv("OTEL_METRICS_EXPORTER", "none")
	t.Setenv("OTEL_LOGS_EXPORTER", "none")
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	url := startServer(t, "--load", calcFile)
	body, _ := developing{}.post(t, url+"/v1/tenants/default/tools/calc/add", `{"input":{"a":40,"b":2}}`)
	assert.Contains(t, body, "42")
	posted := <-got
	assert.Contains(t, posted, "/v1/traces")
	assert.Contains(t, posted, "calc/add")
	assert.NotContains(t, posted, `{"sum":42}`, "bodies are for development")
}

func TestServeRefusesATelemetryThatItDoesNotSpeak(t *testing.T) {
	t.Setenv("OTEL_TRACES_EXPORTER", "zipkin")
	got := cli(t, "serve", "--addr", "127.0.0.1:0", "--data", t.TempDir())
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, "OTEL_TRACES_EXPORTER")
}

func TestDurationsAreWrittenForPeople(t *testing.T) {
	for format, want := range map[string]string{"json": `"took":"1.5ms"`, "text": "took=1.5ms"} {
		var errs bytes.Buffer
		log, err := (&app{err: &errs}).logger(&serveFlags{logFormat: format, logLevel: "info"})
		require.NoError(t, err)
		log.Info("x", slog.Duration("took", 1500*time.Microsecond))
		assert.Contains(t, errs.String(), want)
	}
}

// A directory of sources is built when it changes, without a call that fails meanwhile, and its cases run.
func TestDevBuildsADirectoryThatChanges(t *testing.T) {
	dir := t.TempDir()
	put := func(name, text string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name+".new~"), []byte(text), 0o600))
		require.NoError(t, os.Rename(filepath.Join(dir, name+".new~"), filepath.Join(dir, name)))
	}
	source := func(answer string) string {
		return `__attribute__((import_module("genkit_v1"), import_name("output"))) void output(const char *, int);
__attribute__((export_name("say"))) int say(void) { output("` + answer + `", 1); return 0; }
__asm__(".section .custom_section.genkit.module,\"\",@\n\t.ascii \"{\\\"abi\\\":\\\"genkit/1\\\",\\\"name\\\":\\\"sayer\\\",\\\"tools\\\":[{\\\"name\\\":\\\"say\\\"}]}\"\n\t.text\n");
`
	}
	if _, err := exec.LookPath("wasm-ld"); err != nil {
		peer.Missing(t, "wasm-ld is not installed")
	}
	put("tool.c", source("1"))
	put("cases.yaml", "cases: [{name: says one, want: 1}]")
	d := startDev(t, "--watch", dir)
	said := func(text string) {
		t.Helper()
		require.Eventually(t, func() bool { return strings.Contains(d.log.String(), text) }, time.Minute, 5*time.Millisecond, "%v", d.log)
	}
	said("1 passed, 0 failed")
	call := func() string {
		got, _ := d.post(t, d.api+"/v1/tenants/default/tools/sayer/say", `{}`)
		return got
	}
	require.Contains(t, call(), `"result":1`)
	put("tool.c", "no C")
	said("not built; what was there before stays")
	require.Contains(t, call(), `"result":1`)
	put("tool.c", source("2"))
	require.Eventually(t, func() bool {
		got := call()
		require.Regexp(t, `"result":[12]`, got, "no call is dropped")
		return strings.Contains(got, `"result":2`)
	}, time.Minute, 5*time.Millisecond)
	said("0 passed, 1 failed")
	said("says one")
}

func TestWhatABuildLeavesIsNotLookedAt(t *testing.T) {
	dir := t.TempDir()
	put := func(name string) {
		require.NoError(t, os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(name), 0o600))
	}
	put("main.go")
	before := lookAt(dir)
	require.NotEmpty(t, before)
	for _, name := range []string{"x.wasm", ".git/x", "target/x", "node_modules/x", ".x"} {
		put(name)
	}
	assert.Equal(t, before, lookAt(dir))
	put("sub/x.go")
	assert.NotEqual(t, before, lookAt(dir))
	assert.Empty(t, lookAt(filepath.Join(dir, "none")))
}
