package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// What a check refuses a start refuses with the same words, before it makes anything.
func TestACheckAndAStartRefuseTheSame(t *testing.T) {
	dir := t.TempDir()
	require.NoError(t, os.Symlink(dir, filepath.Join(dir, "link")))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "full"), nil, 0o600))
	t.Setenv("REFUSED_EMPTY", "")
	nine := "usage-sink:\n" + strings.Repeat(`  - {url: "https://b", name: n}`+"\n", 9)
	for i := range 9 {
		nine = strings.Replace(nine, "name: n}", "name: n"+string(rune('0'+i))+"}", 1)
	}
	for text, says := range map[string]string{
		`usage-sink: [{url: "https://b", name: ".."}]`:  `sink "..": want a name of its own`,
		`usage-sink: [{url: "https://b", name: "a/b"}]`: `sink "a/b": want a name of its own`,
		`usage-sink: {url: "https://b", name: B}`:       `sink "B": want a name of its own`,
		nine:                             `9 sinks exceed the limit of 8`,
		`usage-sink: [{file: DIR}]`:      `is a directory, want a file`,
		`usage: DIR`:                     `is a directory, want a file`,
		`data: ""`:                       `--data is empty`,
		`data: ${REFUSED_EMPTY}`:         `--data is empty`,
		`data: DIR/full`:                 `is no directory`,
		`tenant: {acme: 1}`:              `want a list`,
		`usage-sink: {file: DIR/none/a}`: `there is no directory`,
		`usage-sink: [{file: DIR/a}, {file: DIR/../DIRNAME/a, name: b}]`: `is that of --usage-sink file`,
		`usage-sink: [{file: DIR/a}, {file: DIR/link/a, name: b}]`:       `is that of --usage-sink file`,
		"usage: DIR/a\nusage-sink: [{file: DIR/a}]":                      `is that of --usage`,
		`usage-sink: [{otlp: "http://b:4318", queueBytes: 5}]`:           `"queueBytes" is 5, want 0 (not set) or 2097152 to `,
		`usage-sink: [{file: DIR/a, queueBytes: 65535}]`:                 `want 0 (not set) or 65536 to `,
	} {
		text = strings.NewReplacer("DIRNAME", filepath.Base(dir), "DIR", dir).Replace(text)
		if !strings.Contains(text, "data:") {
			text += "\ndata: " + dir + "/made"
		}
		t.Chdir(t.TempDir())
		file := write(t, "server.yaml", text+"\naddr: 127.0.0.1:0\n")
		check, serve := cli(t, "config", "check", file), cli(t, "serve", "--config", file)
		assert.Equal(t, exitUsage, check.exit, "%s: %s", text, check.err)
		assert.Contains(t, check.err, says, text)
		assert.Contains(t, check.err, "server.yaml:", text)
		check.err = strings.Replace(check.err, "genkit-wasm config check --help", "genkit-wasm serve --help", 1)
		assert.Equal(t, check, serve, text)
		here, err := os.ReadDir(".")
		require.NoError(t, err)
		assert.Empty(t, here, text)
		there, err := os.ReadDir(dir)
		require.NoError(t, err)
		assert.Len(t, there, 2, text)
	}
	mapping := write(t, "server.yaml", "usage-sink: {file: "+dir+"/a}\noidc: {issuer: \"https://id.example\", audience: a, rules: [{claim: c, value: v, scopes: [admin]}]}\nauth: true\n")
	assert.Equal(t, outcome{out: "the configuration is in order\n"}, cli(t, "config", "check", mapping), "a list of one")
}
