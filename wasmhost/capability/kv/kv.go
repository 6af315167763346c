// Package kv is a small key-value store for guests: JSON values under string keys,
// a namespace for each tenant and module, with quotas, expiry and an atomic
// set-if.
//
// It owns the interface [Store], the store in memory and the one in a directory, which
// survives a restart. Use:
//
//	store, err := kv.Open("data/kv", nil)
//	err = store.Set(ctx, kv.Namespace{Tenant: "default", Module: "notes"}, "a", []byte(`{"n":1}`), kv.SetOptions{}, quota)
//	value, err := store.Get(ctx, ns, "a")
//
// Every store is safe for concurrent use; package kvtest holds the contract that all
// of them pass.
package kv

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds that hold for every store.
const (
	MaxKeyBytes = 512
	MaxTTL      = 10 * 365 * 24 * time.Hour
	// MaxList is how many keys a listing gives at most, and defaultList how
	// many when it says nothing.
	MaxList     = 1000
	defaultList = 100
	// entryBytes is the cost of an entry beside key and value, in bytes.
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
	// If makes the set conditional: it happens only when the value that is there is the
	// same JSON text, white space aside; the JSON null means no value. nil sets
	// unconditionally.
	If json.RawMessage
}

// Page is a part of a listing.
type Page struct {
	Keys []string
	// Next is where the next page begins; empty when this is the last one.
	Next string
}

// Store keeps values. A value that has expired is as good as gone, for quotas too. A store
// that holds files or connections is an [io.Closer] for its owner.
type Store interface {
	// Get returns the value, nil when there is none, DATA_LOSS when what is stored is
	// damaged. The caller owns it.
	Get(ctx context.Context, ns Namespace, key string) (json.RawMessage, error)
	// Set stores a value, compacted; null deletes, within any quota, and a key that is
	// not there may be deleted. It fails with INVALID_ARGUMENT (no key, no JSON), ABORTED
	// (the condition does not hold) or RESOURCE_EXHAUSTED (the quota), and changes
	// nothing then.
	Set(ctx context.Context, ns Namespace, key string, value json.RawMessage, o SetOptions, q Quota) error
	// List returns keys that begin with prefix and come at or after from, in
	// the order of their bytes.
	List(ctx context.Context, ns Namespace, prefix, from string, limit int) (Page, error)
	// Drop removes all of a namespace, also what is damaged.
	Drop(ctx context.Context, ns Namespace) error
}

// Delete removes a key from a store; one that is not there is no error.
func Delete(ctx context.Context, s Store, ns Namespace, key string) error {
	return s.Set(ctx, ns, key, json.RawMessage("null"), SetOptions{}, Quota{})
}

// Lister is an optional interface of a store that can list the owners of its values.
type Lister interface {
	// Namespaces returns those that were set and not dropped, sorted by tenant and
	// module.
	Namespaces(ctx context.Context) ([]Namespace, error)
}

// Marker is an optional part of a store: it remembers, over a restart, of which namespaces the
// module is being removed. Their values go when the module is gone, also when the process ends in
// between; a namespace without a mark is never dropped because its module is not found.
type Marker interface {
	// Mark says that a namespace is to be dropped. The mark stays until [Store.Drop] or Unmark
	// has succeeded. The values can be read and set as before.
	Mark(ctx context.Context, ns Namespace) error
	// Unmark takes a mark back; it is no error when there is none.
	Unmark(ctx context.Context, ns Namespace) error
	// Marked returns the marked namespaces, sorted by tenant and module.
	Marked(ctx context.Context) ([]Namespace, error)
}

// Reporter is an optional part of a store: it reports the bytes that a tenant's values take,
// and the modules whose values can't be read.
type Reporter interface{ Report(tenant string) Report }

// Report is the sum of the values of a tenant's modules.
type Report struct {
	Keys  int64 `json:"keys"`
	Bytes int64 `json:"bytes"` // of keys and values, and 32 for each key
	// Damaged are the modules of which the values are damaged: reading them is DATA_LOSS.
	Damaged []string `json:"damaged,omitempty"`
	// Problem is a fault of the store as a whole.
	Problem string `json:"problem,omitempty"`
}

// modulesOf are the modules of each tenant of which something is known, so that a report on one tenant does not look
// at all others.
type modulesOf map[string]map[string]struct{}

func (m modulesOf) add(ns Namespace) {
	if m[ns.Tenant] == nil {
		m[ns.Tenant] = map[string]struct{}{}
	}
	m[ns.Tenant][ns.Module] = struct{}{}
}

func (m modulesOf) remove(ns Namespace) {
	if delete(m[ns.Tenant], ns.Module); len(m[ns.Tenant]) == 0 {
		delete(m, ns.Tenant)
	}
}

func sortNamespaces(all []Namespace) {
	slices.SortFunc(all, func(a, b Namespace) int {
		return cmp.Or(cmp.Compare(a.Tenant, b.Tenant), cmp.Compare(a.Module, b.Module))
	})
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

func (e entry) gone(now time.Time) bool { return gone(e.expires, now) }

func gone(expires int64, now time.Time) bool { return expires != 0 && expires <= now.UnixNano() }

// costOf is the cost of a key with a value of so many bytes.
func costOf(key string, value int) int64 { return int64(len(key)+value) + entryBytes }

// usage is the number of keys and bytes of a namespace.
type usage struct{ keys, bytes int64 }

func (u usage) without(key string, value int) usage {
	return usage{u.keys - 1, u.bytes - costOf(key, value)}
}

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
	if int64(len(value)) > q.ValueBytes && !isNull(value) {
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

// after returns the usage when the plan is done, or why it may not be: a set that makes
// less of what is there, u, is always allowed. without is u without the key's old value.
func (p *plan) after(u, without usage, q Quota) (usage, error) {
	n := without
	if p.value != nil {
		n.keys++
		n.bytes += costOf(p.key, len(p.value))
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
		limit = defaultList
	}
	return min(limit, MaxList)
}
