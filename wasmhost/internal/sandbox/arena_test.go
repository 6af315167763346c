package sandbox

import (
	"bytes"
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func arenaInstance(limit int64) *instance {
	m := &Module{limits: Limits{MemoryBytes: limit, OutputBytes: 1 << 20}}
	return &instance{module: m, state: &state{
		ctx: context.Background(), closing: new(atomic.Bool), deadline: time.Now().Add(time.Hour), limits: &m.limits, call: Call{Input: []byte("input")},
	}}
}

// ends runs fn and reports whether it ended the guest.
func ends(t testing.TB, fn func()) (ended bool) {
	t.Helper()
	defer func() {
		if r := recover(); r != nil {
			err, ok := r.(error)
			var s *stop
			if !ok || !errors.As(err, &s) {
				t.Fatalf("the host panicked: %v", r)
			}
			ended = true
		}
	}()
	fn()
	return false
}

func TestOffsetsOutsideTheArenaEndTheGuest(t *testing.T) {
	in := arenaInstance(1 << 20)
	at := in.arena.put(in, []byte("hello"))
	for _, c := range []struct{ offset, length uint64 }{
		{1 << 40, 1},
		{^uint64(0), 1},
		{^uint64(0), ^uint64(0)},
		{at, ^uint64(0)},
		{uint64(len(in.arena.mem)), 1},
		{^uint64(0) - 3, 8},
	} {
		require.True(t, ends(t, func() { in.arena.at(c.offset, c.length) }), "%v", c)
	}
	require.False(t, ends(t, func() { require.Equal(t, "hello", string(in.arena.at(at, 5))) }))
	require.Nil(t, in.arena.block(at+1), "a block is named by its start alone")
	require.True(t, ends(t, func() { in.arena.alloc(in, ^uint64(0)) }))
	require.True(t, ends(t, func() { in.arena.alloc(in, 2<<20) }))
}

func TestNothingIsLeftForTheNextCall(t *testing.T) {
	in := arenaInstance(1 << 20)
	in.arena.put(in, []byte("secret"))
	in.arena.setVar("k", in.arena.put(in, []byte("secret")))
	in.arena.reset()
	require.Empty(t, in.arena.mem)
	require.False(t, bytes.Contains(in.arena.mem[:cap(in.arena.mem)], []byte("secret")))
	require.Nil(t, in.arena.vars)
	at := in.arena.alloc(in, 64)
	require.Equal(t, make([]byte, 64), in.arena.block(at))
}

func TestFreedOutputIsStillTheOutput(t *testing.T) {
	in := arenaInstance(1 << 20)
	at := in.arena.put(in, []byte("result"))
	in.arena.output, in.arena.hasOutput = span{at, 6}, true
	in.arena.free(at)
	in.arena.put(in, []byte("other"))
	in.arena.finish(in.state)
	require.Equal(t, "result", string(in.state.output))
}

// The table of blocks counts against the limit too.
func TestEmptyBlocksAreNotFree(t *testing.T) {
	in := arenaInstance(1 << 20)
	n := 0
	require.True(t, ends(t, func() {
		for ; n < 1<<20; n++ {
			in.arena.alloc(in, 1)
		}
	}))
	require.Less(t, n, (1<<20)/20)
}

// FuzzArena acts as a hostile guest: any operation on any offset. The host may
// end the guest; it may not panic, grow past the limit or mix blocks up.
func FuzzArena(f *testing.F) {
	f.Add([]byte{0, 5, 1, 16, 2, 16, 3, 24, 4, 9})
	f.Fuzz(func(t *testing.T, ops []byte) {
		const limit = 1 << 16
		in := arenaInstance(limit)
		live := map[uint64]uint64{}
		for i := 0; i+1 < len(ops); i += 2 {
			arg := uint64(ops[i+1]) * 8
			if ops[i]&0x80 != 0 {
				arg = ^arg
			}
			ends(t, func() {
				switch ops[i] % 6 {
				case 0:
					if at := in.arena.alloc(in, arg); at != 0 {
						for o, l := range live {
							if at < o+l && o < at+arg {
								t.Fatalf("block %d+%d overlaps %d+%d", at, arg, o, l)
							}
						}
						live[at] = arg
					}
				case 1:
					in.arena.free(arg)
					delete(live, arg)
				case 2:
					in.arena.at(arg, 8)[0] = 1
				case 3:
					in.arena.setVar("k", arg)
				case 4:
					in.arena.output, in.arena.hasOutput = span{arg, 8}, true
				case 5:
					in.arena.err = arg
				}
			})
			if len(in.arena.mem) > limit {
				t.Fatalf("the arena grew to %d bytes", len(in.arena.mem))
			}
		}
		in.arena.finish(in.state)
		in.arena.reset()
	})
}
