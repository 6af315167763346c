package server_test

import (
	"encoding/json"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pathParameter = regexp.MustCompile(`\{[^}]*\}`)

// An API key that is put into any place of any request, right or wrong, is in no log, event, metric, audit entry or
// answer. Its place is Authorization, where it is sent too.
func TestAKeyInTheWrongPlaceStaysSecret(t *testing.T) {
	g := newAudited(t)
	root, canary := g.key("admin"), g.key("admin", "default:manage")
	secret := canary[21:]
	everywhere := func(name string, r reply) {
		if r.status < 300 && (strings.HasPrefix(name, "runTool") || strings.HasPrefix(name, "generate")) {
			return // they give back what they were given
		}
		for _, values := range r.header {
			assert.NotContains(t, strings.Join(values, "\n"), secret, name)
		}
		assert.NotContains(t, r.body, secret, name)
	}
	doc := openAPI(t, g.world)
	requests := 0
	for path, methods := range doc["paths"].(object) {
		for method, o := range methods.(object) {
			method = strings.ToUpper(method)
			id := o.(object)["operationId"].(string)
			query := "?" + url.Values{"since": {canary}, "by": {canary}, "cursor": {canary}, "limit": {canary}, "type": {canary}, "tenant": {canary}, "who": {canary}, "x": {canary}}.Encode()
			headers := []string{
				"Cookie: k=" + canary, "User-Agent: " + canary, "X-Request-Id: " + canary, "If-Match: \"" + canary + "\"", "Referer: https://x/?" + canary,
				"X-Genkit-Stream-Id: " + canary, "X-Forwarded-For: " + canary, "Proxy-Authorization: " + canary, "X-Api-Key: " + canary,
			}
			body := `{"name":"` + canary + `","` + canary + `":1,"value":["` + canary + `"],"model":"` + canary + `","messages":[],"input":{"` + canary + `":"` + canary + `"},"scopes":["` + canary + `"]}`
			if id == "runTool" {
				body = `{"input":{"` + canary + `":"` + canary + `"}}`
			}
			if method == http.MethodGet {
				body = ""
			}
			for place, where := range map[string]string{
				"as names":         pathParameter.ReplaceAllString(path, canary),
				"of what is there": strings.NewReplacer("{tenant}", "default", "{tool}", "native/pretty").Replace(path),
			} {
				if id == "deleteTenant" || id == "suspendTenant" || id == "revokeKey" || id == "rotateKey" {
					where = pathParameter.ReplaceAllString(path, canary) // else the rest has nothing to work on
				}
				where = pathParameter.ReplaceAllString(where, canary)
				for name, more := range map[string][]string{
					"as itself": {bearer(root)}, "as the key": {bearer(canary)}, "twice": {"Authorization: Bearer " + canary + " " + canary}, "unsigned": nil,
				} {
					for _, q := range []string{"", query} {
						headers := append(append([]string{"Idempotency-Key: " + canary}, headers...), more...)
						everywhere(id+" "+place+" "+name, g.send(method, where+q, body, headers...))
						requests++
					}
				}
			}
		}
	}
	assert.Greater(t, requests, 500)
	assert.NotContains(t, g.do("GET", "/metrics", nil, bearer(root)).body, secret)
	require.NoError(t, g.kept.Close())
	assert.NotContains(t, g.log.String(), secret, "the server's log")
	g.events.of(t, "native/pretty")
	g.events.mu.Lock()
	events, err := json.Marshal(g.events.events)
	g.events.mu.Unlock()
	require.NoError(t, err)
	assert.NotContains(t, string(events), secret, "an event")
	assert.NotContains(t, g.contents(), secret, "the audit log")
}

// A tenant's secrets, its API keys for models, tokens of issuers and the token of a key that was made under an Idempotency-Key are
// in no log, event, metric, audit entry or answer of any operation, and the values are not in the files that keep them.
func TestValuesOfTenantsStaySecret(t *testing.T) {
	g := newAudited(t)
	root := bearer(g.key("admin"))
	values := map[string]string{
		"a secret": "canary-secret-3f9d", "a credential": "canary-credential-77aa",
		"a token": "eyJhbGciOiJub25lIn0.eyJpc3MiOiJjYW5hcnkifQ.canarysignature51c2",
	}
	require.Equal(t, http.StatusCreated, g.send("PUT", tenant+"/secrets/A", valueOf(values["a secret"]), root).status)
	require.Equal(t, http.StatusCreated, g.send("PUT", tenant+"/credentials/openai", valueOf(values["a credential"]), root).status)
	made := g.send("POST", "/v1/keys", `{"name":"x","scopes":["default:read"]}`, root, "Idempotency-Key: k")
	require.Equal(t, http.StatusCreated, made.status)
	var key struct{ Token string }
	require.NoError(t, json.Unmarshal([]byte(made.body), &key))
	values["a token that was told once"] = key.Token[21:]
	hidden := func(where, text string) {
		t.Helper()
		for name, value := range values {
			assert.NotContains(t, text, value, "%s in %s", name, where)
		}
	}
	hidden("a replayed answer", g.send("POST", "/v1/keys", `{"name":"x","scopes":["default:read"]}`, root, "Idempotency-Key: k").body)
	for path, methods := range openAPI(t, g.world)["paths"].(object) {
		for method, o := range methods.(object) {
			id := o.(object)["operationId"].(string)
			where := strings.NewReplacer("{tenant}", "default", "{secret}", "A", "{provider}", "openai", "{tool}", "native/private", "{flow}", "breaks").Replace(path)
			where = pathParameter.ReplaceAllString(where, "none")
			for _, auth := range []string{root, bearer(values["a token"]), bearer(key.Token)} {
				if method = strings.ToUpper(method); method != http.MethodGet && auth == root && (id == "deleteTenant" || id == "suspendTenant" || strings.HasPrefix(id, "delete")) {
					continue // else the rest has nothing to work on
				}
				r := g.send(method, where, "", auth)
				hidden(id, r.body)
				for _, header := range r.header {
					hidden(id, strings.Join(header, "\n"))
				}
			}
		}
	}
	hidden("the metrics", g.do("GET", "/metrics", nil, root).body)
	require.NoError(t, g.kept.Close())
	hidden("the server's log", g.log.String())
	hidden("the audit log", g.contents())
	g.events.mu.Lock()
	events, err := json.Marshal(g.events.events)
	g.events.mu.Unlock()
	require.NoError(t, err)
	hidden("an event", string(events))
	require.NoError(t, filepath.WalkDir(g.secretsAt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		hidden(path, string(raw))
		return err
	}))
}
