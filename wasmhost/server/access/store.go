package access

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Store keeps small records by their ids, which are 1 to 64 small letters, digits and
// hyphens. The contract, which the kit in the package accesstest checks:
//
//   - Load calls each with every record, in any order, once. A record that is damaged comes
//     with a DATA_LOSS error in the place of its bytes, and keeps no other from being read.
//     It stops at the first error of each and returns it.
//   - Put stores a record, or puts it in the place of the one that the id had. When it
//     returns nil the record outlives the process; when it fails, the old one is still
//     there.
//   - Delete removes a record; one that is not there is no failure.
//
// A record has at most [MaxRecordBytes]; Put fails with RESOURCE_EXHAUSTED for a larger one.
// A store is safe for concurrent use and belongs to one [Keys].
type Store interface {
	Load(ctx context.Context, each func(id string, record []byte, damage error) error) error
	Put(ctx context.Context, id string, record []byte) error
	Delete(ctx context.Context, id string) error
}

// MaxRecordBytes bounds a record of a [Store].
const MaxRecordBytes = 1 << 20

// Memory is a store that forgets with its process. It is safe for concurrent use.
type Memory struct {
	mu      sync.Mutex // guards records
	records map[string][]byte
}

var _ Store = (*Memory)(nil)

// NewMemory returns an empty store.
func NewMemory() *Memory { return &Memory{records: map[string][]byte{}} }

// Load calls each with every record.
func (m *Memory) Load(_ context.Context, each func(string, []byte, error) error) error {
	m.mu.Lock()
	all := maps.Clone(m.records)
	m.mu.Unlock()
	for _, id := range slices.Sorted(maps.Keys(all)) {
		if err := each(id, bytes.Clone(all[id]), nil); err != nil {
			return err
		}
	}
	return nil
}

// Put stores a record.
func (m *Memory) Put(_ context.Context, id string, record []byte) error {
	if err := checkRecord(id, record); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.records[id] = bytes.Clone(record)
	return nil
}

// Delete removes a record.
func (m *Memory) Delete(_ context.Context, id string) error {
	if err := checkRecord(id, nil); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.records, id)
	return nil
}

// checkRecord checks what a store is given.
func checkRecord(id string, record []byte) error {
	for i := range len(id) {
		if c := id[i]; (c < 'a' || c > 'z') && (c < '0' || c > '9') && c != '-' {
			return status.Errorf(status.InvalidArgument, "%q is not a usable id of a record", shown(id))
		}
	}
	switch {
	case id == "" || len(id) > 64:
		return status.Errorf(status.InvalidArgument, "%q is not a usable id of a record", shown(id))
	case len(record) > MaxRecordBytes:
		return status.Errorf(status.ResourceExhausted, "the record %q has %d bytes, more than %d", id, len(record), MaxRecordBytes)
	}
	return nil
}
