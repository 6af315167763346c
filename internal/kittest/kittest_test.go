package kittest_test

import (
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
)

// caseEnv names the call of [kittest.Run] that a child makes.
const caseEnv = "GENKIT_WASM_TEST_KITTEST"

// addition is a kit of two parts for functions that add.
func addition(t *testing.T, add func(a, b int) int) {
	t.Helper()
	t.Run("small numbers", func(t *testing.T) { assert.Equal(t, 3, add(1, 2)) })
	t.Run("negative numbers", func(t *testing.T) { assert.Equal(t, -3, add(-1, -2)) })
}

func adder(fault string) func(a, b int) int {
	return func(a, b int) int {
		switch {
		case fault == "subtracts":
			return a - b
		case fault == "ends the process":
			os.Exit(3)
		case fault == "panics":
			panic(fault)
		case fault == "loses the sign" && a+b < 0:
			return -a - b
		}
		return a + b
	}
}

var cases = map[string]struct {
	fails  string // a text of the failure; empty where Run is to pass
	kit    func(t *testing.T, fault string)
	faults map[string]string
}{
	"all is well":                {"", sums, map[string]string{"subtracts": "small numbers", "loses the sign": "negative numbers", "panics": "small numbers"}},
	"a fault that is no fault":   {"the kit does not find an implementation that adds well", sums, map[string]string{"subtracts": "small numbers", "adds well": ""}},
	"found by another part":      {`is not found by the part "small numbers", but by ["negative_numbers"]`, sums, map[string]string{"loses the sign": "small numbers"}},
	"a part that nothing fails":  {`no fault has the part "small_numbers" of the kit fail`, sums, map[string]string{"loses the sign": "negative numbers"}},
	"no failure but an end":      {"the kit does not fail, but: exit status 3", sums, map[string]string{"subtracts": "small numbers", "ends the process": ""}},
	"a kit that refuses us all":  {"the kit refuses an implementation that is right", func(t *testing.T, _ string) { t.Helper(); t.Fail() }, map[string]string{"any": ""}},
	"a kit that never fails":     {"the kit does not find an implementation that subtracts", func(*testing.T, string) {}, map[string]string{"subtracts": ""}},
	"a kit without parts, found": {"", func(t *testing.T, fault string) { t.Helper(); assert.Empty(t, fault) }, map[string]string{"any": ""}},
}

func sums(t *testing.T, fault string) { t.Helper(); addition(t, adder(fault)) }

// TestRun is also the child of [TestAKitThatCantFailIsFound], and fails there.
func TestRun(t *testing.T) {
	c, ok := cases[os.Getenv(caseEnv)]
	if !ok {
		c = cases["all is well"]
	}
	kittest.Run(t, c.kit, c.faults)
}

func TestAKitThatCantFailIsFound(t *testing.T) {
	exe, err := os.Executable()
	require.NoError(t, err)
	for name, c := range cases {
		cmd := exec.CommandContext(t.Context(), exe, "-test.run=^TestRun$")
		cmd.Env = append(os.Environ(), caseEnv+"="+name)
		out, err := cmd.CombinedOutput()
		if c.fails == "" {
			assert.NoError(t, err, "%s:\n%s", name, out)
			continue
		}
		assert.Error(t, err, name)
		assert.Contains(t, string(out), c.fails, name)
	}
}
