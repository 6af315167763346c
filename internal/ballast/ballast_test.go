package ballast_test

import (
	"bytes"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/internal/ballast"
)

var sink []byte

// collections returns how many collections so many bytes of garbage bring.
func collections(garbage int) uint32 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for range garbage >> 14 {
		sink = make([]byte, 16<<10)
	}
	runtime.ReadMemStats(&after)
	return after.NumGC - before.NumGC
}

func TestGarbageIsCollectedLessOften(t *testing.T) {
	const garbage = 1 << 30
	without := collections(garbage)
	release := ballast.Keep(128 << 20)
	with := collections(garbage)
	release()
	assert.Less(t, with, without/3, "%d collections without", without)
	assert.Positive(t, with, "garbage is collected all the same")
}

// alone marks the process in which no other test runs.
const alone = "BALLAST_TEST_ALONE"

func TestItTakesNoMemory(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the memory that a process has of the machine is read from Linux's /proc")
	}
	if os.Getenv(alone) == "" { // what other tests have freed would count
		cmd := exec.Command(os.Args[0], "-test.run=^TestItTakesNoMemory$", "-test.v")
		cmd.Env = append(os.Environ(), alone+"=1")
		out, err := cmd.CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.Contains(t, string(out), "--- PASS: TestItTakesNoMemory")
		return
	}
	var used [][]byte
	for range 40 { // what a program has done before
		used = append(used, bytes.Repeat([]byte{1}, 1<<20))
	}
	runtime.KeepAlive(used)
	runtime.GC()
	before := resident(t)
	release := ballast.Keep(512 << 20)
	runtime.GC()
	held := resident(t) - before
	release()
	assert.Less(t, held, 64<<20, "a ballast of 512 MiB")
}

// resident returns the bytes of memory that this process has.
func resident(t *testing.T) int {
	raw, err := os.ReadFile("/proc/self/statm")
	require.NoError(t, err)
	pages, err := strconv.Atoi(strings.Fields(string(raw))[1])
	require.NoError(t, err)
	return pages * os.Getpagesize()
}
