package main

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/settings"
)

// shownConfig are the settings that config show prints, by name.
func shownConfig(t *testing.T, args ...string) map[string]settings.Setting {
	t.Helper()
	got := cli(t, append([]string{"config", "show", "-o", "json"}, args...)...)
	require.Equal(t, exitOK, got.exit, got.err)
	var list struct{ Settings []settings.Setting }
	require.NoError(t, json.Unmarshal([]byte(got.out), &list))
	all := map[string]settings.Setting{}
	for _, s := range list.Settings {
		assert.Equal(t, s.From == "file" || s.From == "environment", s.Where != "", s.Name)
		s.Where = ""
		all[s.Name] = s
	}
	return all
}

func TestAFlagCountsBeforeAVariableAndThatBeforeAFile(t *testing.T) {
	t.Setenv("PORT", "4001")
	t.Setenv("EMPTY", "")
	t.Setenv("GENKIT_WASM_SLOTS", "9")
	t.Setenv("GENKIT_WASM_DRAIN_DELAY", "7s")
	t.Setenv("GENKIT_WASM_LOAD", `["a.wasm","b.wasm"]`)
	t.Setenv("GENKIT_WASM_ALLOWED_HOST", "one.example")
	file := write(t, "server.yaml", `
addr: 127.0.0.1:${PORT}
data: ${NONE:-/var/lib}/x${EMPTY:-y}$${z}
drain-delay: 1s
drain-timeout: 3s
slots: 2
memory: 1_000_000_000
tenant: [acme, evil]
quota: {concurrency: 8, fuelPerMinute: 60000000000}
tenant-quota:
  acme: {concurrency: 4}
  evil: '{"concurrency":1}'
load: never.wasm
keep-streams: true
default-model: "${MODEL:-}"
`)
	for name, want := range map[string]settings.Setting{
		"addr":          {Value: []string{"127.0.0.1:4001"}, From: "file"},
		"data":          {Value: []string{"/var/lib/xy${z}"}, From: "file"},
		"drain-delay":   {Value: []string{"5s"}, From: "flag"},
		"drain-timeout": {Value: []string{"3s"}, From: "file"},
		"slots":         {Value: []string{"9"}, From: "environment"},
		"memory":        {Value: []string{"1000000000"}, From: "file"},
		"tenant":        {Value: []string{"acme", "evil"}, From: "file"},
		"quota":         {Value: []string{`{"concurrency":8,"fuelPerMinute":60000000000}`}, From: "file"},
		"tenant-quota":  {Value: []string{`acme={"concurrency":4}`, `evil={"concurrency":1}`}, From: "file"},
		"load":          {Value: []string{"a.wasm", "b.wasm"}, From: "environment"},
		"allowed-host":  {Value: []string{"one.example"}, From: "environment"},
		"keep-streams":  {Value: []string{"true"}, From: "file"},
		"default-model": {Value: []string{""}, From: "file"},
		"log-level":     {Value: []string{"info"}, From: "default"},
	} {
		want.Name = name
		assert.Equal(t, want, shownConfig(t, file, "--drain-delay", "5s")[name])
	}
}

func TestAConfigurationThatIsNotInOrderIsRefused(t *testing.T) {
	for text, want := range map[string]string{
		"adr: x":                   `:1: there is no setting "adr"`,
		"ADDR: x":                  `there is no setting "ADDR"`,
		"config: other.yaml":       `there is no setting "config"`,
		"help: true":               `there is no setting "help"`,
		"addr: a\naddr: b":         "addr",
		"slots: many":              `"slots": "many" does not fit`,
		"keep-streams: perhaps":    `"perhaps" does not fit`,
		"drain-delay: 5":           `"5" does not fit`,
		"addr:":                    "it has no value",
		"addr: ${NOT_SET}":         "the variable NOT_SET is not set",
		"- a\n- b":                 "want settings, NAME: VALUE",
		"a: [":                     "not YAML",
		"addr: x\n---\naddr: y":    "more than one document",
		"quota: {concurrency: -1}": `"concurrency" is -1`,
		"quota: {concurency: 1}":   "concurency",
		"quota: {concurrency: 1, concurrency: 2}": "the same key twice",
		"limits: {timeoutMs: 0x10}":               "no number of JSON",
		"tenant-quota: {a: {}, a: {}}":            "a",
		"x: &a [1]\ntenant: *a":                   "x",
		"tenant: *a":                              "not YAML",
		"log-level: loud":                         `--log-level is "loud"`,
		"addr: " + strings.Repeat("x", 1<<20):     "has more than 1048576 bytes",
		"quota: " + strings.Repeat("[", 9000) + strings.Repeat("]", 9000): "",
	} {
		got := cli(t, "config", "check", write(t, "server.yaml", text))
		assert.Equal(t, exitUsage, got.exit, "%.60q: %s", text, got.err)
		assert.Contains(t, got.err, want, "%.60q", text)
		assert.NotContains(t, got.err, "goroutine", "%.60q", text)
	}
	assert.Equal(t, exitOK, cli(t, "config", "check", write(t, "server.yaml", "# nothing\n")).exit)
	assert.Equal(t, exitOK, cli(t, "config", "check").exit)
	assert.Equal(t, exitUsage, cli(t, "config", "check", "/nowhere.yaml").exit)
	t.Setenv("GENKIT_WASM_SLOTS", "many")
	got := cli(t, "config", "check")
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, "$GENKIT_WASM_SLOTS")
}

func TestServeReadsItsFile(t *testing.T) {
	file := write(t, "server.yaml", "tenant: [acme]\nmetrics-by-tenant: true\naddr: never:1\n")
	url := startServer(t, "--config", file) // --addr is given there
	resp, err := http.Get(url + "/v1/tenants/acme/modules")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusOK, resp.StatusCode)
	got := cli(t, "serve", "--config", write(t, "wrong.yaml", "adr: x"))
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, `there is no setting "adr"`)
}

// A setting that serve would refuse is told by "config check", which starts nothing.
func TestSettingsThatServeRefusesAreToldByCheck(t *testing.T) {
	// Settings that take every value of their type have no wrong one.
	tried := map[string]bool{
		"auth": true, "data": true, "default-model": true, "dev": true, "interpreter": true, "keep-streams": true, "metrics-by-tenant": true,
	}
	for _, c := range []struct {
		says string
		args []string
	}{
		{`--log-level is "loud"`, []string{"--log-level", "loud"}},
		{`--log-format is "xml", want auto, text or json`, []string{"--log-format", "xml"}},
		{`--trusted-proxy "x": want a network`, []string{"--trusted-proxy", "x"}},
		{"--tls-cert and --tls-key go together", []string{"--tls-cert", "x"}},
		{"--max-connections is -1, want 0 to 1000000", []string{"--max-connections", "-1"}},
		{"--oidc is for --auth", []string{"--oidc", "{}"}},
		{`has to be https`, []string{"--auth", "--oidc", `{"issuer":"http://x","audience":"a","rules":[{"claim":"c","value":"v","scopes":["admin"]}]}`}},
		{`"audience" is required`, []string{"--auth", "--oidc", `{"issuer":"https://x"}`}},
		{"in the clear", []string{"--auth", "--addr", "0.0.0.0:3400"}},
		{"without a login", []string{"--addr", "0.0.0.0:3400"}},
		{"want HOST:PORT", []string{"--addr", "foo"}},
		{"want HOST:PORT", []string{"--addr", "127.0.0.1:none such"}},
		{`--isolation is "foo"`, []string{"--isolation", "foo"}},
		{"--isolation-group", []string{"--isolation-group", "g"}},
		{`tenant "a/b"`, []string{"--tenant", "a/b"}},
		{`--tenant-quota "x"`, []string{"--tenant-quota", "x"}},
		{"--tls-cert, --tls-key: ", []string{"--tls-cert", "nope.pem", "--tls-key", "nope.pem"}},
		{"--usage-sink http: ", []string{"--usage-sink", `{"url":"http://x","header":{"A":"@nofile"}}`}},
		{"--usage-sink file: there is no directory", []string{"--usage-sink", `{"file":"/nowhere/x"}`}},
		{"--usage: there is no directory", []string{"--usage", "/nowhere/x"}},
		{"--secret: ", []string{"--secret", "A=@nofile"}},
		{"--mount: ", []string{"--mount", "A=/nodir"}},
		{"--allow-network", []string{"--allow-network", "x"}},
		{"--load: ", []string{"--load", "nofile.wasm"}},
		{"--provider", []string{"--provider", "nobody"}},
		{"--engine", []string{"--engine", "python=x"}},
		{"--trusted-origin", []string{"--trusted-origin", "console"}},
		{"--allowed-host", []string{"--allowed-host", "tools.example.com:3400"}},
		{"--allowed-host", []string{"--allowed-host", "https://two.example.com"}},
		{"--allowed-host", []string{"--allowed-host", "*"}},
		{"--audit-days", []string{"--audit-days", "-1"}},
		{"--drain-delay", []string{"--drain-delay", "-5s"}},
		{"--drain-timeout", []string{"--drain-timeout", "-5s"}},
		{"--memory", []string{"--memory", "-1"}},
		{"--slots", []string{"--slots", "-1"}},
		{"--idle-timeout", []string{"--idle-timeout", "-1s"}},
		{"does not go with --tls-cert", []string{"--tls-cert", "x", "--tls-key", "y", "--plain-http-beyond-loopback"}},
		{`--pprof "x": want HOST:PORT`, []string{"--pprof", "x"}},
		{`--limits: `, []string{"--limits", `{"feul":1}`}},
		{`--limits: `, []string{"--limits", `{`}},
		{`--generate-limits: `, []string{"--generate-limits", `{"turns":1}`}},
		{`--grants: `, []string{"--grants", `{"root":true}`}},
		{`--quota: `, []string{"--quota", `{"concurency":1}`}},
		{`--quota: `, []string{"--quota", `@none`}},
		{`--prices: `, []string{"--prices", `{"models":{"a":{"input":-1}}}`}},
		{`--usage-days is 0, want 1 to 4000`, []string{"--usage-days", "0"}},
		{`want one of "file", "url" and "otlp"`, []string{"--usage-sink", `{}`}},
		{`want one of "file", "url" and "otlp"`, []string{"--usage-sink", `{"file":"a","url":"https://b"}`}},
		{`want one of "file", "url" and "otlp"`, []string{"--usage-sink", `{"otlp":"http://a","url":"https://b"}`}},
		{`"maxBytes" and "files" are of a file`, []string{"--usage-sink", `{"otlp":"https://b","maxBytes":3}`}},
		{"--usage-sink: ", []string{"--usage-sink", `{"otlp":"b:4318"}`}},
		{`"header" is of a URL`, []string{"--usage-sink", `{"file":"a","header":{}}`}},
		{`"maxBytes" and "files" are of a file`, []string{"--usage-sink", `{"url":"https://b","files":3}`}},
		{`"maxBytes" is -1, want 0 (not set) or 65536`, []string{"--usage-sink", `{"file":"a","maxBytes":-1}`}},
		{"want @FILE or env:NAME, not the value itself", []string{"--usage-sink", `{"url":"https://b","header":{"A":"secret"}}`}},
		{"--usage-sink: ", []string{"--usage-sink", `{"url":"ftp://b"}`}},
		{`"name"`, []string{"--usage-sink", `{"file":"a"}`, "--usage-sink", `{"file":"b"}`}},
		{`"fiel" is not known here`, []string{"--usage-sink", `{"fiel":"a"}`}},
		{"--secrets-key-file: ", []string{"--secrets-key-file", "none"}},
		{"--mcp-config: ", []string{"--mcp-config", "none"}},
	} {
		for _, arg := range c.args {
			tried[strings.TrimPrefix(arg, "--")] = true
		}
		got := cli(t, append([]string{"config", "check"}, c.args...)...)
		assert.Equal(t, exitUsage, got.exit, "%v: %s", c.args, got.err)
		assert.Contains(t, got.err, c.says, "%v", c.args)
		assert.NotContains(t, got.err, `"secret"`, "%v", c.args)
	}
	for _, args := range [][]string{
		{"--limits", `{"timeoutMs":5}`, "--grants", `{"kv":true}`, "--generate-limits", `{"tokens":5}`, "--quota", `{"concurrency":1}`},
		{"--usage-sink", `{"file":"a"}`, "--usage-sink", `{"name":"b","file":"b","queueBytes":65536}`, "--usage-sink", `{"url":"https://b","header":{"A":"env:PATH"}}`, "--usage-sink", `{"otlp":"http://b:4318"}`},
		{"--auth", "--trusted-proxy", "10.0.0.0/8", "--trusted-proxy", "192.0.2.1", "--oidc", `{"issuer":"https://x","audience":"a","rules":[{"claim":"c","value":"v","scopes":["admin"]}]}`, "--pprof", "[::1]:6060"},
	} {
		assert.Equal(t, outcome{out: "the configuration is in order\n"}, cli(t, append([]string{"config", "check"}, args...)...))
	}
	serve := (&app{}).serveCommand()
	source := settingsFrom(serve.Flags())
	serve.Flags().VisitAll(func(f *pflag.Flag) {
		if !slices.Contains(source.Except, f.Name) {
			assert.True(t, tried[f.Name], "--%s: give it a wrong value in the table of this test", f.Name)
		}
	})
}

// A refusal says where the setting comes from.
func TestARefusedSettingIsFoundInItsFile(t *testing.T) {
	file := write(t, "server.yaml", "# one\ntenant: [acme]\nquota: {concurrency: -1}\n")
	got := cli(t, "config", "check", file)
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, file+":3: --quota: ")
	assert.Contains(t, cli(t, "serve", "--config", file).err, file+":3: --quota: ", "serve says the same")
	got = cli(t, "config", "check", write(t, "server.yaml", "# one\nauth: often\n"))
	assert.Contains(t, got.err, `server.yaml:2: "auth"`)
	got = cli(t, "config", "check", write(t, "server.yaml", "data: ${x\n"))
	assert.Contains(t, got.err, "begins no variable")
	t.Setenv("GENKIT_WASM_ISOLATION", "foo")
	assert.Contains(t, cli(t, "config", "check").err, "$GENKIT_WASM_ISOLATION: --isolation is")
}

// Settings are shown as a table for people, with the place that each comes from.
func TestSettingsAreShown(t *testing.T) {
	t.Setenv("GENKIT_WASM_SLOTS", "9")
	got := cli(t, "config", "show", write(t, "server.yaml", "tenant: [acme, evil]\n"), "--addr", "127.0.0.1:1")
	require.Equal(t, exitOK, got.exit, got.err)
	assert.Regexp(t, `(?m)^SETTING +VALUE +FROM$`, got.out)
	for _, line := range []string{"addr +127.0.0.1:1 +flag", "slots +9 +environment", "tenant +acme evil +file", "log-level +info +default"} {
		assert.Regexp(t, `(?m)^`+line+`$`, got.out)
	}
	assert.NotRegexp(t, `(?m)^(config|help|output) `, got.out, "what is no setting")
	assert.Equal(t, exitUsage, cli(t, "config", "show", "a.yaml", "b.yaml").exit)
	assert.Contains(t, cli(t, "config").out, "GENKIT_WASM_DRAIN_DELAY")
	wrong := cli(t, "config", "show", write(t, "wrong.yaml", "adr: x"))
	assert.Equal(t, exitUsage, wrong.exit)
	assert.Contains(t, wrong.err, `"genkit-wasm config show" lists all settings`)
}
