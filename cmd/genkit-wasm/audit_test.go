package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

func TestTheAuditLogOfAServer(t *testing.T) {
	data := t.TempDir()
	url, admin, _, stop := startGuarded(t, data)
	t.Setenv(keyEnv, admin)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	require.Equal(t, exitOK, on("tenant", "create", "acme").exit)
	require.Equal(t, exitOK, on("upload", calcFile, "--tenant", "acme").exit)
	id := strings.Split(admin, "_")[1]
	list := on("audit").out
	assert.Regexp(t, `(?m)^SEQ +TIME +WHO +FROM +WHAT +ON +RESULT$`, list)
	assert.Regexp(t, `(?m)^1 .* server +- +serverStart +- +OK$`, list)
	assert.Regexp(t, `(?m)^\d+ .* server +- +createKey +/v1/keys/`+id+` +OK$`, list)
	assert.Regexp(t, `(?m)^\d+ .* key:`+id+` +127\.0\.0\.1 +createTenant +/v1/tenants +begun$`, list)
	assert.Regexp(t, `(?m)^\d+ .* putModule +/v1/tenants/acme/modules/calc +201$`, list)
	assert.NotContains(t, list, admin[21:])
	assert.Equal(t, 2, strings.Count(on("audit", "--what", "putModule", "--since", "1h", "--who", "key:"+id).out, "putModule"))
	assert.Equal(t, 1, strings.Count(on("audit", "--limit", "1", "-o", "json").out, `"seq"`))
	assert.NotContains(t, on("audit", "--since", "2999-01-01T00:00:00Z").out, "putModule")
	for _, bad := range [][]string{{"--since", "x"}, {"--since", "-1h"}, {"--limit", "0"}, {"x"}} {
		assert.Equal(t, exitUsage, on(append([]string{"audit"}, bad...)...).exit, bad)
	}

	beside := cli(t, "audit", "verify", "--data", data)
	require.Equal(t, exitOK, beside.exit, beside.err)
	assert.Regexp(t, `(?m)^\d+ .* server +- +setting +--auth=true +OK$`, list)
	assert.Regexp(t, `^9 entries, 1 to 9, are as they were written; the last has the hash [0-9a-f]{64}\n$`, beside.out)
	hash := strings.TrimSpace(beside.out[strings.LastIndex(strings.TrimSpace(beside.out), " ")+1:])
	stop()
	require.Equal(t, exitOK, cli(t, "key", "create", "rescue", "--scope", "admin", "--data", data).exit)
	later := cli(t, "audit", "verify", "--data", data, "--known", hash)
	assert.Contains(t, later.out, "11 entries, 1 to 11", later.err)
	assert.Contains(t, cli(t, "audit", "verify", "--data", data, "-o", "json").out, `"last": 11`)
	lost := cli(t, "audit", "verify", "--data", data, "--known", strings.Repeat("0", 63)+"1")
	assert.Equal(t, exitFailed, lost.exit)
	assert.Contains(t, lost.err, "no entry has the hash")
	assert.Equal(t, exitUsage, cli(t, "audit", "verify", "--data", filepath.Join(data, "none")).exit)

	// A server with a damaged log does not start.
	name := filepath.Join(data, "audit", "audit-0000000000000001.log")
	raw, err := os.ReadFile(name)
	require.NoError(t, err)
	raw[len(raw)/2] ^= 1
	require.NoError(t, os.WriteFile(name, raw, 0o600))
	assert.Equal(t, exitFailed, cli(t, "audit", "verify", "--data", data).exit)
	got := cli(t, "serve", "--auth", "--addr", "127.0.0.1:0", "--data", data)
	assert.Equal(t, exitFailed, got.exit)
	assert.Contains(t, got.err, "genkit-wasm audit verify")
}

// A start's settings are in the audit log, those that may hold what is nobody's business by their names alone.
func TestAuditedSettings(t *testing.T) {
	t.Setenv("GENKIT_WASM_SLOTS", "7")
	cmd := (&app{}).serveCommand()
	require.NoError(t, cmd.ParseFlags([]string{"--tenant", "acme", "--tenant", "b", "--quota", `{"queue":3}`, "--usage-sink", `{"url":"https://u:canary@h"}`, "--secret", "A=env:canary"}))
	set, err := settingsOf(cmd.Flags(), "")
	require.NoError(t, err)
	all := auditedSettings(set)
	assert.ElementsMatch(t, []string{"--tenant=acme", "--tenant=b", `--quota={"queue":3}`, "--usage-sink", "--secret", "--slots=7"}, all)
	dir := t.TempDir()
	l, err := openAudit(dir, 0, set, slog.New(slog.DiscardHandler))
	require.NoError(t, err)
	entries, _, err := l.List(audit.Query{What: "setting"})
	require.NoError(t, err)
	require.NoError(t, endAudit(l))
	assert.Len(t, entries, len(all))
	for _, name := range shownSettings {
		assert.NotNil(t, cmd.Flags().Lookup(name), name)
	}
}
