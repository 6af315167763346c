package schema

import "context"

// A check of a hostile pair of schema and document takes up to a second of a processor. Its
// work is bounded (see workFor), it ends with its caller's context, and a host that shares the
// processors among callers can have it pause on the way.

// Pacer is told of the work of one check that takes long. It is used by one goroutine.
type Pacer interface {
	// Pause is called before the check goes on after each few milliseconds of work. It may
	// block, so that others come first; its error ends the check.
	Pause(ctx context.Context) error
	// End is called once, after the last Pause.
	End()
}

type pacerKey struct{}

// WithPacer returns a context under which each check that takes long has a pacer of its own,
// which start makes.
func WithPacer(ctx context.Context, start func() Pacer) context.Context {
	return context.WithValue(ctx, pacerKey{}, start)
}

// chunk is the work between two pauses: a few milliseconds of the slowest kind.
const chunk = 1 << 15

// pace holds the work that a check has left, and the pacer that it pauses for. The zero value is
// that of a check without a context, which never pauses.
type pace struct {
	ctx   context.Context //nolint:containedctx // that of the one check
	rest  int             // work beyond the chunk that is being used up
	pacer Pacer           // nil until the first pause, and where nobody paces
	err   error           // why the check ended, when its work was not used up
}

// begin splits work into the first chunk, which it returns, and the rest.
func (p *pace) begin(ctx context.Context, work int) int {
	first := min(work, chunk)
	p.ctx, p.rest = ctx, work-first
	return first
}

// more returns the next chunk of work after a pause; 0 when there is none, or the check is
// to end.
func (p *pace) more() int {
	if p.rest <= 0 || !p.pause() {
		return 0
	}
	n := min(p.rest, chunk)
	p.rest -= n
	return n
}

// pause reports whether the check may go on.
func (p *pace) pause() bool {
	if p.ctx == nil {
		return true
	}
	if p.err = p.ctx.Err(); p.err != nil {
		return false
	}
	if p.pacer == nil {
		start, ok := p.ctx.Value(pacerKey{}).(func() Pacer)
		if !ok {
			return true
		}
		p.pacer = start()
	}
	p.err = p.pacer.Pause(p.ctx)
	return p.err == nil
}

// end tells the pacer that the check has ended.
func (p *pace) end() {
	if p.pacer != nil {
		p.pacer.End()
	}
	*p = pace{}
}

// smallWork is how many bytes of JSON are worked on without waiting for a turn.
const smallWork = 16 << 10

// InTurn runs work on so many bytes of JSON that can't pause on the way, such as decoding
// them: after the first pause of a pacer of its own, where ctx has one ([WithPacer]) and
// there are enough of them. It fails as the pause and work do.
func InTurn(ctx context.Context, bytes int, work func() error) error {
	start, ok := ctx.Value(pacerKey{}).(func() Pacer)
	if !ok || bytes <= smallWork {
		return work()
	}
	p := start()
	defer p.End()
	if err := p.Pause(ctx); err != nil {
		return err
	}
	return work()
}
