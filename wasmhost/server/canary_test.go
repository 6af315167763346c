package server_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var pathParameter = regexp.MustCompile(`\\{[^}]*\\}`)

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
