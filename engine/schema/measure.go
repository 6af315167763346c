package schema

import (
	"encoding/json"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// meter walks a built value as the compiler's validator would if nothing ever
// cut its way short, and counts. It is what keeps that validator, which has no
// bounds of its own, from running for ever.
type meter struct {
	*survey
	budget int
	level  int
	same   int // schemas entered on the same value
}

// survey is what a meter has to know of a whole schema.
type survey struct {
	anchors map[string][]*jsonschema.Schema // what a dynamic reference may lead to
	costs   map[jsonschema.Regexp]int
	seen    map[*jsonschema.Schema]bool
}

func newSurvey(s *jsonschema.Schema) *survey {
	v := &survey{map[string][]*jsonschema.Schema{}, map[jsonschema.Regexp]int{}, map[*jsonschema.Schema]bool{}}
	v.visit(s)
	v.seen = nil
	return v
}

func (v *survey) visit(s *jsonschema.Schema) {
	if v.seen[s] {
		return
	}
	v.seen[s] = true
	if s.DynamicAnchor != "" {
		v.anchors[s.DynamicAnchor] = append(v.anchors[s.DynamicAnchor], s)
	}
	if s.RecursiveAnchor {
		v.anchors[""] = append(v.anchors[""], s)
	}
	if s.Pattern != nil {
		v.costs[s.Pattern] = patternCost(s.Pattern.String())
	}
	for re := range s.PatternProperties {
		v.costs[re] = patternCost(re.String())
	}
	onSame(s, v.visit)
	onParts(s, v.visit)
	if s.DynamicRef != nil {
		v.visit(s.DynamicRef.Ref)
	}
}

// affordable reports whether validating doc takes the compiler's validator no more
// than work, if nothing cuts its way short.
func (v *survey) affordable(s *jsonschema.Schema, doc any, work int) bool {
	m := &meter{survey: v, budget: work}
	return m.walk(s, doc)
}

func each(f func(*jsonschema.Schema), list ...*jsonschema.Schema) {
	for _, sub := range list {
		if sub != nil {
			f(sub)
		}
	}
}

// onSame calls f with the schemas that apply to the same value as s, dynamic
// references aside.
func onSame(s *jsonschema.Schema, f func(*jsonschema.Schema)) {
	each(f, s.Ref, s.Not, s.If, s.Then, s.Else)
	if s.RecursiveRef != nil {
		f(s.RecursiveRef)
	}
	each(f, s.AllOf...)
	each(f, s.AnyOf...)
	each(f, s.OneOf...)
	for _, sub := range s.DependentSchemas {
		f(sub)
	}
	for _, either := range s.Dependencies {
		if sub, ok := either.(*jsonschema.Schema); ok {
			f(sub)
		}
	}
}

// onParts calls f with the schemas that apply to parts of the value.
func onParts(s *jsonschema.Schema, f func(*jsonschema.Schema)) {
	each(f, s.PropertyNames, s.UnevaluatedProperties, s.UnevaluatedItems, s.Contains, s.Items2020, s.ContentSchema)
	each(f, s.PrefixItems...)
	for _, sub := range s.Properties {
		f(sub)
	}
	for _, sub := range s.PatternProperties {
		f(sub)
	}
	for _, either := range []any{s.AdditionalProperties, s.Items, s.AdditionalItems} {
		switch sub := either.(type) {
		case *jsonschema.Schema:
			f(sub)
		case []*jsonschema.Schema:
			each(f, sub...)
		}
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
	ok := m.own(s, v) && m.again(s, v) && m.inside(s, v)
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
			cost += m.costs[s.Pattern] * (len(v) + 16) / 16
		}
	case map[string]any:
		for re := range s.PatternProperties {
			unit := m.costs[re]
			for name := range v {
				if !m.spend(unit * (len(name) + 16) / 16) {
					return false
				}
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

// again walks the same value with all schemas that apply to it.
func (m *meter) again(s *jsonschema.Schema, v any) bool {
	ok := true
	onSame(s, func(sub *jsonschema.Schema) { ok = ok && m.walk(sub, v) })
	targets := []*jsonschema.Schema(nil)
	if s.DynamicRef != nil {
		targets = append(targets, m.anchors[s.DynamicRef.Anchor]...)
		if !slices.Contains(targets, s.DynamicRef.Ref) {
			targets = append(targets, s.DynamicRef.Ref)
		}
	}
	if s.RecursiveRef != nil {
		targets = append(targets, m.anchors[""]...)
	}
	for _, target := range targets {
		ok = ok && m.walk(target, v)
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
