package egress_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/egress"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/secret"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// names is a name server that answers what the test says, one answer after another.
type names struct {
	mu      sync.Mutex // guards the fields below
	answers map[string][][]string
	asked   []string
}

func (n *names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = append(n.asked, host)
	list := n.answers[strings.TrimSuffix(host, ".")]
	if len(list) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	if len(list) > 1 {
		n.answers[strings.TrimSuffix(host, ".")] = list[1:]
	}
	var addrs []netip.Addr
	for _, a := range list[0] {
		addrs = append(addrs, netip.MustParseAddr(a))
	}
	return addrs, nil
}

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

const (
	local  = "127.0.0.1"
	apiKey = "sk-live-0123456789abcdef/+=&<>\"x"
)

// world is a TLS server and a client that finds it under names of example.com.
type world struct {
	t      *testing.T
	server *httptest.Server
	port   int
	names  *names
	client *egress.Client
	rules  egress.Rules
}

func newWorld(t *testing.T, handler http.HandlerFunc) *world {
	t.Helper()
	w := &world{t: t, server: httptest.NewUnstartedServer(handler)}
	w.server.EnableHTTP2 = true
	w.server.Config.ErrorLog = nil
	w.server.StartTLS()
	t.Cleanup(w.server.Close)
	w.port = w.server.Listener.Addr().(*net.TCPAddr).Port
	w.names = &names{answers: map[string][][]string{"example.com": {{local}}, "api.example.com": {{local}}, "other.example.com": {{local}}}}
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	w.client = egress.New(egress.Config{Resolver: w.names, Reachable: loopback, RootCAs: pool})
	t.Cleanup(w.client.Close)
	w.rules = egress.Rules{
		Grants:          grants(t, fmt.Sprintf(`{"http":[{"host":"*.example.com","ports":[%d],"methods":["*"]},{"host":"example.com","ports":[%d],"methods":["*"]}],"secrets":{"KEY":["api.example.com:%d"]}}`, w.port, w.port, w.port)),
		MaxRequestBytes: 1 << 20, MaxResponseBytes: 1 << 20,
		Secret: func(_ context.Context, name string) (secret.Value, error) {
			if name != "KEY" {
				return secret.Value{}, errors.New("no such secret")
			}
			return secret.New(apiKey), nil
		},
	}
	return w
}

func grants(t *testing.T, text string) policy.Grants {
	t.Helper()
	p, err := policy.Parse([]byte(`{"grants":` + text + `}`))
	require.NoError(t, err)
	return p.Grants
}

func (w *world) url(host, path string) string {
	return fmt.Sprintf("https://%s:%d%s", host, w.port, path)
}

func (w *world) do(r egress.Request) (*egress.Response, error) {
	ctx, cancel := context.WithTimeout(w.t.Context(), 20*time.Second)
	defer cancel()
	return w.client.Do(ctx, r, w.rules)
}

func TestARequestGoesOutAndItsAnswerComesBack(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "POST", r.Method)
		assert.Equal(t, "text/plain", r.Header.Get("Content-Type"))
		assert.Equal(t, "genkit-wasm", r.Header.Get("User-Agent"))
		assert.Equal(t, 2, r.ProtoMajor)
		assert.Equal(t, "a=%2F", r.URL.RawQuery)
		rw.Header().Add("X-Two", "1")
		rw.Header().Add("X-Two", "2")
		rw.WriteHeader(http.StatusTeapot)
		fmt.Fprint(rw, "short and stout")
	})
	resp, err := w.do(egress.Request{Method: "post", URL: w.url("API.Example.COM.", "/pot?a=%2F#frag"), Headers: map[string]string{"content-type": "text/plain"}, Body: []byte("tea")})
	require.NoError(t, err)
	assert.Equal(t, http.StatusTeapot, resp.Status)
	assert.Equal(t, "short and stout", string(resp.Body))
	assert.Equal(t, "1, 2", resp.Headers["x-two"])
	assert.Equal(t, []string{"api.example.com"}, w.names.asked, "resolved once")
}

func TestWhatAPolicyDoesNotGrantIsNotSent(t *testing.T) {
	var hits atomic.Int64
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { hits.Add(1) })
	w.rules.Grants = grants(t, fmt.Sprintf(`{"http":[{"host":"api.example.com","ports":[%d],"pathPrefix":"/v1/"}]}`, w.port))
	w.names.answers["api.example.com.evil.test"] = [][]string{{local}}
	w.names.answers["evilapi.example.com"] = [][]string{{local}}
	for says, r := range map[string]egress.Request{
		"another host":                      {URL: w.url("other.example.com", "/v1/")},
		"the host as a beginning":           {URL: w.url("api.example.com.evil.test", "/v1/")},
		"the host as an end":                {URL: w.url("evilapi.example.com", "/v1/")},
		"another port":                      {URL: fmt.Sprintf("https://api.example.com:%d/v1/", w.port+1)},
		"the default port":                  {URL: "https://api.example.com/v1/"},
		"another scheme":                    {URL: fmt.Sprintf("http://api.example.com:%d/v1/", w.port)},
		"another method":                    {Method: "POST", URL: w.url("api.example.com", "/v1/")},
		"another path":                      {URL: w.url("api.example.com", "/v2/")},
		"a path with the prefix as text":    {URL: w.url("api.example.com", "/v1x/")},
		"a prefix that exists only decoded": {URL: w.url("api.example.com", "/v1%2Fx")},
		"the address of the host":           {URL: w.url(local, "/v1/")},
		"a secret that is not granted":      {URL: w.url("api.example.com", "/v1/"), Headers: map[string]string{"X": "{{secret:KEY}}"}},
	} {
		_, err := w.do(r)
		require.ErrorIs(t, err, status.ErrPermissionDenied, says)
	}
	assert.Zero(t, hits.Load())
	_, err := w.do(egress.Request{URL: w.url("api.example.com", "/v1/x")})
	require.NoError(t, err)
	assert.Equal(t, int64(1), hits.Load())
}

func TestAURLIsReadInOneWayOnly(t *testing.T) {
	for raw, want := range map[string]string{
		"http://user@example.com/":                   "credentials",
		"http://example.com:80@127.0.0.1/":           "credentials",
		"http://user:pw@example.com/":                "credentials",
		"http://127.1/":                              "a number that is no IP address",
		"http://0x7f000001/":                         "a number that is no IP address",
		"http://2130706433/":                         "a number that is no IP address",
		"http://017700000001/":                       "a number that is no IP address",
		"http://0177.0.0.1/":                         "a number that is no IP address",
		"http://127.0.0.1.0x1/":                      "a number that is no IP address",
		"http://1.2.3.4.5/":                          "a number that is no IP address",
		"http://[fe80::1%25eth0]/":                   "no IPv6 address",
		"http://[::1/":                               "can't be read",
		"http://exa mple.com/":                       "no URL has",
		"http://example.com\\@evil.com/":             "no URL has",
		"http://example.com/\r\nX: y":                "no URL has",
		"http://example.com\x00.evil.com/":           "no URL has",
		"http://exämple.com/":                        "punycode",
		"http://еxample.com/":                        "punycode", // Cyrillic е
		"http://ex%61mple.com%2eevil/":               "can't be read",
		"http://example.com../":                      "no host name",
		"http://.example.com/":                       "no host name",
		"http://-example.com/":                       "no host name",
		"http://example.com:/":                       "port",
		"http://example.com:0/":                      "port",
		"http://example.com:080/":                    "port",
		"http://example.com:65536/":                  "port",
		"http://example.com:+80/":                    "can't be read",
		"file:///etc/passwd":                         "not https or http",
		"gopher://example.com/":                      "not https or http",
		"unix:///var/run/docker.sock":                "not https or http",
		"//example.com/":                             "not https or http",
		"http:example.com":                           "no host",
		"http:///path":                               "no host",
		"":                                           "not https or http",
		"https://example.com/a/../b":                 "steps out",
		"https://example.com/a/%2e%2e/b":             "steps out",
		"https://example.com/a/%252e%252e/b":         "steps out",
		"https://example.com/a%2f..%2fb":             "steps out",
		"https://example.com/a/..;/b":                "steps out",
		"https://example.com/a/..%5cb":               "steps out",
		"https://example.com/a/./b":                  "steps out",
		"https://e.com/" + strings.Repeat("a", 9000): "longer than",
	} {
		_, _, err := egress.ParseURL(raw)
		require.ErrorIs(t, err, status.ErrInvalidArgument, raw)
		assert.Contains(t, err.Error(), want, raw)
		assert.True(t, status.Convert(err).Public())
	}
	for raw, want := range map[string]string{
		"HTTP://Example.COM.":            "http://example.com/",
		"https://example.com:443/a?b#c":  "https://example.com/a?b",
		"https://example.com:8443/a%2Fb": "https://example.com:8443/a%2Fb",
		"http://[::FFFF:1.2.3.4]/":       "http://1.2.3.4/",
		"http://[2001:DB8::1]:8080/":     "http://[2001:db8::1]:8080/",
		"https://xn--exmple-cua.com/":    "https://xn--exmple-cua.com/",
		"https://example.com/..a/b..":    "https://example.com/..a/b..",
	} {
		u, target, err := egress.ParseURL(raw)
		require.NoError(t, err, raw)
		assert.Equal(t, want, u.String(), raw)
		_, again, err := egress.ParseURL(u.String())
		require.NoError(t, err)
		assert.Equal(t, target, again)
	}
}

func TestOnlyPublicAddressesAreReached(t *testing.T) {
	for _, a := range []string{
		"0.0.0.0", "0.1.2.3", "10.0.0.1", "100.64.0.1", "100.100.100.200", "127.0.0.1", "127.255.255.254", "168.63.129.16", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.192", "192.168.1.1", "198.18.0.1", "224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::ffff:127.0.0.1", "::ffff:169.254.169.254", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1", "100::1",
		"2001::1", "2001:db8::1", "2002:7f00:1::1", "2002:a9fe:a9fe::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "3fff::1", "5f00::1",
	} {
		addr := netip.MustParseAddr(a)
		assert.False(t, egress.Public(addr), a)
		n := &names{answers: map[string][][]string{"example.com": {{a}}}}
		c := egress.New(egress.Config{Resolver: n})
		_, err := c.Do(t.Context(), egress.Request{URL: "http://example.com/"}, egress.Rules{Grants: grants(t, `{"http":[{"host":"example.com","schemes":["http"]}]}`)})
		require.ErrorIs(t, err, status.ErrPermissionDenied, a)
		assert.NotContains(t, err.Error(), a, "the address of a name is not the guest's to know")
		c.Close()
	}
	for _, a := range []string{"1.1.1.1", "8.8.8.8", "172.15.255.255", "172.32.0.1", "100.63.255.255", "100.128.0.0", "::ffff:8.8.8.8", "2606:4700::1111", "2001:4860:4860::8888", "192.0.1.1"} {
		assert.True(t, egress.Public(netip.MustParseAddr(a)), a)
	}
	assert.False(t, egress.Public(netip.Addr{}))
	assert.False(t, egress.Public(netip.MustParseAddr("2606:4700::1111%eth0")))
}

func TestAnAddressInAURLIsCheckedAsWell(t *testing.T) {
	var hits atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer srv.Close()
	port := srv.Listener.Addr().(*net.TCPAddr).Port
	c := egress.New(egress.Config{})
	defer c.Close()
	for _, host := range []string{"127.0.0.1", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "0.0.0.0", "[::]", "[::1]"} {
		canonical, err := policy.CanonicalHost(host)
		require.NoError(t, err)
		rules := egress.Rules{Grants: grants(t, fmt.Sprintf(`{"http":[{"host":%q,"schemes":["http"],"ports":[%d]}]}`, canonical, port))}
		_, err = c.Do(t.Context(), egress.Request{URL: fmt.Sprintf("http://%s:%d/", host, port)}, rules)
		require.ErrorIs(t, err, status.ErrPermissionDenied, host)
	}
	assert.Zero(t, hits.Load())
}

// A name that answers public first and private later is asked once for each
// connection, and what was checked is what is dialled.
func TestRebindingANameGainsNothing(t *testing.T) {
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "inside") })
	c := egress.New(egress.Config{Resolver: w.names, Reachable: []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}})
	defer c.Close()
	// One good and one bad address: refused whole.
	w.names.answers["api.example.com"] = [][]string{{"127.0.0.2", "127.0.0.1"}}
	_, err := c.Do(t.Context(), egress.Request{URL: w.url("api.example.com", "/")}, w.rules)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Equal(t, []string{"api.example.com"}, w.names.asked)
	// Good first, bad afterwards: the second request resolves anew and is refused.
	w.names.asked = nil
	w.names.answers["api.example.com"] = [][]string{{"127.0.0.2"}, {"127.0.0.1"}}
	_, err = c.Do(t.Context(), egress.Request{URL: w.url("api.example.com", "/")}, w.rules)
	require.ErrorIs(t, err, status.ErrUnavailable) // dialled 127.0.0.2, where nobody listens, or nobody that is trusted
	_, err = c.Do(t.Context(), egress.Request{URL: w.url("api.example.com", "/")}, w.rules)
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Len(t, w.names.asked, 2)
	// No answer denies.
	_, err = c.Do(t.Context(), egress.Request{URL: w.url("gone.example.com", "/")}, w.rules)
	require.ErrorIs(t, err, status.ErrUnavailable)
}

func TestEachRedirectIsCheckedAgain(t *testing.T) {
	var hits atomic.Int64
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer inside.Close()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if to := r.URL.Query().Get("to"); to != "" {
			code, _ := strconv.Atoi(r.URL.Query().Get("code"))
			if code == 0 {
				code = http.StatusFound
			}
			rw.Header().Set("Location", to)
			rw.WriteHeader(code)
			return
		}
		fmt.Fprintf(rw, "%s %s auth=%q key=%q cookie=%q accept=%q type=%q body=%d", r.Method, r.Host, r.Header.Get("Authorization"), r.Header.Get("X-Key"), r.Header.Get("Cookie"),
			r.Header.Get("Accept"), r.Header.Get("Content-Type"), r.ContentLength)
	})
	w.names.answers["meta.example.com"] = [][]string{{"169.254.169.254"}}
	to := func(location string, code int) string {
		return w.url("api.example.com", fmt.Sprintf("/?code=%d&to=%s", code, url.QueryEscape(location)))
	}
	for location, want := range map[string]error{
		inside.URL:                                             status.ErrPermissionDenied, // http, and an address
		"http://169.254.169.254/latest":                        status.ErrPermissionDenied,
		w.url("meta.example.com", "/"):                         status.ErrPermissionDenied,
		"https://api.example.com/other-port":                   status.ErrPermissionDenied,
		"http://api.example.com/":                              status.ErrPermissionDenied,
		"https://evil.test/":                                   status.ErrPermissionDenied,
		"file:///etc/passwd":                                   status.ErrInvalidArgument,
		"https://user@api.example.com/":                        status.ErrInvalidArgument,
		"https://2130706433/":                                  status.ErrInvalidArgument,
		"https://api.example.com/" + strings.Repeat("a", 9000): status.ErrInvalidArgument,
	} {
		_, err := w.do(egress.Request{URL: to(location, 302)})
		require.ErrorIs(t, err, want, location)
	}
	assert.Zero(t, hits.Load(), "the inside was reached")

	headers := map[string]string{"Authorization": "Bearer {{secret:KEY}}", "X-Key": "plain", "Cookie": "a=b", "Accept": "text/html", "Content-Type": "text/plain"}
	same, err := w.do(egress.Request{URL: to("/next", 302), Headers: headers})
	require.NoError(t, err)
	assert.Contains(t, string(same.Body), `key="plain" cookie="a=b"`)
	assert.Contains(t, string(same.Body), `auth="Bearer [secret:KEY]"`)
	other, err := w.do(egress.Request{URL: to(w.url("other.example.com", "/next"), 302), Headers: headers})
	require.NoError(t, err)
	assert.Contains(t, string(other.Body), `auth="" key="" cookie="" accept="text/html"`)
	// And they do not come back when the way leads back.
	back, err := w.do(egress.Request{URL: to(w.url("other.example.com", "/?to="+url.QueryEscape(w.url("api.example.com", "/next"))), 302), Headers: headers})
	require.NoError(t, err)
	assert.Contains(t, string(back.Body), `auth="" key="" cookie=""`)

	for code, want := range map[int]string{301: "GET", 302: "GET", 303: "GET", 307: "POST", 308: "POST"} {
		resp, err := w.do(egress.Request{Method: "POST", URL: to("/next", code), Headers: headers, Body: []byte("four")})
		require.NoError(t, err)
		assert.True(t, strings.HasPrefix(string(resp.Body), want+" "), "%d: %s", code, resp.Body)
		assert.Equal(t, want == "POST", strings.HasSuffix(string(resp.Body), `type="text/plain" body=4`), "%d: %s", code, resp.Body)
	}
	// A grant of another method is needed for what a redirect makes of it.
	w.rules.Grants = grants(t, fmt.Sprintf(`{"http":[{"host":"api.example.com","ports":[%d],"methods":["POST"]}]}`, w.port))
	_, err = w.do(egress.Request{Method: "POST", URL: to("/next", 303)})
	require.ErrorIs(t, err, status.ErrPermissionDenied)
}

func TestRedirectsEnd(t *testing.T) {
	var hits atomic.Int64
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		http.Redirect(rw, r, "/again", http.StatusFound)
	})
	_, err := w.do(egress.Request{URL: w.url("example.com", "/")})
	require.ErrorIs(t, err, status.ErrResourceExhausted)
	assert.Equal(t, int64(egress.MaxRedirects+1), hits.Load())
	left := 3
	w.rules.Spend = func() error {
		if left--; left < 0 {
			return status.Publicf(status.ResourceExhausted, "enough")
		}
		return nil
	}
	hits.Store(0)
	_, err = w.do(egress.Request{URL: w.url("example.com", "/")})
	require.ErrorContains(t, err, "enough")
	assert.Equal(t, int64(3), hits.Load(), "redirects are requests")
}

func TestWhatAGuestMayNotSay(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	many := map[string]string{}
	for i := range 100 {
		many[fmt.Sprintf("X-%d", i)] = "v"
	}
	u := w.url("api.example.com", "/")
	for says, c := range map[string]struct {
		request egress.Request
		want    error
	}{
		"CONNECT":               {egress.Request{Method: "CONNECT", URL: u}, status.ErrInvalidArgument},
		"TRACE":                 {egress.Request{Method: "TRACE", URL: u}, status.ErrInvalidArgument},
		"a method with a line":  {egress.Request{Method: "GET\r\nX: y", URL: u}, status.ErrInvalidArgument},
		"a body with GET":       {egress.Request{URL: u, Body: []byte("x")}, status.ErrInvalidArgument},
		"too big a body":        {egress.Request{Method: "POST", URL: u, Body: make([]byte, 2<<20)}, status.ErrResourceExhausted},
		"Host":                  {egress.Request{URL: u, Headers: map[string]string{"hOST": "evil"}}, status.ErrInvalidArgument},
		"Transfer-Encoding":     {egress.Request{URL: u, Headers: map[string]string{"Transfer-Encoding": "chunked"}}, status.ErrInvalidArgument},
		"Content-Length":        {egress.Request{URL: u, Headers: map[string]string{"content-length": "5"}}, status.ErrInvalidArgument},
		"Upgrade":               {egress.Request{URL: u, Headers: map[string]string{"Upgrade": "websocket"}}, status.ErrInvalidArgument},
		"Proxy-Authorization":   {egress.Request{URL: u, Headers: map[string]string{"proxy-authorization": "x"}}, status.ErrInvalidArgument},
		"a line in a value":     {egress.Request{URL: u, Headers: map[string]string{"X": "a\r\nY: b"}}, status.ErrInvalidArgument},
		"a line in a name":      {egress.Request{URL: u, Headers: map[string]string{"X\r\nY": "b"}}, status.ErrInvalidArgument},
		"the same header twice": {egress.Request{URL: u, Headers: map[string]string{"x-a": "1", "X-A": "2"}}, status.ErrInvalidArgument},
		"too many headers":      {egress.Request{URL: u, Headers: many}, status.ErrResourceExhausted},
		"too long headers":      {egress.Request{URL: u, Headers: map[string]string{"X": strings.Repeat("a", 20<<10)}}, status.ErrResourceExhausted},
		"a range with a secret": {egress.Request{URL: u, Headers: map[string]string{"Range": "bytes=0-3", "X": "{{secret:KEY}}"}}, status.ErrInvalidArgument},
		"half a reference":      {egress.Request{URL: u, Headers: map[string]string{"X": "{{secret:KEY"}}, status.ErrInvalidArgument},
		"an unknown secret":     {egress.Request{URL: u, Headers: map[string]string{"X": "{{secret:OTHER}}"}}, status.ErrPermissionDenied},
		"a secret for another":  {egress.Request{URL: w.url("other.example.com", "/"), Headers: map[string]string{"X": "{{secret:KEY}}"}}, status.ErrPermissionDenied},
	} {
		_, err := w.do(c.request)
		require.ErrorIs(t, err, c.want, says)
		assert.NotContains(t, err.Error(), apiKey, says)
	}
}

func TestWhatComesBackIsBounded(t *testing.T) {
	bomb := func() []byte {
		var b bytes.Buffer
		zw := gzip.NewWriter(&b)
		for range 64 {
			_, _ = zw.Write(make([]byte, 1<<20))
		}
		_ = zw.Close()
		return b.Bytes()
	}()
	release := make(chan struct{})
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/endless":
			for r.Context().Err() == nil {
				if _, err := rw.Write(make([]byte, 64<<10)); err != nil {
					return
				}
			}
		case "/bomb":
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(bomb)
		case "/notgzip":
			rw.Header().Set("Content-Encoding", "gzip")
			fmt.Fprint(rw, "plain text")
		case "/br":
			rw.Header().Set("Content-Encoding", "br")
			fmt.Fprint(rw, "?")
		case "/headers":
			for i := range 300 {
				rw.Header().Set(fmt.Sprintf("X-%d", i), "v")
			}
		case "/longheader":
			rw.Header().Set("X", strings.Repeat("a", 100<<10))
		case "/drip":
			rw.WriteHeader(http.StatusOK)
			_ = http.NewResponseController(rw).Flush()
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/hang":
			select {
			case <-r.Context().Done():
			case <-release:
			}
		case "/exact":
			_, _ = rw.Write(make([]byte, 1<<20))
		}
	})
	defer close(release)
	for path, want := range map[string]error{
		"/endless": status.ErrResourceExhausted, "/bomb": status.ErrResourceExhausted, "/headers": status.ErrResourceExhausted,
		"/notgzip": status.ErrUnavailable, "/br": status.ErrUnavailable, "/longheader": status.ErrUnavailable,
	} {
		_, err := w.do(egress.Request{URL: w.url("api.example.com", path)})
		require.ErrorIs(t, err, want, path)
	}
	for _, path := range []string{"/drip", "/hang"} {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		_, err := w.client.Do(ctx, egress.Request{URL: w.url("api.example.com", path)}, w.rules)
		require.ErrorIs(t, err, status.ErrDeadlineExceeded, path)
		cancel()
	}
	resp, err := w.do(egress.Request{URL: w.url("api.example.com", "/exact")})
	require.NoError(t, err)
	assert.Len(t, resp.Body, 1<<20)
	resp, err = w.do(egress.Request{Method: "HEAD", URL: w.url("api.example.com", "/bomb")})
	require.NoError(t, err)
	assert.Empty(t, resp.Body)
}

// raw serves bytes as they are, for what net/http would not send.
func raw(t *testing.T, answer string) (port int) {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", local+":0")
	require.NoError(t, err)
	var wg sync.WaitGroup
	t.Cleanup(func() { require.NoError(t, l.Close()); wg.Wait() })
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = conn.Read(make([]byte, 4096))
			_, _ = conn.Write([]byte(answer))
			_ = conn.Close()
		}
	})
	return l.Addr().(*net.TCPAddr).Port
}

func TestOddServersAreNoTrouble(t *testing.T) {
	c := egress.New(egress.Config{Reachable: loopback})
	defer c.Close()
	for says, k := range map[string]struct {
		answer string
		want   error
		body   string
	}{
		"informational answers first": {answer: "HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", body: "ok"},
		"nothing but informational":   {answer: strings.Repeat("HTTP/1.1 103 Early Hints\r\nX: "+strings.Repeat("a", 1000)+"\r\n\r\n", 500), want: status.ErrUnavailable},
		"another protocol":            {answer: "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nbytes", want: status.ErrUnavailable},
		"chunks that end early":       {answer: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", want: status.ErrUnavailable},
		"two lengths":                 {answer: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc", want: status.ErrUnavailable},
		"not HTTP":                    {answer: "SSH-2.0-OpenSSH\r\n", want: status.ErrUnavailable},
		"nothing":                     {answer: "", want: status.ErrUnavailable},
	} {
		port := raw(t, k.answer)
		rules := egress.Rules{MaxResponseBytes: 1000, Grants: grants(t, fmt.Sprintf(`{"http":[{"host":"127.0.0.1","schemes":["http"],"ports":[%d]}]}`, port))}
		resp, err := c.Do(t.Context(), egress.Request{URL: fmt.Sprintf("http://127.0.0.1:%d/", port)}, rules)
		if k.want != nil {
			require.ErrorIs(t, err, k.want, says)
			continue
		}
		require.NoError(t, err, says)
		assert.Equal(t, k.body, string(resp.Body), says)
	}
}

func TestACertificateHasToFit(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) { t.Error("it was sent") })
	w.names.answers["elsewhere.test"] = [][]string{{local}}
	w.rules.Grants = grants(t, fmt.Sprintf(`{"http":[{"host":"elsewhere.test","ports":[%d]},{"host":"api.example.com","ports":[%d]}]}`, w.port, w.port))
	_, err := w.do(egress.Request{URL: w.url("elsewhere.test", "/")})
	require.ErrorContains(t, err, "certificate")
	stranger := egress.New(egress.Config{Resolver: w.names, Reachable: loopback})
	defer stranger.Close()
	_, err = stranger.Do(t.Context(), egress.Request{URL: w.url("api.example.com", "/")}, w.rules)
	require.ErrorContains(t, err, "certificate")
}

func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	for _, v := range []string{"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy"} {
		t.Setenv(v, "http://127.0.0.1:1")
	}
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request) { fmt.Fprint(rw, "direct") })
	resp, err := w.do(egress.Request{URL: w.url("api.example.com", "/")})
	require.NoError(t, err)
	assert.Equal(t, "direct", string(resp.Body))
}

// A server that echoes what it got, in any spelling, shows a guest nothing.
func TestASecretNeverComesBack(t *testing.T) {
	spellings := map[string]func(string) string{
		"as it is":          func(s string) string { return s },
		"percent":           url.QueryEscape,
		"percent, path":     url.PathEscape,
		"percent, lower":    func(s string) string { return strings.ToLower(url.QueryEscape(s)) },
		"every byte":        func(s string) string { return "%" + strings.Join(pairs(hex.EncodeToString([]byte(s))), "%") },
		"hex":               func(s string) string { return strings.ToUpper(hex.EncodeToString([]byte(s))) },
		"base64":            func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) },
		"base64, moved":     func(s string) string { return base64.URLEncoding.EncodeToString([]byte("user:" + s + "tail")) },
		"base64, moved two": func(s string) string { return base64.RawStdEncoding.EncodeToString([]byte("ab" + s)) },
		"JSON":              strconv.Quote,
		"twice":             func(s string) string { return s + s },
	}
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		said := spellings[r.URL.Query().Get("as")](r.Header.Get("X-Key"))
		rw.Header().Set("X-Echo", "<"+said+">")
		// Across the borders of chunks.
		for i := range len(said) {
			_, _ = rw.Write([]byte{said[i]})
			if i%5 == 0 {
				_ = http.NewResponseController(rw).Flush()
			}
		}
	})
	for name, spell := range spellings {
		resp, err := w.do(egress.Request{URL: w.url("api.example.com", "/?as="+url.QueryEscape(name)), Headers: map[string]string{"X-Key": "{{secret:KEY}}"}})
		require.NoError(t, err, name)
		for where, text := range map[string]string{"body": string(resp.Body), "header": resp.Headers["x-echo"]} {
			assert.Contains(t, text, "[secret:KEY]", "%s, %s", name, where)
			assert.NotContains(t, text, spell(apiKey), "%s, %s", name, where)
			assert.Less(t, longestCommon(text, spell(apiKey)), 8, // the text around it
				"%s, %s: %s", name, where, text)
		}
	}
	// Zipped, and in the place that a redirect leads to.
	zipped := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/away" {
			http.Redirect(rw, r, "https://"+strings.ToLower(url.QueryEscape(r.Header.Get("X-Key")[:16]))+".evil.test/"+r.Header.Get("X-Key"), http.StatusFound)
			return
		}
		rw.Header().Set("Content-Encoding", "gzip")
		zw := gzip.NewWriter(rw)
		fmt.Fprint(zw, "got ", r.Header.Get("X-Key"))
		_ = zw.Close()
	})
	resp, err := zipped.do(egress.Request{URL: zipped.url("api.example.com", "/"), Headers: map[string]string{"X-Key": "{{secret:KEY}}"}})
	require.NoError(t, err)
	assert.Equal(t, "got [secret:KEY]", string(resp.Body))
	_, err = zipped.do(egress.Request{URL: zipped.url("api.example.com", "/away"), Headers: map[string]string{"X-Key": "{{secret:KEY}}"}})
	require.Error(t, err)
	assert.NotContains(t, fmt.Sprintf("%v %+v", err, errors.Unwrap(err)), apiKey)
}

// An error tells of a URL that a redirect brought, and not of the secret in it.
func TestAnErrorHoldsNoSecret(t *testing.T) {
	const plain = "PlainSecret0123456789"
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, fmt.Sprintf(r.URL.Query().Get("to"), r.Header.Get("X-Key")), http.StatusFound)
	})
	w.rules.Secret = func(context.Context, string) (secret.Value, error) { return secret.New(plain), nil }
	for _, to := range []string{"https://%s.evil.test/", "https://api.example.com/%s", "ftp://%s/", "https://user@%s/", "https://evil.test:%s/", "/a/../%s"} {
		_, err := w.do(egress.Request{URL: w.url("api.example.com", "/?to="+url.QueryEscape(to)), Headers: map[string]string{"X-Key": "{{secret:KEY}}"}})
		require.Error(t, err, to)
		assert.NotContains(t, strings.ToLower(err.Error()), strings.ToLower(plain), to)
	}
}

// Both grants are there, and still no redirect leads from https to http.
func TestNoRedirectLeadsToPlainHTTP(t *testing.T) {
	var hits atomic.Int64
	plain := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer plain.Close()
	port := plain.Listener.Addr().(*net.TCPAddr).Port
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		http.Redirect(rw, r, fmt.Sprintf("http://api.example.com:%d/", port), http.StatusFound)
	})
	w.rules.Grants = grants(t, fmt.Sprintf(`{"http":[{"host":"api.example.com","schemes":["http","https"],"ports":[%d,%d]}]}`, w.port, port))
	_, err := w.do(egress.Request{URL: w.url("api.example.com", "/")})
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	assert.Zero(t, hits.Load())
	_, err = w.do(egress.Request{URL: fmt.Sprintf("http://api.example.com:%d/", port)})
	require.NoError(t, err, "asked for as such, it is granted")
}

func pairs(s string) []string {
	var list []string
	for i := 0; i+1 < len(s); i += 2 {
		list = append(list, s[i:i+2])
	}
	return list
}

// longestCommon returns the length of the longest text that is in both.
func longestCommon(a, b string) int {
	for n := len(b); n > 0; n-- {
		for i := 0; i+n <= len(b); i++ {
			if strings.Contains(a, b[i:i+n]) {
				return n
			}
		}
	}
	return 0
}

func TestRequestsAtATimeAreBounded(t *testing.T) {
	var now, most atomic.Int64
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {
		most.Store(max(most.Load(), now.Add(1)))
		now.Add(-1)
	})
	c := egress.New(egress.Config{Resolver: w.names, Reachable: loopback, InFlight: make(chan struct{}, 1), RootCAs: rootsOf(w)})
	defer c.Close()
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			_, err := c.Do(t.Context(), egress.Request{URL: w.url("api.example.com", "/")}, w.rules)
			assert.NoError(t, err)
		})
	}
	wg.Wait()
	assert.Equal(t, int64(1), most.Load())
}

func rootsOf(w *world) *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	return pool
}

func FuzzParseURL(f *testing.F) {
	for _, s := range []string{"https://example.com/a?b", "http://[::1]:80/", "http://a@b/", "http://0x7f.1/", "https://e.com/%2e%2e/"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		u, target, err := egress.ParseURL(raw)
		if err != nil {
			if !status.Convert(err).Public() {
				t.Fatalf("private error: %v", err)
			}
			return
		}
		// The host that net/http would connect to is the one that was checked.
		if got := u.Hostname(); got != target.Host {
			t.Fatalf("%q: connects to %q, checked %q", raw, got, target.Host)
		}
		if u.User != nil || policy.DotSegments(u.Path) {
			t.Fatalf("%q became %q", raw, u)
		}
		_, again, err := egress.ParseURL(u.String())
		if err != nil || again != target {
			t.Fatalf("%q became %q, which reads as %+v (%v), not %+v", raw, u, again, err, target)
		}
	})
}

// Before more than a small part of a response is read, room is asked for all of it, once, and
// what takes the processor is done in turns.
func TestRoomIsAskedForBigResponses(t *testing.T) {
	var packed bytes.Buffer
	zw := gzip.NewWriter(&packed)
	_, _ = zw.Write(make([]byte, 1<<20))
	_ = zw.Close()
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/small":
			_, _ = rw.Write(make([]byte, 1000))
		case "/big":
			rw.Header().Set("Content-Length", "100000")
			_, _ = rw.Write(make([]byte, 100_000))
		case "/unknown":
			for range 4 {
				_, _ = rw.Write(make([]byte, 50_000))
				_ = http.NewResponseController(rw).Flush()
			}
		case "/packed":
			rw.Header().Set("Content-Encoding", "gzip")
			_, _ = rw.Write(packed.Bytes())
		}
	})
	var asked []int64
	refuse := false
	w.rules.Room = func(_ context.Context, n int64) error {
		asked = append(asked, n)
		if refuse {
			return status.Publicf(status.ResourceExhausted, "no room")
		}
		return nil
	}
	turns := 0
	w.rules.Work = func(_ context.Context, _ int, work func() error) error { turns++; return work() }
	for _, c := range []struct {
		path string
		size int
		want []int64
	}{
		{"/small", 1000, nil},
		{"/big", 100_000, []int64{100_000}},
		{"/unknown", 200_000, []int64{1 << 20}},
		{"/packed", 1 << 20, []int64{int64(packed.Len()) + 1<<20}},
	} {
		asked, turns, refuse = nil, 0, false
		resp, err := w.do(egress.Request{URL: w.url("api.example.com", c.path)})
		require.NoError(t, err, c.path)
		assert.Len(t, resp.Body, c.size, c.path)
		assert.Equal(t, c.want, asked, c.path)
		assert.Positive(t, turns, c.path)
		refuse = true
		_, err = w.do(egress.Request{URL: w.url("api.example.com", c.path)})
		if c.want != nil {
			require.ErrorIs(t, err, status.ErrResourceExhausted, c.path)
		}
	}
}

// What is kept for the next requests is bounded for several clients together.
func TestIdleConnectionsAreBounded(t *testing.T) {
	w := newWorld(t, func(http.ResponseWriter, *http.Request) {})
	pool := x509.NewCertPool()
	pool.AddCert(w.server.Certificate())
	open := egress.NewConnections(4)
	clients := make([]*egress.Client, 3)
	for i := range clients {
		clients[i] = egress.New(egress.Config{Resolver: w.names, Reachable: loopback, RootCAs: pool, Connections: open})
		defer clients[i].Close()
	}
	for i := range 30 {
		host := fmt.Sprintf("h%d.example.com", i)
		w.names.mu.Lock()
		w.names.answers[host] = [][]string{{local}}
		w.names.mu.Unlock()
		_, err := clients[i%len(clients)].Do(t.Context(), egress.Request{URL: w.url(host, "/")}, w.rules)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return open.Open() <= 5 }, 10*time.Second, time.Millisecond, host)
	}
	for _, c := range clients {
		c.Close()
	}
	require.Eventually(t, func() bool { return open.Open() == 0 }, 10*time.Second, time.Millisecond)
}
