package server_test

import (
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A change that is asked for by an ETag that is not that of what is there is not made, whatever it is of.
func TestNoChangeIsMadeForAnotherState(t *testing.T) {
	g := newGuarded(t, nil)
	admin := g.key("admin")
	key, _ := g.keyOf("default:read")
	auth := bearer(admin)
	require.Equal(t, http.StatusCreated, g.put("calc", calc(t), auth).status)
	require.Equal(t, http.StatusOK, g.do("PUT", tenant+"/modules/calc", strings.NewReader(string(calc(t))), auth, wasmType).status)
	require.Equal(t, http.StatusCreated, g.send("PUT", tenant+"/secrets/A", valueOf(canary), auth).status)
	require.Equal(t, http.StatusCreated, g.send("PUT", tenant+"/credentials/openai", valueOf(canary), auth).status)
	there := map[string]string{
		"/v1/tenants/default": `"x"`, tenant + "/modules/calc": `"x"`, "/v1/keys/" + key.ID: `"x"`,
	}
	for path := range there {
		r := g.do("GET", path, nil, auth)
		there[path] = r.header.Get("ETag")
		assert.Regexp(t, `^"[^"]+"$`, there[path], path)
		again := g.do("GET", path, nil, auth, "If-None-Match: "+there[path])
		assert.Equal(t, http.StatusNotModified, again.status, path)
		assert.Empty(t, again.body)
	}
	asked := 0
	operations(t, openAPI(t, g.world), func(method, path string, op object) {
		rule := ruleOf(t, op)
		if method == http.MethodGet || rule != "admin" && rule != "manage" {
			return
		}
		asked++
		where := strings.NewReplacer("{tenant}", "default", "{name}", "calc", "{key}", key.ID, "{secret}", "A", "{provider}", "openai").Replace(path)
		for _, header := range []string{`If-Match: "another"`, `If-Match: W/"another", "x"`} {
			assert.Equal(t, http.StatusPreconditionFailed, g.do(method, where, nil, header, auth).status, "%s with %s", op["operationId"], header)
		}
		assert.Equal(t, http.StatusPreconditionFailed, g.do(method, where, nil, "If-None-Match: *", "If-Match: *", auth).status, "%s, only if it is not there", op["operationId"])
		assert.Contains(t, keysOf(op["responses"].(object)), "412", op["operationId"])
	})
	assert.Greater(t, asked, 10)
	for path, tag := range there {
		assert.Equal(t, tag, g.do("GET", path, nil, auth).header.Get("ETag"), "%s was changed", path)
	}
	assert.Equal(t, http.StatusPreconditionFailed, g.put("calc", calc(t), auth, "If-None-Match: *", "Idempotency-Key: k").status)
	assert.Equal(t, http.StatusPreconditionFailed, g.put("new", calc(t), auth, "If-Match: *").status, "nothing is there")
	assert.Equal(t, http.StatusCreated, g.put("new", calc(t), auth, "If-None-Match: *").status)
	assert.Equal(t, http.StatusCreated, g.send("PUT", tenant+"/secrets/B", valueOf(canary), auth, "If-None-Match: *").status)
}

// Of several who change the same state, one does.
func TestOneOfThoseWhoChangeTheSameModule(t *testing.T) {
	w := newWorld(t, nil)
	tag := w.put("calc", calc(t)).header.Get("ETag")
	require.NotEmpty(t, tag)
	var made, late atomic.Int64
	var all sync.WaitGroup
	for n := range 4 {
		body, kind := form(t, "module", string(calc(t)), "policy", `{"limits":{"timeoutMs":`+string(rune('1'+n))+`000}}`)
		all.Go(func() {
			switch w.do("PUT", tenant+"/modules/calc", body, kind, "If-Match: "+tag).status {
			case http.StatusCreated:
				made.Add(1)
			case http.StatusPreconditionFailed:
				late.Add(1)
			}
		})
	}
	all.Wait()
	assert.EqualValues(t, 1, made.Load())
	assert.EqualValues(t, 3, late.Load())
	now := w.do("GET", tenant+"/modules/calc", nil).header.Get("ETag")
	assert.NotEqual(t, tag, now)
	back := w.do("POST", tenant+"/modules/calc/rollback", nil, "If-Match: "+now)
	assert.Equal(t, http.StatusOK, back.status, back.body)
	assert.Equal(t, tag, back.header.Get("ETag"), "the revision of before has the tag of before")
	assert.Equal(t, http.StatusNoContent, w.do("DELETE", tenant+"/modules/calc", nil, "If-Match: "+tag).status)
}

// An upload that was carried out is answered once more, although its If-Match is not that of what is there any more.
func TestAConditionalUploadIsReplayed(t *testing.T) {
	w := newWorld(t, nil)
	send := func() reply { return w.put("calc", calc(t), "If-None-Match: *", "Idempotency-Key: once") }
	first, second := send(), send()
	assert.Equal(t, http.StatusCreated, first.status)
	assert.Equal(t, http.StatusCreated, second.status, second.body)
	assert.Equal(t, first.header.Get("ETag"), second.header.Get("ETag"))
	assert.Equal(t, "true", second.header.Get("Idempotency-Replayed"))
}

// A rotation by the ETag of a key that was rotated meanwhile ends no secret.
func TestARotationIsOfTheKeyThatWasSeen(t *testing.T) {
	g := newGuarded(t, nil)
	auth := bearer(g.key("admin"))
	made := g.send("POST", "/v1/keys", `{"name":"x","scopes":["default:read"],"expiresAt":"2099-01-01T01:00:00+01:00"}`, auth)
	require.Equal(t, http.StatusCreated, made.status, made.body)
	assert.Contains(t, made.body, `"expiresAt":"2099-01-01T00:00:00Z"`)
	where, tag := made.header.Get("Location"), made.header.Get("ETag")
	assert.Equal(t, tag, g.do("GET", where, nil, auth).header.Get("ETag"))
	rotated := g.send("POST", where+"/rotate", `{}`, auth, "If-Match: "+tag)
	require.Equal(t, http.StatusOK, rotated.status, rotated.body)
	assert.NotEqual(t, tag, rotated.header.Get("ETag"))
	assert.Equal(t, http.StatusPreconditionFailed, g.send("POST", where+"/rotate", `{}`, auth, "If-Match: "+tag).status)
	assert.Equal(t, http.StatusPreconditionFailed, g.do("DELETE", where, nil, auth, "If-Match: "+tag).status)
	assert.Equal(t, http.StatusNoContent, g.do("DELETE", where, nil, auth, "If-Match: "+rotated.header.Get("ETag")).status)
}

// A time that can't be written again is refused where it is read.
func TestTimesThatCanNotBeWritten(t *testing.T) {
	g := newAudited(t)
	auth := bearer(g.key("admin"))
	for _, at := range []string{"2099-01-01T00:00:00+24:00", "2099-01-01T00:00:00-24:30", "9999-12-31T23:59:59-23:00", "0000-01-01T00:00:00+01:00", "2099", ""} {
		r := g.send("POST", "/v1/keys", `{"name":"x","scopes":["default:read"],"expiresAt":"`+at+`"}`, auth)
		assert.Equal(t, http.StatusBadRequest, r.status, "%s: %s", at, r.body)
		r = g.send("POST", "/v1/keys/none/rotate", `{"expiresAt":"`+at+`"}`, auth)
		assert.Equal(t, http.StatusBadRequest, r.status, "%s: %s", at, r.body)
		r = g.do("GET", "/v1/audit?since="+strings.ReplaceAll(at, "+", "%2B"), nil, auth)
		assert.Equal(t, http.StatusBadRequest, r.status, "%s: %s", at, r.body)
	}
	assert.Equal(t, http.StatusOK, g.do("GET", "/v1/audit?since="+time.Now().Add(-time.Hour).UTC().Format(time.RFC3339), nil, auth).status)
}
