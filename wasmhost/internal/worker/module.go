package worker

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Close takes the module out of the workers. Calls under way run to their end; it does not
// wait for them.
func (m *Module) Close() {
	if m.closed.Swap(true) {
		return
	}
	p := m.pool
	p.mu.Lock()
	delete(p.modules, m)
	workers := make([]*process, 0, 2)
	for w := range p.workers {
		if w.class == m.class {
			workers = append(workers, w)
		}
	}
	p.mu.Unlock()
	for _, w := range workers {
		w.drop(m)
	}
}

// Warm makes the module's first instance, as [sandbox.Module.Warm] does. It fails as Call
// does.
func (m *Module) Warm(ctx context.Context) error {
	_, err := m.attempt(ctx, func(ctx context.Context, w *process, number uint32) (*sandbox.Result, error) {
		place := share.PlaceOf(ctx)
		_, err := w.obey(ctx, &order{Op: opWarm, Module: number, Places: place != nil}, nil, m, place)
		return nil, err
	})
	return err
}

// Call runs an exported function, as [sandbox.Module.Call] does. Besides, it fails with
// INTERNAL when the guest has brought its process to an end, UNAVAILABLE when another
// guest has, after the call had an effect, or when the module is in quarantine, or when
// no process can be started. Door, Next, Emit and Log run on the caller's goroutine.
func (m *Module) Call(ctx context.Context, call sandbox.Call) (*sandbox.Result, error) {
	if len(call.Input) > m.source.Limits.InputBytes {
		return nil, status.Publicf(status.InvalidArgument, "input of %d bytes exceeds the limit of %d", len(call.Input), m.source.Limits.InputBytes)
	}
	m.used.Store(time.Now().UnixNano())
	return m.attempt(ctx, func(ctx context.Context, w *process, number uint32) (*sandbox.Result, error) {
		return w.call(ctx, m, number, &call)
	})
}

// attempt does work in a worker, and once more in another one when the first has ended
// and nothing had any effect. The second worker runs nothing else, since this work may
// have ended the first.
func (m *Module) attempt(ctx context.Context, work func(context.Context, *process, uint32) (*sandbox.Result, error)) (*sandbox.Result, error) {
	p := m.pool
	if err := ctx.Err(); err != nil {
		return nil, contextError(err)
	}
	p.calls.Add(1)
	defer p.calls.Add(-1)
	class := m.class
	for try := 0; ; try++ {
		res, err := m.once(ctx, class, work)
		var d *died
		if !errors.As(err, &d) {
			if err != nil && p.closing.Load() && errors.Is(err, status.ErrCancelled) {
				return nil, errClosing()
			}
			return res, err
		}
		verdict := d.w.verdict
		suspect := verdict.suspects[d.call]
		culprit := suspect && (verdict.cause == causeFrozen || len(verdict.suspects) == 1 && verdict.cause == causeCrashed || class != m.class)
		switch {
		case p.closing.Load():
			return nil, errClosing()
		case culprit:
			p.accuse(m)
			return nil, errCulprit(verdict.cause).WithCause(err)
		case d.call.effects.Load() || try > 0:
			return nil, status.Publicf(status.Unavailable, "the process that ran the call has ended, and the call may have had effects").
				WithDetails(details(reasonLost)).WithCause(err)
		case suspect:
			class = soloPrefix + m.key // alone
		}
		p.log.Warn("a call runs again, since its worker process has ended", slog.String("class", m.class), slog.String("cause", verdict.cause), slog.Bool("alone", suspect))
	}
}

// soloPrefix begins the classes of calls that run alone.
const soloPrefix = "\x00alone\x00"

func errCulprit(cause string) *status.Error {
	what := "the module's process has crashed and was ended"
	if cause == causeFrozen {
		what = "the module did not come back to its host and was ended with its process"
	}
	return status.Publicf(status.Internal, "%s", what).WithDetails(details(reasonCulprit))
}

func (m *Module) once(ctx context.Context, class string, work func(context.Context, *process, uint32) (*sandbox.Result, error)) (*sandbox.Result, error) {
	p := m.pool
	if m.closed.Load() {
		return nil, sandbox.ErrClosed
	}
	if err := p.quarantined(m); err != nil {
		return nil, err
	}
	if h := m.home.Load(); h != nil && class == m.class && !h.w.leaving.Load() && !p.closing.Load() {
		return work(ctx, h.w, h.number)
	}
	w, err := p.place(ctx, class)
	if err != nil {
		return nil, err
	}
	number, err := w.load(ctx, m)
	if err != nil {
		return nil, err
	}
	if m.closed.Load() { // perhaps after it was dropped everywhere
		w.drop(m)
		return nil, sandbox.ErrClosed
	}
	res, err := work(ctx, w, number)
	if class != m.class {
		p.dismiss(w)
	}
	return res, err
}

// dismiss ends a worker that has served its purpose.
func (p *Pool) dismiss(w *process) {
	p.mu.Lock()
	delete(p.classes, w.class)
	delete(p.workers, w)
	p.mu.Unlock()
	w.retire()
}

// conversation is a call in a worker, as the server leads it.
type conversation struct {
	w      *process
	module *Module
	call   *sandbox.Call
	state  *callState
	lines  int   // logged
	chunks int   // emitted
	nexts  int   // continued
	failed error // of Emit or Fetch: what the call ends with
}

// call runs a function in the worker.
func (w *process) call(ctx context.Context, m *Module, number uint32, call *sandbox.Call) (*sandbox.Result, error) {
	limits := &m.source.Limits
	most := call.MaxOutput
	if most == 0 {
		most = limits.OutputBytes
	}
	state, err := w.open(m, call.Place, max(most, limits.InputBytes, sandbox.MaxRequestBytes)+maxReply)
	if err != nil {
		return nil, w.orDied(err)
	}
	c := &conversation{w: w, module: m, call: call, state: state}
	c.patience(limits, state.began)
	msg := callMessage{
		module: number, streams: call.Emit != nil, nexts: call.Next != nil, logs: call.Log != nil, places: call.Place != nil,
		maxOutput: int64(call.MaxOutput), export: call.Export, wit: string(call.WIT), context: call.Context, input: call.Input,
	}
	out := newWriter()
	msg.write(out)
	err = w.link.send(state.in, kindCall, out.b)
	out.free()
	if err != nil {
		w.end(state)
		return nil, w.lostCall(state, err)
	}
	return c.lead(ctx, most)
}

// orDied makes of a worker that was gone before a call began one that died under it.
func (w *process) orDied(err error) error {
	select {
	case <-w.link.dead:
		return w.lostCall(&callState{}, err)
	default:
		return err
	}
}

// patience sets the time at which the call is given up. A call may queue in the worker, for
// its time limit again and again, and the watch finds guests that don't return: this is for
// workers that hang for another reason.
func (c *conversation) patience(limits *sandbox.Limits, now time.Time) {
	c.state.patience.Store(now.Add(4*limits.Timeout + wallGrace).UnixNano())
}

// lead serves the guest's requests until the call has ended.
func (c *conversation) lead(ctx context.Context, most int) (*sandbox.Result, error) {
	for {
		msg, err := c.w.link.await(ctx, c.state.in)
		switch {
		case err != nil && (ctx.Err() != nil || errors.Is(err, errStopping)):
			return c.cancelled(ctx, most)
		case err != nil:
			c.w.end(c.state)
			return nil, c.w.lostCall(c.state, err)
		case msg.kind == kindResult:
			c.w.end(c.state)
			return c.result(ctx, msg.body, most)
		}
		if err := c.serve(ctx, msg); err != nil { // the worker has broken the protocol
			c.w.link.fail(err)
			c.w.kill("it broke the protocol")
			c.w.end(c.state)
			return nil, c.w.lostCall(c.state, err)
		}
	}
}

// cancelled tells the worker that nobody waits any more, and waits a moment for the
// call's end, as its caller would without a worker between them.
func (c *conversation) cancelled(ctx context.Context, most int) (*sandbox.Result, error) {
	_ = c.w.link.send(c.state.in, kindCancel, nil)
	patience, done := context.WithTimeout(context.WithoutCancel(ctx), cancelGrace)
	defer done()
	for {
		msg, err := c.w.link.awaitUntil(patience, c.state.in, c.w.link.dead)
		switch {
		case err != nil && patience.Err() != nil:
			c.w.abandon(c.state)
			if ctx.Err() == nil { // the pool closes
				return nil, errClosing()
			}
			return nil, contextError(ctx.Err())
		case err != nil:
			c.w.end(c.state)
			return nil, c.w.lostCall(c.state, err)
		case msg.kind == kindResult:
			c.w.end(c.state)
			return c.result(ctx, msg.body, most)
		case c.serve(ctx, msg) != nil:
			c.w.kill("it broke the protocol")
		}
	}
}

// Waits beyond the time limit of a call.
const (
	cancelGrace = 500 * time.Millisecond
	wallGrace   = 30 * time.Second
)

// serve does one thing that the guest asked for.
func (c *conversation) serve(ctx context.Context, msg message) error {
	switch msg.kind {
	case kindLog:
		return c.log(msg.body)
	case kindChunk:
		return c.chunk(msg.body)
	case kindHost:
		return c.answer(ctx, msg.body)
	case kindClose:
		c.w.closeFile(msg.body)
		return nil
	}
	return errProtocol
}

func (c *conversation) log(body []byte) error {
	r := reader{b: body}
	level, line := sandbox.Level(r.byte()), r.string()
	if c.lines++; r.end() != nil || c.lines > sandbox.MaxLogLines || level > sandbox.LevelError || c.call.Log == nil {
		return errProtocol
	}
	c.call.Log(level, abi.Line(line, sandbox.MaxLogBytes))
	return nil
}

func (c *conversation) chunk(body []byte) error {
	r := reader{b: body}
	left, chunk := time.Duration(r.int64()), r.bytes()
	if c.chunks++; r.end() != nil || c.chunks > sandbox.MaxChunks || c.call.Emit == nil || schema.Check(chunk) != nil {
		return errProtocol
	}
	if c.failed != nil {
		return nil // the guest has not heard of it yet
	}
	c.state.effects.Store(true)
	back := c.state.away(0)
	if c.call.WriteBy != nil {
		c.call.WriteBy(time.Now().Add(min(max(0, left), c.module.source.Limits.Timeout)))
	}
	err := c.call.Emit(chunk)
	back()
	if err != nil {
		c.failed = err
		return ignoreGone(c.w.link.send(c.state.in, kindCancel, nil))
	}
	return ignoreGone(c.w.link.send(c.state.in, kindCredit, nil))
}

// answer serves one request of a guest to its host.
func (c *conversation) answer(ctx context.Context, body []byte) error {
	var q hostMessage
	if err := q.decode(body); err != nil {
		return err
	}
	switch {
	case q.op == hostReturn:
		if c.call.Place == nil {
			return errProtocol
		}
		return c.w.comeBack(ctx, c.state, c.call.Place, &q)
	case q.op == hostNext:
		if c.nexts++; c.call.Next == nil || c.nexts > sandbox.MaxNexts || len(q.request) > c.module.source.Limits.InputBytes {
			return errProtocol
		}
	case q.op == hostFile:
		back := c.state.away(quickFile)
		a := c.w.file(c.state, &q)
		back()
		return ignoreGone(c.w.link.answer(c.state.in, a))
	case c.call.Door == nil || len(q.request)+len(q.body) > 2*sandbox.MaxRequestBytes:
		return errProtocol
	}
	caller, life := ctx, c.w.link.life
	over := func() bool { return caller.Err() != nil || life.Err() != nil } // the guest is ended, and hears nothing of it
	if over() {
		return nil
	}
	if !immediate(&q) {
		var cancel context.CancelFunc
		if q.op == hostNext {
			ctx, cancel = context.WithCancel(ctx)
		} else {
			ctx, cancel = context.WithTimeout(ctx, min(max(0, q.left), c.module.source.Limits.Timeout))
		}
		defer cancel()
		defer context.AfterFunc(life, cancel)()
	}
	if !harmless(&q) {
		c.state.effects.Store(true)
	}
	back := c.state.away(0)
	a := c.do(ctx, &q)
	back()
	if over() {
		return nil
	}
	a.number = q.number
	if a.err != nil && !status.Convert(a.err).Public() { // its text stays here
		code := status.Of(a.err)
		a.err = status.Errorf(code, "%s", code.Label())
	}
	return ignoreGone(c.w.link.answer(c.state.in, a))
}

func (c *conversation) do(ctx context.Context, q *hostMessage) *answerMessage {
	a := &answerMessage{}
	switch q.op {
	case hostDo:
		a.value, a.err = c.call.Door.Do(ctx, q.capability, q.request)
	case hostFetch:
		var f *sandbox.Fetched
		if f, a.err = c.call.Door.Fetch(ctx, q.request, q.body); a.err == nil {
			a.status, a.headers, a.value = int64(f.Status), f.Headers, f.Body
		}
		c.failed = a.err // it ends the call
	case hostNext:
		ctx, worked := sandbox.CountWork(ctx)
		a.value, a.err = c.call.Next(ctx, q.request)
		a.worked = worked.Load()
	}
	return a
}

// immediate reports requests that never wait, and need no context that ends with the worker.
func immediate(q *hostMessage) bool {
	return q.op == hostDo && (q.capability == abi.CapNow || q.capability == abi.CapResumed || q.capability == abi.CapContext)
}

// harmless reports requests without lasting effect: a call that has asked for nothing else can
// run again.
func harmless(q *hostMessage) bool {
	if q.op != hostDo {
		return false
	}
	switch q.capability {
	case abi.CapNow, abi.CapResumed, abi.CapContext, abi.CapKVGet, abi.CapKVList:
		return true
	}
	return false
}

// result checks the outcome of a call as a worker reports it.
func (c *conversation) result(ctx context.Context, body []byte, most int) (*sandbox.Result, error) {
	res, err := c.w.read(body)
	if err != nil {
		return nil, err
	}
	c.account(res)
	switch e := res.err; {
	case c.failed != nil && (e == nil || e.marks&markHost != 0 || e.err != nil && errors.Is(e.err, status.ErrCancelled)):
		return nil, c.failed
	case e != nil && e.marks&markClosed != 0:
		return nil, sandbox.ErrClosed
	case e != nil && ctx.Err() != nil && errors.Is(e.err, status.ErrCancelled):
		return nil, contextError(ctx.Err())
	case e != nil:
		return nil, e.err
	}
	return c.output(res, most)
}

func (c *conversation) output(res *resultMessage, most int) (*sandbox.Result, error) {
	out := &sandbox.Result{Fuel: res.fuel, MemoryBytes: res.memory}
	bad := len(res.output) > most
	if res.interrupted {
		out.Interrupted = true
		if res.hasOutput {
			out.Interrupt = res.output
			trimmed := bytes.TrimSpace(res.output)
			bad = len(res.output) > sandbox.MaxInterruptBytes || schema.Check(res.output) != nil || len(trimmed) == 0 || trimmed[0] != '{'
		}
	} else if res.hasOutput {
		if out.Output = res.output; out.Output == nil {
			out.Output = []byte{}
		}
	}
	if bad {
		return nil, status.Errorf(status.Internal, "worker: a result that no guest can give")
	}
	return out, nil
}

// account notes the consumption that a worker reports for the call, as far as it can be true.
func (c *conversation) account(res *resultMessage) {
	limits := &c.module.source.Limits
	fuel := min(res.usageFuel, 2*limits.Fuel)
	if a := c.module.source.Account; a != nil {
		a.Spend(fuel)
		c.w.observe(a, res.account)
	}
	if c.call.Usage == nil {
		return
	}
	*c.call.Usage = sandbox.Usage{Fuel: fuel, MemoryBytes: min(res.usageBytes, 2*limits.MemoryBytes+64<<20)}
	if res.usageBegan >= 0 {
		sent := c.state.began
		c.call.Usage.Began = sent.Add(min(time.Duration(res.usageBegan), time.Since(sent)))
	}
}
