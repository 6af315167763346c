package enginetest_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/enginetest"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
)

// faultyAgents is a store in memory with one fault.
type faultyAgents struct {
	*agent.Memory
	fault string

	mu     sync.Mutex
	last   string // written
	shared map[string]*agent.Snapshot
	calls  int
}

func (f *faultyAgents) Get(ctx context.Context, id string) (*agent.Snapshot, error) {
	if f.fault == "ignores contexts" {
		ctx = context.WithoutCancel(ctx)
	}
	s, err := f.Memory.Get(ctx, id)
	if f.fault == "shares its memory" && err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.shared[id] == nil {
			f.shared[id] = s
		}
		return f.shared[id], nil
	}
	return s, err
}

func (f *faultyAgents) Latest(ctx context.Context, session string) (*agent.Snapshot, error) {
	f.mu.Lock()
	last := f.last
	f.mu.Unlock()
	if f.fault == "takes the last written for the latest" && last != "" {
		return f.Memory.Get(ctx, last)
	}
	return f.Memory.Latest(ctx, session)
}

func (f *faultyAgents) Update(ctx context.Context, id string, change func(*agent.Snapshot) (*agent.Snapshot, error)) (*agent.Snapshot, error) {
	if f.fault == "loses changes" {
		f.mu.Lock()
		if f.calls++; f.calls%2 == 1 || f.shared[id] == nil { // each second one does not see the one before
			f.shared[id], _ = f.Memory.Get(ctx, id)
		}
		var stored *agent.Snapshot
		if f.shared[id] != nil {
			stored = new(*f.shared[id])
		}
		f.mu.Unlock()
		next, err := change(stored)
		return f.Memory.Update(ctx, id, func(*agent.Snapshot) (*agent.Snapshot, error) { return next, err })
	}
	written, err := f.Memory.Update(ctx, id, func(stored *agent.Snapshot) (*agent.Snapshot, error) {
		next, err := change(stored)
		switch {
		case f.fault == "writes what failed":
			if next != nil {
				return next, nil
			}
		case f.fault == "writes nothing as something" && next == nil && err == nil:
			return stored, nil
		case f.fault == "drops the custom state" && next != nil && next.State != nil:
			next.State.Custom = nil
		case f.fault == "makes a session up" && next != nil && next.SessionID == "":
			next.SessionID = "made-up"
		}
		return next, err
	})
	if f.fault == "writes what failed" && err == nil && written != nil && written.ParentID == "y" {
		return nil, errors.New("another error")
	}
	f.mu.Lock()
	f.last = id
	f.mu.Unlock()
	return written, err
}

func (f *faultyAgents) Watch(ctx context.Context, id string) (<-chan agent.Status, error) {
	if f.fault == "tells nothing later" {
		s, err := f.Memory.Get(ctx, id)
		c := make(chan agent.Status, 1)
		if err == nil {
			c <- s.Status
		} else if !errors.Is(err, status.ErrNotFound) {
			return nil, err
		}
		close(c)
		return c, nil
	}
	return f.Memory.Watch(ctx, id)
}

func TestTheKitOfAgentStoresFindsFaults(t *testing.T) {
	kittest.Run(t, func(t *testing.T, fault string) {
		enginetest.AgentStore(t, func(*testing.T) agent.Store {
			return &faultyAgents{Memory: agent.NewMemory(agent.MemoryConfig{}), fault: fault, shared: map[string]*agent.Snapshot{}}
		})
	}, map[string]string{
		"drops the custom state":                "a snapshot is kept as it was given",
		"writes what failed":                    "a change to nothing writes nothing",
		"writes nothing as something":           "a change to nothing writes nothing",
		"makes a session up":                    "ids and sessions stay",
		"takes the last written for the latest": "the newest end of a chain is the latest",
		"shares its memory":                     "what is stored is nobody else's to change",
		"loses changes":                         "writers at the same time lose nothing",
		"ignores contexts":                      "a context that has ended ends a call",
		"tells nothing later":                   "a watcher is told each status",
	})
}
