package main

import (
	"errors"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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
	for name, text := range configs {
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
