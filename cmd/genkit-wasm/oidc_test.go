package main

import (
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestTokensOfAnIssuer(t *testing.T) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	require.NoError(t, err)
	key := jose.JSONWebKey{Key: private, KeyID: "one", Algorithm: "RS256"}
	mux := http.NewServeMux()
	issuer := httptest.NewServer(mux)
	defer issuer.Close()
	mux.HandleFunc("/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]string{"issuer": issuer.URL, "jwks_uri": issuer.URL + "/keys"})
	})
	mux.HandleFunc("/keys", func(w http.ResponseWriter, _ *http.Request) {
		_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{key.Public()}})
	})
	token := func(groups ...string) string {
		signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, nil)
		require.NoError(t, err)
		raw, err := json.Marshal(map[string]any{"iss": issuer.URL, "aud": "tools", "sub": "ann", "exp": time.Now().Add(time.Hour).Unix(), "groups": groups})
		require.NoError(t, err)
		signed, err := signer.Sign(raw)
		require.NoError(t, err)
		text, err := signed.CompactSerialize()
		require.NoError(t, err)
		return text
	}
	config := write(t, "oidc.json", fmt.Sprintf(`{"issuer":%q,"audience":"tools","rules":[
		{"claim":"groups","value":"devs","scopes":["default:read"]},{"claim":"groups","value":"ops","scopes":["admin"]}]}`, issuer.URL))
	data := t.TempDir()
	url, admin, log, stop := startGuarded(t, data, "--oidc", "@"+config)
	defer stop()
	require.NotEmpty(t, admin, "the first start prints a key all the same")
	on := func(key string, args ...string) outcome {
		t.Helper()
		t.Setenv(keyEnv, key)
		return cli(t, append(args, "--server", url)...)
	}
	assert.Equal(t, exitOK, on(token("devs"), "ls").exit)
	assert.Equal(t, exitFailed, on(token("devs"), "key", "ls").exit)
	assert.Equal(t, exitNotFound, on(token("others"), "ls").exit)
	ops := token("ops")
	require.Equal(t, exitOK, on(ops, "key", "revoke", admin[4:20]).exit)
	assert.Equal(t, exitFailed, on(admin, "ls").exit)
	assert.Contains(t, log.String(), issuer.URL+"#ann")
	assert.NotContains(t, log.String(), ops)

	made := on(ops, "key", "create", "ci", "--scope", "default:read")
	require.Equal(t, exitOK, made.exit, made.err)
	require.Equal(t, exitOK, on(ops, "key", "revoke", "ci").exit)
	assert.NotContains(t, on(ops, "key", "ls").out, "gwk")
	stop()
	again, printed, log, stop := startGuarded(t, data, "--oidc", "@"+config)
	assert.Empty(t, printed, "who has revoked all keys has meant it")
	assert.Contains(t, log.String(), "genkit-wasm key create NAME --scope admin --data DIR")
	assert.Equal(t, exitOK, cli(t, "key", "ls", "--server", again).exit, "the issuer's admins are let in")
	stop()

	// The ways back where the issuer lets nobody in: a key that is made offline, or a start whose issuers name no admin.
	offline := cli(t, "key", "create", "rescue", "--scope", "admin", "--data", data)
	require.Equal(t, exitOK, offline.exit, offline.err)
	url, printed, _, stop = startGuarded(t, data, "--oidc", "@"+config)
	assert.Empty(t, printed)
	rescue := strings.TrimSpace(offline.out)
	require.Equal(t, exitOK, on(rescue, "key", "revoke", rescue[4:20]).exit)
	stop()
	for _, args := range [][]string{nil, {"--oidc", fmt.Sprintf(`{"issuer":%q,"audience":"tools","rules":[{"claim":"groups","value":"devs","scopes":["default:read"]}]}`, issuer.URL)}} {
		url, printed, _, stop = startGuarded(t, data, args...)
		require.NotEmpty(t, printed, "%v: nobody else is an admin", args)
		require.Equal(t, exitOK, on(printed, "key", "revoke", printed[4:20]).exit)
		stop()
	}
	for _, bad := range []string{"{}", "x", "@none", `{"issuer":"http://id.example.com","audience":"x","rules":[]}`} {
		got := cli(t, "serve", "--auth", "--data", t.TempDir(), "--addr", "127.0.0.1:0", "--oidc", bad)
		assert.Equal(t, exitUsage, got.exit, "%s: %s", bad, got.err)
	}
	assert.Equal(t, exitUsage, cli(t, "serve", "--data", t.TempDir(), "--addr", "127.0.0.1:0", "--oidc", "@"+config).exit, "--oidc without --auth")
}

func TestWrongKeysAreThrottled(t *testing.T) {
	url, admin, _, stop := startGuarded(t, t.TempDir())
	defer stop()
	t.Setenv(keyEnv, "gwk_wrong")
	for range 10 {
		assert.Equal(t, exitFailed, cli(t, "ls", "--server", url).exit)
	}
	throttled := cli(t, "ls", "--server", url)
	assert.Equal(t, exitBusy, throttled.exit, throttled.err)
	assert.Regexp(t, `try again in \d s`, throttled.err)
	t.Setenv(keyEnv, admin)
	assert.Equal(t, exitOK, cli(t, "ls", "--server", url).exit, "a good key works")
}
