package server

import (
	"sync"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// reporting bounds the reports at a time: each may read the files of many days.
type reporting struct {
	operators, tenants chan struct{}

	mu      *sync.Mutex     // guards reading
	reading map[string]bool // tenants that have one
}

// Reports at a time, of operators and of tenants, each of which may have one.
const (
	operatorReports = 2
	tenantReports   = 4
)

func newReporting() reporting {
	return reporting{make(chan struct{}, operatorReports), make(chan struct{}, tenantReports), &sync.Mutex{}, map[string]bool{}}
}

// begin refuses a report where as many are under way as may be. tenantName is empty for an operator's.
func (r *reporting) begin(tenantName string) (done func(), err error) {
	busy := status.Publicf(status.Unavailable, "other reports are under way").WithRetryAfter(time.Second)
	places := r.operators
	if tenantName != "" {
		places = r.tenants
		r.mu.Lock()
		defer r.mu.Unlock()
		if r.reading[tenantName] {
			return nil, busy
		}
	}
	select {
	case places <- struct{}{}:
	default:
		return nil, busy
	}
	if tenantName != "" {
		r.reading[tenantName] = true
	}
	return func() {
		<-places
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.reading, tenantName)
	}, nil
}
