package sandbox

import (
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/memory"
)

// Modules of one code that differ in their seeds, such as the scripts of one engine, are the same until they read it.
// That state is kept once, their images are what they add to it, and an instance begins as a mapping of it. Methods may
// be called on nil, of a module that shares nothing.

// baseFor returns the base of a key, for one module more.
func (s *Sandbox) baseFor(key baseKey) *base {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.bases[key]
	if !ok {
		b = &base{sandbox: s, key: key}
		s.bases[key] = b
	}
	b.users++
	return b
}

// leave is called when a module has ended.
func (b *base) leave() {
	if b == nil {
		return
	}
	s := b.sandbox
	s.mu.Lock()
	b.users--
	last := b.users == 0
	if last {
		delete(s.bases, b.key)
	}
	s.mu.Unlock()
	if last {
		b.evict()
	}
}

// hold returns the image for an instance that begins as it, and keeps it until the instance has ended; nil when there
// is none.
func (b *base) hold(in *instance) *image {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.image == nil {
		return nil
	}
	b.holds++
	in.base = b
	return b.image
}

// take makes the image of an instance that has not read its seed, and has it go on as any other that begins as that
// image. Without memory for it, or when the instance can't be restored, the instance goes on alone.
func (b *base) take(in *instance) error {
	if b == nil {
		return nil
	}
	if img := b.hold(in); img != nil { // made meanwhile
		return in.start(img)
	}
	process, ok := in.process.State()
	if !ok || in.memory == nil {
		return nil
	}
	size := int64(in.memory.Size()) + int64(len(in.globals)*8)
	if b.sandbox.memory.Reserve(&b.sandbox.memory.Budget, size) != nil {
		return nil
	}
	img := &image{process: process, memory: memory.NewImage(in.memory)}
	img.counted = img.memory.Bytes() + int64(len(in.globals)*8)
	b.sandbox.memory.Give(size - img.counted)
	for _, g := range in.globals {
		img.globals = append(img.globals, g.Get())
	}
	b.mu.Lock()
	if b.image != nil {
		b.mu.Unlock()
		img.memory.Free()
		b.sandbox.memory.Give(img.counted)
		return b.take(in)
	}
	b.image = img
	b.holds++
	in.base = b
	b.mu.Unlock()
	return in.start(img)
}

// again holds the base once more, for an image over it.
func (b *base) again() *base {
	if b != nil {
		b.mu.Lock()
		b.holds++
		b.mu.Unlock()
	}
	return b
}

// over makes the image of an instance's memory.
func (b *base) over(m *memory.Linear) *memory.Image {
	if b == nil {
		return memory.NewImage(m)
	}
	return memory.NewImageOver(m, b.image.memory) // which does not change while the instance holds it
}

// release ends a hold. The image stays, for the next module, until it is evicted.
func (b *base) release() {
	if b != nil {
		b.mu.Lock()
		b.holds--
		b.mu.Unlock()
	}
}

// evict drops the image when nothing needs it, and returns the bytes that this freed.
func (b *base) evict() int64 {
	if b == nil {
		return 0
	}
	b.mu.Lock()
	img := b.image
	if img == nil || b.holds > 0 {
		b.mu.Unlock()
		return 0
	}
	b.image = nil
	b.mu.Unlock()
	img.memory.Free()
	b.sandbox.memory.Give(img.counted)
	return img.counted
}

// start gives a new instance the state of an image.
func (in *instance) start(img *image) error {
	if in.memory != nil {
		if more := img.memory.Size() - in.memory.Size(); more > 0 {
			if _, ok := in.guest.Memory().Grow(uint32(more >> 16)); !ok {
				if err := in.held.Err(); err != nil {
					return err
				}
				return status.Publicf(status.ResourceExhausted, "the module needs %d bytes of memory to begin with, and may have %d", img.memory.Size(), in.module.limits.MemoryBytes)
			}
		}
		if !in.memory.Restore(img.memory, 0, false) {
			return status.Errorf(status.Internal, "an image of %d bytes is not one of a memory of %d", img.memory.Size(), in.memory.Size())
		}
	}
	for i, g := range in.globals {
		g.Set(img.globals[i])
	}
	in.process.Reset(img.process)
	return nil
}

// countIdle has an instance that waits for calls count as what it has for itself, since the rest of its memory is the
// image's that it shares with others.
func (in *instance) countIdle() {
	if in.base != nil && in.memory != nil {
		in.held.Resize(&in.held.Linear, min(in.held.Linear, in.memory.Own()))
	}
}

// countBusy has it count as all that it may write to again. It reports false when a budget has too little left.
func (in *instance) countBusy() bool {
	return in.base == nil || in.memory == nil || in.held.Resize(&in.held.Linear, int64(in.memory.Size()))
}
