package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

func TestTenantCommands(t *testing.T) {
	url, log := startLogged(t)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	assert.Equal(t, outcome{out: "tenant acme is created\n"}, on("tenant", "create", "acme", "--display-name", "Acme", "--quota", `{"concurrency":3}`, "--grants", `{"kv":true}`, "--label", "plan=gold"))
	assert.Contains(t, log.String(), "modules of all tenants run in its own process", "it was started with one tenant")
	assert.Regexp(t, `(?m)^NAME +DISPLAY NAME +CREATED +OWN SETTINGS +STATE\nacme +Acme +\S+ \S+ +grants, quota +active\ndefault +- .* active$`, on("tenant", "ls").out)
	show := on("tenant", "show", "acme").out
	for _, want := range []string{"state", "active", "label plan", "gold", `{"kv":true}`, `{"concurrency":3}`} {
		assert.Contains(t, show, want)
	}
	var shown admin.Tenant
	require.NoError(t, json.Unmarshal([]byte(on("tenant", "show", "acme", "-o", "json").out), &shown))
	assert.Equal(t, "gold", shown.Labels["plan"])

	// It runs what is uploaded to it, and generates by itself.
	require.Equal(t, exitOK, on("upload", calcFile, "--tenant", "acme").exit)
	assert.Equal(t, "{\"sum\":3}\n", on("call", "calc/add", "--tenant", "acme", "--input", `{"a":1,"b":2}`).out)
	assert.Equal(t, "it is 42\n", on("generate", "--tenant", "acme", "--model", "test/scripted", "--tool", "calc/add", "--config", answers, "20 + 22?").out)

	assert.Equal(t, "tenant acme is changed\n", on("tenant", "set", "acme", "--quota", `{"queue":5,"concurrency":null}`, "--label", "plan=", "--grants", "", "--display-name", "").out)
	require.NoError(t, json.Unmarshal([]byte(on("tenant", "show", "acme", "-o", "json").out), &shown))
	shown = admin.Tenant{}
	require.NoError(t, json.Unmarshal([]byte(on("tenant", "show", "acme", "-o", "json").out), &shown))
	assert.EqualValues(t, 5, shown.Quota.Queue)
	assert.Zero(t, shown.Quota.Concurrency)
	assert.Empty(t, shown.Labels)
	assert.Nil(t, shown.Grants)
	assert.Empty(t, shown.DisplayName)

	assert.Equal(t, "tenant acme is suspended\n", on("tenant", "suspend", "acme").out)
	refused := on("call", "calc/add", "--tenant", "acme", "--input", `{"a":1,"b":2}`)
	assert.Equal(t, exitFailed, refused.exit)
	assert.Contains(t, refused.err, "the tenant is suspended")
	assert.Contains(t, refused.err, "genkit-wasm tenant resume acme")
	assert.Equal(t, "tenant acme is active\n", on("tenant", "resume", "acme").out)

	dry := on("tenant", "rm", "acme", "--dry-run").out
	assert.Contains(t, dry, "tenant acme would be deleted, with 1 modules of 1 revisions")
	assert.Contains(t, dry, "\n  calc\n")
	assert.JSONEq(t, `["calc"]`, string(member(t, on("tenant", "rm", "acme", "--dry-run", "-o", "json").out, "modules")))
	assert.Equal(t, exitOK, on("tenant", "show", "acme").exit, "nothing was deleted")
	assert.Equal(t, "tenant acme is deleted\n", on("tenant", "rm", "acme").out)
	assert.Regexp(t, `deleteTenant +acme .* succeeded`, on("tenant", "operations").out)
	gone := on("ls", "--tenant", "acme")
	assert.Equal(t, exitNotFound, gone.exit)
	assert.Contains(t, gone.err, "genkit-wasm tenant create acme")

	// The next tenant of that name has nothing of it.
	require.Equal(t, exitOK, on("tenant", "create", "acme").exit)
	assert.Contains(t, on("ls", "--tenant", "acme").out, "no modules yet")
	assert.Equal(t, exitNotFound, on("call", "calc/add", "--tenant", "acme", "--input", `{"a":1,"b":2}`).exit)

	for name, test := range map[string]struct {
		got  outcome
		exit int
		says string
	}{
		"a tenant that is there":     {on("tenant", "create", "acme"), exitFailed, "exists already"},
		"a tenant that is not there": {on("tenant", "show", "none"), exitNotFound, "genkit-wasm tenant ls"},
		"a name that is none":        {on("tenant", "create", "a/b"), exitFailed, "want a name"},
		"a quota that is mistyped":   {on("tenant", "create", "b", "--quota", `{"concurency":1}`), exitFailed, "concurency"},
		"a label that is none":       {on("tenant", "create", "b", "--label", "x"), exitUsage, "NAME=VALUE"},
		"nothing to change":          {on("tenant", "set", "acme"), exitUsage, "--quota"},
		"the default tenant":         {on("tenant", "rm", "default"), exitFailed, "can't be deleted"},
		"no such operation":          {on("tenant", "operations", "x"), exitNotFound, "operation"},
		"a command too few":          {cli(t, "tenant", "create"), exitUsage, "accepts 1 arg"},
		"no such command":            {cli(t, "tenant", "destroy", "x"), exitUsage, "destroy"},
	} {
		assert.Equal(t, test.exit, test.got.exit, "%s: %s", name, test.got.err)
		assert.Contains(t, test.got.err, test.says, name)
	}
}

func member(t *testing.T, text, name string) json.RawMessage {
	t.Helper()
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal([]byte(text), &m), text)
	return m[name]
}

// Tenants are back after a restart, and the flags of the start make those that are not there.
func TestTenantsOutliveTheServer(t *testing.T) {
	data := t.TempDir()
	t.Run("before", func(t *testing.T) {
		url := startServer(t, "--data", data, "--tenant", "flagged", "--tenant-quota", `flagged={"concurrency":3}`)
		require.Equal(t, exitOK, cli(t, "tenant", "create", "acme", "--quota", `{"concurrency":7}`, "--server", url).exit)
		require.Equal(t, exitOK, cli(t, "tenant", "suspend", "acme", "--server", url).exit)
		require.Equal(t, exitOK, cli(t, "tenant", "set", "flagged", "--quota", `{"concurrency":4}`, "--server", url).exit)
	})
	url, log := startLogged(t, "--data", data, "--tenant", "flagged", "--tenant-quota", `flagged={"concurrency":3}`)
	ls := cli(t, "tenant", "ls", "--server", url).out
	assert.Regexp(t, `(?m)^acme .* suspended$`, ls)
	assert.Regexp(t, `(?m)^flagged .* active$`, ls)
	assert.Contains(t, cli(t, "tenant", "show", "flagged", "--server", url).out, `{"concurrency":4}`, "the stored settings count")
	assert.Contains(t, log.String(), "the stored settings of a tenant count")
	assert.Contains(t, log.String(), "would reach every tenant", "it has several tenants, which no flag of this start names")
}

// Keys that let somebody in to a tenant let nobody in to the next one of its name.
func TestTheKeysOfATenantGoWithIt(t *testing.T) {
	url, root, _, stop := startGuarded(t, t.TempDir())
	defer stop()
	t.Setenv(keyEnv, root)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	require.Equal(t, exitOK, on("tenant", "create", "acme").exit)
	own := strings.TrimSpace(on("key", "create", "own", "--scope", "acme:invoke").out)
	both := strings.TrimSpace(on("key", "create", "both", "--scope", "acme:read", "--scope", "default:read").out)
	others := strings.TrimSpace(on("key", "create", "others", "--scope", "acme2:read", "--scope", "default:read").out)
	t.Setenv(keyEnv, own)
	require.Equal(t, exitOK, on("ls", "--tenant", "acme").exit)
	assert.Equal(t, exitFailed, on("tenant", "ls").exit, "a tenant's key is none of the operator's")
	t.Setenv(keyEnv, root)
	require.Equal(t, exitOK, on("tenant", "rm", "acme").exit)
	require.Equal(t, exitOK, on("tenant", "create", "acme").exit)
	t.Setenv(keyEnv, own)
	got := on("ls", "--tenant", "acme")
	assert.Equal(t, exitFailed, got.exit, got.out)
	assert.Contains(t, got.err, "key")
	t.Setenv(keyEnv, both)
	assert.Equal(t, exitNotFound, on("ls", "--tenant", "acme").exit, "it has lost that scope")
	assert.Equal(t, exitOK, on("ls").exit, "and kept the other")
	t.Setenv(keyEnv, others)
	assert.Equal(t, exitOK, on("ls").exit)
	t.Setenv(keyEnv, root)
	assert.Equal(t, exitOK, on("ls", "--tenant", "acme").exit)
}

// A server that asks nobody revokes them, too: it may ask again later.
func TestTheKeysOfATenantGoAlsoWhereNobodyIsAsked(t *testing.T) {
	data := t.TempDir()
	url, root, _, stop := startGuarded(t, data, "--tenant", "acme")
	t.Setenv(keyEnv, root)
	own := strings.TrimSpace(cli(t, "key", "create", "own", "--scope", "acme:read", "--server", url).out)
	stop()
	t.Run("without keys", func(t *testing.T) {
		open := startServer(t, "--data", data)
		require.Equal(t, exitOK, cli(t, "tenant", "rm", "acme", "--server", open).exit)
	})
	url, _, _, stop = startGuarded(t, data, "--tenant", "acme")
	defer stop()
	t.Setenv(keyEnv, own)
	assert.Contains(t, cli(t, "ls", "--tenant", "acme", "--server", url).err, "is not valid")
	t.Setenv(keyEnv, root)
	assert.Equal(t, exitOK, cli(t, "ls", "--tenant", "acme", "--server", url).exit)
}

func TestShellsCompleteTheNamesOfTenants(t *testing.T) {
	url := startServer(t, "--tenant", "acme", "--tenant", "acme2", "--tenant", "other")
	t.Setenv(serverEnv, url)
	for _, args := range [][]string{{"tenant", "show", "ac"}, {"tenant", "rm", "ac"}, {"ls", "--tenant", "ac"}} {
		got := cli(t, append([]string{"__complete"}, args...)...)
		assert.Equal(t, "acme\nacme2\n:4\n", got.out, args)
	}
	assert.Equal(t, ":4\n", cli(t, "__complete", "tenant", "show", "acme", "").out, "one name is enough")
	require.Equal(t, exitOK, cli(t, "upload", calcFile, "--tenant", "acme").exit)
	assert.Equal(t, "calc\n:4\n", cli(t, "__complete", "rm", "--tenant", "acme", "").out)
	assert.Equal(t, ":4\n", cli(t, "__complete", "rm", "--tenant", "other", "").out, "another tenant's modules")
	t.Setenv(serverEnv, "http://127.0.0.1:1")
	assert.Equal(t, ":4\n", cli(t, "__complete", "tenant", "show", "ac").out, "a server that is not there is no error of a shell")
}

// A deletion that fails for a while is told, and waited for.
func TestADeletionIsWaitedFor(t *testing.T) {
	answers := []string{
		`{"id":"o","kind":"deleteTenant","tenant":"acme","state":"running","progress":{"done":1,"total":3}}`,
		`{"id":"o","kind":"deleteTenant","tenant":"acme","state":"running","error":{"status":"UNAVAILABLE","message":"the disk is full"}}`,
		`{"id":"o","kind":"deleteTenant","tenant":"acme","state":"running","error":{"status":"UNAVAILABLE","message":"the disk is full"}}`,
		`{"id":"o","kind":"deleteTenant","tenant":"acme","state":"succeeded"}`,
	}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusAccepted)
		} else if len(answers) > 1 {
			answers = answers[1:]
		}
		_, _ = w.Write([]byte(answers[0]))
	}))
	defer s.Close()
	got := cli(t, "tenant", "rm", "acme", "--server", s.URL)
	assert.Equal(t, exitOK, got.exit, got.err)
	assert.Equal(t, "tenant acme is deleted\n", got.out)
	assert.Equal(t, 1, strings.Count(got.err, "the disk is full"), got.err)
	answers = []string{`{"id":"o","kind":"deleteTenant","tenant":"acme","state":"running"}`}
	got = cli(t, "tenant", "rm", "acme", "--detach", "--server", s.URL)
	assert.Contains(t, got.out, "genkit-wasm tenant operations o")
}

// A tenant whose record was damaged does not run, and does not keep the server from starting.
func TestADamagedTenantDoesNotKeepTheServerFromStarting(t *testing.T) {
	data := t.TempDir()
	t.Run("before", func(t *testing.T) {
		url := startServer(t, "--data", data)
		require.Equal(t, exitOK, cli(t, "tenant", "create", "acme", "--server", url).exit)
		require.Equal(t, exitOK, cli(t, "upload", calcFile, "--tenant", "acme", "--server", url).exit)
	})
	file := filepath.Join(data, "tenants", "tenant", "acme.json")
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(file, raw[:len(raw)/2], 0o600))
	url := startServer(t, "--data", data)
	assert.Regexp(t, `(?m)^acme .* damaged, problem: .*damaged`, cli(t, "tenant", "ls", "--server", url).out)
	refused := cli(t, "call", "calc/add", "--tenant", "acme", "--input", "{}", "--server", url)
	assert.Equal(t, exitFailed, refused.exit)
	assert.Contains(t, refused.err, "genkit-wasm tenant repair acme")
	assert.Equal(t, "tenant acme is deleted\n", cli(t, "tenant", "rm", "acme", "--server", url).out)
	require.Equal(t, exitOK, cli(t, "tenant", "create", "acme", "--server", url).exit)
	assert.Contains(t, cli(t, "ls", "--tenant", "acme", "--server", url).out, "no modules yet")
}

// A tenant's budget bounds its generate calls, those of its guests and of its flows.
func TestABudgetIsAskedBeforeAModelIsCalled(t *testing.T) {
	url := startServer(t)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	usage := func(n string) string {
		return `{"script":[{"message":{"role":"model","content":[{"text":"hi"}]},"usage":{"inputTokens":1,"outputTokens":` + n + `}}]}`
	}
	require.Equal(t, exitOK, on("tenant", "create", "acme", "--budget", `{"tokensPerDay":100,"models":["test/*"]}`).exit)
	ask := func(n string) outcome {
		return on("generate", "--tenant", "acme", "--model", "test/scripted", "--config", usage(n), "hi")
	}
	assert.Equal(t, "hi\n", ask("49").out)
	assert.Equal(t, "hi\n", ask("70").out, "what is left is given, and passed by one call")
	refused := ask("1")
	assert.Equal(t, exitBusy, refused.exit)
	assert.Contains(t, refused.err, "the tenant has used its budget of 100 model tokens a day")
	assert.Regexp(t, `try again in \d+ s`, refused.err)
	show := on("tenant", "show", "acme").out
	assert.Regexp(t, `tokens today +121 of 100`, show)
	assert.Contains(t, show, `"models":["test/*"]`)
	require.Equal(t, exitOK, on("tenant", "set", "acme", "--budget", `{"tokensPerDay":null,"models":["openai/*"]}`).exit)
	refused = ask("1")
	assert.Equal(t, exitFailed, refused.exit)
	assert.Contains(t, refused.err, `may not use the model "test/scripted"`)
	assert.Equal(t, "hi\n", on("generate", "--model", "test/scripted", "--config", usage("1"), "hi").out, "the others are not asked")
}

// A thousand tenants cost little: what each takes in memory is bounded here, the times are logged.
func TestAThousandTenants(t *testing.T) {
	if testing.Short() {
		t.Skip("creates a thousand tenants")
	}
	const n = 1000
	data := t.TempDir()
	heap := func() float64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return float64(m.HeapAlloc)
	}
	send := func(method, url, body string) {
		req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
		require.NoError(t, err)
		req.Header.Set("Content-Type", "application/json")
		resp, err := httpClient().Do(req)
		require.NoError(t, err)
		_, err = io.Copy(io.Discard, resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		require.Less(t, resp.StatusCode, 300)
	}
	t.Run("created", func(t *testing.T) {
		url := startServer(t, "--data", data, "--isolation", "in-process")
		send("GET", url+"/v1/tenants", "")
		before, began := heap(), time.Now()
		for i := range n {
			send("POST", url+"/v1/tenants", fmt.Sprintf(`{"name":"t%d","quota":{"concurrency":4}}`, i))
		}
		took, each := time.Since(began), (heap()-before)/n
		t.Logf("%d tenants created in %v, %.1f KiB of heap each", n, took.Round(time.Millisecond), each/(1<<10))
		assert.Less(t, each, float64(64<<10))
	})
	began := time.Now()
	url := startServer(t, "--data", data, "--isolation", "in-process")
	t.Logf("a server with them started in %v", time.Since(began).Round(time.Millisecond))
	all, err := listAll[admin.Tenant](t.Context(), &app{server: url}, "/tenants", "tenants")
	require.NoError(t, err)
	assert.Len(t, all, n+1)
}
