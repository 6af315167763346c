package worker

import (
	"context"
	"errors"
	"fmt"
)

// Bounds of one operation.
const (
	maxTransfer = 256 << 10 // bytes of a file: what WASI moves at a time
	maxNames    = 1024      // entries of a directory
	// maxHandles is the most files that a worker has open; each module has a bound of its own.
	maxHandles = 1024
	closeBytes = 4 // of a kindClose: the file's number
)

// Bounds of what waits in an inbox: a peer that sends more breaks the protocol. A call has
// at most its log lines, the files that it closes, its chunks in flight, one request and its
// result there.
const (
	maxQueued      = 600
	maxQueuedBytes = 64 << 20
)

// maxStrays bounds the frames that a worker may send for calls that have ended: it closes files, of
// which it has at most maxHandles open, and nothing else. One that has been taken over
// could keep the server busy with them.
const maxStrays = 4 * maxHandles

// newLink makes a link that ends with life.
func newLink(life context.Context, t transport) *link {
	l := &link{transport: t, dead: make(chan struct{})}
	l.life, l.end = context.WithCancel(life)
	return l
}

// run receives until the link ends.
func (l *link) run() {
	l.fail(l.transport.receive(l.handle, func() bool { return l.started == nil && l.active.Load() <= 1 }))
}

// fail ends the link.
func (l *link) fail(err error) {
	l.once.Do(func() {
		if err == nil {
			err = errors.New("the connection ended")
		}
		l.err = err
		close(l.dead)
		l.end()
		l.transport.close()
	})
}

// handle puts a frame where it belongs. A frame of a call that has ended is dropped.
func (l *link) handle(h header, payload []byte) (task, error) {
	in := l.inboxes[h.slot].Load()
	if l.started != nil && (h.kind == kindCall || h.kind == kindControl) && (in == nil || in.gen != h.gen) {
		in = &inbox{slot: h.slot, gen: h.gen} // the server has said that the slot is free
		l.inboxes[h.slot].Store(in)
		l.active.Add(1)
	}
	if in == nil || in.gen != h.gen {
		if (h.kind == kindClose || h.kind == kindHolding) && l.late != nil {
			l.late(h.kind, payload)
		}
		if l.strays++; l.strays > maxStrays && l.started == nil {
			return nil, fmt.Errorf("%w: %d frames of calls that have ended", errFrame, l.strays)
		}
		return nil, nil
	}
	l.strays = 0
	if h.kind == kindLeave && in.leave != nil && !h.more && h.size == h.total && int64(h.total) <= int64(l.limit(in, h.kind)) {
		// A timer sends it, perhaps between the pieces of another message of the call.
		return nil, in.leave(payload)
	}
	body, whole, err := in.join(h, payload, l.limit(in, h.kind))
	if err != nil || !whole {
		return nil, err
	}
	m := message{h.kind, body}
	switch {
	case l.started == nil:
	case h.kind == kindCall, h.kind == kindControl:
		return l.started(in, m), nil
	case h.kind == kindCancel:
		in.cancel()
		return nil, nil
	}
	ended, err := in.push(m)
	if ended && h.kind == kindClose && l.late != nil {
		l.late(h.kind, body)
	}
	return nil, err
}

func (l *link) limit(in *inbox, k kind) int {
	if l.most == nil {
		return maxMessage
	}
	return l.most(in, k)
}

// join puts the frames of a message together.
func (in *inbox) join(h header, payload []byte, most int) (body []byte, whole bool, err error) {
	if in.partial == nil {
		if int64(h.total) > int64(most) {
			return nil, false, fmt.Errorf("%w: a message of %d bytes, %d may come", errFrame, h.total, most)
		}
		if !h.more {
			if h.size != h.total {
				return nil, false, fmt.Errorf("%w: a message of %d bytes has %d", errFrame, h.total, h.size)
			}
			return payload, true, nil
		}
		in.total, in.kind = h.total, h.kind
		in.partial = make([]byte, 0, min(h.total, 4*maxFrame)) // not all of it on the peer's word
	}
	if h.kind != in.kind || h.total != in.total || uint64(len(in.partial))+uint64(h.size) > uint64(in.total) || h.size == 0 {
		return nil, false, fmt.Errorf("%w: a message in pieces that don't fit", errFrame)
	}
	in.partial = append(in.partial, payload...)
	if h.more {
		return nil, false, nil
	}
	if uint32(len(in.partial)) != in.total {
		return nil, false, fmt.Errorf("%w: a message of %d bytes has %d", errFrame, in.total, len(in.partial))
	}
	body, in.partial = in.partial, nil
	return body, true, nil
}

// push never blocks. It reports whether the call has ended, and nobody takes the message.
func (in *inbox) push(m message) (ended bool, err error) {
	in.mu.Lock()
	if in.ended {
		in.mu.Unlock()
		return true, nil
	}
	if len(in.queue) >= maxQueued || in.bytes+len(m.body) > max(maxQueuedBytes, in.want) {
		in.mu.Unlock()
		return false, fmt.Errorf("%w: more messages than a call may have", errFrame)
	}
	if len(in.queue) == 0 {
		in.queue = in.first[:0]
	}
	in.queue = append(in.queue, m)
	in.bytes += len(m.body)
	in.queued.Store(int32(len(in.queue)))
	bell := in.bell
	in.mu.Unlock()
	if bell != nil {
		select {
		case bell <- struct{}{}:
		default:
		}
	}
	return false, nil
}

// shut has the inbox take no more, and returns what nobody has taken.
func (in *inbox) shut() []message {
	in.mu.Lock()
	defer in.mu.Unlock()
	in.ended = true
	return in.queue
}

// listen returns the channel that gets a token when there is a message. A slot's calls use the same,
// one after the other: a token may be left from the one before.
func (l *link) listen(in *inbox) <-chan struct{} {
	in.mu.Lock()
	defer in.mu.Unlock()
	if in.bell == nil {
		at := &l.bells[in.slot]
		if at.Load() == nil {
			bell := make(chan struct{}, 1)
			at.CompareAndSwap(nil, &bell)
		}
		in.bell = *at.Load()
	}
	return in.bell
}

func (in *inbox) pop() (message, bool) {
	if in.queued.Load() == 0 {
		return message{}, false
	}
	in.mu.Lock()
	defer in.mu.Unlock()
	if len(in.queue) == 0 {
		return message{}, false
	}
	m := in.queue[0]
	in.queue[0] = message{}
	in.queue = in.queue[1:]
	in.bytes -= len(m.body)
	in.queued.Store(int32(len(in.queue)))
	return m, true
}

// errStopping ends an await when the pool closes.
var errStopping = errors.New("the pool is closing")

// await returns the call's next message. It fails with ctx's error, with errStopping, or
// with the link's.
func (l *link) await(ctx context.Context, in *inbox) (message, error) {
	return l.awaitUntil(ctx, in, l.life.Done())
}

// awaitUntil is await that goes on until end is closed, which is that of the link, or of
// its life.
func (l *link) awaitUntil(ctx context.Context, in *inbox, end <-chan struct{}) (message, error) {
	if m, ok := in.pop(); ok {
		return m, nil
	}
	if l.active.Load() == 1 { // with others, one receives for all
		l.transport.spin(l.handle, func() bool { return in.queued.Load() > 0 || l.active.Load() != 1 })
	} else if in.slow != nil {
		in.slow()
	}
	if m, ok := in.pop(); ok {
		return m, nil
	}
	for bell := l.listen(in); ; {
		if m, ok := in.pop(); ok {
			return m, nil
		}
		select {
		case <-bell:
		case <-ctx.Done():
			return message{}, ctx.Err()
		case <-end:
			if m, ok := in.pop(); ok { // it came before the end
				return m, nil
			}
			select {
			case <-l.dead:
				return message{}, l.err
			default:
				return message{}, errStopping
			}
		}
	}
}

// send sends a message of a call.
func (l *link) send(in *inbox, k kind, body []byte) error {
	h := header{kind: k, slot: in.slot, gen: in.gen, total: uint32(len(body))}
	if len(body) > maxMessage {
		return fmt.Errorf("a message of %d bytes is too long", len(body))
	}
	for {
		n := min(len(body), maxFrame)
		h.size, h.more = uint32(n), n < len(body)
		if err := l.transport.send(&h, body[:n]); err != nil {
			select {
			case <-l.dead:
				return l.err
			default:
			}
			l.fail(err)
			return l.err
		}
		if body = body[n:]; len(body) == 0 {
			return nil
		}
	}
}

// answer sends the answer to a guest's question.
func (l *link) answer(in *inbox, a *answerMessage) error {
	w := newWriter()
	defer w.free()
	a.write(w)
	return l.send(in, kindAnswer, w.b)
}

// leave ends a call's use of its slot, on the worker's side.
func (l *link) leave(in *inbox) {
	if l.inboxes[in.slot].CompareAndSwap(in, nil) {
		l.active.Add(-1)
	}
}
