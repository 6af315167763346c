package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/engine/agent"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// AgentStore holds a store to the contract of [agent.Store], and of [agent.Watcher] where it
// is one. open returns an empty one; it cleans up by t.
func AgentStore(t *testing.T, open func(t *testing.T) agent.Store) {
	for name, check := range map[string]func(*testing.T, agent.Store){
		"a snapshot is kept as it was given":        snapshotsKept,
		"a change to nothing writes nothing":        snapshotsLeft,
		"ids and sessions stay":                     snapshotsNamed,
		"the newest end of a chain is the latest":   snapshotsLatest,
		"what is stored is nobody else's to change": snapshotsAliasing,
		"writers at the same time lose nothing":     snapshotsCounted,
		"a context that has ended ends a call":      snapshotsEnd,
		"a watcher is told each status":             snapshotsWatched,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

// at is a time of day; stores keep at least milliseconds.
func at(ms int) time.Time { return time.UnixMilli(1_700_000_000_000 + int64(ms)).UTC() }

func row(session, parent string, ms int) *agent.Snapshot {
	return &agent.Snapshot{SessionID: session, ParentID: parent, CreatedAt: at(ms), UpdatedAt: at(ms), Status: agent.Completed, State: &agent.State{SessionID: session}}
}

// put stores a snapshot in the place of whatever is there.
func put(t *testing.T, s agent.Store, id string, next *agent.Snapshot) *agent.Snapshot {
	t.Helper()
	written, err := s.Update(t.Context(), id, func(*agent.Snapshot) (*agent.Snapshot, error) { return next, nil })
	if err != nil {
		t.Fatalf("Update of %q: %v", id, err)
	}
	if written == nil {
		t.Fatalf("Update of %q says that nothing was written", id)
	}
	return written
}

func get(t *testing.T, s agent.Store, id string) *agent.Snapshot {
	t.Helper()
	got, err := s.Get(t.Context(), id)
	if err != nil {
		t.Fatalf("Get of %q: %v", id, err)
	}
	return got
}

func sameRow(t *testing.T, what string, got, want *agent.Snapshot) {
	t.Helper()
	if !rawjson.EqualAny(got, want) {
		g, _ := rawjson.Encode(got)
		w, _ := rawjson.Encode(want)
		t.Fatalf("%s: got\n%.2000s\nwant\n%.2000s", what, g, w)
	}
}

func snapshotsKept(t *testing.T, s agent.Store) {
	_, err := s.Get(t.Context(), "none")
	want(t, err, status.ErrNotFound, "Get of none")
	_, err = s.Latest(t.Context(), "none")
	want(t, err, status.ErrNotFound, "Latest of none")
	rich := row("s", "", 0)
	rich.FinishReason, rich.HeartbeatAt = "stop", at(5)
	rich.Error = &status.Wire{Status: "INTERNAL", Message: "x", Details: []byte(`{"n":1}`)}
	text := "a\x00b \u2028 <&> 世界"
	rich.State.Messages = []content.Message{{
		Role:     content.RoleUser,
		Content:  []content.Part{content.NewTextPart(text), {Media: &content.Media{URL: "data:,x", ContentType: "text/plain"}}, {ToolRequest: &content.ToolRequest{Name: "t", Ref: "1", Input: []byte(`{"n":12345678901234567890}`)}, Metadata: content.Metadata{"interrupt": []byte(`{"why":null}`)}}},
		Metadata: content.Metadata{"k": []byte(`[]`)},
	}}
	rich.State.Custom = []byte(`{"big":` + `"` + strings.Repeat("x", 5<<19) + `","digits":1.10}`)
	rich.State.Artifacts = []agent.Artifact{{Name: "doc", Parts: []content.Part{content.NewTextPart("v")}, Metadata: content.Metadata{"a": []byte(`1`)}}, {Parts: []content.Part{}}}
	raw, err := rawjson.Encode(rich)
	want(t, err, nil, "Encode")
	given := &agent.Snapshot{} // a copy, whatever the store does to it
	want(t, json.Unmarshal(raw, given), nil, "Unmarshal")
	put(t, s, "rich", given)
	rich.SnapshotID = "rich"
	sameRow(t, "a rich snapshot", get(t, s, "rich"), rich)
	bare := row("s", "rich", 1)
	bare.State = nil
	put(t, s, "bare", bare)
	if got := get(t, s, "bare"); got.State != nil || got.SnapshotID != "bare" || got.ParentID != "rich" {
		t.Fatalf("a snapshot without a state: got %+v", got)
	}
	empty := row("s", "bare", 2)
	empty.State = &agent.State{}
	put(t, s, "empty", empty)
	if get(t, s, "empty").State == nil {
		t.Fatal("an empty state is none")
	}
	parent := "empty"
	for i := range 60 {
		id := fmt.Sprintf("chain-%d", i)
		put(t, s, id, row("s", parent, 10+i))
		parent = id
	}
	for i := 59; i > 0; i-- {
		if got := get(t, s, fmt.Sprintf("chain-%d", i)); got.ParentID != fmt.Sprintf("chain-%d", i-1) {
			t.Fatalf("snapshot %d of a chain goes on from %q", i, got.ParentID)
		}
	}
	without := row("s", "", 3)
	without.Status = ""
	put(t, s, "without", without)
	if got := get(t, s, "without").Status; got != agent.Completed {
		t.Fatalf("a snapshot without a status is %q", got)
	}
}

func snapshotsLeft(t *testing.T, s agent.Store) {
	put(t, s, "a", row("s", "", 0))
	stored := get(t, s, "a")
	written, err := s.Update(t.Context(), "a", func(got *agent.Snapshot) (*agent.Snapshot, error) {
		sameRow(t, "what a change gets", got, stored)
		got.ParentID = "x"
		return nil, nil
	})
	want(t, err, nil, "Update")
	if written != nil {
		t.Fatalf("a change to nothing says that %+v was written", written)
	}
	sameRow(t, "after a change to nothing", get(t, s, "a"), stored)
	own := errors.New("mine")
	_, err = s.Update(t.Context(), "a", func(*agent.Snapshot) (*agent.Snapshot, error) { return row("s", "y", 1), own })
	want(t, err, own, "Update whose change fails")
	sameRow(t, "after a change that failed", get(t, s, "a"), stored)
	_, err = s.Update(t.Context(), "none", func(got *agent.Snapshot) (*agent.Snapshot, error) {
		if got != nil {
			t.Errorf("a change of no snapshot gets %+v", got)
		}
		return nil, nil
	})
	want(t, err, nil, "Update of none")
	_, err = s.Get(t.Context(), "none")
	want(t, err, status.ErrNotFound, "Get after a change to nothing")
}

func snapshotsNamed(t *testing.T, s agent.Store) {
	other := row("s", "", 0)
	other.SnapshotID = "b"
	if got := put(t, s, "a", other); got.SnapshotID != "a" {
		t.Fatalf("a snapshot is stored as %q", got.SnapshotID)
	}
	if got := get(t, s, "a"); got.SnapshotID != "a" {
		t.Fatalf("snapshot a is called %q", got.SnapshotID)
	}
	_, err := s.Get(t.Context(), "b")
	want(t, err, status.ErrNotFound, "Get of the id that the change gave")
	put(t, s, "a", row("thief", "", 1))
	if got := get(t, s, "a"); got.SessionID != "s" {
		t.Fatalf("a snapshot went from session s to %q", got.SessionID)
	}
	put(t, s, "a", row("", "", 2))
	if got := get(t, s, "a"); got.SessionID != "s" {
		t.Fatalf("a snapshot went from session s to %q", got.SessionID)
	}
	_, err = s.Latest(t.Context(), "thief")
	want(t, err, status.ErrNotFound, "Latest of a session that has nothing")
	_, err = s.Update(t.Context(), "c", func(*agent.Snapshot) (*agent.Snapshot, error) { return row("", "", 0), nil })
	want(t, err, status.ErrInvalidArgument, "Update without a session")
	for _, id := range []string{"", "../x", "a/b", ".hidden", "a\x00b", strings.Repeat("x", 1000)} {
		_, err = s.Update(t.Context(), id, func(*agent.Snapshot) (*agent.Snapshot, error) { return row("s", "", 0), nil })
		want(t, err, status.ErrInvalidArgument, fmt.Sprintf("Update of %q", id))
		_, err = s.Get(t.Context(), id)
		want(t, err, status.ErrNotFound, fmt.Sprintf("Get of %q", id))
	}
}

func snapshotsLatest(t *testing.T, s agent.Store) {
	latest := func(session, id string) {
		t.Helper()
		got, err := s.Latest(t.Context(), session)
		want(t, err, nil, "Latest of "+session)
		if got.SnapshotID != id || got.SessionID != session {
			t.Fatalf("the latest of %s is %q of %s, want %q", session, got.SnapshotID, got.SessionID, id)
		}
	}
	put(t, s, "a", row("s", "", 0))
	latest("s", "a")
	put(t, s, "other", row("o", "", 100))
	latest("s", "a")
	put(t, s, "b", row("s", "a", 0)) // of the same moment
	latest("s", "b")
	put(t, s, "c", row("s", "a", 7)) // a branch beside b
	latest("s", "c")
	put(t, s, "old", row("s", "a", 3)) // written later, of an earlier moment
	latest("s", "c")
	failed := row("s", "c", 9)
	failed.Status = agent.Failed
	put(t, s, "d", failed)
	latest("s", "d") // whatever its status
	put(t, s, "a", row("s", "", 0))
	latest("s", "d") // a change of an old one makes it no newer
	latest("o", "other")
}

func snapshotsAliasing(t *testing.T, s agent.Store) {
	mine := row("s", "", 0)
	mine.State.Custom = []byte(`{"n":1}`)
	put(t, s, "a", mine)
	copy(mine.State.Custom, `{"n":9}`)
	mine.ParentID = "x"
	got := get(t, s, "a")
	if string(got.State.Custom) != `{"n":1}` || got.ParentID != "" {
		t.Fatalf("a snapshot was changed from outside: %s", got.State.Custom)
	}
	copy(got.State.Custom, `{"n":9}`)
	if again := get(t, s, "a"); string(again.State.Custom) != `{"n":1}` {
		t.Fatalf("a snapshot was changed by a reader: %s", again.State.Custom)
	}
}

func snapshotsCounted(t *testing.T, s agent.Store) {
	const writers, each = 8, 25
	put(t, s, "a", row("s", "", 0))
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range each {
				_, err := s.Update(context.Background(), "a", func(stored *agent.Snapshot) (*agent.Snapshot, error) {
					runtime.Gosched() // a store that does not notice the others loses theirs
					stored.CreatedAt = stored.CreatedAt.Add(time.Millisecond)
					return stored, nil
				})
				if err != nil {
					t.Errorf("Update: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := get(t, s, "a").CreatedAt; !got.Equal(at(writers * each)) {
		t.Fatalf("after %d changes there are %d", writers*each, got.Sub(at(0)).Milliseconds())
	}
}

func snapshotsEnd(t *testing.T, s agent.Store) {
	put(t, s, "a", row("s", "", 0))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := s.Get(ctx, "a")
	want(t, err, status.ErrCancelled, "Get")
	_, err = s.Latest(ctx, "s")
	want(t, err, status.ErrCancelled, "Latest")
	_, err = s.Update(ctx, "a", func(*agent.Snapshot) (*agent.Snapshot, error) { return row("s", "late", 1), nil })
	want(t, err, status.ErrCancelled, "Update")
	if got := get(t, s, "a"); got.ParentID != "" {
		t.Fatal("a call was made whose context had ended")
	}
}

func snapshotsWatched(t *testing.T, s agent.Store) {
	w, ok := s.(agent.Watcher)
	if !ok {
		return // it is optional
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	none, err := w.Watch(ctx, "none")
	want(t, err, nil, "Watch of none")
	if _, more := <-none; more {
		t.Fatal("the channel of no snapshot is open")
	}
	set := func(status agent.Status) {
		t.Helper()
		next := row("s", "", 0)
		next.Status = status
		put(t, s, "a", next)
	}
	set(agent.Pending)
	mine, end := context.WithCancel(ctx)
	defer end()
	news, err := w.Watch(mine, "a")
	want(t, err, nil, "Watch")
	told := func(want agent.Status) {
		t.Helper()
		for now := range news {
			if now == want {
				return
			}
		}
		t.Fatalf("a watcher was not told of %s", want)
	}
	told(agent.Pending)
	set(agent.Aborted)
	told(agent.Aborted)
	set(agent.Pending) // nobody reads
	set(agent.Completed)
	told(agent.Completed)
	end()
	for range news { // it is closed
	}
}
