package access

import (
	"cmp"
	"context"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// KeysConfig configures [OpenKeys]. Store is required.
type KeysConfig struct {
	Store Store
	// MaxKeys bounds the keys: 10,000. Where there are as many, a new one takes the place of the one
	// that has expired for longest.
	MaxKeys int
	// KeepExpired is how long a key that has expired is kept, so that it can be listed under the id that
	// the audit log has, and be rotated: 30 days. Then its record is removed.
	KeepExpired time.Duration
	// UsesEvery is how often the times of last use are written to the store, if they have
	// changed: 5 minutes.
	UsesEvery time.Duration
	// Logger gets what can't be told to a caller; nil drops it.
	Logger *slog.Logger
}

// MaxOverlap bounds how long an old secret goes on after a rotation.
const MaxOverlap = 30 * 24 * time.Hour

const (
	defaultMaxKeys     = 10_000
	defaultKeepExpired = 30 * 24 * time.Hour
	defaultUsesEvery   = 5 * time.Minute
)

// Keys are a server's API keys. All of them are in memory: to authenticate takes no lock but
// for reading, and no store. It is safe for concurrent use; locks are taken in the order
// changing, mu.
type Keys struct {
	config KeysConfig
	log    *slog.Logger

	changing sync.Mutex // serialises changes, and is held while the store works
	mu       sync.RWMutex
	keys     map[string]*entry // guarded by mu; the entries change under both locks
	order    []string          // their positions, sorted, never changed in place; nil until it is asked for again; guarded by mu
	settled  bool              // guarded by mu; changes under both locks

	usesWritten map[string]int64 // guarded by changing
	stop        chan struct{}
	stopped     chan struct{}
	closing     sync.Once
}

// entry is a key in memory.
type entry struct {
	record  record
	damaged bool
	revoked bool // and still in the store
	current *Life
	// previous is the life of the secret before the current one; nil when there is none.
	previous *Life
	used     atomic.Int64 // seconds since 1970; 0: never
	// unseen is set while the current secret, which this process has made by a rotation, has let nobody in.
	unseen atomic.Bool
}

var _ Authenticator = (*Keys)(nil)

// Ids of records that are of no key.
const (
	// UsesID is that of the record with the times of last use.
	UsesID = "uses"
	// SettledID is that of the record that [Keys.Settle] writes.
	SettledID = "settled"
)

var (
	errExpired = status.Publicf(status.Unauthenticated, "the key has expired")
	errRevoked = status.Publicf(status.Unauthenticated, "the key was revoked")
	errRotated = status.Publicf(status.Unauthenticated, "the key was rotated, and this secret of it has ended")
)

// OpenKeys reads the keys of a store. Close it. Records that are damaged are listed so, and let
// nobody in.
func OpenKeys(ctx context.Context, c KeysConfig) (*Keys, error) {
	if c.Store == nil {
		return nil, status.Errorf(status.InvalidArgument, "access: a store is required")
	}
	c.MaxKeys = cmp.Or(c.MaxKeys, defaultMaxKeys)
	c.KeepExpired = cmp.Or(c.KeepExpired, defaultKeepExpired)
	c.UsesEvery = cmp.Or(c.UsesEvery, defaultUsesEvery)
	k := &Keys{config: c, log: c.Logger, keys: map[string]*entry{}, stop: make(chan struct{}), stopped: make(chan struct{})}
	if k.log == nil {
		k.log = slog.New(slog.DiscardHandler)
	}
	if err := c.Store.Load(ctx, k.load); err != nil {
		return nil, err
	}
	for id, at := range k.usesWritten {
		if e := k.keys[id]; e != nil {
			e.used.Store(at)
		}
	}
	go k.tidy(context.WithoutCancel(ctx)) // until Close, which may come after the end of ctx
	return k, nil
}

func (k *Keys) load(id string, raw []byte, damage error) error {
	if id == UsesID {
		if damage != nil || json.Unmarshal(raw, &k.usesWritten) != nil {
			k.log.Warn("the times at which API keys were last used are damaged, and begin anew", slog.Any("error", damage))
			k.usesWritten = nil
		}
		return nil
	}
	if id == SettledID { // also where it is damaged: somebody has written it
		k.settled = true
		return nil
	}
	e := &entry{record: record{ID: id}, damaged: true}
	if damage == nil {
		r, err := decodeRecord(id, raw)
		if damage = err; err == nil {
			e = newEntry(r)
		}
	}
	if damage != nil {
		k.log.Error("the record of an API key is damaged; the key lets nobody in", slog.String("key", shown(id)), slog.Any("error", damage))
	}
	k.keys[id] = e
	return nil
}

func newEntry(r record) *entry {
	e := &entry{record: r, current: NewLife(r.ExpiresAt, errExpired)}
	if r.Previous != nil {
		e.previous = NewLife(r.PreviousUntil, errRotated)
		e.previous.EndAt(r.ExpiresAt, errExpired)
	}
	return e
}

// Close writes the times of last use, and ends no identity.
func (k *Keys) Close() error {
	k.closing.Do(func() {
		close(k.stop)
		<-k.stopped
	})
	return nil
}

// Authenticate finds the key of a token. Whether an id is known can't be told from the
// answer or its time. A secret that is right and has ended says so.
func (k *Keys) Authenticate(_ context.Context, c Credentials) (*Identity, error) {
	id, ok := idOf(c.Token)
	if !ok {
		return nil, errUnknown
	}
	given := hashOf(c.Token)
	k.mu.RLock()
	defer k.mu.RUnlock()
	e := k.keys[id]
	if e == nil || e.damaged || e.revoked {
		e = nobody
	}
	current := subtle.ConstantTimeCompare(given[:], e.record.Hash[:]) == 1
	previous := subtle.ConstantTimeCompare(given[:], e.previousHash()) == 1
	life := e.current
	switch {
	case e == nobody || !current && !previous:
		return nil, errUnknown
	case !current:
		life = e.previous
	}
	if err := life.Err(); err != nil {
		return nil, err
	}
	if current && e.unseen.Load() {
		e.unseen.Store(false)
	}
	if now := time.Now().Unix(); e.used.Load() != now {
		e.used.Store(now)
	}
	return &Identity{Subject: "key:" + id, Name: e.record.Name, Scopes: e.record.Scopes, Life: life}, nil
}

// nobody is compared where there is no key, so that it takes as long.
var nobody = &entry{}

var noHash hash

func (e *entry) previousHash() []byte {
	if e.record.Previous == nil {
		return noHash[:] // of no token
	}
	return e.record.Previous[:]
}

// Create makes a key and returns its token, which nobody can be told again. It fails with
// INVALID_ARGUMENT for a spec that is not in order, RESOURCE_EXHAUSTED when there are too
// many keys, ALREADY_EXISTS when the spec's request has made one ([MadeBefore]), and with
// what the store fails with.
func (k *Keys) Create(ctx context.Context, spec KeySpec) (Key, string, error) {
	now := time.Now().UTC().Truncate(time.Second)
	if err := spec.check(now); err != nil {
		return Key{}, "", err
	}
	leave, err := k.enter(ctx)
	if err != nil {
		return Key{}, "", err
	}
	defer leave()
	k.mu.RLock()
	full := len(k.keys) >= k.config.MaxKeys
	before, old := "", (*entry)(nil)
	for id, e := range k.keys {
		if e.record.made(spec.Request, now) {
			before = id
		}
		if e.mayGive(now) && (old == nil || e.record.ExpiresAt.Before(old.record.ExpiresAt)) {
			old = e
		}
	}
	k.mu.RUnlock()
	switch {
	case before != "":
		return Key{}, "", madeBefore(before)
	case full && old == nil:
		return Key{}, "", status.Publicf(status.ResourceExhausted, "there are %d keys, which is the limit; revoke some", k.config.MaxKeys)
	case full:
		if err := k.remove(ctx, old.record.ID); err != nil {
			return Key{}, "", err
		}
	}
	id := randomText(idBytes)
	token := newToken(id)
	r := record{ID: id, Name: spec.Name, Scopes: spec.Scopes, CreatedAt: now, ExpiresAt: spec.ExpiresAt.UTC().Truncate(time.Second), Hash: hashOf(token), MadeBy: spec.Request}
	if err := k.put(ctx, r); err != nil {
		return Key{}, "", err
	}
	e := newEntry(r)
	k.mu.Lock()
	k.keys[id], k.order = e, nil
	k.mu.Unlock()
	return e.key(time.Now()), token, nil
}

// enter takes the lock of changes. A caller whose identity ends meanwhile changes nothing:
// revocations are changes, too.
func (k *Keys) enter(ctx context.Context) (leave func(), err error) {
	k.changing.Lock()
	if ctx.Err() != nil {
		k.changing.Unlock()
		return nil, context.Cause(ctx)
	}
	return k.changing.Unlock, nil
}

func (k *Keys) put(ctx context.Context, r record) error {
	raw, err := json.Marshal(r)
	if err != nil {
		return status.Errorf(status.Internal, "encode a key: %w", err)
	}
	// A caller who leaves, or whose key ends, does not cut a change in half.
	return k.config.Store.Put(context.WithoutCancel(ctx), r.ID, raw)
}

// Rotate gives a key a new secret and returns its token. The old secret works for overlap,
// at most [MaxOverlap]; 0 ends it at once, also in requests that run. A zero expiresAt
// leaves when the key ends.
//
// A key has one old secret. While its overlap is under way, a rotation with an overlap keeps that secret, until the
// time that it was promised, where the secret that came after it has let nobody in, as when its token got lost: that
// one ends. Where it has been used, or this process does not know, the rotation is refused.
//
// It fails with NOT_FOUND, INVALID_ARGUMENT, FAILED_PRECONDITION for a key that lets nobody in or would break an
// overlap, and DATA_LOSS for one whose record is damaged.
func (k *Keys) Rotate(ctx context.Context, id string, overlap time.Duration, expiresAt time.Time) (Key, string, error) {
	return k.RotateOnce(ctx, id, overlap, expiresAt, "")
}

// RotateOnce is [Keys.Rotate] for a request that may be sent again: where the key's last rotation was
// within 24 hours and by a request of the same hash, it fails with ALREADY_EXISTS ([MadeBefore]).
func (k *Keys) RotateOnce(ctx context.Context, id string, overlap time.Duration, expiresAt time.Time, request string) (Key, string, error) {
	now := time.Now().UTC().Truncate(time.Second)
	if overlap < 0 || overlap > MaxOverlap {
		return Key{}, "", status.Publicf(status.InvalidArgument, "the overlap has to be from 0 to %d seconds", int64(MaxOverlap/time.Second))
	}
	if err := checkExpiry(expiresAt, now); err != nil {
		return Key{}, "", err
	}
	leave, err := k.enter(ctx)
	if err != nil {
		return Key{}, "", err
	}
	defer leave()
	e, err := k.entry(id)
	if err != nil {
		return Key{}, "", err
	}
	r := e.record
	if r.rotated(request, now) && !e.damaged && !e.revoked {
		return Key{}, "", madeBefore(id)
	}
	if !expiresAt.IsZero() {
		r.ExpiresAt = expiresAt.UTC().Truncate(time.Second)
	}
	switch {
	case e.damaged && !e.revoked:
		return Key{}, "", status.Publicf(status.DataLoss, "the record of the key %q is damaged; revoke it and create another", id)
	case e.revoked:
		return Key{}, "", status.Publicf(status.FailedPrecondition, "the key %q is %s", id, e.state(now))
	case !r.ExpiresAt.IsZero() && !r.ExpiresAt.After(now):
		return Key{}, "", status.Publicf(status.FailedPrecondition, "the key %q has expired; give \"expiresAt\"", id)
	}
	kept := overlap > 0 && e.previous != nil && e.previous.Err() == nil
	if kept && !e.unseen.Load() {
		return Key{}, "", status.Publicf(status.FailedPrecondition, "the key %q has an old secret that works until %s, which another rotation would end: rotate it after that, or with an overlap of 0, which ends all its secrets at once",
			id, r.PreviousUntil.Format(time.RFC3339))
	}
	token := newToken(id)
	r.RotatedAt, r.Hash, r.RotatedBy = now, hashOf(token), request
	if !kept {
		r.Previous, r.PreviousUntil = nil, time.Time{}
		if overlap > 0 {
			old := e.record.Hash
			r.Previous, r.PreviousUntil = &old, time.Now().UTC().Add(overlap)
		}
	}
	if err := k.put(ctx, r); err != nil {
		return Key{}, "", err
	}
	next := &entry{record: r, current: NewLife(r.ExpiresAt, errExpired)}
	next.used.Store(e.used.Load())
	next.unseen.Store(true)
	switch {
	case kept:
		next.previous = e.previous
	case overlap > 0:
		next.previous = e.current
		next.previous.EndAt(r.PreviousUntil, errRotated)
	}
	k.mu.Lock()
	k.keys[id] = next
	k.mu.Unlock()
	if kept || overlap == 0 {
		e.current.End(errRotated)
	}
	if e.previous != nil && !kept {
		e.previous.End(errRotated)
	}
	return next.key(time.Now()), token, nil
}

// Revoke ends a key: it lets nobody in any more, and requests that run under it end. That
// holds when the store fails, too; then the error says that the key has to be revoked once
// more, and its state is [Revoked]. It fails with NOT_FOUND when there is no such key.
func (k *Keys) Revoke(ctx context.Context, id string) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	e, err := k.entry(id)
	if err != nil {
		return err
	}
	return k.revoke(ctx, id, e)
}

func (k *Keys) revoke(ctx context.Context, id string, e *entry) error {
	k.mu.Lock()
	e.revoked = true
	k.mu.Unlock()
	for _, l := range []*Life{e.current, e.previous} {
		if l != nil {
			l.End(errRevoked)
		}
	}
	if err := k.remove(ctx, id); err != nil {
		return status.Publicf(status.Unavailable, "the key %q is revoked as long as this server runs, but its record could not be removed; revoke it once more", id).WithCause(err)
	}
	return nil
}

// remove removes a key's record, and then the key. changing is held.
func (k *Keys) remove(ctx context.Context, id string) error {
	if err := k.config.Store.Delete(context.WithoutCancel(ctx), id); err != nil {
		return err
	}
	k.mu.Lock()
	delete(k.keys, id)
	k.order = nil
	k.mu.Unlock()
	return nil
}

// Settle notes for good that an admin key was given out, whatever becomes of it: see [Keys.Settled].
func (k *Keys) Settle(ctx context.Context) error {
	leave, err := k.enter(ctx)
	if err != nil {
		return err
	}
	defer leave()
	if k.settled { // it changes under this lock
		return nil
	}
	if err := k.config.Store.Put(context.WithoutCancel(ctx), SettledID, []byte("{}")); err != nil {
		return err
	}
	k.mu.Lock()
	k.settled = true
	k.mu.Unlock()
	return nil
}

// Settled reports whether [Keys.Settle] was ever called on the store, or any key is there. So an operator who has revoked
// all keys since, because others than keys let him in, is told from one who has never had any.
func (k *Keys) Settled() bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.settled || len(k.keys) > 0
}

// Withdraw takes a tenant's scopes from all keys, so that they let nobody in to the next
// tenant of that name. A key that has no other scope is revoked. It returns the ids of the
// keys that it has changed, also when it fails; then it has to be called again.
func (k *Keys) Withdraw(ctx context.Context, tenant string) (changed []string, err error) {
	k.mu.RLock()
	var ids []string
	for id, e := range k.keys {
		if _, ok := e.record.Scopes.Tenants[tenant]; ok {
			ids = append(ids, id)
		}
	}
	k.mu.RUnlock()
	slices.Sort(ids)
	for _, id := range ids {
		done, err := k.withdraw(ctx, id, tenant)
		if err != nil {
			return changed, err
		}
		if done {
			changed = append(changed, id)
		}
	}
	return changed, nil
}

func (k *Keys) withdraw(ctx context.Context, id, tenant string) (done bool, err error) {
	leave, err := k.enter(ctx)
	if err != nil {
		return false, err
	}
	defer leave()
	e, err := k.entry(id)
	if err != nil {
		return false, nil //nolint:nilerr // it is gone
	}
	r := e.record
	if _, ok := r.Scopes.Tenants[tenant]; !ok {
		return false, nil
	}
	r.Scopes.Tenants = maps.Clone(r.Scopes.Tenants) // identities have the old one
	delete(r.Scopes.Tenants, tenant)
	if !r.Scopes.Admin && len(r.Scopes.Tenants) == 0 || e.revoked {
		return true, k.revoke(ctx, id, e)
	}
	if err := k.put(ctx, r); err != nil {
		return false, err
	}
	next := &entry{record: r, current: e.current, previous: e.previous}
	next.used.Store(e.used.Load())
	k.mu.Lock()
	k.keys[id] = next
	k.mu.Unlock()
	return true, nil
}

func (k *Keys) entry(id string) (*entry, error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if e, ok := k.keys[id]; ok {
		return e, nil
	}
	return nil, status.Publicf(status.NotFound, "there is no key %q", shown(id))
}

// Get returns a key; NOT_FOUND when there is none.
func (k *Keys) Get(id string) (Key, error) {
	e, err := k.entry(id)
	if err != nil {
		return Key{}, err
	}
	k.mu.RLock()
	defer k.mu.RUnlock()
	return e.key(time.Now()), nil
}

func (e *entry) state(now time.Time) State {
	switch {
	case e.damaged:
		return Damaged
	case e.revoked:
		return Revoked
	case !e.record.ExpiresAt.IsZero() && !now.Before(e.record.ExpiresAt):
		return Expired
	}
	return Active
}

func (e *entry) key(now time.Time) Key {
	r := e.record
	key := Key{
		ID: r.ID, Name: r.Name, Scopes: r.Scopes, State: e.state(now),
		CreatedAt: r.CreatedAt, ExpiresAt: r.ExpiresAt, RotatedAt: r.RotatedAt, Revision: r.revision(),
	}
	if r.PreviousUntil.After(now) {
		key.PreviousUntil = r.PreviousUntil.Truncate(time.Second)
	}
	if used := e.used.Load(); used != 0 {
		key.LastUsedAt = time.Unix(used, 0).UTC()
	}
	return key
}

// List returns up to limit keys, oldest first, that come after a position, "" for the
// beginning, and the position of the last of them where more follow, else "".
func (k *Keys) List(after string, limit int) (keys []Key, next string) {
	now := time.Now()
	positions := k.positions()
	first, found := slices.BinarySearch(positions, after)
	if found {
		first++
	}
	last := ""
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, position := range positions[first:] {
		_, id, _ := strings.Cut(position, ".")
		e, there := k.keys[id]
		switch {
		case !there: // revoked a moment ago
		case len(keys) == limit:
			return keys, last
		default:
			keys, last = append(keys, e.key(now)), position
		}
	}
	return keys, ""
}

// positions returns the positions of all keys, sorted. Who lists all pages has them sorted once, and not for each
// page.
func (k *Keys) positions() []string {
	k.mu.RLock()
	order := k.order
	k.mu.RUnlock()
	if order != nil {
		return order
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.order == nil {
		k.order = make([]string, 0, len(k.keys))
		for _, e := range k.keys {
			k.order = append(k.order, e.position())
		}
		slices.Sort(k.order)
	}
	return k.order
}

// position is where a key stands in the list, by its age: texts are in the order of the times.
func (e *entry) position() string {
	return fmt.Sprintf("%016x.%s", uint64(e.record.CreatedAt.Unix())^1<<63, e.record.ID)
}

// HasAdmin reports whether any key that has not ended has the scope [Admin].
func (k *Keys) HasAdmin() bool {
	now := time.Now()
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, e := range k.keys {
		if e.record.Scopes.Admin && e.state(now) == Active {
			return true
		}
	}
	return false
}

// tidy writes the times of last use every now and then, and at the end, and removes keys that have expired for long.
func (k *Keys) tidy(ctx context.Context) {
	defer close(k.stopped)
	k.prune(ctx)
	tick := time.NewTicker(k.config.UsesEvery)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			k.prune(ctx)
			k.saveUses(ctx)
		case <-k.stop:
			k.saveUses(ctx)
			return
		}
	}
}

// mayGive reports whether a key may give its place to a new one: it has expired, and no request that has made it may
// be sent again.
func (e *entry) mayGive(now time.Time) bool {
	return e.state(now) == Expired && !e.record.made(e.record.MadeBy, now)
}

// due reports whether a key's record is to be removed: it has expired for long, or was revoked when the store failed.
func (k *Keys) due(e *entry, now time.Time) bool {
	return e.revoked || e.mayGive(now) && now.Sub(e.record.ExpiresAt) >= k.config.KeepExpired
}

// prune removes the records that are due, each by itself: it holds nobody up for long, and may end between any two.
func (k *Keys) prune(ctx context.Context) {
	now := time.Now()
	var ids []string
	k.mu.RLock()
	for id, e := range k.keys {
		if k.due(e, now) {
			ids = append(ids, id)
		}
	}
	k.mu.RUnlock()
	for _, id := range ids {
		select {
		case <-k.stop:
			return
		default:
		}
		if err := k.pruneOne(ctx, id, now); err != nil {
			k.log.Warn("keys that have expired could not be removed", slog.Any("error", err))
			return
		}
	}
}

func (k *Keys) pruneOne(ctx context.Context, id string, now time.Time) error {
	k.changing.Lock()
	defer k.changing.Unlock()
	k.mu.RLock()
	e := k.keys[id]
	due := e != nil && k.due(e, now) // it may have been rotated since
	k.mu.RUnlock()
	if !due {
		return nil
	}
	return k.remove(ctx, id)
}

func (k *Keys) saveUses(ctx context.Context) {
	k.changing.Lock()
	defer k.changing.Unlock()
	uses, changed := map[string]int64{}, false
	k.mu.RLock()
	for id, e := range k.keys {
		if at := e.used.Load(); at != 0 {
			uses[id] = at
			changed = changed || k.usesWritten[id] != at
		}
	}
	k.mu.RUnlock()
	if !changed {
		return
	}
	raw, err := json.Marshal(uses)
	if err == nil {
		err = k.config.Store.Put(ctx, UsesID, raw)
	}
	if err != nil {
		k.log.Warn("the times at which API keys were last used could not be stored", slog.Any("error", err))
		return
	}
	k.usesWritten = uses
}
