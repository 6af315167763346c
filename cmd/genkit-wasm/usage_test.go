package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	accounts "github.com/genkit-wasm/genkit-wasm/wasmhost/server/usage"
)

// priceOf is a table of prices for the scripted model.
const priceOf = `{"currency":"USD","models":{"test/*":{"input":1,"output":2}}}`

// spends is a script of the model test/scripted that reports what it used.
const spends = `{"script":[{"message":{"role":"model","content":[{"text":"hello"}]},"usage":{"inputTokens":1000,"outputTokens":500}}]}`

func TestUsageIsReportedAndOutlivesTheServer(t *testing.T) {
	var mu sync.Mutex
	got := map[string]accounts.Event{}
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var events []json.RawMessage
		if assert.NoError(t, err) && assert.NoError(t, json.Unmarshal(body, &events)) && assert.Equal(t, "Bearer x", r.Header.Get("Authorization")) {
			mu.Lock()
			defer mu.Unlock()
			for _, raw := range events {
				e, err := accounts.Decode(raw)
				assert.NoError(t, err)
				got[e.ID] = e
			}
		}
	}))
	defer receiver.Close()
	data, file, secret := t.TempDir(), filepath.Join(t.TempDir(), "usage.jsonl"), write(t, "secret", "Bearer x\n")
	config := write(t, "server.yaml", `
prices: `+priceOf+`
usage-sink:
  - {file: '`+file+`', maxBytes: 1000000, files: 2}
  - {url: '`+receiver.URL+`', header: {Authorization: '@`+secret+`'}}
tenant: [acme]
isolation: in-process
`)
	require.Equal(t, exitOK, cli(t, "config", "check", config).exit)
	journal := filepath.Join(t.TempDir(), "journal")
	url, _, _, stop := start(t, data, "--config", config, "--usage", journal)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	require.Equal(t, exitOK, on("upload", calcFile, "--tenant", "acme").exit)
	require.Equal(t, exitOK, on("call", "calc/add", "--tenant", "acme", "--input", `{"a":1,"b":2}`).exit)
	for _, budget := range []string{"", `{"moneyPerDay":"0.003"}`} {
		if budget != "" {
			require.Equal(t, exitOK, on("tenant", "set", "acme", "--budget", budget).exit)
		}
		answer := on("generate", "--tenant", "acme", "--model", "test/scripted", "--config", spends, "hi")
		require.Equal(t, exitOK, answer.exit, answer.err)
	}
	refused := on("generate", "--tenant", "acme", "--model", "test/scripted", "--config", spends, "hi")
	assert.Equal(t, exitBusy, refused.exit)
	assert.Contains(t, refused.err, "the tenant has used its budget of 0.003 USD a day for models")

	assert.Regexp(t, `(?m)^MODEL +CALLS .* COST\ntest/scripted +2 +0 .* 2000 +1000 +0.004 USD\ntotal +2 .* 0.004 USD$`, on("usage", "--tenant", "acme", "--by", "model", "--since", "7d").out)
	assert.Regexp(t, `(?m)^TENANT +TOOL +CALLS .*\nacme +calc/add +1 `, on("usage", "--by", "tenant,tool").out)
	assert.Regexp(t, `money today +0.004 of 0.003 USD`, on("tenant", "show", "acme").out)
	assert.Equal(t, exitNotFound, on("usage", "--tenant", "none").exit)
	assert.Equal(t, exitFailed, on("usage", "--by", "colour").exit)
	stop()

	mu.Lock()
	assert.Len(t, got, 4, "the receiver has each event once the server has ended: three calls, and one that was refused")
	mu.Unlock()
	raw, err := os.ReadFile(file)
	require.NoError(t, err)
	assert.Equal(t, 4, bytes.Count(raw, []byte("\n")))
	for line := range bytes.Lines(raw) {
		e, err := accounts.Decode(bytes.TrimSpace(line))
		require.NoError(t, err)
		assert.Equal(t, got[e.ID], e, "both sinks have the same events")
		assert.Equal(t, "acme", e.Tenant)
		assert.NotEmpty(t, e.TenantID)
	}
	lines, err := os.ReadFile(journal)
	require.NoError(t, err)
	assert.Equal(t, 1, bytes.Count(lines, []byte("\n")), "--usage has the calls of modules, as before")

	url, _, _, _ = start(t, data, "--prices", priceOf)
	assert.Regexp(t, `(?m)^total +2 .* 0.004 USD$`, on("usage", "--tenant", "acme", "--by", "model").out)
	assert.Regexp(t, `money today +0.004 of 0.003 USD`, on("tenant", "show", "acme").out)
	require.Equal(t, exitOK, on("tenant", "rm", "acme").exit)
	require.Equal(t, exitOK, on("tenant", "create", "acme").exit)
	assert.NotContains(t, on("usage", "--tenant", "acme").out, "model", "the next tenant of that name sees nothing of it")
	var all accounts.Report
	require.NoError(t, json.Unmarshal([]byte(on("usage", "--by", "tenant", "-o", "json").out), &all))
	require.NotEmpty(t, all.Rows)
	assert.EqualValues(t, 3, all.Rows[0].Calls, "an operator has it for the last bill")
	assert.Equal(t, time.Now().UTC().Format(time.DateOnly), all.Until)
}

func TestSettingsOfUsageAreChecked(t *testing.T) {
	for text, want := range map[string]string{
		`prices: {currency: dollars}`:                                               "three capital letters",
		`prices: {currency: USD, models: {x: {input: 1}}}`:                          "output",
		`prices: {currency: USD, modles: {}}`:                                       "modles",
		`usage-sink: [{}]`:                                                          `one of "file", "url" and "otlp"`,
		`usage-sink: [{file: x, url: "http://x"}]`:                                  `one of "file", "url" and "otlp"`,
		`usage-sink: [{file: x, maxbytes: 1}]`:                                      "maxbytes",
		`usage-sink: [{url: "ftp://x"}]`:                                            "http://",
		`usage-sink: [{url: "http://x", header: {Authorization: "Bearer secret"}}]`: "not the value itself",
		`usage-sink: [{file: x}, {file: y}]`:                                        "two sinks",
		`usage-days: 0`:                                                             "1 to 4000",
	} {
		got := cli(t, "config", "check", write(t, "server.yaml", text))
		assert.Equal(t, exitUsage, got.exit, text)
		assert.Contains(t, got.err, want, text)
		assert.NotContains(t, got.err, "Bearer secret")
	}
	got := cli(t, "serve", "--addr", "127.0.0.1:0", "--data", t.TempDir(), "--usage-sink", `{"url":"http://127.0.0.1:1","header":{"Authorization":"@/none"}}`)
	assert.Equal(t, exitUsage, got.exit, got.err)
}
