package main

import (
	"encoding/json"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const (
	keyOfCI  = `{"id":"aaaaaaaaaaaaaaaa","name":"ci","scopes":["acme:invoke"],"state":"active","createdAt":"2026-01-02T03:04:05Z","expiresAt":"2030-01-31T12:00:00Z"}`
	madeKey  = `{"token":"gwk_aaaaaaaaaaaaaaaa_b","key":` + keyOfCI + `}`
	recorded = `{"tenant":"acme","name":"calc","revision":3,"size":2048,"digest":"sha256:0123456789abcdef","version":"1.2","createdAt":"2026-01-02T03:04:05Z","current":true,"actions":["/tool/calc/add"],"values":["/format/calc/csv"],"policy":{"grants":{"kv":true,"http":[]},"limits":{"timeoutMs":5}}}`
	entry    = `{"name":"WEATHER","changedAt":"2026-01-02T03:04:05Z"}`
	tenantIs = `{"name":"acme","state":"active","displayName":"Acme","createdAt":"2026-01-02T03:04:05Z","labels":{"plan":"gold"},"quota":{"concurrency":3},"limits":{},"group":"g","operation":"op-1"}`
)

// Each command sends its flags and arguments as a request, and prints what is answered.
func TestCommandsSendWhatTheyAreTold(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		stdin  string
		answer string
		method string
		path   string
		query  url.Values
		body   string // JSON; empty for none
		out    string
	}{
		"a generate with everything": {
			args: []string{
				"generate", "--model", "m", "--system", "be kind", "--prompt", "-", "--tool", "a", "--tool", "b/*", "--use", "retry", "--use", `redact={"x":1}`,
				"--format", "json", "--schema", `{"type":"object"}`, "--config", `{"temperature":0}`, "--max-turns", "0", "--return-tool-requests", "--tenant", "a/b",
			},
			stdin: "hi", answer: `{"message":{"role":"model","content":[{"text":"hello"}]},"finishReason":"length","finishMessage":"too long"}`,
			method: "POST", path: "/v1/tenants/a/b/generate",
			body: `{"model":"m","messages":[{"role":"system","content":[{"text":"be kind"}]},{"role":"user","content":[{"text":"hi"}]}],"tools":["a","b/*"],
				"config":{"temperature":0},"use":[{"name":"retry"},{"name":"redact","config":{"x":1}}],"output":{"format":"json","jsonSchema":{"type":"object"}},"maxTurns":0,"returnToolRequests":true}`,
			out: "hello\n",
		},
		"a generate with nothing": {
			args: []string{"generate", "hi"}, answer: `{"message":{"role":"model","content":[]}}`, method: "POST", path: "/v1/tenants/default/generate",
			body: `{"messages":[{"role":"user","content":[{"text":"hi"}]}]}`,
		},
		"a call": {
			args: []string{"call", "calc/add", "--input", `{"a":1}`, "--context", `{"auth":1}`}, answer: `{"result": {"sum": 1}}`, method: "POST", path: "/v1/tenants/default/tools/calc/add",
			body: `{"input":{"a":1},"context":{"auth":1}}`, out: "{\"sum\":1}\n",
		},
		"a rollback": {
			args: []string{"rollback", "calc", "--revision", "2"}, answer: recorded, method: "POST", path: "/v1/tenants/default/modules/calc/rollback",
			body: `{"revision":2}`, out: "module calc serves revision 3\n",
		},
		"a rollback to the one before": {
			args: []string{"rollback", "calc"}, answer: recorded, method: "POST", path: "/v1/tenants/default/modules/calc/rollback", out: "module calc serves revision 3\n",
		},
		"a removal": {
			args: []string{"rm", "calc"}, method: "DELETE", path: "/v1/tenants/default/modules/calc", out: "module calc is removed\n",
		},
		"a removal, for programs": {
			args: []string{"rm", "calc", "-o", "json"}, method: "DELETE", path: "/v1/tenants/default/modules/calc", out: "{\n  \"status\": \"OK\"\n}\n",
		},
		"a new key": {
			args: []string{"key", "create", "ci", "--scope", "invoke", "--scope", "other:read", "--tenant", "acme", "--expires", "2030-01-31T12:00:00Z"}, answer: madeKey, method: "POST", path: "/v1/keys",
			body: `{"name":"ci","scopes":["acme:invoke","other:read"],"expiresAt":"2030-01-31T12:00:00Z"}`, out: "gwk_aaaaaaaaaaaaaaaa_b\n",
		},
		"a key's new secret": {
			args: []string{"key", "rotate", "aaaaaaaaaaaaaaaa", "--overlap", "1d", "--expires", "2030-01-31T12:00:00Z"}, answer: madeKey, method: "POST", path: "/v1/keys/aaaaaaaaaaaaaaaa/rotate",
			body: `{"overlapSeconds":86400,"expiresAt":"2030-01-31T12:00:00Z"}`, out: "gwk_aaaaaaaaaaaaaaaa_b\n",
		},
		"a key's end": {
			args: []string{"key", "revoke", "aaaaaaaaaaaaaaaa", "-y"}, method: "DELETE", path: "/v1/keys/aaaaaaaaaaaaaaaa", out: "key aaaaaaaaaaaaaaaa is revoked\n",
		},
		"a key's end, for programs": {
			args: []string{"key", "revoke", "aaaaaaaaaaaaaaaa", "-o", "json"}, method: "DELETE", path: "/v1/keys/aaaaaaaaaaaaaaaa", out: "{\n  \"status\": \"OK\"\n}\n",
		},
		"a secret": {
			args: []string{"secret", "set", "WEATHER", "--tenant", "acme"}, stdin: "0123456789\n", answer: entry, method: "PUT", path: "/v1/tenants/acme/secrets/WEATHER",
			body: `{"value":"0123456789"}`, out: "secret WEATHER is set for tenant acme\n",
		},
		"a secret from a file of another system": {
			args: []string{"secret", "set", "WEATHER", "@" + write(t, "v", "0123456789\r\n"), "-o", "json"}, answer: entry, method: "PUT", path: "/v1/tenants/default/secrets/WEATHER",
			body: `{"value":"0123456789"}`, out: "{\n  \"name\": \"WEATHER\",\n  \"changedAt\": \"2026-01-02T03:04:05Z\"\n}\n",
		},
		"a provider's key": {
			args: []string{"credential", "set", "openai"}, stdin: "0123456789", answer: `{"name":"openai","url":"https://x/v1"}`, method: "PUT", path: "/v1/tenants/default/credentials/openai",
			body: `{"value":"0123456789"}`, out: "API key for openai is set for tenant default; it is sent to https://x/v1\n",
		},
		"a secret that goes": {
			args: []string{"secret", "rm", "WEATHER", "-o", "json"}, method: "DELETE", path: "/v1/tenants/default/secrets/WEATHER", out: "{\n  \"status\": \"OK\"\n}\n",
		},
		"a new tenant": {
			args:   []string{"tenant", "create", "acme", "--display-name", "Acme", "--label", "plan=gold", "--label", "gone=", "--quota", `{"concurrency":3}`, "--group", ""},
			answer: tenantIs, method: "POST", path: "/v1/tenants", body: `{"name":"acme","displayName":"Acme","labels":{"plan":"gold","gone":null},"quota":{"concurrency":3}}`, out: "tenant acme is created\n",
		},
		"a tenant that stops": {
			args: []string{"tenant", "suspend", "acme"}, answer: tenantIs, method: "POST", path: "/v1/tenants/acme/suspend", out: "tenant acme is suspended\n",
		},
		"a tenant that goes on": {
			args: []string{"tenant", "resume", "acme"}, answer: tenantIs, method: "POST", path: "/v1/tenants/acme/resume", out: "tenant acme is active\n",
		},
		"a damaged tenant": {
			args: []string{"tenant", "repair", "acme"}, answer: tenantIs, method: "POST", path: "/v1/tenants/acme/repair", out: "tenant acme is repaired\n",
		},
		"a damaged tenant with its settings": {
			args:   []string{"tenant", "repair", "acme", "--quota", `{"concurrency":3}`, "--group", ""},
			answer: tenantIs, method: "POST", path: "/v1/tenants/acme/repair", body: `{"quota":{"concurrency":3}}`, out: "tenant acme is repaired\n",
		},
		"the entries of somebody": {
			args: []string{"audit", "--who", "key:x", "--what", "putModule", "--since", "2026-01-02T03:04:05Z", "--limit", "5", "-o", "json"}, answer: `{"entries":[]}`, method: "GET", path: "/v1/audit",
			query: url.Values{"who": {"key:x"}, "what": {"putModule"}, "since": {"2026-01-02T03:04:05Z"}, "limit": {"5"}}, out: "{\n  \"entries\": []\n}\n",
		},
		"a flow": {
			args: []string{"flow", "a/menu", "--input", `"pirates"`}, answer: `{"result":{"dish":"rum"}}`, method: "POST", path: "/v1/tenants/default/flows/a/menu",
			body: `{"data":"pirates"}`, out: "{\n  \"dish\": \"rum\"\n}\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := startStandIn(t, answer(http.StatusOK, test.answer))
			srv := s.url
			got := cliWith(t, test.stdin, append(test.args, "--server", srv)...)
			require.Equal(t, exitOK, got.exit, got.err)
			require.NotEmpty(t, s.asked)
			first := s.asked[0]
			assert.Equal(t, test.method+" "+test.path, first.method+" "+first.path)
			if test.query != nil {
				assert.Equal(t, test.query, first.query)
			}
			if test.body == "" {
				assert.Empty(t, first.body)
			} else {
				assert.JSONEq(t, test.body, first.body)
				assert.Equal(t, "application/json", first.header.Get("Content-Type"))
			}
			assert.Equal(t, test.out, got.out)
			assert.True(t, strings.HasPrefix(first.header.Get("User-Agent"), "genkit-wasm/"))
		})
	}
}

// An upload is the module alone, or a form where more goes with it.
func TestWhatAnUploadSends(t *testing.T) {
	wasm, err := os.ReadFile(calcFile)
	require.NoError(t, err)
	zip := write(t, "weather.zip", "PK\x03\x04")
	for name, test := range map[string]struct {
		args  []string
		path  string
		kind  string
		parts map[string]string // by name, each with its type and content
	}{
		"a module":            {[]string{calcFile}, "calc", "application/wasm", nil},
		"with a name":         {[]string{calcFile, "--name", "sums"}, "sums", "application/wasm", nil},
		"a script":            {[]string{greetFile}, "greet", "text/typescript", nil},
		"a script in JS":      {[]string{write(t, "hello.mjs", "x")}, "hello", "text/javascript", nil},
		"an archive":          {[]string{zip}, "weather", "application/zip", nil},
		"an archive of tar":   {[]string{write(t, "weather.tar", "x")}, "weather", "application/x-tar", nil},
		"an archive, smaller": {[]string{write(t, "weather.tar.gz", "\x1f\x8bx")}, "weather", "application/gzip", nil},
		"a directory":         {[]string{project(t)}, "weather", "application/gzip", nil},
		"a policy":            {[]string{calcFile, "--policy", `{"grants":{}}`}, "calc", "multipart/form-data", map[string]string{"policy": `application/json {"grants":{}}`, "module": "application/wasm " + string(wasm)}},
		"a descriptor": {[]string{greetFile, "--descriptor", `{"abi":"genkit/1"}`, "--policy", "{}"}, "greet", "multipart/form-data", map[string]string{
			"policy": "application/json {}", "descriptor": `application/json {"abi":"genkit/1"}`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, on := startStandIn(t, answer(http.StatusCreated, recorded))
			got := on(append([]string{"upload"}, test.args...)...)
			require.Equal(t, exitOK, got.exit, got.err)
			require.Len(t, s.asked, 1)
			assert.Equal(t, "PUT /v1/tenants/default/modules/"+test.path, s.asked[0].method+" "+s.asked[0].path)
			kind, params, err := mime.ParseMediaType(s.asked[0].header.Get("Content-Type"))
			require.NoError(t, err)
			assert.Equal(t, test.kind, kind)
			if test.parts == nil {
				assert.NotEmpty(t, s.asked[0].body)
				return
			}
			form := multipart.NewReader(strings.NewReader(s.asked[0].body), params["boundary"])
			found := map[string]string{}
			for {
				part, err := form.NextPart()
				if err != nil {
					require.ErrorIs(t, err, io.EOF)
					break
				}
				raw, err := io.ReadAll(part)
				require.NoError(t, err)
				found[part.FormName()] = part.Header.Get("Content-Type") + " " + string(raw)
			}
			for name, want := range test.parts {
				assert.Equal(t, want, found[name], name)
			}
			assert.Contains(t, found, "module")
		})
	}
}

// An upload tells what came of it.
func TestWhatAnUploadTells(t *testing.T) {
	s, on := startStandIn(t, answer(http.StatusCreated, recorded))
	_ = s
	assert.Equal(t, outcome{out: "module calc, revision 3, 2.0 KiB\n  calc/add\n  format calc/csv\n  policy kept: http, kv; limits timeoutMs\n"}, on("upload", calcFile))
	assert.Equal(t, outcome{out: "module calc, revision 3, 2.0 KiB\n  calc/add\n  format calc/csv\n"}, on("upload", calcFile, "--policy", "{}"))
	_, on = startStandIn(t, answer(http.StatusOK, recorded))
	assert.Equal(t, "module calc, revision 3, 2.0 KiB, unchanged\n  calc/add\n  format calc/csv\n", on("upload", calcFile).out)
	assert.JSONEq(t, recorded, on("upload", calcFile, "-o", "json").out)
	nameless := filepath.Join(t.TempDir(), "ü.wasm")
	require.NoError(t, os.WriteFile(nameless, []byte("no module"), 0o600))
	bare := on("upload", nameless)
	assert.Equal(t, exitUsage, bare.exit)
	assert.Contains(t, bare.err, "give it one with --name")
}

// Lists are tables for people, and what the server answers for programs.
func TestListsOfAServer(t *testing.T) {
	for name, test := range map[string]struct {
		args   []string
		answer string
		out    string // a pattern of the table
		err    string
	}{
		"modules": {
			[]string{"ls"},
			`{"modules":[` + recorded + `,{"name":"bad","revision":1,"problem":"the stored record is damaged"}]}`,
			`(?m)^calc +3 +1\.2 +2\.0 KiB +0123456789ab +\S+ \S+ +1 tool, 1 format +http, kv; limits timeoutMs +current$\nbad +1 +- +0 B +0001-01-01 .* - +- +problem: the stored record is damaged$`, "",
		},
		"revisions":  {[]string{"versions", "calc"}, `{"versions":[` + recorded + `]}`, `(?m)^calc +3 `, ""},
		"no modules": {[]string{"ls"}, `{"modules":[]}`, `^no modules yet; "genkit-wasm upload FILE" adds one\n$`, ""},
		"actions": {
			[]string{"ls", "--actions"},
			`{"actions":[{"key":"/tool/calc/add","type":"tool","name":"calc/add","description":"Adds\ntwo"},{"key":"/tool.v2/calc/add","type":"tool.v2","name":"calc/add"},{"key":"/tool.v2/calc/many","type":"tool.v2","name":"calc/many"},{"key":"/model/m","type":"model","name":"m"}],
				"middleware":[{"name":"retry","description":"Tries again"}],"failures":[{"status":"UNAVAILABLE","message":"the server of x does not answer"}],"modules":[{"name":"guard","descriptor":{"formats":[{"name":"csv","description":"CSV"}]}}]}`,
			`(?s)^TYPE +NAME +DESCRIPTION\ntool +calc/add +Adds two\ntool\.v2 +calc/many +\nmodel +m +\nmiddleware +retry +Tries again\nformat +guard/csv +CSV\n$`,
			"not listed: the server of x does not answer\n",
		},
		"keys": {
			[]string{"key", "ls"},
			`{"keys":[` + keyOfCI + `,{"id":"b","name":"x","scopes":["admin"],"state":"expired"}]}`,
			`(?m)^aaaaaaaaaaaaaaaa +ci +acme:invoke +active +2026-01-02 \S+ +2030-01-31 \S+ +-$\nb +x +admin +expired +- +- +-$`, "",
		},
		"secrets":     {[]string{"secret", "ls"}, `{"secrets":[` + entry + `]}`, `(?m)^NAME +CHANGED +PROBLEM\nWEATHER +2026-01-02 \S+ +-$`, ""},
		"credentials": {[]string{"credential", "ls"}, `{"credentials":[{"name":"openai","url":"https://x/v1","problem":"the server's key does not open it"}]}`, `(?m)^PROVIDER +CHANGED +SENT TO +PROBLEM\nopenai +- +https://x/v1 +the server's key does not open it$`, ""},
		"tenants": {
			[]string{"tenant", "ls"},
			`{"tenants":[` + tenantIs + `,{"name":"bad","state":"damaged","problem":"half a file"}]}`,
			`(?m)^acme +Acme +2026-01-02 \S+ +quota, group g +active$\nbad +- +- +- +damaged, problem: half a file$`, "",
		},
		"operations": {
			[]string{"tenant", "operations"},
			`{"operations":[{"id":"op-1","kind":"deleteTenant","tenant":"acme","state":"running","createdAt":"2026-01-02T03:04:05Z","progress":{"done":1,"total":2},"error":{"message":"the disk is full"}},{"id":"op-2","kind":"deleteTenant","tenant":"b","state":"succeeded","progress":{"done":2,"total":2}}]}`,
			`(?m)^op-1 +deleteTenant +acme +2026-01-02 \S+ +running, 1 of 2 modules: the disk is full$\nop-2 +deleteTenant +b +- +succeeded$`, "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, on := startStandIn(t, answer(http.StatusOK, test.answer))
			got := on(test.args...)
			require.Equal(t, exitOK, got.exit, got.err)
			assert.Regexp(t, test.out, got.out)
			assert.Equal(t, test.err, got.err)
			asJSON := on(append(test.args, "-o", "json")...)
			require.Equal(t, exitOK, asJSON.exit, asJSON.err)
			assert.True(t, json.Valid([]byte(asJSON.out)), asJSON.out)
			assert.Empty(t, asJSON.err)
			_, broken := startStandIn(t, answer(http.StatusOK, `{"modules":7,"versions":7,"keys":7,"secrets":7,"credentials":7,"tenants":7,"operations":7,"actions":7}`))
			bad := broken(test.args...)
			assert.Equal(t, exitFailed, bad.exit)
			assert.Contains(t, bad.err, "the server's answer is not a list of ")
		})
	}
}

// A tenant is shown with its settings, and with what it has spent where the server tells.
func TestATenantIsShownWhole(t *testing.T) {
	const spent = `{"day":{"tokens":5,"limit":10},"month":{"tokens":7},"money":{"currency":"USD","day":{"spent":"0.5","limit":"2"},"month":{"spent":"1"}}}`
	_, on := startStandIn(t, answer(http.StatusOK, tenantIs), answer(http.StatusOK, spent))
	shown := on("tenant", "show", "acme")
	require.Equal(t, exitOK, shown.exit, shown.err)
	for _, line := range []string{
		`TENANT +acme`, `state +active`, `display name +Acme`, `label plan +gold`, `quota +\{"concurrency":3\}`, `tokens today +5 of 10`, `tokens this month +7`, `money today +0\.5 of 2 USD`, `money this month +1 USD`,
		`group +g`, `created +2026-01-02 .*`, `operation +op-1`,
	} {
		assert.Regexp(t, `(?m)^`+line+`$`, shown.out)
	}
	assert.NotContains(t, shown.out, "limits", "what is the server's is not shown")
	_, on = startStandIn(t, answer(http.StatusOK, tenantIs), answer(http.StatusNotFound, problem(404, "NOT_FOUND", "no budget")))
	bare := on("tenant", "show", "acme")
	assert.Equal(t, exitOK, bare.exit, bare.err)
	assert.NotContains(t, bare.out, "tokens today")
}

// Before something goes, --dry-run tells what, from what the server answers.
func TestWhatWouldGoIsTold(t *testing.T) {
	_, on := startStandIn(t, answer(http.StatusOK, keyOfCI))
	assert.Equal(t, "key aaaaaaaaaaaaaaaa, ci, would be revoked, and what runs under it would end: acme:invoke; last used -; it expires ", on("key", "revoke", "aaaaaaaaaaaaaaaa", "--dry-run").out[:len("key aaaaaaaaaaaaaaaa, ci, would be revoked, and what runs under it would end: acme:invoke; last used -; it expires ")])
	open := answer(http.StatusNotFound, problem(404, "NOT_FOUND", "there is nothing at this path"))
	var s *standIn
	s, on = startStandIn(t, open, answer(http.StatusOK, `{"versions":[`+recorded+`,{"revision":1,"size":2}]}`))
	assert.Equal(t, outcome{out: "module calc would be removed, with its revisions 1 3 (2050 bytes) and all values that it has stored\n"}, on("rm", "calc", "--dry-run"))
	assert.Equal(t, "/v1/tenants/default/modules/calc/versions", s.asked[1].path)
	_, on = startStandIn(t, answer(http.StatusOK, `{"secrets":[`+entry+`]}`))
	assert.Regexp(t, `^secret WEATHER of tenant default would be removed; it was last changed 2026-01-02 .*\n$`, on("secret", "rm", "WEATHER", "--dry-run").out)
	none := on("secret", "rm", "OTHER", "--dry-run")
	assert.Equal(t, exitNotFound, none.exit)
	assert.Equal(t, "error: secret \"OTHER\" does not exist\n       \"genkit-wasm secret ls --tenant default\" lists them\n", none.err)
	_, on = startStandIn(t, answer(http.StatusOK, tenantIs), answer(http.StatusOK, `{"modules":[{"name":"a"},{"name":"b"}]}`), answer(http.StatusOK, `{"revisions":5,"storedBytes":99,"values":{"keys":7}}`))
	assert.Equal(t, outcome{out: "tenant acme would be deleted, with 2 modules of 5 revisions (99 bytes), 7 stored values, and its keys\n  a\n  b\n"}, on("tenant", "rm", "acme", "--dry-run"))
	for _, args := range [][]string{{"rm", "x"}, {"key", "revoke", "aaaaaaaaaaaaaaaa"}, {"secret", "rm", "x"}, {"tenant", "rm", "x"}} {
		_, on := startStandIn(t, answer(http.StatusOK, `7`))
		bad := on(append(args, "--dry-run")...)
		assert.Equal(t, exitFailed, bad.exit, args)
		assert.Contains(t, bad.err, "the server's answer ", args)
		_, on = startStandIn(t, answer(http.StatusServiceUnavailable, problem(503, "UNAVAILABLE", "starting")))
		assert.Equal(t, exitBusy, on(append(args, "--dry-run")...).exit, args)
	}
}

// A key is named by its name where only one has it, for which all pages of the list are read.
func TestAKeysNameIsLookedUp(t *testing.T) {
	pages := []http.HandlerFunc{
		answer(http.StatusOK, `{"keys":[{"id":"b","name":"x","scopes":["admin"]}],"cursor":"c1"}`),
		answer(http.StatusOK, `{"keys":[`+keyOfCI+`],"cursor":""}`),
		answer(http.StatusNoContent, ""),
	}
	s, on := startStandIn(t, pages...)
	require.Equal(t, outcome{out: "key ci is revoked\n"}, on("key", "revoke", "ci"))
	require.Len(t, s.asked, 3)
	assert.Equal(t, url.Values{"cursor": {"c1"}}, s.asked[1].query)
	assert.Equal(t, "/v1/keys/aaaaaaaaaaaaaaaa", s.asked[2].path)
	_, on = startStandIn(t, answer(http.StatusOK, `{"keys":[`+keyOfCI+`,`+strings.ReplaceAll(keyOfCI, "aaaa", "bbbb")+`]}`))
	twins := on("key", "revoke", "ci")
	assert.Equal(t, exitUsage, twins.exit)
	assert.Contains(t, twins.err, `2 keys are called "ci"; give the id of one: aaaaaaaaaaaaaaaa, bbbbbbbbbbbbbbbb`)
	assert.Equal(t, exitNotFound, on("key", "revoke", "none").exit)
	s, on = startStandIn(t, answer(http.StatusOK, `{}`))
	token := on("key", "revoke", "gwk_aaaaaaaaaaaaaaaa_b")
	assert.Equal(t, exitUsage, token.exit)
	assert.Contains(t, token.err, "that is a token")
	assert.Empty(t, s.asked, "a token is not sent as a name")
}

// What is wrong with a command's flags is told before anything is sent.
func TestNothingIsSentForFlagsThatAreWrong(t *testing.T) {
	for says, args := range map[string][]string{
		"say what the key may do, with --scope": {"key", "create", "x"},
		`--expires is "soon"`:                   {"key", "create", "x", "--scope", "admin", "--expires", "soon"},
		`--overlap is "-1h"`:                    {"key", "rotate", "aaaaaaaaaaaaaaaa", "--overlap", "-1h"},
		"--scope: ":                             {"key", "create", "x", "--scope", "a:b:c"},
		`--since is "x"`:                        {"audit", "--since", "x"},
		"--limit is 0":                          {"audit", "--limit", "0"},
		`--label is "x"`:                        {"tenant", "set", "a", "--label", "x"},
		`--label is "=x"`:                       {"tenant", "set", "a", "--label", "=x"},
		"say what to change":                    {"tenant", "set", "a"},
		"--limits: ":                            {"tenant", "create", "a", "--limits", "{"},
		"--revision is -1":                      {"rollback", "m", "--revision", "-1"},
		"--input: ":                             {"call", "a/b", "--input", "x"},
		"say which flow":                        {"flow"},
		"the flow is given twice":               {"flow", "a", "--url", "http://x"},
		`--header is "x"`:                       {"flow", "a", "--header", "x"},
		`--header is ": x"`:                     {"flow", "a", "--header", ": x"},
		"--schema: ":                            {"generate", "hi", "--schema", "{"},
		"--system: ":                            {"generate", "hi", "--system", "@none"},
		"is there: a backup does not replace":   {"backup", "go.mod"},
		"the key holds characters":              {"ls"},
	} {
		if says == "is there: a backup does not replace" {
			args[1] = write(t, "there", "x")
		}
		t.Run(says, func(t *testing.T) {
			if says == "the key holds characters" {
				t.Setenv(keyEnv, "a b")
			}
			s, on := startStandIn(t, answer(http.StatusOK, `{}`))
			got := on(args...)
			assert.Equal(t, exitUsage, got.exit, got.err)
			assert.Contains(t, got.err, says)
			assert.Contains(t, got.err, "\n       ", "with a hint")
			assert.Empty(t, s.asked)
		})
	}
}
