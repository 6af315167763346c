package registry

import (
	"sync"
	"sync/atomic"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
)

// lazy is a plugin's later phases.
type lazy struct {
	name     string
	plugin   Plugin
	reg      *Registry
	init     Initializer
	resolver ActionResolver
	lister   ActionLister

	ready atomic.Bool // Register has run
	done  atomic.Bool // Init has run; set under starts.mu

	flight *flight // the Init that runs; guarded by starts.mu
	waits  []*lazy // the plugins whose start this one's Init waits for; guarded by starts.mu

	waiting waiting // of listings

	mu       sync.Mutex                   // guards resolved
	resolved map[action.Key]action.Action // actions that the resolver has made
}

func (l *lazy) phased() bool { return l.init != nil || l.resolver != nil || l.lister != nil }
