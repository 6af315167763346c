package worker

import (
	"time"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
)

// The watch looks at workers from outside: a guest that does not come back to its host
// may have stopped everything in its process, the process's own clocks included.
const (
	watchEvery = 10 * time.Millisecond
	// lateAfter is how old a beat has to be for its thread to be looked at.
	lateAfter = 10 * time.Millisecond
	// staleAfter is how old a beat has to be, five hundred slices, and spentAfter how much
	// processor time the guest's thread must have had since it was late: on a busy
	// machine, wall time says nothing, and neither does what the worker's other threads
	// have used. Where threads can't be looked at, the worker must have had staleAfter for
	// each of its processors.
	staleAfter = slowdown * 50 * time.Millisecond
	spentAfter = slowdown * 40 * time.Millisecond
	// doubtAfter is when a worker gets no new calls and the lowest priority: others get
	// its processor, and a successor starts before it is certain that one is needed.
	doubtAfter = slowdown * 20 * time.Millisecond
	// doubtSpent is the processor time that its thread must have had then.
	doubtSpent = slowdown * 10 * time.Millisecond
)

// watch runs while calls and orders are under way.
func (p *Pool) watch() {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	for {
		if p.under.Load() == 0 {
			tick.Stop()
			select {
			case <-p.stir:
			case <-p.life.Done():
				return
			}
			tick.Reset(watchEvery)
		}
		select {
		case now := <-tick.C:
			p.look(now)
		case <-p.life.Done():
			return
		}
	}
}

func (p *Pool) look(now time.Time) {
	p.mu.Lock()
	workers := make([]*process, 0, len(p.workers))
	for w := range p.workers {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	for _, w := range workers {
		if w.look(now) {
			p.doubt(w)
		}
		if now.Sub(w.nudged) >= nudgeEvery {
			w.nudged = now
			w.link.transport.nudge()
		}
	}
}

// doubt takes a worker out of its class: it ends when its calls have, or is killed.
func (p *Pool) doubt(w *process) {
	p.mu.Lock()
	if c := p.classes[w.class]; c != nil && c.worker == w {
		c.worker = nil
	}
	p.mu.Unlock()
	w.mu.Lock()
	w.retired = true
	w.leaving.Store(true)
	w.mu.Unlock()
	lowerPriority(w.cmd.Process.Pid)
}

// look kills the worker when one of its guests has not come back, and reports, once, that
// one may not.
func (w *process) look(now time.Time) (doubtful bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.under == 0 || w.killed != "" {
		return false
	}
	cpu, told := time.Duration(0), false
	var oldest *callState
	for c := range w.underway() {
		if at := c.patience.Load(); at != 0 && now.UnixNano() > at {
			w.freeze(c)
			return false
		}
		cell := w.link.transport.beat(c.in.slot)
		if cell == nil {
			continue
		}
		if !told {
			cpu, told = processorTime(w.cmd.Process.Pid)
			if !told {
				return false
			}
		}
		beat := cell.At.Load()
		if beat == 0 || beat != c.beat {
			c.beat, c.cpu, c.thread = beat, cpu, 0
			continue
		}
		switch stale, doubt := c.late(w, cell, now.Sub(time.Unix(0, beat)), cpu); {
		case !stale:
			if doubt && !w.doubted {
				w.doubted, doubtful = true, true
			}
		case oldest == nil || beat < oldest.beat:
			oldest = c
		}
	}
	if oldest != nil {
		w.freeze(oldest)
		return false
	}
	return doubtful
}

// late judges a call whose beat is that old, and has not changed since the worker had used
// c.cpu of processor time.
func (c *callState) late(w *process, cell *sandbox.Beat, age, cpu time.Duration) (stale, doubt bool) {
	if age < lateAfter {
		return false, false
	}
	thread := cell.Thread.Load()
	spent, told := threadTime(w.cmd.Process.Pid, thread)
	switch {
	case !told:
		return age >= staleAfter && cpu-c.cpu >= staleAfter*time.Duration(w.pool.processors()), age >= doubtAfter && cpu-c.cpu >= doubtAfter
	case thread != c.thread:
		c.thread, c.spent = thread, spent
		return false, false
	}
	spent -= c.spent
	return age >= staleAfter && spent >= spentAfter, age >= doubtAfter && spent >= doubtSpent
}

// freeze kills the worker because of a call. It is called with mu held.
func (w *process) freeze(c *callState) {
	w.killed = causeFrozen
	w.frozen = []*callState{c}
	_ = w.cmd.Process.Kill()
}
