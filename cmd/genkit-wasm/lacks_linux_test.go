package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// limit sets a soft limit of a running server, and returns a function that takes it back.
func (p *process) limit(resource int, most uint64) (back func()) {
	p.t.Helper()
	var before unix.Rlimit
	require.NoError(p.t, unix.Prlimit(p.Process.Pid, resource, nil, &before))
	require.NoError(p.t, unix.Prlimit(p.Process.Pid, resource, &unix.Rlimit{Cur: most, Max: before.Max}, nil))
	return func() { require.NoError(p.t, unix.Prlimit(p.Process.Pid, resource, &before, nil)) }
}

// add calls calc/add over client and returns the status and body of the answer.
func (p *process) add(client *http.Client, a int) (code int, body string, err error) {
	resp, err := client.Post(p.url+"/v1/tenants/default/tools/calc/add", "application/json", strings.NewReader(fmt.Sprintf(`{"input":{"a":%d,"b":1}}`, a)))
	if err != nil {
		return 0, "", err
	}
	raw, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	return resp.StatusCode, string(raw), err
}

// mustAdd is add where nothing is to go wrong.
func (p *process) mustAdd(client *http.Client, a int) {
	p.t.Helper()
	code, body, err := p.add(client, a)
	require.NoError(p.t, err)
	require.Equal(p.t, http.StatusOK, code, body)
}

// usageLines returns how many lines of a journal are events, and those that are not.
func usageLines(t *testing.T, path string) (events int, broken []string) {
	t.Helper()
	file, err := os.Open(path)
	require.NoError(t, err)
	defer func() { _ = file.Close() }()
	for lines := bufio.NewScanner(file); lines.Scan(); {
		var e tenant.Event
		if json.Unmarshal(lines.Bytes(), &e) != nil || e.Tool == "" {
			broken = append(broken, lines.Text())
			continue
		}
		events++
	}
	return events, broken
}

// TestAKilledServerLosesNoLineOfItsBill kills a server while callers call, and starts
// another with the same journal.
func TestAKilledServerLosesNoLineOfItsBill(t *testing.T) {
	t.Parallel()
	data, usage := t.TempDir(), filepath.Join(t.TempDir(), "usage.jsonl")
	p := serve(t, data, "--usage", usage)
	require.Equal(t, exitOK, p.do("upload", calcFile).exit)
	const callers = 4
	var answered [callers]int
	var wg sync.WaitGroup
	for i := range callers {
		client := &http.Client{Transport: &http.Transport{}}
		wg.Go(func() {
			defer client.CloseIdleConnections()
			for {
				if code, _, err := p.add(client, answered[i]); err != nil || code != http.StatusOK {
					return
				}
				answered[i]++
				if i == 0 && answered[0] == 100 {
					assert.NoError(t, p.Process.Kill())
				}
			}
		})
	}
	wg.Wait()
	_ = p.Wait()
	sum := 0
	for _, n := range answered {
		sum += n
	}
	events, broken := usageLines(t, usage)
	assert.GreaterOrEqual(t, events, sum-callers, "each caller's last call may be missing")
	assert.LessOrEqual(t, len(broken), 1)

	// The test makes a torn file itself: it cuts off a line.
	raw, err := os.ReadFile(usage)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(usage, append(raw, `{"time":"2026-`...), 0o600))
	p = serve(t, data, "--usage", usage)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	p.mustAdd(client, 1)
	require.NoError(t, p.Process.Signal(unix.SIGTERM))
	require.Equal(t, exitOK, p.wait(20*time.Second), "%v", &p.log)
	after, torn := usageLines(t, usage)
	assert.Equal(t, events+1, after)
	assert.LessOrEqual(t, len(torn), len(broken)+1, torn)
}

// TestAFullDiskEndsWithTheShortage limits the size of the server's files, which the
// system reports like a full disk.
func TestAFullDiskEndsWithTheShortage(t *testing.T) {
	t.Parallel()
	data, usage := t.TempDir(), filepath.Join(t.TempDir(), "usage.jsonl")
	p := serve(t, data, "--usage", usage)
	require.Equal(t, exitOK, p.do("upload", calcFile).exit)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	journal := func() (u struct{ Journal *tenant.JournalReport }) {
		resp, err := client.Get(p.url + "/v1/tenants/default/usage")
		require.NoError(t, err)
		require.NoError(t, json.NewDecoder(resp.Body).Decode(&u))
		require.NoError(t, resp.Body.Close())
		require.NotNil(t, u.Journal)
		return u
	}
	for i := range 3 {
		p.mustAdd(client, i)
	}
	require.Eventually(t, func() bool { n, _ := usageLines(t, usage); return n == 3 }, 10*time.Second, time.Millisecond)
	info, err := os.Stat(usage)
	require.NoError(t, err)
	back := p.limit(unix.RLIMIT_FSIZE, uint64(info.Size())+100)
	for i := range 40 {
		p.mustAdd(client, i)
	}
	require.Eventually(t, func() bool { return journal().Journal.Unwritten > 0 }, 10*time.Second, time.Millisecond)
	assert.Contains(t, p.log.String(), "the usage journal can't be written")
	up := p.do("upload", calcFile, "--name", "other")
	assert.NotEqual(t, exitOK, up.exit)
	assert.Contains(t, up.err, "disk is full", "%v", &p.log)
	assert.NotContains(t, p.do("ls").out, "other")

	back()
	for i := range 5 {
		p.mustAdd(client, i)
	}
	require.Eventually(t, func() bool { n, _ := usageLines(t, usage); return n == 48 }, 20*time.Second, time.Millisecond)
	assert.Equal(t, tenant.JournalReport{}, *journal().Journal)
	_, broken := usageLines(t, usage)
	assert.LessOrEqual(t, len(broken), 2, broken)
	up = p.do("upload", calcFile, "--name", "other")
	assert.Equal(t, exitOK, up.exit, up.err)
	require.NoError(t, p.Process.Signal(unix.SIGTERM))
	require.Equal(t, exitOK, p.wait(20*time.Second), "%v", &p.log)
}

// TestUsedUpDescriptorsEndWithTheShortage lets a server open nothing more.
func TestUsedUpDescriptorsEndWithTheShortage(t *testing.T) {
	t.Parallel()
	p := serve(t, t.TempDir())
	require.Equal(t, exitOK, p.do("upload", calcFile).exit)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1}}
	defer client.CloseIdleConnections()
	p.mustAdd(client, 1) // the connection is kept
	wasm, err := os.ReadFile(calcFile)
	require.NoError(t, err)
	put := func() (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, p.url+"/v1/tenants/default/modules/other", strings.NewReader(string(wasm)))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/wasm")
		resp, err := client.Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, string(raw)
	}
	back := p.limit(unix.RLIMIT_NOFILE, 3)
	code, body := put()
	assert.Equal(t, http.StatusServiceUnavailable, code, body)
	assert.Contains(t, body, "no file descriptors left")
	p.mustAdd(client, 2) // on the same connection; what needs no file goes on
	back()
	if t.Failed() {
		t.Log(p.do("ls").err, p.log.String())
	}
	code, body = put()
	assert.Equal(t, http.StatusCreated, code, body)
	p.mustAdd(client, 3)
}

// TestAFullDiskRefusesChangesAndNoCalls lets a server write nothing more: each kind of change is refused with the
// shortage, calls go on, and nothing is lost or half when there is room again.
func TestAFullDiskRefusesChangesAndNoCalls(t *testing.T) {
	data, key := t.TempDir(), write(t, "secrets.key", cli(t, "secret", "key").out)
	p := serve(t, data, "--secrets-key-file", key, "--load", calcFile)
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	ask := func(method, path, body string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), method, p.url+"/v1"+path, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		if method == http.MethodPatch {
			req.Header.Set("Content-Type", "application/merge-patch+json")
			req.Header.Set("If-Match", "*")
		}
		resp, err := client.Do(req)
		require.NoError(t, err)
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		return resp.StatusCode, string(raw)
	}
	changes := []struct{ method, path, body string }{
		{"POST", "/tenants", `{"name":"acme"}`},
		{"PATCH", "/tenants/default", `{"quota":{"callsPerMinute":1000}}`},
		{"PUT", "/tenants/default/secrets/WEATHER", `{"value":"a-value-of-the-test"}`},
		{"PUT", "/tenants/default/credentials/openai", `{"value":"a-value-of-the-test"}`},
	}
	p.mustAdd(client, 1)
	back := p.limit(unix.RLIMIT_FSIZE, 1)
	for _, c := range changes {
		code, body := ask(c.method, c.path, c.body)
		assert.Equal(t, http.StatusServiceUnavailable, code, "%s: %s", c.path, body)
		assert.Contains(t, body, "the audit log can't be written: the server's disk is full", c.path)
	}
	for i := range 5 {
		p.mustAdd(client, i)
	}
	code, body := ask("GET", "/tenants/acme", "")
	assert.Equal(t, http.StatusNotFound, code, body)
	back()
	for _, c := range changes {
		code, body := ask(c.method, c.path, c.body)
		assert.Less(t, code, 300, "%s: %s", c.path, body)
	}
	require.NoError(t, p.Process.Signal(unix.SIGTERM))
	require.Equal(t, exitOK, p.wait(20*time.Second), "%v", &p.log)
	p = serve(t, data, "--secrets-key-file", key)
	for path, want := range map[string]string{
		"/tenants/acme": `"state":"active"`, "/tenants/default": `"callsPerMinute":1000`, "/tenants/default/secrets": "WEATHER", "/tenants/default/credentials": "openai",
		"/usage": `"calls":6,"failures":0`,
	} {
		_, body := ask("GET", path, "")
		assert.Contains(t, body, want)
		assert.NotContains(t, body, "damaged")
	}
	verified := cli(t, "audit", "verify", "--data", data)
	assert.Equal(t, exitOK, verified.exit, verified.err)
}
