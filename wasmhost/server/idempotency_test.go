package server_test

import (
	"bytes"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/admin"
)

func TestAnUploadCanBeSentAgain(t *testing.T) {
	w := newWorld(t, nil)
	const key = "Idempotency-Key: upload-1"
	first := w.put("calc", calc(t), key)
	require.Equal(t, http.StatusCreated, first.status, first.body)
	assert.Empty(t, first.header.Get("Idempotency-Replayed"))
	assert.Equal(t, http.StatusOK, w.put("calc", calc(t)).status, "without a key it changes nothing, and says so")
	again := w.put("calc", calc(t), key)
	assert.Equal(t, http.StatusCreated, again.status, "with it the answer is the first one")
	assert.Equal(t, first.body, again.body)
	assert.Equal(t, first.header.Get("Location"), again.header.Get("Location"))
	assert.Equal(t, "true", again.header.Get("Idempotency-Replayed"))
	assertDocumented(t, w, again, "/v1/tenants/{tenant}/modules/{name}", "put", "201")

	other := w.put("sums", calc(t), key)
	assert.Equal(t, http.StatusUnprocessableEntity, other.status, "another module")
	assertDocumented(t, w, other, "/v1/tenants/{tenant}/modules/{name}", "put", "422")
	assert.Equal(t, http.StatusUnprocessableEntity, w.put("calc", append(calc(t), 0), key).status, "other bytes")
	for _, test := range []struct {
		policy string
		status int
	}{{`{"limits":{"timeoutMs":1000}}`, 201}, {`{"limits":{"timeoutMs":1000}}`, 201}, {`{"limits":{"timeoutMs":2000}}`, 422}} {
		body, kind := form(t, "module", string(calc(t)), "policy", test.policy) // under another boundary each time
		r := w.do("PUT", tenant+"/modules/formed", body, kind, "Idempotency-Key: form")
		assert.Equal(t, test.status, r.status, test.policy+r.body)
	}
	assert.Equal(t, http.StatusBadRequest, w.put("calc", calc(t), "Idempotency-Key: a b").status)
}

// A tenant of the same name is another one: what an earlier one has uploaded it has not.
func TestAnAnswerIsOfOneTenantNotOfItsName(t *testing.T) {
	w := newWorld(t, nil)
	w.createTenant("again")
	const key = "Idempotency-Key: upload-1"
	path := "/v1/tenants/again/modules/calc"
	upload := func() int {
		return w.do("PUT", path, bytes.NewReader(calc(t)), "Content-Type: application/wasm", key).status
	}
	require.Equal(t, http.StatusCreated, upload())
	w.deleteTenant("again")
	assert.Equal(t, http.StatusNotFound, upload())
	w.createTenant("again")
	assert.Equal(t, http.StatusUnprocessableEntity, upload())
}

// The token of a key is in one answer alone. Sent again, the request makes no second key, and says
// which one it has made.
func TestAKeyIsMadeAndRotatedOnce(t *testing.T) {
	g := newGuarded(t, nil)
	root, other := g.key("admin"), g.key("admin")
	count := func() int {
		keys, _ := g.keys.List("", 100)
		return len(keys)
	}
	before := count()
	const body, key = `{"name":"ci","scopes":["acme:read"]}`, "Idempotency-Key: ci"
	var made, rotated struct {
		Token string
		Key   access.Key
	}
	g.send("POST", "/v1/keys", body, key, bearer(root)).into(t, &made)
	require.NotEmpty(t, made.Token)
	for _, words := range []string{body, `{"scopes": ["acme:read"], "name": "ci"}`} {
		again := g.send("POST", "/v1/keys", words, key, bearer(root))
		assert.Equal(t, http.StatusConflict, again.status)
		assert.Contains(t, again.body, `"details":{"key":"`+made.Key.ID+`"}`)
		assert.NotContains(t, again.body, made.Token)
		assertDocumented(t, g.world, again, "/v1/keys", "post", "409")
	}
	assert.Equal(t, before+1, count())
	refused := g.send("POST", "/v1/keys", `{"name":"ci","scopes":["admin"]}`, key, bearer(root))
	assert.Equal(t, http.StatusUnprocessableEntity, refused.status)
	assertDocumented(t, g.world, refused, "/v1/keys", "post", "422")
	assert.Equal(t, http.StatusCreated, g.send("POST", "/v1/keys", body, key, bearer(other)).status, "another caller's key is another key")

	path := "/v1/keys/" + made.Key.ID + "/rotate"
	g.send("POST", path, `{"overlapSeconds":60}`, "Idempotency-Key: turn", bearer(root)).into(t, &rotated)
	require.NotEmpty(t, rotated.Token)
	again := g.send("POST", path, `{"overlapSeconds":60}`, "Idempotency-Key: turn", bearer(root))
	assert.Equal(t, http.StatusConflict, again.status)
	assertDocumented(t, g.world, again, "/v1/keys/{key}/rotate", "post", "409")
	for _, token := range []string{made.Token, rotated.Token} {
		assert.Equal(t, http.StatusOK, g.do("GET", "/v1/identity", nil, bearer(token)).status, "the overlap goes on")
	}
	assert.Equal(t, http.StatusUnprocessableEntity, g.send("POST", path, `{"overlapSeconds":61}`, "Idempotency-Key: turn", bearer(root)).status)
}

// A crash between a change and the keeping of its answer makes no second key either: the key itself
// knows the request.
func TestAKeyRemembersItsRequest(t *testing.T) {
	store := access.NewMemory()
	scopes, err := access.ParseScopes([]string{"acme:read"})
	require.NoError(t, err)
	spec := access.KeySpec{Name: "ci", Scopes: scopes, Request: admin.Hash("a request")}
	var id string
	for round := range 3 {
		keys, err := access.OpenKeys(t.Context(), access.KeysConfig{Store: store})
		require.NoError(t, err)
		key, _, err := keys.Create(t.Context(), spec)
		before, ok := access.MadeBefore(err)
		if round == 0 {
			require.NoError(t, err)
			id = key.ID
		} else {
			assert.True(t, ok, "%v", err)
			assert.Equal(t, id, before)
		}
		_, _, err = keys.RotateOnce(t.Context(), id, 0, key.ExpiresAt, "turn")
		_, ok = access.MadeBefore(err)
		assert.Equal(t, round > 0, ok, "%v", err)
		require.NoError(t, keys.Close())
	}
}
