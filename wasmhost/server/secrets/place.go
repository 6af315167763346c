package secrets

import (
	"context"
	"errors"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/storedir"
)

// place is a tenant whose values a caller works on.
type place struct {
	tenant, id string
}

func (at place) key(kind Kind, name string) Key { return Key{at.tenant, kind, name} }

// enter takes the lock of a tenant: for reading, or alone for a change.
func (s *Store) enter(ctx context.Context, tenant string, change bool) (at place, leave func(), err error) {
	leave, err = s.lock(ctx, tenant, change)
	if err != nil {
		return at, nil, err
	}
	// Under the lock: a tenant that is deleted meanwhile gets no new value after its others
	// have been removed.
	id, err := s.config.TenantID(tenant)
	if err == nil && id == "" {
		err = status.Publicf(status.FailedPrecondition, "tenant %q has no secrets: what is stored of it can't be read", tenant)
	}
	if err != nil {
		leave()
		return at, nil, err
	}
	return place{tenant, id}, leave, nil
}

// lock takes the lock of a tenant, whether it is there or not.
func (s *Store) lock(ctx context.Context, tenant string, change bool) (leave func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, status.Convert(err)
	}
	sp, err := s.hold(tenant)
	if err != nil {
		return nil, err
	}
	unlock := sp.lock(change)
	return func() {
		unlock()
		s.release(tenant, sp)
	}, nil
}

// hold returns the space of a tenant, which stays the same one until everybody has released
// it.
func (s *Store) hold(tenant string) (*space, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, status.Errorf(status.FailedPrecondition, "the store of secrets is closed")
	}
	sp := s.spaces[tenant]
	if sp == nil {
		sp = &space{}
		s.spaces[tenant] = sp
	}
	sp.users++
	return sp, nil
}

func (s *Store) release(tenant string, sp *space) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if sp.users--; sp.users == 0 {
		delete(s.spaces, tenant)
	}
}

// unavailable gives an error that says nothing else the code of what may work later.
func unavailable(err error) error {
	if e := status.Convert(storedir.Problem("", err)); e.Code != status.Internal && e.Code != status.Unknown {
		return err
	}
	return status.Errorf(status.Unavailable, "%w", err)
}

// keysOf lists the keys of a tenant's values of a kind.
func (s *Store) keysOf(ctx context.Context, at place, kind Kind) (keys []Key, err error) {
	all, err := s.backend.List(ctx, at.tenant)
	if err != nil {
		return nil, storedir.Problem("list the secrets", unavailable(err))
	}
	for _, key := range all {
		if key.Kind == kind && key.Tenant == at.tenant {
			keys = append(keys, key)
		}
	}
	return keys, nil
}

// read returns what is stored under a key; nil when there is nothing, DATA_LOSS when it is nothing that
// was written for this key.
func (s *Store) read(ctx context.Context, key Key) (*record, error) {
	raw, err := s.backend.Get(ctx, key)
	switch {
	case errors.Is(err, status.ErrNotFound):
		return nil, nil
	case err != nil && !errors.Is(err, status.ErrDataLoss):
		return nil, storedir.Problem("read a secret", unavailable(err))
	}
	if r, ok := decode(raw); ok && err == nil && r.key() == key {
		return r, nil
	}
	return nil, damaged(key.Kind, key.Name).WithCause(err)
}

// current returns the record of a name, nil where the tenant has none that can be read, and whether something
// is stored there all the same: what is damaged, or of a tenant that had the name before.
func (s *Store) current(ctx context.Context, at place, kind Kind, name string) (r *record, stored, others bool, err error) {
	r, err = s.read(ctx, at.key(kind, name))
	switch {
	case errors.Is(err, status.ErrDataLoss):
		return nil, true, false, nil
	case err != nil:
		return nil, false, false, err
	case r == nil:
		return nil, false, false, nil
	case r.head.TenantID != at.id:
		return nil, true, true, nil
	}
	return r, true, false, nil
}

// checkRoom refuses one value too many.
func (s *Store) checkRoom(ctx context.Context, at place, kind Kind) error {
	keys, err := s.keysOf(ctx, at, kind)
	if err != nil || len(keys) < MaxSecrets {
		return err
	}
	n := 0
	for _, key := range keys {
		r, err := s.read(ctx, key)
		if err != nil && !errors.Is(err, status.ErrDataLoss) {
			return err
		}
		if err != nil || r != nil && r.head.TenantID == at.id {
			n++
		}
	}
	if n < MaxSecrets {
		return nil
	}
	return status.Publicf(status.ResourceExhausted, "the tenant has its %d %ss; remove one first", MaxSecrets, kind)
}

// write stores a record in the place of what is there.
func (s *Store) write(ctx context.Context, r *record) error {
	if err := s.backend.Put(ctx, r.key(), encode(r)); err != nil {
		return unavailable(err)
	}
	return nil
}
