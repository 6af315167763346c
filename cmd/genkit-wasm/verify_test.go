package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/tooltest"
)

func TestTestRunsCases(t *testing.T) {
	cases := write(t, "c.yaml", `
cases:
  - {name: adds, tool: add, input: {a: 1, b: 2}, want: {sum: 3.0}}
  - {name: adds wrongly, tool: add, input: {a: 1, b: 2}, want: {sum: 4}}
  - {name: is refused, tool: add, input: {a: one, b: 2}, wantError: INVALID_ARGUMENT}
  - {name: is refused otherwise, tool: add, input: {}, wantError: NOT_FOUND}
  - {name: has no such tool, tool: sub, wantError: NOT_FOUND}
`)
	got := cli(t, "test", calcFile, "--cases", cases, "--no-hostile")
	assert.Equal(t, exitFailed, got.exit)
	assert.Contains(t, got.out, "ok    adds\n")
	assert.Contains(t, got.out, "FAIL  adds wrongly (add)\n        got  {\"sum\":3}\n        want {\"sum\":4}\n")
	assert.Contains(t, got.out, "ok    is refused\n")
	assert.Regexp(t, `FAIL  is refused otherwise \(add\)\n        got  error INVALID_ARGUMENT: .*\n        want error NOT_FOUND\n`, got.out)
	assert.Contains(t, got.out, "got  the module has no such tool\n", "and a wanted NOT_FOUND does not pass for it")
	assert.Contains(t, got.out, "no case calls: echo\n2 passed, 3 failed\n")
	assert.Contains(t, got.err, "3 of 5 tests failed")

	told := cli(t, "test", calcFile, "--cases", cases, "--no-hostile", "-o", "json")
	assert.Equal(t, exitFailed, told.exit)
	var r tooltest.Report
	require.NoError(t, json.Unmarshal([]byte(told.out), &r))
	assert.Equal(t, tooltest.Report{
		Module: "calc", Hostile: []tooltest.HostileResult{}, NeverCalled: []string{"echo"}, Passed: 2, Failed: 3, Cases: r.Cases,
	}, r)
	require.Len(t, r.Cases, 5)
	assert.Equal(t, tooltest.CaseResult{Name: "adds", Tool: "add", OK: true}, r.Cases[0])
	assert.Equal(t, tooltest.CaseResult{Name: "adds wrongly", Tool: "add", Got: `{"sum":3}`, Want: `{"sum":4}`}, r.Cases[1])
}

func TestTestKnowsInterruptsContextsAndGrants(t *testing.T) {
	conformance := write(t, "c.yaml", `
cases:
  - {tool: interrupt, input: {why: 1}, wantInterrupt: {why: 1}}
  - {tool: context, input: {}, context: {uid: ann}, want: {uid: ann}}
  - {tool: context, input: {}, want: {}}
  - {tool: fail, input: {}, wantError: NOT_FOUND}
  - {name: wrong, tool: interrupt, input: {why: 1}, want: {}}
`)
	got := cli(t, "test", conformanceFile, "--cases", conformance, "--no-hostile")
	assert.Contains(t, got.out, "4 passed, 1 failed\n")
	assert.Contains(t, got.out, `got  interrupt {"why":1}`)

	descriptor := `{"abi":"genkit/1","name":"c","tools":[{"name":"kv_get"},{"name":"kv_set"}]}`
	kept := `
grant: [kv, clock]
cases:
  - {tool: kv_set, input: {key: k, value: 7}, want: {ok: {}}}
  - {tool: kv_get, input: {key: k}, want: {ok: 7}}
`
	run := func(cases string, args ...string) outcome {
		all := []string{"test", capabilitiesFile, "--descriptor", descriptor, "--cases", write(t, "c.yaml", cases), "--no-hostile", "--policy", `{"grants":{"http":[{"host":"none.invalid"}],"generate":["*"],"actions":["*"]}}`}
		return cli(t, append(all, args...)...)
	}
	all := run(kept)
	assert.Contains(t, all.out, "ok    case 2\n", "what one case keeps, the next one finds: %s", all.err)
	assert.Equal(t, exitRefused, run(strings.Replace(kept, "grant: [kv, clock]", "", 1)).exit)
	assert.Contains(t, run(strings.Replace(kept, "grant: [kv, clock]", "", 1), "--grant", "kv,clock").out, "ok    case 2\n")
	more := run(strings.Replace(kept, "[kv, clock]", "[http]", 1))
	assert.Equal(t, exitUsage, more.exit)
	assert.Contains(t, more.err, `grant: "http", want kv or clock`)
}

func TestHostileInputsFindTraps(t *testing.T) {
	sound := cli(t, "test", calcFile)
	require.Equal(t, exitOK, sound.exit, sound.err+sound.out)
	assert.Regexp(t, `(?m)^ok    add: \d+ hostile inputs \(\d+ answered, \d+ INVALID_ARGUMENT.*\)$`, sound.out)
	assert.Contains(t, sound.out, "no case calls: add, echo\n2 passed, 0 failed\n")
	assert.Contains(t, sound.err, "no cases; write some into ")

	for _, name := range []string{"trap", "failtext", "wrongshape", "badoutput"} {
		descriptor := fmt.Sprintf(`{"abi":"genkit/1","name":"c","tools":[{"name":%q,"outputSchema":{"type":"integer"}}]}`, name)
		got := cli(t, "test", conformanceFile, "--descriptor", descriptor)
		assert.Equal(t, exitFailed, got.exit, name)
		assert.Regexp(t, `(?m)^FAIL  `+name+`: \d+ hostile inputs`, got.out)
		assert.Contains(t, got.out, "INTERNAL: ", name)
		assert.Regexp(t, `(?m)^        and \d+ more`, got.out, name)
	}
	told := cli(t, "test", conformanceFile, "--descriptor", `{"abi":"genkit/1","name":"c","tools":[{"name":"trap"},{"name":"interrupt","inputSchema":{"type":["object","null"]}},{"name":"fail"}]}`, "-o", "json")
	var r tooltest.Report
	require.NoError(t, json.Unmarshal([]byte(told.out), &r))
	require.Len(t, r.Hostile, 3)
	assert.Len(t, r.Hostile[0].Failures, r.Hostile[0].Inputs)
	assert.Empty(t, r.Hostile[1].Failures, "an interrupt is an answer")
	assert.Empty(t, r.Hostile[2].Failures, "an error with a code is one")
	assert.Equal(t, []int{2, 1}, []int{r.Passed, r.Failed})
}

// A case may reach what its flags grant. Hostile inputs, most of which still name that place, reach nothing.
func TestHostileInputsReachNothing(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusNoContent)
	}))
	t.Cleanup(srv.Close)
	here := fmt.Sprintf("http://127.0.0.1:%d", srv.Listener.Addr().(*net.TCPAddr).Port)
	cases := write(t, "c.yaml", `cases: [{tool: http, input: {url: "`+here+`/"}, wantError: NOT_FOUND}, {tool: http, input: {url: "`+here+`/", method: GET}, want: {ok: {status: 204, headers: {}, body: ""}}}]`)
	args := []string{
		"test", capabilitiesFile, "--descriptor", `{"abi":"genkit/1","name":"c","tools":[{"name":"http"}]}`, "--cases", cases, "--allow-host", here,
		"--grant", "kv,clock", "--policy", `{"grants":{"generate":["*"],"actions":["*"]}}`,
	}
	cli(t, append(args, "--no-hostile")...)
	require.EqualValues(t, 2, asked.Load(), "the cases reach it")
	got := cli(t, args...)
	assert.Regexp(t, `(?m)^ok    http: \d+ hostile inputs`, got.out, got.err)
	assert.EqualValues(t, 4, asked.Load(), "and only they do")
}

func TestTestFindsItsCases(t *testing.T) {
	dir := t.TempDir()
	wasm, err := os.ReadFile(calcFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "m.wasm"), wasm, 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(dir, casesFile), []byte("cases: [{name: beside, tool: echo, input: 1, want: 1}]"), 0o600))
	got := cli(t, "test", filepath.Join(dir, "m.wasm"), "--no-hostile")
	assert.Equal(t, exitOK, got.exit, got.err)
	assert.Contains(t, got.out, "ok    beside\n")

	missing := cli(t, "test", calcFile, "--cases", filepath.Join(dir, "none.yaml"))
	assert.Equal(t, exitUsage, missing.exit)
	require.NoError(t, os.WriteFile(filepath.Join(dir, casesFile), []byte("cases: [{tool: x}]"), 0o600))
	bad := cli(t, "test", filepath.Join(dir, "m.wasm"))
	assert.Equal(t, exitUsage, bad.exit)
	assert.Contains(t, bad.err, casesFile+": case 1")
	assert.Equal(t, exitUsage, cli(t, "test", filepath.Join(dir, "none")).exit)
	assert.Equal(t, exitUsage, cli(t, "test", t.TempDir()).exit)
	assert.Equal(t, exitRefused, cli(t, "test", write(t, "x.wasm", "not wasm")).exit)
}
