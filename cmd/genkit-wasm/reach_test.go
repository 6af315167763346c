package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	weatherFile      = "../../examples/weather/weather.wasm"
	capabilitiesFile = "../../pdk/conformance/c/capabilities.wasm"
	cliSecret        = "cli-secret-0123456789"
)

// weatherServer answers who has the key, with the key.
func weatherServer(t *testing.T) (url string, port int) {
	t.Helper()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+cliSecret {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		fmt.Fprintf(w, `{"celsius":21.5,"you":%q}`, r.Header.Get("Authorization"))
	}))
	t.Cleanup(srv.Close)
	return srv.URL, srv.Listener.Addr().(*net.TCPAddr).Port
}

func TestRunReachesWhatItsFlagsGrant(t *testing.T) {
	url, port := weatherServer(t)
	here := fmt.Sprintf("http://localhost:%d", port)
	t.Setenv("THE_KEY", cliSecret)
	run := func(args ...string) outcome {
		return cli(t, append([]string{"run", weatherFile, "--input", `{"city":"Oslo"}`}, args...)...)
	}
	context := fmt.Sprintf(`{"weatherServer":%q}`, here)
	want := "{\"city\":\"Oslo\",\"celsius\":21.5,\"remembered\":false}\n"
	for _, from := range []string{"env:THE_KEY", "@" + write(t, "key", cliSecret+"\n")} {
		got := run("--context", context, "--allow-host", here, "--secret", "WEATHER_KEY="+from, "--grant", "kv")
		assert.Equal(t, outcome{out: want}, got)
	}
	byAddress := run("--context", fmt.Sprintf(`{"weatherServer":%q}`, url), "--allow-host", url, "--secret", "WEATHER_KEY=env:THE_KEY", "--grant", "kv,clock")
	assert.Equal(t, outcome{out: want}, byAddress)

	got := run()
	assert.Equal(t, exitRefused, got.exit)
	assert.Contains(t, got.err, `"http" (grant "http"), "kv_get" (grant "kv")`)
	got = run("--context", context, "--allow-host", "weather.example.com", "--secret", "WEATHER_KEY=env:THE_KEY", "--grant", "kv")
	assert.Contains(t, got.err, `the host "localhost" is not granted`)
	got = run("--context", context, "--allow-host", here, "--grant", "kv")
	assert.Contains(t, got.err, `the secret "WEATHER_KEY" is not granted`)
	for flag, want := range map[string]string{
		"--secret=WEATHER_KEY=" + cliSecret:  "not the value itself",
		"--secret=WEATHER_KEY=env:NONE_SUCH": "NONE_SUCH",
		"--allow-host=":                      "want a host",
		"--allow-host=http://":               "want a host",
		"--allow-host=a.b:0":                 "want a host",
		"--allow-host=*.com":                 "top-level",
		"--grant=http":                       "want kv or clock",
		"--mount=x":                          "want NAME=DIR",
		"--mount=x=/no/such/place":           "no such file",
		"--allow-network=10.0.0.1":           "want a network",
	} {
		got := run(flag)
		assert.Equal(t, exitUsage, got.exit, flag)
		assert.Contains(t, got.err, want, flag)
		assert.NotContains(t, got.err, cliSecret)
	}
	mounted := cli(t, "run", capabilitiesFile, "now", "--input", "null", "--grant", "kv,clock", "--allow-host", "*", "--mount", "docs="+t.TempDir(), "--policy", write(t, "p.json",
		`{"grants":{"generate":["*"],"actions":["*"],"files":[{"mount":"docs","path":"/docs"}]}}`))
	assert.Regexp(t, `^\{"ok":"\d{4}-.*Z"\}\n$`, mounted.out, mounted.err)
	itself := cli(t, "run", capabilitiesFile, "run", "--input", `{"key":"/tool/capabilities/kv_get","input":{"key":"a"}}`, "--grant", "kv,clock", "--allow-host", "*", "--policy", write(t, "p.json",
		`{"grants":{"generate":["*"],"actions":["tool/*"]}}`))
	assert.Equal(t, outcome{out: "{\"ok\":{\"ok\":null}}\n"}, itself)
}

// Guests' values survive a restart, the operator decides what guests may reach, and no
// secret is in the log.
func TestServeReachesWhatItsOperatorGrants(t *testing.T) {
	t.Parallel()
	_, port := weatherServer(t)
	here := fmt.Sprintf("http://localhost:%d", port)
	grants := fmt.Sprintf(`{"http":[{"host":"localhost","schemes":["http"],"ports":[%d]}],"secrets":{"WEATHER_KEY":["%s"]},"kv":true}`, port, here)
	data, key, policyFile := filepath.Join(t.TempDir(), "data"), write(t, "key", cliSecret), write(t, "policy.json", `{"grants":`+grants+`}`)
	p := serve(t, data, "--grants", `{"kv":true,"clock":true}`)
	got := p.do("upload", weatherFile, "--policy", policyFile)
	assert.Equal(t, exitRefused, got.exit)
	assert.Contains(t, got.err, "grants more than the server allows")
	require.NoError(t, p.Process.Signal(syscall.SIGTERM))
	assert.Equal(t, exitOK, p.wait(30*time.Second))

	ask := func(p *process) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, p.url+"/v1/tenants/default/tools/weather/current",
			strings.NewReader(fmt.Sprintf(`{"input":{"city":"Oslo"},"context":{"weatherServer":%q}}`, here)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		b := make([]byte, 1000)
		n, _ := resp.Body.Read(b)
		return string(b[:n])
	}
	args := []string{"--grants", grants, "--secret", "WEATHER_KEY=@" + key, "--allow-network", "127.0.0.0/8", "--allow-network", "::1/128", "--log-level", "debug"}
	for round, remembered := range []string{"false", "true"} {
		p = serve(t, data, args...)
		if round == 0 {
			got := p.do("upload", weatherFile, "--policy", policyFile)
			require.Equal(t, exitOK, got.exit, got.err)
		}
		assert.Contains(t, ask(p), `"remembered":`+remembered)
		require.NoError(t, p.Process.Signal(syscall.SIGTERM))
		assert.Equal(t, exitOK, p.wait(30*time.Second))
		assert.NotContains(t, p.log.String(), cliSecret)
	}
	require.NoError(t, filepath.WalkDir(data, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := os.ReadFile(path)
		assert.NotContains(t, string(b), cliSecret, path)
		return err
	}))
	got = cli(t, "serve", "--data", t.TempDir(), "--grants", `{"http":"all"}`)
	assert.Equal(t, exitUsage, got.exit)
}
