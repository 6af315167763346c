package agent

import (
	"context"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Store keeps snapshots. It is called concurrently; what it is given and what it returns is
// the other's to change. New stores are held to enginetest.AgentStore.
type Store interface {
	// Get returns a snapshot; NOT_FOUND when there is none, DATA_LOSS when it can't be read.
	Get(ctx context.Context, id string) (*Snapshot, error)
	// Latest returns the newest snapshot of a session, whatever its status: of those that no
	// other one has as its parent, that with the latest CreatedAt. NOT_FOUND when there is none.
	Latest(ctx context.Context, sessionID string) (*Snapshot, error)
	// Update changes a snapshot in one step: change gets the stored one, nil when there is
	// none, and returns what takes its place, or nil to leave it. It may be called again,
	// so that it must do nothing else. Its error is returned, and nothing is written. Update
	// returns what was written, nil for nothing. The snapshot's id is the one given, and
	// the session of a stored one stays; a new one without is refused with INVALID_ARGUMENT.
	Update(ctx context.Context, id string, change func(stored *Snapshot) (*Snapshot, error)) (*Snapshot, error)
}

// Watcher is implemented by a store that tells when a snapshot's status changes. Without it
// a turn in the background learns that it was aborted with its next heartbeat.
type Watcher interface {
	// Watch returns a channel that holds the status, and then each later one; of several
	// changes in a row it may hold the last alone. It is closed when ctx ends, or at once when there is no such snapshot.
	Watch(ctx context.Context, id string) (<-chan Status, error)
}

// MaxIDBytes bounds the ids of sessions and snapshots.
const MaxIDBytes = 128

// checkID reports whether an id can be used: stores may name files by it.
func checkID(what, id string) error {
	hidden := func(r rune) bool { return !unicode.IsGraphic(r) || r == '/' || r == '\\' }
	if id == "" || len(id) > MaxIDBytes || !utf8.ValidString(id) || strings.HasPrefix(id, ".") || strings.ContainsFunc(id, hidden) {
		return status.Publicf(status.InvalidArgument, "%s: want 1 to %d bytes that can be shown, without slashes and not beginning with a dot", what, MaxIDBytes)
	}
	return nil
}

// noSnapshot is the error of every store for one that is not there.
func noSnapshot(id string) error {
	return status.Publicf(status.NotFound, "snapshot %q not found", id)
}

func noSession(id string) error {
	return status.Publicf(status.NotFound, "session %q has no snapshot", id)
}

// settle makes what a change returned fit to be stored.
func settle(id string, stored, next *Snapshot) error {
	next.SnapshotID = id
	if stored != nil && stored.SessionID != "" {
		next.SessionID = stored.SessionID
	}
	if next.SessionID == "" {
		return status.Publicf(status.InvalidArgument, "snapshot %q has no session id", id)
	}
	if next.Status == "" {
		next.Status = Completed
	}
	return checkID("session id", next.SessionID)
}

// entry is what is known of a snapshot without its state.
type entry struct {
	id, session, parent string
	created             int64 // nanoseconds
	order               uint64
}

// index finds the snapshots of sessions, in memory. Its owner locks it.
type index struct {
	all      map[string]*entry
	sessions map[string][]*entry
	next     uint64
}

func newIndex() *index {
	return &index{all: map[string]*entry{}, sessions: map[string][]*entry{}}
}

// put notes a snapshot that was written.
func (x *index) put(s *Snapshot) {
	e := x.all[s.SnapshotID]
	if e == nil {
		x.next++
		e = &entry{id: s.SnapshotID, session: s.SessionID, order: x.next}
		x.all[e.id] = e
		x.sessions[e.session] = append(x.sessions[e.session], e)
	}
	e.parent, e.created = s.ParentID, s.CreatedAt.UnixNano()
}

func (x *index) remove(id string) {
	e := x.all[id]
	if e == nil {
		return
	}
	delete(x.all, id)
	rest := slices.DeleteFunc(x.sessions[e.session], func(o *entry) bool { return o == e })
	if x.sessions[e.session] = rest; len(rest) == 0 {
		delete(x.sessions, e.session)
	}
}

// latest returns the id of a session's newest snapshot, "" for none. A circle of parents,
// which no runtime writes, has none that is nobody's parent; the newest of all counts then.
func (x *index) latest(session string) string {
	entries := x.sessions[session]
	parents := make(map[string]bool, len(entries))
	for _, e := range entries {
		parents[e.parent] = true
	}
	var best *entry
	for _, e := range entries {
		newer := best == nil || e.created > best.created || e.created == best.created && e.order > best.order
		if leaf := !parents[e.id]; best == nil || leaf && parents[best.id] || leaf == !parents[best.id] && newer {
			best = e
		}
	}
	if best == nil {
		return ""
	}
	return best.id
}

// beyond returns the ids of the ancestors of a snapshot that are more than length steps
// from the end of its chain; 0 keeps all.
func (x *index) beyond(id string, length int) (old []string) {
	if length <= 0 {
		return nil
	}
	seen := map[string]bool{}
	for e := x.all[id]; e != nil && !seen[e.id]; e = x.all[e.parent] {
		seen[e.id] = true
		if len(seen) > length {
			old = append(old, e.id)
		}
	}
	return old
}
