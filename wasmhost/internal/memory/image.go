package memory

import "os"

// Image is the content of a memory at the time when NewImage was called. It does not change, and is safe for
// concurrent use by the memories that are restored from it.
type Image struct {
	memory []byte
	file   *os.File // holds memory where memories map it; nil elsewhere
	filled []extent // the parts of the file that are not zero, in order
	sparse *sparse  // in the place of memory where memories don't map it
}

// extent is a range of offsets, end exclusive.
type extent struct{ start, end int }

// Bytes returns how many bytes the image holds.
func (img *Image) Bytes() int64 {
	if img.sparse != nil {
		return img.sparse.held()
	}
	return int64(len(img.memory))
}
