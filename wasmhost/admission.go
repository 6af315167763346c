package wasmhost

import (
	"context"
	"io"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// A server asks for admission in a tenant's name before it reads a request's body,
// so that a request that is refused or has to wait costs next to nothing: [Host.BeginRequest]
// counts its bytes, [Host.BeginCall] gives it its place in the queue of calls,
// [Host.BeginLoad] in the one of uploads, and [Host.Decode] the processor on which its
// body is decoded.

// Request is a request whose body a server holds. It is used by one goroutine at a time.
type Request struct {
	tenant *tenant
	held   int64
}

// requestStep is by how much the count of a body of unknown length grows.
const requestStep = 64 << 10

// requestCost is the memory that a request takes besides its body, about, so that the
// number of requests is bounded, too.
const requestCost = 8 << 10

// BeginRequest counts a request with a body of so many bytes, or of an unknown length
// when that is negative; one with less than 8 KiB counts as that. It fails with RESOURCE_EXHAUSTED when the tenant's requests under
// way, or those of all tenants, hold as many bytes as they may, and with NOT_FOUND when
// there is no such tenant. The request ends with [Request.Done].
func (h *Host) BeginRequest(tenantName string, bytes int64) (*Request, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	if bytes < 0 {
		bytes = requestStep
	}
	r := &Request{tenant: t}
	return r, r.hold(max(bytes, requestCost))
}

func (r *Request) hold(bytes int64) error {
	if err := r.tenant.requests.Take(bytes); err != nil {
		return err
	}
	r.held += bytes
	return nil
}

// Body returns body, whose bytes beyond those that were announced are counted while they
// are read; reading fails when there may be no more of them.
func (r *Request) Body(body io.ReadCloser) io.ReadCloser { return &counted{ReadCloser: body, of: r} }

// Done gives the request's bytes back; more than once does no harm.
func (r *Request) Done() {
	r.tenant.requests.Give(r.held)
	r.held = 0
}

type counted struct {
	io.ReadCloser
	of   *Request
	read int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	if c.read += int64(n); c.read > c.of.held {
		if more := c.of.hold(max(requestStep, c.read-c.of.held)); more != nil {
			return 0, more
		}
	}
	return n, err
}

// Admission is a call's slot in its tenant's queue, taken before its request was read. It
// is used by one goroutine at a time.
type Admission struct {
	// Context is the context of the call: a guest that it reaches runs in this slot.
	Context context.Context //nolint:containedctx // it carries the slot
	pass    *tenants.Pass
	done    func()
}

// BeginCall waits for the slot of a call that is still to be read, when key names a tool of
// a module; for other actions it returns an admission without a slot. It fails as a call of
// the tool does when it gets no slot: RESOURCE_EXHAUSTED, at once when the queue is full.
// The call ends with [Admission.Done].
func (h *Host) BeginCall(ctx context.Context, tenantName string, key action.Key) (*Admission, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	if h.loadedOf(t, key) == nil {
		return &Admission{Context: ctx, done: func() {}}, nil
	}
	inside, done, err := t.calls.Reserve(ctx)
	if err != nil {
		return nil, err
	}
	return &Admission{Context: inside, pass: t.calls.PassOf(inside), done: done}, nil
}

// Waits runs work, such as reading the request, while others have the slot.
func (t *Admission) Waits(work func() error) error {
	if t.pass == nil {
		return work()
	}
	t.pass.Leave()
	if err := work(); err != nil {
		return err
	}
	return t.pass.Return(t.Context)
}

// OfModule reports whether the call is one of a module, which makes an event by itself.
func (t *Admission) OfModule() bool { return t.pass != nil }

// Done ends the call; more than once does no harm.
func (t *Admission) Done() { t.done() }

// BeginLoad waits for the slot of an upload, before its bytes are brought into memory;
// [Host.Load] under the context that it returns needs no other. It fails with
// RESOURCE_EXHAUSTED when too many wait. The function ends it.
func (h *Host) BeginLoad(ctx context.Context, tenantName string) (context.Context, func(), error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, nil, err
	}
	return t.loads.Reserve(ctx)
}

// BeginList waits for the slot of a request that lists modules or actions: what it answers
// may be many megabytes, for as long as its reader takes. It fails with RESOURCE_EXHAUSTED
// when too many wait. The function ends it.
func (h *Host) BeginList(ctx context.Context, tenantName string) (func(), error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	_, done, err := t.lists.Enter(ctx)
	return done, err
}

// BeginGenerate counts a generate call of the tenant, until the function is called. It
// fails at once with RESOURCE_EXHAUSTED when as many run as may.
func (h *Host) BeginGenerate(tenantName string) (func(), error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, err
	}
	return t.beginGenerate()
}

// Decode runs work, which decodes a body, on one of the processors that are there for it,
// for which tenants wait in turn.
func (h *Host) Decode(ctx context.Context, tenantName string, work func() error) error {
	t, err := h.tenant(tenantName)
	if err != nil {
		return err
	}
	_, done, err := t.decodes.Enter(ctx)
	if err != nil {
		return err
	}
	defer done()
	return work()
}

// Pace returns a context under which the checks of schemas that take long come in the
// tenant's slot, for a few milliseconds at a time, as its guests do: at most one fewer than
// there are processors run at a time, of all tenants together. An unknown tenant changes
// nothing.
func (h *Host) Pace(ctx context.Context, tenantName string) context.Context {
	t, err := h.tenant(tenantName)
	if err != nil {
		return ctx
	}
	return schema.WithPacer(ctx, func() schema.Pacer { return &checkPacer{queue: t.checks} })
}

// checkPacer takes a place in the queue of checks for each few milliseconds of one.
type checkPacer struct {
	queue *tenants.Tenant
	pass  *tenants.Pass
	leave func()
}

// Pause implements [schema.Pacer].
func (p *checkPacer) Pause(ctx context.Context) error {
	if p.pass == nil {
		inside, leave, err := p.queue.Enter(ctx)
		if err != nil {
			return err
		}
		p.pass, p.leave = p.queue.PassOf(inside), leave
		return nil
	}
	p.pass.Leave()
	return p.pass.Return(ctx)
}

// End implements [schema.Pacer].
func (p *checkPacer) End() {
	if p.leave != nil {
		p.leave()
	}
}

// BeginRun begins a request that runs something of the tenant, or uploads to it. The context
// that it returns ends when the tenant is suspended or erased, with the reason as its cause
// ([context.Cause]). It fails with PERMISSION_DENIED while the tenant is suspended and with
// NOT_FOUND when there is no such tenant. The function ends the request.
func (h *Host) BeginRun(ctx context.Context, tenantName string) (context.Context, func(), error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return nil, nil, err
	}
	ends, err := t.serving.watch()
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(ends, func() { cancel(context.Cause(ends)) })
	return ctx, func() {
		stop()
		cancel(nil)
	}, nil
}

// TenantID returns the ID with which the tenant was set (see [TenantConfig]); NOT_FOUND when
// there is no such tenant.
func (h *Host) TenantID(tenantName string) (string, error) {
	t, err := h.tenant(tenantName)
	if err != nil {
		return "", err
	}
	return t.config.ID, nil
}
