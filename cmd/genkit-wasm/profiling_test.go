package main

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Profiles have an address of their own, and with --auth they are for admins.
func TestServeHasProfiles(t *testing.T) {
	url, root, log, stop := startGuarded(t, t.TempDir(), "--pprof", "localhost:0")
	defer stop()
	_, rest, ok := strings.Cut(log.String(), `"msg":"profiles are served","url":"`)
	require.True(t, ok, log.String())
	profiles, _, _ := strings.Cut(rest, `"`)
	get := func(url, key string) (int, string) {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		require.NoError(t, err)
		if key != "" {
			req.Header.Set("Authorization", "Bearer "+key)
		}
		resp, err := httpClient().Do(req)
		require.NoError(t, err)
		defer resp.Body.Close()
		raw, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(raw)
	}
	code, list := get(profiles, root)
	assert.Equal(t, http.StatusOK, code)
	assert.Contains(t, list, "heap\n")
	code, _ = get(profiles, "")
	assert.Equal(t, http.StatusUnauthorized, code)
	t.Setenv(keyEnv, root)
	code, _ = get(profiles, strings.TrimSpace(cli(t, "key", "create", "reader", "--scope", "default:read", "--server", url).out))
	assert.Equal(t, http.StatusForbidden, code)
	code, _ = get(url+"/debug/pprof/", root)
	assert.Equal(t, http.StatusNotFound, code, "the address of the API has none")
	assert.NotContains(t, log.String(), root)
	taken := cli(t, "serve", "--addr", "127.0.0.1:0", "--data", t.TempDir(), "--pprof", strings.TrimPrefix(url, "http://"))
	assert.Equal(t, exitFailed, taken.exit)
	assert.Contains(t, taken.err, "choose another port with --pprof")
}

func TestAProfilesAddressIsOfThisMachine(t *testing.T) {
	got := cli(t, "serve", "--addr", "127.0.0.1:0", "--data", t.TempDir(), "--pprof", "0.0.0.0:0")
	assert.Equal(t, exitUsage, got.exit)
	assert.Contains(t, got.err, `--pprof "0.0.0.0:0": profiles are served on loopback addresses only`)
	assert.Equal(t, exitUsage, cli(t, "config", "check", write(t, "c.yaml", "pprof: 0.0.0.0:6060\n")).exit)
}
