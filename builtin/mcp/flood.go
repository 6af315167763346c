package mcp

import (
	"sync"
	"time"
)

// Bounds of how many messages a connection may bring.
const (
	floodBurst  = 5000
	floodPerSec = 200
)

// flood counts the messages of a connection. The zero value is full. It is safe for concurrent use.
type flood struct {
	mu    sync.Mutex // guards the fields below
	used  float64
	since time.Time
}

// admit reports whether one more message is within bounds.
func (f *flood) admit() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := time.Now()
	f.used = max(0, f.used-now.Sub(f.since).Seconds()*floodPerSec)
	f.since = now
	if f.used+1 > floodBurst {
		return false
	}
	f.used++
	return true
}
