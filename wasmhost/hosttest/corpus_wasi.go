package hosttest

import (
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

const wasiModule = "wasi_snapshot_preview1"

// wasiCases are about the work that WASI does for a guest, and what it keeps.
func wasiCases() []Case {
	late, spent := status.DeadlineExceeded, status.ResourceExhausted
	list := []Case{
		calls("F07", "reads into four million buffers, over and over", vectors("fd_read", 0), "", late, spent),
		calls("F08", "writes from four million buffers, over and over", vectors("fd_write", 1), "", late, spent),
		scripted("F09", "closing what is printed to, for the calls to come", "each call has its own", func(t *testing.T, s *stage) {
			t.Helper()
			g := native()
			f := g.use(wasiModule, "fd_close", "i", "i")
			g.tool("", errno(0, i32(2), call(f)), errno(1, i32(2), call(f)), says(2)).with("f", `"io":"text"`)
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 3 {
				assert.Equal(t, "08", textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)))
			}
		}),
		calling("F10", "waiting without a clock, for nothing, for too much, and with the answer outside of memory", poll(4, func(f uint32) []byte {
			return cat(
				errno(0, i32(0), i32(2048), i32(1), i32(2560), call(f)), // standard input, which is at its end
				errno(1, i32(0), i32(2048), i32(0), i32(2560), call(f)),
				errno(2, i32(0), i32(2048), i32(1<<30), i32(2560), call(f)),
				errno(3, i32(0), i32(65_520), i32(1), i32(2560), call(f)),
			)
		}, subscription(1, 0, 0)), `"x"`, answers(`"0LLE"`), status.OK),
		calling("F11", "waiting for two clocks, of which one is a millisecond away", poll(3, func(f uint32) []byte {
			return cat(errno(0, i32(0), i32(2048), i32(2), i32(2560), call(f)), errno(1, i32(2560), i32Load), errno(2, i32(2048), i32Load))
		}, subscription(0, 7, uint64(time.Hour)), subscription(0, 9, uint64(time.Millisecond))), `"x"`, answers(`"019"`), status.OK),
		calls("F12", "sleeping for longer than there is time", poll(1, func(f uint32) []byte {
			return errno(0, i32(0), i32(2048), i32(2), i32(2560), call(f))
		}, subscription(0, 0, 1<<64-1), subscription(0, 1, 1<<63)), `"x"`, late),
		calling("F13", "a descriptor numbered two billion, in a mount", opener("a.txt", 0, func(g *guest, open []byte) []byte {
			f := g.use(wasiModule, "fd_renumber", "ii", "i")
			renumber := func(k, to int64) []byte { return errno(k, i32(512), i32Load, i32(to), call(f)) }
			return cat(errno(0, open), renumber(1, 2147483647), renumber(2, 200), renumber(3, -1), says(4))
		}), `"x"`, answers(`"0888"`), status.OK),
		calls("F14", "opening files without end, in a mount", opener("a.txt", 0, func(_ *guest, open []byte) []byte {
			return cat(forever(open, drop), i32(0))
		}), `"x"`, late, spent),
		scripted("F15", "files that are left open for the calls to come", "each call has its own", func(t *testing.T, s *stage) {
			t.Helper()
			g := opener("a.txt", 0, func(_ *guest, open []byte) []byte { return cat(errno(0, open), errno(1, i32(512), i32Load), says(2)) })()
			require.NoError(t, s.load(t.Context(), g.upload("hostile")))
			for range 200 {
				require.Equal(t, "04", textOf(t, s.call(t.Context(), "hostile/f", `"x"`, nil)))
			}
		}),
		calling("F16", "a link out of a mount", reads("leak"), `"x"`, answers(`"o"`), status.OK),
		calling("F17", "a path out of a mount", reads("sub/../../secret.txt"), `"x"`, answers(`"o"`), status.OK),
		calling("F18", "a new file in a mount that is for reading", opener("new", 1, func(_ *guest, open []byte) []byte {
			return cat(errno(0, open), says(1))
		}), `"x"`, answers(`"u"`), status.OK),
		calling("F20", "a path through a link to a folder outside", reads("out/secret.txt"), `"x"`, answers(`"o"`), status.OK).seen("wazero/wazero#2321"),
		calling("F21", "paths that are none: from the root, of five thousand bytes, with a zero in them, in no UTF-8", func() *guest {
			g := native()
			f := g.use(wasiModule, "path_open", "iiiiiIIii", "i")
			g.data, g.grants, g.pages = "/etc/passwd"+"a\x00b"+"\xff\xfe"+strings.Repeat("a/", 2500), `{"files":[{"mount":"`+mountName+`","path":"/docs"}]}`, 2
			open := func(k, at, length int64) []byte {
				return errno(8192+k-4096, i32(3), i32(1), i32(at), i32(length), i32(0), i64(2), i64(0), i32(0), i32(6144), call(f))
			}
			return g.tool("", open(0, 0, 11), open(1, 11, 3), open(2, 14, 2), open(3, 16, 5000), open(4, 16, -1), open(5, 16, 0), i32(8192), i32(6), call(nativeOutput), i32(0)).with("f", `"io":"text"`)
		}, `"x"`, answers(`"oLIUU\\"`), status.OK).seen("Milky2018/wasmoon#294"),
		calling("F22", "changing a mount that is for reading: a folder, a link, another name, none at all, shorter", changing(), `"x"`, answers(`"uoouuuu"`), status.OK).seen("extism/go-sdk: paths that are for reading"),
		calling("F23", "a descriptor that is moved onto itself, and onto one that was closed", opener("a.txt", 0, func(g *guest, open []byte) []byte {
			f, shut := g.use(wasiModule, "fd_renumber", "ii", "i"), g.use(wasiModule, "fd_close", "i", "i")
			fd := cat(i32(512), i32Load)
			return cat(errno(0, open), errno(1, fd, fd, call(f)), errno(2, open), errno(3, fd, call(shut)), errno(4, i32(4), fd, call(f)), errno(5, open), errno(6, fd, call(shut)), errno(7, i32(4), call(shut)), says(8))
		}), `"x"`, answers(`"00008000"`), status.OK).seen("CVE-2025-53901"),
		calling("F24", "entries of a folder from a place that nobody gave", opener("sub", 0, func(g *guest, open []byte) []byte {
			f := g.use(wasiModule, "fd_readdir", "iiiIi", "i")
			return cat(errno(0, open), errno(1, i32(512), i32Load, i32(1024), i32(1000), i64(1<<40), i32(600), call(f)), errno(2, i32(512), i32Load, i32(-8), i32(1000), i64(0), i32(600), call(f)), says(3))
		}), `"x"`, answers(`"0\\E"`), status.OK),
		calling("F25", "buffers outside of memory, and lengths that wrap, for WASI's other functions", func() *guest {
			g := native()
			random, sizes, clock, stat := g.use(wasiModule, "random_get", "ii", "i"), g.use(wasiModule, "environ_sizes_get", "ii", "i"), g.use(wasiModule, "clock_time_get", "iIi", "i"), g.use(wasiModule, "fd_fdstat_get", "ii", "i")
			return g.tool("", errno(0, i32(1), i32(-1), call(random)), errno(1, i32(65_535), i32(0), call(sizes)), errno(2, i32(0), i64(0), i32(-4), call(clock)), errno(3, i32(1), i32(65_520), call(stat)), says(4)).with("f", `"io":"text"`)
		}, `"x"`, answers(`"EEEE"`), status.OK).seen("oven-sh/bun#39100", "Lind-Project/lind-wasm#1086"),
		calling("F26", "a thousand subscriptions, of which the events lie over them", poll(2, func(f uint32) []byte {
			return cat(errno(0, i32(0), i32(0), i32(2), i32(2560), call(f)), errno(1, i32(2560), i32Load))
		}, subscription(2, 0, 1), subscription(2, 0, 1)), `"x"`, answers(`"02"`), status.OK).seen("wasm-micro-runtime/wasm-micro-runtime#4964"),
		calling("F19", "what a mount is for", reads("a.txt"), `"x"`, answers(`"hello"`), status.OK),
	}
	return list
}

// answers checks the output.
func answers(want ...string) func(*testing.T, *stage, outcome) {
	return func(t *testing.T, _ *stage, o outcome) {
		t.Helper()
		assert.Contains(t, want, string(o.out))
	}
}

// errno writes the number that code leaves on the stack as digit k of the answer, at 4096:
// "0" and up.
func errno(k int64, code ...[]byte) []byte {
	return cat(i32(4096+k), cat(code...), i32('0'), add, i32Store8)
}

// says outputs the first n digits of the answer.
func says(n int64) []byte { return cat(i32(4096), i32(n), call(nativeOutput), i32(0)) }

// digits makes n bytes from an address digits of the answer, two for each, "a" to "p".
func digits(at, n int64) []byte {
	var code []byte
	for i := range 2 * n {
		half := cat(i32(at+i/2), i32Load8)
		if i%2 == 1 {
			half = cat(half, i32(4), shiftRight)
		}
		code = append(code, cat(i32(4096+i), half, i32(15), and, i32('a'), add, i32Store8)...)
	}
	return code
}

// changing is a guest that tries every change of a mount.
func changing() func() *guest {
	return func() *guest {
		g := native()
		g.data, g.grants = "a.txtnew", `{"files":[{"mount":"`+mountName+`","path":"/docs"}]}`
		old, new := cat(i32(0), i32(5)), cat(i32(5), i32(3))
		use := func(name, params string) []byte { return call(g.use(wasiModule, name, params, "i")) }
		mkdir, symlink, rename, unlink, truncate, link, rmdir := use("path_create_directory", "iii"), use("path_symlink", "iiiii"), use("path_rename", "iiiiii"), use("path_unlink_file", "iii"), use("path_open", "iiiiiIIii"), use("path_link", "iiiiiii"), use("path_remove_directory", "iii")
		return g.tool("",
			errno(0, i32(3), new, mkdir), errno(1, old, i32(3), new, symlink), errno(2, i32(3), i32(0), old, i32(3), new, link), errno(3, i32(3), old, i32(3), new, rename),
			errno(4, i32(3), old, unlink), errno(5, i32(3), i32(1), old, i32(8), i64(2), i64(0), i32(0), i32(512), truncate), errno(6, i32(3), new, rmdir), says(7)).with("f", `"io":"text"`)
	}
}

// vectors calls fd_read or fd_write with four million buffers of no length, in a loop.
func vectors(name string, fd int64) func() *guest {
	return func() *guest {
		g := native()
		f := g.use(wasiModule, name, "iiii", "i")
		g.pages = 512
		return g.tool("", forever(i32(fd), i32(64), i32(4_000_000), i32(0), call(f), drop)).under("memoryBytes", 64<<20)
	}
}

// subscription is one of poll_oneoff's: to a clock (0), to reading (1) or writing (2) fd 0.
func subscription(kind byte, user, timeout uint64) []byte {
	b := make([]byte, 48)
	binary.LittleEndian.PutUint64(b, user)
	b[8] = kind
	binary.LittleEndian.PutUint64(b[24:], timeout)
	return b
}

// poll is a guest that has subscriptions at 0 and says n digits.
func poll(n int64, code func(f uint32) []byte, subscriptions ...[]byte) func() *guest {
	return func() *guest {
		g := native()
		f := g.use(wasiModule, "poll_oneoff", "iiii", "i")
		g.data = string(cat(subscriptions...))
		return g.tool("", code(f), says(n)).with("f", `"io":"text"`)
	}
}

// opener is a guest with a mount. open is the call that opens name there with some flags; it
// leaves the errno on the stack, and the descriptor at 512.
func opener(name string, oflags int64, code func(g *guest, open []byte) []byte) func() *guest {
	return func() *guest {
		g := native()
		f := g.use(wasiModule, "path_open", "iiiiiIIii", "i")
		g.data, g.grants = name, `{"files":[{"mount":"`+mountName+`","path":"/docs"}]}`
		open := cat(i32(3), i32(1), i32(0), i32(int64(len(name))), i32(oflags), i64(2), i64(0), i32(0), i32(512), call(f))
		return g.tool("", code(g, open)).with("f", `"io":"text"`)
	}
}

// reads is a guest that opens a file of the mount and outputs what is in it, or the errno.
func reads(name string) func() *guest {
	return opener(name, 0, func(g *guest, open []byte) []byte {
		f := g.use(wasiModule, "fd_read", "iiii", "i")
		const buffer, bytes, content = 1024, 1032, 2048
		read := cat(i32(buffer), i32(content), i32Store, i32(buffer+4), i32(100), i32Store, i32(512), i32Load, i32(buffer), i32(1), i32(bytes), call(f), drop)
		whole := cat(i32(content), i32(bytes), i32Load, call(nativeOutput))
		unlessRead := []byte{0x45, 0x04, 0x40} // i32.eqz, if
		return cat(errno(0, open), read, whole, i32(bytes), i32Load, unlessRead, i32(4096), i32(1), call(nativeOutput), []byte{opEnd}, i32(0))
	})
}
