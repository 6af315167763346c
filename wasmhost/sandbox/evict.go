package sandbox

import (
	"maps"
	"slices"
	"time"
)

// What waits for calls holds memory: instances, images and compiled code. It is dropped
// when it has waited long enough, and, those that have waited longest first, when
// there is too little for those who work.

// Evict drops what no call has used for that long and returns how many bytes were given
// back. The sandbox does so itself when [Config].IdleTimeout is set.
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

// MemoryBytes returns what instances, images and compiled code are counted with.
func (s *Sandbox) MemoryBytes() int64 { return s.process.used.Load() }

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
	slices.SortFunc(list, func(a, b aged) int {
		switch {
		case a.used < b.used:
			return -1
		case a.used > b.used:
			return 1
		}
		return 0
	})
	for i, a := range list {
		modules[i] = a.m
	}
	return modules
}

// makeRoom drops what waits until the budget has n bytes less, as far as there is
// something to drop.
func (s *Sandbox) makeRoom(short *budget, n int64) {
	freed := int64(0)
	for _, m := range s.byAge() {
		if freed >= n {
			return
		}
		if short != s.process && m.account() != short {
			continue
		}
		freed += m.evict()
	}
}

// evict drops the instances that wait, the image when no call needs it, and the code
// when nobody else runs it. It returns what that gave back.
func (m *Module) evict() int64 {
	m.mu.Lock()
	if m.closed { // whoever closed it drops all that
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
	freed := int64(0)
	for _, in := range idle {
		freed += in.held.memory + in.held.arena + in.held.stack + in.held.fixed
		in.close()
	}
	if img != nil {
		freed += m.freeImage(img)
	}
	if m.code.evictable() {
		freed += m.code.drop()
	}
	return freed
}

func (m *Module) freeImage(img *image) int64 {
	img.free()
	m.account().give(img.counted)
	return img.counted
}

// janitor evicts what is idle until the sandbox closes.
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

// account is the budget that the module's memory counts against.
func (m *Module) account() *budget {
	if m.tenant != nil {
		return &m.tenant.memory
	}
	return m.sandbox.process
}
