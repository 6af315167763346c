package main

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// profilesOf finds the URL of the profiles in a server's log.
func profilesOf(t *testing.T, log *locked) string {
	t.Helper()
	_, rest, ok := strings.Cut(log.String(), `"msg":"profiles are served","url":"`)
	require.True(t, ok, log.String())
	url, _, _ := strings.Cut(rest, `"`)
	return url
}

// askProfile sends a request for a profile, with headers as "Name: value".
func askProfile(t *testing.T, method, url, body string, headers ...string) (code int, header http.Header, answer string) {
	t.Helper()
	code, header, answer, err := tryProfile(t.Context(), method, url, body, headers...)
	require.NoError(t, err)
	return code, header, answer
}

// tryProfile is askProfile for other goroutines than the test's.
func tryProfile(ctx context.Context, method, url, body string, headers ...string) (code int, header http.Header, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, nil, "", err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(raw), err
}

func TestProfiles(t *testing.T) {
	url, log := startLogged(t, "--pprof", "127.0.0.1:0")
	profiles := profilesOf(t, log)
	get := func(path string, headers ...string) (int, string) {
		code, _, answer := askProfile(t, http.MethodGet, profiles+path, "", headers...)
		return code, answer
	}
	code, answer := get("")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, answer, "heap\n")
	for _, name := range []string{"heap?gc=1", "goroutine", "allocs", "profile?seconds=1", "trace?seconds=1"} {
		code, answer = get(name)
		assert.Equal(t, http.StatusOK, code, name)
		assert.NotEmpty(t, answer, name)
		if !strings.HasPrefix(name, "trace") {
			assert.True(t, strings.HasPrefix(answer, "\x1f\x8b"), "%s is compressed", name)
		}
	}
	code, answer = get("goroutine?debug=1")
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, answer, "goroutine profile: total")

	for name, test := range map[string]struct {
		path    string
		headers []string
		code    int
	}{
		"a profile that is none":          {"none", nil, http.StatusNotFound},
		"the command line":                {"cmdline", nil, http.StatusNotFound},
		"another path":                    {"../../metrics", nil, http.StatusNotFound},
		"too long":                        {"profile?seconds=301", nil, http.StatusBadRequest},
		"no time":                         {"profile?seconds=0", nil, http.StatusBadRequest},
		"no number":                       {"trace?seconds=x", nil, http.StatusBadRequest},
		"a parameter of another":          {"goroutine?seconds=1", nil, http.StatusBadRequest},
		"a query that is none":            {"heap?%zz", nil, http.StatusBadRequest},
		"a name that was pointed here":    {"heap", []string{"Host: evil.example.com"}, http.StatusForbidden},
		"a page of another site":          {"heap", []string{"Sec-Fetch-Site: cross-site"}, http.StatusForbidden},
		"a page of another site's origin": {"heap", []string{"Origin: https://evil.example.com"}, http.StatusForbidden},
	} {
		code, answer := get(test.path, test.headers...)
		assert.Equal(t, test.code, code, "%s: %s", name, answer)
		assert.Contains(t, answer, `"status_name":`, name)
	}
	code, _, _ = askProfile(t, http.MethodPost, profiles+"heap", "body")
	assert.Equal(t, http.StatusBadRequest, code)
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap"} {
		code, _, _ := askProfile(t, http.MethodGet, url+path, "")
		assert.Equal(t, http.StatusNotFound, code, "the address of the API has no profiles")
	}
	code, _, _ = askProfile(t, http.MethodGet, strings.TrimSuffix(profiles, profilesPath)+"/v1/tenants/default/modules", "")
	assert.Equal(t, http.StatusNotFound, code, "the address of the profiles has nothing else")
}

func TestAProfilesAddressIsOfThisMachine(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":6060", "192.0.2.1:6060", "example.com:6060", "127.0.0.1", "[::]:0"} {
		got := cli(t, "serve", "--addr", "127.0.0.1:0", "--data", t.TempDir(), "--pprof", addr)
		assert.Equal(t, exitUsage, got.exit, addr)
		assert.Contains(t, got.err, "--pprof", addr)
	}
	assert.Equal(t, exitUsage, cli(t, "config", "check", write(t, "c.yaml", "pprof: 0.0.0.0:6060\n")).exit)
}

func TestProfilesAreForAdmins(t *testing.T) {
	url, root, log, stop := startGuarded(t, t.TempDir(), "--pprof", "localhost:0", "--tenant", "acme")
	defer stop()
	profiles := profilesOf(t, log)
	t.Setenv(keyEnv, root)
	create := func(name, scope string) string {
		return strings.TrimSpace(cli(t, "key", "create", name, "--scope", scope, "--server", url).out)
	}
	for name, test := range map[string]struct {
		headers []string
		code    int
	}{
		"no key":              {nil, http.StatusUnauthorized},
		"a wrong key":         {[]string{"Authorization: Bearer " + root[:72] + "!"}, http.StatusUnauthorized},
		"another scheme":      {[]string{"Authorization: Basic " + root}, http.StatusUnauthorized},
		"two keys":            {[]string{"Authorization: Bearer " + root, "Authorization: Bearer " + root}, http.StatusUnauthorized},
		"the key of a tenant": {[]string{"Authorization: Bearer " + create("acme", "acme:manage")}, http.StatusForbidden},
		"a key with admin":    {[]string{"Authorization: Bearer " + root}, http.StatusOK},
	} {
		code, header, answer := askProfile(t, http.MethodGet, profiles+"heap", "", test.headers...)
		assert.Equal(t, test.code, code, "%s: %s", name, answer)
		assert.Equal(t, test.code == http.StatusUnauthorized, header.Get("WWW-Authenticate") != "", name)
	}
	assert.NotContains(t, log.String(), root)

	// A key that is revoked ends the profiles that run under it, long before their time.
	for _, path := range []string{"profile?seconds=300", "trace?seconds=300"} {
		answers := beingMade(t, profiles, path, "Authorization: Bearer "+create("ops", "admin"))
		require.Equal(t, exitOK, cli(t, "key", "revoke", "ops", "--yes", "--server", url).exit)
		got := <-answers
		assert.Equal(t, http.StatusUnauthorized, got.code, path)
		assert.Contains(t, got.answer, `"status_name":"UNAUTHENTICATED"`, path)
	}
}

type profileAnswer struct {
	code   int
	answer string
}

// beingMade asks for a profile and returns when it is being made.
func beingMade(t *testing.T, profiles, path string, headers ...string) <-chan profileAnswer {
	t.Helper()
	answers := make(chan profileAnswer, 1)
	go func() {
		code, _, answer, err := tryProfile(t.Context(), http.MethodGet, profiles+path, "", headers...)
		if err != nil {
			answer = err.Error()
		}
		answers <- profileAnswer{code, answer}
	}()
	// A second one of the kind is refused once the first one runs; until then it is made, for a second.
	name, _, _ := strings.Cut(path, "?")
	for {
		code, _, _ := askProfile(t, http.MethodGet, profiles+name+"?seconds=1", "", headers...)
		if code == http.StatusServiceUnavailable {
			return answers
		}
		require.Equal(t, http.StatusOK, code)
		select {
		case got := <-answers: // it came second
			require.Equal(t, http.StatusServiceUnavailable, got.code)
			return beingMade(t, profiles, path, headers...)
		default:
		}
	}
}

// The server ends while a profile of five minutes is being made, and while nobody reads one.
func TestProfilesDoNotHoldTheServersEnd(t *testing.T) {
	_, _, log, stop := start(t, t.TempDir(), "--pprof", "127.0.0.1:0")
	answers := beingMade(t, profilesOf(t, log), "profile?seconds=300")
	stop()
	got := <-answers
	assert.Equal(t, http.StatusServiceUnavailable, got.code)
	assert.Contains(t, got.answer, "shutting down")
}

func TestAProfileThatIsTooLongIsRefused(t *testing.T) {
	b := &bounded{most: 10, full: make(chan struct{})}
	err := during(t.Context(), 300, b, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(make([]byte, 11)))
		assert.ErrorIs(t, err, errFull)
		return nil
	}, func() {})
	assert.ErrorIs(t, err, errFull)
	_, whole := b.bytes()
	assert.False(t, whole)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	stopped := false
	err = during(ctx, 300, &bounded{most: 10, full: make(chan struct{})}, func(io.Writer) error { return nil }, func() { stopped = true })
	assert.True(t, stopped)
	assert.ErrorIs(t, err, io.ErrClosedPipe, "it ends with who asked")
}
