package worker

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"runtime"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/ballast"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/share"
)

// Exit codes of a worker.
const (
	exitOrderly = 0 // the server is gone, or has no more use for it
	exitBroken  = 3
)

// Child is the hook for processes that run guests. A program that wants them calls it
// first of all in main. In a worker it never returns.
func Child(hooks Hooks) {
	mode := os.Getenv(modeEnv)
	if mode == "" {
		return
	}
	os.Clearenv()
	if err := serve(mode, hooks); err != nil {
		os.Exit(exitBroken)
	}
	os.Exit(exitOrderly)
}

// ballastBytes spaces a worker's collections: one that is busy makes 4 MiB of garbage dozens of times a second.
const ballastBytes = 16 << 20

// serve is a worker: it follows the server's orders until the server is gone.
func serve(mode string, hooks Hooks) error {
	defer ballast.Keep(ballastBytes)()
	t, err := connect(mode)
	if err != nil {
		return err
	}
	s := &serving{
		ring: mode == modeRing, hooks: hooks, modules: map[uint32]*sandbox.Module{}, owners: map[uint32]*share.Account{}, accounts: map[uint32]*share.Account{},
		changed: map[*share.Account]bool{}, stir: make(chan struct{}, 1),
	}
	s.link = newLink(context.Background(), t) //nolint:forbidigo // a worker's own
	s.link.started = s.start
	go s.tell() // ends with the link
	s.link.run()
	return nil
}

// report reads the memory of an account.
func (s *serving) report(a *share.Account) share.Report {
	s.reporting.Lock()
	defer s.reporting.Unlock()
	s.reports++
	now, most := a.MemoryBytes()
	return share.Report{Number: s.reports, Now: now, Most: most}
}

// freed notes that an account holds less, for which no call tells the server.
func (s *serving) freed(a *share.Account) {
	if a == nil {
		return
	}
	s.mu.Lock()
	s.changed[a] = true
	s.mu.Unlock()
	select {
	case s.stir <- struct{}{}:
	default:
	}
}

// tell tells the server what accounts hold when that changed at another time than a call's end.
func (s *serving) tell() {
	for {
		select {
		case <-s.stir:
		case <-s.link.dead:
			return
		}
		s.mu.Lock()
		changed := s.changed
		s.changed = map[*share.Account]bool{}
		numbers := map[uint32]*share.Account{}
		for n, a := range s.accounts {
			if changed[a] {
				numbers[n] = a
			}
		}
		s.mu.Unlock()
		for n, a := range numbers {
			w := writer{}
			w.uint32(n)
			writeReport(&w, s.report(a))
			if s.link.send(&inbox{}, kindHolding, w.b) != nil {
				return
			}
		}
	}
}

// start takes a message that begins a call. It is called by the receiver.
func (s *serving) start(in *inbox, m message) task {
	ctx, cancel := context.WithCancel(context.Background()) //nolint:forbidigo // the server's cancellation comes as a message
	in.cancel = cancel
	arrived := time.Now()
	return func(slow func()) {
		defer cancel()
		in.slow = slow
		if m.kind == kindControl {
			slow()
			s.obey(ctx, in, m.body)
			return
		}
		s.call(ctx, in, m.body, arrived)
	}
}

// reply ends a call.
func (s *serving) reply(in *inbox, res *resultMessage) {
	if s.sandbox != nil {
		res.processBytes = s.sandbox.MemoryBytes()
	}
	s.link.leave(in) // the slot is used again as soon as the server has the result
	w := newWriter()
	defer w.free()
	res.write(w)
	_ = s.link.send(in, kindResult, w.b)
}

func failed(err error) *resultMessage {
	return &resultMessage{usageBegan: -1, err: &resultError{err: err}}
}

// obey carries out one order of the server.
func (s *serving) obey(ctx context.Context, in *inbox, body []byte) {
	out, err := s.order(ctx, in, body)
	if err != nil {
		s.reply(in, failed(err))
		return
	}
	raw, err := json.Marshal(out)
	if err != nil {
		s.reply(in, failed(err))
		return
	}
	s.reply(in, &resultMessage{usageBegan: -1, hasOutput: true, output: raw})
}

func (s *serving) order(ctx context.Context, in *inbox, body []byte) (any, error) {
	o, artifact, err := decodeOrder(body)
	switch {
	case err != nil:
		return nil, err
	case o.Op == opStart && o.Start != nil && s.sandbox == nil:
		return s.open(ctx, o.Start)
	case s.sandbox == nil:
		return nil, errors.New("the worker has not started")
	case o.Op == opLoad && o.Load != nil:
		return nil, s.load(ctx, o.Load, artifact)
	case o.Op == opUnload:
		s.unload(o.Module)
		return nil, nil
	case o.Op == opEvict:
		return s.sandbox.Evict(time.Duration(o.IdleNS)), nil
	case o.Op == opWarm:
		m, account := s.module(o.Module)
		if m == nil {
			return nil, sandbox.ErrClosed
		}
		g := &asking{serving: s, link: s.link, in: in, ctx: ctx, account: account}
		if o.Places {
			ctx = share.WithPlace(ctx, g)
		}
		return nil, m.WarmFor(ctx, sandbox.Call{Beat: s.link.transport.beat(in.slot), Files: g})
	}
	return nil, errors.New("an order that the worker does not know")
}

func (s *serving) open(ctx context.Context, o *startOrder) (*startReply, error) {
	says := confine(o.MemoryBytes, s.ring, s.hooks.Without)
	sb, err := sandbox.New(ctx, sandbox.Config{Adopts: true, MemoryBytes: o.MemoryBytes, Interpreter: o.Interpreter, Freed: s.freed})
	s.sandbox = sb
	return says, err
}

func (s *serving) load(ctx context.Context, o *loadOrder, artifact []byte) error {
	account := s.account(o.Account, o.Quota)
	src := sandbox.Source{
		Limits: o.Limits, Clock: o.Clock, Reuse: o.Reuse, Interpreter: o.Interpreter, Config: o.Config, Account: account,
		Setup: o.Setup,
	}
	if o.Setup != "" {
		src.Seed = func(context.Context) ([]byte, error) { return o.Seed, nil }
	}
	for i, path := range o.Mounts {
		src.Mounts = append(src.Mounts, sandbox.Mount{Path: path, FS: &mountFS{mount: uint32(i)}})
	}
	o.Prepared.Artifact = artifact
	m, err := s.sandbox.Adopt(ctx, o.Prepared, src)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.modules[o.Module], s.owners[o.Module] = m, account
	return nil
}

func (s *serving) account(number uint32, quota share.AccountLimits) *share.Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	a, ok := s.accounts[number]
	if !ok {
		a = s.sandbox.NewAccount(quota)
		s.accounts[number] = a
	}
	return a
}

func (s *serving) unload(number uint32) {
	s.mu.Lock()
	m := s.modules[number]
	delete(s.modules, number)
	delete(s.owners, number)
	s.mu.Unlock()
	if m != nil {
		m.Close()
	}
}

func (s *serving) module(number uint32) (*sandbox.Module, *share.Account) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.modules[number], s.owners[number]
}

// call runs a guest.
func (s *serving) call(ctx context.Context, in *inbox, body []byte, arrived time.Time) {
	var m callMessage
	if err := m.decode(body); err != nil {
		s.reply(in, failed(err))
		return
	}
	module, account := s.module(m.module)
	if module == nil {
		s.reply(in, failed(sandbox.ErrClosed))
		return
	}
	if s.hooks.Before != nil || module.Idle() == 0 { // an instance has to be made, or waited for
		in.slow()
	}
	if s.hooks.Before != nil {
		if answer := s.misbehave(in, &m); answer != nil {
			s.reply(in, &resultMessage{usageBegan: -1, hasOutput: true, output: answer})
			return
		}
	}
	g := &asking{serving: s, link: s.link, in: in, ctx: ctx, account: account}
	var usage sandbox.Usage
	c := sandbox.Call{
		Export: m.export, WIT: abi.WIT(m.wit), Input: m.input, Context: m.context, MaxOutput: int(m.maxOutput), Usage: &usage,
		Beat: s.link.transport.beat(in.slot), Door: g, Files: g, Slow: in.slow,
	}
	if m.streams {
		c.Emit = g.emit
	}
	if m.nexts {
		c.Next = g.next
	}
	if m.logs {
		c.Log = g.log
	}
	if m.places {
		c.Place = g
	}
	if m.streams {
		c.WriteBy = func(deadline time.Time) { g.writeBy = deadline }
	}
	res, err := module.Call(ctx, c)
	out := &resultMessage{usageBegan: -1, usageFuel: max(0, usage.Fuel), usageBytes: usage.MemoryBytes}
	if !usage.Began.IsZero() {
		out.usageBegan = max(0, int64(usage.Began.Sub(arrived)))
	}
	if account != nil {
		out.account = s.report(account)
	}
	switch {
	case err != nil:
		out.err = &resultError{err: err}
	default:
		out.fuel, out.memory = res.Fuel, res.MemoryBytes
		out.output, out.hasOutput = res.Output, res.Output != nil
		if res.Interrupted {
			out.interrupted, out.output, out.hasOutput = true, res.Interrupt, res.Interrupt != nil
		}
	}
	s.reply(in, out)
}

// misbehave runs a test's hook as if it were the guest.
func (s *serving) misbehave(in *inbox, m *callMessage) []byte {
	beat := s.link.transport.beat(in.slot)
	if beat == nil {
		beat = new(sandbox.Beat)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	beat.Run(time.Now())
	answer := s.hooks.Before(m.export, m.input)
	beat.Rest() // not deferred: at a crash it says who ran
	return answer
}

var (
	_ sandbox.Door = (*asking)(nil)
	_ share.Place  = (*asking)(nil)
)

// Do asks the server for a capability.
func (g *asking) Do(ctx context.Context, c abi.Capability, request []byte) (json.RawMessage, error) {
	a, err := g.ask(ctx, &hostMessage{op: hostDo, capability: c, request: request})
	if err != nil {
		return nil, err
	}
	return a.value, nil
}

// Fetch asks the server for Extism's http_request.
func (g *asking) Fetch(ctx context.Context, request, body []byte) (*sandbox.Fetched, error) {
	a, err := g.ask(ctx, &hostMessage{op: hostFetch, request: request, body: body})
	if err != nil {
		return nil, err
	}
	return &sandbox.Fetched{Status: int(a.status), Headers: a.headers, Body: a.value}, nil
}

func (g *asking) next(ctx context.Context, request []byte) (json.RawMessage, error) {
	a, err := g.ask(ctx, &hostMessage{op: hostNext, request: request})
	if err != nil {
		return nil, err
	}
	return a.value, nil
}

// emit sends a chunk and waits until its reader has it, as a guest beside its host does:
// a slow reader slows the guest, against its deadline.
func (g *asking) emit(chunk json.RawMessage) error {
	w := writer{b: make([]byte, 0, 16+len(chunk))}
	w.int64(int64(time.Until(g.writeBy)))
	w.bytes(chunk)
	if err := g.link.send(g.in, kindChunk, w.b); err != nil {
		return err
	}
	for {
		msg, err := g.link.await(g.ctx, g.in)
		if err != nil {
			return status.Convert(err)
		}
		if msg.kind == kindCredit {
			return nil
		}
	}
}

// Leave gives the call's place back in the server, and says what is held meanwhile.
func (g *asking) Leave() {
	if g.in.slow != nil {
		g.in.slow()
	}
	w := writer{}
	report := share.Report{}
	if g.account != nil {
		report = g.serving.report(g.account)
	}
	writeReport(&w, report)
	_ = g.link.send(g.in, kindLeave, w.b)
}

// Return waits for a place in the server.
func (g *asking) Return(ctx context.Context) error {
	_, err := g.ask(ctx, &hostMessage{op: hostReturn})
	return err
}

func (g *asking) log(level sandbox.Level, line string) {
	w := writer{}
	w.byte(byte(level))
	w.string(line)
	_ = g.link.send(g.in, kindLog, w.b)
}
