package accesstest_test

import (
	"bytes"
	"context"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/access/accesstest"
)

// faulty is a store in memory with one fault.
type faulty struct {
	*access.Memory
	fault string

	mu      sync.Mutex // guards the fields below
	puts    int
	loading bool
	stale   map[string]string // what an earlier Load has found
	shared  map[string][]byte
}

func (f *faulty) Put(ctx context.Context, id string, record []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.puts++
	switch f.fault {
	case "keeps the first of two records":
		if !f.missing(ctx, id) {
			return nil
		}
	case "stores half of a record":
		record = record[:len(record)/2]
	case "keeps the caller's slice":
		if err := f.Memory.Put(ctx, id, record); err != nil {
			return err
		}
		f.shared[id] = record
		return nil
	case "takes any id":
		if status.Of(f.Memory.Put(ctx, id, nil)) == status.InvalidArgument {
			return nil
		}
	case "cuts long records":
		record = record[:min(len(record), access.MaxRecordBytes)]
	case "loses each hundredth write":
		if f.puts%100 == 0 {
			return nil
		}
	}
	return f.Memory.Put(ctx, id, record)
}

func (f *faulty) Delete(ctx context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case f.fault == "deletes nothing" && id == "a", f.fault == "loses a deletion while records are read" && f.loading:
		return nil
	case f.fault == "wants a record to delete" && f.missing(ctx, id):
		return status.ErrNotFound
	}
	return f.Memory.Delete(ctx, id)
}

func (f *faulty) missing(ctx context.Context, id string) bool {
	missing := true
	_ = f.Memory.Load(ctx, func(other string, _ []byte, _ error) error { missing = missing && other != id; return nil })
	return missing
}

func (f *faulty) Load(ctx context.Context, each func(string, []byte, error) error) error {
	all := map[string]string{}
	_ = f.Memory.Load(ctx, func(id string, record []byte, _ error) error { all[id] = string(record); return nil })
	f.mu.Lock()
	now := all
	if f.fault == "tells what was there before" && f.stale != nil {
		all = f.stale
	}
	f.stale, f.loading = now, true
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.loading = false
	}()
	for id, record := range all {
		raw := []byte(record)
		if shared, ok := f.shared[id]; ok {
			raw = bytes.Clone(shared)
		}
		err := each(id, raw, nil)
		if f.fault == "hands out what it keeps" && err == nil {
			err = f.Memory.Put(ctx, id, raw)
		}
		if f.fault == "tells a record twice" && err == nil {
			err = each(id, raw, nil)
		}
		if err != nil && f.fault != "goes on after an error" {
			return err
		}
	}
	return nil
}

func TestTheKitFindsFaults(t *testing.T) {
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		accesstest.Store(t, func(*testing.T) access.Store {
			return &faulty{Memory: access.NewMemory(), fault: fault, shared: map[string][]byte{}}
		})
	}, map[string]string{
		"keeps the first of two records":          "what is put is there",
		"stores half of a record":                 "what is put is there",
		"tells what was there before":             "what is put is there",
		"tells a record twice":                    "what is put is there",
		"deletes nothing":                         "what is put is there",
		"wants a record to delete":                "what is put is there",
		"keeps the caller's slice":                "bytes are the caller's",
		"hands out what it keeps":                 "bytes are the caller's",
		"takes any id":                            "ids and sizes are checked",
		"cuts long records":                       "ids and sizes are checked",
		"goes on after an error":                  "loading stops where it is told to",
		"loses a deletion while records are read": "a record may be changed while others are read",
		"loses each hundredth write":              "many at once",
	})
}
