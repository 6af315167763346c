package hosttest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// zeros reports whether text holds nothing but NUL.
func zeros(text string) bool { return strings.Trim(text, "\x00") == "" }

func systemCases() []Case {
	wasi := func(name, params string, code ...[]byte) func() *guest {
		return func() *guest {
			g := native()
			f := g.use(wasiModule, name, params, "i")
			g.data = "etc/passwd"
			// The call's errno becomes the output: one byte, "0" and up.
			return g.tool("", i32(4096), cat(code...), call(f), i32('0'), add, i32Store, i32(4096), i32(1), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
		}
	}
	const badf, nosys, perm = `"8"`, `"d"`, `"o"` // EBADF, ENOSYS, EPERM: there is nothing
	return []Case{
		calling("F01", "opening a file of the machine", wasi("path_open", "iiiiiIIii", i32(3), i32(1), i32(0), i32(10), i32(0), i64(-1), i64(-1), i32(0), i32(512)), `"x"`, answers(badf, nosys, perm), status.OK),
		calling("F02", "a link out of a folder", wasi("path_symlink", "iiiii", i32(0), i32(10), i32(3), i32(0), i32(3)), `"x"`, answers(badf, nosys), status.OK),
		calling("F03", "the folders that the host has opened", wasi("fd_prestat_get", "ii", i32(3), i32(512)), `"x"`, answers(badf), status.OK),
		calling("F04", "a socket", wasi("sock_accept", "iii", i32(3), i32(0), i32(512)), `"x"`, answers(badf, nosys), status.OK),
		calling("F05", "the environment of the process", func() *guest {
			g := native()
			f := g.use(wasiModule, "environ_get", "ii", "i")
			return g.tool("", i32(64), i32(1024), call(f), drop, i32(0), i32(8192), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
		}, `"x"`, func(t *testing.T, _ *stage, o outcome) {
			t.Helper()
			var text string
			require.NoError(t, json.Unmarshal(o.out, &text))
			assert.True(t, zeros(text), "%q", text)
		}, status.OK),
		scripted("F06", "the time of day, to measure the host with", "a clock that stands still", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			f := g.use(wasiModule, "clock_time_get", "iIi", "i")
			now := func(id, at int64) []byte { return cat(i32(id), i64(0), i32(at), call(f), drop) }
			g.tool("i", now(0, 512), now(1, 528), times(0, 10_000), now(0, 520), now(1, 536), digits(512, 32), says(64)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			first := textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil))
			assert.Equal(t, first, textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)), "the next call sees another time")
			require.Len(t, first, 64)
			assert.NotEqual(t, strings.Repeat("a", 16), first[:16])
			assert.Equal(t, first[:16], first[16:32], "the time of day moved")
			assert.Equal(t, first[32:48], first[48:], "the other clock moved")
		}),
	}
}

func textOf(t *testing.T, o outcome) string {
	t.Helper()
	require.NoError(t, o.err)
	var text string
	require.NoError(t, json.Unmarshal(o.out, &text), fmt.Sprint(string(o.out)))
	return text
}
