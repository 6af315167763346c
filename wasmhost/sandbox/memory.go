package sandbox

import "github.com/tetratelabs/wazero/experimental"

// linearMemory is a guest's memory. It never grows past its limit.
type linearMemory struct {
	buf   []byte
	limit uint64
	owner *instance
	pages pages  // what the platform adds
	own   []byte // all of what buf is a part of, when it came from allocate
	moved int    // bytes that the latest call took in and gave out
	calm  bool   // it had no page fault
}

var _ experimental.LinearMemory = (*linearMemory)(nil)

// Reallocate grows the memory, or refuses.
func (m *linearMemory) Reallocate(size uint64) []byte {
	if size > m.limit {
		if m.owner.state != nil {
			m.owner.state.denied = true
		}
		return nil
	}
	if !m.owner.held.resize(&m.owner.held.memory, int64(size)) {
		return nil
	}
	if m.buf == nil || m.pages.base != nil { // what began as a slice stays one
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

// Free drops the memory.
func (m *linearMemory) Free() {
	if m == nil {
		return
	}
	m.pages.free()
	m.release()
	m.buf = nil
}

func (m *linearMemory) release() {
	if m.own != nil {
		unallocate(m.own)
		m.own = nil
	}
}

// restore puts the image back. It reports false when the memory has another size,
// which can't be undone.
func (m *linearMemory) restore(img *image) bool {
	if img.sparse != nil {
		if len(m.buf) != img.sparse.size {
			return false
		}
		img.sparse.restore(m.buf)
		return true
	}
	if len(m.buf) != len(img.memory) {
		return false
	}
	if !m.pages.restore(m.buf, img, m.moved, m.calm) {
		copy(m.buf, img.memory)
	}
	return true
}
