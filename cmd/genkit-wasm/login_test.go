package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"testing/iotest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/logins"
)

// home gives the test a place for profiles of its own, and returns their file.
func home(t *testing.T) string {
	t.Helper()
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	file, err := logins.Path()
	require.NoError(t, err)
	return file
}

// A login asks the server whose key it is, and keeps what the answer says.
func TestALoginKeepsWhatTheServerSays(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		args   []string
		stdin  string
		exit   int
		says   string
		kept   *logins.Profile // but for its server
	}{
		"an admin": {answer(200, `{"subject":"key:x","name":"admin","scopes":["admin"]}`), nil, "k\n", exitOK, "profile default: URL as admin (admin)\n", &logins.Profile{Key: "k"}},
		"the key of one tenant": {
			answer(200, `{"subject":"key:x","scopes":["acme:read"]}`), []string{"--profile", "p"}, "k", exitOK, "profile p: URL as key:x (acme:read)\n", &logins.Profile{Key: "k", Tenant: "acme"},
		},
		"the key of two":           {answer(200, `{"subject":"x","scopes":["a:read","b:read"]}`), nil, "k", exitOK, "(a:read, b:read)", &logins.Profile{Key: "k"}},
		"a tenant that is given":   {answer(200, `{"subject":"x","scopes":["a:read","b:read"]}`), []string{"--tenant", "b"}, "k", exitOK, "", &logins.Profile{Key: "k", Tenant: "b"}},
		"for programs":             {answer(200, `{"subject":"x","scopes":["admin"]}`), []string{"-o", "json"}, "k", exitOK, `"subject": "x"`, &logins.Profile{Key: "k"}},
		"a key that is not good":   {answer(401, problem(401, "UNAUTHENTICATED", "the key is not valid"), "WWW-Authenticate: Bearer"), nil, "k", exitFailed, "the key came from", nil},
		"a server without keys":    {answer(404, problem(404, "NOT_FOUND", "there is nothing at this path")), nil, "k", exitFailed, "asks for no key, so there is nothing to keep", nil},
		"an answer that is none":   {answer(200, `[]`), nil, "k", exitFailed, "the server's answer tells of no identity", nil},
		"no key":                   {answer(200, `{}`), nil, "\n", exitUsage, "there is no key on the standard input", nil},
		"a key with a blank":       {answer(200, `{}`), nil, "a b", exitUsage, "characters that no key has", nil},
		"an argument":              {answer(200, `{}`), []string{"gwk_x"}, "", exitUsage, "unknown command", nil},
		"a certificate that isn't": {answer(200, `{}`), []string{"--ca", "login_test.go"}, "k", exitUsage, "holds no certificate in PEM", nil},
	} {
		t.Run(name, func(t *testing.T) {
			file := home(t)
			s, _ := startStandIn(t, test.answer)
			got := cliWith(t, test.stdin, append([]string{"login", "--server", s.url}, test.args...)...)
			assert.Equal(t, test.exit, got.exit, got.err)
			assert.Contains(t, replaced(got.out+got.err, s.url), test.says)
			if test.kept == nil {
				assert.NoFileExists(t, file)
				return
			}
			require.Len(t, s.asked, 1)
			assert.Equal(t, "/v1/identity", s.asked[0].path)
			assert.Equal(t, "Bearer k", s.asked[0].header.Get("Authorization"))
			all, err := logins.Read(file)
			require.NoError(t, err)
			kept, ok := all.Get("")
			require.True(t, ok)
			test.kept.Server = s.url
			assert.Equal(t, *test.kept, kept)
		})
	}
	a := &app{in: iotest.ErrReader(os.ErrClosed)}
	_, err := a.askKey()
	assert.ErrorIs(t, err, os.ErrClosed)
}

// Flags count before the environment, and that before the profile.
func TestAFlagCountsBeforeTheEnvironmentAndThatBeforeAProfile(t *testing.T) {
	file := home(t)
	servers := map[string]*standIn{}
	for _, name := range []string{"profile", "environment", "flag"} {
		servers[name], _ = startStandIn(t, answer(http.StatusOK, `{"modules":[]}`))
	}
	all := &logins.File{Profiles: map[string]logins.Profile{}}
	all.Put("other", logins.Profile{Server: "http://127.0.0.1:1", Key: "wrong"})
	all.Put("p", logins.Profile{Server: servers["profile"].url, Tenant: "of-profile", Key: "key-of-profile"})
	require.NoError(t, all.Write(file))
	asked := func(server string, args ...string) asked {
		t.Helper()
		s := servers[server]
		before := len(s.asked)
		got := cli(t, append([]string{"ls"}, args...)...)
		require.Equal(t, exitOK, got.exit, got.err)
		require.Len(t, s.asked, before+1)
		return s.asked[before]
	}
	of := asked("profile")
	assert.Equal(t, "/v1/tenants/of-profile/modules Bearer key-of-profile", of.path+" "+of.header.Get("Authorization"))
	assert.Equal(t, "/v1/tenants/of-flag/modules", asked("profile", "--tenant", "of-flag").path)
	t.Setenv(keyEnv, " key-of-environment ")
	assert.Equal(t, "Bearer key-of-environment", asked("profile").header.Get("Authorization"))
	t.Setenv(keyEnv, "")
	t.Setenv(serverEnv, servers["environment"].url)
	of = asked("environment")
	assert.Empty(t, of.header.Get("Authorization"), "a profile's key is for its server")
	of = asked("flag", "--server", servers["flag"].url)
	assert.Empty(t, of.header.Get("Authorization"))
	of = asked("profile", "--server", servers["profile"].url+"/")
	assert.Equal(t, "Bearer key-of-profile", of.header.Get("Authorization"), "also where a flag names it")
	t.Setenv(serverEnv, "")
	t.Setenv(profileEnv, "other")
	assert.Equal(t, "Bearer key-of-profile", asked("profile", "--profile", "p").header.Get("Authorization"))
	assert.Equal(t, exitUnreachable, cli(t, "ls").exit, "the environment's profile, before that of the last login")
	t.Setenv(profileEnv, "none")
	none := cli(t, "ls")
	assert.Equal(t, exitUsage, none.exit)
	assert.Equal(t, "error: there is no profile \"none\"\n       \"genkit-wasm login --profile none\" makes it\n", none.err)
}

// A logout forgets one profile, and --dry-run none.
func TestALogoutForgetsAProfile(t *testing.T) {
	file := home(t)
	nothing := cli(t, "logout")
	assert.Equal(t, exitUsage, nothing.exit)
	assert.Contains(t, nothing.err, `there is no profile ""`)
	all := &logins.File{Profiles: map[string]logins.Profile{}}
	all.Put("a", logins.Profile{Server: "http://a"})
	all.Put("b", logins.Profile{Server: "http://b"})
	require.NoError(t, all.Write(file))
	assert.Equal(t, outcome{out: "profile b would be forgotten\n"}, cli(t, "logout", "--dry-run"))
	assert.JSONEq(t, `{"dryRun":true,"profile":"a"}`, cli(t, "logout", "--profile", "a", "--dry-run", "-o", "json").out)
	assert.JSONEq(t, `{"profile":"b"}`, cli(t, "logout", "-o", "json").out)
	assert.Equal(t, exitUsage, cli(t, "logout").exit, "none is the last login's now")
	assert.Equal(t, outcome{out: "profile a is forgotten\n"}, cli(t, "logout", "--profile", "a"))
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.JSONEq(t, `{"profiles":{}}`, string(raw))

	require.NoError(t, os.WriteFile(file, []byte("{"), 0o600))
	assert.Equal(t, exitUsage, cli(t, "ls").exit)
	assert.Contains(t, cli(t, "logout").err, "holds no profiles")
	require.NoError(t, os.RemoveAll(filepath.Dir(file)))
	require.NoError(t, os.WriteFile(filepath.Dir(file), nil, 0o600)) // a file where the directory is to be
	s, _ := startStandIn(t, answer(http.StatusOK, `{"subject":"x","scopes":["admin"]}`))
	assert.Equal(t, exitUsage, cliWith(t, "k", "login", "--server", s.url).exit)
}

// A key that crosses a network in the clear is worth a warning.
func TestAKeyInTheClearIsWarnedOf(t *testing.T) {
	for server, want := range map[string]string{
		"http://localhost:3400": "", "http://127.0.0.1": "", "http://[::1]:1": "", "https://tools.example.com": "", "://": "",
		"http://tools.example.com:80": "tools.example.com:80", "http://192.0.2.1": "192.0.2.1",
	} {
		host, plain := plainHost(server)
		assert.Equal(t, want != "", plain, server)
		if plain {
			assert.Equal(t, want, host)
		}
	}
}

// A certificate of a profile that can't be read is told, and not passed over.
func TestAProfilesCertificateIsRead(t *testing.T) {
	file := home(t)
	s, _ := startStandIn(t, answer(http.StatusOK, `{"modules":[]}`))
	all := &logins.File{Profiles: map[string]logins.Profile{}}
	all.Put("p", logins.Profile{Server: s.url, CA: "half a certificate"})
	require.NoError(t, all.Write(file))
	got := cli(t, "ls", "-o", "json")
	assert.Equal(t, exitUsage, got.exit)
	var told struct{ Error struct{ Message string } }
	require.NoError(t, json.Unmarshal([]byte(got.err), &told))
	assert.Contains(t, told.Error.Message, "login --ca FILE")
	assert.Empty(t, s.asked)
}
