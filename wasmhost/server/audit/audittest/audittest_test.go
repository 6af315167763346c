package audittest_test

import (
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/genkit-wasm/genkit-wasm/internal/kittest"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit"
	"github.com/genkit-wasm/genkit-wasm/wasmhost/server/audit/audittest"
)

// faulty is a log in memory with one fault.
type faulty struct {
	fault string

	mu      sync.Mutex // guards the fields below
	entries []audit.Entry
	counted int
	appends int
}

func (f *faulty) Append(e audit.Entry) (audit.Entry, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.appends++
	e.Seq, e.At = uint64(f.appends), time.Now()
	switch f.fault {
	case "gives a number twice":
		e.Seq = uint64((f.appends + 1) / 2)
	case "has no clock":
		e.At = time.Time{}
	case "cuts what it keeps":
		e.On = e.On[:len(e.On)/2]
	case "loses each tenth entry":
		if f.appends%10 == 0 {
			return e, nil
		}
	case "keeps an entry some time later":
		if f.appends%2 == 1 {
			defer func() { f.entries = f.entries[:len(f.entries)-1] }()
		}
	}
	f.entries = append(f.entries, e)
	return e, nil
}

func (f *faulty) Count(e audit.Entry) {
	if f.fault == "keeps an entry for each that it counts" {
		e.Count = 1
		_, _ = f.Append(e)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counted++
	if f.fault == "counts no more than ten" {
		f.counted = min(f.counted, 10)
	}
}

func (f *faulty) List(q audit.Query) (page []audit.Entry, next uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	limit := q.Limit
	if f.fault == "returns one more than was asked for" {
		limit++
	}
	for _, e := range slices.Backward(f.entries) {
		match := (q.Before == 0 || e.Seq < q.Before) && (q.Who == "" || e.Who == q.Who) && (q.What == "" || e.What == q.What) && !e.At.Before(q.Since)
		if f.fault == "compares the beginning of a who" {
			match = match || strings.HasPrefix(e.Who, q.Who) && q.Before == 0 && q.What == ""
		}
		if f.fault == "takes one filter alone" && q.Who != "" && q.What != "" {
			match = (q.Before == 0 || e.Seq < q.Before) && e.Who == q.Who
		}
		switch {
		case !match:
		case len(page) < limit:
			page = append(page, e)
		default:
			next = page[len(page)-1].Seq
			if f.fault == "passes over an entry between pages" && next > 1 {
				next--
			}
			return page, next, nil
		}
	}
	if f.fault == "lists the oldest first" {
		slices.Reverse(page)
	}
	return page, 0, nil
}

func (f *faulty) reopen() audit.Keeper {
	f.mu.Lock()
	defer f.mu.Unlock()
	again := &faulty{fault: f.fault, entries: slices.Clone(f.entries), appends: f.appends}
	if f.counted > 0 {
		again.entries = append(again.entries, audit.Entry{What: "signIn", Result: "401 UNAUTHENTICATED", Count: f.counted})
	}
	switch f.fault {
	case "loses its last entry when it ends":
		again.entries = again.entries[:max(0, len(again.entries)-1)]
	case "numbers from one in each process":
		again.appends = 0
	}
	return again
}

func TestTheKitFindsFaults(t *testing.T) {
	const (
		numbers = "entries are numbered as they come"
		pages   = "a list is in pages, the newest first"
		query   = "a query chooses"
		reopens = "what was acknowledged outlives the process"
		counts  = "what was counted comes to be kept, as a count"
	)
	kittest.Run(t, func(t *testing.T, fault string) {
		t.Helper()
		audittest.Run(t, func(*testing.T) audittest.Opened {
			f := &faulty{fault: fault}
			return audittest.Opened{Keeper: f, Reopen: f.reopen}
		})
	}, map[string]string{
		"gives a number twice":                   numbers,
		"has no clock":                           numbers,
		"cuts what it keeps":                     numbers,
		"keeps an entry some time later":         numbers,
		"lists the oldest first":                 pages,
		"returns one more than was asked for":    pages,
		"passes over an entry between pages":     pages,
		"compares the beginning of a who":        query,
		"takes one filter alone":                 query,
		"loses each tenth entry":                 "entries at the same time are each kept",
		"loses its last entry when it ends":      reopens,
		"numbers from one in each process":       reopens,
		"counts no more than ten":                counts,
		"keeps an entry for each that it counts": counts,
	})
}
