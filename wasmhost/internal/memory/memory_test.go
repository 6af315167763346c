package memory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
)

const page = 64 << 10 // WebAssembly's

func any64(uint64) bool { return true }

func grown(t *testing.T, pages uint64) (*memory.Linear, []byte) {
	t.Helper()
	m := memory.New(1<<30, any64)
	t.Cleanup(m.Free)
	b := m.Reallocate(pages * page)
	require.Len(t, b, int(pages*page))
	return m, b
}

// A memory equals its image again after Restore, for any order of small and big writes,
// with and without bytes moved in or a watch over its faults.
func TestAMemoryIsPutBackWhole(t *testing.T) {
	for _, shared := range []bool{true, false} {
		for _, pages := range []uint64{1, 2, 16, 40} {
			t.Run(fmt.Sprintf("shared=%t/pages=%d", shared, pages), func(t *testing.T) {
				if !shared {
					memory.WithoutSharing(t)
				}
				random := rand.New(rand.NewPCG(1, pages))
				m, b := grown(t, pages)
				for range pages {
					b[random.IntN(len(b))] = byte(random.IntN(256))
				}
				copy(b[len(b)-3:], "end")
				want := bytes.Clone(b)
				img := memory.NewImage(m)
				defer img.Free()
				assert.Positive(t, img.Bytes())
				for round := range 30 {
					watch := memory.FaultWatch{}
					watch.Begin(m)
					if round%5 != 0 { // else it writes to nothing
						for range random.IntN(20) {
							b[random.IntN(len(b))]++
						}
					}
					if round%7 == 0 {
						for i := range b {
							b[i] = 0xff
						}
					}
					require.True(t, m.Restore(img, random.IntN(2)*len(b), watch.End()))
					require.True(t, bytes.Equal(want, b), "round %d", round)
				}
			})
		}
	}
}

func TestTwoMemoriesOfOneImageDoNotSeeEachOther(t *testing.T) {
	first, a := grown(t, 16)
	a[5] = 5
	img := memory.NewImage(first)
	defer img.Free()
	second, b := grown(t, 16)
	require.True(t, first.Restore(img, 0, false))
	require.True(t, second.Restore(img, 0, false))
	assert.EqualValues(t, 5, b[5])
	a[5], a[70_000] = 1, 1
	assert.EqualValues(t, 5, b[5])
	assert.Zero(t, b[70_000])
}

func TestAMemoryThatHasGrownIsNotPutBack(t *testing.T) {
	for _, pages := range []uint64{1, 16} {
		m, _ := grown(t, pages)
		img := memory.NewImage(m)
		defer img.Free()
		require.NotNil(t, m.Reallocate((pages+1)*page))
		assert.False(t, m.Restore(img, 0, false))
	}
}

func TestAMemoryKeepsItsBytesAsItGrowsAndStopsAtItsLimit(t *testing.T) {
	for _, start := range []uint64{1, 4} { // a slice, and a mapping
		var asked []uint64
		refuse := false
		m := memory.New(10*page, func(size uint64) bool { asked = append(asked, size); return !refuse && size <= 10*page })
		b := m.Reallocate(start * page)
		require.Len(t, b, int(start*page))
		b[100] = 7
		for n := start + 1; n <= 10; n++ {
			if b = m.Reallocate(n * page); assert.Len(t, b, int(n*page)) {
				assert.EqualValues(t, 7, b[100])
				assert.Zero(t, b[len(b)-1])
			}
		}
		assert.Nil(t, m.Reallocate(11*page))
		refuse = true
		assert.Nil(t, m.Reallocate(10*page))
		assert.Equal(t, 10*page, m.Size(), "a refusal changes nothing")
		assert.Len(t, asked, int(10-start+1)+2, "it is asked each time")
		m.Free()
		m.Free()
		assert.Zero(t, m.Size())
	}
	var none *memory.Linear
	none.Free()
}
