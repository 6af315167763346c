//go:build !linux

package sandbox

// pages adds nothing here: memory is an ordinary slice and is copied whole.
type pages struct{ base *byte }

func (*pages) grow(uint64, uint64) ([]byte, bool) { return nil, false }
func (*pages) free()                              {}

func (*pages) restore([]byte, *image, int, bool) bool { return false }

// faultWatch is of use where pages can be told apart.
type faultWatch struct{}

func (*faultWatch) begin(*pages) {}
func (*faultWatch) drop()        {}
func (*faultWatch) end() bool    { return false }

func newImage(memory *linearMemory) *image {
	img := &image{}
	if memory != nil {
		img.memory = append([]byte(nil), memory.buf...)
	}
	return img
}

func (*image) free() {}
