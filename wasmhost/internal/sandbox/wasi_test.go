package sandbox_test

import (
	"context"
	"encoding/binary"
	"os"
	"path/filepath"
	"testing"
	"time"

	extism "github.com/extism/go-sdk"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	w "github.com/genkit-wasm/genkit-wasm/internal/wasmtest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/inspect"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// wasiHead declares what the guests of these tests import. Each of their functions outputs
// numbers.
const wasiHead = `
typedef unsigned char u8; typedef unsigned short u16; typedef unsigned int u32; typedef unsigned long long u64;
#define WASI(name) __attribute__((import_module("wasi_snapshot_preview1"), import_name(#name)))
WASI(clock_time_get) int clock_time_get(int, u64, u64 *);
WASI(fd_close) int fd_close(int);
WASI(fd_read) int fd_read(int, void *, u32, u32 *);
WASI(fd_renumber) int fd_renumber(int, int);
WASI(fd_write) int fd_write(int, void *, u32, u32 *);
WASI(path_open) int path_open(int, int, const char *, u32, int, u64, u64, int, u32 *);
WASI(poll_oneoff) int poll_oneoff(void *, void *, u32, u32 *);
WASI(proc_exit) void proc_exit(int);
WASI(random_get) int random_get(void *, u32);
__attribute__((import_module("genkit_v1"), import_name("output"))) void output(const void *, u32);
static u64 said[8]; static u32 count;
static void say(u64 v) { said[count++] = v; output(said, count * 8); }
static struct { const char *at; u32 size; } one;
static int print(int fd, const char *text, u32 size) { u32 n; one.at = text; one.size = size; return fd_write(fd, &one, 1, &n); }
`

// numbers calls a function of such a guest.
func numbers(t *testing.T, m *sandbox.Module, export string, log *[]string) []uint64 {
	t.Helper()
	res, err := m.Call(t.Context(), sandbox.Call{Export: export, Log: func(_ sandbox.Level, line string) {
		if log != nil {
			*log = append(*log, line)
		}
	}})
	require.NoError(t, err, export)
	list := make([]uint64, 0, len(res.Output)/8)
	for i := 0; i < len(res.Output); i += 8 {
		list = append(list, binary.LittleEndian.Uint64(res.Output[i:]))
	}
	return list
}

// A guest's changes to its descriptors and its clock end with the call.
func TestWASIsStateEndsWithTheCall(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), w.BuildC(t, wasiHead+`
		int closes(void) { say(print(2, "here", 4)); say(fd_close(2)); say(print(2, "gone", 4)); say(fd_close(2)); return 0; }
		int moves(void) { say(fd_renumber(1, 2)); say(print(1, "gone", 4)); say(print(2, "moved", 5)); return 0; }
		int far(void) { say(fd_renumber(1, 2147483647)); say(fd_renumber(2147483647, 1)); say(fd_renumber(1, -1)); say(print(1, "still", 5)); return 0; }
		int pieces(void) {
			static struct { const char *at; u32 size; } v[3] = {{"a ", 2}, {"line\nand ", 9}, {"more", 4}};
			u32 n = 0;
			say(fd_write(1, v, 3, &n)); say(n);
			return 0;
		}
		int clock(void) {
			u64 a = 0, b = 0, c = 0;
			clock_time_get(1, 0, &a);
			clock_time_get(1, 0, &b);
			static u8 in[48], event[32]; u32 n;
			*(u64 *)(in + 24) = 3000000;
			say(poll_oneoff(in, event, 1, &n));
			clock_time_get(1, 0, &c);
			say(a); say(b - a); say(c - b);
			return 0;
		}`), limits())
	var log []string
	for range 2 {
		assert.Equal(t, []uint64{0, 0, 8, 8}, numbers(t, m, "closes", &log))
		assert.Equal(t, []uint64{0, 8, 0}, numbers(t, m, "moves", &log))
		assert.Equal(t, []uint64{8, 8, 8, 0}, numbers(t, m, "far", &log))
		assert.Equal(t, []uint64{0, 15}, numbers(t, m, "pieces", &log))
		assert.Equal(t, []uint64{0, uint64(time.Second), 0, 3_000_000}, numbers(t, m, "clock", nil), "only sleep moves a clock that stands, until the call ends")
	}
	want := []string{"here", "moved", "still", "a line and more"}
	assert.Equal(t, append(want, want...), log)
	assert.Equal(t, 1, m.Idle(), "one instance served them all")
}

// WASI's functions are paid for like the guest's own work, and watch the deadline.
func TestWASIsWorkIsPaidFor(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	wasm := w.BuildC(t, wasiHead+`
		static u8 buffer[1 << 20];
		static struct { const void *at; u32 size; } v[1024];
		int none(void) { return 0; }
		int one_million_bytes(void) { return random_get(buffer, 1000000); }
		int one_thousand_vectors(void) { u32 n; return fd_read(0, v, 1000, &n); }
		int one_thousand_events(void) { // of a descriptor that is not there
			u32 n;
			for (int i = 0; i < 1000; i++) buffer[i * 48 + 8] = 1;
			return poll_oneoff(buffer, buffer + 48000, 1000, &n);
		}
		int vectors(void) { // 4 million of them, of no length
			u32 n;
			for (int i = 0; i < 1024; i++) v[i].size = 0;
			for (;;) fd_read(0, 0, 4000000, &n), fd_read(0, v, 1024, &n);
		}
		int prints(void) {
			u32 n;
			for (int i = 0; i < 1024; i++) v[i].at = buffer, v[i].size = sizeof buffer;
			for (;;) fd_write(1, v, 1024, &n);
		}
		int yields(void) {
			static u8 in[48], event[32]; u32 n;
			in[8] = 2; in[16] = 1;
			for (;;) if (poll_oneoff(in, event, 1, &n) || n != 1) return 1;
		}`)
	lim := limits()
	m := compile(t, sb, wasm, lim)
	fuel := func(export string) int64 {
		res, err := m.Call(t.Context(), sandbox.Call{Export: export})
		require.NoError(t, err, export)
		return res.Fuel
	}
	none := fuel("none")
	assert.InDelta(t, 1_000_000, fuel("one_million_bytes")-none, 1000)
	assert.Greater(t, fuel("one_thousand_vectors")-none, int64(30_000))
	assert.Greater(t, fuel("one_thousand_events")-none, int64(60_000))
	lim.Fuel = 50_000_000
	bound := compile(t, sb, wasm, lim)
	lim.Fuel, lim.Timeout = 1<<60, 100*time.Millisecond
	late := compile(t, sb, wasm, lim)
	for _, export := range []string{"vectors", "prints", "yields"} {
		_, err := bound.Call(t.Context(), sandbox.Call{Export: export})
		require.ErrorIs(t, err, status.ErrResourceExhausted, export)
		start := time.Now()
		_, err = late.Call(t.Context(), sandbox.Call{Export: export})
		require.ErrorIs(t, err, status.ErrDeadlineExceeded, export)
		assert.Less(t, time.Since(start), 15*time.Second, export)
	}
}

// A poll that only the deadline can end, because what it waits for is too far away.
func TestAPollBeyondAllTimeEndsAtTheDeadline(t *testing.T) {
	lim := limits()
	lim.Timeout = 50 * time.Millisecond
	m := compile(t, newSandbox(t, sandbox.Config{}), w.BuildC(t, wasiHead+`
		static u8 in[96], event[64]; static u32 n;
		int ages(void) { *(u64 *)(in + 24) = -1; return poll_oneoff(in, event, 1, &n); }
		int date(void) { *(u64 *)(in + 24) = -1; in[40] = 1; return poll_oneoff(in, event, 1, &n); }
		int two(void) { *(u64 *)(in + 24) = -1; *(u64 *)(in + 72) = -1; return poll_oneoff(in, event, 2, &n); }`), lim)
	for _, export := range []string{"ages", "date", "two"} {
		_, err := m.Call(t.Context(), sandbox.Call{Export: export})
		require.ErrorIs(t, err, status.ErrDeadlineExceeded, export)
	}
}

// mounted compiles a guest that sees a directory with one file.
func mounted(t *testing.T, source string) *sandbox.Module {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("a"), 0o600))
	mount, err := vfs.Open(dir, vfs.Options{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, mount.Close()) })
	wasm := w.BuildC(t, wasiHead+source)
	parsed, err := inspect.Parse(wasm, inspect.Limits{})
	require.NoError(t, err)
	m, err := newSandbox(t, sandbox.Config{}).Compile(t.Context(), sandbox.Source{
		Wasm: wasm, Module: parsed, Limits: limits(), Mounts: []sandbox.Mount{{Path: "/data", FS: mount.FS(false, nil)}},
	})
	require.NoError(t, err)
	return m
}

// A module with a mount serves its calls with one instance; what a call has open is closed
// when it ends, and a descriptor's number is no memory hog.
func TestWhatIsOpenEndsWithTheCall(t *testing.T) {
	m := mounted(t, `
		int opens(void) {
			u32 fd = 99, other = 99;
			say(path_open(3, 0, "a", 1, 0, 2, 0, 0, &fd)); say(fd);
			say(path_open(3, 0, "a", 1, 0, 2, 0, 0, &other)); say(other);
			say(fd_renumber(fd, 2147483647)); say(fd_renumber(fd, 17)); say(fd_renumber(fd, other));
			return 0;
		}
		int reads(void) { static u8 b[4]; u32 n; one.at = (void *)b; one.size = 4; say(fd_read(5, &one, 1, &n)); return 0; }
		int fills(void) { u32 fd; for (;;) { int errno = path_open(3, 0, "a", 1, 0, 2, 0, 0, &fd); if (errno) { say(errno); say(fd); return 0; } } }`)
	for range 3 {
		assert.Equal(t, []uint64{0, 4, 0, 5, 8, 8, 0}, numbers(t, m, "opens", nil))
		assert.Equal(t, []uint64{8}, numbers(t, m, "reads", nil))
		assert.Equal(t, []uint64{6, 131}, numbers(t, m, "fills", nil), "128 files of a module at a time, and all of them are closed")
	}
	assert.Equal(t, 1, m.Idle())
}

// Files that the initialisation has opened are open in the call, so such a module gets
// a new instance for each call.
func TestWhatTheInitialisationOpensStaysOpen(t *testing.T) {
	m := mounted(t, `
		static u32 fd;
		void _initialize(void) { path_open(3, 0, "a", 1, 0, 2, 0, 0, &fd); }
		int reads(void) { static u8 b[4]; u32 n = 0; one.at = (void *)b; one.size = 4; say(fd_read(fd, &one, 1, &n)); say(n); say(b[0]); return 0; }`)
	require.NoError(t, m.Warm(t.Context()))
	for range 3 {
		assert.Equal(t, []uint64{0, 1, 'a'}, numbers(t, m, "reads", nil))
	}
	assert.Zero(t, m.Idle())
}

// Changes of the initialisation to streams and clock belong to the image, so one instance
// serves all calls; Go's runtime sets flags of its streams.
func TestAnInitialisationThatUsesWASIIsImaged(t *testing.T) {
	sb := newSandbox(t, sandbox.Config{})
	m := compile(t, sb, w.BuildC(t, wasiHead+`
		void _initialize(void) {
			static u8 in[48], event[32]; u32 n; u64 now;
			*(u64 *)(in + 24) = 1000;
			clock_time_get(0, 0, &now); poll_oneoff(in, event, 1, &n); fd_close(0);
		}
		int f(void) { u64 now; clock_time_get(1, 0, &now); say(now); say(fd_close(0)); say(fd_close(1)); return 0; }`), limits())
	for range 3 {
		assert.Equal(t, []uint64{1_000_001_000, 8, 0}, numbers(t, m, "f", nil))
	}
	assert.Equal(t, 1, m.Idle())
	g := compile(t, sb, w.BuildGo(t, "package main\n\n//go:wasmexport f\nfunc f() int32 { println(\"here\"); return 0 }\n\nfunc main() {}\n"), limits())
	for range 2 {
		_, err := g.Call(t.Context(), sandbox.Call{Export: "f"})
		require.NoError(t, err)
	}
	assert.Equal(t, 1, g.Idle())
}

// How a plug-in of Extism ends: an error that it set counts although it returned 0,
// proc_exit(0) is success, and an empty output is none. The SDK is the oracle.
func TestExtismPluginsEndAsUnderTheSDK(t *testing.T) {
	wasm := w.BuildC(t, `
		typedef unsigned long long u64;
		#define EXTISM(name) __attribute__((import_module("extism:host/env"), import_name(#name)))
		EXTISM(alloc) u64 alloc(u64); EXTISM(store_u8) void store_u8(u64, int); EXTISM(output_set) void output_set(u64, u64); EXTISM(error_set) void error_set(u64);
		__attribute__((import_module("wasi_snapshot_preview1"), import_name("proc_exit"))) void proc_exit(int);
		static u64 no(void) { u64 at = alloc(2); store_u8(at, 'n'); store_u8(at + 1, 'o'); return at; }
		int output_and_error(void) { output_set(no(), 2); error_set(no()); return 0; }
		int error_taken_back(void) { output_set(no(), 2); error_set(no()); error_set(0); return 0; }
		int error_and_code(void) { error_set(no()); return 3; }
		int exits(void) { output_set(no(), 2); proc_exit(0); return 1; }
		int exits_with_an_error(void) { error_set(no()); proc_exit(0); return 1; }
		int exits_badly(void) { output_set(no(), 2); proc_exit(7); return 0; }
		int empty(void) { output_set(no(), 0); return 0; }
		int nothing(void) { return 0; }`)
	ctx := context.Background()
	manifest := extism.Manifest{Wasm: []extism.Wasm{extism.WasmData{Data: wasm}}}
	sdk, err := extism.NewCompiledPlugin(ctx, manifest, extism.PluginConfig{EnableWasi: true}, nil)
	require.NoError(t, err)
	defer func() { require.NoError(t, sdk.Close(ctx)) }()
	ours := compile(t, newSandbox(t, sandbox.Config{}), wasm, limits())
	for _, export := range []string{"output_and_error", "error_taken_back", "error_and_code", "exits", "exits_with_an_error", "exits_badly", "empty", "nothing"} {
		compareWithSDK(t, sdk, ours, export, "")
	}
	res, err := ours.Call(ctx, sandbox.Call{Export: "empty"})
	require.NoError(t, err)
	assert.Nil(t, res.Output)
}

// proc_exit is no way for a native guest to succeed.
func TestANativeGuestThatExitsHasFailed(t *testing.T) {
	m := compile(t, newSandbox(t, sandbox.Config{}), w.BuildC(t, wasiHead+`
		int exits(void) { say(1); proc_exit(0); return 0; }
		int empty(void) { output(said, 0); return 0; }`), limits())
	_, err := m.Call(t.Context(), sandbox.Call{Export: "exits"})
	require.ErrorIs(t, err, status.ErrInternal)
	res, err := m.Call(t.Context(), sandbox.Call{Export: "empty"})
	require.NoError(t, err)
	assert.Nil(t, res.Output, "an empty output is none")
}
