package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

var tokenForm = regexp.MustCompile(`gwk_[a-z2-7]{16}_[a-z2-7]{52}`)

// startGuarded starts a server with --auth and returns its URL, its admin key and its log.
func startGuarded(t *testing.T, data string, args ...string) (url, admin string, log *locked, stop func()) {
	t.Helper()
	url, out, log, stop := start(t, data, append([]string{"--auth"}, args...)...)
	return url, tokenForm.FindString(out), log, stop
}

func TestAServerThatAsksWhoCalls(t *testing.T) {
	data := t.TempDir()
	url, admin, log, stop := startGuarded(t, data, "--tenant", "acme")
	require.NotEmpty(t, admin, "the first start prints an admin key")
	on := func(key string, args ...string) outcome {
		t.Helper()
		t.Setenv(keyEnv, key)
		return cli(t, append(args, "--server", url)...)
	}
	none := on("", "ls")
	assert.Equal(t, exitFailed, none.exit)
	assert.Contains(t, none.err, "an API key or a token is wanted")
	assert.Contains(t, none.err, "genkit-wasm login")
	wrong := on(admin[:72]+"!", "ls")
	assert.Contains(t, wrong.err, "is not valid")
	assert.Contains(t, wrong.err, keyEnv)
	assert.Equal(t, exitUsage, on("a\nb", "ls").exit)
	assert.Equal(t, exitOK, on(admin, "ls").exit)

	greedy := write(t, "policy.json", `{"grants":{"http":[{"host":"*"}]}}`)
	granted := on(admin, "upload", calcFile, "--policy", greedy)
	assert.Equal(t, exitRefused, granted.exit, "an uploader can't grant himself anything: %s", granted.out)
	assert.Contains(t, granted.err, "http")

	made := on(admin, "key", "create", "ci", "--scope", "invoke", "--tenant", "acme", "--expires", "90d")
	require.Equal(t, exitOK, made.exit, made.err)
	ci := strings.TrimSpace(made.out)
	assert.Regexp(t, "^"+tokenForm.String()+"$", ci, "the token is alone on the standard output")
	assert.Contains(t, made.err, "acme:invoke; it expires")
	assert.NotContains(t, made.err, "warning")
	assert.Equal(t, exitOK, on(ci, "ls", "--tenant", "acme").exit)
	mistyped := on(admin, "key", "create", "typo", "--scope", "amce:read", "--scope", "acme:invoke")
	require.Equal(t, exitOK, mistyped.exit, mistyped.err)
	assert.Contains(t, mistyped.err, `warning: there is no tenant "amce": until there is one of that name, the scope amce:read lets nobody in`)
	assert.NotContains(t, mistyped.err, `no tenant "acme"`)
	require.Equal(t, exitOK, on(admin, "key", "revoke", "typo").exit)
	refused := on(ci, "upload", calcFile, "--tenant", "acme")
	assert.Equal(t, exitFailed, refused.exit, refused.err)
	assert.Contains(t, refused.err, `"acme:manage"`)
	assert.Contains(t, refused.err, "key create")
	assert.Equal(t, exitNotFound, on(ci, "ls").exit, "the tenant default does not exist for it")
	assert.Equal(t, exitFailed, on(ci, "key", "ls").exit)

	var list struct{ Keys []struct{ ID, Name string } }
	require.NoError(t, json.Unmarshal([]byte(on(admin, "key", "ls", "-o", "json").out), &list))
	require.Len(t, list.Keys, 2)
	assert.Regexp(t, `(?m)^ID +NAME +SCOPES +STATE +CREATED +EXPIRES +LAST USED$`, on(admin, "key", "ls").out)
	id := ci[4:20]
	rotated := on(admin, "key", "rotate", id, "--overlap", "1h")
	require.Equal(t, exitOK, rotated.exit, rotated.err)
	for _, key := range []string{ci, strings.TrimSpace(rotated.out)} {
		assert.Equal(t, exitOK, on(key, "ls", "--tenant", "acme").exit)
	}
	assert.Equal(t, "key "+id+" is revoked\n", on(admin, "key", "revoke", id).out)
	assert.Equal(t, exitFailed, on(ci, "ls", "--tenant", "acme").exit)
	assert.Equal(t, exitNotFound, on(admin, "key", "revoke", id).exit)
	for _, args := range [][]string{
		{"key", "create", "x"},
		{"key", "create", "x", "--scope", "root"},
		{"key", "create", "x", "--scope", "admin", "--expires", "never"},
		{"key", "create", "x", "--scope", "admin", "--expires", "-1h"},
		{"key", "rotate", id, "--overlap", "x"},
		{"key", "create"},
		{"key", "what"},
	} {
		got := on(admin, args...)
		assert.Equal(t, exitUsage, got.exit, "%v: %s", args, got.err)
	}
	assert.Contains(t, on(admin, "key", "create", "x").err, "genkit-wasm key create --help")
	stop()
	assert.NotRegexp(t, tokenForm, log.String(), "no token is in the log")
	assert.Contains(t, log.String(), `"identity":"key:`)

	again, printed, _, stop := startGuarded(t, data)
	assert.Empty(t, printed, "there is an admin key")
	t.Setenv(keyEnv, admin)
	assert.Equal(t, exitOK, cli(t, "ls", "--server", again).exit, "keys outlive the server")
	require.Equal(t, exitOK, cli(t, "key", "revoke", admin[4:20], "--server", again).exit)
	assert.Equal(t, exitFailed, cli(t, "key", "create", "x", "--scope", "admin", "--data", data).exit, "the server has the keys open")
	stop()

	offline := cli(t, "key", "create", "rescue", "--scope", "admin", "--data", data)
	require.Equal(t, exitOK, offline.exit, offline.err)
	url, printed, _, stop = startGuarded(t, data)
	assert.Empty(t, printed)
	t.Setenv(keyEnv, strings.TrimSpace(offline.out))
	assert.Equal(t, exitOK, cli(t, "key", "revoke", offline.out[4:20], "--server", url).exit)
	stop()
	_, printed, _, stop = startGuarded(t, data)
	assert.NotEmpty(t, printed, "a start without any admin key makes one")
	stop()
}

func TestWhoMayListenBeyondLoopback(t *testing.T) {
	cert, key := certificate(t, t.TempDir(), 1)
	for name, args := range map[string][]string{
		"nothing":                   {"--addr", "0.0.0.0:0"},
		"TLS alone":                 {"--addr", "0.0.0.0:0", "--tls-cert", cert, "--tls-key", key, "--allowed-host", "x"},
		"a proxy alone":             {"--addr", "0.0.0.0:0", "--trusted-proxy", "10.0.0.0/8", "--allowed-host", "x"},
		"plain alone":               {"--addr", "0.0.0.0:0", "--plain-http-beyond-loopback", "--allowed-host", "x"},
		"auth alone":                {"--addr", "0.0.0.0:0", "--auth", "--allowed-host", "x"},
		"auth alone on all, short":  {"--addr", ":0", "--auth", "--allowed-host", "x"},
		"auth alone on IPv6":        {"--addr", "[::]:0", "--auth", "--allowed-host", "x"},
		"auth alone, a name":        {"--addr", "tools.example:0", "--auth"},
		"no name":                   {"--addr", "0.0.0.0:0", "--auth", "--plain-http-beyond-loopback"},
		"a certificate without key": {"--auth", "--tls-cert", cert},
		"a key without certificate": {"--auth", "--tls-key", key},
		"files that are swapped":    {"--auth", "--tls-cert", key, "--tls-key", cert},
		"files that are not there":  {"--auth", "--tls-cert", "none", "--tls-key", key},
		"no network":                {"--auth", "--trusted-proxy", "proxy.example"},
		"fewer than none":           {"--auth", "--max-connections", "-1"},
		"plain and TLS":             {"--auth", "--tls-cert", cert, "--tls-key", key, "--plain-http-beyond-loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			data := t.TempDir()
			got := cli(t, append([]string{"serve", "--data", data}, args...)...)
			assert.Equal(t, exitUsage, got.exit, got.err)
			assert.NotRegexp(t, tokenForm, got.out)
			assert.NoFileExists(t, filepath.Join(data, "keys"))
		})
	}
	for name, args := range map[string][]string{
		"auth and TLS":     {"--tls-cert", cert, "--tls-key", key},
		"auth and a proxy": {"--trusted-proxy", "192.0.2.1"},
		"auth and plain":   {"--plain-http-beyond-loopback"},
	} {
		t.Run(name, func(t *testing.T) {
			_, admin, _, stop := startGuarded(t, t.TempDir(), append(args, "--addr", "0.0.0.0:0", "--allowed-host", "tools.example")...)
			assert.NotEmpty(t, admin)
			stop()
		})
	}
}

// certificate writes a certificate with a serial number, for 127.0.0.1.
func certificate(t *testing.T, dir string, serial int64) (certFile, keyFile string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: "test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	raw, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	require.NoError(t, os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(keyFile, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}), 0o600))
	return certFile, keyFile
}

func TestTLS(t *testing.T) {
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	url, admin, log, stop := startGuarded(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key)
	defer stop()
	require.True(t, strings.HasPrefix(url, "https://"), url)
	addr := strings.TrimPrefix(url, "https://")
	handshake := func(c *tls.Config) (tls.ConnectionState, error) {
		c.InsecureSkipVerify = true //nolint:gosec // what is presented is what is looked at
		conn, err := (&tls.Dialer{Config: c}).DialContext(t.Context(), "tcp", addr)
		if err != nil {
			return tls.ConnectionState{}, err
		}
		defer conn.Close()
		return conn.(*tls.Conn).ConnectionState(), nil
	}
	serial := func() int64 {
		state, err := handshake(&tls.Config{})
		require.NoError(t, err)
		return state.PeerCertificates[0].SerialNumber.Int64()
	}
	assert.EqualValues(t, 1, serial())
	_, err := handshake(&tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11}) //nolint:gosec // to see it refused
	require.Error(t, err, "TLS 1.1 is too old")

	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true}} //nolint:gosec // of this test
	get := func(url string) string {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+admin)
		resp, err := client.Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return string(body)
	}
	assert.Contains(t, get(url+"/v1/identity"), `"admin"`)
	assert.Contains(t, get("http://"+addr+"/v1/identity"), "HTTP request to an HTTPS server")

	certificate(t, dir, 2)
	require.Eventually(t, func() bool { return serial() == 2 }, 20*time.Second, 50*time.Millisecond, "new files are read")
	require.NoError(t, os.WriteFile(key, []byte("half a key"), 0o600))
	require.Eventually(t, func() bool {
		require.EqualValues(t, 2, serial(), "the one before serves")
		return strings.Contains(log.String(), "can't be read")
	}, 20*time.Second, 50*time.Millisecond)
	certificate(t, dir, 3)
	require.Eventually(t, func() bool { return serial() == 3 }, 20*time.Second, 50*time.Millisecond)
}

func TestLogin(t *testing.T) {
	home := t.TempDir()
	t.Setenv("XDG_CONFIG_HOME", home)
	file := filepath.Join(home, "genkit-wasm", "profiles.json")
	url, admin, _, stop := startGuarded(t, t.TempDir(), "--tenant", "acme")
	defer stop()
	assert.Equal(t, exitFailed, cliWith(t, "gwk_wrong\n", "login", "--server", url).exit)
	assert.NoFileExists(t, file)
	assert.Equal(t, exitUsage, cliWith(t, "\n", "login", "--server", url).exit)
	in := cliWith(t, admin+"\n", "login", "--server", url)
	require.Equal(t, exitOK, in.exit, in.err)
	assert.Equal(t, "profile default: "+url+" as admin (admin)\n", in.out)
	info, err := os.Stat(file)
	require.NoError(t, err)
	assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
	require.Equal(t, exitOK, cli(t, "ls").exit, "server and key come from the profile")

	ci := strings.TrimSpace(cli(t, "key", "create", "ci", "--scope", "acme:read").out)
	in = cliWith(t, ci, "login", "--server", url, "--profile", "ci")
	require.Equal(t, exitOK, in.exit, in.err)
	assert.Equal(t, exitOK, cli(t, "ls").exit, "the last login's profile, and its key's only tenant")
	assert.Equal(t, exitNotFound, cli(t, "ls", "--tenant", "default").exit)
	assert.Equal(t, exitOK, cli(t, "ls", "--profile", "default").exit)
	assert.Equal(t, exitOK, cli(t, "key", "ls", "--profile", "default").exit)
	t.Setenv(profileEnv, "default")
	assert.Equal(t, exitOK, cli(t, "key", "ls").exit)
	t.Setenv(profileEnv, "none")
	assert.Equal(t, exitUsage, cli(t, "key", "ls").exit)
	t.Setenv(profileEnv, "")
	t.Setenv(keyEnv, admin)
	assert.Equal(t, exitOK, cli(t, "key", "ls").exit, "the environment's key comes first")
	t.Setenv(keyEnv, "")

	require.NoError(t, os.Chmod(file, 0o640))
	open := cli(t, "ls")
	assert.Equal(t, exitUsage, open.exit)
	assert.Contains(t, open.err, "others on this machine may read the keys")
	require.NoError(t, os.Chmod(file, 0o600))
	assert.Equal(t, "profile ci is forgotten\n", cli(t, "logout").out)
	assert.Equal(t, exitUsage, cli(t, "logout").exit)
	assert.Equal(t, exitOK, cli(t, "logout", "--profile", "default").exit)
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.NotContains(t, string(raw), "gwk_")

	plain := startServer(t)
	nothing := cliWith(t, admin, "login", "--server", plain)
	assert.Equal(t, exitFailed, nothing.exit)
	assert.Contains(t, nothing.err, "asks for no key")
}

// A server with a certificate of its own making is trusted where somebody has said so, and a profile's
// certificate vouches for the profile's server only.
func TestACertificateOfOnesOwn(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	url, admin, _, stop := startGuarded(t, t.TempDir(), "--tls-cert", cert, "--tls-key", key)
	defer stop()
	refused := cliWith(t, admin, "login", "--server", url)
	assert.Equal(t, exitUnreachable, refused.exit)
	assert.Contains(t, refused.err, "can't be trusted")
	assert.Contains(t, refused.err, "login --ca FILE")
	assert.Equal(t, exitUsage, cliWith(t, admin, "login", "--server", url, "--ca", key).exit, "a key is no certificate")
	assert.Equal(t, exitUsage, cliWith(t, admin, "login", "--server", url, "--ca", filepath.Join(dir, "none")).exit)

	clear := cli(t, "ls", "--server", strings.Replace(url, "https", "http", 1))
	assert.Equal(t, exitUsage, clear.exit)
	assert.Contains(t, clear.err, "speaks HTTPS")
	in := cliWith(t, admin, "login", "--server", url, "--ca", cert)
	require.Equal(t, exitOK, in.exit, in.err)
	copied := filepath.Join(dir, "copy.pem")
	require.NoError(t, os.Rename(cert, copied))
	assert.Equal(t, exitOK, cli(t, "ls").exit, "the profile has the certificate itself")
	other, otherAdmin, _, stopOther := startGuarded(t, t.TempDir(), "--tls-cert", copied, "--tls-key", key)
	defer stopOther()
	t.Setenv(keyEnv, otherAdmin)
	assert.Equal(t, exitUnreachable, cli(t, "ls", "--server", other).exit, "another server")
	t.Setenv(caEnv, copied)
	assert.Equal(t, exitOK, cli(t, "ls", "--server", other).exit)
	t.Setenv(caEnv, key)
	assert.Equal(t, exitUsage, cli(t, "ls", "--server", other).exit)
	t.Setenv(caEnv, "")
	t.Setenv(keyEnv, "")

	stranger, _ := certificate(t, t.TempDir(), 2)
	t.Setenv(caEnv, stranger)
	assert.Equal(t, exitUnreachable, cli(t, "ls").exit, "what is said now counts before the profile")
}

// A key may be named by its name where that is no other's.
func TestKeysAreNamedByIDOrName(t *testing.T) {
	url, admin, _, stop := startGuarded(t, t.TempDir(), "--tenant", "acme")
	defer stop()
	t.Setenv(serverEnv, url)
	t.Setenv(keyEnv, admin)
	token := func(name string) string {
		made := cli(t, "key", "create", name, "--scope", "acme:read")
		require.Equal(t, exitOK, made.exit, made.err)
		return strings.TrimSpace(made.out)
	}
	one, twin := token("one"), token("twin")
	token("twin")
	rotated := cli(t, "key", "rotate", "one")
	require.Equal(t, exitOK, rotated.exit, rotated.err)
	assert.Equal(t, one[:20], rotated.out[:20], "the same key")
	assert.Equal(t, "key one is revoked\n", cli(t, "key", "revoke", "one", "--yes").out)
	none := cli(t, "key", "revoke", "one", "--yes")
	assert.Equal(t, exitNotFound, none.exit)
	assert.Contains(t, none.err, "key ls")
	both := cli(t, "key", "revoke", "twin", "--yes")
	assert.Equal(t, exitUsage, both.exit)
	assert.Contains(t, both.err, twin[4:20])
	assert.Equal(t, exitUsage, cli(t, "key", "revoke", twin, "--yes").exit, "a token is a secret, and no name")
	assert.Equal(t, exitOK, cli(t, "key", "revoke", twin[4:20], "--yes").exit)
	assert.Equal(t, exitOK, cli(t, "key", "revoke", "twin", "--yes").exit, "now it is no other's")
}

// A profile's key goes to the profile's server, and nowhere else.
func TestAKeyGoesToItsServerOnly(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	sent := map[string]string{}
	record := func(name string, answer http.HandlerFunc) *httptest.Server {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			sent[name] += r.Header.Get("Authorization")
			answer(w, r)
		}))
		t.Cleanup(s.Close)
		return s
	}
	other := record("other", func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(`{"modules":[]}`)) })
	own := record("own", func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/modules") {
			http.Redirect(w, r, other.URL+r.URL.Path, http.StatusTemporaryRedirect)
			return
		}
		_, _ = w.Write([]byte(`{"subject":"key:x","scopes":["admin"]}`))
	})
	require.Equal(t, exitOK, cliWith(t, "gwk_secret", "login", "--server", own.URL).exit)
	assert.Equal(t, "Bearer gwk_secret", sent["own"])
	assert.Equal(t, exitOK, cli(t, "ls", "--server", other.URL).exit)
	assert.Empty(t, sent["other"], "another server")
	t.Setenv(serverEnv, other.URL)
	assert.Equal(t, exitOK, cli(t, "ls").exit)
	t.Setenv(serverEnv, "")
	_ = cli(t, "flow", "--url", other.URL+"/flow")
	assert.Empty(t, sent["other"], "a flow on a server of another kind")
	assert.NotEqual(t, exitOK, cli(t, "ls").exit, "a redirect is no answer")
	assert.Empty(t, sent["other"], "a redirect")
	assert.Equal(t, "Bearer gwk_secretBearer gwk_secret", sent["own"])
	_ = cli(t, "flow", "menu")
	assert.Equal(t, "Bearer gwk_secretBearer gwk_secretBearer gwk_secret", sent["own"], "flows take the key too")
}
