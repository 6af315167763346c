package model

import (
	"strconv"
	"sync"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
)

// Refs makes the refs of the tool requests of one answer unique, in its chunks and in
// its message alike: an answer to one request must never count for another. The first
// request of a ref keeps it, the following ones get "<ref>_2", "<ref>_3" and so on.
// Requests without a ref are left alone. The zero value is ready; make one for each run
// of a model. It is safe for concurrent use.
type Refs struct {
	mu    sync.Mutex // guards the fields below
	used  map[string]bool
	given map[refKey][]string // the refs that requests of a name and ref were given, in order
	open  map[refKey]bool     // the last of them is still being streamed (partial)
}

type refKey struct{ name, ref string }

func keyOf(r *content.ToolRequest) refKey { return refKey{r.Name, r.Ref} }

// Chunk returns c with unique refs; c itself when there is nothing to change. Parts
// that are marked as partial belong to one request until a part of the same name and
// ref comes that is not.
func (r *Refs) Chunk(c *Chunk) *Chunk {
	if c == nil || !asksWithRef(c.Content) {
		return c
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	parts := renamed(c.Content, func(req *content.ToolRequest) string {
		key := keyOf(req)
		n := len(r.given[key])
		if !r.open[key] {
			n++
		}
		ref := r.nth(key, n-1, nil)
		r.open[key] = req.Partial != nil && *req.Partial
		return ref
	})
	if parts == nil {
		return c
	}
	changed := *c
	changed.Content = parts
	return &changed
}

// Message returns m with unique refs, those that its chunks had; m itself when there is
// nothing to change.
func (r *Refs) Message(m *content.Message) *content.Message {
	if m == nil || !asksWithRef(m.Content) {
		return m
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.used == nil && len(m.ToolRequests()) == 1 {
		return m // nothing to be told apart from
	}
	own := map[string]bool{} // an earlier request does not get the ref of a later one
	for i := range m.Content {
		if req := m.Content[i].ToolRequest; req != nil {
			own[req.Ref] = true
		}
	}
	seen := map[refKey]int{}
	parts := renamed(m.Content, func(req *content.ToolRequest) string {
		key := keyOf(req)
		seen[key]++
		return r.nth(key, seen[key]-1, own)
	})
	if parts == nil {
		return m
	}
	changed := *m
	changed.Content = parts
	return &changed
}

// nth returns the ref of the nth request of key, and gives one that is neither used
// nor taken to each that has none yet.
func (r *Refs) nth(key refKey, n int, taken map[string]bool) string {
	if r.used == nil {
		r.used, r.given, r.open = map[string]bool{}, map[refKey][]string{}, map[refKey]bool{}
	}
	for len(r.given[key]) <= n {
		ref := key.ref
		for i := 2; r.used[ref] || ref != key.ref && taken[ref]; i++ {
			ref = key.ref + "_" + strconv.Itoa(i)
		}
		r.used[ref] = true
		r.given[key] = append(r.given[key], ref)
	}
	return r.given[key][n]
}

// UniqueRefs returns m with a ref of its own for each tool request that has one.
func UniqueRefs(m *content.Message) *content.Message {
	r := Refs{}
	return r.Message(m)
}

// PairRefs returns a conversation in which the tool requests of each model message have
// refs of their own, and the answers that follow carry those: the nth answer of a name
// and ref belongs to the nth request of the two. Histories come from callers, and a
// provider refuses, or confuses, two calls of one id. messages is not changed.
func PairRefs(messages []content.Message) []content.Message {
	var out []content.Message // nil until something changes
	given := map[refKey][]string{}
	for i := range messages {
		m := &messages[i]
		switch m.Role {
		case content.RoleModel:
			r := Refs{}
			paired := r.Message(m)
			given = r.given
			if paired == m {
				given = nil // each answer finds its request as it is
			}
			m = paired
		case content.RoleTool:
			m = answersOf(m, given)
		}
		if m == &messages[i] {
			continue
		}
		if out == nil {
			out = append(out, messages...)
		}
		out[i] = *m
	}
	if out == nil {
		return messages
	}
	return out
}

// answersOf returns m with the refs that its requests were given, and takes those off
// given.
func answersOf(m *content.Message, given map[refKey][]string) *content.Message {
	if len(given) == 0 {
		return m
	}
	changed := *m
	changed.Content = append([]content.Part{}, m.Content...)
	for i := range changed.Content {
		resp := changed.Content[i].ToolResponse
		if resp == nil {
			continue
		}
		key := refKey{resp.Name, resp.Ref}
		if len(given[key]) == 0 {
			continue
		}
		c := *resp
		c.Ref = given[key][0]
		given[key] = given[key][1:]
		changed.Content[i].ToolResponse = &c
	}
	return &changed
}

func asksWithRef(parts []content.Part) bool {
	for i := range parts {
		if r := parts[i].ToolRequest; r != nil && r.Ref != "" {
			return true
		}
	}
	return false
}

// renamed returns a copy of parts in which the requests have the refs that name
// returns; nil when no ref changes.
func renamed(parts []content.Part, name func(*content.ToolRequest) string) []content.Part {
	var out []content.Part
	for i := range parts {
		req := parts[i].ToolRequest
		if req == nil || req.Ref == "" {
			continue
		}
		ref := name(req)
		if ref == req.Ref {
			continue
		}
		if out == nil {
			out = append(out, parts...)
		}
		c := *req
		c.Ref = ref
		out[i].ToolRequest = &c
	}
	return out
}
