package module_test

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module/moduletest"
)

const crashEnv = "GENKIT_WASM_TEST_PUT_INTO"

// TestMain is also the child of [TestDirSurvivesKill]: it uploads into a directory
// until it is killed, and says after each upload that it is stored.
func TestMain(m *testing.M) {
	path := os.Getenv(crashEnv)
	if path == "" {
		os.Exit(m.Run())
	}
	d, err := module.OpenDir(path)
	if err != nil {
		fmt.Fprintln(os.Stdout, "error", err)
		os.Exit(1)
	}
	for i := 0; ; i++ {
		rec, wasm := moduletest.Record("default", "textkit", strings.Repeat(strconv.Itoa(i), 20_000))
		rec, err := d.Put(context.Background(), rec, wasm)
		if err != nil {
			fmt.Fprintln(os.Stdout, "error", err)
			os.Exit(1)
		}
		fmt.Fprintln(os.Stdout, rec.Revision)
	}
}

// TestDirSurvivesKill kills a process that uploads in a loop, at random moments,
// and looks at what it leaves: the last revision that it called stored, or the one
// after, is current and whole.
func TestDirSurvivesKill(t *testing.T) {
	rounds := 40
	if testing.Short() {
		rounds = 5
	}
	path, last := t.TempDir(), 0
	for i := 0; i < rounds || last == 0 && i < 10*rounds; i++ { // a busy machine may need more time
		last = max(last, killed(t, path, time.Duration(60+i)*time.Millisecond))
		d, err := module.OpenDir(path)
		require.NoError(t, err)
		all, err := d.Current(t.Context())
		require.NoError(t, err)
		if last > 0 {
			require.Len(t, all, 1)
			require.Empty(t, all[0].Problem)
			assert.Contains(t, []int{last, last + 1}, all[0].Revision)
			last = all[0].Revision
			versions, err := d.Versions(t.Context(), "default", "textkit")
			require.NoError(t, err)
			require.Len(t, versions, last)
			for _, v := range versions[:min(len(versions), 3)] {
				require.Empty(t, v.Problem)
				_, err := d.Wasm(t.Context(), v.Digest)
				require.NoError(t, err)
			}
		}
		require.NoError(t, d.Close())
		requireTidy(t, path)
	}
	t.Logf("%d processes killed, %d revisions stored", rounds, last)
	require.Positive(t, last, "no upload was ever finished")
}

// killed lets a child upload for a moment, at most so long, and returns the last revision
// that it called stored.
func killed(t *testing.T, path string, most time.Duration) int {
	t.Helper()
	exe, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), crashEnv+"="+path)
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	timer := time.AfterFunc(5*time.Millisecond+rand.N(most), func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	last := 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		n, err := strconv.Atoi(lines.Text())
		if err != nil {
			// A line that the kill has cut is no answer; an error is.
			require.NotContains(t, lines.Text(), "error")
			continue
		}
		last = n
	}
	_ = cmd.Wait() // it was killed
	return last
}
