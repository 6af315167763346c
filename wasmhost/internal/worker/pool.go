// Package worker runs guests in processes of their own, beside the server: this program,
// started again, which has nothing but the guests of one tenant, or of one group of
// tenants, and a connection to the server.
//
// It owns both ends of that connection. The server's end, a [Pool], starts workers, brings
// modules to them, makes calls, serves the requests of guests to their host, watches the
// workers and ends those of which a guest does not come back. The worker's end, [Child],
// is a sandbox that follows the server's orders. Use:
//
//	worker.Child(worker.Hooks{}) // first of all in main
//	pool, err := worker.New(worker.Config{Command: self, Sandbox: sb})
//	m, err := pool.Compile(ctx, "acme", sandbox.Source{…})
//	res, err := m.Call(ctx, sandbox.Call{…})
//
// The server trusts nothing that comes from a worker: a guest may have taken it over. A
// *Pool and a *Module are safe for concurrent use. Locks nest in the order Pool.mu,
// process.mu, inbox.mu; none is held while a guest runs or something is sent.
package worker

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// New makes a pool. It starts nothing yet.
func New(config Config) (*Pool, error) {
	if len(config.Command) == 0 {
		return nil, status.Publicf(status.FailedPrecondition, "guests can't run in worker processes: the program has no command that starts it as one")
	}
	p := &Pool{
		config: config, log: config.Logger, stir: make(chan struct{}, 1),
		classes: map[string]*class{}, workers: map[*process]struct{}{}, modules: map[*Module]struct{}{},
		accounts: map[*share.Account]uint32{}, blames: map[string]*blame{},
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, status.Errorf(status.Internal, "workers: %w", err)
	}
	p.null = null
	p.spare = make(chan *process, 1)
	p.spawner.end, p.spawner.without = make(chan struct{}), config.without
	p.life, p.end = context.WithCancel(context.Background()) //nolint:forbidigo // the pool's own
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.config.Workers = cmp.Or(config.Workers, 4+2*runtime.GOMAXPROCS(0))
	p.group.Go(p.watch)
	if config.IdleTimeout > 0 {
		p.group.Go(p.janitor)
	}
	return p, nil
}

// Try starts a worker and ends it again. It fails when none can be started here, and logs
// what confines it.
func Try(ctx context.Context, command []string, log *slog.Logger) error {
	p, err := New(Config{Command: command, Logger: log})
	if err != nil {
		return err
	}
	w, err := p.start(ctx)
	if err == nil {
		w.kill(causeStopped)
	}
	return errors.Join(err, p.Close(ctx))
}

// Close ends all workers. Calls under way end with UNAVAILABLE within a slice of their
// fuel and are waited for, no longer than ctx allows.
func (p *Pool) Close(ctx context.Context) error {
	if p.closing.Swap(true) {
		return nil
	}
	p.end() // which cancels every call
	quiet := make(chan struct{})
	go func() { // ends with the calls, which end when their workers do
		defer close(quiet)
		for p.calls.Load() > 0 {
			time.Sleep(time.Millisecond)
		}
	}()
	select {
	case <-quiet:
	case <-time.After(closePatience):
	case <-ctx.Done():
	}
	p.mu.Lock()
	workers := make([]*process, 0, len(p.workers))
	for w := range p.workers {
		workers = append(workers, w)
	}
	p.mu.Unlock()
	select {
	case w := <-p.spare:
		workers = append(workers, w)
	default:
	}
	for _, w := range workers {
		w.kill(causeStopped)
	}
	ended := make(chan struct{})
	go func() { p.group.Wait(); close(ended) }()
	select {
	case <-ended:
		close(p.spawner.end)
		return p.null.Close()
	case <-ctx.Done():
		return status.Errorf(status.Of(ctx.Err()), "close the workers: calls are still under way: %w", ctx.Err())
	}
}

// closePatience is how long calls may take to end by themselves when the pool closes.
const closePatience = 2 * time.Second

// DropAccount forgets an account, of which no module will be compiled any more.
func (p *Pool) DropAccount(a *share.Account) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.accounts, a)
}

// place returns a worker of a class, started if there is none.
func (p *Pool) place(ctx context.Context, name string) (*process, error) {
	for {
		p.mu.Lock()
		if p.closing.Load() {
			p.mu.Unlock()
			return nil, errClosing()
		}
		c, ok := p.classes[name]
		if !ok {
			c = &class{name: name}
			p.classes[name] = c
		}
		switch wait := time.Until(c.notUntil); {
		case c.worker != nil:
			w := c.worker
			p.mu.Unlock()
			return w, nil
		case c.starting != nil:
			starting := c.starting
			p.mu.Unlock()
			if err := p.waitFor(ctx, starting, 0); err != nil {
				return nil, err
			}
		case wait > maxWait:
			p.mu.Unlock()
			return nil, status.Publicf(status.Unavailable, "the worker process of these modules has ended %d times in a row; the next one starts in %v", c.failures, wait.Round(time.Second)).
				WithDetails(details(reasonBackoff)).WithRetryAfter(wait)
		case wait > 0:
			p.mu.Unlock()
			if err := p.waitFor(ctx, nil, wait); err != nil {
				return nil, err
			}
		default:
			c.starting = make(chan struct{})
			p.mu.Unlock()
			if w, err := p.startFor(ctx, c); w != nil || err != nil {
				return w, err
			}
		}
	}
}

// maxWait is how long a call waits for a class whose workers end again and again.
const maxWait = time.Second

func (p *Pool) waitFor(ctx context.Context, done chan struct{}, most time.Duration) error {
	var timer <-chan time.Time
	if most > 0 {
		t := time.NewTimer(most)
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-done:
	case <-timer:
	case <-p.life.Done():
		return errClosing()
	case <-ctx.Done():
		return contextError(ctx.Err())
	}
	return nil
}

// startFor starts a class's worker. The attempt outlives the caller who asked for it.
func (p *Pool) startFor(ctx context.Context, c *class) (*process, error) {
	w, err := p.fresh(context.WithoutCancel(ctx))
	p.mu.Lock()
	defer p.mu.Unlock()
	close(c.starting)
	c.starting = nil
	if err != nil {
		c.failed()
		p.log.Error("a worker process can't be started", slog.String("class", c.name), slog.Any("error", errors.Unwrap(err)))
		return nil, err
	}
	w.class = c.name
	select {
	case <-w.exited: // already
		c.failed()
		return nil, nil
	default:
	}
	c.worker = w
	p.workers[w] = struct{}{}
	p.trim()
	return w, nil
}

// fresh takes the spare worker, or starts one.
func (p *Pool) fresh(ctx context.Context) (w *process, err error) {
	select {
	case w = <-p.spare:
		select {
		case <-w.exited: // meanwhile
			w = nil
		default:
		}
	default:
	}
	if p.config.Spare {
		defer p.group.Go(p.restock)
	}
	if w == nil {
		w, err = p.start(ctx)
	}
	return w, err
}

// restock starts a spare worker, unless there is one.
func (p *Pool) restock() {
	if len(p.spare) > 0 || p.closing.Load() {
		return
	}
	w, err := p.start(p.life)
	if err != nil {
		return // the next call that needs one gets the error
	}
	select {
	case p.spare <- w:
		if !p.closing.Load() {
			return
		}
		select { // Close may have missed it
		case w = <-p.spare:
		default:
			return
		}
	default:
	}
	w.kill(causeStopped)
}

// trim ends the workers that have been idle longest when there are more than are kept. It
// is called with mu held.
func (p *Pool) trim() {
	if len(p.workers) <= p.config.Workers {
		return
	}
	list := make([]*process, 0, len(p.workers))
	for w := range p.workers {
		list = append(list, w)
	}
	slices.SortFunc(list, func(a, b *process) int { return cmp.Compare(a.used.Load(), b.used.Load()) })
	for _, w := range list[:len(list)-1] { // the newest is about to be used
		if len(p.workers) <= p.config.Workers {
			return
		}
		p.stopIfIdle(w)
	}
}

// stopIfIdle ends a worker without calls. It is called with mu held.
func (p *Pool) stopIfIdle(w *process) bool {
	w.mu.Lock()
	idle := w.under == 0 && !w.retired
	if idle {
		w.retired = true // a call that has it in hand finds another
		w.leaving.Store(true)
	}
	w.mu.Unlock()
	if !idle {
		return false
	}
	delete(p.workers, w)
	if c := p.classes[w.class]; c != nil && c.worker == w {
		c.worker = nil
	}
	w.kill(causeStopped)
	return true
}

// Evict ends workers that no call has used for that long, and drops modules of the
// others. It returns how many bytes their modules held.
func (p *Pool) Evict(idle time.Duration) int64 {
	before := time.Now().Add(-idle).UnixNano()
	p.mu.Lock()
	freed := int64(0)
	var rest []*process
	for w := range p.workers {
		if w.used.Load() <= before && p.stopIfIdle(w) {
			freed += w.held.Load()
			continue
		}
		rest = append(rest, w)
	}
	var old []*Module
	for m := range p.modules {
		if m.used.Load() <= before {
			old = append(old, m)
		}
	}
	p.mu.Unlock()
	for _, w := range rest {
		was := w.held.Load()
		for _, m := range old {
			w.drop(m)
		}
		freed += max(0, was-w.held.Load())
	}
	return freed
}

// MemoryBytes returns the memory of the modules of all workers, as these report it.
func (p *Pool) MemoryBytes() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	sum := int64(0)
	for w := range p.workers {
		sum += w.held.Load()
	}
	return sum
}

// Workers returns how many processes there are.
func (p *Pool) Workers() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.workers)
}

func (p *Pool) janitor() {
	tick := time.NewTicker(max(p.config.IdleTimeout/4, time.Second))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			p.Evict(p.config.IdleTimeout)
		case <-p.life.Done():
			return
		}
	}
}

// Compile checks and compiles a module for the workers of a class. It runs nothing of it
// and starts no worker. It fails as [sandbox.Sandbox.Compile] does.
func (p *Pool) Compile(ctx context.Context, class string, src sandbox.Source) (*Module, error) {
	prepared, err := p.config.Sandbox.Prepare(ctx, src)
	if err != nil {
		return nil, err
	}
	m := &Module{pool: p, class: class, source: src, prepared: prepared, key: class + "\x00" + prepared.Entry}
	m.source.Wasm, m.source.Module = nil, nil
	m.used.Store(time.Now().UnixNano())
	if !src.Lazy {
		p.pardon(m)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closing.Load() {
		return nil, errClosing()
	}
	p.modules[m] = struct{}{}
	return m, nil
}

// Reasons, in the details of errors.
const (
	reasonCulprit     = "worker_ended_by_module"
	reasonLost        = "worker_lost"
	reasonQuarantined = "module_quarantined"
	reasonBackoff     = "worker_backoff"
)

func details(reason string) map[string]string { return map[string]string{"reason": reason} }

// Refused reports whether a call has failed with err because no worker takes calls of its module now.
func Refused(err error) bool {
	var d struct {
		Reason string `json:"reason"`
	}
	e, ok := errors.AsType[*status.Error](err)
	return ok && e.Code == status.Unavailable && json.Unmarshal(e.Details, &d) == nil && (d.Reason == reasonQuarantined || d.Reason == reasonBackoff)
}

// Quarantine: after so many ends of its worker within that time, a module is not called
// for that long.
const (
	quarantineAfter  = 3
	quarantineWithin = 10 * time.Minute
	quarantineFor    = 10 * time.Minute
)

// accuse notes that a module has ended its worker.
func (p *Pool) accuse(m *Module) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	b, ok := p.blames[m.key]
	if !ok || now.Sub(b.first) > quarantineWithin {
		b = &blame{first: now}
		p.blames[m.key] = b
	}
	p.blamed.Store(int32(len(p.blames)))
	if b.count++; b.count >= quarantineAfter {
		b.until = now.Add(quarantineFor)
		p.log.Error("a module is in quarantine: it has ended its worker process again and again",
			slog.String("class", m.class), slog.Int("times", b.count), slog.Time("until", b.until))
	}
}

// pardon lets a module that was uploaded again be called.
func (p *Pool) pardon(m *Module) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.blames, m.key)
	p.blamed.Store(int32(len(p.blames)))
}

// quarantined says why a module is not called, nil when it may be.
func (p *Pool) quarantined(m *Module) error {
	if p.blamed.Load() == 0 {
		return nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.blames[m.key]
	if !ok || b.until.IsZero() {
		return nil
	}
	wait := time.Until(b.until)
	if wait <= 0 {
		delete(p.blames, m.key)
		p.blamed.Store(int32(len(p.blames)))
		return nil
	}
	return status.Publicf(status.Unavailable, "the module is in quarantine: it has ended its process %d times; upload it again, or wait %v", b.count, wait.Round(time.Second)).
		WithDetails(details(reasonQuarantined)).WithRetryAfter(wait)
}

var errProtocol = fmt.Errorf("worker: %w", errors.New("an answer of another form"))
