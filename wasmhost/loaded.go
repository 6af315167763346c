package wasmhost

import (
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/internal/services"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/module"
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
	services *services.Services
	values   map[string]map[string]any // by kind and name
	guests   []*guest                  // behind the values, and the actions that are no tools
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
	l.services.Close()
}

// serve keeps actions of the module.
func (l *loaded) serve(actions ...action.Action) {
	for _, a := range actions {
		l.actions[a.Desc().Key()] = a
		l.descs = append(l.descs, a.Desc())
		l.record.Actions = append(l.record.Actions, a.Desc().Key().String())
	}
}

// put keeps a value of the module.
func (l *loaded) put(g *guest, value any) {
	l.values[g.kind][g.name] = value
	l.guests = append(l.guests, g)
	l.record.Values = append(l.record.Values, "/"+g.kind+"/"+g.name)
}
