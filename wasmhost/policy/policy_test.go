package policy_test

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

func TestAPolicyIsReadWhole(t *testing.T) {
	p, err := policy.Parse([]byte(`{
		"grants": { "http": [{"host": "api.example.com", "methods": ["GET"], "pathPrefix": "/v1/"}], "kv": true,
		            "secrets": {"API_KEY": ["api.example.com"]}, "generate": ["openai/*"], "actions": ["tool/*"], "clock": true },
		"limits": { "timeoutMs": 5000, "fuel": 2000000000, "memoryBytes": 33554432, "tableElements": 10000,
		            "inputBytes": 1048576, "outputBytes": 262144, "concurrency": 16, "callsPerMinute": 600 },
		"state": "fresh" }`))
	require.NoError(t, err)
	assert.Equal(t, "/v1/", p.Grants.HTTP[0].PathPrefix)
	assert.Equal(t, int64(600), p.Limits.CallsPerMinute)
	assert.Equal(t, policy.Fresh, p.State)

	p, err = policy.Parse([]byte("  \n"))
	require.NoError(t, err)
	assert.Equal(t, policy.Policy{}, p)
}

func TestAPolicyFailsClosed(t *testing.T) {
	for raw, want := range map[string]string{
		`{"limit":{}}`:                                                               "limit",
		`{"limits":{"memorybytes_":1}}`:                                              "memorybytes_",
		`{"limits":{"fuel":1.5}}`:                                                    "fuel",
		`{"limits":{"fuel":-1}}`:                                                     `limit "fuel" is -1`,
		`{"limits":{"concurrency":1000000}}`:                                         `limit "concurrency"`,
		`{"limits":{"memoryBytes":1e30}}`:                                            "memoryBytes",
		`{"state":"stale"}`:                                                          `want "fresh" or "reuse"`,
		`{"limits":{"memoryBytes":1000}}`:                                            "at least one page",
		`{"grants":{"kv":"yes"}}`:                                                    "kv",
		`[]`:                                                                         "array",
		`{"grants":{"http":[{"host":""}]}}`:                                          "no host name",
		`{"grants":{"http":[{"host":"https://a.example"}]}}`:                         "no host name",
		`{"grants":{"http":[{"host":"a.example:80"}]}}`:                              "no host name",
		`{"grants":{"http":[{"host":"user@a.example"}]}}`:                            "no host name",
		`{"grants":{"http":[{"host":"a.*.example"}]}}`:                               "no host name",
		`{"grants":{"http":[{"host":"*a.example"}]}}`:                                "no host name",
		`{"grants":{"http":[{"host":"*.com"}]}}`:                                     "top-level",
		`{"grants":{"http":[{"host":"*.127.0.0.1"}]}}`:                               "below an address",
		`{"grants":{"http":[{"host":"0x7f.1"}]}}`:                                    "no IP address",
		`{"grants":{"http":[{"host":"exämple.com"}]}}`:                               "punycode",
		`{"grants":{"http":[{"host":"a.example","schemes":["ftp"]}]}}`:               "scheme",
		`{"grants":{"http":[{"host":"a.example","ports":[0]}]}}`:                     "port",
		`{"grants":{"http":[{"host":"a.example","methods":["CONNECT"]}]}}`:           "method",
		`{"grants":{"http":[{"host":"a.example","pathPrefix":"v1"}]}}`:               "path prefix",
		`{"grants":{"http":[{"host":"a.example","pathPrefix":"/a/../b"}]}}`:          "path prefix",
		`{"grants":{"http":[{"host":"a.example","pathPrefix":"/%2e%2e/"}]}}`:         "path prefix",
		`{"grants":{"http":[{"host":"a.example","path":"/"}]}}`:                      "path",
		`{"grants":{"secrets":{"A":[]}}}`:                                            "hosts that it may be sent to",
		`{"grants":{"secrets":{"A":["*"]}}}`:                                         "bound to hosts",
		`{"grants":{"secrets":{"A B":["a.example"]}}}`:                               `secret "A B"`,
		`{"grants":{"secrets":{"A":["ftp://a.example"]}}}`:                           "scheme",
		`{"grants":{"secrets":{"A":["a.example:0"]}}}`:                               "port",
		`{"grants":{"secrets":{"A":["a.example/path"]}}}`:                            "no host name",
		`{"grants":{"actions":["/tool/x"]}}`:                                         "pattern",
		`{"grants":{"actions":["tool/*/x"]}}`:                                        "pattern",
		`{"grants":{"generate":[""]}}`:                                               "pattern",
		`{"grants":{"files":[{"mount":"../x","path":"/data"}]}}`:                     "mount",
		`{"grants":{"files":[{"mount":"x","path":"/"}]}}`:                            "path",
		`{"grants":{"files":[{"mount":"x","path":"/a/../b"}]}}`:                      "path",
		`{"grants":{"files":[{"mount":"x","path":"/a"},{"mount":"y","path":"/a"}]}}`: "path",
		`{"config":{"":"x"}}`:                                                        "config",
		`{"limits":{"hostCalls":-1}}`:                                                "hostCalls",
		`{`:                                                                          "not valid JSON",
	} {
		_, err := policy.Parse([]byte(raw))
		require.ErrorIs(t, err, status.ErrInvalidArgument, raw)
		assert.Contains(t, err.Error(), want, raw)
	}
}

func TestGrantsAreComparedWithImports(t *testing.T) {
	none := policy.Grants{}
	require.NoError(t, none.Check([]abi.Capability{abi.CapEmit, abi.CapContext, abi.CapInterrupt}, nil))
	err := none.Check([]abi.Capability{abi.CapKVGet, abi.CapEmit, abi.CapNow, abi.CapHTTP}, policy.Grantable())
	require.ErrorIs(t, err, status.ErrPermissionDenied)
	for _, want := range []string{`"kv_get" (grant "kv")`, `"now" (grant "clock")`, `"http" (grant "http")`} {
		assert.Contains(t, err.Error(), want)
	}
	assert.JSONEq(t, `{"missing":["\"kv_get\" (grant \"kv\")","\"now\" (grant \"clock\")","\"http\" (grant \"http\")"]}`, string(status.Convert(err).Details))

	all := policy.Grants{HTTP: []policy.HTTPGrant{{Host: "x"}}, KV: true, Generate: []string{"*"}, Actions: []string{"*"}, Clock: true}
	for _, c := range policy.Grantable() {
		require.NoError(t, all.Check([]abi.Capability{c}, policy.Grantable()), c)
		require.ErrorIs(t, all.Check([]abi.Capability{c}, nil), status.ErrUnimplemented, c)
	}
	require.NoError(t, none.Check([]abi.Capability{abi.CapNext}, nil), "what a hook continues reaches no further than its caller")
}

func TestALowerLayerOnlyTightens(t *testing.T) {
	outer := policy.Limits{TimeoutMS: 100, Fuel: 1000}
	assert.Equal(t, outer, policy.Limits{}.Within(outer))
	assert.Equal(t, policy.Limits{TimeoutMS: 50, Fuel: 1000}, policy.Limits{TimeoutMS: 50, Fuel: 9999}.Within(outer))
	assert.Equal(t, policy.Limits{TimeoutMS: 100, Fuel: 1000, CallsPerMinute: 5}, policy.Limits{CallsPerMinute: 5}.Within(outer))
	assert.Equal(t, policy.Defaults(), policy.Limits{}.OrDefaults())
	assert.Equal(t, 12*policy.Defaults().Fuel, policy.Limits{TimeoutMS: 60_000}.OrDefaults().Fuel, "a longer time limit still binds first")
	assert.Equal(t, int64(7), policy.Limits{TimeoutMS: 60_000, Fuel: 7}.OrDefaults().Fuel)
	d := policy.Limits{Fuel: 7}.OrDefaults()
	assert.Equal(t, int64(7), d.Fuel)
	assert.Equal(t, policy.Defaults().MemoryBytes, d.MemoryBytes)
}

func target(t *testing.T, url string) policy.Target {
	t.Helper()
	scheme, rest, _ := strings.Cut(url, "://")
	host, path, _ := strings.Cut(rest, "/")
	name, port, found := strings.Cut(host, ":")
	n := policy.DefaultPort(scheme)
	if found {
		var err error
		n, err = strconv.Atoi(port)
		require.NoError(t, err)
	}
	return policy.Target{Scheme: scheme, Host: name, Port: n, Path: "/" + path, RawPath: "/" + path}
}

func TestAGrantIsComparedPartByPart(t *testing.T) {
	for grant, requests := range map[string]map[string]bool{
		`{"host":"API.Example.com."}`: {
			"GET https://api.example.com/": true, "HEAD https://api.example.com/x": true, "POST https://api.example.com/": false,
			"GET http://api.example.com/": false, "GET https://api.example.com:8443/": false, "GET https://example.com/": false,
			"GET https://x.api.example.com/": false, "GET https://api.example.com.evil.test/": false, "GET https://notapi.example.com/": false,
		},
		`{"host":"*.example.com","methods":["*"]}`: {
			"POST https://a.example.com/": true, "GET https://a.b.example.com/": true, "GET https://example.com/": false, "GET https://badexample.com/": false,
		},
		`{"host":"*"}`:       {"GET https://any.test/": true, "GET https://8.8.8.8/": false},
		`{"host":"8.8.8.8"}`: {"GET https://8.8.8.8/": true, "GET https://8.8.4.4/": false},
		`{"host":"a.test","schemes":["http","https"]}`: {"GET http://a.test/": true, "GET https://a.test/": true, "GET http://a.test:443/": false},
		`{"host":"a.test","ports":[8443]}`:             {"GET https://a.test:8443/": true, "GET https://a.test/": false},
		`{"host":"a.test","pathPrefix":"/v1"}`:         {"GET https://a.test/v1": true, "GET https://a.test/v1/x": true, "GET https://a.test/v10": false, "GET https://a.test/V1": false, "GET https://a.test/": false},
		`{"host":"a.test","pathPrefix":"/v1/"}`:        {"GET https://a.test/v1/x": true, "GET https://a.test/v1/": true, "GET https://a.test/v1": false},
		`{"host":"a.test","methods":["post"]}`:         {"POST https://a.test/": true, "GET https://a.test/": false},
	} {
		p, err := policy.Parse([]byte(`{"grants":{"http":[` + grant + `]}}`))
		require.NoError(t, err, grant)
		for request, want := range requests {
			method, url, _ := strings.Cut(request, " ")
			err := p.Grants.AllowsHTTP(method, target(t, url))
			assert.Equal(t, want, err == nil, "%s: %s: %v", grant, request, err)
			if err != nil {
				require.ErrorIs(t, err, status.ErrPermissionDenied)
			}
		}
	}
}

func TestASecretGoesToItsOriginsAlone(t *testing.T) {
	p, err := policy.Parse([]byte(`{"grants":{"secrets":{"A":["api.example.com","*.cdn.example.com","local.test:8443","http://plain.test:8080","[2606:4700::1111]"]}}}`))
	require.NoError(t, err)
	for url, want := range map[string]bool{
		"https://api.example.com/": true, "http://api.example.com/": false, "https://api.example.com:8443/": false, "http://api.example.com:443/": false,
		"https://x.cdn.example.com/": true, "https://cdn.example.com/": false, "https://local.test:8443/": true, "https://local.test/": false,
		"http://plain.test:8080/": true, "https://plain.test:8080/": false,
	} {
		assert.Equal(t, want, p.Grants.AllowsSecret("A", target(t, url)), url)
		assert.False(t, p.Grants.AllowsSecret("B", target(t, url)))
	}
	assert.True(t, p.Grants.AllowsSecret("A", policy.Target{Scheme: "https", Host: "2606:4700::1111", Port: 443}))
}

// A policy comes with the module: what it grants stays within what those above allow.
func TestAPolicyGrantsNoMoreThanTheServer(t *testing.T) {
	parse := func(text string) policy.Grants {
		p, err := policy.Parse([]byte(`{"grants":` + text + `}`))
		require.NoError(t, err, text)
		return p.Grants
	}
	for _, c := range []struct {
		outer, inner string
		ok           bool
	}{
		{`{}`, `{}`, true},
		{`{}`, `{"kv":true}`, false},
		{`{}`, `{"clock":true}`, false},
		{`{"kv":true,"clock":true}`, `{"kv":true}`, true},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"a.test"}]}`, true},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"b.test"}]}`, false},
		{`{"http":[{"host":"*.a.test"}]}`, `{"http":[{"host":"x.a.test"},{"host":"*.x.a.test"},{"host":"*.a.test"}]}`, true},
		{`{"http":[{"host":"*.a.test"}]}`, `{"http":[{"host":"a.test"}]}`, false},
		{`{"http":[{"host":"x.a.test"}]}`, `{"http":[{"host":"*.a.test"}]}`, false},
		{`{"http":[{"host":"*.a.test"}]}`, `{"http":[{"host":"*.ba.test"}]}`, false},
		{`{"http":[{"host":"*"}]}`, `{"http":[{"host":"*.a.test"},{"host":"a.test"},{"host":"*"}]}`, true},
		{`{"http":[{"host":"*"}]}`, `{"http":[{"host":"8.8.8.8"}]}`, false},
		{`{"http":[{"host":"*.a.test"}]}`, `{"http":[{"host":"*"}]}`, false},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"a.test","methods":["POST"]}]}`, false},
		{`{"http":[{"host":"a.test","methods":["*"]}]}`, `{"http":[{"host":"a.test","methods":["POST"]}]}`, true},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"a.test","methods":["*"]}]}`, false},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"a.test","schemes":["http"]}]}`, false},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"a.test","ports":[8080]}]}`, false},
		{`{"http":[{"host":"a.test"}]}`, `{"http":[{"host":"a.test","ports":[443]}]}`, true},
		{`{"http":[{"host":"a.test","ports":[8080]}]}`, `{"http":[{"host":"a.test"}]}`, false},
		{`{"http":[{"host":"a.test","pathPrefix":"/v1/"}]}`, `{"http":[{"host":"a.test"}]}`, false},
		{`{"http":[{"host":"a.test","pathPrefix":"/v1"}]}`, `{"http":[{"host":"a.test","pathPrefix":"/v1/x"}]}`, true},
		{`{"http":[{"host":"a.test","pathPrefix":"/v1"}]}`, `{"http":[{"host":"a.test","pathPrefix":"/v10"}]}`, false},
		{`{"secrets":{"A":["a.test"]}}`, `{"secrets":{"A":["a.test","https://a.test:443"]}}`, true},
		{`{"secrets":{"A":["a.test"]}}`, `{"secrets":{"A":["b.test"]}}`, false},
		{`{"secrets":{"A":["a.test"]}}`, `{"secrets":{"A":["http://a.test"]}}`, false},
		{`{"secrets":{"A":["a.test"]}}`, `{"secrets":{"B":["a.test"]}}`, false},
		{`{"secrets":{"A":["*.a.test"]}}`, `{"secrets":{"A":["x.a.test"]}}`, true},
		{`{"actions":["tool/*"]}`, `{"actions":["tool/x","tool/*","tool/a/*"]}`, true},
		{`{"actions":["tool/x"]}`, `{"actions":["tool/x*"]}`, false},
		{`{"actions":["tool/*"]}`, `{"actions":["*"]}`, false},
		{`{"generate":["*"]}`, `{"generate":["openai/*","*"]}`, true},
		{`{"files":[{"mount":"m","path":"/a"}]}`, `{"files":[{"mount":"m","path":"/b"}]}`, true},
		{`{"files":[{"mount":"m","path":"/a"}]}`, `{"files":[{"mount":"m","path":"/a","write":true}]}`, false},
		{`{"files":[{"mount":"m","path":"/a","write":true}]}`, `{"files":[{"mount":"n","path":"/a"}]}`, false},
	} {
		err := parse(c.inner).Within(parse(c.outer))
		assert.Equal(t, c.ok, err == nil, "%s within %s: %v", c.inner, c.outer, err)
		if err != nil {
			require.ErrorIs(t, err, status.ErrPermissionDenied)
			assert.NotEmpty(t, status.Convert(err).Details)
		}
	}
}

// The rule for policies and the rule for requests agree on the hosts that a grant
// covers.
func FuzzCoversAllows(f *testing.F) {
	f.Add("*.a.test", "x.a.test", "y.x.a.test", "/v1", "/v1/x", "/v1/x/y")
	f.Add("*", "8.8.8.8", "8.8.8.8", "", "/", "/")
	f.Fuzz(func(t *testing.T, outerHost, innerHost, host, outerPath, innerPath, path string) {
		grant := func(host, prefix string) (policy.Grants, bool) {
			raw, err := json.Marshal(map[string]any{"grants": map[string]any{"http": []any{map[string]any{"host": host, "pathPrefix": prefix}}}})
			if err != nil {
				return policy.Grants{}, false
			}
			p, err := policy.Parse(raw)
			return p.Grants, err == nil
		}
		outer, ok1 := grant(outerHost, outerPath)
		inner, ok2 := grant(innerHost, innerPath)
		name, err := policy.CanonicalHost(host)
		if !ok1 || !ok2 || err != nil || inner.Within(outer) != nil {
			return
		}
		to := policy.Target{Scheme: "https", Host: name, Port: 443, Path: path, RawPath: path}
		if inner.AllowsHTTP("GET", to) == nil && outer.AllowsHTTP("GET", to) != nil {
			t.Fatalf("%v is within %v, which does not allow %v", inner.HTTP, outer.HTTP, to)
		}
	})
}

func FuzzCanonicalHost(f *testing.F) {
	for _, h := range []string{"Example.com.", "127.1", "[::1]", "::ffff:1.2.3.4", "xn--a", "0x7f.0x1", "a..b"} {
		f.Add(h)
	}
	f.Fuzz(func(t *testing.T, host string) {
		name, err := policy.CanonicalHost(host)
		if err != nil {
			return
		}
		again, err := policy.CanonicalHost(name)
		if err != nil || again != name {
			t.Fatalf("%q is %q, which is %q (%v)", host, name, again, err)
		}
		if strings.ContainsAny(name, "/@?#%\\ \t\r\n*") || strings.ToLower(name) != name {
			t.Fatalf("%q is %q", host, name)
		}
	})
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"grants":{"kv":true},"limits":{"fuel":1},"state":"reuse"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		p, err := policy.Parse(raw)
		if err != nil {
			return
		}
		again, err := json.Marshal(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := policy.Parse(again); err != nil {
			t.Fatalf("%s: %v", again, err)
		}
		within := p.Limits.Within(policy.Defaults())
		if within.Fuel > policy.Defaults().Fuel || within.TimeoutMS > policy.Defaults().TimeoutMS {
			t.Fatalf("%s widens", raw)
		}
	})
}

// A text that two readers may read as different policies is refused.
func TestAPolicyIsReadInOneWayOnly(t *testing.T) {
	for raw, says := range map[string]string{
		`{"grants":{"kv":false},"GRANTS":{"kv":true}}`:   `"GRANTS" is not known here; want "grants"`,
		`{"grants":{"kv":false,"KV":true}}`:              `"grants.KV" is not known here; want "kv"`,
		`{"grants":{"kv":false,"kv":true}}`:              "same key twice",
		`{"grants":{"kv":false},"grants":{"kv":true}}`:   "same key twice",
		`{"limits":{"fuel":1,"fu\u0065l":2}}`:            "same key twice",
		`{"grants":{"http":[{"Host":"a.example.com"}]}}`: `"grants.http.Host" is not known here; want "host"`,
		`{"config":{"a":"1","a":"2"}}`:                   "same key twice",
		`{"limits":{"timeoutMs":"5"}}`:                   `"limits.timeoutMs" is a string, want a whole number`,
	} {
		_, err := policy.Parse([]byte(raw))
		require.ErrorIs(t, err, status.ErrInvalidArgument, raw)
		assert.Contains(t, err.Error(), says, raw)
	}
	p, err := policy.Parse([]byte(`{"config":{"a":"1","A":"2"}}`))
	require.NoError(t, err, "keys of a map are the author's")
	assert.Len(t, p.Config, 2)
}

func TestConfigIsBoundedInCharacters(t *testing.T) {
	config := func(n int, key, value string) []byte {
		values := map[string]string{}
		for i := range n {
			values[key+strings.Repeat("+", i)] = value
		}
		raw, err := json.Marshal(map[string]any{"config": values})
		require.NoError(t, err)
		return raw
	}
	for name, raw := range map[string][]byte{
		"64 values":         config(64, "k", ""),
		"a key of 128 ä":    config(1, strings.Repeat("ä", 128), ""),
		"a value of 8192 ä": config(1, "k", strings.Repeat("ä", 8192)),
	} {
		_, err := policy.Parse(raw)
		assert.NoError(t, err, name)
	}
	for name, raw := range map[string][]byte{
		"65 values":           config(65, "k", ""),
		"a key of no length":  config(1, "", ""),
		"a key of 129 ä":      config(1, strings.Repeat("ä", 129), ""),
		"a value of 8193 ä":   config(1, "k", strings.Repeat("ä", 8193)),
		"a value of 40,000 a": config(1, "k", strings.Repeat("a", 40000)),
	} {
		_, err := policy.Parse(raw)
		assert.ErrorIs(t, err, status.ErrInvalidArgument, name)
	}
}
