package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	firstSecret  = "canary-one-0123456789"
	secondSecret = "canary-two-0123456789"
	tenantKey    = "sk-canary-of-the-tenant"
	serverKey    = "sk-canary-of-the-server"
)

// upstream is a server of models and of weather, which notes with which keys it was asked.
type upstream struct {
	*httptest.Server
	mu      sync.Mutex // guards the fields below
	bearers []string
	weather string // the key that it takes
}

func newUpstream(t *testing.T) *upstream {
	t.Helper()
	u := &upstream{weather: firstSecret}
	u.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u.mu.Lock()
		defer u.mu.Unlock()
		bearer := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.URL.Path == "/v1/models":
			w.WriteHeader(http.StatusNotFound)
		case r.URL.Path != "/v1/chat/completions" && bearer != u.weather:
			w.WriteHeader(http.StatusUnauthorized)
		case r.URL.Path != "/v1/chat/completions":
			fmt.Fprintf(w, `{"celsius":21.5,"you":%q}`, bearer)
		case strings.Contains(string(body), "refuse"):
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusUnauthorized)
			fmt.Fprintf(w, `{"error":{"message":"bad key %s"}}`, bearer)
		default:
			u.bearers = append(u.bearers, bearer)
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprint(w, `{"choices":[{"index":0,"message":{"role":"assistant","content":"hello"},"finish_reason":"stop"}]}`)
		}
	}))
	t.Cleanup(u.Close)
	return u
}

// asked returns the keys of the model's requests since it was called last.
func (u *upstream) asked() []string {
	u.mu.Lock()
	defer u.mu.Unlock()
	all := u.bearers
	u.bearers = nil
	return all
}

func (u *upstream) wants(weather string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.weather = weather
}

func (u *upstream) port() int { return u.Listener.Addr().(*net.TCPAddr).Port }

// TestTenantsSecretsAndKeys goes through the life of a tenant's secret and of its own API
// key, and looks for both in everything that the server and the commands have written.
func TestTenantsSecretsAndKeys(t *testing.T) {
	u, other := newUpstream(t), newUpstream(t)
	var spans locked
	collector := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(&spans, r.Body)
		w.Header().Set("Content-Type", "application/x-protobuf")
	}))
	defer collector.Close()
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.URL)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	t.Setenv("OPENAI_API_KEY", serverKey)
	t.Setenv("OPENAI_BASE_URL", u.URL+"/v1")
	data, usage := filepath.Join(t.TempDir(), "data"), filepath.Join(t.TempDir(), "usage.jsonl")
	here := fmt.Sprintf("http://localhost:%d", u.port())
	gone := httptest.NewServer(nil) // so that events wait in their queue on the disk
	nobody := gone.URL
	gone.Close()
	grants := fmt.Sprintf(`{"http":[{"host":"localhost","schemes":["http"],"ports":[%d]}],"secrets":{"WEATHER_KEY":["%s"]},"kv":true,"generate":["*"],"actions":["*"],"clock":true,"files":[{"mount":"docs","path":"/docs"}]}`, u.port(), here)
	policyFile := write(t, "policy.json", `{"grants":`+grants+`}`)
	newKey := func() string {
		got := cli(t, "secret", "key")
		require.Equal(t, exitOK, got.exit)
		return got.out
	}
	first, second := newKey(), newKey()

	var written strings.Builder // by commands
	var url string
	var stop func()
	var log *locked
	on := func(stdin string, args ...string) outcome {
		t.Helper()
		got := cliWith(t, stdin, append(args, "--server", url)...)
		written.WriteString(got.out + got.err)
		return got
	}
	serving := func(key string, more ...string) {
		t.Helper()
		if stop != nil {
			stop()
			written.WriteString(log.String())
		}
		args := []string{"--grants", grants, "--allow-network", "127.0.0.0/8", "--allow-network", "::1/128", "--mount", "docs=" + t.TempDir(), "--log-level", "debug", "--usage", usage, "--usage-sink", `{"url":"` + nobody + `"}`, "--isolation", "in-process"}
		if key != "" {
			args = append(args, "--secrets-key-file", write(t, "secrets.key", key))
		}
		url, _, log, stop = start(t, data, append(args, more...)...)
	}
	cities := 0
	weather := func() outcome { // of a new city each time: the guest remembers the others
		cities++
		return on("", "call", "weather/current", "--tenant", "acme", "--input", fmt.Sprintf(`{"city":"Oslo %d"}`, cities), "--context", fmt.Sprintf(`{"weatherServer":%q}`, here))
	}
	generate := func(tenant, text string) outcome {
		return on("", "generate", text, "--model", "openai/test", "--tenant", tenant)
	}

	serving("", "--tenant", "acme")
	got := on(firstSecret, "secret", "set", "WEATHER_KEY", "--tenant", "acme")
	assert.NotEqual(t, exitOK, got.exit)
	assert.Contains(t, got.err, "without a key that encrypts them (--secrets-key-file)")

	serving(first)
	got = on(firstSecret+"\n", "secret", "set", "WEATHER_KEY", "--tenant", "acme")
	assert.Equal(t, outcome{out: "secret WEATHER_KEY is set for tenant acme\n"}, got)
	for _, file := range []string{weatherFile, capabilitiesFile} {
		got = on("", "upload", file, "--tenant", "acme", "--policy", policyFile)
		require.Equal(t, exitOK, got.exit, got.err)
	}
	got = weather()
	assert.Contains(t, got.out, `"celsius":21.5`, got.err)
	u.wants(secondSecret)
	require.Equal(t, exitOK, on("", "secret", "set", "WEATHER_KEY", "@"+write(t, "v", secondSecret+"\n"), "--tenant", "acme").exit)
	got = weather()
	assert.Contains(t, got.out, `"celsius":21.5`, "the next call uses the new value: %s", got.err)
	assert.Regexp(t, `(?m)^NAME +CHANGED +PROBLEM\nWEATHER_KEY +\d{4}-.* +-$`, on("", "secret", "ls", "--tenant", "acme").out)
	assert.JSONEq(t, `{"secrets":[]}`, on("", "secret", "ls", "-o", "json").out, "another tenant has none")

	got = on(tenantKey, "credential", "set", "openai", "--tenant", "acme")
	assert.Equal(t, outcome{out: "API key for openai is set for tenant acme; it is sent to " + u.URL + "/v1\n"}, got)
	assert.Contains(t, on("", "credential", "ls", "--tenant", "acme").out, u.URL+"/v1")
	assert.Equal(t, "hello\n", generate("acme", "hi").out)
	assert.Equal(t, []string{tenantKey}, u.asked())
	assert.Equal(t, "hello\n", generate("default", "hi").out)
	assert.Equal(t, []string{serverKey}, u.asked())
	guests := on("", "call", "capabilities/generate", "--tenant", "acme", "--input", `{"model":"openai/test","messages":[{"role":"user","content":[{"text":"hi"}]}]}`)
	assert.Contains(t, guests.out, "hello", guests.err)
	assert.Equal(t, []string{tenantKey}, u.asked(), "what a guest causes is asked with its tenant's key")
	got = generate("acme", "refuse")
	assert.Equal(t, exitFailed, got.exit)
	assert.Contains(t, got.err, "[hidden]")

	serving(second)
	assert.Contains(t, log.String(), `"tenant":"acme","kind":"secret","name":"WEATHER_KEY"`)
	assert.Contains(t, log.String(), `"tenant":"acme","kind":"credential","name":"openai"`)
	assert.Contains(t, weather().err+weather().out, "the server's key does not open it")
	got = generate("acme", "hi")
	assert.NotEqual(t, exitOK, got.exit)
	assert.Contains(t, got.err, "the server's key does not open it")
	assert.Empty(t, u.asked(), "the server's key is not taken instead")
	assert.Equal(t, "hello\n", generate("default", "hi").out, "others are served")
	u.asked()

	serving(second + first)
	assert.Contains(t, log.String(), "encrypted anew")
	assert.Contains(t, weather().out, `"celsius":21.5`)
	t.Setenv("OPENAI_BASE_URL", other.URL+"/v1")
	serving(second)
	assert.Contains(t, weather().out, `"celsius":21.5`)
	got = generate("acme", "hi")
	assert.Contains(t, got.err, "was set for "+u.URL+"/v1")
	assert.Empty(t, other.asked(), "the tenant's key goes to no other server")
	t.Setenv("OPENAI_BASE_URL", u.URL+"/v1")
	t.Setenv("OPENAI_API_KEY", "")
	serving(second)
	assert.Equal(t, "hello\n", generate("acme", "hi").out)
	assert.Equal(t, []string{tenantKey}, u.asked())

	require.Equal(t, exitOK, on("", "secret", "set", "OTHER", "@"+write(t, "v", firstSecret), "--tenant", "acme").exit)
	assert.Equal(t, "secret OTHER is removed\n", on("", "secret", "rm", "OTHER", "--tenant", "acme").out)
	assert.Equal(t, exitNotFound, on("", "secret", "rm", "OTHER", "--tenant", "acme").exit)
	// What is on the disk and in a backup while both are kept: answers under an Idempotency-Key and waiting events, too.
	for _, value := range []string{firstSecret, firstSecret} { // the second answer is a replayed one
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, url+"/v1/tenants/acme/secrets/KEPT", strings.NewReader(fmt.Sprintf(`{"value":%q}`, value)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Idempotency-Key", "once")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		answer, err := io.ReadAll(resp.Body)
		require.NoError(t, errors.Join(err, resp.Body.Close()))
		written.Write(answer)
	}
	archive := filepath.Join(t.TempDir(), "backup.tar")
	require.Equal(t, exitOK, on("", "backup", archive).exit)
	queue := 0
	for _, place := range []string{data, archive} {
		queue += writeAll(t, &written, place, "queue-")
	}
	assert.Positive(t, queue, "events wait in a queue on the disk")

	require.Equal(t, exitOK, on("", "tenant", "rm", "acme").exit)
	assert.NoDirExists(t, filepath.Join(data, "secrets", "t-acme"))
	require.Equal(t, exitOK, on("", "tenant", "create", "acme").exit)
	assert.JSONEq(t, `{"credentials":[]}`, on("", "credential", "ls", "--tenant", "acme", "-o", "json").out)
	assert.Equal(t, "hello\n", generate("acme", "hi").out)
	assert.Equal(t, []string{""}, u.asked(), "the next tenant of the name has nothing of it")

	resp, err := http.Get(url + "/metrics")
	require.NoError(t, err)
	metrics, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	written.Write(metrics)
	stop()
	written.WriteString(log.String())
	require.NotEmpty(t, spans.String())
	written.WriteString(spans.String())
	for _, place := range []string{data, usage} {
		writeAll(t, &written, place, "")
	}
	for _, hidden := range []string{firstSecret, secondSecret, tenantKey, serverKey, strings.TrimSpace(first), strings.TrimSpace(second)} {
		at := strings.Index(written.String(), hidden)
		if at >= 0 {
			assert.Fail(t, "a secret was written", "%q", written.String()[max(0, at-200):at+50])
		}
	}
}

// writeAll adds the contents of all files below a place, and returns the bytes of those with a word in their path.
func writeAll(t *testing.T, to io.Writer, place, word string) (n int) {
	t.Helper()
	require.NoError(t, filepath.WalkDir(place, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		if strings.Contains(path, word) {
			n += len(raw)
		}
		_, _ = to.Write(raw) // in memory
		return err
	}))
	return n
}

// A server that is not set up for a provider serves a tenant that has a key of its own.
func TestATenantsKeySetsAProviderUp(t *testing.T) {
	key := write(t, "key", cli(t, "secret", "key").out)
	url := startServer(t, "--secrets-key-file", key, "--tenant", "acme")
	on := func(stdin string, args ...string) outcome { return cliWith(t, stdin, append(args, "--server", url)...) }
	for _, tenant := range []string{"acme", "default"} {
		got := on("", "generate", "hi", "--model", "openai/test", "--tenant", tenant)
		assert.Contains(t, got.err, "credential set openai")
		assert.NotContains(t, on("", "ls", "--actions", "--tenant", tenant).out, "openai/gpt")
	}
	require.Equal(t, exitOK, on(tenantKey, "credential", "set", "openai", "--tenant", "acme").exit)
	assert.Contains(t, on("", "ls", "--actions", "--tenant", "acme").out, "openai/gpt")
	assert.NotContains(t, on("", "ls", "--actions").out, "openai/gpt")
	require.Equal(t, exitOK, on("", "credential", "rm", "openai", "--tenant", "acme").exit)
	assert.NotContains(t, on("", "ls", "--actions", "--tenant", "acme").out, "openai/gpt")
}

func TestAValueIsNotTakenFromTheCommandLine(t *testing.T) {
	for name, c := range map[string]struct {
		stdin string
		args  []string
		says  string
	}{
		"as an argument":     {"", []string{"secret", "set", "A", firstSecret}, "does not belong on a command line"},
		"too many arguments": {"", []string{"secret", "set", "A", "@x", firstSecret}, "accepts between 1 and 2"},
		"of no file":         {"", []string{"secret", "set", "A", "@/no/such/file"}, "no such file"},
		"of nothing":         {"", []string{"secret", "set", "A"}, "8 to 8192 bytes"},
		"of two lines":       {firstSecret + "\n" + firstSecret + "\n", []string{"credential", "set", "openai"}, "one line"},
		"of a long file":     {strings.Repeat("x", 20<<10), []string{"secret", "set", "A"}, "8 to 8192 bytes"},
	} {
		got := cliWith(t, c.stdin, c.args...)
		assert.Equal(t, exitUsage, got.exit, name)
		assert.Contains(t, got.err, c.says, name)
		assert.NotContains(t, got.err, firstSecret, name)
	}
}

func TestTheKeyOfSecretsIsASetting(t *testing.T) {
	text := cli(t, "secret", "key").out
	good := write(t, "good.key", text)
	bad := write(t, "bad.key", strings.Replace(text, "AGE", "AGF", 1))
	assert.Equal(t, "the configuration is in order\n", cli(t, "config", "check", write(t, "c.yaml", "secrets-key-file: "+good+"\n")).out)
	for _, file := range []string{bad, filepath.Join(t.TempDir(), "none")} {
		for _, args := range [][]string{{"config", "check", write(t, "c.yaml", "secrets-key-file: "+file+"\n")}, {"serve", "--data", t.TempDir(), "--secrets-key-file", file}} {
			got := cli(t, args...)
			assert.Equal(t, exitUsage, got.exit)
			assert.Contains(t, got.err, "--secrets-key-file")
			assert.NotContains(t, got.err, text[20:])
		}
	}
	t.Setenv(secretsKeyEnv, text)
	shown := cli(t, "config", "show")
	assert.NotContains(t, shown.out, strings.TrimSpace(text))
	got := cli(t, "serve", "--data", t.TempDir(), "--secrets-key-file", good)
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, "give one")
	url := startServer(t)
	assert.Equal(t, exitOK, cliWith(t, firstSecret, "secret", "set", "A", "--server", url).exit)
}
