package server_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// audited is a guarded world with an audit log in a directory.
type audited struct {
	*guarded
	dir  string
	kept *audit.Log
}

func newAudited(t *testing.T) *audited {
	t.Helper()
	a := &audited{dir: t.TempDir()}
	var err error
	a.kept, err = audit.Open(a.dir, audit.Config{})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.kept.Close()) })
	a.guarded = newGuarded(t, func(c *server.Config) { c.Audit = a.kept })
	return a
}

func (a *audited) entries(query string) (list []audit.Entry) {
	a.t.Helper()
	var page struct{ Entries []audit.Entry }
	r := a.do("GET", "/v1/audit?"+query, nil, bearer(a.key("admin")))
	require.Equal(a.t, http.StatusOK, r.status, r.body)
	r.into(a.t, &page)
	return page.Entries
}

func (a *audited) contents() string {
	a.t.Helper()
	names, err := os.ReadDir(a.dir)
	require.NoError(a.t, err)
	var all strings.Builder
	for _, n := range names {
		raw, err := os.ReadFile(filepath.Join(a.dir, n.Name()))
		require.NoError(a.t, err)
		all.Write(raw)
	}
	return all.String()
}

// Every operation of the document, asked for by everybody: a change, and a backup, is in the log before it is answered, by
// who made it, and nothing else is.
func TestWhatIsInTheAuditLog(t *testing.T) {
	a := newAudited(t)
	admin, manager := a.key("admin"), a.key("default:manage")
	operations(t, openAPI(t, a.world), func(method, path string, op object) {
		id, rule := op["operationId"].(string), ruleOf(t, op)
		change := method != http.MethodGet && (rule == "admin" || rule == "manage") || id == "getBackup"
		for name, caller := range map[string]struct {
			token   string
			allowed bool
		}{
			"nobody": {"", false}, "somebody unknown": {"gwk_x", false}, "a manager": {manager, rule == "manage"}, "an admin": {admin, true},
		} {
			before := a.kept.Head().Seq
			authorization := ""
			if caller.token != "" {
				authorization = bearer(caller.token)
			}
			r := a.ask(method, path, authorization)
			if !change || !caller.allowed {
				assert.Equal(t, before, a.kept.Head().Seq, "%s by %s", id, name)
				continue
			}
			assert.Equal(t, before+2, a.kept.Head().Seq, "%s by %s: %d %s", id, name, r.status, r.body)
			assert.Contains(t, keysOf(op["responses"].(object)), "503", id)
			list, _, err := a.kept.List(audit.Query{Limit: 2})
			require.NoError(t, err)
			result, begun := list[0], list[1]
			assert.Equal(t, audit.Begun, begun.Result)
			assert.Equal(t, begun.Seq, result.Of)
			assert.True(t, strings.HasPrefix(result.Result, fmt.Sprint(r.status)), "%s: %s, and the answer was %d", id, result.Result, r.status)
			for _, e := range list {
				assert.Equal(t, id, e.What)
				assert.True(t, strings.HasPrefix(e.Who, "key:"), e.Who)
				assert.Equal(t, "127.0.0.1", e.From)
				assert.Equal(t, r.header.Get("X-Request-Id"), e.Request)
				assert.True(t, strings.HasPrefix(e.On, "/v1/"), e.On)
			}
		}
	})
}

func TestTheAuditLogNamesWhatWasMade(t *testing.T) {
	a := newAudited(t)
	admin := bearer(a.key("admin"))
	var made struct{ Key access.Key }
	a.send("POST", "/v1/keys", `{"name":"x","scopes":["admin"]}`, admin).into(t, &made)
	require.Equal(t, http.StatusCreated, a.send("POST", "/v1/tenants", `{"name":"made"}`, admin).status)
	require.Equal(t, http.StatusCreated, a.put("calc", calc(t), admin).status)
	for what, on := range map[string]string{"createKey": "/v1/keys/" + made.Key.ID, "createTenant": "/v1/tenants/made", "putModule": "/v1/tenants/default/modules/calc"} {
		list := a.entries("what=" + what)
		require.Len(t, list, 2, what)
		assert.Equal(t, on, list[0].On)
		assert.Equal(t, "201", list[0].Result)
	}
	require.Equal(t, http.StatusConflict, a.send("POST", "/v1/tenants", `{"name":"made"}`, admin).status)
	assert.Equal(t, "409 ALREADY_EXISTS", a.entries("what=createTenant&limit=1")[0].Result)
	assert.Empty(t, a.entries("who=nobody"))
	assert.Empty(t, a.entries("since=2999-01-01T00:00:00Z"))
	assert.NotEmpty(t, a.entries("since=2001-01-01T00:00:00Z"))
	for _, bad := range []string{"since=x", "since=", "who=", "what=", "what=" + strings.Repeat("x", 513), "limit=0", "cursor=x", "cursor=tenants.MQ"} {
		assert.Equal(t, http.StatusBadRequest, a.do("GET", "/v1/audit?"+bad, nil, admin).status, bad)
	}
	var seen []uint64
	for path := "/v1/audit?limit=3"; path != ""; {
		var page struct {
			Entries []audit.Entry
			Cursor  string
		}
		r := a.do("GET", path, nil, admin)
		r.into(t, &page)
		assertDocumented(t, a.world, r, "/v1/audit", "get", "200")
		for _, e := range page.Entries {
			seen = append(seen, e.Seq)
		}
		if path = ""; page.Cursor != "" {
			path = "/v1/audit?limit=3&cursor=" + page.Cursor
		}
	}
	assert.Equal(t, []uint64{8, 7, 6, 5, 4, 3, 2, 1}, seen)
	report, err := audit.Verify(a.dir, "")
	require.NoError(t, err)
	assert.Equal(t, 8, report.Entries)
}

// Whatever is secret in a request or an answer is in no file of the log.
func TestNoSecretIsInTheAuditLog(t *testing.T) {
	a := newAudited(t)
	admin := a.key("admin")
	const canary = "canary-4f1d"
	var made, again struct {
		Token string
		Key   access.Key
	}
	a.send("POST", "/v1/keys", `{"name":"`+canary+`","scopes":["admin"]}`, bearer(admin)).into(t, &made)
	a.send("POST", "/v1/keys/"+made.Key.ID+"/rotate", `{}`, bearer(admin)).into(t, &again)
	a.send("DELETE", "/v1/keys/"+again.Token+"?token="+canary, "", bearer(admin), "Cookie: "+canary)
	a.send("POST", "/v1/tenants", `{"name":"made","displayName":"`+canary+`"}`, bearer(admin), "Idempotency-Key: "+canary)
	a.do("GET", "/v1/keys", nil, bearer("gwk_"+strings.Repeat("z", 16)+"_"+strings.Repeat("y", 52)))
	require.NoError(t, a.kept.Close())
	log := a.contents()
	assert.Contains(t, log, again.Key.ID)
	for _, secret := range []string{canary, admin[21:], made.Token[21:], again.Token[21:], strings.Repeat("y", 52)} {
		assert.NotContains(t, log, secret)
	}
}

// Who tries keys, and who asks for what their key does not allow, is counted.
func TestRefusalsAreCounted(t *testing.T) {
	a := newAudited(t)
	for range 5 {
		a.do("GET", "/v1/keys", nil, bearer("wrong"))
		a.do("GET", "/v1/keys", nil) // tries nothing
		a.send("POST", "/v1/keys", `{}`, bearer(a.key("default:manage")))
		a.do("GET", "/v1/keys", nil, bearer(a.key("default:manage"))) // is no change
	}
	assert.Zero(t, a.kept.Head().Seq, "nothing is written at once")
	require.NoError(t, a.kept.Close())
	var err error
	a.kept, err = audit.Open(a.dir, audit.Config{})
	require.NoError(t, err)
	list, _, err := a.kept.List(audit.Query{})
	require.NoError(t, err)
	count := map[string]int{}
	for _, e := range list {
		count[e.What+" "+e.Result] += e.Count
		assert.Equal(t, "127.0.0.1", e.From)
	}
	assert.Equal(t, map[string]int{"signIn 401 UNAUTHENTICATED": 5, "createKey 403 PERMISSION_DENIED": 5}, count)
}

// Without its log a server changes nothing, and goes on to run tools.
func TestWithoutTheAuditLogNothingIsChanged(t *testing.T) {
	a := newAudited(t)
	admin := bearer(a.key("admin"))
	require.Equal(t, http.StatusCreated, a.put("calc", calc(t), admin).status)
	require.NoError(t, a.kept.Close())
	for method, path := range map[string]string{"POST": "/v1/tenants", "DELETE": tenant + "/modules/calc", "PATCH": "/v1/tenants/default"} {
		r := a.send(method, path, `{"name":"made"}`, admin, "If-Match: *")
		assert.Equal(t, http.StatusServiceUnavailable, r.status, path)
		assert.Equal(t, "UNAVAILABLE", r.problem(t).StatusName)
	}
	assert.Equal(t, http.StatusServiceUnavailable, a.put("calc2", calc(t), admin).status)
	assert.Equal(t, http.StatusServiceUnavailable, a.do("GET", "/v1/audit", nil, admin).status)
	assert.Equal(t, http.StatusNotFound, a.do("GET", "/v1/tenants/made", nil, admin).status)
	assert.Equal(t, http.StatusOK, a.do("GET", tenant+"/modules/calc", nil, admin).status)
	r := a.send("POST", tenant+"/tools/calc/add", `{"input":{"a":1,"b":2}}`, admin)
	assert.Equal(t, http.StatusOK, r.status, r.body)
}

// fullLog is a log whose disk may be full.
type fullLog struct {
	*audit.Log
	full atomic.Bool
}

func (l *fullLog) Append(e audit.Entry) (audit.Entry, error) {
	if l.full.Load() {
		return audit.Entry{}, status.Publicf(status.Unavailable, "the audit log can't be written: the server's disk is full")
	}
	return l.Log.Append(e)
}

// While the log can't be written a key can be revoked and a tenant suspended, as whoever has filled the disk has to be stopped. The
// entries come later.
func TestWithoutTheAuditLogCallersCanBeStopped(t *testing.T) {
	a := newAudited(t)
	log := &fullLog{Log: a.kept}
	g := newGuarded(t, func(c *server.Config) { c.Audit = log })
	admin := bearer(g.key("admin"))
	key, token := g.keyOf("acme:manage")
	require.Equal(t, http.StatusCreated, g.put("calc", calc(t), admin).status)
	log.full.Store(true)
	r := g.do("DELETE", "/v1/keys/"+key.ID, nil, admin)
	assert.Equal(t, http.StatusServiceUnavailable, r.status)
	assert.Contains(t, r.problem(t).Detail, "it is done")
	assert.Equal(t, http.StatusUnauthorized, g.do("GET", "/v1/identity", nil, bearer(token)).status)
	assert.Equal(t, http.StatusServiceUnavailable, g.do("POST", "/v1/tenants/default/suspend", nil, admin).status)
	assert.Equal(t, http.StatusForbidden, g.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`, admin).status)
	assert.Equal(t, http.StatusServiceUnavailable, g.do("DELETE", tenant+"/modules/calc", nil, admin).status)
	assert.Equal(t, http.StatusOK, g.do("GET", tenant+"/modules/calc", nil, admin).status, "all else is refused")
	log.full.Store(false)
	require.NoError(t, g.api.Close(t.Context()))
	entries, _, err := log.List(audit.Query{})
	require.NoError(t, err)
	var late []string
	for _, e := range entries {
		if strings.HasSuffix(e.Result, "(late)") {
			late = append(late, e.What+" "+e.On+" "+e.Result)
		}
	}
	assert.Equal(t, []string{"suspendTenant /v1/tenants/default/suspend 200 (late)", "revokeKey /v1/keys/" + key.ID + " 204 (late)"}, late)
}
