package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/spf13/pflag"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// shownConfig are the settings that config show prints, by name.
func shownConfig(t *testing.T, args ...string) map[string]setting {
	t.Helper()
	got := cli(t, append([]string{"config", "show", "-o", "json"}, args...)...)
	require.Equal(t, exitOK, got.exit, got.err)
	var list struct{ Settings []setting }
	require.NoError(t, json.Unmarshal([]byte(got.out), &list))
	all := map[string]setting{}
	for _, s := range list.Settings {
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
memory: 1_000
tenant: [acme, evil]
quota: {concurrency: 8, fuelPerMinute: 60000000000}
tenant-quota:
  acme: {concurrency: 4}
  evil: '{"concurrency":1}'
load: never.wasm
keep-streams: true
default-model: "${MODEL:-}"
`)
	for name, want := range map[string]setting{
		"addr":          {Value: []string{"127.0.0.1:4001"}, From: "file"},
		"data":          {Value: []string{"/var/lib/xy${z}"}, From: "file"},
		"drain-delay":   {Value: []string{"5s"}, From: "flag"},
		"drain-timeout": {Value: []string{"3s"}, From: "file"},
		"slots":         {Value: []string{"9"}, From: "environment"},
		"memory":        {Value: []string{"1000"}, From: "file"},
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
		"a: [":                     "is not YAML",
		"addr: x\n---\naddr: y":    "more than one document",
		"quota: {concurrency: -1}": `"concurrency" is -1`,
		"quota: {concurency: 1}":   "concurency",
		"quota: {concurrency: 1, concurrency: 2}": "the same key twice",
		"limits: {timeoutMs: 0x10}":               "no number of JSON",
		"tenant-quota: {a: {}, a: {}}":            "a",
		"x: &a [1]\ntenant: *a":                   "x",
		"tenant: *a":                              "is not YAML",
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

// Whatever a file holds, it is read or refused.
func FuzzConfig(f *testing.F) {
	for _, text := range []string{"addr: x", "tenant: [a, b]", "quota: {a: 1.5e3, b: [~, true]}", "tenant-quota:\n  a: {x: \"${HOME:-y}\"}", "a: &b c\nd: *b", "? [a]\n: b", "--- !!binary x", "%YAML 1.1\n---\n"} {
		f.Add([]byte(text))
	}
	a := &app{}
	flags := pflag.NewFlagSet("serve", pflag.ContinueOnError)
	flags.AddFlagSet(a.serveCommand().Flags())
	f.Fuzz(func(t *testing.T, raw []byte) {
		found, err := parseConfig(flags, "f", raw)
		if err != nil {
			return
		}
		for name, texts := range found {
			if _, several := repeated(flags.Lookup(name)); !several && len(texts) != 1 {
				t.Fatalf("%s has %d values", name, len(texts))
			}
		}
	})
}
