package wasmhost

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/engine/telemetry"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/sandbox"
)

// guest is what stands behind a tool, a middleware or a format: a module in service,
// called by that name.
type guest struct {
	host     *Host
	owner    *tenant
	of       *loaded
	module   *sandbox.Module
	kind     string // "tool", [middleware.Kind] or [format.Kind]
	name     string // "<module>/<name>"
	export   string // of a middleware or format
	services *services
	rate     *rate.Limiter // nil: no limit; the module's
	log      *slog.Logger
}

// bind makes what a descriptor names: actions and values.
func (h *Host) bind(owner *tenant, l *loaded, d *abi.Descriptor, limits policy.Limits) error {
	l.actions = map[action.Key]action.Action{}
	l.values = map[string]map[string]any{middleware.Kind: {}, format.Kind: {}}
	var limiter *rate.Limiter
	if n := limits.CallsPerMinute; n > 0 {
		limiter = rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), int(n))
	}
	stand := func(kind, name, export string) *guest {
		name = l.record.Name + "/" + name
		return &guest{
			host: h, owner: owner, of: l, module: l.guest, services: l.services, kind: kind, name: name, export: export, rate: limiter,
			log: h.log.With(slog.String("tenant", l.record.Tenant), slog.String(kind, name)),
		}
	}
	for _, t := range d.Tools {
		a, err := newTool(stand("tool", t.Name, t.Export), t)
		if err != nil {
			return err
		}
		l.actions[a.Desc().Key()] = a
		l.descs = append(l.descs, a.Desc())
		l.record.Actions = append(l.record.Actions, a.Desc().Key().String())
	}
	for _, m := range d.Middleware {
		g := stand(middleware.Kind, m.Name, m.Export)
		f, err := newMiddleware(g, m)
		if err != nil {
			return err
		}
		l.put(g, f)
	}
	for _, f := range d.Formats {
		g := stand(format.Kind, f.Name, f.Export)
		l.put(g, newFormat(g, f))
	}
	return nil
}

// put keeps a value of the module.
func (l *loaded) put(g *guest, value any) {
	l.values[g.kind][g.name] = value
	l.guests = append(l.guests, g)
	l.record.Values = append(l.record.Values, "/"+g.kind+"/"+g.name)
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
	visit := &visit{services: g.services, nest: nestOf(ctx)}
	call.Context, call.Door = action.Context(ctx), visit
	call.Log = func(level sandbox.Level, line string) {
		telemetry.Event(ctx, "guest.log", slog.String("level", slogLevel(level).String()), slog.String("line", line))
		g.log.LogAttrs(ctx, slogLevel(level), GuestLog, slog.String("line", line))
	}
	var usage sandbox.Usage
	call.Usage = &usage
	res, err := g.inTurn(ctx, call)
	if usage.Fuel > 0 { // it ran, whatever it came to
		telemetry.AnnotateInt(ctx, "wasm.fuel.consumed", usage.Fuel)
		telemetry.AnnotateInt(ctx, "wasm.memory.peak_bytes", usage.MemoryBytes)
	}
	if visit.calls > 0 {
		telemetry.AnnotateInt(ctx, "wasm.host.calls", visit.calls)
		telemetry.AnnotateInt(ctx, "wasm.http.requests", visit.requests.Load())
	}
	return res, err
}

// call is once for middleware and formats: when the module was replaced meanwhile, the
// one that is in service now serves, if it still has what is called.
func (g *guest) call(ctx context.Context, call sandbox.Call) (*sandbox.Result, error) {
	call.Export = g.export
	res, err := g.once(ctx, call)
	if !errors.Is(err, sandbox.ErrClosed) || g.host.isClosed() {
		return res, err
	}
	heir := g.host.guestOf(g.owner.name, g.kind, g.name)
	if heir == nil {
		return nil, err
	}
	call.Export = heir.export
	return heir.once(ctx, call)
}

// guestOf finds what stands behind a name now.
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
