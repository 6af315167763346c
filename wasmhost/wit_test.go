package wasmhost_test

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/peer"
	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

const witDir = "testdata/wit"

// What wit-bindgen makes of Rust runs as it is: functions of a string, and of a result of two strings.
func TestModulesOfWitBindgenRun(t *testing.T) {
	wasm, err := os.ReadFile(witDir + "/wit.wasm")
	require.NoError(t, err)
	runWIT(t, wasm)
}

func runWIT(t *testing.T, wasm []byte) {
	t.Helper()
	descriptor, err := os.ReadFile(witDir + "/descriptor.json")
	require.NoError(t, err)
	host, err := wasmhost.New(t.Context(), wasmhost.Config{Limits: policy.Limits{InputBytes: 2 << 20, OutputBytes: 2 << 20}})
	require.NoError(t, err)
	defer func() { assert.NoError(t, host.Close(context.WithoutCancel(t.Context()))) }()
	_, err = host.Load(t.Context(), wasmhost.DefaultTenant, wasmhost.Upload{Wasm: wasm, Descriptor: descriptor})
	require.NoError(t, err)
	call := func(name, in string) (string, error) {
		tool, err := host.Provider(wasmhost.DefaultTenant).Resolve(t.Context(), action.Key{Kind: action.Tool, Name: "wit/" + name})
		require.NoError(t, err)
		out, err := tool.RunJSON(t.Context(), json.RawMessage(in), nil)
		return string(out), err
	}
	megabyte, _ := json.Marshal(strings.Repeat("é", 1<<19))
	shouted, _ := json.Marshal(strings.Repeat("É", 1<<19))
	for range 2 { // from the image as well
		for _, c := range []struct{ tool, in, want string }{
			{"shout", `"héllo → 日本"`, `"HÉLLO → 日本"`}, {"shout", `""`, `""`}, {"shout", string(megabyte), string(shouted)}, {"divide", `"6/3"`, "2"},
		} {
			got, err := call(c.tool, c.in)
			require.NoError(t, err)
			if got != c.want { // a megabyte is not for a message
				t.Errorf("%s: %.80s", c.tool, got)
			}
		}
		_, err = call("divide", `"x"`)
		assert.Equal(t, "INVALID_ARGUMENT: want two whole numbers, such as \"6/3\"", err.Error(), "an error in JSON has its code")
		_, err = call("divide", `"6/0"`)
		assert.Equal(t, status.Internal, status.Of(err))
		assert.Contains(t, err.Error(), "there is no such quotient")
	}
}

// The file that is run above is the one that its sources make, with the compiler that wit.sum names.
func TestTheModuleOfWitBindgenIsOfItsSources(t *testing.T) {
	raw, err := os.ReadFile(witDir + "/wit.sum")
	require.NoError(t, err)
	compiler, sums, _ := strings.Cut(strings.TrimSpace(string(raw)), "\n")
	files := 0
	for line := range strings.Lines(sums) {
		sum, file, ok := strings.Cut(strings.TrimSpace(line), "  ")
		require.True(t, ok, line)
		content, err := os.ReadFile(filepath.Join(witDir, file))
		require.NoError(t, err)
		assert.Equal(t, sum, fmt.Sprintf("%x", sha256.Sum256(content)), "%s: make -C wasmhost/%s fixture", file, witDir)
		files++
	}
	require.Equal(t, 5, files, "four sources and the module")
	if testing.Short() || raced {
		t.Skip("it builds a crate with its dependencies; make long does that")
	}
	version, err := exec.CommandContext(t.Context(), "rustc", "--version").Output()
	if err != nil {
		peer.Missing(t, "rustc is not installed")
	}
	targets, err := exec.CommandContext(t.Context(), "rustc", "--target", "wasm32-wasip1", "--print", "target-libdir").Output()
	if _, stat := os.Stat(strings.TrimSpace(string(targets))); err != nil || stat != nil {
		peer.Missing(t, "rustc has no standard library for wasm32-wasip1: rustup target add wasm32-wasip1")
	}
	dir := t.TempDir()
	out, err := exec.CommandContext(t.Context(), "make", "-C", witDir, "build", "TARGET="+filepath.Join(dir, "target"), "OUT="+filepath.Join(dir, "wit.wasm")).CombinedOutput()
	require.NoError(t, err, "%s", out)
	built, err := os.ReadFile(filepath.Join(dir, "wit.wasm"))
	require.NoError(t, err)
	if strings.TrimSpace(string(version)) == compiler {
		stored, err := os.ReadFile(witDir + "/wit.wasm")
		require.NoError(t, err)
		assert.Equal(t, sha256.Sum256(stored), sha256.Sum256(built), "the same compiler makes the same bytes")
	}
	runWIT(t, built)
}
