//go:build !linux

package memory

// pages adds nothing here: memory is an ordinary slice and is copied whole.
type pages struct{ base *byte }

func (*pages) grow(uint64, uint64) ([]byte, bool) { return nil, false }
func (*pages) free()                              {}

func (*pages) restore([]byte, *Image, int, bool) bool { return false }

func (*pages) own() (int64, bool) { return 0, false }

// FaultWatch is of use where pages can be told apart: elsewhere no call is known to have had
// no fault.
type FaultWatch struct{}

// Begin does nothing here.
func (*FaultWatch) Begin(*Linear) {}

// Drop does nothing here.
func (*FaultWatch) Drop() {}

// End reports false.
func (*FaultWatch) End() bool { return false }

func mappedImage(*Linear) *Image { return nil }

func layeredImage(*Linear, *Image) *Image { return nil }

// Free does nothing here: the image is the garbage collector's.
func (*Image) Free() {}
