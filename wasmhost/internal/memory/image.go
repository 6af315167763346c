package memory

import (
	"cmp"
	"os"
	"slices"
)

// Image is the content of a memory at the time when NewImage was called. It does not change, and is safe for
// concurrent use by the memories that are restored from it.
type Image struct {
	memory []byte
	file   *os.File // holds memory where memories map it; nil elsewhere
	filled []extent // the parts of the file that are not zero, in order
	sparse *sparse  // in the place of memory where memories don't map it
	layer  *layer   // in the place of all that: the image is another one, changed here and there
}

// extent is a range of offsets, end exclusive.
type extent struct{ start, end int }

// Bytes returns how many bytes the image holds.
func (img *Image) Bytes() int64 {
	switch {
	case img.sparse != nil:
		return img.sparse.held()
	case img.layer != nil:
		return img.layer.held()
	}
	return int64(len(img.memory))
}

// Size returns the size of a memory that holds what the image holds.
func (img *Image) Size() int {
	switch {
	case img.sparse != nil:
		return img.sparse.size
	case img.layer != nil:
		return img.layer.size
	}
	return len(img.memory)
}

// root is the image whose file memories map to be restored from img.
func (img *Image) root() *Image {
	if img.layer != nil {
		return img.layer.base
	}
	return img
}

// put copies a stretch of the image. Zero parts are not read: reading would take room
// in the file.
func (img *Image) put(buf []byte, from, to int) {
	if l := img.layer; l != nil {
		size := len(l.base.memory)
		if from < size {
			l.base.put(buf, from, min(to, size))
		}
		if to > size {
			clear(buf[max(from, size):to])
		}
		l.patch(buf, from, to)
		return
	}
	first, _ := slices.BinarySearchFunc(img.filled, from, func(e extent, at int) int { return cmp.Compare(e.end, at+1) })
	for _, e := range img.filled[first:] {
		if e.start >= to {
			break
		}
		start, end := max(e.start, from), min(e.end, to)
		clear(buf[from:start])
		copy(buf[start:end], img.memory[start:end])
		from = end
	}
	clear(buf[from:to])
}

// page returns the page at an offset, which is a multiple of sparsePage, of an image that has a file; what lies beyond
// its end is zero. Zero parts are not read, as in put.
func (img *Image) page(at int) []byte {
	_, found := slices.BinarySearchFunc(img.filled, at, func(e extent, at int) int {
		switch {
		case e.end <= at:
			return -1
		case e.start > at:
			return 1
		}
		return 0
	})
	if !found {
		return zeroPage[:]
	}
	return img.memory[at : at+sparsePage]
}
