package server_test

import (
	"fmt"
	"io/fs"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/secrets"
)

const canary = "canary-5d1f0e7b-value"

// openSecrets opens the store of a world.
func (w *world) openSecrets(id func(string) (string, error)) {
	w.t.Helper()
	text, err := secrets.NewKey()
	require.NoError(w.t, err)
	keys, err := secrets.ParseKeys([]byte(text))
	require.NoError(w.t, err)
	w.secretsAt = filepath.Join(w.t.TempDir(), "secrets")
	w.secrets, err = secrets.Open(w.t.Context(), secrets.Config{
		Path: w.secretsAt, Keys: keys, TenantID: id, Providers: map[string]string{"openai": "https://example.com/v1"},
	})
	require.NoError(w.t, err)
	w.t.Cleanup(func() { assert.NoError(w.t, w.secrets.Close()) })
}

func valueOf(text string) string { return fmt.Sprintf(`{"value":%q}`, text) }

func TestSecretsAreSetListedAndRemoved(t *testing.T) {
	log := &logged{}
	w := newWorld(t, func(c *server.Config) {
		c.Logger = slog.New(slog.NewJSONHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	var answers strings.Builder
	do := func(method, path, body string, headers ...string) reply {
		r := w.send(method, tenant+path, body, headers...)
		fmt.Fprint(&answers, r.header, r.body)
		return r
	}
	for _, c := range []struct{ list, one string }{{"/secrets", "/secrets/API_KEY"}, {"/credentials", "/credentials/openai"}} {
		member := strings.TrimPrefix(c.list, "/")
		assert.JSONEq(t, `{"`+member+`":[]}`, do("GET", c.list, "").body)
		made := do("PUT", c.one, valueOf(canary))
		require.Equal(t, http.StatusCreated, made.status, made.body)
		assert.Equal(t, tenant+c.one, made.header.Get("Location"))
		tag := made.header.Get("ETag")
		assert.Regexp(t, `^"[A-Z0-9]+"$`, tag)
		listed := do("GET", c.list, "")
		assert.Equal(t, http.StatusOK, listed.status)
		assert.Contains(t, listed.body, strings.TrimSpace(made.body))
		assert.Contains(t, listed.body, `"revision":`+tag)
		again := do("PUT", c.one, valueOf(canary+"2"), "If-Match: "+tag)
		require.Equal(t, http.StatusOK, again.status, again.body)
		assert.NotEqual(t, tag, again.header.Get("ETag"))
		for _, method := range []string{"PUT", "DELETE"} {
			r := do(method, c.one, valueOf(canary), "If-Match: "+tag)
			assert.Equal(t, http.StatusPreconditionFailed, r.status, r.body)
		}
		assert.Equal(t, http.StatusMethodNotAllowed, do("GET", c.one, "").status, "there is no way to read one")
		assert.Equal(t, http.StatusNotFound, w.do("DELETE", strings.Replace(tenant, "default", "acme", 1)+c.one, nil).status, "another's")
		gone := do("DELETE", c.one, "", "If-Match: "+again.header.Get("ETag"))
		assert.Equal(t, http.StatusNoContent, gone.status)
		assert.Empty(t, gone.body)
		assert.Equal(t, http.StatusNotFound, do("DELETE", c.one, "").status)
		for _, match := range []string{"*", tag} {
			assert.Equal(t, http.StatusPreconditionFailed, do("PUT", c.one, valueOf(canary), "If-Match: "+match).status, "nothing is there")
		}
		require.Equal(t, http.StatusCreated, do("PUT", c.one, valueOf(canary)).status)
	}
	v, err := w.secrets.Source(nil).Secret(t.Context(), "default", "API_KEY")
	require.NoError(t, err)
	assert.Equal(t, canary, v.Reveal())
	v, err = w.secrets.Credential(t.Context(), "default", "openai")
	require.NoError(t, err)
	assert.Equal(t, canary, v.Reveal())
	assert.NotContains(t, answers.String(), canary)
	assert.NotContains(t, log.String(), canary)
	assert.Contains(t, log.String(), `"route":"/v1/tenants/:tenant/secrets/:secret"`)
	require.NoError(t, filepath.WalkDir(w.secretsAt, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		raw, err := os.ReadFile(path)
		assert.NotContains(t, string(raw), canary, path)
		return err
	}))
}

// What is refused is refused in words that hold nothing of what was sent.
func TestASecretThatIsRefusedIsNotRepeated(t *testing.T) {
	g := newGuarded(t, nil)
	admin := g.key("admin")
	for name, c := range map[string]struct {
		path, body string
		status     int
		says       string
	}{
		"no body":              {"/secrets/A", ``, 400, "want"},
		"the value alone":      {"/secrets/A", `"` + canary + `"`, 400, "want"},
		"no JSON":              {"/secrets/A", canary, 400, "want"},
		"another member":       {"/secrets/A", `{"` + canary + `":"x"}`, 400, "want"},
		"one member more":      {"/secrets/A", `{"value":"` + canary + `","` + canary + `":1}`, 400, "want"},
		"twice":                {"/secrets/A", `{"value":"` + canary + `","value":"` + canary + `"}`, 400, "want"},
		"a number":             {"/secrets/A", `{"value":12345678901234}`, 400, "want"},
		"null":                 {"/secrets/A", `{"value":null}`, 400, "want"},
		"no UTF-8":             {"/secrets/A", "{\"value\":\"" + canary + "\xff\"}", 400, "want"},
		"short":                {"/secrets/A", valueOf("1234567"), 400, "8 to 8192 bytes"},
		"long":                 {"/secrets/A", valueOf(canary + strings.Repeat("x", secret.MaxBytes)), 400, "8 to 8192 bytes"},
		"a huge body":          {"/secrets/A", valueOf(canary + strings.Repeat("x", 7*secret.MaxBytes)), 413, "exceeds the limit"},
		"two lines":            {"/secrets/A", `{"value":"` + canary + `\n"}`, 400, "one line"},
		"a name of none":       {"/secrets/1A", valueOf(canary), 400, "want a name"},
		"a name with a slash":  {"/secrets/a%2Fb", valueOf(canary), 400, "want a name"},
		"an unknown provider":  {"/credentials/nobody", valueOf(canary), 404, `it has "openai"`},
		"an API key of blanks": {"/credentials/openai", valueOf(canary + " x"), 400, "without blanks"},
	} {
		t.Run(name, func(t *testing.T) {
			r := g.send("PUT", tenant+c.path, c.body, bearer(admin))
			assert.Equal(t, c.status, r.status, r.body)
			assert.Contains(t, r.problem(t).Detail, c.says)
			assert.NotContains(t, r.body, canary)
		})
	}
	assert.Equal(t, 415, g.send("PUT", tenant+"/secrets/A", valueOf(canary), bearer(admin), "Content-Type: text/plain").status)
	assert.Equal(t, 413, g.send("PUT", tenant+"/secrets/A", valueOf(strings.Repeat("x", 100<<10)), bearer(admin)).status)
	assert.JSONEq(t, `{"secrets":[]}`, g.do("GET", tenant+"/secrets", nil, bearer(admin)).body)
	assert.NotContains(t, g.log.String(), canary)
	escaped := `{"value":"` + strings.Repeat(`\u0078`, secret.MaxBytes) + `"}`
	assert.Equal(t, 201, g.send("PUT", tenant+"/secrets/A", escaped, bearer(admin)).status, "escapes are no part of the length")
}

func TestSecretsGoWithTheirTenant(t *testing.T) {
	w := newWorld(t, nil)
	for range 2 {
		w.createTenant("brief")
		assert.JSONEq(t, `{"secrets":[]}`, w.do("GET", "/v1/tenants/brief/secrets", nil).body)
		_, err := w.secrets.Source(nil).Secret(t.Context(), "brief", "A")
		require.ErrorIs(t, err, status.ErrNotFound)
		require.Equal(t, 201, w.send("PUT", "/v1/tenants/brief/secrets/A", valueOf(canary)).status)
		w.deleteTenant("brief")
		for _, r := range []reply{w.do("GET", "/v1/tenants/brief/secrets", nil), w.send("PUT", "/v1/tenants/brief/secrets/A", valueOf(canary)), w.do("DELETE", "/v1/tenants/brief/secrets/A", nil)} {
			assert.Equal(t, http.StatusNotFound, r.status, r.body)
			assert.Contains(t, r.body, `tenant \"brief\" does not exist`)
		}
		entries, err := os.ReadDir(w.secretsAt)
		require.NoError(t, err)
		for _, e := range entries {
			assert.Equal(t, "lock", e.Name(), "nothing is left of it")
		}
	}
	w.createTenant("brief")
	require.Equal(t, 201, w.send("PUT", "/v1/tenants/brief/secrets/A", valueOf(canary)).status)
	require.Equal(t, 200, w.do("POST", "/v1/tenants/brief/suspend", nil).status)
	assert.Equal(t, 403, w.send("PUT", "/v1/tenants/brief/secrets/A", valueOf(canary)).status, "a suspended tenant is given nothing")
	assert.Equal(t, 200, w.do("GET", "/v1/tenants/brief/secrets", nil).status)
	assert.Equal(t, 204, w.do("DELETE", "/v1/tenants/brief/secrets/A", nil).status, "and what it has can be taken away")
}

func TestAServerWithoutAKeyOrAStoreKeepsNoSecrets(t *testing.T) {
	keyless, err := secrets.Open(t.Context(), secrets.Config{Path: t.TempDir(), TenantID: func(string) (string, error) { return "id", nil }})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, keyless.Close()) })
	w := newWorld(t, func(c *server.Config) { c.Secrets = keyless })
	r := w.send("PUT", tenant+"/secrets/A", valueOf(canary))
	assert.Equal(t, "FAILED_PRECONDITION", r.problem(t).StatusName)
	assert.Contains(t, r.problem(t).Detail, "without a key that encrypts them")
	assert.JSONEq(t, `{"secrets":[]}`, w.do("GET", tenant+"/secrets", nil).body)

	w = newWorld(t, func(c *server.Config) { c.Secrets = nil })
	assert.Equal(t, 404, w.do("GET", tenant+"/secrets", nil).status)
	assert.NotContains(t, openAPI(t, w)["components"].(object)["schemas"], "SecretList")
	_, err = server.New(server.Config{Host: w.host, Registry: w.registry, Secrets: w.secrets})
	require.ErrorIs(t, err, status.ErrInvalidArgument)
}

func TestAnswersAboutSecretsMatchTheDocument(t *testing.T) {
	w := newWorld(t, nil)
	const one, key = "/v1/tenants/{tenant}/secrets/{secret}", "/v1/tenants/{tenant}/credentials/{provider}"
	for _, c := range []struct {
		reply                reply
		path, method, status string
	}{
		{w.send("PUT", tenant+"/secrets/A", valueOf(canary)), one, "put", "201"},
		{w.send("PUT", tenant+"/secrets/A", valueOf(canary)), one, "put", "200"},
		{w.send("PUT", tenant+"/secrets/A", `{}`), one, "put", "400"},
		{w.send("PUT", tenant+"/secrets/A", valueOf(canary), `If-Match: "x"`), one, "put", "412"},
		{w.do("GET", tenant+"/secrets", nil), "/v1/tenants/{tenant}/secrets", "get", "200"},
		{w.do("DELETE", tenant+"/secrets/none", nil), one, "delete", "404"},
		{w.send("PUT", tenant+"/credentials/openai", valueOf(canary)), key, "put", "201"},
		{w.send("PUT", tenant+"/credentials/openai", valueOf(canary)), key, "put", "200"},
		{w.send("PUT", tenant+"/credentials/nobody", valueOf(canary)), key, "put", "404"},
		{w.do("GET", tenant+"/credentials", nil), "/v1/tenants/{tenant}/credentials", "get", "200"},
		{w.do("DELETE", tenant+"/credentials/none", nil), key, "delete", "404"},
	} {
		assertDocumented(t, w, c.reply, c.path, c.method, c.status)
	}
}
