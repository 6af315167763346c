package kv

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// File keeps values in one file. Each change is on disk before it is answered, whole
// or not at all.
//
// In the file there is a bucket for each tenant, in it one for each module, and in
// that "data" and the counters of what it holds: names are never joined, so no name
// can reach into another.
type File struct {
	db  *bbolt.DB
	now func() time.Time
	// writing holds the one who writes; others wait no longer than their call.
	writing chan struct{}
}

var _ Store = (*File)(nil)

var (
	root   = []byte("genkit-wasm/kv/1")
	data   = []byte("data")
	counts = []byte("counts")
)

// Open opens or makes the file. It fails with FAILED_PRECONDITION when another
// process has it. now is the store's clock; nil takes the system's.
func Open(path string, now func() time.Time) (*File, error) {
	if now == nil {
		now = time.Now
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{Timeout: time.Second, FreelistType: bbolt.FreelistMapType})
	if errors.Is(err, bolterrors.ErrTimeout) {
		return nil, status.Publicf(status.FailedPrecondition, "kv: another process has %s open", path)
	}
	if err != nil {
		return nil, status.Errorf(status.Internal, "kv: open %s: %w", path, err)
	}
	f := &File{db: db, now: now, writing: make(chan struct{}, 1)}
	err = db.Update(func(tx *bbolt.Tx) error {
		_, err := tx.CreateBucketIfNotExists(root)
		return err
	})
	if err != nil {
		return nil, status.Errorf(status.Internal, "kv: %w", errors.Join(err, db.Close()))
	}
	return f, nil
}

// failed keeps the status of an error that has one; others are the host's concern.
func failed(err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*status.Error](err); ok {
		return e
	}
	return status.Errorf(status.Internal, "kv: %w", err)
}

// update runs a change when its turn comes.
func (f *File) update(ctx context.Context, change func(tx *bbolt.Tx) error) error {
	select {
	case f.writing <- struct{}{}:
	case <-ctx.Done():
		return status.Publicf(status.Of(ctx.Err()), "kv: the store is busy").WithCause(ctx.Err())
	}
	defer func() { <-f.writing }()
	return failed(f.db.Update(change))
}

// bucket returns a namespace's bucket, nil when it has none.
func bucket(tx *bbolt.Tx, ns Namespace) *bbolt.Bucket {
	b := tx.Bucket(root).Bucket([]byte(ns.Tenant))
	if b == nil {
		return nil
	}
	return b.Bucket([]byte(ns.Module))
}

func made(tx *bbolt.Tx, ns Namespace) (b *bbolt.Bucket, err error) {
	b = tx.Bucket(root)
	for _, name := range [][]byte{[]byte(ns.Tenant), []byte(ns.Module)} {
		if b, err = b.CreateBucketIfNotExists(name); err != nil {
			return nil, err
		}
	}
	_, err = b.CreateBucketIfNotExists(data)
	return b, err
}

func readUsage(b *bbolt.Bucket) usage {
	raw := b.Get(counts)
	if len(raw) != 16 {
		return usage{}
	}
	return usage{int64(binary.BigEndian.Uint64(raw)), int64(binary.BigEndian.Uint64(raw[8:]))}
}

func (u usage) write(b *bbolt.Bucket) error {
	raw := binary.BigEndian.AppendUint64(nil, uint64(u.keys))
	return b.Put(counts, binary.BigEndian.AppendUint64(raw, uint64(u.bytes)))
}

// stored reads an entry; its value lives as long as the transaction.
func stored(raw []byte) (entry, bool) {
	if len(raw) < 8 {
		return entry{}, false
	}
	return entry{value: raw[8:], expires: int64(binary.BigEndian.Uint64(raw))}, true
}

func (e entry) encode() []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(e.value)), uint64(e.expires)), e.value...)
}

// Get implements [Store].
func (f *File) Get(_ context.Context, ns Namespace, key string) (value json.RawMessage, err error) {
	if err := CheckKey(key); err != nil {
		return nil, err
	}
	err = f.db.View(func(tx *bbolt.Tx) error {
		if b := bucket(tx, ns); b != nil {
			if e, ok := stored(b.Bucket(data).Get([]byte(key))); ok && !e.gone(f.now()) {
				value = bytes.Clone(e.value)
			}
		}
		return nil
	})
	return value, failed(err)
}

// Set implements [Store].
func (f *File) Set(ctx context.Context, ns Namespace, key string, value json.RawMessage, o SetOptions, q Quota) error {
	now := f.now()
	p, err := newPlan(key, value, o, q, now)
	if err != nil {
		return err
	}
	return f.update(ctx, func(tx *bbolt.Tx) error {
		b, err := made(tx, ns)
		if err != nil {
			return err
		}
		d := b.Bucket(data)
		old, had := stored(d.Get([]byte(key)))
		seen := old.value
		if had && old.gone(now) {
			seen = nil
		}
		if err := p.holds(seen); err != nil {
			return err
		}
		u := readUsage(b)
		next, err := p.after(u, old.value, had, q)
		if err != nil {
			if u, err = sweep(d, u, now); err != nil {
				return err
			}
			old, had = stored(d.Get([]byte(key)))
			if next, err = p.after(u, old.value, had, q); err != nil {
				return err // and what was swept stays, as nothing of a failed change is kept
			}
		}
		if err := next.write(b); err != nil {
			return err
		}
		if p.value == nil {
			return d.Delete([]byte(key))
		}
		return d.Put([]byte(key), entry{p.value, p.expire}.encode())
	})
}

// sweep drops what has expired.
func sweep(d *bbolt.Bucket, u usage, now time.Time) (usage, error) {
	var gone [][]byte
	c := d.Cursor()
	for k, raw := c.First(); k != nil; k, raw = c.Next() {
		if e, ok := stored(raw); ok && e.gone(now) {
			gone = append(gone, bytes.Clone(k))
			u.keys--
			u.bytes -= cost(string(k), e.value)
		}
	}
	for _, k := range gone {
		if err := d.Delete(k); err != nil {
			return u, err
		}
	}
	return u, nil
}

// Delete implements [Store].
func (f *File) Delete(ctx context.Context, ns Namespace, key string) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	return f.update(ctx, func(tx *bbolt.Tx) error {
		b := bucket(tx, ns)
		if b == nil {
			return nil
		}
		d := b.Bucket(data)
		e, ok := stored(d.Get([]byte(key)))
		if !ok {
			return nil
		}
		u := readUsage(b)
		u.keys--
		u.bytes -= cost(key, e.value)
		if err := u.write(b); err != nil {
			return err
		}
		return d.Delete([]byte(key))
	})
}

// List implements [Store].
func (f *File) List(_ context.Context, ns Namespace, prefix, from string, limit int) (page Page, err error) {
	now := f.now()
	err = f.db.View(func(tx *bbolt.Tx) error {
		b := bucket(tx, ns)
		if b == nil {
			return nil
		}
		c := b.Bucket(data).Cursor()
		for k, raw := c.Seek([]byte(max(prefix, from))); k != nil && bytes.HasPrefix(k, []byte(prefix)); k, raw = c.Next() {
			if e, ok := stored(raw); !ok || e.gone(now) {
				continue
			}
			if len(page.Keys) == listLimit(limit) {
				page.Next = string(k)
				break
			}
			page.Keys = append(page.Keys, string(k))
		}
		return nil
	})
	return page, failed(err)
}

// Drop implements [Store].
func (f *File) Drop(ctx context.Context, ns Namespace) error {
	return f.update(ctx, func(tx *bbolt.Tx) error {
		b := tx.Bucket(root).Bucket([]byte(ns.Tenant))
		if b == nil || b.Bucket([]byte(ns.Module)) == nil {
			return nil
		}
		return b.DeleteBucket([]byte(ns.Module))
	})
}

// Close closes the file when the changes under way are done.
func (f *File) Close() error { return failed(f.db.Close()) }
