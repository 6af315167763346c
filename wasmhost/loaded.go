package wasmhost

import (
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/format"
	"github.com/genkit-wasm/genkit-wasm/engine/middleware"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/abi"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/policy"
)

// loaded is a module in service. One without actions has a problem, which its
// record tells.
type loaded struct {
	record   module.Record
	schemas  int64        // bytes of memory that its compiled schemas hold
	release  func()       // gives these back; nil: nothing
	number   atomic.Int64 // the record's revision, for those who call meanwhile
	guest    running
	text     *scriptText // nil: it is no script
	bytes    *upload
	actions  map[action.Key]action.Action
	descs    []action.Desc
	services *services
	values   map[string]map[string]any // by kind and name
	guests   []*guest                  // behind the values
	damage   error                     // why a stored module that is damaged can't be served
}

func (l *loaded) revision() int { return int(l.number.Load()) }

// stored is called when the record is that of the store, which has the bytes too.
func (l *loaded) stored() {
	l.number.Store(int64(l.record.Revision))
	l.bytes.wasm.Store(nil)
}

func (l *loaded) close() {
	if l.release != nil {
		l.release()
	}
	if l.guest != nil {
		l.guest.Close()
	}
	l.services.close()
}

// bind makes the actions and values that a descriptor names. A stored descriptor was bound before.
func (h *Host) bind(owner *tenant, l *loaded, d *abi.Descriptor, limits policy.Limits, stored bool) error {
	l.actions = map[action.Key]action.Action{}
	l.values = map[string]map[string]any{middleware.Kind: {}, format.Kind: {}}
	var limiter *rate.Limiter
	if n := limits.CallsPerMinute; n > 0 {
		limiter = rate.NewLimiter(rate.Every(time.Minute/time.Duration(n)), int(n))
	}
	newGuest := func(kind, name, export string) *guest {
		name = l.record.Name + "/" + name
		return &guest{
			host: h, owner: owner, of: l, module: l.guest, services: l.services, kind: kind, name: name, export: export, rate: limiter,
			log: h.log.With(slog.String("tenant", l.record.Tenant), slog.String(kind, name)),
		}
	}
	for _, t := range d.Tools {
		a, err := newTool(newGuest("tool", t.Name, t.Export), t, stored)
		if err != nil {
			return err
		}
		l.actions[a.Desc().Key()] = a
		l.descs = append(l.descs, a.Desc())
		l.record.Actions = append(l.record.Actions, a.Desc().Key().String())
	}
	for _, m := range d.Middleware {
		g := newGuest(middleware.Kind, m.Name, m.Export)
		f, err := newMiddleware(g, m, stored)
		if err != nil {
			return err
		}
		l.put(g, f)
	}
	for _, f := range d.Formats {
		g := newGuest(format.Kind, f.Name, f.Export)
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
