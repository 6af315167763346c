package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/sandbox"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// guest binds one tool, middleware or format to the module that serves it: a module in service,
// called by that name.
type guest struct {
	host     *Host
	owner    *tenant
	of       *loaded
	module   running
	kind     string // "tool", [middleware.Kind] or [format.Kind]
	name     string // "<module>/<name>"
	export   string // of a middleware or format
	services *services
	rate     *rate.Limiter // nil: no limit; the module's
	log      *slog.Logger
}

// once calls the module that the guest was made for; [sandbox.ErrClosed] when that is
// no longer in service.
func (g *guest) once(ctx context.Context, call sandbox.Call) (*sandbox.Result, error) {
	if g.rate != nil {
		if r := g.rate.Reserve(); r.Delay() > 0 {
			wait := r.Delay()
			r.Cancel()
			return nil, status.Publicf(status.ResourceExhausted, "%s %q is called too often; try again in %v", g.kind, g.name, wait.Round(time.Second)).WithRetryAfter(wait)
		}
	}
	calls := &hostCalls{services: g.services, tree: callTreeOf(ctx)}
	defer calls.forget()
	call.Context, call.Door = action.Context(ctx), calls
	call.Log = func(level sandbox.Level, line string) {
		line = g.of.text.place(line)
		line = tenants.CutLine(line, maxLineBytes)
		if g.log.Enabled(ctx, slogLevel(level)) && !g.owner.lines.Take(tenants.LineBytes(line)) {
			return
		}
		telemetry.Event(ctx, "guest.log", slog.String("level", slogLevel(level).String()), slog.String("line", line))
		g.log.LogAttrs(ctx, slogLevel(level), GuestLog, slog.String("line", line))
	}
	if call.Emit != nil {
		call.WriteBy = writeBy(ctx)
	}
	var usage sandbox.Usage
	call.Usage = &usage
	res, err := g.admitted(ctx, call)
	if usage.Fuel > 0 { // it ran, with or without success
		telemetry.AnnotateInt(ctx, "wasm.fuel.consumed", usage.Fuel)
		telemetry.AnnotateInt(ctx, "wasm.memory.peak_bytes", usage.MemoryBytes)
	}
	if calls.calls > 0 {
		telemetry.AnnotateInt(ctx, "wasm.host.calls", calls.calls)
		telemetry.AnnotateInt(ctx, "wasm.http.requests", calls.requests.Load())
	}
	return res, g.of.text.locate(err)
}

// call is once for middleware and formats: when the module was replaced meanwhile, the
// one that is in service now serves, if it still has the function.
func (g *guest) call(ctx context.Context, call sandbox.Call) (*sandbox.Result, error) {
	call.Export = g.export
	res, err := g.once(ctx, call)
	if !errors.Is(err, sandbox.ErrClosed) || g.host.isClosed() {
		return res, err
	}
	successor := g.host.guestOf(g.owner.name, g.kind, g.name)
	if successor == nil {
		return nil, err
	}
	call.Export = successor.export
	return successor.once(ctx, call)
}

// guestOf finds the guest that serves a name now.
func (h *Host) guestOf(tenantName, kind, name string) *guest {
	h.mu.RLock()
	defer h.mu.RUnlock()
	t, ok := h.tenants[tenantName]
	if !ok {
		return nil
	}
	module, _, _ := strings.Cut(name, "/")
	l, ok := t.modules[module]
	if !ok {
		return nil
	}
	for _, g := range l.guests {
		if g.kind == kind && g.name == name {
			return g
		}
	}
	return nil
}

// maxLineBytes bounds a guest's line as it is written: what the sandbox lets through, and
// the mark that it was cut.
const maxLineBytes = sandbox.MaxLogBytes + len("…")

// GuestLog is the message under which a guest's lines are logged, each in the
// attribute "line".
const GuestLog = "guest"

// LevelTrace is the level at which a guest's trace lines are logged.
const LevelTrace = slog.LevelDebug - 4

func slogLevel(l sandbox.Level) slog.Level {
	switch l {
	case sandbox.LevelTrace:
		return LevelTrace
	case sandbox.LevelDebug:
		return slog.LevelDebug
	case sandbox.LevelWarn:
		return slog.LevelWarn
	case sandbox.LevelError:
		return slog.LevelError
	}
	return slog.LevelInfo
}

// admitted runs a guest's function in its tenant's slot, and bills it by c.Usage.
func (g *guest) admitted(ctx context.Context, c sandbox.Call) (*sandbox.Result, error) {
	arrived := time.Now()
	if err := g.owner.serving.check(); err != nil {
		return nil, err
	}
	if wait := g.owner.account.FuelWait(); wait > 0 {
		return nil, status.Publicf(status.ResourceExhausted, "the tenant has used up its fuel of %d units a minute; try again in %v", g.owner.quota.FuelPerMinute, wait.Round(time.Second)).
			WithRetryAfter(wait)
	}
	if calls, ok := c.Door.(*hostCalls); ok && calls.http != nil {
		if err := g.owner.egressLeft(); err != nil {
			return nil, err
		}
	}
	inside, leave, err := g.owner.calls.Enter(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	c.Place = g.owner.calls.PassOf(inside)
	res, err := g.module.Call(inside, c)
	if errors.Is(err, sandbox.ErrClosed) {
		return nil, err // it will be billed to its successor
	}
	end := time.Now()
	start := c.Usage.Began
	if start.IsZero() {
		start = end // it never ran
	}
	queued := start.Sub(arrived)
	if p := g.owner.calls.PassOf(inside); p.Began().Before(arrived) { // it was let in before it was read
		queued += p.Queued()
	}
	e := tenants.Event{
		Time: end, Tenant: g.owner.name, Module: g.of.record.Name, Revision: g.of.revision(), Digest: g.of.record.Digest, Tool: g.name, Code: status.Of(err),
		Fuel: c.Usage.Fuel, QueuedNS: queued, WallNS: end.Sub(start), MemoryBytes: c.Usage.MemoryBytes,
		InputBytes: len(c.Input), TenantID: g.owner.config.ID, Caller: tenants.CallerOf(ctx),
	}
	if g.kind != "tool" {
		e.Kind = g.kind
	}
	if calls, ok := c.Door.(*hostCalls); ok {
		e.EgressBytes = calls.sent.Load()
	}
	if res != nil {
		e.OutputBytes = len(res.Output)
	}
	g.owner.bill.add(&e)
	if g.host.usage != nil {
		g.host.usage.Record(e)
	}
	return res, err
}
