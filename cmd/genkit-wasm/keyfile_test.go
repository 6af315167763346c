//go:build unix

package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestAKeyFileIsNotForOthers(t *testing.T) {
	file := write(t, "the.key", "x")
	link := filepath.Join(t.TempDir(), "link")
	require.NoError(t, os.Symlink(file, link))
	for mode, refused := range map[fs.FileMode]bool{
		0o600: false, 0o400: false, 0o440: false, 0o640: false, 0o700: false,
		0o644: true, 0o604: true, 0o601: true, 0o602: true, 0o660: true, 0o666: true, 0o444: true,
	} {
		require.NoError(t, os.Chmod(file, mode))
		for _, named := range []string{file, link} {
			err := checkKeyFile("--x", named)
			assert.Equal(t, refused, err != nil, "%04o", mode)
			if refused {
				assert.ErrorContains(t, err, "--x: ")
				assert.ErrorContains(t, err, `"chmod 600 `+named+`"`)
			}
		}
	}
	assert.NoError(t, checkKeyFile("--x", filepath.Join(t.TempDir(), "none")), "who reads it tells")
	assert.NoError(t, checkKeyFile("--x", os.DevNull), "what is no file has no such mode")
}

// Each file with a key that serve reads is looked at.
func TestServeRefusesKeyFilesOfOthers(t *testing.T) {
	cert, key := certificate(t, t.TempDir(), 1)
	secretsKey := write(t, "secrets.key", cli(t, "secret", "key").out)
	value := write(t, "value", firstSecret)
	header := write(t, "header", "Bearer x")
	for file, args := range map[string][]string{
		key:        {"--tls-cert", cert, "--tls-key", key},
		secretsKey: {"--secrets-key-file", secretsKey},
		value:      {"--secret", "A=@" + value},
		header:     {"--usage-sink", `{"url":"https://192.0.2.1/","header":{"Authorization":"@` + header + `"}}`},
	} {
		require.NoError(t, os.Chmod(file, 0o644)) //nolint:gosec // that is what is tried
		got := cli(t, append([]string{"serve", "--addr", "127.0.0.1:0", "--data", t.TempDir()}, args...)...)
		assert.Equal(t, exitUsage, got.exit, args)
		assert.Contains(t, got.err, "chmod 600 "+file, args)
		assert.NotContains(t, got.err, firstSecret)
	}
}
