package schema

import (
	"encoding/json"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// meter walks a built value as the compiler's validator would if nothing ever
// cut its way short, and counts. It is what keeps that validator, which has no
// bounds of its own, from running for ever.
type meter struct {
	budget  int
	level   int
	same    int // schemas entered on the same value
	anchors map[string][]*jsonschema.Schema
	costs   map[string]int // of patterns
}

// affordable reports whether validating v is within the work that raw is allowed:
// a quarter of what a reader may do, since each unit takes the validator longer.
func affordable(s *jsonschema.Schema, v any, raw []byte) bool {
	m := &meter{budget: workFor(raw) / 4, anchors: map[string][]*jsonschema.Schema{}, costs: map[string]int{}}
	m.collect(s, map[*jsonschema.Schema]bool{})
	return m.walk(s, v)
}

// subschemas calls f with all schemas that s has or refers to.
func subschemas(s *jsonschema.Schema, onSame, onOther func(*jsonschema.Schema)) {
	each := func(f func(*jsonschema.Schema), list ...*jsonschema.Schema) {
		for _, sub := range list {
			if sub != nil {
				f(sub)
			}
		}
	}
	each(onSame, s.Ref, s.RecursiveRef, s.Not, s.If, s.Then, s.Else)
	each(onSame, s.AllOf...)
	each(onSame, s.AnyOf...)
	each(onSame, s.OneOf...)
	for _, sub := range s.DependentSchemas {
		onSame(sub)
	}
	for _, either := range s.Dependencies {
		if sub, ok := either.(*jsonschema.Schema); ok {
			onSame(sub)
		}
	}
	each(onOther, s.PropertyNames, s.UnevaluatedProperties, s.UnevaluatedItems, s.Contains, s.Items2020, s.ContentSchema)
	each(onOther, s.PrefixItems...)
	for _, sub := range s.Properties {
		onOther(sub)
	}
	for _, sub := range s.PatternProperties {
		onOther(sub)
	}
	for _, either := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch sub := either.(type) {
		case *jsonschema.Schema:
			onOther(sub)
		case []*jsonschema.Schema:
			each(onOther, sub...)
		}
	}
}

// collect finds what a dynamic reference may lead to.
func (m *meter) collect(s *jsonschema.Schema, seen map[*jsonschema.Schema]bool) {
	if seen[s] {
		return
	}
	seen[s] = true
	if s.DynamicAnchor != "" {
		m.anchors[s.DynamicAnchor] = append(m.anchors[s.DynamicAnchor], s)
	}
	if s.RecursiveAnchor {
		m.anchors[""] = append(m.anchors[""], s)
	}
	again := func(sub *jsonschema.Schema) { m.collect(sub, seen) }
	subschemas(s, again, again)
	if s.DynamicRef != nil {
		again(s.DynamicRef.Ref)
	}
}

func (m *meter) spend(n int) bool {
	m.budget -= n
	return m.budget >= 0
}

func (m *meter) walk(s *jsonschema.Schema, v any) bool {
	if !m.spend(1+m.same/8) || m.level >= maxLevel {
		return false
	}
	m.level++
	m.same++
	ok := m.own(s, v) && m.onSame(s, v) && m.inside(s, v)
	m.level--
	m.same--
	return ok
}

// own counts the assertions that do not nest.
func (m *meter) own(s *jsonschema.Schema, v any) bool {
	cost := len(s.Required) / 4
	if s.Enum != nil {
		cost += len(s.Enum.Values) / 4
	}
	switch v := v.(type) {
	case string:
		cost += len(v) / 16
		if s.Format != nil && !affordableFormat(s.Format.Name, v) {
			return false
		}
		if s.Pattern != nil {
			cost += m.pattern(s.Pattern) * (len(v) + 16) / 16
		}
	case map[string]any:
		for re := range s.PatternProperties {
			unit := m.pattern(re)
			for name := range v {
				cost += unit * (len(name) + 16) / 16
			}
		}
		for _, names := range s.DependentRequired {
			cost += len(names) / 4
		}
	case []any:
		if s.UniqueItems {
			cost += m.unique(v)
		}
	}
	return m.spend(cost)
}

// unique counts the comparisons of uniqueItems: the hashes of lists and objects
// can be made to collide.
func (m *meter) unique(items []any) int {
	for _, item := range items {
		switch item.(type) {
		case []any, map[string]any:
			return len(items) * len(items) / 64
		}
	}
	return len(items) / 4
}

func (m *meter) pattern(re jsonschema.Regexp) int {
	text := re.String()
	cost, ok := m.costs[text]
	if !ok {
		cost = patternCost(text)
		m.costs[text] = cost
	}
	return cost
}

func (m *meter) onSame(s *jsonschema.Schema, v any) bool {
	ok := true
	subschemas(s, func(sub *jsonschema.Schema) { ok = ok && m.walk(sub, v) }, func(*jsonschema.Schema) {})
	targets := []*jsonschema.Schema(nil)
	if s.DynamicRef != nil {
		targets = append(m.anchors[s.DynamicRef.Anchor], s.DynamicRef.Ref)
	}
	if s.RecursiveRef != nil {
		targets = append(targets, m.anchors[""]...)
	}
	for i, target := range targets {
		if i == len(targets)-1 || target != targets[len(targets)-1] {
			ok = ok && m.walk(target, v)
		}
	}
	return ok
}

// inside walks the parts of a list or object. Of the schemas that may apply to a
// part, all that do are counted.
func (m *meter) inside(s *jsonschema.Schema, v any) bool {
	same := m.same
	m.same = 0
	defer func() { m.same = same }()
	walk := func(either any, v any) bool {
		sub, ok := either.(*jsonschema.Schema)
		return !ok || sub == nil || m.walk(sub, v)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			ok := walk(s.Properties[name], value) && walk(s.PropertyNames, name) && walk(s.UnevaluatedProperties, value)
			known := s.Properties[name] != nil
			for re, sub := range s.PatternProperties {
				if ok && re.MatchString(name) {
					known = true
					ok = walk(sub, value)
				}
			}
			if !ok || !known && !walk(s.AdditionalProperties, value) {
				return false
			}
		}
	case []any:
		lists, _ := s.Items.([]*jsonschema.Schema)
		for i, item := range v {
			ok := walk(s.Contains, item) && walk(s.UnevaluatedItems, item)
			switch {
			case i < len(s.PrefixItems):
				ok = ok && walk(s.PrefixItems[i], item)
			case i < len(lists):
				ok = ok && walk(lists[i], item)
			default:
				ok = ok && walk(s.Items2020, item) && walk(s.Items, item) && walk(s.AdditionalItems, item)
			}
			if !ok {
				return false
			}
		}
	case json.Number:
		return m.spend(len(v) / 4)
	}
	return true
}
