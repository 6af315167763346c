// Package memory holds the linear memories of guests: how they grow, what they held after
// initialisation (an [Image]), and how they are restored to that between two calls.
//
// On Linux a memory of 64 KiB or more is a private mapping of its image, so that restoring it
// costs as much as the call has touched; see pages_linux.go. The package runs no guest and keeps
// no budget: the function that [New] takes decides how much a memory may have.
package memory

import "github.com/tetratelabs/wazero/experimental"

var _ experimental.LinearMemory = (*Linear)(nil)

// New makes an empty memory. grow is asked before the memory takes that many bytes, which
// may be more than limit; it refuses those.
func New(limit uint64, grow func(size uint64) bool) *Linear {
	return &Linear{limit: limit, grow: grow}
}

// Size returns how many bytes the guest has.
func (m *Linear) Size() int { return len(m.buf) }

// Reallocate grows the memory, or refuses; wazero calls it.
func (m *Linear) Reallocate(size uint64) []byte {
	if !m.grow(size) || size > m.limit {
		return nil
	}
	if m.buf == nil || m.pages.base != nil { // a memory that began as a slice stays one
		if grown, ok := m.pages.grow(size, m.limit); ok {
			m.buf = grown
			return m.buf
		}
		if m.pages.base != nil {
			return nil // the system gives no more
		}
	}
	if size > uint64(cap(m.buf)) {
		room := size
		if len(m.buf) > 0 { // a guest that grows in small steps must not cost a copy for each
			room = min(max(size, 2*uint64(len(m.buf))), m.limit)
		}
		grown := allocate(room)
		if grown == nil {
			return nil // the system gives no more
		}
		copy(grown, m.buf)
		m.release()
		m.buf, m.own = grown[:size], grown
	}
	m.buf = m.buf[:size]
	return m.buf
}

// Free drops the memory. It may be called more than once, and for nil.
func (m *Linear) Free() {
	if m == nil {
		return
	}
	m.pages.free()
	m.release()
	m.buf = nil
}

// release unmaps memory that came from allocate; pages are freed by pages.free.
func (m *Linear) release() {
	if m.own != nil {
		unallocate(m.own)
		m.own = nil
	}
}

// Restore gives the memory the content of the image, after a call that moved so many bytes in and
// out and, when it was calm, had no page fault (see [FaultWatch]). It reports false when
// the memory has another size, which can't be undone.
func (m *Linear) Restore(img *Image, moved int, calm bool) bool {
	switch {
	case len(m.buf) != img.Size():
		return false
	case img.sparse != nil:
		img.sparse.restore(m.buf)
	case m.pages.restore(m.buf, img, moved, calm):
	case img.layer != nil:
		img.put(m.buf, 0, len(m.buf))
	default:
		copy(m.buf, img.memory)
	}
	return true
}

// Own returns how many bytes of the memory are held for it alone, after Restore: the rest of it is shared with
// other memories of the same image, or of images over the same base, or was never written to.
func (m *Linear) Own() int64 {
	if own, ok := m.pages.own(); ok {
		return own
	}
	return int64(len(m.buf))
}

// NewImage takes the image of a memory.
func NewImage(m *Linear) *Image {
	if img := mappedImage(m); img != nil {
		return img
	}
	return &Image{sparse: newSparse(m.buf)}
}

// NewImageOver is NewImage for a memory that was restored from base and changed since. The image keeps what differs
// from base, which has to outlive it, where that can be told; elsewhere all of it.
func NewImageOver(m *Linear, base *Image) *Image {
	if img := layeredImage(m, base); img != nil {
		return img
	}
	return NewImage(m)
}
