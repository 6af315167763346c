package enginetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/genkit-wasm/genkit-wasm/engine/session"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// SessionStore holds a store to the contract of [session.Store]. open returns an empty
// one; it cleans up by t.
func SessionStore(t *testing.T, open func(t *testing.T) session.Store) {
	for name, check := range map[string]func(*testing.T, session.Store){
		"a session is kept under its revision":        storeKeeps,
		"a revision is never used again":              storeRevisions,
		"ids are names and no paths":                  storeIDs,
		"stored values are not shared with callers":   storeAliasing,
		"of writers at once none loses what it wrote": storeCounts,
		"a context that has ended ends the call":      storeEnds,
	} {
		t.Run(name, func(t *testing.T) { check(t, open(t)) })
	}
}

func storeKeeps(t *testing.T, s session.Store) {
	ctx := t.Context()
	_, _, err := s.Get(ctx, "a")
	want(t, err, status.ErrNotFound, "Get of nothing")
	_, err = s.Save(ctx, "a", json.RawMessage(`{}`), "1")
	want(t, err, status.ErrAborted, "Save in the place of what is not there")
	first := saved(t, s, "a", `{"n":1.10,"s":"<\u0000é>"}`, "")
	holds(t, s, "a", `{"n":1.10,"s":"<\u0000é>"}`, first)
	for _, revision := range []string{"", "x", first + "0"} {
		_, err = s.Save(ctx, "a", json.RawMessage(`{}`), revision)
		want(t, err, status.ErrAborted, "Save in the place of another revision")
	}
	holds(t, s, "a", `{"n":1.10,"s":"<\u0000é>"}`, first)
	second := saved(t, s, "a", `{"n":2}`, first)
	holds(t, s, "a", `{"n":2}`, second)
	_, err = s.Save(ctx, "a", json.RawMessage(`{}`), first)
	want(t, err, status.ErrAborted, "Save in the place of an old revision")
	for range 2 {
		want(t, s.Delete(ctx, "a"), nil, "Delete")
	}
	_, _, err = s.Get(ctx, "a")
	want(t, err, status.ErrNotFound, "Get of what was deleted")
}

func storeRevisions(t *testing.T, s session.Store) {
	seen, revision := map[string]bool{}, ""
	for i := range 20 {
		revision = saved(t, s, "a", `{}`, revision)
		if revision == "" || seen[revision] {
			t.Fatalf("revision %q is empty or comes again", revision)
		}
		seen[revision] = true
		if i%5 == 4 { // a reader of before must not take the new session for the old one
			want(t, s.Delete(t.Context(), "a"), nil, "Delete")
			_, err := s.Save(t.Context(), "a", json.RawMessage(`{}`), revision)
			want(t, err, status.ErrAborted, "Save in the place of what was deleted")
			revision = ""
		}
	}
}

func storeIDs(t *testing.T, s session.Store) {
	ids := []string{
		"a", "A", "..", ".", "../a", "/a", "a/b", `a\b`, "a.json", "a.", "tmp", "lock", "con", "nul", "a b", "%2e%2e", "_", "_61", "_-", "-", "é", "e\u0301",
		strings.Repeat("x", session.MaxIDBytes), strings.Repeat("x", session.MaxIDBytes-1) + "y", strings.Repeat("X", session.MaxIDBytes), "*", "~", "🙂",
	}
	revisions := make([]string, len(ids))
	for i, id := range ids {
		revisions[i] = saved(t, s, id, fmt.Sprintf(`{"i":%d}`, i), "")
	}
	for i, id := range ids {
		holds(t, s, id, fmt.Sprintf(`{"i":%d}`, i), revisions[i])
	}
	for i, id := range ids {
		want(t, s.Delete(t.Context(), id), nil, "Delete of "+id)
		for j := i + 1; j < len(ids); j++ {
			holds(t, s, ids[j], fmt.Sprintf(`{"i":%d}`, j), revisions[j])
		}
	}
}

func storeAliasing(t *testing.T, s session.Store) {
	doc := json.RawMessage(`{"n":1}`)
	revision, err := s.Save(t.Context(), "a", doc, "")
	want(t, err, nil, "Save")
	copy(doc, `{"n":9}`)
	holds(t, s, "a", `{"n":1}`, revision)
	got, _, err := s.Get(t.Context(), "a")
	want(t, err, nil, "Get")
	copy(got, `{"n":9}`)
	holds(t, s, "a", `{"n":1}`, revision)
}

func storeCounts(t *testing.T, s session.Store) {
	const writers, each = 8, 25
	saved(t, s, "a", `0`, "")
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for done := 0; done < each; {
				doc, revision, err := s.Get(context.Background(), "a")
				var n int
				if err != nil || json.Unmarshal(doc, &n) != nil {
					t.Errorf("Get: %s, %v", doc, err)
					return
				}
				_, err = s.Save(context.Background(), "a", fmt.Appendf(nil, "%d", n+1), revision)
				if err == nil {
					done++
				} else if !errors.Is(err, status.ErrAborted) {
					t.Errorf("Save: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	doc, _, err := s.Get(t.Context(), "a")
	if err != nil || string(doc) != fmt.Sprint(writers*each) {
		t.Errorf("after %d writes the store holds %s, %v", writers*each, doc, err)
	}
}

func storeEnds(t *testing.T, s session.Store) {
	revision := saved(t, s, "a", `{}`, "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err := s.Get(ctx, "a")
	want(t, err, status.ErrCancelled, "Get")
	_, err = s.Save(ctx, "a", json.RawMessage(`{"late":1}`), revision)
	want(t, err, status.ErrCancelled, "Save")
	want(t, s.Delete(ctx, "a"), status.ErrCancelled, "Delete")
	holds(t, s, "a", `{}`, revision)
}

func saved(t *testing.T, s session.Store, id, doc, revision string) string {
	t.Helper()
	next, err := s.Save(t.Context(), id, json.RawMessage(doc), revision)
	if err != nil {
		t.Fatalf("Save of %q: %v", id, err)
	}
	return next
}

func holds(t *testing.T, s session.Store, id, doc, revision string) {
	t.Helper()
	got, at, err := s.Get(t.Context(), id)
	if err != nil || !SameJSON(got, []byte(doc)) || at != revision {
		t.Fatalf("Get of %q: got %s at %q, %v; want %s at %q", id, got, at, err, doc, revision)
	}
}

func want(t *testing.T, err, target error, what string) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Fatalf("%s: got %v, want %v", what, err, target)
	}
}
