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

// PairRefs returns a conversation in which each tool request that has a ref has one of its
// own, over all messages, and the answers carry those of their requests. Histories come from
// callers, and servers without ids give the same refs in every answer: a provider refuses, or
// confuses, two calls of one id. The first request of a ref keeps it, the following ones get
// one that no request of the conversation has, "<ref>_2" and so on. Of the requests of one
// message the nth answer of a name and ref belongs to the nth request of the two; an answer
// without a ref, or to a request without one, to the first request of its name that is left.
// messages is not changed.
func PairRefs(messages []content.Message) []content.Message {
	return pairRefs(messages, func(_, ref string) string { return ref })
}

// NamedRefs is PairRefs for a provider that wants an id with every request, in a form of its
// own: name gives the id that the API takes for a tool's name and a ref, which may be "". An
// answer to no request has its ref named alone, and may stay without.
func NamedRefs(messages []content.Message, name func(tool, ref string) string) []content.Message {
	return pairRefs(messages, name)
}

// pairing gives the requests of a conversation their refs.
type pairing struct {
	name func(tool, ref string) string
	own  map[string]bool // refs that a request has by itself
	used map[string]bool
	next map[string]int // the next number behind a ref
	// answers are the refs of the answers to the requests so far.
	answers map[*content.ToolResponse]string
}

func pairRefs(messages []content.Message, name func(tool, ref string) string) []content.Message {
	p := &pairing{name, map[string]bool{}, map[string]bool{}, map[string]int{}, map[*content.ToolResponse]string{}}
	for i := range messages {
		for j := range messages[i].Content {
			if r := messages[i].Content[j].ToolRequest; r != nil && r.Ref != "" && name(r.Name, r.Ref) == r.Ref {
				p.own[r.Ref] = true
			}
		}
	}
	var out []content.Message // nil until something changes
	for i := range messages {
		m := &messages[i]
		switch m.Role {
		case content.RoleModel:
			m = p.turn(m, messages[i+1:])
		case content.RoleTool:
			m = p.renamed(m)
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

// turn gives the requests of a model's message their refs, and those to their answers.
func (p *pairing) turn(m *content.Message, following []content.Message) *content.Message {
	var parts []content.Part // nil until something changes
	var open []*content.ToolRequest
	var given []string
	for i := range m.Content {
		req := m.Content[i].ToolRequest
		if req == nil {
			continue
		}
		ref := p.give(req)
		open, given = append(open, req), append(given, ref)
		if ref == req.Ref {
			continue
		}
		if parts == nil {
			parts = append(parts, m.Content...)
		}
		c := *req
		c.Ref = ref
		parts[i].ToolRequest = &c
	}
	if len(open) > 0 {
		p.settle(open, given, answersIn(following))
	}
	return withParts(m, parts)
}

// answersIn returns the answers up to the next message that asks for tools.
func answersIn(messages []content.Message) []*content.ToolResponse {
	var all []*content.ToolResponse
	for i := range messages {
		for j := range messages[i].Content {
			part := &messages[i].Content[j]
			if part.ToolRequest != nil && messages[i].Role == content.RoleModel {
				return all
			}
			if part.ToolResponse != nil && messages[i].Role == content.RoleTool {
				all = append(all, part.ToolResponse)
			}
		}
	}
	return all
}

// give returns the ref of a request: its own, if it is the first of it, else one that is
// neither used nor another's own.
func (p *pairing) give(req *content.ToolRequest) string {
	base := p.name(req.Name, req.Ref)
	if base == "" {
		return ""
	}
	ref := base
	for p.used[ref] || (p.own[ref] && ref != req.Ref) {
		p.next[base] = max(p.next[base]+1, 2)
		ref = base + "_" + strconv.Itoa(p.next[base])
	}
	p.used[ref] = true
	return ref
}

// settle finds the answer of each request: one of its name and ref first; then, in the order
// of both, one of its name where either has no ref, and one of its ref.
func (p *pairing) settle(open []*content.ToolRequest, given []string, answers []*content.ToolResponse) {
	settled := make([]bool, len(open))
	for _, fits := range []func(*content.ToolRequest, *content.ToolResponse) bool{
		func(q *content.ToolRequest, a *content.ToolResponse) bool { return q.Name == a.Name && q.Ref == a.Ref },
		func(q *content.ToolRequest, a *content.ToolResponse) bool {
			return q.Name == a.Name && (q.Ref == "" || a.Ref == "")
		},
		func(q *content.ToolRequest, a *content.ToolResponse) bool { return q.Ref == a.Ref && q.Ref != "" },
	} {
		for _, a := range answers {
			if _, done := p.answers[a]; done {
				continue
			}
			for i, q := range open {
				if !settled[i] && fits(q, a) {
					settled[i] = true
					p.answers[a] = given[i]
					break
				}
			}
		}
	}
}

// renamed gives the answers of a message the refs of their requests.
func (p *pairing) renamed(m *content.Message) *content.Message {
	var parts []content.Part // nil until something changes
	for i := range m.Content {
		resp := m.Content[i].ToolResponse
		if resp == nil {
			continue
		}
		ref := p.answers[resp]
		if ref == "" && resp.Ref != "" {
			ref = p.name(resp.Name, resp.Ref)
		}
		if ref == resp.Ref {
			continue
		}
		if parts == nil {
			parts = append(parts, m.Content...)
		}
		c := *resp
		c.Ref = ref
		parts[i].ToolResponse = &c
	}
	return withParts(m, parts)
}

// withParts returns m with other parts, m itself where there are none.
func withParts(m *content.Message, parts []content.Part) *content.Message {
	if parts == nil {
		return m
	}
	changed := *m
	changed.Content = parts
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
