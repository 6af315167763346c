package hosttest

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// asker is a guest with a tool that hands its input to a capability, so often, and outputs the last reply.
func asker(capability, grants string, often int64) *guest {
	const request, answer = 1 << 16, 1 << 20
	g := native()
	ask, fetch := g.use("genkit_v1", capability, "ii", "i"), g.use("genkit_v1", "reply", "i", "")
	g.pages, g.grants = 48, grants
	return g.tool("iii", call(nativeInputLen), localSet(0), i32(request), call(nativeInput),
		times(1, often, i32(request), localGet(0), call(ask), localSet(2)),
		i32(answer), call(fetch), i32(answer), localGet(2), call(nativeOutput), i32(0)).under("timeoutMs", 10_000).under("outputBytes", 256<<10)
}

// asks is a case of requests to a capability, and of what stands in the answers.
func asks(id, says, capability, grants string, requests map[string]string) Case {
	answers := slices.Compact(slices.Sorted(maps.Values(requests)))
	for i := range answers {
		answers[i] = "`" + strings.Trim(answers[i], `"`) + "`"
	}
	return scripted(id, says, strings.Join(answers, " or "), func(t *testing.T, s *stage) {
		t.Helper()
		if s.world.open == 0 && strings.Contains(grants, "PORT") {
			t.Skipf("this machine does not listen on %s", reachable)
		}
		require.NoError(t, s.load(t.Context(), asker(capability, s.world.places(grants), 1).upload("hostile")))
		for request, want := range requests {
			o := s.call(t.Context(), "hostile/f", s.world.places(request), nil)
			require.NoError(t, o.err, "%.200s", request)
			assert.Contains(t, string(o.out), want, "%.200s", request)
		}
	})
}

// again is asks for one request that a call makes so often.
func again(id, says, capability, grants, limits string, times int64, request, want string) Case {
	return scripted(id, says, "`"+strings.Trim(want, `"`)+"`", func(t *testing.T, s *stage) {
		t.Helper()
		if s.world.open == 0 && strings.Contains(grants, "PORT") {
			t.Skipf("this machine does not listen on %s", reachable)
		}
		up := asker(capability, s.world.places(grants), times).upload("hostile")
		up.Policy = []byte(`{"limits":{"timeoutMs":10000,` + limits + `},"grants":` + s.world.places(grants) + `}`)
		require.NoError(t, s.load(t.Context(), up))
		o := s.call(t.Context(), "hostile/f", s.world.places(request), nil)
		require.NoError(t, o.err)
		assert.Contains(t, string(o.out), want)
	})
}

// Grants of these cases.
const (
	grantsHTTP   = `{"http":[{"host":"*.example.com","schemes":["http"],"ports":[PORT,INNER],"methods":["GET","POST"]}],"secrets":{"TOKEN":["http://api.example.com:PORT"]}}`
	grantsNarrow = `{"http":[{"host":"api.example.com","schemes":["http"],"ports":[PORT],"pathPrefix":"/v1/"}]}`
	grantsAny    = `{"http":[{"host":"*","schemes":["http"],"ports":[PORT,INNER]}]}`
	grantsKV     = `{"kv":true}`
	grantsRun    = `{"actions":["tool/count","tool/hostile/*"]}`
	grantsModel  = `{"generate":["test/parrot"],"actions":["tool/count"]}`
)

const (
	denied   = `"PERMISSION_DENIED"`
	invalid  = `"INVALID_ARGUMENT"`
	spentAll = `"RESOURCE_EXHAUSTED"`
)

// urls are requests for them, each with the same answer.
func urls(want string, list ...string) map[string]string {
	requests := map[string]string{}
	for _, u := range list {
		requests[`{"url":`+quote(u)+`}`] = want
	}
	return requests
}

func quote(text string) string {
	raw, err := json.Marshal(text)
	if err != nil {
		panic(err) // a text
	}
	return string(raw)
}

func grantedCases() []Case {
	return slices.Concat(networkCases(), storeCases(), nestedCases())
}

func networkCases() []Case {
	names := make([]string, 0, 10)
	for _, label := range []string{"loopback", "loopback6", "mapped", "any", "metadata", "metadata6", "private", "carrier", "translated", "sixtofour", "second"} {
		names = append(names, "http://"+label+".example.com:INNER/")
	}
	return []Case{
		asks("E01", "names that lead to this machine, its network, or a cloud's metadata", "http", grantsHTTP, urls(denied, names...)).seen("extism/go-sdk: allowed_hosts compares names alone"),
		scripted("E02", "a name that leads to a server first, and then to this machine", "`PERMISSION_DENIED` the second time", func(t *testing.T, s *stage) {
			t.Helper()
			if s.world.open == 0 {
				t.Skipf("this machine does not listen on %s", reachable)
			}
			for _, port := range []string{"PORT", "INNER"} {
				require.NoError(t, s.load(t.Context(), asker("http", s.world.places(grantsHTTP), 1).upload("hostile")))
				o := s.call(t.Context(), "hostile/f", s.world.places(`{"url":"http://rebinding.example.com:`+port+`/once"}`), nil)
				require.NoError(t, o.err)
				assert.Equal(t, port == "INNER", strings.Contains(string(o.out), denied), "%s", o.out)
			}
		}).seen("DNS rebinding"),
		asks("E03", "this machine by its address, in every spelling", "http", grantsAny, merge(
			urls(denied, "http://127.0.0.1:INNER/", "http://[::1]:INNER/", "http://[::ffff:127.0.0.1]:INNER/", "http://0.0.0.0:INNER/", "http://[::]:INNER/"),
			urls(invalid, "http://127.1:INNER/", "http://0x7f000001:INNER/", "http://2130706433:INNER/", "http://0177.0.0.1:INNER/", "http://[fe80::1%25eth0]:INNER/", "http://127.0.0.1:INNER%2f@x/", "http://①②⑦.0.0.1:INNER/"))).seen("extism/go-sdk: http_request with the host *"),
		asks("E04", "another port, scheme, method, host, or path than granted", "http", grantsNarrow, merge(
			urls(denied, "http://api.example.com:INNER/v1/x", "https://api.example.com:PORT/v1/x", "http://other.example.com:PORT/v1/x", "http://api.example.com.evil.org:PORT/v1/x", "http://evilapi.example.com:PORT/v1/x", "http://api.example.com:PORT/v10", "http://api.example.com:PORT/", "http://api.example.com:PORT/V1/x"),
			map[string]string{`{"url":"http://api.example.com:PORT/v1/x","method":"DELETE"}`: denied, `{"url":"http://api.example.com:PORT/v1/x","method":"CONNECT"}`: invalid})).seen("extism/go-sdk: ports are not compared"),
		asks("E05", "paths that step out of the granted one", "http", grantsNarrow,
			urls(invalid, "http://api.example.com:PORT/v1/../admin", "http://api.example.com:PORT/v1/%2e%2e/admin", "http://api.example.com:PORT/v1/%252e%252e/admin", "http://api.example.com:PORT/v1/..;x/admin", "http://api.example.com:PORT/v1/x%2f..%2f..%2fadmin", `http://api.example.com:PORT/v1/..\admin`)).seen("CVE-2021-41773"),
		asks("E06", "another host behind credentials, a tab, a new line", "http", grantsAny,
			urls(invalid, "http://api.example.com:PORT@127.0.0.1:INNER/", "http://user:pass@api.example.com:PORT/", "http://api.example.com\t:PORT/", "http://api.example.com:PORT/\r\nHost: x", "http://api.example.com:PORT:INNER/", "http:api.example.com:PORT", "file:///etc/passwd", "gopher://api.example.com:PORT/")).seen("Orange Tsai, A New Era of SSRF, 2017"),
		asks("E07", "redirects to this machine, to a host that is not granted, to another scheme", "http", grantsHTTP,
			urls(denied, "http://api.example.com:PORT/to?u=http://loopback.example.com:INNER/", "http://api.example.com:PORT/to?u=http://127.0.0.1:INNER/", "http://api.example.com:PORT/to?u=http://evil.org:PORT/", "http://api.example.com:PORT/to?u=https://api.example.com:PORT/")).seen("extism/go-sdk: redirects are followed"),
		asks("E08", "redirects without end", "http", grantsHTTP, urls(spentAll, "http://api.example.com:PORT/round")),
		asks("E09", "headers of the connection, and headers with new lines in them", "http", grantsHTTP, func() map[string]string {
			requests := map[string]string{}
			for _, header := range []string{`"Host":"x"`, `"transfer-encoding":"chunked"`, `"Content-Length":"5"`, `"Proxy-Authorization":"x"`, `"X":"a\r\nHost: x"`, `"X\r\nY":"a"`, `"Connection":"X-Y"`, `"X-A":"1","x-a":"2"`, `"":"x"`} {
				requests[`{"url":"http://api.example.com:PORT/","headers":{`+header+`}}`] = invalid
			}
			return requests
		}()).seen("request smuggling"),
		asks("E10", "a small answer that unpacks to megabytes", "http", grantsHTTP, urls(spentAll, "http://api.example.com:PORT/bomb")).seen("extism/go-sdk: the limit of a response"),
		asks("E11", "an answer without end", "http", grantsHTTP, urls(spentAll, "http://api.example.com:PORT/endless")),
		asks("E12", "an answer with hundreds of headers", "http", grantsHTTP, urls(spentAll, "http://api.example.com:PORT/fields")),
		scripted("E13", "a server that does not answer", "`DEADLINE_EXCEEDED`", func(t *testing.T, s *stage) {
			t.Helper()
			if s.world.open == 0 {
				t.Skipf("this machine does not listen on %s", reachable)
			}
			require.NoError(t, s.load(t.Context(), asker("http", s.world.places(grantsHTTP), 1).under("timeoutMs", 300).upload("hostile")))
			o := s.call(t.Context(), "hostile/f", s.world.places(`{"url":"http://api.example.com:PORT/slow"}`), nil)
			gets(t, o.err, status.DeadlineExceeded)
			assert.Less(t, o.took, patience)
		}).seen("extism/extism#717"),
		asks("E14", "a secret for another host, a secret that is not granted", "http", grantsHTTP, map[string]string{
			`{"url":"http://other.example.com:PORT/echo","headers":{"Authorization":"Bearer {{secret:TOKEN}}"}}`: denied,
			`{"url":"http://api.example.com:PORT/echo","headers":{"Authorization":"Bearer {{secret:OTHER}}"}}`:   denied,
		}).seen("nearai/ironclaw#791"),
		asks("E15", "a secret that the server sends back, in several forms", "http", grantsHTTP, map[string]string{
			`{"url":"http://api.example.com:PORT/echo","headers":{"Authorization":"Bearer {{secret:TOKEN}}"}}`: `"status":200`,
		}).seen("nearai/ironclaw#2676"),
		asks("E16", "a redirect that takes a secret along to another host", "http", grantsHTTP, map[string]string{
			`{"url":"http://api.example.com:PORT/to?u=http://other.example.com:PORT/echo","headers":{"Authorization":"Bearer {{secret:TOKEN}}"}}`: `"status":200`,
		}).seen("CVE-2024-45336"),
		again("E17", "more requests than a call may make", "http", grantsHTTP, `"httpRequests":5`, 8, `{"url":"http://api.example.com:PORT/"}`, spentAll),
		asks("E18", "a body over the limit, and one for a GET", "http", grantsHTTP, map[string]string{
			`{"url":"http://api.example.com:PORT/","method":"POST","body":"` + strings.Repeat("x", 1<<20+1) + `"}`: spentAll,
			`{"url":"http://api.example.com:PORT/","body":"x"}`:                                                    invalid,
		}),
		asks("E19", "a request that says two things: keys twice, in another case, unknown ones", "http", grantsHTTP, map[string]string{
			`{"url":"http://api.example.com:PORT/","url":"http://127.0.0.1:INNER/"}`:      invalid,
			`{"url":"http://api.example.com:PORT/","URL":"http://127.0.0.1:INNER/"}`:      invalid,
			`{"url":"http://api.example.com:PORT/","\u0075rl":"http://127.0.0.1:INNER/"}`: invalid,
			`{"url":"http://api.example.com:PORT/","proxy":"http://127.0.0.1:INNER/"}`:    invalid,
		}),
	}
}

func merge(all ...map[string]string) map[string]string {
	merged := map[string]string{}
	for _, m := range all {
		maps.Copy(merged, m)
	}
	return merged
}

func storeCases() []Case {
	return []Case{
		asks("E20", "values of another tenant or module, by keys that look like paths", "kv_get", grantsKV, func() map[string]string {
			requests := map[string]string{}
			for _, key := range []string{"k", "customer/k", "acme/customer/k", "../customer/k", "../../acme/customer/k", "acme:customer:k", "acme\x00customer\x00k", "/k", "k\x00"} {
				requests[`{"key":`+quote(key)+`}`] = `{"ok":null}`
			}
			return requests
		}()),
		asks("E21", "keys that are none: empty, of megabytes", "kv_set", grantsKV, map[string]string{
			`{"key":"","value":1}`: invalid,
			`{"key":"` + strings.Repeat("k", 1<<19) + `","value":1}`: invalid,
		}),
		asks("E22", "values that are too big, that live for ever or not at all", "kv_set", grantsKV, map[string]string{
			`{"key":"a","value":"` + strings.Repeat("v", 70<<10) + `"}`: spentAll,
			`{"key":"a","value":1,"ttlSeconds":-1}`:                     invalid,
			`{"key":"a","value":1,"ttlSeconds":9223372036854775807}`:    invalid,
			`{"key":"a","value":1,"ttlSeconds":1e400}`:                  invalid,
		}),
		scripted("E23", "keys without end", "`RESOURCE_EXHAUSTED`", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("kv_set", grantsKV, 1).under("kvKeys", 10).upload("hostile")))
			last := ""
			for i := range 11 {
				o := s.call(t.Context(), "hostile/f", `{"key":"`+strings.Repeat("k", i+1)+`","value":1}`, nil)
				require.NoError(t, o.err)
				last = string(o.out)
			}
			assert.Contains(t, last, spentAll)
		}),
		scripted("E24", "bytes without end", "`RESOURCE_EXHAUSTED`", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("kv_set", grantsKV, 1).under("kvBytes", 100_000).upload("hostile")))
			last := ""
			for i := range 5 {
				o := s.call(t.Context(), "hostile/f", `{"key":"`+strings.Repeat("k", i+1)+`","value":"`+strings.Repeat("v", 30_000)+`"}`, nil)
				require.NoError(t, o.err)
				last = string(o.out)
			}
			assert.Contains(t, last, spentAll)
		}),
		asks("E25", "lists of more than there may be, from places that nobody gave", "kv_list", grantsKV, map[string]string{
			`{"limit":1000000000}`:                invalid,
			`{"limit":-1}`:                        invalid,
			`{"cursor":"not base64!"}`:            invalid,
			`{"cursor":"Li4vLi4vYWNtZQ"}`:         `"keys":[]`,
			`{"prefix":"","limit":1,"cursor":""}`: `"keys":[]`,
		}),
		again("E26", "more calls of the host than a call may make", "kv_get", grantsKV, `"hostCalls":5`, 8, `{"key":"a"}`, spentAll),
	}
}

func nestedCases() []Case {
	return []Case{
		asks("E30", "an action that is not granted, by names that look like a granted one", "run", grantsRun, map[string]string{
			`{"key":"/tool/forbidden"}`:                  denied,
			`{"key":"/tool/count/../forbidden"}`:         denied,
			`{"key":"/model/test/forbidden","input":{}}`: denied,
			`{"key":"/util/generate","input":{}}`:        denied,
			`{"key":"/tool/countx"}`:                     denied,
			`{"key":"tool/count"}`:                       invalid,
			`{"key":"//tool/count"}`:                     invalid,
		}),
		scripted("E31", "a tool that runs itself without end", "`RESOURCE_EXHAUSTED` four deep", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("run", grantsRun, 1).upload("hostile")))
			request := `{"key":"/tool/hostile/f","input":`
			o := s.call(t.Context(), "hostile/f", strings.Repeat(request, 10)+"1"+strings.Repeat("}", 10), nil)
			require.NoError(t, o.err)
			assert.Contains(t, string(o.out), "more than 4 deep")
		}).seen("tool A calls a model that calls tool A"),
		scripted("E32", "a tree of tools that run tools", "64 runs at most", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("run", grantsRun, 8).upload("hostile")))
			s.world.take()
			request := `{"key":"/tool/hostile/f","input":{"key":"/tool/hostile/f","input":{"key":"/tool/hostile/f","input":{"key":"/tool/count","input":{}}}}}`
			o := s.call(t.Context(), "hostile/f", request, nil)
			require.NoError(t, o.err)
			runs, _ := s.world.take()
			assert.Positive(t, runs)
			assert.LessOrEqual(t, runs, 64)
		}),
		asks("E33", "a model that is not granted", "generate", grantsModel, map[string]string{
			generates(`"model":"test/forbidden"`):           denied,
			generates(`"model":"/model/test/forbidden"`):    denied,
			generates(`"model":"test/parrot/../forbidden"`): denied,
			generates(`"model":""`):                         invalid,
			generates(`"x":1`):                              invalid,
		}),
		asks("E34", "middleware, resources and resumption, which are the caller's", "generate", grantsModel, map[string]string{
			generates(`"model":"test/parrot","use":[{"name":"hostile/h"}]`):        denied,
			generates(`"model":"test/parrot","resources":["x"]`):                   denied,
			generates(`"model":"test/parrot","resume":{"respond":[{"text":"x"}]}`): denied,
		}),
		asks("E35", "tools that are not granted, and patterns of tools", "generate", grantsModel, map[string]string{
			generates(`"model":"test/parrot","tools":["forbidden"]`):       denied,
			generates(`"model":"test/parrot","tools":["/tool/forbidden"]`): denied,
			generates(`"model":"test/parrot","tools":["*"]`):               invalid,
			generates(`"model":"test/parrot","tools":"forbidden"`):         invalid,
		}),
		scripted("E36", "the same in members that are spelled in another case, or twice", "`INVALID_ARGUMENT`, or nothing: such members count for nobody", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("generate", grantsModel, 1).upload("hostile")))
			ask := func(members string) string {
				o := s.call(t.Context(), "hostile/f", `{"model":"test/parrot","messages":[{"role":"user","content":[{"text":"call forbidden"}]}],`+members+`}`, nil)
				require.NoError(t, o.err)
				return string(o.out)
			}
			s.world.take()
			assert.Contains(t, ask(`"model":"test/forbidden"`), invalid)
			for _, members := range []string{`"TOOLS":["forbidden"]`, `"Tools":["forbidden"]`, `"tool\u017f":["forbidden"]`, `"MODEL":"test/forbidden"`, `"USE":[{"name":"hostile/h"}]`, `"Resume":{"respond":[]}`} {
				assert.Contains(t, ask(members), "Tool forbidden not found", members)
			}
			_, asked := s.world.take()
			for _, req := range asked {
				assert.Empty(t, req.Tools)
			}
		}),
		scripted("E37", "a generate call for each of a hundred rounds", "64 at most", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("generate", grantsModel, 100).upload("hostile")))
			s.world.take()
			o := s.call(t.Context(), "hostile/f", generates(`"model":"test/parrot"`), nil)
			require.NoError(t, o.err)
			assert.Contains(t, string(o.out), spentAll)
			runs, _ := s.world.take()
			assert.LessOrEqual(t, runs, 64)
		}),
		scripted("E38", "a caller who leaves while a tool waits for another one", "`CANCELLED`, and the other one ends too", func(t *testing.T, s *stage) {
			t.Helper()
			require.NoError(t, s.load(t.Context(), asker("run", `{"actions":["tool/slow/*"]}`, 1).under("timeoutMs", 60_000).upload("hostile")))
			require.NoError(t, s.load(t.Context(), sleeper().under("timeoutMs", 60_000).upload("slow")))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan outcome, 1)
			go func() { ended <- s.call(ctx, "hostile/f", `{"key":"/tool/slow/f","input":{}}`, nil) }()
			s.suspended(t, 2)
			cancel()
			gets(t, (<-ended).err, status.Cancelled)
			s.suspended(t, 0)
		}),
	}
}

// generates is a request for the capability generate.
func generates(members string) string {
	return `{"messages":[{"role":"user","content":[{"text":"x"}]}],` + members + `}`
}
