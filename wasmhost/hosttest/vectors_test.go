package hosttest_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/genkit-wasm/genkit-wasm/wasmhost"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/hosttest"
)

const pdk = "../../pdk"

func TestMain(m *testing.M) {
	program = wasmhost.CompileChild()
	goleak.VerifyTestMain(m)
}

// program starts this test again as a compiling process or a worker.
var program []string

// inBothModes runs a test with guests in this process, and in worker processes.
func inBothModes(t *testing.T, test func(t *testing.T, configure func(*wasmhost.Config))) {
	t.Helper()
	cache := t.TempDir() // hosts are many, and the module is the same in all of them
	for _, mode := range []wasmhost.Isolation{wasmhost.InProcess, wasmhost.Process} {
		t.Run(string(mode), func(t *testing.T) {
			test(t, func(c *wasmhost.Config) { c.Isolation, c.Compiler, c.CacheDir = mode, program, cache })
		})
	}
}

// The C module uses genkit_v1 and carries its descriptor in a custom section.
func TestVectorsHoldForTheCModule(t *testing.T) {
	runPrebuilt(t, filepath.Join(pdk, "conformance/c/conformance.wasm"))
}

func runPrebuilt(t *testing.T, file string) {
	t.Helper()
	wasm, err := os.ReadFile(file)
	require.NoError(t, err)
	inBothModes(t, func(t *testing.T, configure func(*wasmhost.Config)) {
		hosttest.RunVectors(t, wasm, filepath.Join(pdk, "vectors"), configure)
	})
}

func TestCapabilityVectorsHoldForTheCModule(t *testing.T) {
	wasm, err := os.ReadFile(filepath.Join(pdk, "conformance/c/capabilities.wasm"))
	require.NoError(t, err)
	inBothModes(t, func(t *testing.T, configure func(*wasmhost.Config)) {
		hosttest.RunCapabilityVectors(t, wasm, filepath.Join(pdk, "vectors/capabilities"), configure)
	})
}
