package server_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/flowserver/durable"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/backup"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/metrics"
)

// guarded is a world that asks who calls, with keys of each kind.
type guarded struct {
	*world
	keys *access.Keys
	log  *logged
}

// logged is a log that several goroutines write.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func newGuarded(t *testing.T, change func(*server.Config)) *guarded {
	t.Helper()
	keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: access.NewMemory()})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, keys.Close()) })
	g := &guarded{keys: keys, log: &logged{}}
	g.world = newWorld(t, func(c *server.Config) {
		c.Auth, c.Keys, c.Logger = keys, keys, slog.New(slog.NewJSONHandler(g.log, nil))
		m, err := metrics.New(metrics.Config{})
		require.NoError(t, err)
		require.NoError(t, m.Watch(c.Host))
		c.Metrics = m
		kept, err := audit.Open(t.TempDir(), audit.Config{})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, kept.Close()) })
		c.Audit = kept
		dir := t.TempDir()
		require.NoError(t, os.Mkdir(filepath.Join(dir, "kept"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "kept", "file"), []byte("content"), 0o600))
		c.Backup, err = backup.New(backup.Config{Dir: dir, Parts: []backup.Part{{Name: "kept"}}})
		require.NoError(t, err)
		if change != nil {
			change(c)
		}
	})
	return g
}

// key makes a key and returns its token.
func (g *guarded) key(scopes ...string) string {
	g.t.Helper()
	_, token := g.keyOf(scopes...)
	return token
}

func (g *guarded) keyOf(scopes ...string) (access.Key, string) {
	g.t.Helper()
	parsed, err := access.ParseScopes(scopes)
	require.NoError(g.t, err)
	key, token, err := g.keys.Create(g.t.Context(), access.KeySpec{Name: "test", Scopes: parsed})
	require.NoError(g.t, err)
	return key, token
}

func bearer(token string) string { return "Authorization: Bearer " + token }

// rules says who may do what, once more than the server does, by operation.
var rules = map[string]string{
	"listModules": "read", "getModule": "read", "listVersions": "read", "getUsage": "read", "listActions": "read", "reportTenantUsage": "read", "reportUsage": "admin",
	"runTool": "invoke", "runAction": "invoke", "generate": "invoke", "runFlow": "invoke", "mcp": "invoke",
	"createChatCompletion": "invoke", "createEmbedding": "invoke", "listOpenAIModels": "read",
	"putModule": "manage", "deleteModule": "manage", "rollbackModule": "manage",
	"listSecrets": "manage", "putSecret": "manage", "deleteSecret": "manage",
	"listCredentials": "manage", "putCredential": "manage", "deleteCredential": "manage",
	"getMetrics": "admin",
	"listKeys":   "admin", "createKey": "admin", "getKey": "admin", "revokeKey": "admin", "rotateKey": "admin",
	"listTenants": "admin", "createTenant": "admin", "getTenant": "admin", "changeTenant": "admin", "deleteTenant": "admin",
	"suspendTenant": "admin", "resumeTenant": "admin", "repairTenant": "admin", "getBudget": "read", "listOperations": "admin", "getOperation": "admin",
	"getIdentity": "signed in",
	"listAudit":   "admin", "getBackup": "admin",
	"getIndex": "open", "getOpenAPI": "open", "getScriptTypes": "open", "getHealth": "open", "getReadiness": "open",
}

// ruleOf reads the rule of an operation out of the document.
func ruleOf(t *testing.T, op object) string {
	t.Helper()
	security, ok := op["security"].([]any)
	require.True(t, ok, "%s says nothing of security", op["operationId"])
	if len(security) == 0 {
		return "open"
	}
	require.Len(t, security, 1)
	roles, ok := security[0].(object)["bearer"].([]any)
	require.True(t, ok)
	if len(roles) == 0 {
		return "signed in"
	}
	require.Len(t, roles, 1)
	return roles[0].(string)
}

// TestWhoMayDoWhat asks for every operation of the document as everybody.
func TestWhoMayDoWhat(t *testing.T) {
	g := newGuarded(t, nil)
	admin := g.key("admin")
	require.Equal(t, http.StatusCreated, g.put("calc", calc(t), bearer(admin)).status)
	short, expired, err := g.keys.Create(t.Context(), access.KeySpec{Name: "short", Scopes: access.Scopes{Admin: true}, ExpiresAt: time.Now().Add(1100 * time.Millisecond)})
	require.NoError(t, err)
	gone, revoked := g.keyOf("admin")
	require.NoError(t, g.keys.Revoke(t.Context(), gone.ID))
	require.Eventually(t, func() bool {
		k, err := g.keys.Get(short.ID)
		return err == nil && k.State == access.Expired
	}, 10*time.Second, 10*time.Millisecond)
	wrong := admin[:len(admin)-1] + string('a'+('z'-admin[len(admin)-1])%26)
	// who has what: none is refused with 401; the others are keys of the tenant default,
	// or of acme alone.
	callers := []struct {
		name, header string
		has          []string // rules that let them in; nil: 401
		other        bool     // the tenant does not exist for them
	}{
		{"nobody", "", nil, false},
		{"a wrong secret", bearer(wrong), nil, false},
		{"an unknown key", bearer("gwk_" + strings.Repeat("a", 16) + "_" + strings.Repeat("a", 52)), nil, false},
		{"half a key", bearer(admin[:30]), nil, false},
		{"a key in capitals", bearer(strings.ToUpper(admin)), nil, false},
		{"a key with more", bearer(admin + "a"), nil, false},
		{"a key and a blank", "Authorization: Bearer " + admin + " x", nil, false},
		{"another scheme", "Authorization: Basic " + admin, nil, false},
		{"no scheme", "Authorization: " + admin, nil, false},
		{"an empty token", "Authorization: Bearer ", nil, false},
		{"a huge token", bearer(strings.Repeat("x", 30<<10)), nil, false},
		{"a token that is a path", bearer("../../keys"), nil, false},
		{"an expired key", bearer(expired), nil, false},
		{"a revoked key", bearer(revoked), nil, false},
		{"read", bearer(g.key("default:read")), []string{"read"}, false},
		{"invoke", bearer(g.key("default:invoke")), []string{"read", "invoke"}, false},
		{"manage", bearer(g.key("default:manage", "default:read")), []string{"read", "invoke", "manage"}, false},
		{"admin", bearer(admin), []string{"read", "invoke", "manage", "admin"}, false},
		{"another's read", bearer(g.key("acme:read")), []string{}, true},
		{"another's invoke", bearer(g.key("acme:invoke")), []string{}, true},
		{"another's manage", bearer(g.key("acme:manage")), []string{}, true},
		{"a tenant of a similar name", bearer(g.key("Default:manage", "default.:manage", "defaul:manage")), []string{}, true},
	}
	seen := map[string]bool{}
	operations(t, openAPI(t, g.world), func(method, path string, op object) {
		id := op["operationId"].(string)
		rule := ruleOf(t, op)
		seen[id] = true
		require.Equal(t, rules[id], rule, "%s %s (%s): give it a rule in the table of this test", method, path, id)
		if rule != "open" {
			assert.Subset(t, keysOf(op["responses"].(object)), []string{"401", "403", "429"}, id)
		}
		for _, caller := range callers {
			methods := []string{method}
			if method == http.MethodGet {
				methods = append(methods, http.MethodHead)
			}
			for _, method := range methods {
				t.Run(id+"/"+method+" by "+caller.name, func(t *testing.T) {
					r := g.ask(method, path, caller.header)
					switch {
					case rule == "open":
						assert.Equal(t, http.StatusOK, r.status)
					case caller.has == nil:
						assert.Equal(t, http.StatusUnauthorized, r.status, r.body)
						assert.Contains(t, r.header.Get("WWW-Authenticate"), "Bearer")
					case rule == "signed in" || slices.Contains(caller.has, rule):
						assert.NotContains(t, []int{401, 403}, r.status, r.body)
						assert.NotContains(t, r.body, `tenant \"default\" does not exist`)
					case caller.other && strings.Contains(path, "{tenant}"):
						assert.Equal(t, http.StatusNotFound, r.status, r.body)
					default:
						assert.Equal(t, http.StatusForbidden, r.status, r.body)
						assert.Empty(t, r.header.Get("WWW-Authenticate"))
					}
				})
			}
		}
	})
	for id := range rules {
		assert.True(t, seen[id], "the table has a rule for %s, which is no operation", id)
	}
	for _, secret := range []string{admin, expired, revoked, wrong} {
		assert.NotContains(t, g.log.String(), secret[21:], "a secret is in the log")
	}
	assert.Contains(t, g.log.String(), `"identity":"key:`)
}

func keysOf(o object) (names []string) {
	for name := range o {
		names = append(names, name)
	}
	return names
}

// ask sends a request that changes nothing, even where it is allowed.
func (g *guarded) ask(method, path, authorization string) reply {
	g.t.Helper()
	concrete := strings.Replace(path, "{tenant}", "default", 1)
	concrete = regexp.MustCompile(`\{\w+\}`).ReplaceAllString(concrete, "none")
	headers := []string{`If-Match: "none"`}
	if authorization != "" {
		headers = append(headers, authorization)
	}
	return g.do(method, concrete, nil, headers...)
}

// TestAnothersTenantDoesNotExist compares the answers for a tenant that there is, and one
// that there is not, given to a caller who has no scope of either: they are the same but for the name.
func TestAnothersTenantDoesNotExist(t *testing.T) {
	g := newGuarded(t, nil)
	stranger, admin := g.key("acme:manage"), g.key("admin")
	require.Equal(t, http.StatusCreated, g.put("calc", calc(t), bearer(admin)).status)
	answer := func(method, path, body string, headers ...string) string {
		var b io.Reader
		if body != "" {
			b = strings.NewReader(body)
		}
		r := g.do(method, path, b, append(headers, "X-Request-Id: same")...)
		r.header.Del("Date")
		return fmt.Sprint(r.status, r.header, r.body)
	}
	requests := 0
	try := func(method, path, body string, headers ...string) {
		requests++
		there := answer(method, strings.Replace(path, "{tenant}", "default", 1), body, headers...)
		not := answer(method, strings.Replace(path, "{tenant}", "missing", 1), body, headers...)
		assert.Equal(t, strings.ReplaceAll(not, "missing", "default"), there, "%s %s", method, path)
	}
	operations(t, openAPI(t, g.world), func(method, path string, _ object) {
		if !strings.Contains(path, "{tenant}") {
			return
		}
		for _, name := range []string{"calc", "none"} {
			concrete := strings.NewReplacer("{name}", name, "{secret}", name, "{provider}", "openai", "{tool}", name+"/add", "{flow}", "menu/suggest").Replace(path)
			for _, method := range []string{method, "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "GET"} {
				try(method, concrete, "", bearer(stranger))
				try(method, concrete, `{"input":1}`, bearer(stranger), jsonType)
				try(method, concrete, "", bearer(stranger), sse, "If-None-Match: *")
				try(method, concrete, `{"input":1}`, jsonType) // nobody
				try(method, concrete, strings.Repeat("x", 64<<10), jsonType)
			}
		}
	})
	assert.Greater(t, requests, 100)
	// The answer is the one that the host gives to those who may see every tenant.
	want := g.do(http.MethodGet, "/v1/tenants/missing/modules", nil, bearer(admin))
	got := g.do(http.MethodGet, "/v1/tenants/missing/modules", nil, bearer(stranger))
	assert.Equal(t, want.problem(t).Detail, got.problem(t).Detail)
	assert.Equal(t, string(want.problem(t).Details), string(got.problem(t).Details))
}

// raw opens a connection and sends the beginning of a request.
func (g *guarded) raw(text string) net.Conn {
	g.t.Helper()
	conn, err := new(net.Dialer).DialContext(g.t.Context(), "tcp", g.Listener.Addr().String())
	require.NoError(g.t, err)
	g.t.Cleanup(func() { _ = conn.Close() })
	require.NoError(g.t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	_, err = io.WriteString(conn, text)
	require.NoError(g.t, err)
	return conn
}

// TestABodyIsNotReadBeforeItsSenderIsKnown sends the beginning of a body alone: the answer
// and the end of the connection don't wait for the rest.
func TestABodyIsNotReadBeforeItsSenderIsKnown(t *testing.T) {
	g := newGuarded(t, nil)
	for name, header := range map[string]string{"nobody": "", "a wrong key": bearer("gwk_x") + "\r\n", "no scope": bearer(g.key("default:read")) + "\r\n", "no tenant": bearer(g.key("acme:manage")) + "\r\n"} {
		for _, target := range []string{"PUT /v1/tenants/default/modules/calc", "POST /v1/tenants/default/generate", "POST /v1/tenants/default/flows/waits", "POST /v1/keys", "GET /v1/identity"} {
			for _, length := range []string{"Content-Length: 1000000", "Content-Length: 1000", "Transfer-Encoding: chunked"} {
				if name != "nobody" && name != "a wrong key" && target == "GET /v1/identity" {
					continue // every identity may
				}
				if name != "nobody" && length != "Content-Length: 1000" {
					continue // it takes a second each
				}
				t.Run(name+" "+target+" "+length, func(t *testing.T) {
					t.Parallel() // each waits for the end of its connection
					conn := g.raw(target + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n" + length + "\r\n" + header + "\r\n4\r\n{")
					answer, err := io.ReadAll(conn)
					require.NoError(t, err, "the connection is closed")
					resp, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answer)), nil)
					require.NoError(t, err)
					defer resp.Body.Close()
					assert.Contains(t, []int{401, 403, 404}, resp.StatusCode)
					assert.True(t, resp.Close, "the rest of the body must not be taken for a request")
				})
			}
		}
	}
}

// TestABodyThatNeverComesEnds has requests that nobody reads the body of.
func TestABodyThatNeverComesEnds(t *testing.T) {
	g := newGuarded(t, func(c *server.Config) { c.ReadTimeout = 200 * time.Millisecond })
	for _, target := range []string{"GET /", "GET /healthz", "POST /none", "POST /v1/tenants/default/modules", "POST /healthz", "OPTIONS /v1/keys"} {
		t.Run(target, func(t *testing.T) {
			conn := g.raw(target + " HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
			_, err := io.ReadAll(conn)
			assert.NoError(t, err, "the connection is closed")
		})
	}
}

func TestTheHeaderGoesNoFurther(t *testing.T) {
	g := newGuarded(t, nil)
	token := g.key("default:invoke")
	r := g.post("/tools/native/private", `{}`, bearer(token))
	assert.Equal(t, http.StatusInternalServerError, r.status)
	assert.NotContains(t, g.log.String(), token)
	two := g.raw("GET /v1/identity HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + bearer(token) + "\r\n" + bearer(token) + "\r\n\r\n")
	answer, err := io.ReadAll(two)
	require.NoError(t, err)
	assert.Contains(t, string(answer), "401 Unauthorized")
}

// revoking revokes a key once something has begun.
func (g *guarded) revoke(id string) {
	g.t.Helper()
	require.NoError(g.t, g.keys.Revoke(g.t.Context(), id))
}

func TestARevokedKeyEndsWhatRuns(t *testing.T) {
	m := durable.NewMemory(durable.MemoryConfig{})
	t.Cleanup(m.Close)
	open := func(t *testing.T, g *guarded, path, token string, headers ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, g.URL+tenant+path, strings.NewReader(`{}`))
		require.NoError(t, err)
		for _, h := range append(headers, jsonType, bearer(token)) {
			name, value, _ := strings.Cut(h, ": ")
			req.Header.Set(name, value)
		}
		resp, err := g.Client().Do(req)
		require.NoError(t, err)
		t.Cleanup(func() { _ = resp.Body.Close() })
		return resp
	}
	t.Run("a stream ends with an error", func(t *testing.T) {
		g := newGuarded(t, nil)
		key, token := g.keyOf("default:invoke")
		resp := open(t, g, "/tools/native/slow", token, sse)
		lines := bufio.NewReader(resp.Body)
		first, err := lines.ReadString('\n')
		require.NoError(t, err)
		assert.Contains(t, first, "started")
		g.revoke(key.ID)
		<-g.left
		rest, err := io.ReadAll(lines)
		require.NoError(t, err)
		assert.Contains(t, string(rest), `data: {"error":{"status":"UNAUTHENTICATED","message":"the key was revoked"}}`)
	})
	t.Run("a call that has not answered yet gets 401", func(t *testing.T) {
		g := newGuarded(t, nil)
		key, token := g.keyOf("default:invoke")
		go func() {
			<-g.waiting
			g.revoke(key.ID)
		}()
		resp := open(t, g, "/flows/waits", token)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, string(body))
		assert.Equal(t, `{"status":"UNAUTHENTICATED","message":"the key was revoked"}`, strings.TrimSpace(string(body)))
		assert.Contains(t, resp.Header.Get("WWW-Authenticate"), "invalid_token")
	})
	t.Run("a tool's call that has not answered yet gets 401", func(t *testing.T) {
		g := newGuarded(t, nil)
		key, token := g.keyOf("default:invoke")
		go func() {
			<-g.running
			g.revoke(key.ID)
		}()
		resp := open(t, g, "/tools/native/slow", token)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, string(body))
		assert.Contains(t, string(body), "the key was revoked")
		assert.Contains(t, resp.Header.Get("WWW-Authenticate"), "invalid_token")
	})
	t.Run("a flow that runs on without a reader ends", func(t *testing.T) {
		g := newGuarded(t, func(c *server.Config) { c.FlowStreams = m })
		key, token := g.keyOf("default:invoke")
		_, other := g.keyOf("default:invoke")
		resp := open(t, g, "/flows/waits", token, sse)
		id := resp.Header.Get("X-Genkit-Stream-Id")
		require.NotEmpty(t, id)
		<-g.waiting
		assert.Equal(t, http.StatusNoContent, open(t, g, "/flows/waits", other, sse, "X-Genkit-Stream-Id: "+id).StatusCode, "it is another key's")
		_ = resp.Body.Close() // the reader leaves, the flow runs on
		g.revoke(key.ID)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		assert.NoError(t, g.api.Close(ctx), "the flow has ended by itself")
	})
	t.Run("another key's calls go on", func(t *testing.T) {
		g := newGuarded(t, nil)
		key, _ := g.keyOf("default:invoke")
		_, other := g.keyOf("default:invoke")
		resp := open(t, g, "/tools/native/slow", other, sse)
		g.revoke(key.ID)
		_ = resp.Body.Close()
		<-g.left
	})
}

// TestAHalfSentChangeDoesNotOutliveItsKey sends a request for a new admin key, but for its
// last byte, has the sender revoked, and sends the last byte.
func TestAHalfSentChangeDoesNotOutliveItsKey(t *testing.T) {
	g := newGuarded(t, nil)
	for name, request := range map[string]struct{ target, kind, body string }{
		"a key":    {"POST /v1/keys", "application/json", `{"name":"mine","scopes":["admin"]}`},
		"a module": {"PUT /v1/tenants/default/modules/calc", "application/wasm", string(calc(t))},
		"a call":   {"POST /v1/tenants/default/tools/native/pretty", "application/json", `{}`},
		"a flow":   {"POST /v1/tenants/default/flows/menu/suggest", "application/json", `{"data":1}`},
	} {
		sends := func(t *testing.T, finish bool) {
			t.Helper()
			key, token := g.keyOf("admin")
			last := len(request.body) - 1
			conn := g.raw(fmt.Sprintf("%s HTTP/1.1\r\nHost: x\r\nContent-Type: %s\r\nContent-Length: %d\r\n%s\r\n\r\n%s",
				request.target, request.kind, len(request.body), bearer(token), request.body[:last]))
			require.Eventually(t, func() bool {
				k, err := g.keys.Get(key.ID)
				return err == nil && !k.LastUsedAt.IsZero() // the request is under way
			}, 10*time.Second, time.Millisecond)
			g.revoke(key.ID)
			if finish {
				_, _ = io.WriteString(conn, request.body[last:])
			}
			resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err)
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			assert.Equal(t, http.StatusUnauthorized, resp.StatusCode, string(body))
			assert.Contains(t, resp.Header.Get("WWW-Authenticate"), "invalid_token")
		}
		t.Run(name, func(t *testing.T) { sends(t, true) })
		t.Run(name+" that never comes", func(t *testing.T) { sends(t, false) })
	}
	keys, _ := g.keys.List("", 100)
	assert.Empty(t, keys)
	records, err := g.host.Modules("default")
	require.NoError(t, err)
	assert.Empty(t, records)
}

func TestKeysOverHTTP(t *testing.T) {
	g := newGuarded(t, nil)
	admin := bearer(g.key("admin"))
	send := func(method, path, body string, headers ...string) reply {
		return g.do(method, path, strings.NewReader(body), append(headers, jsonType, admin)...)
	}
	var made struct {
		Token string
		Key   access.Key
	}
	r := send("POST", "/v1/keys", `{"name":"ci","scopes":["acme:invoke","acme:read"],"expiresAt":"2999-01-01T00:00:00Z"}`)
	require.Equal(t, http.StatusCreated, r.status, r.body)
	require.NoError(t, json.Unmarshal([]byte(r.body), &made))
	assert.Equal(t, "/v1/keys/"+made.Key.ID, r.header.Get("Location"))
	assert.Equal(t, []string{"acme:invoke"}, made.Key.Scopes.List())
	assert.Regexp(t, `^gwk_[a-z2-7]{16}_[a-z2-7]{52}$`, made.Token)
	assert.Equal(t, http.StatusOK, g.do("GET", "/v1/tenants/acme/actions", nil, bearer(made.Token)).status)
	who := g.do("GET", "/v1/identity", nil, bearer(made.Token))
	assert.JSONEq(t, `{"subject":"key:`+made.Key.ID+`","name":"ci","scopes":["acme:invoke"]}`, who.body)

	got := send("GET", "/v1/keys/"+made.Key.ID, "")
	assert.Equal(t, http.StatusOK, got.status)
	assert.NotContains(t, got.body, made.Token[21:])
	assert.NotContains(t, got.body, "hash")
	assert.Contains(t, got.body, "lastUsedAt")

	old := made.Token
	r = send("POST", "/v1/keys/"+made.Key.ID+"/rotate", `{"overlapSeconds":3600}`)
	require.Equal(t, http.StatusOK, r.status, r.body)
	require.NoError(t, json.Unmarshal([]byte(r.body), &made))
	for _, token := range []string{old, made.Token} {
		assert.Equal(t, http.StatusOK, g.do("GET", "/v1/identity", nil, bearer(token)).status)
	}
	require.Equal(t, http.StatusOK, send("POST", "/v1/keys/"+made.Key.ID+"/rotate", ``).status)
	for _, token := range []string{old, made.Token} {
		assert.Equal(t, http.StatusUnauthorized, g.do("GET", "/v1/identity", nil, bearer(token)).status)
	}
	assert.Equal(t, http.StatusNoContent, send("DELETE", "/v1/keys/"+made.Key.ID, "").status)
	for _, method := range []string{"GET", "DELETE"} {
		assert.Equal(t, http.StatusNotFound, send(method, "/v1/keys/"+made.Key.ID, "").status)
	}
	assert.Equal(t, http.StatusNotFound, send("POST", "/v1/keys/"+made.Key.ID+"/rotate", "").status)

	for _, body := range []string{
		``, `[]`, `null`, `{"name":"x"}`, `{"scopes":["admin"]}`, `{"name":"","scopes":["admin"]}`, `{"name":"a\nb","scopes":["admin"]}`,
		`{"name":"x","scopes":[]}`, `{"name":"x","scopes":"admin"}`, `{"name":"x","scopes":["root"]}`, `{"name":"x","scopes":["acme:admin"]}`,
		`{"name":"x","scopes":["../x:read"]}`, `{"name":"x","scopes":["*:read"]}`, `{"name":"x","scopes":["acme"]}`, `{"name":"x","scopes":["admin"],"admin":true}`,
		`{"name":"x","scopes":["admin"],"expiresAt":"2001-01-01T00:00:00Z"}`, `{"name":"x","scopes":["admin"],"expiresAt":1}`, `{"name":"x","Scopes":["admin"]}`,
		`{"name":"x","scopes":["acme:read"],"scopes":["admin"]}`, `{"name":"x","scopes":["admin"],"expiresAt":null}`,
	} {
		assert.Equal(t, http.StatusBadRequest, send("POST", "/v1/keys", body).status, body)
	}
	for _, body := range []string{`{"overlapSeconds":-1}`, `{"overlapSeconds":null}`, `{"overlapSeconds":1e10}`, `{"overlapSeconds":"1"}`, `{"overlapSeconds":2592001}`, `{"overlap":1}`, `{"expiresAt":"2001-01-01T00:00:00Z"}`} {
		assert.Equal(t, http.StatusBadRequest, send("POST", "/v1/keys/"+made.Key.ID+"/rotate", body).status, body)
	}
	for _, query := range []string{"limit=0", "limit=1001", "limit=x", "cursor=x", "cursor=e30x!", "cursor=" + strings.Repeat("A", 300)} {
		assert.Equal(t, http.StatusBadRequest, send("GET", "/v1/keys?"+query, "").status, query)
	}

	for range 6 {
		g.key("acme:read")
	}
	var ids []string
	path := "/v1/keys?limit=3"
	for pages := 0; ; pages++ {
		require.Less(t, pages, 5)
		var page struct {
			Keys   []access.Key
			Cursor string
		}
		require.NoError(t, json.Unmarshal([]byte(send("GET", path, "").body), &page))
		assert.LessOrEqual(t, len(page.Keys), 3)
		for _, k := range page.Keys {
			ids = append(ids, k.ID)
		}
		if page.Cursor == "" {
			break
		}
		path = "/v1/keys?limit=3&cursor=" + page.Cursor
	}
	assert.Len(t, ids, 7)
	assert.Len(t, slices.Compact(slices.Sorted(slices.Values(ids))), 7)
}

func TestGuardedAnswersMatchTheDocument(t *testing.T) {
	g := newGuarded(t, nil)
	doc := openAPI(t, g.world)
	checkRefs(t, doc, doc, "#")
	assertAllUsed(t, doc)
	for name, s := range doc["components"].(object)["schemas"].(object) {
		checkSchema(t, doc, name, s)
	}
	operations(t, doc, func(method, path string, op object) {
		checkParameters(t, doc, method+" "+path, path, op)
		checkResponses(t, doc, method+" "+path, op)
	})
}

func TestKeysWithoutAuthAreRefused(t *testing.T) {
	keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: access.NewMemory()})
	require.NoError(t, err)
	defer keys.Close()
	w := newWorld(t, nil)
	_, err = server.New(server.Config{Host: w.host, Registry: w.registry, Keys: keys})
	assert.Error(t, err)
	assert.Equal(t, http.StatusNotFound, w.do("GET", "/v1/keys", nil).status)
	assert.Equal(t, http.StatusNotFound, w.do("GET", "/v1/identity", nil).status)
}

// asked notes what an authenticator is asked.
type asked struct{ from chan netip.Addr }

func (a asked) Authenticate(_ context.Context, c access.Credentials) (*access.Identity, error) {
	a.from <- c.From
	return &access.Identity{Subject: "somebody"}, nil
}

func TestWhereARequestComesFrom(t *testing.T) {
	for name, test := range map[string]struct {
		trusted   []string
		forwarded []string
		want      string
	}{
		"no proxy is trusted":            {nil, []string{"198.51.100.7"}, "127.0.0.1"},
		"another proxy is trusted":       {[]string{"10.0.0.0/8"}, []string{"198.51.100.7"}, "127.0.0.1"},
		"one proxy":                      {[]string{"127.0.0.0/8"}, []string{"198.51.100.7"}, "198.51.100.7"},
		"with a port":                    {[]string{"127.0.0.0/8"}, []string{"198.51.100.7:99"}, "198.51.100.7"},
		"IPv6":                           {[]string{"127.0.0.0/8"}, []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv6 with a port":               {[]string{"127.0.0.0/8"}, []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		"the caller has written one":     {[]string{"127.0.0.0/8"}, []string{"203.0.113.1, 198.51.100.7"}, "198.51.100.7"},
		"two proxies":                    {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"203.0.113.1, 198.51.100.7, 10.1.1.1"}, "198.51.100.7"},
		"in two headers":                 {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"198.51.100.7", "10.1.1.1"}, "198.51.100.7"},
		"the caller says it is a proxy":  {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"10.9.9.9, 198.51.100.7"}, "198.51.100.7"},
		"mapped addresses are the same":  {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"198.51.100.7, ::ffff:10.1.1.1"}, "198.51.100.7"},
		"nonsense ends the way":          {[]string{"127.0.0.0/8", "10.0.0.0/8"}, []string{"198.51.100.7, unknown, 10.1.1.1"}, "10.1.1.1"},
		"nothing":                        {[]string{"127.0.0.0/8"}, nil, "127.0.0.1"},
		"all are proxies":                {[]string{"0.0.0.0/0"}, []string{"203.0.113.1, 198.51.100.7"}, "203.0.113.1"},
		"a zone is no part of a network": {[]string{"127.0.0.0/8"}, []string{"fe80::1%eth0"}, "fe80::1"},
	} {
		t.Run(name, func(t *testing.T) {
			a := asked{make(chan netip.Addr, 1)}
			w := newWorld(t, func(c *server.Config) {
				c.Auth = a
				for _, text := range test.trusted {
					c.TrustedProxies = append(c.TrustedProxies, netip.MustParsePrefix(text))
				}
			})
			request := "GET /v1/identity HTTP/1.1\r\nHost: x\r\nConnection: close\r\n" + bearer("x") + "\r\n"
			for _, value := range test.forwarded {
				request += "X-Forwarded-For: " + value + "\r\n"
			}
			conn := (&guarded{world: w}).raw(request + "\r\n")
			answer, err := io.ReadAll(conn)
			require.NoError(t, err)
			assert.Contains(t, string(answer), "200 OK")
			assert.Equal(t, test.want, (<-a.from).String())
		})
	}
}

// TestABodyEndsWithItsKey has no connection whose read could be cut short: the rest of the
// body arrives after the key was revoked.
func TestABodyEndsWithItsKey(t *testing.T) {
	g := newGuarded(t, nil)
	require.Equal(t, http.StatusCreated, g.put("calc", calc(t), bearer(g.key("admin"))).status)
	for path, body := range map[string]string{"/flows/menu/suggest": `{"data":1}`, "/modules/calc/rollback": `{"revision":1}`, "/tools/native/pretty": `{}`} {
		key, token := g.keyOf("default:manage")
		from, into := io.Pipe()
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, tenant+path, from)
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		go func() {
			_, _ = into.Write([]byte(body[:1]))
			g.revoke(key.ID)
			_, _ = into.Write([]byte(body[1:]))
			_ = into.Close()
		}()
		g.api.Handler().ServeHTTP(w, r)
		_ = from.Close()
		assert.Equal(t, http.StatusUnauthorized, w.Code, "%s: %s", path, w.Body)
		assert.Contains(t, w.Body.String(), "the key was revoked", path)
		assert.Contains(t, w.Header().Get("WWW-Authenticate"), "invalid_token", path)
	}
}
