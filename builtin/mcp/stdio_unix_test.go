//go:build unix

package mcp_test

import (
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/builtin/mcp"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// alive reports whether a process runs; one that nobody has waited for does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

func TestClosingKillsTheProcessAndWhatItHasStarted(t *testing.T) {
	for _, kind := range []string{"events", "stays"} {
		h, reg := host(t, mcp.HostConfig{Servers: map[string]mcp.ServerConfig{"fs": stdio(t, kind)}})
		got, err := run(t.Context(), reg, "mcp:tool/fs/spawn", `{}`)
		require.NoError(t, err)
		pid, err := strconv.Atoi(string(got.Output))
		if err != nil {
			pid, err = strconv.Atoi(strings.Trim(string(got.Output), `"`))
		}
		require.NoError(t, err)
		require.True(t, alive(pid), kind)
		require.NoError(t, h.Close())
		assert.Eventually(t, func() bool { return !alive(pid) }, 5*time.Second, 10*time.Millisecond, kind)
		_, err = run(t.Context(), reg, "mcp:tool/fs/echo", `{"text":"hi"}`)
		require.ErrorIs(t, err, status.ErrUnavailable)
	}
}
