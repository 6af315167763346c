package profiling

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// started is a server that ends with its test.
func started(t *testing.T, c Config) *Server {
	t.Helper()
	s, err := Start(t.Context(), "127.0.0.1:0", c)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.Close(context.Background())) })
	return s
}

// got is an answer.
type got struct {
	code   int
	header http.Header
	body   string
}

// ask sends a request, with headers as "Name: value".
func ask(t *testing.T, s *Server, method, path, body string, headers ...string) got {
	t.Helper()
	answer, err := try(t.Context(), s, method, path, body, headers...)
	require.NoError(t, err)
	return answer
}

// try is ask for other goroutines than the test's.
func try(ctx context.Context, s *Server, method, path, body string, headers ...string) (got, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+s.addr.String()+path, strings.NewReader(body))
	if err != nil {
		return got{}, err
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		if name == "Host" {
			req.Host = value
			continue
		}
		req.Header.Add(name, value)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return got{}, err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	return got{resp.StatusCode, resp.Header, string(raw)}, err
}

func TestProfilesAreServed(t *testing.T) {
	s := started(t, Config{})
	index := ask(t, s, "GET", Path, "")
	assert.Equal(t, http.StatusOK, index.code)
	assert.Equal(t, "text/plain; charset=utf-8", index.header.Get("Content-Type"))
	assert.Contains(t, index.body, "profile?seconds=30\ntrace?seconds=1\n")
	assert.Contains(t, index.body, "heap\n")
	for _, name := range []string{"heap?gc=1", "goroutine", "allocs?debug=0"} {
		answer := ask(t, s, "GET", Path+name, "")
		assert.Equal(t, http.StatusOK, answer.code, name)
		assert.True(t, strings.HasPrefix(answer.body, "\x1f\x8b"), "%s is compressed", name)
		file, _, _ := strings.Cut(name, "?")
		assert.Equal(t, `attachment; filename="`+file+`"`, answer.header.Get("Content-Disposition"))
		assert.Equal(t, "no-store", answer.header.Get("Cache-Control"))
	}
	text := ask(t, s, "GET", Path+"goroutine?debug=1", "")
	assert.Contains(t, text.body, "goroutine profile: total")
	assert.Empty(t, text.header.Get("Content-Disposition"))
}

func TestCPUProfilesAndTracesAreWhole(t *testing.T) {
	s := started(t, Config{})
	for _, name := range []string{"profile", "trace"} {
		answer := ask(t, s, "GET", Path+name+"?seconds=1", "")
		assert.Equal(t, http.StatusOK, answer.code, answer.body)
		assert.NotEmpty(t, answer.body)
	}
}

func TestWhatIsNoRequestForAProfileIsRefused(t *testing.T) {
	s := started(t, Config{})
	for name, test := range map[string]struct {
		method, path, body string
		headers            []string
		code               int
		says               string
	}{
		"a profile that is none":          {"GET", Path + "none", "", nil, 404, "there is nothing at this path; /debug/pprof/ lists what is there"},
		"the command line":                {"GET", Path + "cmdline", "", nil, 404, "nothing at this path"},
		"another path":                    {"GET", Path + "../../metrics", "", nil, 404, "nothing at this path"},
		"the API":                         {"GET", "/v1/tenants/default/modules", "", nil, 404, "nothing at this path"},
		"too long":                        {"GET", Path + "profile?seconds=301", "", nil, 400, "seconds: want 1 to 300"},
		"no time":                         {"GET", Path + "profile?seconds=0", "", nil, 400, "seconds: want 1 to 300"},
		"no number":                       {"GET", Path + "trace?seconds=x", "", nil, 400, "seconds: want 1 to 300"},
		"a form that is none":             {"GET", Path + "heap?debug=3", "", nil, 400, "debug: want 0 to 2"},
		"a parameter of another":          {"GET", Path + "goroutine?seconds=1", "", nil, 400, `no parameter \"seconds\"`},
		"a parameter of the heap's":       {"GET", Path + "goroutine?gc=1", "", nil, 400, `no parameter \"gc\"`},
		"a query that is none":            {"GET", Path + "heap?%zz", "", nil, 400, "the query can't be read"},
		"a method that changes something": {"POST", Path + "heap", "", nil, 400, "profiles are had by GET, without a body"},
		"a body":                          {"GET", Path + "heap", "body", nil, 400, "profiles are had by GET, without a body"},
		"a name that was pointed here":    {"GET", Path + "heap", "", []string{"Host: evil.example.com"}, 403, "does not answer to the host name"},
		"a page of another site":          {"GET", Path + "heap", "", []string{"Sec-Fetch-Site: cross-site"}, 403, "a page may not send this request"},
		"a page of the same host":         {"GET", Path + "heap", "", []string{"Sec-Fetch-Site: same-site"}, 403, "a page may not send this request"},
		"a page of another site's origin": {"GET", Path + "heap", "", []string{"Origin: https://evil.example.com"}, 403, "a page may not send this request"},
	} {
		answer := ask(t, s, test.method, test.path, test.body, test.headers...)
		assert.Equal(t, test.code, answer.code, "%s: %s", name, answer.body)
		assert.Contains(t, answer.body, test.says, name)
		assert.Equal(t, "application/problem+json", answer.header.Get("Content-Type"), name)
	}
	for _, headers := range [][]string{{"Sec-Fetch-Site: none"}, {"Sec-Fetch-Site: same-origin"}, {"Host: LOCALHOST:1"}, {"Host: [::1]:1"}} {
		assert.Equal(t, http.StatusOK, ask(t, s, "GET", Path+"goroutine", "", headers...).code, headers)
	}
}

func TestAddressesAreOfThisMachine(t *testing.T) {
	for _, addr := range []string{"0.0.0.0:0", ":6060", "192.0.2.1:6060", "example.com:6060", "127.0.0.1", "[::]:0", "", "localhost"} {
		assert.Equal(t, status.InvalidArgument, status.Of(CheckAddress(addr)), addr)
		_, err := Start(t.Context(), addr, Config{})
		assert.Equal(t, status.InvalidArgument, status.Of(err), addr)
	}
	for _, addr := range []string{"127.0.0.1:0", "[::1]:6060", "localhost:6060", "127.9.9.9:1"} {
		assert.NoError(t, CheckAddress(addr), addr)
	}
	s := started(t, Config{})
	assert.Equal(t, "http://"+s.addr.String()+Path, s.URL())
	_, err := Start(t.Context(), s.addr.String(), Config{})
	assert.Equal(t, status.Unavailable, status.Of(err), "the port is taken")
}

// keyring knows identities by their tokens.
type keyring map[string]*access.Identity

func (k keyring) Authenticate(_ context.Context, c access.Credentials) (*access.Identity, error) {
	if id := k[c.Token]; id != nil {
		return id, nil
	}
	return nil, status.Publicf(status.Unauthenticated, "the key is not valid")
}

func TestProfilesAreForAdmins(t *testing.T) {
	var log bytes.Buffer
	s := started(t, Config{Logger: slog.New(slog.NewTextHandler(&log, nil)), Auth: keyring{
		"root": {Subject: "key:root", Scopes: access.Scopes{Admin: true}},
		"acme": {Subject: "key:acme", Scopes: access.Scopes{Tenants: map[string]access.Scope{"acme": access.Manage}}},
	}})
	for name, test := range map[string]struct {
		headers []string
		code    int
	}{
		"no key":              {nil, 401},
		"a wrong key":         {[]string{"Authorization: Bearer toor"}, 401},
		"another scheme":      {[]string{"Authorization: Basic root"}, 401},
		"two keys":            {[]string{"Authorization: Bearer root", "Authorization: Bearer root"}, 401},
		"the key of a tenant": {[]string{"Authorization: Bearer acme"}, 403},
		"a key with admin":    {[]string{"Authorization: Bearer root"}, 200},
	} {
		answer := ask(t, s, "GET", Path+"goroutine", "", test.headers...)
		assert.Equal(t, test.code, answer.code, "%s: %s", name, answer.body)
		assert.Equal(t, test.code == 401, answer.header.Get("WWW-Authenticate") != "", name)
	}
	assert.Contains(t, log.String(), "identity=key:root code=OK")
	assert.Contains(t, log.String(), "identity=key:acme code=PERMISSION_DENIED")
	assert.Contains(t, log.String(), "auth=true")
}

// beingMade asks for a profile of five minutes, and returns when it is being made.
func beingMade(t *testing.T, s *Server, name string, headers ...string) <-chan got {
	t.Helper()
	answers := make(chan got, 1)
	before := len(s.maker.slots)
	go func() {
		answer, err := try(t.Context(), s, "GET", Path+name+"?seconds=300", "", headers...)
		if err != nil {
			answer.body = err.Error()
		}
		answers <- answer
	}()
	require.Eventually(t, func() bool { return len(s.maker.slots) > before }, 10*time.Second, time.Millisecond)
	return answers
}

// A key that ends, ends the profiles that run under it, long before their time.
func TestAProfileEndsWithItsIdentity(t *testing.T) {
	for _, name := range []string{"profile", "trace"} {
		life := access.NewLife(time.Time{}, nil)
		s := started(t, Config{Auth: keyring{"root": {Subject: "key:root", Scopes: access.Scopes{Admin: true}, Life: life}}})
		answers := beingMade(t, s, name, "Authorization: Bearer root")
		life.End(status.Publicf(status.Unauthenticated, "the key is revoked"))
		answer := <-answers
		assert.Equal(t, http.StatusUnauthorized, answer.code, name)
		assert.Contains(t, answer.body, "the key is revoked", name)
	}
}

func TestAProfileEndsWithTheServer(t *testing.T) {
	s := started(t, Config{})
	answers := beingMade(t, s, "profile")
	another := beingMade(t, s, "trace")
	busy := ask(t, s, "GET", Path+"heap", "")
	assert.Equal(t, http.StatusServiceUnavailable, busy.code)
	assert.Contains(t, busy.body, "other profiles are under way")
	assert.Equal(t, "1", busy.header.Get("Retry-After"))
	began := time.Now()
	require.NoError(t, s.Close(t.Context()))
	assert.Less(t, time.Since(began), 10*time.Second)
	for _, answer := range []got{<-answers, <-another} {
		assert.Equal(t, http.StatusServiceUnavailable, answer.code)
		assert.Contains(t, answer.body, "shutting down")
	}
	s.served <- http.ErrServerClosed // for the test's own end
	assert.NoError(t, (*Server)(nil).Close(t.Context()))
}

func TestTwoProfilesOfAKindDoNotRunTogether(t *testing.T) {
	s := started(t, Config{})
	answers := beingMade(t, s, "profile")
	second := ask(t, s, "GET", Path+"profile?seconds=1", "")
	if second.code == http.StatusOK { // it came between the slot and its beginning
		assert.Contains(t, (<-answers).body, "another profile of that kind")
		return
	}
	assert.Contains(t, second.body, "another profile of that kind")
	s.stop(status.Publicf(status.Unavailable, "enough"))
	assert.Contains(t, (<-answers).body, "enough")
}

func TestAProfileThatIsTooLongIsRefused(t *testing.T) {
	b := &bounded{most: 10, full: make(chan struct{})}
	err := during(t.Context(), 300, b, func(w io.Writer) error {
		_, err := io.Copy(w, bytes.NewReader(make([]byte, 11)))
		assert.ErrorIs(t, err, errFull)
		return nil
	}, func() {})
	require.ErrorIs(t, err, errFull)
	_, whole := b.bytes()
	assert.False(t, whole)

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(io.ErrClosedPipe)
	stopped := false
	err = during(ctx, 300, &bounded{most: 10, full: make(chan struct{})}, func(io.Writer) error { return nil }, func() { stopped = true })
	assert.True(t, stopped)
	require.ErrorIs(t, err, io.ErrClosedPipe, "it ends with who asked")
	err = during(t.Context(), 300, b, func(io.Writer) error { return io.ErrClosedPipe }, nil)
	assert.Equal(t, status.Unavailable, status.Of(err))
}
