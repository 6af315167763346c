package server_test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

// rateOf are the headers of an answer that tell of a quota, none where there are none.
func rateOf(r reply) map[string]string {
	told := map[string]string{}
	for name := range r.header {
		if strings.HasPrefix(strings.ToLower(name), "ratelimit") {
			told[name] = r.header.Get(name)
		}
	}
	return told
}

func TestAnswersTellOfTheQuota(t *testing.T) {
	w := newWorld(t, nil)
	require.Equal(t, http.StatusCreated, w.put("calc", calc(t)).status)
	call := func() reply { return w.post("/tools/calc/add", `{"input":{"a":1,"b":2}}`) }
	assert.Empty(t, rateOf(call()), "no quota, no header")
	r := w.send("PATCH", tenant, `{"quota":{"callsPerMinute":2}}`, mergePatch, "If-Match: *")
	require.Equal(t, http.StatusOK, r.status, r.body)
	for left := 1; left >= 0; left-- {
		r := call()
		require.Equal(t, http.StatusOK, r.status, r.body)
		told := rateOf(r)
		assert.Equal(t, "2", told["Ratelimit-Limit"])
		assert.Equal(t, "2;w=60", told["Ratelimit-Policy"])
		got, err := strconv.Atoi(told["Ratelimit-Remaining"])
		require.NoError(t, err)
		assert.LessOrEqual(t, got, left+1, "the call itself is counted; one may have come back")
		reset, err := strconv.Atoi(told["Ratelimit-Reset"])
		require.NoError(t, err)
		assert.LessOrEqual(t, reset, 60)
		assert.Positive(t, reset)
		assertDocumented(t, w, r, "/v1/tenants/{tenant}/tools/{tool}", "post", "200")
	}
	refused := call()
	for range 100 { // until it is refused, however slow this is
		if refused.status == http.StatusTooManyRequests {
			break
		}
		refused = call()
	}
	require.Equal(t, http.StatusTooManyRequests, refused.status)
	assert.Equal(t, "0", rateOf(refused)["Ratelimit-Remaining"])
	assert.NotEmpty(t, refused.header.Get("Retry-After"))
	stream := w.post("/tools/native/pretty", `{}`, sse)
	assert.Equal(t, "2", rateOf(stream)["Ratelimit-Limit"], "of a stream, too")
	assert.Empty(t, rateOf(w.post("/tools/none/none", `{}`)), "404")
	assert.Empty(t, rateOf(w.do("GET", tenant+"/modules", nil)), "no quota bounds it")

	r = w.send("PATCH", tenant, `{"quota":{"callsPerMinute":1000},"budget":{"modelCallsPerMinute":7}}`, mergePatch, "If-Match: *")
	require.Equal(t, http.StatusOK, r.status, r.body)
	assert.Equal(t, "7", rateOf(w.post("/generate", `{"messages":[]}`))["Ratelimit-Limit"], "what is nearest")
	assert.Equal(t, "1000", rateOf(call())["Ratelimit-Limit"], "a tool asks no model")
}

// A caller who may run nothing of a tenant learns nothing of its quota, and an answer that a key has ended no more.
func TestQuotasAreToldToNobodyElse(t *testing.T) {
	g := newGuarded(t, nil)
	root := g.key("admin")
	for _, name := range []string{"acme", "default"} {
		r := g.send("PATCH", "/v1/tenants/"+name, `{"quota":{"callsPerMinute":20}}`, mergePatch, "If-Match: *", bearer(root))
		require.Equal(t, http.StatusOK, r.status, r.body)
	}
	for name, headers := range map[string][]string{
		"nobody": nil, "wrong": {bearer("gwk_aaaaaaaaaaaaaaaa_" + strings.Repeat("a", 52))},
		"another's": {bearer(g.key("acme:manage"))}, "reader": {bearer(g.key("default:read"))},
	} {
		for _, path := range []string{"/tools/native/pretty", "/generate", "/flows/echo"} {
			r := g.post(path, `{}`, headers...)
			assert.GreaterOrEqual(t, r.status, 400, name)
			assert.Empty(t, rateOf(r), name+path)
			assert.Empty(t, r.header.Get("Retry-After"), name+path)
		}
	}
	assert.Equal(t, "20", rateOf(g.post("/tools/native/pretty", `{}`, bearer(g.key("default:invoke"))))["Ratelimit-Limit"])
	var ended access.Key
	ended, token := g.keyOf("default:invoke")
	done := make(chan reply)
	go func() { done <- g.post("/tools/native/slow", `{}`, bearer(token)) }()
	<-g.running
	require.NoError(t, g.keys.Revoke(t.Context(), ended.ID))
	r := <-done
	assert.Equal(t, http.StatusUnauthorized, r.status)
	assert.Empty(t, rateOf(r))
}
