package memory_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
)

// scatter writes to n places, among them the first and the last page, and over a long stretch.
func scatter(random *rand.Rand, b []byte, n int) {
	for range n {
		b[random.IntN(len(b))]++
	}
	b[0]++
	b[len(b)-1]++
	if at := random.IntN(len(b)); random.IntN(2) == 0 {
		for i := at; i < min(len(b), at+random.IntN(400<<10)); i++ {
			b[i] ^= 0x5a
		}
	}
}

// Memories over one base hold what they held when their images were taken, for any order of small and big writes, also
// where one of them has grown: none sees another's pages, and neither the base nor an image changes.
func TestImagesOverOneBase(t *testing.T) {
	for _, shared := range []bool{true, false} {
		for _, pages := range []uint64{2, 16, 40} {
			t.Run(fmt.Sprintf("shared=%t/pages=%d", shared, pages), func(t *testing.T) {
				if !shared {
					memory.WithoutSharing(t)
				}
				random := rand.New(rand.NewPCG(3, pages))
				first, b := grown(t, pages)
				scatter(random, b[:len(b)/2], 20)
				began := bytes.Clone(b)
				base := memory.NewImage(first)
				defer base.Free()

				type script struct {
					image *memory.Image
					want  []byte
				}
				scripts := make([]script, 5)
				for i := range scripts {
					m, b := grown(t, pages)
					require.True(t, m.Restore(base, 0, false))
					require.True(t, bytes.Equal(began, b), "a memory begins as the base")
					scatter(random, b, 30)
					if i%2 == 1 {
						b = m.Reallocate((pages + uint64(i)) * page)
						scatter(random, b, 5)
					}
					scripts[i] = script{memory.NewImageOver(m, base), bytes.Clone(b)}
					defer scripts[i].image.Free()
					assert.Equal(t, len(b), scripts[i].image.Size())
					require.True(t, m.Restore(scripts[i].image, 0, false))
					require.True(t, bytes.Equal(scripts[i].want, b), "the one that the image was taken of")
				}
				memories := make([]*memory.Linear, 2*len(scripts))
				buffers := make([][]byte, len(memories))
				for i := range memories {
					memories[i], buffers[i] = grown(t, uint64(scripts[i%len(scripts)].image.Size()/page))
				}
				for round := range 150 {
					i := random.IntN(len(memories))
					s, m, b := scripts[i%len(scripts)], memories[i], buffers[i]
					watch := memory.FaultWatch{}
					watch.Begin(m)
					switch {
					case round%7 == 0:
						for k := range b {
							b[k] = 0xff
						}
					case round%5 != 0:
						scatter(random, b, random.IntN(20))
					}
					require.True(t, m.Restore(s.image, random.IntN(2)*len(b), watch.End()))
					require.True(t, bytes.Equal(s.want, b), "round %d", round)
					assert.LessOrEqual(t, m.Own(), int64(len(b)))
				}
				last, b := grown(t, pages)
				require.True(t, last.Restore(base, 0, false))
				assert.True(t, bytes.Equal(began, b), "the base is what it was")
			})
		}
	}
}

// An image over a base costs what it adds, and a memory of its own what it has written to.
func TestAnImageOverABaseIsSmall(t *testing.T) {
	if !memory.SharingWorks() {
		t.Skip("this system does not tell which pages were written to")
	}
	first, b := grown(t, 32)
	for i := range b {
		b[i] = byte(i)
	}
	base := memory.NewImage(first)
	defer base.Free()
	require.True(t, first.Restore(base, 0, false))
	assert.Zero(t, first.Own())
	b[100], b[900_000] = 0xee, 0xee
	img := memory.NewImageOver(first, base)
	defer img.Free()
	assert.LessOrEqual(t, img.Bytes(), int64(8<<10))
	assert.EqualValues(t, 2*os.Getpagesize(), first.Own())
	second, _ := grown(t, 32)
	require.True(t, second.Restore(img, 0, false))
	assert.EqualValues(t, 2*os.Getpagesize(), second.Own())
	assert.Equal(t, 32*page, img.Size())
	for _, mark := range []byte{1, 2} { // what the image adds lies in a stretch that is given back, and is written to without a fault
		b := second.Reallocate(32 * page)
		for i := range b {
			b[i] = mark
		}
		require.True(t, second.Restore(img, 0, false))
		require.EqualValues(t, 2*os.Getpagesize(), second.Own())
		watch := memory.FaultWatch{}
		watch.Begin(second)
		b[101], b[900_001] = 0xdd, 0xdd
		require.True(t, second.Restore(img, 0, watch.End()))
		require.Equal(t, []byte{0xee, 101, 0xee}, []byte{b[100], b[101], b[900_000]})
		require.Equal(t, byte(900_001%256), b[900_001])
	}
	grownTo := second.Reallocate(33 * page)
	require.NotNil(t, grownTo)
	assert.False(t, second.Restore(img, 0, false), "one that has grown is not put back")
}
