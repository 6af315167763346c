package wasmhost_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/jsengine/jsenginetest"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
)

// webCase is an expression and its value as JSON, in browsers and here.
type webCase struct {
	Name string          `json:"name"`
	Code string          `json:"code"`
	Want json.RawMessage `json:"want"`
}

func webCases(t *testing.T) []webCase {
	t.Helper()
	raw, err := os.ReadFile("testdata/web.json")
	require.NoError(t, err)
	var cases []webCase
	require.NoError(t, json.Unmarshal(raw, &cases))
	return cases
}

// TestScriptsFindWhatBrowsersHave runs the cases as tools of one script.
func TestScriptsFindWhatBrowsersHave(t *testing.T) {
	h := scriptHost(t, nil)
	cases := webCases(t)
	var source strings.Builder
	for i, c := range cases {
		fmt.Fprintf(&source, "tool({ name: \"t%d\", run: () => %s });\n", i, c.Code)
	}
	_, err := h.Load(t.Context(), tenant, scripted("m", source.String()))
	require.NoError(t, err)
	for i, c := range cases {
		out, err := call(t, h, fmt.Sprintf("m/t%d", i), `{}`)
		if assert.NoError(t, err, c.Name) {
			assert.JSONEq(t, string(c.Want), out, c.Name)
		}
	}
}

// nodeDiffers are cases in which Node 20 is not right: its export of a key that may not be exported fails with a name
// that no specification has.
var nodeDiffers = map[string]bool{"HMAC: what is refused": true}

// TestTheWebCasesAreNodesToo keeps the cases honest: Node's own implementation gives the same values.
func TestTheWebCasesAreNodesToo(t *testing.T) {
	node, err := exec.LookPath("node")
	if err != nil {
		peer.Missing(t, "node is not installed")
	}
	cases := webCases(t)
	var program strings.Builder
	program.WriteString("const alive = setInterval(() => {}, 1e6);\n(async () => { const out = [];\n")
	for _, c := range cases {
		fmt.Fprintf(&program, "out.push(JSON.stringify(await %s));\n", c.Code)
	}
	program.WriteString("console.log(JSON.stringify(out)); clearInterval(alive); })();")
	cmd := exec.CommandContext(t.Context(), node, "-")
	cmd.Stdin = strings.NewReader(program.String())
	raw, err := cmd.Output()
	require.NoError(t, err)
	var got []string
	require.NoError(t, json.Unmarshal(raw, &got))
	require.Len(t, got, len(cases))
	for i, c := range cases {
		if !nodeDiffers[c.Name] {
			assert.JSONEq(t, string(c.Want), got[i], c.Name)
		}
	}
}

const webPlatform = `
const parse = (input, base) => { try { return new URL(input, base ?? undefined); } catch (e) { if (e instanceof TypeError) return null; throw e; } };
tool({ name: "parse", run: (tests) => tests.filter((t) => {
  const u = parse(t.input, t.base);
  return t.failure ? u !== null : u === null || Object.keys(t).some((k) => k in u && k !== "searchParams" && u[k] !== t[k]) || ("searchParams" in t && String(u.searchParams) !== t.searchParams);
}).map((t) => t.input) });
tool({ name: "set", run: ({ member, tests }) => tests.filter((t) => {
  const u = new URL(t.href);
  u[member] = t.new_value;
  return Object.keys(t.expected).some((k) => u[k] !== t.expected[k]);
}).map((t) => t.href + " " + t.new_value) });
tool({ name: "host", run: (tests) => tests.filter((t) => (parse("https://" + t.input + "/x")?.host ?? null) !== t.output).map((t) => t.input) });`

// TestURLPassesTheWebPlatformTests counts what fails of https://github.com/web-platform-tests/wpt/tree/master/url. All that
// fails is listed in docs/scripts.md: names of hosts that the tables of UTS 46 refuse, and, where these tests are older than the
// standard is now, "^" in paths and spaces at the end of opaque ones.
func TestURLPassesTheWebPlatformTests(t *testing.T) {
	h := scriptHost(t, func(c *wasmhost.Config) { c.Limits.Fuel = 100e9 })
	_, err := h.Load(t.Context(), tenant, scripted("m", webPlatform))
	require.NoError(t, err)
	run := func(tool string, in any) []string {
		raw, err := json.Marshal(in)
		require.NoError(t, err)
		out, err := call(t, h, "m/"+tool, string(raw))
		require.NoError(t, err)
		var failed []string
		require.NoError(t, json.Unmarshal([]byte(out), &failed))
		return failed
	}
	objects := func(file string) (list []json.RawMessage) {
		var all []json.RawMessage
		require.NoError(t, json.Unmarshal(jsenginetest.WebPlatformTests(t, file), &all))
		for _, one := range all {
			if one[0] == '{' { // texts are comments
				list = append(list, one)
			}
		}
		return list
	}
	tests := objects("urltestdata.json")
	require.Len(t, tests, 820)
	assert.Len(t, run("parse", tests), 8)

	var setters map[string][]json.RawMessage
	var all map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(jsenginetest.WebPlatformTests(t, "setters_tests.json"), &all))
	delete(all, "comment")
	raw, err := json.Marshal(all)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(raw, &setters))
	made, failed := 0, []string{}
	for member, tests := range setters {
		made += len(tests)
		failed = append(failed, run("set", map[string]any{"member": member, "tests": tests})...)
	}
	assert.Equal(t, 248, made)
	assert.Len(t, failed, 9, "%q", failed)

	tests = objects("toascii.json")
	require.Len(t, tests, 39)
	assert.Len(t, run("host", tests), 10)
}
