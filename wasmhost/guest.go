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
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/worker"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/script"
	tenants "github.com/genkit-wasm/genkit-wasm/wasmhost/tenant"
)

// guest binds one tool, middleware, format or other action to the module that serves it: a module
// in service, called by that name.
type guest struct {
	host     inService
	owner    *capacity
	of       string      // the name of the module
	digest   string      // of its bytes
	revision func() int  // that it has now
	text     *scriptText // nil: it is no script
	module   running
	kind     string // "tool", [middleware.Kind], [format.Kind] or that of another action
	name     string // "<module>/<name>"
	export   string // of what is no tool
	services *services.Services
	rate     *rate.Limiter // nil: no limit; the module's
	usage    tenants.Sink  // nil: nobody asks
	log      *slog.Logger
}

// inService finds the module that serves a name now, for a call whose own was replaced
// meanwhile. [Host] does.
type inService interface {
	// guestOf returns nil when none serves the name.
	guestOf(tenant, kind, name string) *guest
	// actionOf fails as [registry.Provider]'s Resolve does.
	actionOf(ctx context.Context, tenant string, key action.Key) (action.Action, error)
	isClosed() bool
}

// asking is what a guest asks, as [services.Call] counts it.
type asking interface {
	HTTPBytes() int64
	Sends() bool
}

// once calls the module that the guest was made for; [sandbox.ErrClosed] when that is
// no longer in service.
func (g *guest) once(ctx context.Context, call sandbox.Call) (*sandbox.Result, error) {
	if g.rate != nil {
		if r := g.rate.Reserve(); r.Delay() > 0 {
			wait := r.Delay()
			r.Cancel()
			return nil, g.refused(ctx, status.Publicf(status.ResourceExhausted, "%s %q is called too often; try again in %v", g.kind, g.name, wait.Round(time.Second)).WithRetryAfter(wait))
		}
	}
	calls := g.services.Call(ctx)
	defer calls.Done()
	call.Context, call.Door = action.Context(ctx), calls
	call.Log = func(level sandbox.Level, line string) {
		line = g.text.place(line)
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
	ended := interceptor(ctx, g.kind, g.name, &call, calls)
	var usage sandbox.Usage
	call.Usage = &usage
	res, err := g.admitted(ctx, call)
	ended(res, usage.Fuel, err)
	if usage.Fuel > 0 { // it ran, with or without success
		telemetry.AnnotateInt(ctx, "wasm.fuel.consumed", usage.Fuel)
		telemetry.AnnotateInt(ctx, "wasm.memory.peak_bytes", usage.MemoryBytes)
	}
	if calls.Asked() > 0 {
		telemetry.AnnotateInt(ctx, "wasm.host.calls", calls.Asked())
		telemetry.AnnotateInt(ctx, "wasm.http.requests", calls.HTTPRequests())
	}
	return res, g.text.locate(err)
}

// call is once for all but tools: when the module was replaced meanwhile, the
// one that is in service now serves, if it still has the function.
func (g *guest) call(ctx context.Context, call sandbox.Call) (*sandbox.Result, error) {
	in := call.Input
	call.Export, call.Input = g.export, g.input(in)
	res, err := g.once(ctx, call)
	if !errors.Is(err, sandbox.ErrClosed) || g.host.isClosed() {
		return res, err
	}
	successor := g.host.guestOf(g.owner.name, g.kind, g.name)
	if successor == nil {
		return nil, err
	}
	call.Export, call.Input = successor.export, successor.input(in)
	return successor.once(ctx, call)
}

// input is in as the guest reads it: all that a script declares is behind one function, which is told what is meant.
func (g *guest) input(in []byte) []byte {
	if g.text == nil {
		return in
	}
	return script.Input(g.kind, strings.TrimPrefix(g.name, g.of+"/"), in)
}

// maxLineBytes bounds a guest's line as it is written: what the sandbox lets through, and
// the mark that it was cut.
const maxLineBytes = sandbox.MaxLogBytes + len("…")

// GuestLog is the message under which a guest's lines are logged, each in the
// attribute "line".
const GuestLog = "guest"

// admitted runs a guest's function in its tenant's slot, and bills it by c.Usage.
func (g *guest) admitted(ctx context.Context, c sandbox.Call) (*sandbox.Result, error) {
	arrived := time.Now()
	inside, leave, err := g.enter(ctx, c)
	if err != nil {
		return nil, g.refused(ctx, err)
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
		Time: end, Tenant: g.owner.name, Module: g.of, Revision: g.revision(), Digest: g.digest, Tool: g.name, Code: status.Of(err),
		Fuel: c.Usage.Fuel, QueuedNS: queued, WallNS: end.Sub(start), MemoryBytes: c.Usage.MemoryBytes,
		InputBytes: len(c.Input), TenantID: g.owner.config.ID, Caller: tenants.CallerOf(ctx),
	}
	e.Kind = billed(g.kind)
	if calls, ok := c.Door.(asking); ok {
		e.EgressBytes = calls.HTTPBytes()
	}
	if res != nil {
		e.OutputBytes = len(res.Output)
	}
	g.owner.bill.add(&e)
	if _, ok := g.usage.(tenants.Refuser); ok && neverRan(c.Usage, err) {
		return res, g.refused(ctx, err)
	}
	if g.usage != nil {
		g.usage.Record(e)
		tenants.Note(ctx)
	}
	return res, err
}

// billed is the kind of an event: empty for a tool. A model's calls are counted, with their
// tokens, under the kind "model" by the loop that makes them; what its guest takes has another name.
func billed(kind string) string {
	switch kind {
	case "tool":
		return ""
	case string(action.Model):
		return "module-model"
	}
	return kind
}

// neverRan reports whether a call has failed before its guest began, because there was no memory for an
// instance, or no worker.
func neverRan(u *sandbox.Usage, err error) bool {
	return err != nil && u.Began.IsZero() && (status.Of(err) == status.ResourceExhausted || worker.Refused(err))
}

// enter lets a call begin, when the tenant may make one now, and waits for its slot.
func (g *guest) enter(ctx context.Context, c sandbox.Call) (context.Context, func(), error) {
	if err := g.owner.serving.check(); err != nil {
		return nil, nil, err
	}
	if wait := g.owner.account.FuelWait(); wait > 0 {
		return nil, nil, status.Publicf(status.ResourceExhausted, "the tenant has used up its fuel of %d units a minute; try again in %v", g.owner.quota.FuelPerMinute, wait.Round(time.Second)).
			WithRetryAfter(wait).WithDetails(map[string]string{"quota": "fuelPerMinute"})
	}
	if calls, ok := c.Door.(asking); ok && calls.Sends() {
		if err := g.owner.egressLeft(); err != nil {
			return nil, nil, err
		}
	}
	return g.owner.calls.Enter(ctx)
}

// refused tells who asks that the call did not run, and returns why. One that its caller has given
// up was not refused.
func (g *guest) refused(ctx context.Context, why error) error {
	if r, ok := g.usage.(tenants.Refuser); ok && ctx.Err() == nil {
		r.Refuse(g.owner.name, g.owner.config.ID, why)
		tenants.Note(ctx)
	}
	return why
}
