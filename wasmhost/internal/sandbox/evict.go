package sandbox

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Idle modules hold memory: instances, images and compiled code. It is evicted when a module has been idle
// for IdleTimeout, and when a budget has too little left, beginning with the module that has been idle
// longest.

// Evict drops the memory of modules that have been idle for that long and returns how many bytes
// that freed. The sandbox does so itself when [Config].IdleTimeout is set.
func (s *Sandbox) Evict(idle time.Duration) int64 {
	before := time.Now().Add(-idle).UnixNano()
	freed := int64(0)
	for _, m := range s.byAge() {
		if m.used.Load() > before {
			break
		}
		freed += m.evict()
	}
	return freed
}

// MemoryBytes returns the counted memory of instances, images and compiled code.
func (s *Sandbox) MemoryBytes() int64 { return s.memory.Used() }

// byAge returns the modules, those first that were used longest ago.
func (s *Sandbox) byAge() []*Module {
	s.mu.Lock()
	modules := slices.Collect(maps.Keys(s.modules))
	s.mu.Unlock()
	type aged struct {
		m    *Module
		used int64 // read once: it changes
	}
	list := make([]aged, len(modules))
	for i, m := range modules {
		list[i] = aged{m, m.used.Load()}
	}
	slices.SortFunc(list, func(a, b aged) int { return cmp.Compare(a.used, b.used) })
	for i, a := range list {
		modules[i] = a.m
	}
	return modules
}

// makeRoom evicts idle modules until the budget is used by n bytes less, as far as there is
// something to drop.
func (s *Sandbox) makeRoom(short *share.Budget, n int64) {
	freed := int64(0)
	for _, m := range s.byAge() {
		if freed >= n {
			return
		}
		if short != &s.memory.Budget && m.budget() != short {
			continue
		}
		freed += m.evict()
	}
}

// evict drops the instances that wait, the image when no call needs it, and the code
// when nobody else runs it. It returns the bytes that this freed.
func (m *Module) evict() int64 {
	m.mu.Lock()
	if m.closed { // closing has dropped all of it
		m.mu.Unlock()
		return 0
	}
	idle := m.idle
	m.idle = nil
	var img *image
	if m.busy == 0 {
		img, m.image = m.image, nil
	}
	m.busy++ // until the instances are gone
	m.mu.Unlock()
	defer m.leave()
	defer func() { m.sandbox.freed(m.account) }()
	freed := int64(0)
	for _, in := range idle {
		freed += in.held.Bytes()
		in.close()
	}
	if img != nil {
		freed += m.freeImage(img)
	}
	freed += m.base.evict()
	if m.code.Evictable() {
		freed += m.code.Drop()
	}
	return freed
}

// janitor evicts idle modules until the sandbox closes.
func (s *Sandbox) janitor(idle time.Duration) {
	defer close(s.swept)
	tick := time.NewTicker(max(idle/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.Evict(idle)
		case <-s.life.Done():
			return
		}
	}
}
