package schema

import "unicode/utf8"

// How the methods of this file agree with each other:
//
//   - A method reads one thing that begins at r.pos and returns true with r.pos behind it.
//   - It returns false when the thing breaks its schema, or when the text itself is refused;
//     the latter sets r.err. Callers that try alternatives look at r.err, because no
//     alternative can accept a refused text.
//   - After false, r.pos is where reading stopped and the stacks (keys, items, bits) may be
//     longer than before. Only try goes on after false, and it restores all of them.
//
// Work of one validation is counted in units of one node on one value or sixteen bytes of
// text. A document that needs more is refused: alternatives inside alternatives read the
// same bytes again, so that the time would grow exponentially with the nesting.
const (
	workBase    = 1 << 16
	workPerByte = 8
	// maxLevel bounds the nesting of nodes, which is that of values times that of references and
	// combined schemas. Each level is a few frames on Go's stack.
	maxLevel = 10_000
)

// workFor returns the budget for a document, which is proportional to its length.
func workFor(raw []byte) int { return workBase + workPerByte*len(raw) }

// value reads one value, at pos, that n has to accept.
func (r *reader) value(n *node) bool {
	if n == nil {
		return r.any()
	}
	if r.budget--; r.budget < 0 && !r.goOn() {
		return false
	}
	if r.level >= maxLevel {
		return r.fail(errWork)
	}
	// Most nodes combine nothing and are read once; the others have to remember where the value begins.
	start := r.pos
	if n.combined == nil && r.direct(n) || n.combined != nil && r.both(n) {
		return true
	}
	// The innermost value that is wrong comes here first, and its offset is kept.
	if r.at < 0 {
		r.at = start
	}
	return false
}

// both reads a value under the node's own rules and those that it combines. end is where the value ends
// once somebody has read it to its end; -1 until then, as when all schemas of a not were refused early.
func (r *reader) both(n *node) bool {
	start, depth := r.pos, r.depth
	r.level++
	end := -1
	ok := true
	if n.direct {
		ok = r.direct(n)
		end = r.pos
	}
	ok = ok && r.combined(n.combined, start, &end)
	if ok && end < 0 { // no schema has read the value to its end: it is read for its syntax
		r.pos = start
		ok = r.any()
		end = r.pos
	}
	r.level--
	if ok {
		r.pos, r.depth = end, depth
	}
	return ok
}

// try reads the value at start once more, for another schema, and restores the reader's state whatever
// the outcome, except for the budget (work that was done stays spent) and r.err. When n accepts the
// value, *end becomes the offset behind it.
func (r *reader) try(n *node, start int, end *int) bool {
	// The state is a few integers and the lengths of the stacks.
	pos, at, depth, level := r.pos, r.at, r.depth, r.level
	keys, items, words := len(r.keys), len(r.items), len(r.bits)
	r.pos = start
	r.level++
	ok := r.value(n)
	if ok {
		*end = r.pos
	}
	r.pos, r.at, r.depth, r.level = pos, at, depth, level
	r.keys, r.items, r.bits = r.keys[:keys], r.items[:items], r.bits[:words]
	return ok
}

// combined applies allOf, anyOf, oneOf, not and if to the value at start. A not, and an if that does not
// hold, are the places where a refusal is good, so they look whether the text itself was refused.
func (r *reader) combined(c *combined, start int, end *int) bool {
	for _, n := range c.allOf {
		if !r.try(n, start, end) {
			return false
		}
	}
	if len(c.anyOf) > 0 && !r.anyOf(c.anyOf, start, end) {
		return false
	}
	if len(c.oneOf) > 0 && !r.oneOf(c.oneOf, start, end) {
		return false
	}
	if c.not != nil && (r.try(c.not.node, start, end) || r.err != nil) {
		return false
	}
	if c.cond != nil {
		branch := c.otherwise
		if r.try(c.cond.node, start, end) {
			branch = c.then
		}
		return r.err == nil && (branch == nil || r.try(branch, start, end))
	}
	return true
}

// anyOf stops at the first alternative that accepts the value.
func (r *reader) anyOf(nodes []*node, start int, end *int) bool {
	for _, n := range nodes {
		if r.try(n, start, end) {
			return true
		}
		if r.err != nil {
			return false
		}
	}
	return false
}

// oneOf stops at the second alternative that accepts the value.
func (r *reader) oneOf(nodes []*node, start int, end *int) bool {
	matched := 0
	for _, n := range nodes {
		// Alternatives after the first match must be tried too, since a second one refuses the value.
		if r.try(n, start, end) {
			matched++
		}
		if matched > 1 || r.err != nil {
			return false
		}
	}
	return matched == 1
}

// direct reads a value under the node's own rules. The first byte says which type it has, so that a value
// of a wrong type is refused unread.
func (r *reader) direct(n *node) bool {
	if n.never {
		return false
	}
	start := r.pos
	// c-'0' < 10 is true for digits alone, because bytes below '0' wrap around.
	switch c := r.peek(); {
	case c == '"':
		return n.types&kindText != 0 && r.string(n)
	case c == '{':
		return n.types&kindObject != 0 && r.object(n.object) && r.listed(n, start, kindObject)
	case c == '[':
		return n.types&kindArray != 0 && r.array(n.array) && r.listed(n, start, kindArray)
	case c == '-' || c-'0' < 10:
		return n.types&(kindNumber|kindInteger) != 0 && r.numeral(n)
	case c == 'n':
		return n.types&kindNull != 0 && r.literal(c) && r.listed(n, start, kindNull)
	default:
		return r.literal(c) && n.types&kindBool != 0 && r.listed(n, start, kindBool)
	}
}

// listed reports whether the value that has just been read (from start to r.pos) is in the enum and const of
// n, if any. A value of a type that the set does not have is refused without computing its form, which takes
// work in proportion to its length.
func (r *reader) listed(n *node, start int, kind kinds) bool {
	for _, set := range n.values {
		if set.has&kind == 0 {
			return false
		}
		raw := r.raw[start:r.pos]
		r.budget -= len(raw)
		r.buf = canonical(append(r.buf[:0], otherPrefix...), raw)
		if _, ok := set.values[string(r.buf)]; !ok {
			return false
		}
	}
	return true
}

// string reads a string. The cheap rules come first: enum and const, lengths, the pattern, the format.
func (r *reader) string(n *node) bool {
	k, ok := r.text()
	if !ok || n.values == nil && n.text == nil {
		return ok
	}
	text := r.decoded(k)
	for _, set := range n.values {
		if !set.hasText(text) {
			return false
		}
	}
	t := n.text
	if t == nil {
		return true
	}
	if t.min > 0 || t.max >= 0 { // in code points, as JSON Schema wants; bytes would be faster
		length := utf8.RuneCount(text)
		if length < t.min || t.max >= 0 && length > t.max {
			return false
		}
	}
	if t.pattern != nil && !r.matches(t.pattern, text) {
		return false
	}
	if t.format == nil {
		return true
	}
	if r.budget -= len(text) / bytesForFormat; r.budget < 0 && !r.goOn() {
		return false
	}
	// Formats are functions of strings, so the text is copied, and paid for before it is.
	whole := string(text)
	if !affordableFormat(t.format.Name, whole) {
		return r.fail(errWork)
	}
	return t.format.Validate(whole) == nil
}

// matches runs a pattern and pays for it from the reader's budget.
func (r *reader) matches(p *pattern, text []byte) bool {
	// A match is not interrupted: it gets all the work that is left, and the check pauses
	// afterwards.
	r.budget, r.pace.rest = r.budget+r.pace.rest, 0
	end := match(&r.machine, p, text, &r.budget)
	if end == unpaid {
		return r.fail(errWork)
	}
	if r.budget > chunk {
		r.budget, r.pace.rest = chunk, r.budget-chunk
	}
	if len(text) > longText && !r.pace.pause() {
		return r.fail(r.pace.err)
	}
	return end == matched
}

// longText is the length from which a match takes milliseconds, where its pattern is large.
const longText = 4 << 10

// numeral reads a number. l.whole is true for a spelling without fraction and exponent; 1.0 is an integer
// too, which only parsing shows.
func (r *reader) numeral(n *node) bool {
	start := r.pos
	l, ok := r.number()
	if !ok {
		return false
	}
	// Only integers are allowed: a literal with a fraction or an exponent may still be one.
	if n.types&kindNumber == 0 && !l.whole && !l.parse().integral() {
		return false
	}
	if n.number != nil && !n.number.contains(l) {
		return false
	}
	return n.values == nil || r.listed(n, start, kindNumber)
}

// enter passes the opening bracket of an object or array, leave the closing one. Between them both count
// as one level deeper.
func (r *reader) enter() bool {
	if r.depth++; r.depth > MaxDepth {
		return r.fail(ErrTooDeep)
	}
	r.level++
	r.pos++
	r.space()
	return true
}

// leave is the end of enter.
func (r *reader) leave() {
	r.depth--
	r.level--
	r.pos++
}

// next reads the comma before a further element and the space behind it (more is true), or stops before the
// closing bracket. Anything else is bad syntax.
func (r *reader) next(closing byte) (more, ok bool) {
	c := r.peek()
	if c <= ' ' {
		r.spaces()
		c = r.peek()
	}
	switch c {
	case ',':
		r.pos++
		r.space()
		return true, true
	case closing:
		return false, true
	}
	return false, r.fail(ErrSyntax)
}

// object reads an object. The nil o accepts every member, but keys must still differ.
//
// Names with a rule set their bit in r.bits, where a second one shows at once; others are kept in r.keys.
// Both are stacks that all open objects share: base and seenAt are where this object's part begins.
func (r *reader) object(o *objectRules) bool {
	if !r.enter() {
		return false
	}
	base, seenAt := len(r.keys), len(r.bits) // where this object's keys and bits begin
	if o != nil {
		for range o.words {
			r.bits = append(r.bits, 0)
		}
		r.budget -= o.words
	}
	start, count, last := r.pos, 0, 0
	// A member too many ends the object at once, and the others are not read.
	for more := r.peek() != '}'; more; count++ {
		if o != nil && o.max >= 0 && count >= o.max {
			return false
		}
		var ok bool
		if last, ok = r.member(o, base, seenAt, last); !ok {
			return false
		}
		if more, ok = r.next('}'); !ok {
			return false
		}
	}
	end := r.pos // distinct moves pos to the key that it refuses
	if len(r.keys)-base > manyKeys && !r.distinct(base) {
		return r.fail(errDuplicate)
	}
	r.keys = r.keys[:base]
	r.pos = end
	r.leave()
	if o == nil {
		return true
	}
	if count < o.min || !r.required(o, seenAt) {
		return false
	}
	ok := len(o.dependent) == 0 || r.dependents(o, seenAt, start)
	r.bits = r.bits[:seenAt]
	return ok
}

// member reads one key and its value. last is the index of the previous key's rule plus 1, and 0 for the
// first key and after a key without a rule. The result is the same of this key.
func (r *reader) member(o *objectRules, base, seenAt, last int) (int, bool) {
	keyAt := r.pos
	k, rule, ok := r.key(o, last)
	if !ok {
		return 0, false
	}
	// A key twice is refused here: by its bit when it has a rule, else among the other keys.
	if rule >= 0 {
		word, bit := &r.bits[seenAt+rule/64], uint64(1)<<(rule%64)
		if *word&bit != 0 {
			r.pos = keyAt
			return 0, r.fail(errDuplicate)
		}
		*word |= bit
	} else if (r.strict || r.oneKey) && !r.fresh(base, k) {
		r.pos = keyAt
		return 0, r.fail(errDuplicate)
	}
	// The colon mostly follows at once; white space before it is legal.
	if r.pos < len(r.raw) && r.raw[r.pos] == ':' {
		r.pos++
	} else {
		r.space()
		if r.peek() != ':' {
			return 0, r.fail(ErrSyntax)
		}
		r.pos++
	}
	r.space()
	if o == nil {
		return 0, r.any()
	}
	return rule + 1, r.property(o, k, keyAt, rule)
}

// key reads a key and finds its rule, -1 when it has none. When the text goes on with the key that came
// next in the object before, it is neither scanned nor looked up. Otherwise keyOrder learns the new order.
func (r *reader) key(o *objectRules, last int) (k key, rule int, ok bool) {
	// The fast way: the text goes on with the quoted name that is expected here.
	if o != nil && len(o.rules) > 0 {
		if rule = o.order.due(r.raw[r.pos:], last); rule >= 0 {
			end := r.pos + len(o.order.quoted[rule])
			k.span = span{r.pos + 1, end - 1}
			r.budget -= (k.end - k.start) >> 4
			r.pos = end
			return k, rule, true
		}
	}
	if r.peek() != '"' {
		return k, -1, r.fail(ErrSyntax)
	}
	if k, ok = r.text(); !ok || o == nil {
		return k, -1, ok
	}
	if rule = o.names.find(r.decoded(k)); rule >= 0 {
		o.order.after[last].Store(uint32(rule)) //nolint:gosec // an index
	}
	return k, rule, true
}

// property reads the value of a property under all rules that apply to it. Without patternProperties at most
// one schema does, and the value is read once, in place. With them several may, and each tries it.
func (r *reader) property(o *objectRules, k key, keyAt, rule int) bool {
	var ignored int
	// propertyNames applies to the key itself, as a string.
	if o.keys != nil && !r.try(o.keys.node, keyAt, &ignored) {
		return false
	}
	declared := rule >= 0 && o.rules[rule].declared
	if len(o.patterns) == 0 {
		switch {
		case declared:
			return r.value(o.rules[rule].schema)
		case o.closed:
			return false
		}
		return r.value(o.extra)
	}
	start, end := r.pos, -1
	if declared && !r.try(o.rules[rule].schema, start, &end) {
		return false
	}
	// known: additionalProperties does not apply, because a name or a pattern does.
	known := declared
	for _, p := range o.patterns {
		if !r.matches(p.pattern, r.decoded(k)) {
			if r.err != nil {
				return false
			}
			continue
		}
		known = true
		if !r.try(p.schema, start, &end) {
			return false
		}
	}
	if known {
		r.pos = end
		return true
	}
	if o.closed {
		return false
	}
	return r.value(o.extra)
}

// required reports whether the object has all names that must be there: one comparison for 64 of them.
func (r *reader) required(o *objectRules, seenAt int) bool {
	for i, want := range o.required {
		if r.bits[seenAt+i]&want != want {
			return false
		}
	}
	return true
}

// dependents checks the dependencies of the properties that are present. The
// object has been read; start is after its bracket.
func (r *reader) dependents(o *objectRules, seenAt, start int) bool {
	var ignored int
	// has reports whether the object has the name of a rule. Names of dependencies all have one.
	has := func(rule int) bool { return r.bits[seenAt+rule/64]&(1<<(rule%64)) != 0 }
	for start--; r.raw[start] != '{'; start-- { // back over space to the bracket
	}
	for _, d := range o.dependent {
		if !has(d.on) {
			continue
		}
		for _, rule := range d.needs {
			if !has(rule) {
				return false
			}
		}
		r.budget -= len(d.needs) >> 4
		if d.schema != nil && !r.try(d.schema, start, &ignored) {
			return false
		}
	}
	return true
}

// array reads an array. The nil a accepts every item. An item is read once for its own schema, and again for
// contains until the number of matches is decided.
func (r *reader) array(a *arrayRules) bool {
	if !r.enter() {
		return false
	}
	base, count, contained := len(r.items), 0, 0
	for more := r.peek() != ']'; more; count++ {
		start := r.pos
		if !r.item(a, count) {
			return false
		}
		// Whether items are equal is known when all have been read: only their places are kept.
		if a != nil && a.unique {
			r.items = append(r.items, span{start, r.pos})
		}
		if a != nil && a.contains != nil && (a.most >= 0 || contained < a.least) {
			var ignored int
			if r.try(a.contains.node, start, &ignored) {
				contained++
			} else if r.err != nil {
				return false
			}
		}
		var ok bool
		if more, ok = r.next(']'); !ok {
			return false
		}
	}
	r.leave()
	if a == nil {
		return true
	}
	if count < a.min || a.contains != nil && (contained < a.least || a.most >= 0 && contained > a.most) {
		return false
	}
	// A nested array has cut off its own items, so all from base on are this array's.
	ok := !a.unique || r.unique(base)
	r.items = r.items[:base]
	return ok
}

// item reads the item of that index under the schema that its place has.
func (r *reader) item(a *arrayRules, index int) bool {
	if a == nil {
		return r.any()
	}
	if a.max >= 0 && index >= a.max {
		return false
	}
	if index < len(a.prefix) {
		return r.value(a.prefix[index])
	}
	if a.closed {
		return false
	}
	return r.value(a.rest)
}

// unique reports whether the items from base on all differ. Two items are equal when their canonical forms
// are. It overwrites the spans of the items with those of the forms, which are not needed any more.
func (r *reader) unique(base int) bool {
	items := r.items[base:]
	if len(items) < 2 {
		return true
	}
	// All canonical forms stand one after the other in buf.
	buf, forms := r.buf[:0], items
	for i, item := range items {
		start := len(buf)
		buf = canonical(buf, r.raw[item.start:item.end])
		r.budget -= item.end - item.start
		forms[i] = span{start, len(buf)}
	}
	r.buf = buf
	// Comparing each with each is faster for a few items, and needs no memory.
	if len(forms) <= manyKeys {
		for i, a := range forms {
			for _, b := range forms[:i] {
				if string(buf[a.start:a.end]) == string(buf[b.start:b.end]) {
					return false
				}
			}
		}
		return true
	}
	// The map copies each form; equal ones become one entry.
	seen := make(map[string]struct{}, len(forms))
	for _, f := range forms {
		seen[string(buf[f.start:f.end])] = struct{}{}
	}
	return len(seen) == len(forms)
}
