package agent

import (
	"context"
	"errors"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// How often a worker in the background says that it is there, and after which time without it is
// taken for gone, as in Genkit.
const (
	heartbeatEvery = 30 * time.Second
	heartbeatLimit = 60 * time.Second
)

// statusOf is the status that a reader is told: a stored one, or Expired.
func statusOf(s *Snapshot) Status {
	switch {
	case s.Status == "":
		return Completed
	case (s.Status == Pending || s.Status == Aborting) && !s.HeartbeatAt.IsZero() && time.Since(s.HeartbeatAt) > heartbeatLimit:
		return Expired
	}
	return s.Status
}

func (a *Agent) store() (Store, error) {
	if a.config.Store == nil {
		return nil, status.Publicf(status.FailedPrecondition, "agent %q has no store: its callers keep the state", a.name)
	}
	return a.config.Store, nil
}

// Snapshot returns a stored turn as a caller may see it. It fails with INVALID_ARGUMENT where
// no id is given or the snapshot is another session's, with NOT_FOUND when there is none, and with
// FAILED_PRECONDITION for an agent without a store.
func (a *Agent) Snapshot(ctx context.Context, q Query) (*Snapshot, error) {
	store, err := a.store()
	if err != nil {
		return nil, err
	}
	s, err := find(ctx, store, q.SnapshotID, q.SessionID)
	if err != nil {
		return nil, err
	}
	s.Status = statusOf(s)
	if s.UpdatedAt.IsZero() {
		s.UpdatedAt = s.CreatedAt
	}
	if q.MetadataOnly || s.State == nil {
		s.State = nil
		return s, nil
	}
	s.State.SessionID = s.SessionID
	s.State, err = a.show(ctx, s.State)
	return s, err
}

// find returns a snapshot by its id, or a session's newest one.
func find(ctx context.Context, store Store, id, session string) (*Snapshot, error) {
	switch {
	case id == "" && session == "":
		return nil, status.Publicf(status.InvalidArgument, "want a snapshotId or a sessionId")
	case id == "":
		return store.Latest(ctx, session)
	}
	s, err := store.Get(ctx, id)
	if err == nil && session != "" && s.SessionID != session {
		return nil, status.Publicf(status.InvalidArgument, "snapshot %q does not belong to session %q", id, session).WithCause(errForeign)
	}
	return s, err
}

// Abort ends a turn that runs in the background and returns the status that its snapshot had,
// "" where there is none. A snapshot that is settled stays as it is. The work is cancelled,
// also where another process does it, as soon as that learns of it.
func (a *Agent) Abort(ctx context.Context, id string) (Status, error) {
	store, err := a.store()
	if err != nil {
		return "", err
	}
	if id == "" {
		return "", status.Publicf(status.InvalidArgument, "want a snapshotId")
	}
	var was Status
	_, err = store.Update(ctx, id, func(stored *Snapshot) (*Snapshot, error) {
		was = ""
		if stored == nil {
			return nil, nil
		}
		if was = statusOf(stored); stored.Status != Pending {
			return nil, nil
		}
		stored.Status, stored.UpdatedAt = Aborted, now()
		return stored, nil
	})
	if err != nil {
		return "", err
	}
	a.mu.Lock()
	r := a.background[id]
	a.mu.Unlock()
	if r != nil {
		r.abort()
	}
	return was, nil
}

func now() time.Time { return time.Now().UTC() }

// resumable reports whether a conversation can go on from a snapshot.
func resumable(s *Snapshot) bool {
	switch statusOf(s) {
	case Completed, Failed:
		return true
	case Aborted:
		return s.State != nil
	}
	return false
}

// maxWalk bounds how many snapshots are looked at for one that can be resumed.
const maxWalk = 1000

// resumed returns the snapshot that a conversation goes on from, nil for a new one.
func (a *Agent) resumed(ctx context.Context, init Init) (*Snapshot, error) {
	if init.SnapshotID == "" && init.SessionID == "" {
		return nil, nil
	}
	s, err := find(ctx, a.config.Store, init.SnapshotID, init.SessionID)
	if init.SnapshotID != "" {
		if err == nil && !resumable(s) {
			return nil, status.Publicf(status.InvalidArgument, "snapshot %q can't be resumed: it is %s", s.SnapshotID, statusOf(s))
		}
		return s, err
	}
	for range maxWalk {
		switch {
		case errors.Is(err, status.ErrNotFound):
			return nil, nil
		case err != nil || resumable(s):
			return s, err
		}
		if state := statusOf(s); state == Pending || state == Aborting { // it would become a branch beside what runs
			return nil, status.Publicf(status.FailedPrecondition, "session %q can't be resumed: a turn of it is %s", init.SessionID, state)
		}
		if s.ParentID == "" {
			return nil, nil
		}
		s, err = a.config.Store.Get(ctx, s.ParentID)
	}
	return nil, status.Publicf(status.FailedPrecondition, "session %q has no snapshot that can be resumed among its newest %d", init.SessionID, maxWalk)
}
