package wasi_test

import (
	"encoding/binary"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/capability/vfs"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/wasi"
)

// argument makes one of a function's from a word of the fuzzer's: most of them near what is
// interesting.
func argument(word uint64) uint64 {
	small := []uint64{0, 1, 2, 3, 4, 5, result, table, pathAt, bufferA, memoryBytes - 1, memoryBytes, memoryBytes - 48, outside, 1024, 1025, 4096, 4_180_000, 1 << 29, 1 << 31, 1<<31 - 1, 1<<32 - 1, 1<<63 - 1, 1 << 63, 1<<64 - 1}
	if word&3 != 0 {
		return small[(word>>2)%uint64(len(small))]
	}
	return word >> 2
}

// few is a writable mount with a file, and a directory with another.
func few(t *testing.T) wasi.Mount {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "a"), []byte("hello"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(dir, "sub"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, "sub", "b"), nil, 0o600))
	m, err := vfs.Open(dir, vfs.Options{Writable: true, MaxBytes: 1 << 20, MaxEntries: 20})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return wasi.Mount{Path: "/", FS: m.FS(true, nil)}
}

// fuzzFuel bounds the cost of a program; fuzzWork bounds the bytes that it may then
// have moved.
const (
	fuzzFuel = 20_000_000
	fuzzWork = 400 * fuzzFuel
)

// Functions with any arguments over any memory: the host does not fail, what is done is paid
// for, and nothing outside of the guest's memory and its mount is touched. The first bytes of
// the input are the memory, from where the tables are; the rest are calls, nine words each.
func FuzzArguments(f *testing.F) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		input := make([]byte, 256+72*8)
		for i := range input {
			input[i] = byte(r.Uint32())
		}
		f.Add(input)
	}
	signatures := wasi.Signatures()
	g := ourGuest(f, &wasi.Config{})
	f.Fuzz(func(t *testing.T, input []byte) {
		*g.host = testHost{fake: true, limit: fuzzFuel}
		g.process = wasi.New(&wasi.Config{Mounts: []wasi.Mount{few(t)}}, g.host)
		defer g.process.Reset(nil)
		clear(g.bytes())
		for at := 0; at < memoryBytes && len(input) > 0; at += 1024 { // the same all over, so that pointers lead to something
			g.put(uint32(at), input[:min(len(input), 256, memoryBytes-at)])
		}
		g.put(pathAt, []byte("sub/b"))
		input = input[min(len(input), 256):]
		start := time.Now()
		for ; len(input) >= 72; input = input[72:] {
			words := make([]uint64, 9)
			for i := range words {
				words[i] = binary.LittleEndian.Uint64(input[8*i:])
			}
			s := signatures[words[0]%uint64(len(signatures))]
			args := make([]uint64, 0, len(s.Params))
			for i, kind := range s.Params {
				v := argument(words[1+min(i, 7)] + uint64(i/8))
				if kind == 'i' {
					v = uint64(uint32(v))
				}
				args = append(args, v)
			}
			before := slices.Clone(g.bytes())
			errno, err := g.try(s.Name, args...)
			code, ended := exited(err)
			switch {
			case err != nil && !ended:
				t.Fatalf("%s%v: %v", s.Name, args, err)
			case ended && code == outOfFuel, ended && s.Name == "proc_exit":
				return
			case errno == uint32(wasi.EFAULT) && !slices.Equal(before, g.bytes()):
				t.Fatalf("%s%v: memory was written before it was checked", s.Name, args)
			}
			if g.host.moved > fuzzWork {
				t.Fatalf("%s%v: %d bytes were moved for %d units of fuel", s.Name, args, g.host.moved, g.host.fuel)
			}
		}
		if took := time.Since(start); took > 20*time.Second {
			t.Fatalf("it took %v for %d units of fuel", took, g.host.fuel)
		}
	})
}
