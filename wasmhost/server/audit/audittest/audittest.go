// Package audittest checks that a log of changes keeps its contract.
//
// It owns the kit for [audit.Keeper]. Use, in a test of the log:
//
//	audittest.Run(t, func(t *testing.T) audittest.Opened { return audittest.Opened{Keeper: open(t)} })
package audittest

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
)

// Opened is a log that has no entries yet.
type Opened struct {
	audit.Keeper
	// Reopen ends the log as a server does that is stopped, and opens it again; nil where it does not outlive
	// its process, and then that is not checked.
	Reopen func() audit.Keeper
}

// Run checks the logs that open returns, each of them empty. open sees to their end.
func Run(t *testing.T, open func(t *testing.T) Opened) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, Opened){
		"entries are numbered as they come":             testNumbers,
		"a list is in pages, the newest first":          testPages,
		"a query chooses":                               testQuery,
		"entries at the same time are each kept":        testConcurrent,
		"what was acknowledged outlives the process":    testReopen,
		"what was counted comes to be kept, as a count": testCount,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t)) })
	}
}

func entry(what string) audit.Entry {
	return audit.Entry{Who: "key:a", From: "192.0.2.1", What: what, On: "/v1/tenants/acme", Result: "200", Request: "r-" + what}
}

func add(t *testing.T, k audit.Keeper, e audit.Entry) audit.Entry {
	t.Helper()
	kept, err := k.Append(e)
	require.NoError(t, err)
	return kept
}

// all reads a log to its beginning, the oldest entry first, in pages of so many.
func all(t testing.TB, k audit.Keeper, q audit.Query) (entries []audit.Entry) {
	t.Helper()
	for range 10_000 {
		page, next, err := k.List(q)
		require.NoError(t, err)
		require.LessOrEqual(t, len(page), q.Limit, "no more than the query asks for")
		entries = append(entries, page...)
		if next == 0 {
			slices.Reverse(entries)
			return entries
		}
		require.True(t, q.Before == 0 || next < q.Before, "a list goes on: %d after %d", next, q.Before)
		q.Before = next
	}
	t.Fatal("the list does not end")
	return nil
}

func testNumbers(t *testing.T, k Opened) {
	assert.Empty(t, all(t, k, audit.Query{Limit: 10}))
	began := time.Now()
	var last uint64
	for _, what := range []string{"createTenant", "putModule", "deleteTenant"} {
		e := entry(what)
		e.Of = last
		kept := add(t, k, e)
		assert.Greater(t, kept.Seq, last)
		assert.WithinRange(t, kept.At, began.Add(-time.Minute), time.Now().Add(time.Minute))
		last = kept.Seq
		e.Seq, e.At, e.Hash = kept.Seq, kept.At, kept.Hash
		assert.Equal(t, e, kept, "nothing else is changed")
		entries := all(t, k, audit.Query{Limit: 10})
		require.NotEmpty(t, entries)
		assert.Equal(t, kept, entries[len(entries)-1], "it is there once it was acknowledged")
	}
}

func testPages(t *testing.T, k Opened) {
	const entries = 25
	var made []audit.Entry
	for i := range entries {
		made = append(made, add(t, k, entry(fmt.Sprint("w", i))))
	}
	for _, limit := range []int{1, 7, entries, 1000} {
		assert.Equal(t, made, all(t, k, audit.Query{Limit: limit}), limit)
	}
	page, _, err := k.List(audit.Query{Limit: 2})
	require.NoError(t, err)
	assert.Equal(t, []audit.Entry{made[entries-1], made[entries-2]}, page)
	assert.Equal(t, made[:4], all(t, k, audit.Query{Limit: 3, Before: made[4].Seq}))
	assert.Empty(t, all(t, k, audit.Query{Limit: 3, Before: made[0].Seq}))
	assert.Equal(t, made, all(t, k, audit.Query{Limit: 1000, Before: 1 << 60}))
}

func testQuery(t *testing.T, k Opened) {
	for i := range 20 {
		e := entry(fmt.Sprint("x", i%5))
		e.Who = fmt.Sprint("w", i%2)
		add(t, k, e)
	}
	for name, test := range map[string]struct {
		query audit.Query
		want  int
	}{
		"who":           {audit.Query{Who: "w1"}, 10},
		"what":          {audit.Query{What: "x3"}, 4},
		"both":          {audit.Query{Who: "w1", What: "x3"}, 2},
		"nobody":        {audit.Query{Who: "nobody"}, 0},
		"part of a who": {audit.Query{Who: "w"}, 0},
		"since before":  {audit.Query{Since: time.Now().Add(-time.Hour)}, 20},
		"since later":   {audit.Query{Since: time.Now().Add(time.Hour)}, 0},
	} {
		for _, limit := range []int{1, 3, 1000} {
			test.query.Limit = limit
			assert.Len(t, all(t, k, test.query), test.want, "%s, %d at a time", name, limit)
		}
	}
}

func testConcurrent(t *testing.T, k Opened) {
	const callers, each = 8, 5
	var wg sync.WaitGroup
	for c := range callers {
		wg.Go(func() {
			for i := range each {
				_, err := k.Append(entry(fmt.Sprintf("c%d-%d", c, i)))
				assert.NoError(t, err)
			}
		})
	}
	wg.Wait()
	numbers, whats := map[uint64]bool{}, map[string]bool{}
	for _, e := range all(t, k, audit.Query{Limit: 10}) {
		numbers[e.Seq], whats[e.What] = true, true
	}
	assert.Len(t, numbers, callers*each)
	assert.Len(t, whats, callers*each)
}

func testReopen(t *testing.T, k Opened) {
	if k.Reopen == nil {
		return
	}
	want := []audit.Entry{add(t, k, entry("a")), add(t, k, entry("b"))}
	again := k.Reopen()
	assert.Equal(t, want, all(t, again, audit.Query{Limit: 10}))
	more := add(t, again, entry("c"))
	assert.Greater(t, more.Seq, want[1].Seq, "numbers go on")
	assert.Equal(t, append(want, more), all(t, again, audit.Query{Limit: 10}))
}

func testCount(t *testing.T, k Opened) {
	const times = 50
	refused := entry("signIn")
	refused.Result = "401 UNAUTHENTICATED"
	for range times {
		k.Count(refused)
	}
	if k.Reopen == nil {
		return
	}
	count, entries := 0, 0
	for _, e := range all(t, k.Reopen(), audit.Query{Limit: 100}) {
		assert.Equal(t, "signIn", e.What)
		assert.Equal(t, refused.Result, e.Result)
		count += e.Count
		entries++
	}
	assert.Equal(t, times, count, "none is lost by an orderly stop")
	assert.Less(t, entries, times, "a flood makes few entries")
}
