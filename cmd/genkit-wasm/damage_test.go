package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The one tenant of a server whose record is damaged says so, and what to do, and a command brings it back.
func TestADamagedTenantIsRepairedByACommand(t *testing.T) {
	data := t.TempDir()
	dir := filepath.Join(data, "tenants", "tenant")
	require.NoError(t, os.MkdirAll(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "default.json"), nil, 0o600))
	url, log := startLogged(t, "--data", data, "--tenant-quota", `default={"concurrency":3}`)
	on := func(args ...string) outcome { return cli(t, append(args, "--server", url)...) }
	assert.Contains(t, log.String(), "a stored tenant can't be read")
	assert.Regexp(t, `(?m)^default .* damaged, problem: .*genkit-wasm tenant repair default`, on("tenant", "ls").out)
	for _, args := range [][]string{
		{"upload", calcFile},
		{"call", "calc/add"},
		{"tenant", "set", "default", "--group", "g"},
		{"tenant", "create", "default"},
		{"tenant", "rm", "default", "--yes"},
		{"tenant", "suspend", "default"},
		{"generate", "--model", "test/scripted", "x"},
	} {
		got := on(args...)
		assert.Equal(t, exitFailed, got.exit, args)
		assert.Contains(t, got.err, "genkit-wasm tenant repair default", args)
		assert.NotContains(t, got.err, "suspended", args)
		assert.NotContains(t, got.err, "exists", args)
	}
	assert.NotEqual(t, exitOK, on("tenant", "repair", "default", "--quota", `{"queue":-1}`).exit)
	assert.Equal(t, "tenant default is repaired\n", on("tenant", "repair", "default", "--display-name", "D").out)
	assert.Equal(t, exitOK, on("upload", calcFile).exit)
	assert.Contains(t, on("tenant", "repair", "default").err, "not damaged")
	assert.Contains(t, on("tenant", "show", "default").out, "D")
}
