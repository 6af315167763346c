package wasi_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sysfs"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// pair is the same guest under our WASI and under wazero's, each with a tree of its own.
func pair(t testing.TB) (ours, theirs *guest) {
	t.Helper()
	tree := func() string {
		dir := t.TempDir()
		require.NoError(t, os.MkdirAll(filepath.Join(dir, "sub", "deep"), 0o700))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("hello world"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "b"), []byte("b"), 0o600))
		require.NoError(t, os.Symlink("a", filepath.Join(dir, "link")))
		return dir
	}
	config := &wasi.Config{Args: []string{"one", "two"}, Env: []string{"K=v"}, Mounts: []wasi.Mount{{Path: "/", FS: sysfs.DirFS(tree())}}}
	ours = ourGuest(t, config)
	theirs = wazerosGuest(t, wazero.NewModuleConfig().WithArgs(config.Args...).WithEnv("K", "v").WithNanosleep(func(int64) {}).
		WithFSConfig(wazero.NewFSConfig().WithDirMount(tree(), "/")))
	return ours, theirs
}

// said is the log of a guest's results, one line for each call.
type said struct {
	*guest
	t     testing.TB
	lines []string
}

func (s *said) do(name string, args ...uint64) wasi.Errno {
	errno := s.call(s.t, name, args...)
	s.lines = append(s.lines, fmt.Sprintf("%s %d", name, errno))
	return errno
}

func (s *said) note(format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

// path runs a function with a path below the mount.
func (s *said) path(name, path string, before, after []uint64) wasi.Errno {
	s.put(pathAt, []byte(path))
	return s.do(name, slices.Concat([]uint64{3}, before, []uint64{pathAt, uint64(len(path))}, after)...)
}

func (s *said) opens(path string, oflags, rights, fdflags uint64) uint64 {
	if s.path("path_open", path, []uint64{1}, []uint64{oflags, rights, 0, fdflags, result}) != 0 {
		return 99
	}
	s.note("fd %d", s.u32(result))
	return uint64(s.u32(result))
}

// vector is a table of one buffer.
func (s *said) vector(size uint32) { s.putUint32(table, bufferA, size) }

const both = readRight | writeRight

// differences are the names of the cases in which we do otherwise than wazero, and why.
var differences = map[string]string{
	"rights":                "a descriptor's rights are those of the way in which it was opened; wazero gives all",
	"an empty path":         "a path has a name in it, as in POSIX: ENOENT",
	"a path in no UTF-8":    "EILSEQ, as in WASI; wazero takes it for an escape",
	"streams have no place": "ESPIPE, as in POSIX, where wazero has no such function or no such file",
	"moving a number":       "descriptors move to numbers that are open, as WASI has it, also those of mounts and streams; wazero moves them to any",
	"streams are no mounts": "EBADF; wazero takes them for mounts without a name",
	"the name of a mount":   "a buffer may be bigger than the name, and not smaller: wazero has it the other way round",
	"a listing cut off":     "an entry that does not fit is cut off where the buffer ends; wazero leaves its name out",
	"a listing in bits":     "a buffer may be smaller than an entry's head",
	"polls":                 "what is ready is reported and nothing else; wazero reports all, and takes no absolute time",
	"clocks":                "clocks stand still; each look at wazero's moves it by a millisecond",
	"what is no socket":     "ENOTSOCK, as in POSIX",
	"sync flags":            "flags of synchronisation are told as they were given",
	"a link cut off":        "the target of a link is cut off where the buffer ends, as WASI has it",
	"links to links":        "a link to what a link leads to is refused, as other hosts have it",
	"setting rights":        "ENOTSUP, where wazero says ENOSYS",
	"advice for a stream":   "ESPIPE",
	"room in a directory":   "EBADF; wazero tries to cut the directory",
}

// cases are the calls that both get.
func cases() map[string]func(s *said) {
	return map[string]func(s *said){
		"arguments": func(s *said) {
			s.do("args_sizes_get", result, result+4)
			s.do("args_get", result+16, bufferA)
			s.do("environ_sizes_get", result+32, result+36)
			s.do("environ_get", result+48, bufferB)
			s.do("args_get", outside, bufferA)
			s.note("%x %x %x", s.text(result, 64), s.text(bufferA, 16), s.text(bufferB, 16))
		},
		"mounts": func(s *said) {
			s.do("fd_prestat_get", 3, result)
			s.note("%x", s.u64(result))
			s.do("fd_prestat_dir_name", 3, bufferA, 1)
			s.note("%s", s.text(bufferA, 1))
			s.do("fd_prestat_get", 4, result)
			s.do("fd_prestat_get", 3, outside)
		},
		"streams are no mounts": func(s *said) { s.do("fd_prestat_get", 1, result) },
		"the name of a mount": func(s *said) {
			s.do("fd_prestat_dir_name", 3, bufferA, 0)
			s.do("fd_prestat_dir_name", 3, bufferA, 10)
		},
		"types": func(s *said) {
			s.opens("a", 0, both, 1)
			for fd := range uint64(6) {
				if s.do("fd_fdstat_get", fd, result) == 0 {
					s.note("%d %d", s.bytes()[result], s.bytes()[result+2])
				}
				if s.do("fd_filestat_get", fd, bufferA) == 0 && fd != 3 {
					s.note("%d %d", s.bytes()[bufferA+16], s.u64(bufferA+32))
				}
			}
			s.do("fd_fdstat_get", 1, outside)
			s.do("fd_filestat_get", 1, outside)
			for _, path := range []string{"a", "sub", "link", "none", "sub/b", "a/b"} {
				for follow := range uint64(2) {
					if s.path("path_filestat_get", path, []uint64{follow}, []uint64{bufferA}) == 0 && s.bytes()[bufferA+16] != 3 {
						s.note("%d %d %d", s.bytes()[bufferA+16], s.u64(bufferA+24), s.u64(bufferA+32))
					}
				}
			}
		},
		"rights": func(s *said) {
			s.do("fd_fdstat_get", s.opens("a", 0, readRight, 0), result)
			s.note("%x", s.u64(result+8))
		},
		"setting rights": func(s *said) { s.do("fd_fdstat_set_rights", 3, 0, 0) },
		"opening": func(s *said) {
			for _, path := range []string{"a", "none", "sub", "sub/b", "sub/../a", "../a", "/a", "a/", "sub/", "a/b", "./a", "sub/deep/../../a", "..", ".", "a\x00", "sub/../../a", "link", strings.Repeat("x", 300)} {
				for _, oflags := range []uint64{0, 1, 2, 3, 5, 8, 9} {
					if oflags&1 == 0 || !strings.HasPrefix(path, "xxx") {
						s.note("%q %d", path, oflags)
						s.do("fd_close", s.opens(path, oflags, readRight, 0))
					}
				}
			}
			s.path("path_open", "link", []uint64{0}, []uint64{0, 2, 0, 0, result})
		},
		"an empty path":      func(s *said) { s.path("path_filestat_get", "", []uint64{0}, []uint64{bufferA}) },
		"a path in no UTF-8": func(s *said) { s.path("path_filestat_get", "\xff", []uint64{0}, []uint64{bufferA}) },
		"paths from elsewhere": func(s *said) {
			fd := s.opens("sub", 2, 0, 0)
			s.put(pathAt, []byte("../a"))
			s.do("path_filestat_get", fd, 0, pathAt, 4, bufferA)
			s.put(pathAt, []byte("b"))
			s.do("path_filestat_get", fd, 0, pathAt, 1, bufferA)
			s.do("path_filestat_get", 1, 0, pathAt, 1, bufferA)
			s.do("path_filestat_get", 77, 0, pathAt, 1, bufferA)
			s.do("path_filestat_get", fd, 0, outside, 4, bufferA)
			s.do("path_filestat_get", fd, 0, pathAt, 1, outside)
		},
		"reading and writing": func(s *said) {
			fd := s.opens("a", 0, both, 0)
			s.putUint32(table, bufferA, 4, bufferA+100, 0, bufferA+200, 100)
			s.do("fd_read", fd, table, 3, result)
			s.note("%d %q %q", s.u32(result), s.text(bufferA, 5), s.text(bufferA+200, 10))
			s.do("fd_read", fd, table, 3, result)
			s.note("%d", s.u32(result))
			s.do("fd_pread", fd, table, 1, 2, result)
			s.note("%d %q", s.u32(result), s.text(bufferA, 5))
			s.do("fd_tell", fd, result)
			s.note("%d", s.u64(result))
			s.do("fd_pwrite", fd, table, 1, 20, result)
			s.note("%d", s.u32(result))
			for _, at := range [][2]uint64{{3, io.SeekStart}, {1, io.SeekCurrent}, {^uint64(0), io.SeekEnd}, {^uint64(0), io.SeekStart}, {0, 3}} {
				s.do("fd_seek", fd, at[0], at[1], result)
				s.note("%d", s.u64(result))
			}
			s.do("fd_write", fd, table, 1, result)
			s.do("fd_write", fd, table, 0, result)
			s.do("fd_filestat_set_size", fd, 7)
			s.do("fd_filestat_set_size", fd, ^uint64(0))
			s.do("fd_allocate", fd, 5, 10)
			s.do("fd_filestat_get", fd, bufferB)
			s.note("%d", s.u64(bufferB+32))
			s.do("fd_sync", fd)
			s.do("fd_datasync", fd)
			s.do("fd_sync", 1)
			s.do("fd_advise", fd, 0, 0, 3)
			s.do("fd_advise", fd, 0, 0, 9)
			s.do("fd_read", 3, table, 1, result)
			s.do("fd_seek", 3, 0, 0, result)
			s.do("fd_read", 0, table, 1, result)
			s.note("%d", s.u32(result))
			s.do("fd_close", fd)
			s.do("fd_close", fd)
			s.do("fd_read", fd, table, 1, result)
		},
		"reading what was opened for writing": func(s *said) {
			s.vector(4)
			s.do("fd_write", s.opens("a", 0, readRight, 0), table, 1, result)
			s.do("fd_read", s.opens("a", 0, writeRight, 0), table, 1, result)
		},
		"appending": func(s *said) {
			fd := s.opens("a", 0, both, 1)
			s.vector(3)
			s.do("fd_write", fd, table, 1, result)
			s.do("fd_tell", fd, result)
			s.note("%d", s.u64(result))
			s.do("fd_fdstat_set_flags", fd, 0)
			s.do("fd_seek", fd, 0, 0, result)
			s.do("fd_write", fd, table, 1, result)
			s.do("fd_filestat_get", fd, bufferB)
			s.note("%d", s.u64(bufferB+32))
		},
		"sync flags": func(s *said) {
			s.do("fd_fdstat_get", s.opens("a", 0, both, 16), result)
			s.note("%d", s.bytes()[result+2])
		},
		"streams have no place": func(s *said) {
			s.vector(4)
			s.do("fd_seek", 1, 0, 0, result)
			s.do("fd_pread", 0, table, 1, 0, result)
			s.do("fd_allocate", 1, 0, 1)
		},
		"advice for a stream": func(s *said) { s.do("fd_advise", 1, 0, 0, 0) },
		"room in a directory": func(s *said) { s.do("fd_allocate", s.opens("sub", 2, 0, 0), 0, 1) },
		"printing": func(s *said) {
			s.putUint32(table, bufferA, 3, bufferA, 4)
			s.do("fd_write", 1, table, 2, result)
			s.note("%d", s.u32(result))
			s.do("fd_write", 2, table, 1, outside)
			s.do("fd_write", 0, table, 1, result)
			s.do("fd_read", 1, table, 1, result)
		},
		"making and removing": func(s *said) {
			for _, step := range []struct{ name, path string }{
				{"path_create_directory", "new"},
				{"path_create_directory", "new"},
				{"path_create_directory", "none/new"},
				{"path_create_directory", "../new"},
				{"path_unlink_file", "new"},
				{"path_remove_directory", "new/"},
				{"path_remove_directory", "new"},
				{"path_remove_directory", "sub"},
				{"path_remove_directory", "a"},
				{"path_unlink_file", "a/"},
				{"path_unlink_file", "a"},
				{"path_unlink_file", "a"},
			} {
				s.note("%s", step.path)
				s.path(step.name, step.path, nil, nil)
			}
		},
		"renaming": func(s *said) {
			for _, step := range [][2]string{{"a", "c"}, {"a", "c"}, {"c", "sub/b"}, {"sub/b", "sub"}, {"sub", "sub/deep"}, {"sub/deep", "deep"}, {"sub/b", "../b"}, {"sub/b", "x/"}} {
				s.put(pathAt, []byte(step[0]))
				s.put(pathAt+100, []byte(step[1]))
				s.note("%q", step)
				s.do("path_rename", 3, pathAt, uint64(len(step[0])), 3, pathAt+100, uint64(len(step[1])))
			}
		},
		"links": func(s *said) {
			s.put(pathAt+100, []byte("sub/b"))
			s.do("path_symlink", pathAt+100, 5, 3, pathAt, 4)
			s.do("path_symlink", pathAt+100, 5, 3, pathAt, 4)
			s.path("path_readlink", "soft", nil, []uint64{bufferA, 100, result})
			s.note("%q", s.text(bufferA, s.u32(result)))
			s.path("path_readlink", "a", nil, []uint64{bufferA, 100, result})
			s.opens("soft", 0, readRight, 0)
			s.put(pathAt, []byte("a"))
			s.put(pathAt+100, []byte("hard"))
			s.do("path_link", 3, 0, pathAt, 1, 3, pathAt+100, 4)
			s.path("path_filestat_get", "a", []uint64{0}, []uint64{bufferA})
			s.note("%d", s.u64(bufferA+24))
		},
		"a link cut off": func(s *said) {
			s.put(pathAt+100, []byte("sub/b"))
			s.put(pathAt, []byte("soft"))
			s.do("path_symlink", pathAt+100, 5, 3, pathAt, 4)
			s.path("path_readlink", "soft", nil, []uint64{bufferA, 3, result})
		},
		"links to links": func(s *said) {
			s.put(pathAt, []byte("link"))
			s.put(pathAt+100, []byte("hard"))
			s.do("path_link", 3, 1, pathAt, 4, 3, pathAt+100, 4)
		},
		"times": func(s *said) {
			fd := s.opens("a", 0, both, 0)
			s.do("fd_filestat_set_times", fd, 1000, 2000, 5)
			s.do("fd_filestat_get", fd, bufferB)
			s.note("%d %d", s.u64(bufferB+40), s.u64(bufferB+48))
			s.do("fd_filestat_set_times", fd, 1000, 2000, 3)
			s.do("fd_filestat_set_times", 77, 1000, 2000, 1)
			s.path("path_filestat_set_times", "a", []uint64{1}, []uint64{3000, 4000, 5})
			s.path("path_filestat_get", "a", []uint64{0}, []uint64{bufferB})
			s.note("%d %d", s.u64(bufferB+40), s.u64(bufferB+48))
			s.path("path_filestat_set_times", "a", []uint64{1}, []uint64{3000, 4000, 15})
			s.path("path_filestat_set_times", "none", []uint64{1}, []uint64{3000, 4000, 5})
		},
		"a listing": func(s *said) {
			fd := s.opens("sub", 2, 0, 0)
			s.do("fd_readdir", fd, bufferA, 4000, 0, result)
			var names []string
			for at := uint32(0); at < s.u32(result); {
				n := s.u32(bufferA + at + 16)
				s.note("%d %d", s.u64(bufferA+at), s.u32(bufferA+at+20))
				names = append(names, s.text(bufferA+at+24, n))
				at += 24 + n
			}
			s.note("%d %d", len(names), s.u32(result))
			s.do("fd_readdir", fd, bufferA, 4000, 3, result)
			s.note("%d", s.u32(result)/20)
			s.do("fd_readdir", fd, bufferA, 4000, 40, result)
			s.do("fd_readdir", fd, bufferA, 4000, ^uint64(0), result)
			s.do("fd_readdir", fd, outside, 100, 0, result)
			s.do("fd_readdir", 77, bufferA, 100, 0, result)
		},
		"a listing cut off": func(s *said) {
			s.do("fd_readdir", 3, bufferA, 74, 0, result) // ".", "..", and the head of a third without its name
			s.note("%d", s.u32(result))
			s.do("fd_readdir", 3, bufferA, 76, 0, result)
			s.note("%d %x", s.u32(result), s.text(bufferA+75, 1))
		},
		"a listing in bits": func(s *said) { s.do("fd_readdir", 3, bufferA, 10, 0, result) },
		"moving a number": func(s *said) {
			fd := s.opens("a", 0, both, 0)
			s.do("fd_renumber", fd, 17)
			s.do("fd_renumber", fd, 3)
			s.do("fd_renumber", 1, 2)
		},
		"moving a number to one that is open": func(s *said) {
			from, to := s.opens("a", 0, both, 0), s.opens("sub/b", 0, readRight, 0)
			s.do("fd_renumber", from, to)
			s.do("fd_filestat_get", to, bufferA)
			s.note("%d", s.u64(bufferA+32))
			s.do("fd_close", from)
			s.do("fd_renumber", 77, to)
			s.do("fd_renumber", to, ^uint64(0))
			s.note("%d", s.opens("a", 0, readRight, 0))
		},
		"closing": func(s *said) {
			for fd := range uint64(5) {
				s.do("fd_close", fd)
				s.do("fd_close", fd)
			}
			s.do("fd_prestat_get", 3, result)
			s.vector(1)
			s.do("fd_write", 1, table, 1, result)
			s.note("%d", s.opens("a", 0, readRight, 0))
		},
		"polls": func(s *said) {
			s.subscribe(0, 1, 0, 0, 1_000_000, 0)
			s.subscribe(1, 2, 0, 0, 1, 1)
			s.do("poll_oneoff", table, bufferA, 1, result)
			s.do("poll_oneoff", table, bufferA, 2, result)
		},
		"a poll of one clock": func(s *said) {
			s.subscribe(0, 1, 0, 0, 1_000_000, 0)
			s.do("poll_oneoff", table, bufferA, 1, result)
			s.note("%d %x", s.u32(result), s.text(bufferA, 32))
			s.do("poll_oneoff", table, bufferA, 0, result)
			s.do("poll_oneoff", outside, bufferA, 1, result)
			s.do("poll_oneoff", table, outside, 1, result)
			s.do("poll_oneoff", table, bufferA, 1, outside)
			s.subscribe(0, 1, 7, 0, 0, 0)
			s.do("poll_oneoff", table, bufferA, 1, result)
			s.subscribe(0, 1, 1, 77, 0, 0)
			s.do("poll_oneoff", table, bufferA, 1, result)
			s.note("%d %x", s.u32(result), s.text(bufferA, 32))
		},
		"clocks": func(s *said) {
			s.do("clock_time_get", 1, 0, result)
			s.do("clock_time_get", 1, 0, result+8)
			s.note("%d", s.u64(result+8)-s.u64(result))
		},
		"odd clocks": func(s *said) {
			for clock := range uint64(5) {
				s.do("clock_time_get", clock, 0, result)
				s.do("clock_res_get", clock, result)
			}
			s.do("clock_time_get", 0, 0, outside)
			s.do("clock_res_get", 0, outside-8)
		},
		"random bytes": func(s *said) {
			s.do("random_get", bufferA, 0)
			s.do("random_get", bufferA, 100)
			s.do("random_get", outside, 100)
			s.do("random_get", memoryBytes, 0)
			s.do("sched_yield")
			s.do("proc_raise", 1)
		},
		"what is no socket": func(s *said) {
			s.do("sock_shutdown", 1, 1)
			s.do("sock_accept", 1, 0, result)
		},
		"no socket at all": func(s *said) {
			s.do("sock_shutdown", 77, 1)
			s.do("sock_accept", 77, 0, result)
			s.vector(1)
			s.do("sock_send", 77, table, 1, 0, result)
			s.do("sock_recv", 77, table, 1, 0, result, result)
		},
	}
}

// wazero's own WASI is the oracle: the same guest sees the same, but for what is listed.
func TestItDoesWhatWazeroDoes(t *testing.T) {
	all := cases()
	for name := range differences {
		require.Contains(t, all, name)
	}
	for name, do := range all {
		t.Run(name, func(t *testing.T) {
			ours, theirs := pair(t)
			got, want := &said{guest: ours, t: t}, &said{guest: theirs, t: t}
			do(got)
			do(want)
			if why := differences[name]; why != "" {
				assert.NotEqual(t, want.lines, got.lines, "no difference any more: %s", why)
				return
			}
			assert.Empty(t, differ(want.lines, got.lines))
		})
	}
}

// Random work on files, with valid and odd arguments, comes out the same under both.
func TestRandomWorkOnFilesIsAsWazeros(t *testing.T) {
	rounds := 200
	if testing.Short() {
		rounds = 20
	}
	for seed := range uint64(rounds) {
		ours, theirs := pair(t)
		got, want := &said{guest: ours, t: t}, &said{guest: theirs, t: t}
		randomWork(got, rand.New(rand.NewPCG(seed, 1)))
		randomWork(want, rand.New(rand.NewPCG(seed, 1)))
		require.Empty(t, differ(want.lines, got.lines), "seed %d", seed)
	}
}

// differ tells the first line that is not the same, and what came before.
func differ(want, got []string) string {
	for i := range min(len(want), len(got)) {
		if want[i] != got[i] {
			return fmt.Sprintf("%s\nwazero: %s\nwe:     %s", strings.Join(want[max(0, i-6):i], "\n"), want[i], got[i])
		}
	}
	return ""
}

func randomWork(s *said, r *rand.Rand) {
	const statAt = bufferB + 24_000 // beyond what is read into
	pick := func(list ...uint64) uint64 { return list[r.IntN(len(list))] }
	fd := func() uint64 { return 4 + r.Uint64N(3) }
	name := func() string {
		return []string{"a", "c", "sub", "sub/b", "sub/deep", "new", "none/x", "sub/", "a/"}[r.IntN(9)]
	}
	s.putUint32(table, bufferA, 5, bufferA+64, 3, bufferB, 20_000, bufferA, 7)
	copy(s.bytes()[bufferA:], "abcdefghijklmnopqrstuvwxyz")
	for range 40 {
		switch r.IntN(14) {
		case 0, 1, 2:
			s.opens(name(), pick(0, 1, 2, 5, 8, 9), pick(readRight, both, both, writeRight), pick(0, 0, 1))
		case 3, 4:
			s.do("fd_write", fd(), table+8*r.Uint64N(2), 1+r.Uint64N(2), result)
			s.note("%d", s.u32(result))
		case 5:
			s.do("fd_read", fd(), table, 1+r.Uint64N(4), result)
			s.note("%d %x", s.u32(result), s.text(bufferA, 80))
		case 6:
			s.do("fd_pread", fd(), table, 1+r.Uint64N(4), r.Uint64N(20), result)
			s.note("%d %x", s.u32(result), s.text(bufferB, 80))
		case 7:
			s.do("fd_seek", fd(), pick(0, 3, 100, ^uint64(2)), r.Uint64N(3), result)
			s.note("%d", s.u64(result))
		case 8:
			s.do("fd_close", fd())
		case 9:
			s.do("fd_filestat_set_size", fd(), r.Uint64N(30))
		case 10:
			s.path([]string{"path_unlink_file", "path_remove_directory", "path_create_directory"}[r.IntN(3)], name(), nil, nil)
		case 11:
			from, to := name(), name()
			s.put(pathAt, []byte(from))
			s.put(pathAt+100, []byte(to))
			s.note("%s to %s", from, to)
			s.do("path_rename", 3, pathAt, uint64(len(from)), 3, pathAt+100, uint64(len(to)))
		case 12:
			if s.path("path_filestat_get", name(), []uint64{r.Uint64N(2)}, []uint64{statAt}) == 0 && s.bytes()[statAt+16] == 4 {
				s.note("%d", s.u64(statAt+32))
			}
		case 13:
			d := fd()
			if s.do("fd_filestat_get", d, statAt) == 0 && s.bytes()[statAt+16] == 4 {
				s.note("%d", s.u64(statAt+32))
			}
			s.do("fd_tell", d, result)
		}
	}
}
