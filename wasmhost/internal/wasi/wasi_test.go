package wasi_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/experimental/sysfs"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// Where tests put things in a guest's memory.
const (
	result  = 64   // the results of functions
	table   = 1024 // buffers
	pathAt  = 2048
	bufferA = 4096
	bufferB = 8192
	outside = memoryBytes - 3
)

// shown is a guest with a writable directory: a file, a directory with 300 entries.
func shown(t testing.TB) *guest {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("hello"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "many"), 0o700))
	for i := range 300 {
		require.NoError(t, os.WriteFile(filepath.Join(dir, "many", fmt.Sprintf("entry-%03d", i)), nil, 0o600))
	}
	m, err := vfs.Open(dir, vfs.Options{Writable: true, MaxBytes: 8 << 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return ourGuest(t, &wasi.Config{Mounts: []wasi.Mount{{Path: "/", FS: m.FS(true, nil)}}})
}

// open opens a path below the mount.
func (g *guest) open(t testing.TB, path string, oflags, rights, fdflags uint64) (uint64, wasi.Errno) {
	t.Helper()
	g.put(pathAt, []byte(path))
	errno := g.call(t, "path_open", 3, 1, pathAt, uint64(len(path)), oflags, rights, 0, fdflags, result)
	return uint64(g.u32(result)), errno
}

const readRight, writeRight = 1 << 1, 1 << 6

func TestArgumentsAndEnvironment(t *testing.T) {
	g := ourGuest(t, &wasi.Config{Args: []string{"a", "bc"}, Env: []string{"K=v"}})
	require.Zero(t, g.call(t, "args_sizes_get", result, result+4))
	assert.Equal(t, [2]uint32{2, 5}, [2]uint32{g.u32(result), g.u32(result + 4)})
	require.Zero(t, g.call(t, "args_get", result, bufferA))
	assert.Equal(t, "a\x00bc\x00", g.text(bufferA, 5))
	assert.Equal(t, [2]uint32{bufferA, bufferA + 2}, [2]uint32{g.u32(result), g.u32(result + 4)})
	require.Zero(t, g.call(t, "environ_get", result, bufferA))
	assert.Equal(t, "K=v\x00", g.text(bufferA, 4))
	assert.Equal(t, wasi.EFAULT, g.call(t, "args_get", result, outside))
	assert.Equal(t, wasi.EFAULT, g.call(t, "args_get", outside, bufferA))
	none := ourGuest(t, &wasi.Config{})
	require.Zero(t, none.call(t, "environ_sizes_get", result, result+4))
	assert.Zero(t, none.u64(result))
}

// Counts and lengths are bounded, and pointers checked before anything is done.
func TestBoundsComeFirst(t *testing.T) {
	g := shown(t)
	fd, errno := g.open(t, "a", 0, readRight|writeRight, 0)
	require.Zero(t, errno)
	g.putUint32(table, bufferA, 5, outside, 4)
	for says, c := range map[string]struct {
		name string
		args []uint64
		want wasi.Errno
	}{
		"too many buffers":             {"fd_read", []uint64{fd, table, wasi.MaxVectors + 1, result}, wasi.EINVAL},
		"four million buffers":         {"fd_read", []uint64{fd, 0, 4_180_000, result}, wasi.EINVAL},
		"a count that wraps":           {"fd_read", []uint64{fd, table, 1<<29 + 1, result}, wasi.EINVAL},
		"buffers outside":              {"fd_write", []uint64{fd, outside, 1, result}, wasi.EFAULT},
		"the second buffer is outside": {"fd_write", []uint64{fd, table, 2, result}, wasi.EFAULT},
		"the result is outside":        {"fd_write", []uint64{fd, table, 1, outside}, wasi.EFAULT},
		"a position outside":           {"fd_seek", []uint64{fd, 3, io.SeekStart, outside}, wasi.EFAULT},
		"an offset below zero":         {"fd_pread", []uint64{fd, table, 1, math.MaxUint64, result}, wasi.EINVAL},
		"an offset without end":        {"fd_pwrite", []uint64{fd, table, 1, math.MaxInt64, result}, wasi.EINVAL},
		"more than a file may hold":    {"fd_allocate", []uint64{fd, 0, math.MaxInt64}, wasi.EIO},
		"an end that wraps":            {"fd_allocate", []uint64{fd, math.MaxInt64, math.MaxInt64}, wasi.EINVAL},
		"a size below zero":            {"fd_filestat_set_size", []uint64{fd, math.MaxUint64}, wasi.EINVAL},
		"a long path":                  {"path_open", []uint64{3, 0, 0, wasi.MaxPath + 1, 0, 2, 0, 0, result}, wasi.ENAMETOOLONG},
		"a path outside":               {"path_open", []uint64{3, 0, outside, 4, 0, 2, 0, 0, result}, wasi.EFAULT},
		"a descriptor outside":         {"path_open", []uint64{3, 0, pathAt, 1, 9, 2, 0, 0, outside}, wasi.EFAULT},
		"entries outside":              {"fd_readdir", []uint64{3, outside, 100, 0, result}, wasi.EFAULT},
		"random bytes outside":         {"random_get", []uint64{1, memoryBytes}, wasi.EFAULT},
		"no subscriptions":             {"poll_oneoff", []uint64{0, bufferB, 0, result}, wasi.EINVAL},
		"too many subscriptions":       {"poll_oneoff", []uint64{0, bufferB, wasi.MaxSubscriptions + 1, result}, wasi.EINVAL},
		"a count of them that wraps":   {"poll_oneoff", []uint64{0, bufferB, 1 << 31, result}, wasi.EINVAL},
		"events outside":               {"poll_oneoff", []uint64{bufferB, outside, 1, result}, wasi.EFAULT},
		"a number without a file":      {"fd_renumber", []uint64{fd, math.MaxInt32}, wasi.EBADF},
		"a number below zero":          {"fd_renumber", []uint64{fd, math.MaxUint32}, wasi.EBADF},
		"flags that there are not":     {"path_open", []uint64{3, 0, pathAt, 1, 16, 2, 0, 0, result}, wasi.EINVAL},
		"a socket":                     {"sock_recv", []uint64{1, table, 1, 0, result, result}, wasi.ENOTSOCK},
	} {
		assert.Equal(t, c.want, g.call(t, c.name, c.args...), says)
	}
	require.Zero(t, g.call(t, "fd_tell", fd, result))
	assert.Zero(t, g.u64(result), "nothing was read, written or moved")
	require.Zero(t, g.call(t, "fd_pread", fd, table, 1, 0, result))
	assert.Equal(t, "hello", g.text(bufferA, 5))
}

// A guest has at most so many descriptors, and one that was refused has made no file.
func TestDescriptorsAreBounded(t *testing.T) {
	g := ourGuest(t, &wasi.Config{Mounts: []wasi.Mount{{Path: "/", FS: sysfs.DirFS(t.TempDir())}}})
	for fd := uint64(4); fd < wasi.MaxDescriptors; fd++ {
		got, errno := g.open(t, ".", 2, 0, 0)
		require.Zero(t, errno)
		require.Equal(t, fd, got)
	}
	_, errno := g.open(t, "new", 1, writeRight, 0)
	require.Equal(t, wasi.EMFILE, errno)
	require.Zero(t, g.call(t, "fd_close", 100))
	_, errno = g.open(t, "new", 4, readRight, 0)
	assert.Equal(t, wasi.ENOENT, errno)
	require.Zero(t, g.call(t, "fd_renumber", 200, 50))
	fd, errno := g.open(t, ".", 2, 0, 0)
	require.Zero(t, errno)
	assert.EqualValues(t, 100, fd, "the lowest number is taken first")
}

// Every directory is listed whole, whatever the size of the buffer, from any cookie.
func TestADirectoryIsListedWhole(t *testing.T) {
	g := shown(t)
	fd, errno := g.open(t, "many", 2, 0, 0)
	require.Zero(t, errno)
	for _, size := range []uint32{30, 31, 100, 4096, 32 << 10} {
		seen := map[string]uint64{} // by name, the cookie that leads to it
		cookie := uint64(0)
		for {
			require.Zero(t, g.call(t, "fd_readdir", fd, bufferA, uint64(size), cookie, result))
			used := g.u32(result)
			require.LessOrEqual(t, used, size)
			before := cookie
			for at := uint32(0); at+24 <= used; {
				name := g.u32(bufferA + at + 16)
				if at+24+name > used {
					break
				}
				seen[g.text(bufferA+at+24, name)] = cookie
				cookie = g.u64(bufferA + at)
				at += 24 + name
			}
			if used < size {
				break
			}
			if cookie == before { // not even one entry fits
				size *= 2
			}
		}
		require.Len(t, seen, 302, "size %d", size)
		require.Zero(t, g.call(t, "fd_readdir", fd, bufferA, 200, seen["entry-200"], result), "back to an earlier one")
		assert.Equal(t, "entry-200", g.text(bufferA+24, 9))
	}
	assert.Equal(t, wasi.ENOENT, g.call(t, "fd_readdir", fd, bufferA, 200, 1<<40, result))
	require.Zero(t, g.call(t, "fd_readdir", fd, bufferA, 200, 302, result))
	assert.Zero(t, g.u32(result))
}

// subscribe puts a subscription into memory.
func (g *guest) subscribe(i uint32, user uint64, kind byte, what, timeout uint64, flags uint16) {
	b := make([]byte, 48)
	binary.LittleEndian.PutUint64(b, user)
	b[8] = kind
	binary.LittleEndian.PutUint32(b[16:], uint32(what))
	binary.LittleEndian.PutUint64(b[24:], timeout)
	binary.LittleEndian.PutUint16(b[40:], flags)
	g.put(table+48*i, b)
}

// poll returns the events, as their user data with the errno, and how long was slept.
func (g *guest) poll(t *testing.T, n uint32) (events map[uint64]wasi.Errno, slept time.Duration) {
	t.Helper()
	g.host.slept = nil
	require.Zero(t, g.call(t, "poll_oneoff", table, bufferA, uint64(n), result))
	events = map[uint64]wasi.Errno{}
	for i := range g.u32(result) {
		at := bufferA + 32*i
		events[g.u64(at)] = wasi.Errno(g.u32(at + 8))
	}
	for _, d := range g.host.slept {
		slept += d
	}
	return events, slept
}

func TestPollWaitsForWhatItIsTold(t *testing.T) {
	const ms = uint64(time.Millisecond)
	const clock, read, write, absolute = 0, 1, 2, 1
	type sub struct {
		kind          byte
		what, timeout uint64
		flags         uint16
	}
	errors := func(list ...wasi.Errno) map[uint64]wasi.Errno {
		m := map[uint64]wasi.Errno{}
		for i, e := range list {
			if e != unfired {
				m[uint64(i)] = e
			}
		}
		return m
	}
	for says, c := range map[string]struct {
		subs   []sub
		events map[uint64]wasi.Errno
		slept  time.Duration
	}{
		"a clock":                       {[]sub{{clock, 0, 5 * ms, 0}}, errors(0), 5 * time.Millisecond},
		"two clocks":                    {[]sub{{clock, 0, 7 * ms, 0}, {clock, 1, 5 * ms, 0}}, errors(unfired, 0), 5 * time.Millisecond},
		"two clocks at once":            {[]sub{{clock, 0, 5 * ms, 0}, {clock, 1, 5 * ms, 0}}, errors(0, 0), 5 * time.Millisecond},
		"a time of the standing clock":  {[]sub{{clock, 1, uint64(time.Second) + 3*ms, absolute}}, errors(0), 3 * time.Millisecond},
		"a time that is over":           {[]sub{{clock, 0, 5, absolute}, {clock, 0, ms, 0}}, errors(0, unfired), 0},
		"no time":                       {[]sub{{clock, 0, 0, 0}}, errors(0), 0},
		"all the time":                  {[]sub{{clock, 0, math.MaxUint64, 0}}, errors(0), math.MaxInt64},
		"until the end of time":         {[]sub{{clock, 0, math.MaxUint64, absolute}}, errors(0), math.MaxInt64},
		"input, which is at its end":    {[]sub{{read, 0, 0, 0}}, errors(0), 0},
		"input or a clock":              {[]sub{{clock, 0, 5 * ms, 0}, {read, 0, 0, 0}}, errors(unfired, 0), 0},
		"both outputs":                  {[]sub{{write, 1, 0, 0}, {write, 2, 0, 0}}, errors(0, 0), 0},
		"the wrong way":                 {[]sub{{read, 1, 0, 0}, {write, 0, 0, 0}}, errors(wasi.EBADF, wasi.EBADF), 0},
		"what is not open, and a clock": {[]sub{{read, 77, 0, 0}, {clock, 0, 5 * ms, 0}}, errors(wasi.EBADF, unfired), 0},
		"a clock that there is not":     {[]sub{{clock, 9, ms, 0}, {clock, 0, ms, 0}}, errors(wasi.EINVAL, unfired), 0},
		"flags that there are not":      {[]sub{{clock, 0, ms, 2}}, errors(wasi.EINVAL), 0},
		"a directory":                   {[]sub{{read, 3, 0, 0}}, errors(wasi.EBADF), 0},
	} {
		g := shown(t)
		for i, s := range c.subs {
			g.subscribe(uint32(i), uint64(i), s.kind, s.what, s.timeout, s.flags)
		}
		events, slept := g.poll(t, uint32(len(c.subs)))
		assert.Equal(t, c.events, events, says)
		assert.Equal(t, c.slept, slept, says)
	}
	g := shown(t)
	g.subscribe(0, 0, 3, 0, 0, 0)
	assert.Equal(t, wasi.EINVAL, g.call(t, "poll_oneoff", table, bufferA, 1, result), "a kind that there is not")
	// A file says how much there is to read.
	fd, errno := g.open(t, "a", 0, readRight, 0)
	require.Zero(t, errno)
	g.subscribe(0, 5, read, fd, 0, 0)
	events, _ := g.poll(t, 1)
	assert.Equal(t, map[uint64]wasi.Errno{5: 0}, events)
	assert.EqualValues(t, 5, g.u64(bufferA+16))
	// Events may be written over what they are read from.
	g.subscribe(0, 1, clock, 0, 5*ms, 0)
	g.subscribe(1, 2, write, 1, 0, 0)
	g.subscribe(2, 3, write, 2, 0, 0)
	require.Zero(t, g.call(t, "poll_oneoff", table, table, 3, result))
	assert.EqualValues(t, 2, g.u32(result))
	assert.Equal(t, [2]uint64{2, 3}, [2]uint64{g.u64(table), g.u64(table + 32)})
}

// unfired marks an event that must not be reported.
const unfired = wasi.Errno(math.MaxUint16)

// Clocks stand still until the guest sleeps, and stand where they did after a reset.
func TestClocks(t *testing.T) {
	g := ourGuest(t, &wasi.Config{})
	read := func(clock uint64) uint64 {
		require.Zero(t, g.call(t, "clock_time_get", clock, 1, result))
		return g.u64(result)
	}
	day, passed := read(0), read(1)
	assert.EqualValues(t, 1_640_995_200_000_000_000, day)
	assert.Equal(t, passed, read(1))
	g.subscribe(0, 0, 0, 0, uint64(time.Hour), 0)
	_, slept := g.poll(t, 1)
	assert.Equal(t, time.Hour, slept)
	assert.Equal(t, day+uint64(time.Hour), read(0))
	assert.Equal(t, passed+uint64(time.Hour), read(1))
	g.subscribe(0, 0, 0, 0, math.MaxUint64, 0)
	for range 3 {
		g.poll(t, 1)
	}
	assert.LessOrEqual(t, read(0), uint64(math.MaxInt64), "it does not wrap")
	g.process.Reset(nil)
	assert.Equal(t, [2]uint64{day, passed}, [2]uint64{read(0), read(1)})
	for clock := uint64(2); clock < 6; clock++ {
		assert.Equal(t, wasi.EINVAL, g.call(t, "clock_time_get", clock, 0, result))
		assert.Equal(t, wasi.EINVAL, g.call(t, "clock_res_get", clock, result))
	}
	real := ourGuest(t, &wasi.Config{Clock: true})
	require.Zero(t, real.call(t, "clock_time_get", 0, 0, result))
	assert.WithinDuration(t, time.Now(), time.Unix(0, int64(real.u64(result))), time.Minute)
	require.Zero(t, real.call(t, "clock_time_get", 1, 0, result))
	first := real.u64(result)
	require.Zero(t, real.call(t, "clock_time_get", 1, 0, result))
	assert.GreaterOrEqual(t, real.u64(result), first)
}

// After a reset a guest has what it had at first, and nothing is left open.
func TestAResetClosesEverything(t *testing.T) {
	g := shown(t)
	for range 20 { // more than the mount lets one guest have open together
		for want := uint64(4); want < 20; want++ {
			fd, errno := g.open(t, []string{"a", "many"}[want%2], 0, readRight, 0)
			require.Zero(t, errno)
			require.Equal(t, want, fd)
		}
		for fd := range uint64(4) {
			require.Zero(t, g.call(t, "fd_close", fd))
		}
		require.Equal(t, wasi.EBADF, g.call(t, "fd_close", 2))
		g.process.Reset(nil)
	}
	require.Zero(t, g.call(t, "fd_prestat_get", 3, result))
}

// A state has what the initialisation did to streams, mounts and the clock; not what it saw of
// files.
func TestAStateIsPutBack(t *testing.T) {
	g := shown(t)
	require.Zero(t, g.call(t, "fd_prestat_get", 3, result), "looking for mounts is not looking at them")
	require.Zero(t, g.call(t, "fd_close", 0))
	require.Zero(t, g.call(t, "fd_renumber", 2, 1))
	require.Zero(t, g.call(t, "fd_fdstat_set_flags", 1, 4))
	g.subscribe(0, 0, 0, 0, uint64(time.Second), 0)
	g.poll(t, 1)
	state, ok := g.process.State()
	require.True(t, ok)
	for range 3 {
		require.Equal(t, wasi.EBADF, g.call(t, "fd_close", 0))
		require.Equal(t, wasi.EBADF, g.call(t, "fd_close", 2))
		require.Zero(t, g.call(t, "fd_fdstat_get", 1, result))
		require.EqualValues(t, 4, g.bytes()[result+2])
		require.Zero(t, g.call(t, "clock_time_get", 1, 0, result))
		require.Equal(t, uint64(2*time.Second), g.u64(result))
		fd, errno := g.open(t, "a", 0, readRight, 0)
		require.Zero(t, errno)
		require.Zero(t, fd)
		require.Zero(t, g.call(t, "fd_close", 1))
		require.Zero(t, g.call(t, "fd_close", 3))
		_, ok := g.process.State()
		require.False(t, ok, "it has a file open")
		g.process.Reset(state)
	}
	g.process.Reset(nil)
	require.Zero(t, g.call(t, "fd_close", 0))
	g.put(pathAt, []byte("none"))
	require.Equal(t, wasi.ENOENT, g.call(t, "path_filestat_get", 3, 0, pathAt, 4, result))
	_, ok = g.process.State()
	require.False(t, ok, "it has seen that there is no such file")
}

// Printed output is logged as one text, cut to a bound, and all of it counts as
// written.
func TestPrinting(t *testing.T) {
	var out, failed bytes.Buffer
	g := ourGuest(t, &wasi.Config{})
	g.host.out = map[int32]io.Writer{1: &out, 2: &failed}
	g.put(bufferA, []byte("abcdef"))
	g.putUint32(table, bufferA, 2, bufferA+2, 0, bufferA+2, 4)
	require.Zero(t, g.call(t, "fd_write", 1, table, 3, result))
	assert.EqualValues(t, 6, g.u32(result))
	require.Zero(t, g.call(t, "fd_write", 2, table, 1, result))
	assert.Equal(t, [2]string{"abcdef", "ab"}, [2]string{out.String(), failed.String()})
	out.Reset()
	for i := range uint32(1000) {
		g.putUint32(table+8*i, 0, memoryBytes)
	}
	require.Zero(t, g.call(t, "fd_write", 1, table, 250, result))
	assert.EqualValues(t, 250*memoryBytes, g.u32(result))
	assert.Equal(t, wasi.MaxPrinted, out.Len())
	assert.Less(t, g.host.fuel, int64(100_000), "what is dropped is not paid for")
	assert.Equal(t, wasi.EBADF, g.call(t, "fd_write", 0, table, 1, result))
	assert.Equal(t, wasi.EBADF, g.call(t, "fd_read", 1, table, 1, result))
	assert.Equal(t, wasi.ESPIPE, g.call(t, "fd_pread", 0, table, 1, 0, result))
	assert.Equal(t, wasi.ESPIPE, g.call(t, "fd_seek", 1, 0, 0, result))
}

// Work is paid for by what it is: bytes, buffers, names, entries.
func TestWorkIsPaidFor(t *testing.T) {
	g := shown(t)
	cost := func(name string, args ...uint64) int64 {
		before := g.host.fuel
		g.call(t, name, args...)
		return g.host.fuel - before
	}
	fd, errno := g.open(t, "a", 0, readRight|writeRight, 0)
	require.Zero(t, errno)
	small := cost("clock_time_get", 0, 0, result)
	assert.Equal(t, small, cost("fd_close", 99), "nothing but the call")
	g.putUint32(table, bufferA, 10_000, bufferA, 10_000)
	assert.Equal(t, int64(10_000), cost("fd_pwrite", fd, table, 2, 0, result)-cost("fd_pwrite", fd, table, 1, 0, result)-32)
	path := bytes.Repeat([]byte("b/"), 100)
	g.put(pathAt, path)
	deep := cost("path_filestat_get", 3, 0, pathAt, 200, result)
	flat := cost("path_filestat_get", 3, 0, pathAt, 1, result)
	assert.Greater(t, deep, 50*flat)
	many, errno := g.open(t, "many", 2, 0, 0)
	require.Zero(t, errno)
	assert.Greater(t, cost("fd_readdir", many, bufferA, 32<<10, 0, result), int64(300*500))
	assert.Equal(t, int64(5000), cost("random_get", bufferA, 5000)-small)
	// The host can end the guest in the middle of it.
	g.host.limit = g.host.fuel + 1000
	_, err := g.try("random_get", 0, memoryBytes)
	code, ended := exited(err)
	require.True(t, ended, "%v", err)
	assert.EqualValues(t, outOfFuel, code)
}

// A module without a memory can ask for nothing that needs one.
func TestAGuestWithoutAMemory(t *testing.T) {
	ctx := context.Background()
	r := wazero.NewRuntimeWithConfig(ctx, wazero.NewRuntimeConfigInterpreter())
	defer r.Close(ctx)
	p := wasi.New(&wasi.Config{}, &testHost{})
	_, err := wasi.Module(r, func(context.Context) *wasi.Process { return p }).Instantiate(ctx)
	require.NoError(t, err)
	mod, err := r.Instantiate(ctx, withoutMemory())
	require.NoError(t, err)
	res, err := mod.ExportedFunction("f").Call(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, wasi.EFAULT, res[0])
}

func TestExiting(t *testing.T) {
	g := ourGuest(t, &wasi.Config{})
	_, err := g.try("proc_exit", 7)
	code, ok := exited(err)
	require.True(t, ok)
	assert.EqualValues(t, 7, code)
	assert.Equal(t, wasi.ENOSYS, g.call(t, "proc_raise", 9))
	require.Zero(t, g.call(t, "sched_yield"))
	assert.Equal(t, 1, g.host.yields)
}
