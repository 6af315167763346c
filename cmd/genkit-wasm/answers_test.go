package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	accounts "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// standIn is a server that gives one answer after the other, the last one again and again, and
// keeps what it was asked.
type standIn struct {
	url   string
	mu    sync.Mutex // guards the fields below
	asked []asked
	next  []http.HandlerFunc
}

type asked struct {
	method, path string
	query        url.Values
	header       http.Header
	body         string
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	s.mu.Lock()
	s.asked = append(s.asked, asked{r.Method, r.URL.Path, r.URL.Query(), r.Header, string(body)})
	answer := s.next[0]
	if len(s.next) > 1 {
		s.next = s.next[1:]
	}
	s.mu.Unlock()
	answer(w, r)
}

// startStandIn starts one, and returns the command line on it.
func startStandIn(t *testing.T, answers ...http.HandlerFunc) (s *standIn, on func(args ...string) outcome) {
	t.Helper()
	s = &standIn{next: answers}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s, func(args ...string) outcome {
		got := cli(t, append(args, "--server", srv.URL)...)
		got.err = strings.ReplaceAll(got.err, srv.URL, "URL")
		return got
	}
}

// answer is one with a status, a body, and headers as "Name: value".
func answer(code int, body string, headers ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for _, h := range headers {
			name, value, _ := strings.Cut(h, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}

func problem(code int, name, detail string) string {
	return fmt.Sprintf(`{"type":"about:blank","status":%d,"status_name":%q,"detail":%q,"request_id":"r-1"}`, code, name, detail)
}

// What a server answers decides the exit code, and the advice under the text.
func TestAnswersHaveTheirExitCodeAndAdvice(t *testing.T) {
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		args   []string
		exit   int
		err    string
	}{
		"a server that is busy, and says for how long": {
			answer(http.StatusTooManyRequests, problem(429, "RESOURCE_EXHAUSTED", "too many calls"), "Retry-After: 7"),
			[]string{"ls"},
			exitBusy, "error: too many calls\n       try again in 7 s\n",
		},
		"a server that is busy": {
			answer(http.StatusServiceUnavailable, problem(503, "UNAVAILABLE", "draining")),
			[]string{"ls"},
			exitBusy, "error: draining\n       try again later\n",
		},
		"a failure that is in the server's log": {
			answer(http.StatusInternalServerError, problem(500, "INTERNAL", "internal error")),
			[]string{"ls"},
			exitFailed, "error: internal error\n       the server's log says more; look for request_id=r-1\n",
		},
		"a key that is missing": {
			answer(http.StatusUnauthorized, problem(401, "UNAUTHENTICATED", "an API key or a token is wanted"), `WWW-Authenticate: Bearer realm="genkit-wasm"`),
			[]string{"ls"},
			exitFailed, "error: an API key or a token is wanted\n       give the server's key in " + keyEnv + ", or keep it with \"genkit-wasm login --server URL\"\n",
		},
		"an action's 401 is not about the key": {
			answer(http.StatusUnauthorized, problem(401, "UNAUTHENTICATED", "the model's key is wrong")),
			[]string{"generate", "--model", "m", "hi"},
			exitFailed, "error: the model's key is wrong\n",
		},
		"a scope that is missing is no refusal of the module": {
			answer(http.StatusForbidden, problem(403, "PERMISSION_DENIED", `this takes the scope "default:manage"`)),
			[]string{"upload", calcFile},
			exitFailed, "genkit-wasm key create",
		},
		"a grant that is missing is one": {
			answer(http.StatusForbidden, problem(403, "PERMISSION_DENIED", "the module needs http")),
			[]string{"upload", calcFile},
			exitRefused, "--policy FILE",
		},
		"a module that is refused": {
			answer(http.StatusBadRequest, problem(400, "INVALID_ARGUMENT", "not a module")),
			[]string{"upload", calcFile},
			exitRefused, "genkit-wasm inspect FILE",
		},
		"a request that is refused is no module": {
			answer(http.StatusBadRequest, problem(400, "INVALID_ARGUMENT", "bad input")),
			[]string{"call", "calc/add"},
			exitFailed, "error: bad input\n",
		},
		"something that is not there": {
			answer(http.StatusNotFound, problem(404, "NOT_FOUND", "no such tool")),
			[]string{"call", "calc/sub"},
			exitNotFound, "error: no such tool\n       \"genkit-wasm ls --tenant default\" lists the modules, with --actions everything that can be run\n",
		},
		"a path that is not there": {
			answer(http.StatusNotFound, problem(404, "NOT_FOUND", "there is nothing at this path; /openapi.json lists what is there")),
			[]string{"ls"},
			exitNotFound, "look whether --server names the right place",
		},
		"a server of somebody else": {
			answer(http.StatusBadGateway, "<html>"),
			[]string{"ls"},
			exitFailed, "error: URL answered 502 Bad Gateway, and not as a genkit-wasm server does\n       look whether --server names the right place\n",
		},
		"a redirect is not followed": {
			answer(http.StatusFound, "", "Location: http://127.0.0.1:1/"),
			[]string{"ls"},
			exitFailed, "answered 302 Found",
		},
		"an answer that is no list": {
			answer(http.StatusOK, `[]`),
			[]string{"ls"},
			exitFailed, "the server's answer is not a list of modules",
		},
		"an answer that is no record": {
			answer(http.StatusOK, `7`),
			[]string{"rollback", "calc"},
			exitFailed, "the server's answer is not a module's record",
		},
		"an answer that is no tenant": {
			answer(http.StatusOK, `7`),
			[]string{"tenant", "show", "acme"},
			exitFailed, "the server's answer is not a tenant",
		},
		"an answer that is no report": {
			answer(http.StatusOK, `7`),
			[]string{"usage"},
			exitFailed, "the server's answer is not a report",
		},
		"an answer that is no audit log": {
			answer(http.StatusOK, `7`),
			[]string{"audit"},
			exitFailed, "the server's answer is no audit log",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, on := startStandIn(t, test.answer)
			got := on(test.args...)
			assert.Equal(t, test.exit, got.exit, got.err)
			if strings.HasPrefix(test.err, "error: ") {
				assert.Equal(t, test.err, got.err)
			}
			assert.Contains(t, got.err, test.err)
			assert.Empty(t, got.out)
			assert.Len(t, s.asked, 1, "it is asked once")
		})
	}
}

// A stream may end in a failure, or in nothing.
func TestStreamsThatDoNotEndWell(t *testing.T) {
	frames := func(lines ...string) http.HandlerFunc {
		return answer(http.StatusOK, strings.Join(lines, "\n\n")+"\n\n", "Content-Type: text/event-stream", "X-Request-Id: r-2")
	}
	const chunk = `data: {"message":{"content":[{"text":"he"}]}}`
	for name, test := range map[string]struct {
		answer http.HandlerFunc
		exit   int
		err    string
	}{
		"a failure after a chunk":  {frames(chunk, `data: {"error":{"status":"RESOURCE_EXHAUSTED","message":"the budget is used up"}}`), exitBusy, "error: the budget is used up"},
		"a failure in the log":     {frames(`data: {"error":{"status":"INTERNAL","message":"internal error"}}`), exitFailed, "look for request_id=r-2"},
		"an end without a result":  {frames(chunk), exitFailed, "the server's stream ended before its result"},
		"a frame that is no JSON":  {frames(`data: {`), exitFailed, "the server's stream holds what is not JSON"},
		"comments are passed over": {frames(": heartbeat", `data: {"result":{"message":{"content":[{"text":"hello"}]}}}`), exitOK, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, on := startStandIn(t, test.answer)
			got := on("generate", "--model", "m", "--stream", "hi")
			assert.Equal(t, test.exit, got.exit, got.err)
			assert.Contains(t, got.err, test.err)
			require.Len(t, s.asked, 1)
			assert.Equal(t, "text/event-stream", s.asked[0].header.Get("Accept"))
			assert.Equal(t, "15", s.asked[0].query.Get("heartbeat"), "so that a proxy keeps the connection")
		})
	}
}

// The flags of usage reach the server, and what is wrong with accounts is told beside them.
func TestUsageTellsOfProblems(t *testing.T) {
	const raw = `{"since":"2026-11-01","until":"2026-11-30","by":["tenant","model"],"damaged":2,
		"rows":[{"tenant":"acme","model":"openai/x","calls":3,"inputTokens":10,"outputTokens":5,"money":{"USD":"1.5","EUR":"0.02"},"unpriced":1},{"other":true,"calls":1,"failures":1,"wallNs":1500000}],
		"total":{"calls":4,"failures":1},
		"sinks":[{"name":"file","delivered":9},{"name":"http","queued":4,"dropped":3,"refused":2,"failing":true}]}`
	s, on := startStandIn(t, answer(http.StatusOK, raw))
	got := on("usage", "--by", "tenant,model", "--since", "2026-11-01", "--until", "2026-11-30")
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Equal(t, url.Values{"by": {"tenant,model"}, "since": {"2026-11-01"}, "until": {"2026-11-30"}}, s.asked[0].query)
	assert.Equal(t, "/v1/usage", s.asked[0].path)
	assert.Equal(t, "problem: 2 lines of the accounts are damaged and are missing here\nproblem: the sink http: 4 events wait, 3 were dropped, 2 refused\n", got.err)
	lines := strings.Split(strings.TrimSpace(got.out), "\n")
	require.Len(t, lines, 4)
	assert.Regexp(t, `^TENANT +MODEL +CALLS +FAILED `, lines[0])
	assert.Regexp(t, `^acme +openai/x +3 .* 10 +5 +0.02 EUR, 1.5 USD, 1 calls without a price$`, lines[1])
	assert.Regexp(t, `^`+regexp.QuoteMeta(accounts.Other)+` +- +1 +1 +0 +1\.5ms `, lines[2])
	assert.Regexp(t, `^total +4 +1 .* -$`, lines[3])

	_ = on("usage", "--tenant", "a b", "--by", "")
	assert.Equal(t, "/v1/tenants/a b/usage/report", s.asked[1].path)
	assert.Empty(t, s.asked[1].query, "empty groups are the total alone")
	assert.JSONEq(t, raw, on("usage", "-o", "json").out)
}

// A deletion that goes on is shown with how far it is.
func TestADeletionThatGoesOnIsShown(t *testing.T) {
	failing := answer(http.StatusOK, `{"id":"op-1","kind":"deleteTenant","tenant":"acme","state":"running","progress":{"done":1,"total":2},"error":{"status":"UNAVAILABLE","message":"the disk is full"}}`)
	s, on := startStandIn(t, failing)
	got := on("tenant", "rm", "acme", "--detach")
	assert.Equal(t, outcome{out: "tenant acme is being deleted; \"genkit-wasm tenant operations op-1\" shows how far that is\n"}, got)
	assert.Len(t, s.asked, 1)
	assert.Regexp(t, `(?m)^op-1 +deleteTenant +acme .* running, 1 of 2 modules: the disk is full$`, on("tenant", "operations", "op-1").out)
	assert.JSONEq(t, `"the disk is full"`, string(member(t, string(member(t, on("tenant", "operations", "op-1", "-o", "json").out, "error")), "message")))

	_, on = startStandIn(t, failing, answer(http.StatusNotFound, problem(404, "NOT_FOUND", "no such operation")))
	assert.Equal(t, exitNotFound, on("tenant", "rm", "acme").exit, "an operation that is gone ends the wait")
}

// Settings that are given are sent, and no others; an empty one removes what was set.
func TestTheSettingsOfATenantAreAPatch(t *testing.T) {
	tenant := answer(http.StatusOK, `{"name":"acme","state":"active","problem":"the disk is full"}`, `ETag: "r1"`)
	s, on := startStandIn(t, tenant)
	got := on("tenant", "set", "acme", "--group", "trusted", "--limits", `{"timeoutMs":5}`, "--label", "a=1", "--label", "b=", "--budget", "")
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Equal(t, "problem: the disk is full\n", got.err)
	last := s.asked[len(s.asked)-1]
	assert.Equal(t, http.MethodPatch, last.method)
	assert.Equal(t, "application/json", last.header.Get("Content-Type"))
	assert.JSONEq(t, `{"group":"trusted","limits":{"timeoutMs":5},"labels":{"a":"1","b":null},"budget":null}`, last.body)
	assert.NotEmpty(t, last.header.Get("If-Match"), "a change that somebody else has made meanwhile is not lost")

	_ = on("tenant", "set", "acme", "--group", "")
	assert.JSONEq(t, `{"group":null}`, s.asked[len(s.asked)-1].body)
	before := len(s.asked)
	bad := on("tenant", "set", "acme", "--quota", "{")
	assert.Equal(t, exitUsage, bad.exit)
	assert.Contains(t, bad.err, "--quota")
	assert.Len(t, s.asked, before, "nothing is sent")
}

// The newest entries are read in pages, and the oldest of them is printed first.
func TestTheAuditLogIsReadInPages(t *testing.T) {
	s, on := startStandIn(t,
		answer(http.StatusOK, `{"entries":[{"seq":9,"what":"putModule","result":"201"},{"seq":8,"what":"signIn","result":"401 UNAUTHENTICATED","count":5}],"cursor":"a.8"}`),
		answer(http.StatusOK, `{"entries":[{"seq":7,"what":"createTenant","result":"201"}],"cursor":"a.7"}`),
	)
	got := on("audit", "--limit", "3")
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Regexp(t, `(?s)^SEQ .*\n7 .*createTenant.*\n8 .*401 UNAUTHENTICATED \(5 times\)\n9 .*putModule`, got.out)
	require.Len(t, s.asked, 2)
	assert.Equal(t, "3", s.asked[0].query.Get("limit"))
	assert.Equal(t, url.Values{"limit": {"1"}, "cursor": {"a.8"}}, s.asked[1].query)
	// A server whose cursor stays is not asked for ever.
	s, on = startStandIn(t, answer(http.StatusOK, `{"entries":[],"cursor":"a.1"}`))
	assert.Equal(t, exitOK, on("audit").exit)
	assert.Len(t, s.asked, 2)
}

func TestModulesAreSummedUp(t *testing.T) {
	for want, rec := range map[string]*module.Record{
		"-":                               {},
		"1 tool":                          {Actions: []string{"/tool/a"}},
		"2 tools, 1 format":               {Actions: []string{"/tool/a", "/tool.v2/b"}, Values: []string{"/format/c"}},
		"1 embedder, 2 prompts":           {Actions: []string{"/prompt/a", "/executable-prompt/a", "/prompt/b", "/executable-prompt/b", "/embedder/a"}},
		"2 middleware":                    {Values: []string{"/middleware/a", "/middleware/b"}},
		"1 tool, 1 middleware, 2 formats": {Actions: []string{"/tool/a"}, Values: []string{"/format/a", "/format/b", "/middleware/a"}},
	} {
		assert.Equal(t, want, offers(rec))
	}
	for n, want := range map[int]string{0: "0 B", 1023: "1023 B", 1024: "1.0 KiB", 1536: "1.5 KiB", 1<<20 - 1: "1024.0 KiB", 5 << 20: "5.0 MiB"} {
		assert.Equal(t, want, size(n))
	}
	assert.Equal(t, "0123456789ab", shortDigest("sha256:0123456789abcdef"))
	assert.Equal(t, "01", shortDigest("01"))
}

// Each status has an exit code, which differs for the check of a module.
func TestExitCodes(t *testing.T) {
	for code, want := range map[status.Code][2]int{
		status.NotFound: {exitNotFound, exitNotFound}, status.ResourceExhausted: {exitBusy, exitBusy}, status.Unavailable: {exitBusy, exitBusy},
		status.InvalidArgument: {exitFailed, exitRefused}, status.PermissionDenied: {exitFailed, exitRefused},
		status.Unimplemented: {exitFailed, exitRefused}, status.FailedPrecondition: {exitFailed, exitRefused},
		status.Internal: {exitFailed, exitFailed}, status.DeadlineExceeded: {exitFailed, exitFailed}, status.DataLoss: {exitFailed, exitFailed},
	} {
		assert.Equal(t, want, [2]int{exitOf(code, false), exitOf(code, true)}, code)
	}
	var shown strings.Builder
	a := &app{err: &shown, running: "ls"}
	assert.Equal(t, exitInterrupted, a.report(fmt.Errorf("wait: %w", status.ErrCancelled)))
	assert.Equal(t, exitUsage, a.report(usagef("--limit is %d", 0)))
	assert.Equal(t, exitFailed, a.report(io.ErrUnexpectedEOF))
	assert.Equal(t, "interrupted\nerror: --limit is 0\n       see genkit-wasm ls --help\nerror: unexpected EOF\n", shown.String())
	shown.Reset()
	a.output = "json"
	assert.Equal(t, exitNotFound, a.report(&failure{exit: exitNotFound, code: "NOT_FOUND", text: "a <b>", hint: "look", request: "r", details: json.RawMessage(`{"tenant":"x"}`)}))
	assert.JSONEq(t, `{"error":{"status":"NOT_FOUND","message":"a <b>","hint":"look","details":{"tenant":"x"},"request_id":"r","exit_code":3}}`, shown.String())
	assert.Contains(t, shown.String(), "<b>", "nothing is escaped for HTML")
	known := &failure{exit: exitBusy, text: "x"}
	assert.Same(t, known, local(fmt.Errorf("%w", known), true).(interface{ Unwrap() error }).Unwrap()) //nolint:forcetypeassert // it was wrapped a line above
	assert.NoError(t, local(nil, true))
}

// The value of a flag comes from the command line, a file or the standard input, and is bounded.
func TestValuesOfFlags(t *testing.T) {
	a := &app{in: strings.NewReader(" {\"a\": 1} ")}
	got, err := a.jsonValue("input", "-")
	require.NoError(t, err)
	assert.Equal(t, `{"a": 1}`, string(got))
	none, err := a.jsonValue("input", "")
	require.NoError(t, err)
	assert.Nil(t, none)
	_, err = a.jsonValue("input", "text")
	require.ErrorContains(t, err, "--input: ")
	assert.Contains(t, err.(*failure).hint, `--input '"text"'`) //nolint:errorlint,forcetypeassert // it is one
	_, err = a.value("input", "@"+t.TempDir()+"/none")
	require.ErrorContains(t, err, "no such file")
	a.in = iotest.ErrReader(io.ErrClosedPipe)
	_, err = a.value("input", "-")
	require.ErrorIs(t, err, io.ErrClosedPipe)
	a.in = zeros{}
	_, err = a.value("input", "-")
	require.ErrorContains(t, err, fmt.Sprintf("more than %d bytes", maxValue))

	file := write(t, "policy.json", `{"grants":{"kv":true}}`)
	for _, text := range []string{file, "@" + file, `{"grants":{"kv":true}}`, "-"} {
		a.in = strings.NewReader(`{"grants":{"kv":true}}`)
		raw, err := a.document("policy", text, 100)
		require.NoError(t, err, text)
		assert.JSONEq(t, `{"grants":{"kv":true}}`, string(raw))
	}
	_, err = a.document("policy", file, 10)
	require.ErrorContains(t, err, "is longer than 10 bytes")
	assert.Equal(t, exitRefused, err.(*failure).exit) //nolint:errorlint,forcetypeassert // it is one
	_, err = a.document("policy", "none.json", 10)
	require.ErrorIs(t, err, os.ErrNotExist)
	assert.Equal(t, "want FILE, @FILE or a JSON object", err.(*failure).hint) //nolint:errorlint,forcetypeassert // it is one
}

// zeros is a reader without an end.
type zeros struct{}

func (zeros) Read(b []byte) (int, error) { return len(b), nil }

// Times are points, or how long ago: days count as 24 hours.
func TestTimesThatArePast(t *testing.T) {
	now := time.Date(2030, 1, 31, 12, 0, 0, 0, time.UTC)
	for text, want := range map[string]time.Time{
		"": {}, "2030-01-01T00:00:00Z": time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC), "24h": now.Add(-24 * time.Hour), "7d": now.AddDate(0, 0, -7), "90m": now.Add(-90 * time.Minute),
	} {
		at, err := past(text, now)
		require.NoError(t, err, text)
		assert.True(t, want.Equal(at), "%q: %v", text, at)
	}
	for _, text := range []string{"x", "-1h", "d", "70000d", "2030-01-01"} {
		_, err := past(text, now)
		assert.ErrorContains(t, err, "--since is", text)
	}
}

// A table is cut at its widest columns first, and no column below eight.
func TestTablesAreCutWhereTheyAreWidest(t *testing.T) {
	cells := func() [][]string {
		return [][]string{{"NAME", "DESCRIPTION", "N"}, {"a", strings.Repeat("é", 40), "1"}, {strings.Repeat("n", 20), "short", "2"}}
	}
	wide := cells()
	fit(wide, 200)
	assert.Equal(t, cells(), wide, "what fits stays")
	cut := cells()
	fit(cut, 40)
	for _, row := range cut {
		total := gap * 2
		for i := range row {
			most := 0
			for _, other := range cut {
				most = max(most, len([]rune(other[i])))
			}
			total += most
		}
		assert.LessOrEqual(t, total, 40)
	}
	assert.True(t, strings.HasSuffix(cut[1][1], "é…"), cut[1][1])
	assert.Equal(t, "short", cut[2][1])
	tiny := cells()
	fit(tiny, 1)
	assert.Len(t, []rune(tiny[1][1]), 8)
	assert.Len(t, []rune(tiny[2][0]), 8)
}

// replaced is a text with a server's URL as URL.
func replaced(text, url string) string { return strings.ReplaceAll(text, url, "URL") }
