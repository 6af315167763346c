package schema

import (
	"encoding/json"
	"slices"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// meter walks a decoded value under a schema as the compiler's validator would in the worst case (no
// alternative fails early), and counts the work. The validator has no bounds of its own; it is
// called only when the meter has found that its work is affordable. The count may be too high, never
// too low.
//
// The terms, each from how santhosh-tekuri/jsonschema v6 works:
//
//	1 + same/8     entering a schema, and comparing it with those entered on the same value
//	parts          copying the set of unevaluated members, where a schema asks for it
//	own            texts by length, enum and required by number, uniqueItems by pairs
//	matches        instructions of regular expressions, counted by really matching
type meter struct {
	*survey
	budget int
	pace   *pace
	level  int
	same   int // schemas entered on the same value; a validator compares with each of them
	// unevaluated tells that a schema on the same value asks what others have left
	// unevaluated: the validator then keeps a set of the value's parts for each.
	unevaluated bool
	machine     *machine
}

// survey holds facts about a whole schema that are found once, when it is compiled.
type survey struct {
	anchors map[string][]*jsonschema.Schema // the schemas a dynamic reference may lead to
	seen    map[*jsonschema.Schema]bool
}

// newSurvey visits all schemas that can be reached from s.
func newSurvey(s *jsonschema.Schema) *survey {
	v := &survey{map[string][]*jsonschema.Schema{}, map[*jsonschema.Schema]bool{}}
	v.visit(s)
	v.seen = nil
	return v
}

// visit notes one schema and goes on to those in it.
func (v *survey) visit(s *jsonschema.Schema) {
	if v.seen[s] {
		return
	}
	v.seen[s] = true
	// The schema was just compiled and is not shared yet, so it may be changed here.
	if s.Format != nil && s.Format.Name == "regex" {
		s.Format = regexFormat // the compiler lets nobody register it
	}
	if s.DynamicAnchor != "" {
		v.anchors[s.DynamicAnchor] = append(v.anchors[s.DynamicAnchor], s)
	}
	if s.RecursiveAnchor {
		v.anchors[""] = append(v.anchors[""], s)
	}
	onSame(s, v.visit)
	onParts(s, v.visit)
	if s.DynamicRef != nil {
		v.visit(s.DynamicRef.Ref)
	}
}

// affordable reports whether validating doc takes the compiler's validator no more
// than work, if nothing cuts its way short.
func (v *survey) affordable(s *jsonschema.Schema, doc any, first int, p *pace) bool {
	m := &meter{survey: v, budget: first, pace: p}
	m.machine, _ = machines.Get().(*machine)
	defer m.machine.free()
	return m.walk(s, doc)
}

// each calls f with the schemas of a list that are there.
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

// onParts calls f with the schemas that apply to parts of the value: members, keys, items, decoded content.
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

// spend takes n units from the budget and reports whether there were as many.
func (m *meter) spend(n int) bool {
	m.budget -= n
	// The budget is one chunk; when it is used up the check pauses and gets the next one.
	for m.budget < 0 {
		more := m.pace.more()
		if more == 0 {
			return false
		}
		m.budget += more
	}
	return true
}

// matches reports whether re matches text; not ok when that costs too much.
func (m *meter) matches(re jsonschema.Regexp, text string) (yes, ok bool) {
	p, own := re.(*pattern)
	if !own {
		return false, false
	}
	m.budget, m.pace.rest = m.budget+m.pace.rest, 0
	end := match(m.machine, p, text, &m.budget)
	if m.budget > chunk {
		m.budget, m.pace.rest = chunk, m.budget-chunk
	}
	if end == unpaid || len(text) > longText && !m.pace.pause() {
		return false, false
	}
	return end == matched, true
}

// walk counts a schema on a value: its own keywords, then those of the same value, then those of the
// value's parts. It returns false when the budget is used up.
func (m *meter) walk(s *jsonschema.Schema, v any) bool {
	if !m.spend(1+m.same/8) || m.level >= maxLevel {
		return false
	}
	// From here down on the same value, each schema pays for the set as well.
	unevaluated := m.unevaluated
	m.unevaluated = unevaluated || s.UnevaluatedProperties != nil || s.UnevaluatedItems != nil
	if m.unevaluated && !m.spend(parts(v)) {
		return false
	}
	m.level++
	m.same++
	ok := m.own(s, v) && m.again(s, v) && m.inside(s, v)
	m.level--
	m.same--
	m.unevaluated = unevaluated
	return ok
}

// parts is how many members or items v has.
func parts(v any) int {
	switch v := v.(type) {
	case map[string]any:
		return len(v)
	case []any:
		return len(v)
	}
	return 0
}

// own counts the keywords that have no schemas in them. Four names or values of a list cost a unit, and
// sixteen bytes of text.
func (m *meter) own(s *jsonschema.Schema, v any) bool {
	cost := len(s.Required) / 4
	if s.Enum != nil {
		cost += len(s.Enum.Values) / 4
	}
	switch v := v.(type) {
	case string:
		cost += len(v) / 16
		if s.Format != nil {
			if !affordableFormat(s.Format.Name, v) {
				return false
			}
			cost += len(v) / bytesForFormat
		}
		if s.Pattern != nil {
			if _, ok := m.matches(s.Pattern, v); !ok {
				return false
			}
		}
	case map[string]any:
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
		case []any, map[string]any: // each is compared with each, in the worst case
			return len(items) * len(items) / 64
		}
	}
	return len(items) / 4
}

// again walks the same value with all schemas that apply to it.
func (m *meter) again(s *jsonschema.Schema, v any) bool {
	ok := true
	onSame(s, func(sub *jsonschema.Schema) { ok = ok && m.walk(sub, v) })
	// A dynamic reference leads to one of the schemas with its anchor, which depends on the path that
	// validation takes. All of them are counted.
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

// inside walks the parts of a list or object under all schemas that apply to them. A part is another value,
// so same and unevaluated begin anew for it and are restored in the end.
func (m *meter) inside(s *jsonschema.Schema, v any) bool {
	same, unevaluated := m.same, m.unevaluated
	m.same, m.unevaluated = 0, false
	defer func() { m.same, m.unevaluated = same, unevaluated }()
	// walk takes a keyword's value: a schema, or a boolean or a list, which cost nothing here.
	walk := func(either any, v any) bool {
		sub, ok := either.(*jsonschema.Schema)
		return !ok || sub == nil || m.walk(sub, v)
	}
	switch v := v.(type) {
	case map[string]any:
		for name, value := range v {
			// additionalProperties applies to a member that neither a name nor a pattern covers.
			ok := walk(s.Properties[name], value) && walk(s.PropertyNames, name) && walk(s.UnevaluatedProperties, value)
			known := s.Properties[name] != nil
			for re, sub := range s.PatternProperties {
				applies := false
				if ok {
					applies, ok = m.matches(re, name)
				}
				if ok && applies {
					known = true
					ok = walk(sub, value)
				}
			}
			if !ok || !known && !walk(s.AdditionalProperties, value) {
				return false
			}
		}
	case []any:
		// items is a schema, or in draft 7 perhaps a list of schemas by position.
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
