package main

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/internal/peer"
)

// The configurations in deploy and in the documentation are ones that a server takes.
func TestConfigurationsToStartFromAreInOrder(t *testing.T) {
	doc, err := os.ReadFile("../../docs/operations.md")
	require.NoError(t, err)
	block := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindSubmatch(doc)
	require.NotNil(t, block)
	configs := map[string]string{"docs/operations.md": string(block[1])}

	raw, err := os.ReadFile("../../deploy/kubernetes/genkit-wasm.yaml")
	require.NoError(t, err)
	kinds := map[string]bool{}
	for dec := yaml.NewDecoder(strings.NewReader(string(raw))); ; {
		var object struct {
			APIVersion string `yaml:"apiVersion"`
			Kind       string
			Metadata   struct{ Name string }
			Data       map[string]string
		}
		err := dec.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		require.NoError(t, err)
		assert.NotEmpty(t, object.APIVersion)
		assert.Equal(t, "genkit-wasm", object.Metadata.Name)
		kinds[object.Kind] = true
		maps.Copy(configs, object.Data)
	}
	assert.Equal(t, map[string]bool{"ConfigMap": true, "PersistentVolumeClaim": true, "StatefulSet": true, "Service": true}, kinds)
	require.Len(t, configs, 2)
	cert, key := certificate(t, t.TempDir(), 1)
	for name, text := range configs {
		// The files that they name are not those of this machine.
		text = regexp.MustCompile(`(?m)^tls-cert: .*`).ReplaceAllString(text, "tls-cert: "+filepath.ToSlash(cert))
		text = regexp.MustCompile(`(?m)^tls-key: .*`).ReplaceAllString(text, "tls-key: "+filepath.ToSlash(key))
		got := cli(t, "config", "check", write(t, "server.yaml", text))
		assert.Equal(t, exitOK, got.exit, "%s: %s", name, got.err)
	}
}

func TestTheUnitIsOneOfSystemd(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		peer.Missing(t, "systemd-analyze is not installed")
	}
	unit, err := os.ReadFile("../../deploy/genkit-wasm.service")
	require.NoError(t, err)
	self, err := os.Executable() // the command has to be there
	require.NoError(t, err)
	file := filepath.Join(t.TempDir(), "genkit-wasm.service")
	require.NoError(t, os.WriteFile(file, []byte(strings.ReplaceAll(string(unit), "/usr/local/bin/genkit-wasm", self)), 0o600))
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", file).CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Empty(t, string(out))
}

// What the documents have in files, a service of the unit can read and write: the keys are credentials of it, and the
// rest is below its directories. A server starts with the configuration of the documents and those credentials.
func TestTheUnitHasTheFilesOfTheDocuments(t *testing.T) {
	raw, err := os.ReadFile("../../deploy/genkit-wasm.service")
	require.NoError(t, err)
	unit := string(raw)
	places := []string{"/run/secrets/"} // those of containers
	for setting, root := range map[string]string{"StateDirectory": "/var/lib/", "LogsDirectory": "/var/log/"} {
		if m := regexp.MustCompile(`(?m)^` + setting + `=(\S+)$`).FindStringSubmatch(unit); m != nil {
			places = append(places, root+m[1])
		}
	}
	const credentials = "/etc/genkit-wasm/"
	t.Setenv("CREDENTIALS_DIRECTORY", "/run/credentials")
	for _, m := range regexp.MustCompile(`(?m)^#?LoadCredential=(\S+?):(\S+)$`).FindAllStringSubmatch(unit, -1) {
		assert.Equal(t, credentials+m[1], m[2], "a file is found in both places")
		places = append(places, "/run/credentials/"+m[1])
	}
	var config string
	for _, name := range []string{"operations", "usage", "secrets", "access"} {
		doc, err := os.ReadFile("../../docs/" + name + ".md")
		require.NoError(t, err)
		for _, block := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(doc, -1) {
			text := string(block[1])
			if config == "" {
				config = text
			}
			text = regexp.MustCompile(`\$\{(\w+)(:-[^}]*)?\}`).ReplaceAllStringFunc(text, func(s string) string {
				return os.Getenv(strings.SplitN(s[2:len(s)-1], ":", 2)[0])
			})
			for _, path := range regexp.MustCompile(`(?:[ "@])(/[^\s"',}]+)`).FindAllStringSubmatch(text, -1) {
				assert.True(t, slices.ContainsFunc(places, func(place string) bool { return strings.HasPrefix(path[1], place) }),
					"docs/%s.md: the unit gives its service no %s, but %q", name, path[1], places)
			}
		}
	}

	dir := t.TempDir()
	cert, key := certificate(t, dir, 1)
	require.NoError(t, os.Chmod(key, 0o400))
	t.Setenv("CREDENTIALS_DIRECTORY", dir)
	require.Equal(t, []string{"cert.pem", "key.pem"}, []string{filepath.Base(cert), filepath.Base(key)})
	_, printed, _, _ := start(t, t.TempDir(), "--config", write(t, "server.yaml", config), "--isolation", "in-process")
	assert.Contains(t, printed, "admin key")
}
