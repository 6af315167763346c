package worker

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"slices"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Bounds of the time between workers of a class that do not last.
const (
	firstBackoff = 100 * time.Millisecond
	maxBackoff   = 30 * time.Second
	lasting      = 10 * time.Second // a worker that has lived that long is no failure
)

const (
	causeFrozen  = "frozen"  // a guest did not come back; this side has killed it
	causeCrashed = "crashed" // it ended itself: a fault, memory, a stack
	causeKilled  = "killed"  // somebody else has killed it
	causeStopped = "stopped" // this side had no more use for it
)

// start starts a worker and waits until it answers.
func (p *Pool) start(ctx context.Context) (_ *process, err error) {
	w := &process{
		pool: p, started: time.Now(), exited: make(chan struct{}),
		modules: map[*Module]*residence{}, accounts: map[uint32]*share.Account{},
	}
	cmd, t, err := p.launch()
	if err != nil {
		return nil, status.Publicf(status.Unavailable, "a worker process can't be started").WithCause(err)
	}
	w.cmd = cmd
	w.link = newLink(p.life, t)
	w.link.most = w.most
	w.link.late = w.late
	w.used.Store(time.Now().UnixNano())
	p.group.Go(w.link.run)
	p.group.Go(w.wait)
	ctx, cancel := context.WithTimeout(ctx, startPatience)
	defer cancel()
	p.group.Go(func() { w.nudge(ctx) }) // the watch knows it when it has started
	raw, err := w.obey(ctx, &order{Op: opStart, Start: &startOrder{MemoryBytes: p.config.MemoryBytes, Interpreter: p.config.Interpreter}}, nil, nil, nil)
	if err == nil {
		err = json.Unmarshal(raw, &w.says)
	}
	if err != nil {
		w.kill("it did not start")
		<-w.exited
		return nil, status.Publicf(status.Unavailable, "a worker process can't be started").WithCause(errors.Join(err, w.verdict.err))
	}
	p.tell.Do(func() { p.report(&w.says) })
	return w, nil
}

// report logs once how workers are confined, and which means this system lacks.
func (p *Pool) report(says *startReply) {
	p.log.Info("worker processes are confined", slog.Any("by", append(slices.Clone(p.spawner.held), says.Confined...)))
	if missing := append(slices.Clone(p.spawner.missing), says.Missing...); len(missing) > 0 {
		p.log.Warn("some of what confines worker processes is not to be had here", slog.Any("missing", missing))
	}
}

// startPatience is how long a worker may take to say that it is there.
const startPatience = 20 * time.Second

// wait waits for the process's end, and returns how it ended.
func (w *process) wait() {
	err := w.cmd.Wait()
	w.mu.Lock()
	w.verdict = w.judge(err)
	w.mu.Unlock()
	w.files.closeAll()
	w.link.fail(fmt.Errorf("the worker process ended: %s: %w", w.verdict.cause, errors.Join(err, errGone)))
	close(w.exited)
	w.mu.Lock()
	for _, a := range w.accounts {
		a.RemoveWorker(w)
	}
	w.mu.Unlock() // the pool's lock comes before it
	w.pool.lost(w)
}

var errGone = errors.New("the worker is gone")

// judge names the cause of a worker's end, and those of its calls that may have been it.
// The beats stay in the mapping as they were at the end.
func (w *process) judge(err error) verdict {
	v := verdict{cause: causeCrashed, err: err, suspects: map[*callState]bool{}}
	switch {
	case w.killed == causeFrozen:
		v.cause = causeFrozen
		for _, c := range w.frozen {
			v.suspects[c] = true
		}
		return v
	case w.killed == causeStopped || w.retired && w.under == 0:
		v.cause = causeStopped
		return v
	case killedByOther(err):
		v.cause = causeKilled
	}
	for c := range w.underway() {
		if beat := w.link.transport.beat(c.in.slot); beat == nil || beat.At.Load() != 0 {
			v.suspects[c] = true
		}
	}
	return v
}

// underway lists the calls. It is used with mu held.
func (w *process) underway() iter.Seq[*callState] {
	return func(yield func(*callState) bool) {
		for _, c := range w.calls[:w.next] {
			if c != nil && !yield(c) {
				return
			}
		}
	}
}

// kill ends the process at once.
func (w *process) kill(why string) {
	w.mu.Lock()
	if w.killed == "" {
		w.killed = why
	}
	w.mu.Unlock()
	_ = w.cmd.Process.Kill() // it has ended if that fails
}

// open takes a slot for a call, of whose messages from the worker each may have want bytes.
func (w *process) open(m *Module, place share.Place, want int) (*callState, error) {
	c := &callState{module: m, began: time.Now()}
	c.in = &c.own
	c.in.leave, c.in.want = w.onLeave(m, place), want
	w.mu.Lock()
	defer w.mu.Unlock()
	select {
	case <-w.link.dead:
		return nil, w.link.err
	default:
	}
	var slot uint16
	switch n := len(w.free); {
	case n > 0:
		slot, w.free = w.free[n-1], w.free[:n-1]
	case w.next < slots:
		slot = w.next
		w.next++
	default:
		return nil, status.Publicf(status.ResourceExhausted, "the worker process has %d calls under way; try again later", slots).WithRetryAfter(time.Second)
	}
	w.gen++
	c.in.slot, c.in.gen = slot, w.gen
	if beat := w.link.transport.beat(slot); beat != nil {
		beat.Rest()
	}
	w.calls[slot] = c
	w.under++
	w.pool.watched()
	w.link.active.Add(1)
	w.link.inboxes[slot].Store(c.in)
	w.used.Store(c.began.UnixNano())
	return c, nil
}

// end gives the slot of a call back, when the worker has said that it ended.
func (w *process) end(c *callState) {
	w.mu.Lock()
	w.link.inboxes[c.in.slot].Store(nil)
	w.link.active.Add(-1)
	w.calls[c.in.slot] = nil
	w.under--
	w.free = append(w.free, c.in.slot)
	stop := w.retired && w.under == 0
	w.mu.Unlock()
	w.pool.under.Add(-1)
	w.used.Store(time.Now().UnixNano())
	for _, m := range c.in.shut() {
		if m.kind == kindClose {
			w.closeFile(m.body)
		}
	}
	if stop {
		w.kill(causeStopped)
	}
}

// retire has the worker end when its last call has.
func (w *process) retire() {
	w.mu.Lock()
	w.retired = true
	w.leaving.Store(true)
	stop := w.under == 0
	w.mu.Unlock()
	if stop {
		w.kill(causeStopped)
	}
}

// obey sends an order and waits for its outcome. m is the module that it is about,
// which may be blamed if the worker ends meanwhile, and place is what it may give back;
// nil for none.
func (w *process) obey(ctx context.Context, o *order, artifact []byte, m *Module, place share.Place) ([]byte, error) {
	body, err := encodeOrder(o, artifact)
	if err != nil {
		return nil, status.Errorf(status.Internal, "worker: %w", err)
	}
	c, err := w.open(m, place, maxTransfer+maxReply)
	if err != nil {
		return nil, err
	}
	c.patience.Store(time.Now().Add(orderPatience).UnixNano())
	if err := w.link.send(c.in, kindControl, body); err != nil {
		w.end(c)
		return nil, w.lostCall(c, err)
	}
	res, err := w.result(ctx, c, place)
	if err != nil {
		return nil, err
	}
	if res.err != nil {
		return nil, res.err.err
	}
	return res.output, nil
}

// orderPatience bounds the time of an order; loading a module of the largest size takes
// a tenth of it.
const orderPatience = 60 * time.Second

const maxReply = 64 << 10

// result waits for the result of an order, and gives up when ctx ends.
func (w *process) result(ctx context.Context, c *callState, place share.Place) (*resultMessage, error) {
	for {
		msg, err := w.link.await(ctx, c.in)
		switch {
		case err != nil && ctx.Err() != nil:
			w.abandon(c)
			return nil, contextError(ctx.Err())
		case errors.Is(err, errStopping):
			w.abandon(c)
			return nil, errClosing()
		case err != nil:
			w.end(c)
			return nil, w.lostCall(c, err)
		case msg.kind == kindResult:
			w.end(c)
			return w.read(msg.body)
		case msg.kind == kindClose:
			w.closeFile(msg.body)
		case msg.kind == kindHost:
			var q hostMessage
			switch err := q.decode(msg.body); {
			case err == nil && q.op == hostReturn && place != nil:
				_ = w.comeBack(ctx, c, place, &q)
			case err == nil && q.op == hostFile && c.module != nil:
				back := c.away(quickFile)
				a := w.file(c, &q)
				back()
				_ = w.link.answer(c.in, a)
			}
		}
	}
}

// read decodes a result; one of another form ends the worker.
func (w *process) read(body []byte) (*resultMessage, error) {
	res := &resultMessage{}
	if err := res.decode(body); err != nil {
		w.link.fail(err)
		w.kill("it broke the protocol")
		return nil, status.Errorf(status.Internal, "worker: %w", err)
	}
	w.held.Store(res.processBytes)
	return res, nil
}

// abandon leaves a call whose caller has left: its slot stays taken until the worker says
// that the call has ended.
func (w *process) abandon(c *callState) {
	_ = w.link.send(c.in, kindCancel, nil)
	w.pool.group.Go(func() {
		for {
			msg, err := w.link.awaitUntil(context.Background(), c.in, w.link.dead) //nolint:forbidigo // ends with the worker
			if err == nil && msg.kind == kindHost {                                // nobody is there to answer
				var q hostMessage
				if q.decode(msg.body) == nil {
					a := answerMessage{number: q.number, err: status.Publicf(status.Cancelled, "the call was ended: %s", status.Cancelled.Label())}
					_ = w.link.answer(c.in, &a)
				}
				continue
			}
			if err == nil && msg.kind == kindClose {
				w.closeFile(msg.body)
			}
			if err != nil || msg.kind == kindResult {
				w.end(c)
				return
			}
		}
	})
}

// most bounds a message of the worker's.
func (w *process) most(in *inbox, k kind) int {
	switch k {
	case kindResult, kindHost, kindChunk:
		return in.want
	case kindLog:
		return maxLogMessage
	case kindLeave:
		return reportBytes
	case kindClose:
		return closeBytes
	}
	return -1 // not a worker's to send
}

const maxLogMessage = 20 << 10

func contextError(err error) error {
	code := status.Of(err)
	return status.Publicf(code, "the call was ended: %s", code.Label()).WithCause(err)
}

// died is the error of a call whose worker has ended; see [Pool.after].
type died struct {
	call *callState
	w    *process
	err  error
}

func (d *died) Error() string { return d.err.Error() }
func (d *died) Unwrap() error { return d.err }

// lostCall waits for the worker's end and returns the call's error.
func (w *process) lostCall(c *callState, err error) error {
	w.mu.Lock()
	gone := w.killed != ""
	w.mu.Unlock()
	if !gone && !errors.Is(err, errGone) { // the connection broke first
		select {
		case <-w.exited:
		case <-time.After(100 * time.Millisecond):
			w.kill("it broke the protocol")
		}
	}
	<-w.exited
	return &died{call: c, w: w, err: err}
}

// account returns an account's number and its limits, and takes the worker's reports of it from now on.
func (w *process) account(a *share.Account) (uint32, share.AccountLimits) {
	if a == nil {
		return 0, share.AccountLimits{}
	}
	number := w.pool.number(a)
	w.mu.Lock()
	w.accounts[number] = a
	w.mu.Unlock()
	return number, a.Limits()
}

// late takes a message that belongs to no call under way.
func (w *process) late(k kind, body []byte) {
	switch k {
	case kindClose:
		w.closeLate(body)
	case kindHolding:
		r := reader{b: body}
		number, report := r.uint32(), readReport(&r)
		w.mu.Lock()
		a := w.accounts[number]
		w.mu.Unlock()
		if a != nil && r.end() == nil {
			w.observe(a, report)
		}
	}
}

// observe takes a report of an account; of a worker that has ended, nothing counts.
func (w *process) observe(a *share.Account, r share.Report) {
	a.Observe(w, r)
	select {
	case <-w.exited:
		a.RemoveWorker(w)
	default:
	}
}

// residence finds where a module is in this worker, or makes it the caller's task to load
// it.
func (w *process) residence(m *Module) (r *residence, mine bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r, ok := w.modules[m]
	if !ok {
		r = &residence{number: w.pool.numbers.Add(1), ready: make(chan struct{})}
		w.modules[m] = r
	}
	return r, !ok
}

// load brings a module into the worker, once.
func (w *process) load(ctx context.Context, m *Module) (uint32, error) {
	for {
		r, mine := w.residence(m)
		if mine {
			r.err = w.bring(ctx, m, r.number)
			w.mu.Lock()
			if r.err != nil {
				delete(w.modules, m)
			} else if w.modules[m] == r && w.class == m.class {
				m.home.Store(&home{w, r.number})
			}
			w.mu.Unlock()
			close(r.ready)
			return r.number, r.err
		}
		select {
		case <-r.ready:
			if r.err == nil {
				return r.number, nil
			}
			// Perhaps in vain because that caller left: then it is this one's turn.
			if ctx.Err() != nil || !errors.Is(r.err, status.ErrCancelled) && !errors.Is(r.err, status.ErrDeadlineExceeded) {
				return 0, r.err
			}
		case <-ctx.Done():
			return 0, contextError(ctx.Err())
		}
	}
}

func (w *process) bring(ctx context.Context, m *Module, number uint32) error {
	ctx, cancel := w.pool.within(ctx)
	defer cancel()
	p, err := m.artifact(ctx)
	if err != nil {
		return err
	}
	account, quota := w.account(m.source.Account)
	bare := *p
	bare.Artifact = nil
	o := &order{Op: opLoad, Load: &loadOrder{
		Module: number, Account: account, Quota: quota, Limits: m.source.Limits, Clock: m.source.Clock, Reuse: m.source.Reuse,
		Interpreter: m.source.Interpreter, Config: m.source.Config, Prepared: &bare, Setup: m.source.Setup,
	}}
	if m.source.Seed != nil {
		if o.Load.Seed, err = m.source.Seed(ctx); err != nil {
			return err
		}
	}
	for _, mount := range m.source.Mounts {
		o.Load.Mounts = append(o.Load.Mounts, mount.Path)
	}
	_, err = w.obey(ctx, o, p.Artifact, nil, nil)
	return err
}

// drop takes a module out of the worker; calls under way run to their end.
func (w *process) drop(m *Module) {
	w.mu.Lock()
	r, ok := w.modules[m]
	delete(w.modules, m)
	if h := m.home.Load(); h != nil && h.w == w {
		m.home.CompareAndSwap(h, nil)
	}
	w.mu.Unlock()
	if !ok {
		return
	}
	w.pool.group.Go(func() {
		<-r.ready
		if r.err != nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), orderPatience) //nolint:forbidigo // nobody waits for it
		defer cancel()
		_, _ = w.obey(ctx, &order{Op: opUnload, Module: r.number}, nil, nil, nil)
	})
}

// artifact returns the module with its code, which is not kept when it can be had again.
func (m *Module) artifact(ctx context.Context) (*sandbox.Prepared, error) {
	m.mu.Lock()
	p := m.prepared
	if p.Artifact != nil && m.source.Original != nil {
		bare := *p
		bare.Artifact = nil
		m.prepared = &bare
	}
	m.mu.Unlock()
	if p.Artifact != nil {
		return p, nil
	}
	return m.pool.config.Sandbox.Again(ctx, p, m.source)
}

// ignoreGone ignores a link's end, which the next await reports.
func ignoreGone(error) error { return nil }

// comeBack waits for a place for a call that has left its own.
func (w *process) comeBack(ctx context.Context, state *callState, place share.Place, q *hostMessage) error {
	back := state.away(0)
	ctx, cancel := w.pool.within(ctx)
	defer cancel()
	a := answerMessage{number: q.number, err: place.Return(ctx)}
	back()
	if ctx.Err() != nil {
		return nil
	}
	return ignoreGone(w.link.answer(state.in, &a))
}

// onLeave is [inbox].leave for a call with a place.
func (w *process) onLeave(m *Module, place share.Place) func([]byte) error {
	if place == nil {
		return nil
	}
	return func(body []byte) error {
		r := reader{b: body}
		report := readReport(&r)
		if err := r.end(); err != nil {
			return err
		}
		if m != nil && m.source.Account != nil {
			w.observe(m.source.Account, report)
		}
		place.Leave()
		return nil
	}
}

// lost is called when a worker has ended.
func (p *Pool) lost(w *process) {
	v := &w.verdict
	w.leaving.Store(true)
	p.mu.Lock()
	delete(p.workers, w)
	c := p.classes[w.class]
	if c != nil && c.worker == w {
		c.worker = nil
	}
	failures := 0
	if c != nil && v.cause != causeStopped {
		if time.Since(w.started) > lasting {
			c.failures = 0
		}
		c.failed()
		failures = c.failures
	}
	p.mu.Unlock()
	if v.cause != causeStopped {
		p.log.Error("a worker process has ended", slog.String("class", w.class), slog.String("cause", v.cause),
			slog.Any("error", v.err), slog.Int("in_a_row", failures), slog.Duration("lived", time.Since(w.started).Round(time.Millisecond)))
	}
}

// number returns an account's number in workers.
func (p *Pool) number(a *share.Account) uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	n, ok := p.accounts[a]
	if !ok {
		p.numbered++
		n = p.numbered
		p.accounts[a] = n
	}
	return n
}

// within returns a context that ends with the pool, too.
func (p *Pool) within(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(p.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// failed puts the next start off, from the third in a row on.
func (c *class) failed() {
	if c.failures++; c.failures > 2 {
		c.notUntil = time.Now().Add(min(maxBackoff, firstBackoff<<min(c.failures-3, 10)))
	}
}

func errClosing() error { return status.Publicf(status.Unavailable, "the host is shutting down") }

// nudgeEvery is how often both sides of a link with calls under way are made to look for frames: a frame
// that one of them sleeps over delays its call, and holds it no longer than that.
const nudgeEvery = 250 * time.Millisecond

// nudge has both sides look for frames until ctx ends.
func (w *process) nudge(ctx context.Context) {
	tick := time.NewTicker(nudgeEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			w.link.transport.nudge()
		case <-ctx.Done():
			return
		}
	}
}
