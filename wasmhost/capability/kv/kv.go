// Package kv is a small key-value store for guests: JSON values under string keys,
// a namespace for each tenant and module, with quotas, expiry and an atomic
// set-if.
//
// It owns the interface [Store], the store in memory and the one in a file, which
// survives a restart. Use:
//
//	store, err := kv.Open("data/kv.db")
//	err = store.Set(ctx, kv.Namespace{Tenant: "default", Module: "notes"}, "a", []byte(`{"n":1}`), kv.SetOptions{}, quota)
//	value, err := store.Get(ctx, ns, "a")
//
// Every store is safe for concurrent use; package kvtest holds the contract that all
// of them pass.
package kv

import (
	"bytes"
	"context"
	"encoding/json"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds that hold for every store.
const (
	MaxKeyBytes = 512
	MaxTTL      = 10 * 365 * 24 * time.Hour
	// MaxList is how many keys a listing gives at most, and DefaultList how
	// many when it says nothing.
	MaxList     = 1000
	DefaultList = 100
	// entryBytes is what an entry costs beside key and value.
	entryBytes = 32
)

// Namespace is whose keys they are. No key of one can be reached from another.
type Namespace struct{ Tenant, Module string }

// Quota bounds a namespace. Fields that are 0 allow nothing.
type Quota struct {
	Keys       int64
	Bytes      int64 // of keys and values, and 32 for each entry
	ValueBytes int64
}

// SetOptions say how a value is set.
type SetOptions struct {
	// TTL is how long the value lives; 0 is for ever.
	TTL time.Duration
	// If makes the set conditional: it happens only when the value that is
	// there is the same JSON text, white space aside; the JSON null stands for
	// no value. nil sets in any case.
	If json.RawMessage
}

// Page is a part of a listing.
type Page struct {
	Keys []string
	// Next is where the next page begins; empty when this is the last one.
	Next string
}

// Store keeps values. A value that has expired is as good as gone, for quotas too.
type Store interface {
	// Get returns the value, nil when there is none. The caller owns it.
	Get(ctx context.Context, ns Namespace, key string) (json.RawMessage, error)
	// Set stores a value, compacted; null deletes. It fails with
	// INVALID_ARGUMENT (no key, no JSON), ABORTED (the condition does not
	// hold) or RESOURCE_EXHAUSTED (the quota), and changes nothing then.
	Set(ctx context.Context, ns Namespace, key string, value json.RawMessage, o SetOptions, q Quota) error
	// Delete removes a key; one that is not there is no error.
	Delete(ctx context.Context, ns Namespace, key string) error
	// List returns keys that begin with prefix and come at or after from, in
	// the order of their bytes.
	List(ctx context.Context, ns Namespace, prefix, from string, limit int) (Page, error)
	// Drop removes all of a namespace.
	Drop(ctx context.Context, ns Namespace) error
	// Close ends the store.
	Close() error
}

// CheckKey refuses keys that are empty, too long, or no UTF-8.
func CheckKey(key string) error {
	if key == "" || len(key) > MaxKeyBytes || !utf8.ValidString(key) {
		return status.Publicf(status.InvalidArgument, "kv: a key is UTF-8 of 1 to %d bytes", MaxKeyBytes)
	}
	return nil
}

// entry is a value as it is kept.
type entry struct {
	value   []byte
	expires int64 // nanoseconds since 1970; 0 is never
}

func (e entry) gone(now time.Time) bool { return e.expires != 0 && e.expires <= now.UnixNano() }

func cost(key string, value []byte) int64 { return int64(len(key)+len(value)) + entryBytes }

// usage is what a namespace holds.
type usage struct{ keys, bytes int64 }

// plan is a set that was checked, up to the quota.
type plan struct {
	key    string
	value  []byte // compact; nil deletes
	cond   []byte // compact; nil when there is no condition
	expire int64
}

func newPlan(key string, value json.RawMessage, o SetOptions, q Quota, now time.Time) (*plan, error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	if int64(len(value)) > q.ValueBytes {
		return nil, status.Publicf(status.ResourceExhausted, "kv: a value of %d bytes exceeds the limit of %d", len(value), q.ValueBytes)
	}
	p := &plan{key: key}
	var err error
	if p.value, err = compact(value); err != nil {
		return nil, err
	}
	if isNull(p.value) {
		p.value = nil
	}
	if o.If != nil {
		if p.cond, err = compact(o.If); err != nil {
			return nil, err
		}
	}
	if o.TTL < 0 || o.TTL > MaxTTL {
		return nil, status.Publicf(status.InvalidArgument, "kv: a time to live is 1 second to 10 years")
	}
	if o.TTL > 0 {
		p.expire = now.Add(o.TTL).UnixNano()
	}
	return p, nil
}

func isNull(raw []byte) bool { return string(raw) == "null" }

func compact(raw json.RawMessage) ([]byte, error) {
	if err := schema.Check(raw); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "kv: value: %w", err)
	}
	var b bytes.Buffer
	if err := json.Compact(&b, raw); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "kv: value: not valid JSON")
	}
	return b.Bytes(), nil
}

// holds checks the condition against what is there; old is nil when nothing is.
func (p *plan) holds(old []byte) error {
	if p.cond == nil || bytes.Equal(p.cond, old) || (old == nil && isNull(p.cond)) {
		return nil
	}
	return status.Publicf(status.Aborted, "kv: the value is not what the condition says")
}

// after returns the usage when the plan is done, or why it may not be: a set that
// makes less of what is there is always allowed.
func (p *plan) after(u usage, old []byte, had bool, q Quota) (usage, error) {
	n := u
	if had {
		n.keys--
		n.bytes -= cost(p.key, old)
	}
	if p.value != nil {
		n.keys++
		n.bytes += cost(p.key, p.value)
	}
	if n.keys > q.Keys && n.keys > u.keys {
		return u, status.Publicf(status.ResourceExhausted, "kv: the store holds its %d keys", q.Keys)
	}
	if n.bytes > q.Bytes && n.bytes > u.bytes {
		return u, status.Publicf(status.ResourceExhausted, "kv: the store holds its %d bytes", q.Bytes)
	}
	return n, nil
}

func listLimit(limit int) int {
	if limit <= 0 {
		limit = DefaultList
	}
	return min(limit, MaxList)
}
