package main

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// verbs has, for each operation of the OpenAPI document, a command that carries it out.
var verbs = map[string][]string{
	"listModules":       {"ls"},
	"putModule":         {"upload", calcFile},
	"deleteModule":      {"rm", "x"},
	"listVersions":      {"versions", "x"},
	"rollbackModule":    {"rollback", "x"},
	"getUsage":          {"tenant", "rm", "default", "--dry-run"},
	"reportTenantUsage": {"usage", "--tenant", "default"},
	"listActions":       {"ls", "--actions"},
	"runTool":           {"call", "x/y"},
	"runAction":         {"call", "/embedder/x/y"},
	"generate":          {"generate", "--model", "m", "hi"},
	"runFlow":           {"flow", "x"},
	"reportUsage":       {"usage"},
	"listTenants":       {"tenant", "ls"},
	"createTenant":      {"tenant", "create", "x"},
	"getTenant":         {"tenant", "show", "x"},
	"changeTenant":      {"tenant", "set", "x", "--display-name", "X"},
	"deleteTenant":      {"tenant", "rm", "x"},
	"suspendTenant":     {"tenant", "suspend", "x"},
	"resumeTenant":      {"tenant", "resume", "x"},
	"repairTenant":      {"tenant", "repair", "x"},
	"getBudget":         {"tenant", "show", "x"},
	"listOperations":    {"tenant", "operations"},
	"getOperation":      {"tenant", "operations", "x"},
	"listSecrets":       {"secret", "ls"},
	"putSecret":         {"secret", "set", "x"},
	"deleteSecret":      {"secret", "rm", "x"},
	"listCredentials":   {"credential", "ls"},
	"putCredential":     {"credential", "set", "x"},
	"deleteCredential":  {"credential", "rm", "x"},
	"getIdentity":       {"login"},
	"listKeys":          {"key", "ls"},
	"createKey":         {"key", "create", "x", "--scope", "admin"},
	"getKey":            {"key", "revoke", "aaaaaaaaaaaaaaaa", "--dry-run"},
	"revokeKey":         {"key", "revoke", "aaaaaaaaaaaaaaaa"},
	"rotateKey":         {"key", "rotate", "aaaaaaaaaaaaaaaa"},
	"listAudit":         {"audit"},
	"getBackup":         {"backup", "-"},
}

// noVerb has the operations that no command carries out, and why.
var noVerb = map[string]string{
	"getIndex":             "it tells a person with another client where to look; the help does that here",
	"getOpenAPI":           "it is for programs that make clients of it",
	"getHealth":            "a supervisor asks it",
	"getReadiness":         "a load balancer asks it",
	"getMetrics":           "Prometheus asks it",
	"getScriptTypes":       "an editor asks it; \"new\" writes the same file",
	"mcp":                  "a client of MCP asks it; \"mcp\" relays what its client sends",
	"createChatCompletion": "a client of OpenAI's API asks it; \"generate\" asks a model",
	"createEmbedding":      "a client of OpenAI's API asks it",
	"listOpenAIModels":     "a client of OpenAI's API asks it; \"ls --actions\" has the models",
	"getModule":            "the list of modules has the same record, and \"versions\" those of one module",
}

// Each operation of the API has a command that sends its request, or a reason to have none.
func TestEachOperationHasACommand(t *testing.T) {
	url, _, _, stop := startGuarded(t, t.TempDir(), "--secrets-key-file", write(t, "key", cli(t, "secret", "key").out))
	resp, err := http.Get(url + "/openapi.json")
	require.NoError(t, err)
	raw, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	stop()
	var doc struct {
		Paths map[string]map[string]struct {
			ID string `json:"operationId"`
		} `json:"paths"`
	}
	require.NoError(t, json.Unmarshal(raw, &doc))
	there := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, o := range methods {
			there[o.ID] = true
			args, covered := verbs[o.ID]
			why := noVerb[o.ID]
			if !assert.NotEqual(t, why != "", covered, "%s (%s %s) wants a command in verbs, or a reason in noVerb", o.ID, method, path) || !covered {
				continue
			}
			assert.True(t, sends(t, args, strings.ToUpper(method), path), "\"genkit-wasm %s\" does not send %s %s (%s)", strings.Join(args, " "), method, path, o.ID)
		}
	}
	for id := range verbs {
		assert.True(t, there[id], "verbs has %q, which the document has not", id)
	}
	for id := range noVerb {
		assert.True(t, there[id], "noVerb has %q, which the document has not", id)
	}
}

// sends reports whether a command sends a request to a path of the document. What it asks for
// is answered with something that lets most commands go on.
func sends(t *testing.T, args []string, method, path string) bool {
	t.Helper()
	pattern := regexp.MustCompile("^" + regexp.MustCompile(`\\\{\w+\\\}`).ReplaceAllString(regexp.QuoteMeta(path), `.+`) + "$")
	sent := false
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		sent = sent || r.Method == method && pattern.MatchString(r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"name":"x","state":"succeeded","modules":[],"keys":[],"tenants":[]}`)
	}))
	defer srv.Close()
	cliWith(t, "0123456789abcdef\n", append(args, "--server", srv.URL)...)
	return sent
}

// --dry-run shows what would go, changes nothing, and fails as the command does.
func TestWhatRemovesCanBeTriedFirst(t *testing.T) {
	data := t.TempDir()
	url, root, _, stop := startGuarded(t, data, "--secrets-key-file", write(t, "key", cli(t, "secret", "key").out))
	defer stop()
	t.Setenv(keyEnv, root)
	on := func(args ...string) outcome {
		if args[0] != "logout" {
			args = append(args, "--server", url)
		}
		return cliWith(t, "a-value-of-the-test\n", args...)
	}
	require.Equal(t, exitOK, on("tenant", "create", "acme").exit)
	require.Equal(t, exitOK, on("upload", calcFile).exit)
	require.Equal(t, exitOK, on("upload", calcFile, "--policy", `{"limits":{"timeoutMs":700}}`).exit)
	require.Equal(t, exitOK, on("secret", "set", "WEATHER").exit)
	require.Equal(t, exitOK, on("credential", "set", "openai").exit)
	require.Equal(t, exitOK, on("key", "create", "laptop", "--scope", "acme:read").exit)
	keyFor := func(scope string) string {
		var made struct{ Token string }
		require.NoError(t, json.Unmarshal([]byte(on("key", "create", "other", "--scope", scope, "-o", "json").out), &made))
		require.NotEmpty(t, made.Token)
		return made.Token
	}
	reader, another := keyFor("default:read"), keyFor("acme:manage")
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	require.Equal(t, exitOK, cliWith(t, root, "login", "--profile", "p", "--server", url).exit)

	covered := map[string]bool{}
	for _, c := range []struct {
		args   []string // without the name
		name   string
		says   string
		member string // of the JSON
		value  string
	}{
		{[]string{"rm"}, "calc", "module calc would be removed, with its revisions 1 2 (", "revisions", `[1,2]`},
		{[]string{"secret", "rm"}, "WEATHER", "secret WEATHER of tenant default would be removed", "tenant", `"default"`},
		{[]string{"credential", "rm"}, "openai", "API key for openai of tenant default would be removed", "tenant", `"default"`},
		{[]string{"key", "revoke"}, "laptop", "laptop, would be revoked, and what runs under it would end: acme:read;", "dryRun", `true`},
		{[]string{"tenant", "rm"}, "acme", "tenant acme would be deleted", "tenant", `"acme"`},
		{[]string{"logout", "--profile"}, "p", "profile p would be forgotten", "profile", `"p"`},
	} {
		command, _, _ := strings.Cut(strings.Join(c.args, " "), " --")
		covered[command] = true
		with := func(name string, more ...string) []string {
			return append(append(append([]string{}, c.args...), name), more...)
		}
		before := everything(t, data)
		dry := on(with(c.name, "--dry-run")...)
		assert.Equal(t, exitOK, dry.exit, "%s: %s", command, dry.err)
		assert.Contains(t, dry.out, c.says, command)
		asJSON := on(with(c.name, "--dry-run", "-o", "json")...)
		assert.JSONEq(t, c.value, string(member(t, asJSON.out, c.member)), command)
		assert.JSONEq(t, `true`, string(member(t, asJSON.out, "dryRun")), command)
		assert.Equal(t, before, everything(t, data), "%s --dry-run changes nothing", command)

		alike := func(name string) {
			t.Helper()
			for _, more := range [][]string{nil, {"-o", "json"}} {
				real, tried := on(with(name, more...)...), on(with(name, append(more, "--dry-run")...)...)
				assert.NotEqual(t, exitOK, real.exit, command)
				assert.Equal(t, withoutRequest(real), withoutRequest(tried), "%s %s fails alike", command, name)
			}
		}
		alike("none")
		alike("no name!")
		if command == "tenant rm" {
			alike("default")
		}
		for _, key := range []string{reader, another} {
			if command != "logout" {
				t.Setenv(keyEnv, key)
				alike(c.name)
				t.Setenv(keyEnv, root)
			}
		}
		got := on(with(c.name)...)
		assert.Equal(t, exitOK, got.exit, "%s works after it was tried: %s", command, got.err)
		assert.NotEqual(t, exitOK, on(with(c.name, "--dry-run")...).exit, "%s: it is gone", command)
	}

	// Each command that has a word for removing in its name is one of those.
	removes := regexp.MustCompile(`(^| )(rm|revoke|remove|delete|logout)$`)
	for _, c := range (&app{}).command().Commands() {
		for _, sub := range append(c.Commands(), c) {
			name := strings.TrimPrefix(sub.CommandPath(), "genkit-wasm ")
			if removes.MatchString(name) {
				assert.True(t, covered[name], "%s is not in this test", name)
			}
		}
	}
}

// withoutRequest is an outcome without the ID of its request.
func withoutRequest(o outcome) outcome {
	o.err = regexp.MustCompile(`"request_id":"[^"]*",?`).ReplaceAllString(o.err, "")
	return o
}

// everything is what a server's directories of state hold: modules, values, keys, tenants, secrets and
// the audit log. Compiled code and the accounts are left out, which change by themselves.
func everything(t *testing.T, data string) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, dir := range []string{"modules", "kv", "keys", "tenants", "secrets", "audit"} {
		require.NoError(t, filepath.WalkDir(filepath.Join(data, dir), func(path string, d os.DirEntry, err error) error {
			if os.IsNotExist(err) || err != nil || d.IsDir() {
				return nil
			}
			raw, err := os.ReadFile(path)
			all[path] = string(raw)
			return err
		}))
	}
	require.NotEmpty(t, all)
	return all
}
