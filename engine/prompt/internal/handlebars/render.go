package handlebars

import (
	"context"
	"errors"
	"fmt"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// Env holds the partials, helpers and variables of a rendering. Its zero value has none.
type Env struct {
	// Partial returns a partial by its name, nil when there is none.
	Partial func(name string) *Template
	// Helper returns a helper by its name, nil when there is none. It is not asked
	// for built-in ones. A nil Helper is an empty table.
	Helper func(name string) Helper
	// Data returns the value of {{@name}}, and whether there is one.
	Data func(name string) (any, bool)
}

// Helper is a function that templates call by its name. It returns a value or a
// *[Fragment].
type Helper func(ctx context.Context, c *Call) (any, error)

// Call is one call of a helper. It is valid until the helper returns.
type Call struct {
	Name string
	Args []any
	Hash *value.Object
	This any

	r     *renderer
	s     *scope
	block *blockNode
}

// Data returns the value of {{@name}}.
func (c *Call) Data(name string) any { return c.r.data(c.s, 0, []string{name}) }

// IsBlock reports whether the helper was called as {{#name}}.
func (c *Call) IsBlock() bool { return c.block != nil }

// Block renders the block's content with this as its context.
func (c *Call) Block(this any, params ...any) (*Fragment, error) {
	if c.block == nil {
		return &Fragment{}, nil
	}
	return c.r.fragment(func(o *output) error { return c.r.inside(o, c.block.program, c.s, this, params) })
}

// Inverse renders the part of the block behind its else, with this as its context; nothing when
// there is no else.
func (c *Call) Inverse(this any) (*Fragment, error) {
	if c.block == nil {
		return &Fragment{}, nil
	}
	return c.r.fragment(func(o *output) error { return c.r.inside(o, c.block.inverse, c.s, this, nil) })
}

// Render renders t on a root value. It fails with an [*Error] around a
// [*LimitError], an error of a helper, or what is wrong with the template; with ctx's
// error when ctx ends.
func (t *Template) Render(ctx context.Context, env Env, root any) ([]Piece, error) {
	r := &renderer{ctx: ctx, env: env, root: root}
	o := &output{spent: &r.spent, buf: make([]byte, 0, t.size+t.size/2)}
	if err := r.program(o, t.root, &scope{this: root}); err != nil {
		return nil, err
	}
	o.flush()
	return o.pieces, nil
}

// renderer is one rendering. It belongs to one goroutine.
//
// All work is counted in steps, of which there are MaxSteps: one for each node and operand, one for each
// turn of an each, and one for bytesPerStep bytes of text that are compared, converted or counted. step
// fails when they are used up; charge only adds, and the next step fails.
type renderer struct {
	ctx      context.Context //nolint:containedctx // of one call
	env      Env
	root     any
	spent    spent
	owed     int    // bytes that charge has not made a step of yet, fewer than bytesPerStep
	check    int    // number of steps at which the context is checked next
	partials int    // partials that are being rendered inside each other
	name     string // of the partial that is rendered, "" outside
}

// scope holds the meaning of names at one place of a rendering. It has four chains, each a linked list that
// grows at its head, so that an inner scope is a copy with a new head and the outer one stays as it is:
//
//	this, up   the context, and those around it: name, this, ../name
//	frame      variables of iterations: @index, @key, @first, @last, @../index
//	params     block parameters, which hide names of the context: as |item i|
//	inlines    partials that the template defines itself, and @partial-block
type scope struct {
	this    any
	up      *scope // where ".." leads
	frame   *frame
	params  *params
	inlines *inlines
}

// frame holds the variables of one iteration.
type frame struct {
	up          *frame
	key, index  any
	first, last bool
}

// params are the values of one block's parameters.
type params struct {
	up     *params
	names  []string
	values []any
}

// inlines are partials that a template defines for itself.
type inlines struct {
	up    *inlines
	name  string
	body  *program
	scope *scope // where it was defined: its body sees that scope's names
}

// checkEvery is after how many steps the caller's context is looked at.
const checkEvery = 1024

// step counts one step. It fails when there are too many, and now and then looks whether ctx has ended.
func (r *renderer) step() error {
	r.spent.steps++
	if r.spent.steps > MaxSteps {
		return &LimitError{"the template does too much work, in steps", MaxSteps}
	}
	if r.spent.steps < r.check {
		return nil
	}
	r.check = r.spent.steps + checkEvery
	return r.ctx.Err()
}

// at adds the place to an error that has none.
func (r *renderer) at(n line, err error) error {
	if err == nil {
		return nil
	}
	// The innermost place is the most helpful. That ctx has ended is no fault of any place.
	if _, placed := errors.AsType[*Error](err); placed || r.ctx.Err() != nil {
		return err
	}
	return &Error{Partial: r.name, Line: int(n), Err: err}
}

// program renders the nodes of p. Its inline partials are defined first, each in a scope that the next one sees.
func (r *renderer) program(o *output, p *program, s *scope) error {
	if p == nil {
		return nil
	}
	// A name may be computed, so inline partials are defined anew for each rendering of the program.
	for _, in := range p.inlines {
		if err := r.step(); err != nil {
			return r.at(in.line, err)
		}
		name, err := r.operand(&in.call.params[0], s)
		if err != nil {
			return r.at(in.line, err)
		}
		inner := *s
		inner.inlines = &inlines{up: s.inlines, name: r.text(name), body: in.program, scope: s}
		s = &inner
	}
	for _, n := range p.body {
		if err := r.step(); err != nil {
			return r.at(line(n.where()), err)
		}
		if err := r.node(o, n, s); err != nil {
			return r.at(line(n.where()), err)
		}
	}
	return nil
}

// node renders one node. A decorator renders nothing: program has defined it.
func (r *renderer) node(o *output, n node, s *scope) error {
	switch n := n.(type) {
	case *textNode:
		return o.text(n.value)
	case *mustacheNode:
		v, err := r.call(&n.call, s, nil)
		if err != nil {
			return err
		}
		return write(o, v)
	case *blockNode:
		if n.decorator {
			return nil
		}
		return r.block(o, n, s)
	case *partialNode:
		return r.partial(o, n, s)
	}
	return nil
}

// write appends a value to the output: text, the pieces of a fragment, or the value's text.
func write(o *output, v any) error {
	switch v := v.(type) {
	case string:
		return o.text(v)
	case *Fragment:
		return o.fragment(v)
	}
	return o.text(value.Text(v))
}

// fragment renders into pieces of its own.
func (r *renderer) fragment(render func(o *output) error) (*Fragment, error) {
	o := &output{spent: &r.spent}
	if err := render(o); err != nil {
		return nil, err
	}
	o.flush()
	return &Fragment{Pieces: o.pieces}, nil
}

// inside renders a block's program on this, which is a level of its own where it is
// another value than outside.
func (r *renderer) inside(o *output, p *program, s *scope, this any, values []any) error {
	if p == nil {
		return nil
	}
	return r.program(o, p, r.enter(p, s, this, s.frame, values))
}

// enter returns the scope inside a block. A block on the same value is no level of its own, so that ".." leads past
// it: {{#if x}}{{../y}}{{/if}} is what {{../y}} is outside (as since handlebars.js 4.0).
func (r *renderer) enter(p *program, s *scope, this any, f *frame, values []any) *scope {
	// named: the block has parameters, and the helper gives values for them.
	same := r.same(this, s.this)
	named := len(p.params) > 0 && len(values) > 0
	if same && f == s.frame && !named {
		return s
	}
	inner := *s
	inner.frame = f
	if !same {
		inner.this, inner.up = this, s
	}
	if named {
		inner.params = &params{up: s.params, names: p.params, values: values}
	}
	return &inner
}

// operand evaluates a parameter.
func (r *renderer) operand(o *operand, s *scope) (any, error) {
	if err := r.step(); err != nil {
		return nil, err
	}
	switch {
	case o.sub != nil:
		return r.call(o.sub, s, nil)
	case o.path != nil:
		return r.path(o.path, s), nil
	}
	return o.literal, nil
}

// path returns the value that a path leads to, Undefined when there is none.
func (r *renderer) path(p *path, s *scope) any {
	if p.data {
		return r.data(s, p.depth, p.parts)
	}
	// Block parameters are looked up first, the innermost first; ./name and this.name go past them.
	if p.depth == 0 && !p.scoped && len(p.parts) > 0 {
		for b := s.params; b != nil; b = b.up {
			r.charge(bytesPerLink)
			for i := range min(len(b.names), len(b.values)) {
				if b.names[i] == p.parts[0] {
					return r.follow(b.values[i], p.parts[1:])
				}
			}
		}
	}
	for range p.depth {
		r.charge(bytesPerLink)
		if s = s.up; s == nil {
			return value.Undefined{}
		}
	}
	return r.follow(s.this, p.parts)
}

// follow looks up the parts of a path one after the other, and ends at the first value that is missing.
func (r *renderer) follow(v any, parts []string) any {
	for _, part := range parts {
		if value.Missing(v) {
			return v
		}
		if s, ok := v.(string); ok {
			r.charge(len(s)) // its length has to be counted
		}
		v = value.Lookup(v, part)
	}
	return v
}

// data returns the value of {{@…}}, Undefined when there is none.
func (r *renderer) data(s *scope, depth int, parts []string) any {
	f := s.frame
	for range depth {
		r.charge(bytesPerLink)
		if f == nil {
			return value.Undefined{}
		}
		f = f.up
	}
	if len(parts) == 0 {
		return value.Undefined{}
	}
	// Variables of the iteration hide those of the environment, and @root is the root always.
	rest := parts[1:]
	if f != nil {
		switch parts[0] {
		case "key":
			return r.follow(f.key, rest)
		case "index":
			return r.follow(f.index, rest)
		case "first":
			return r.follow(f.first, rest)
		case "last":
			return r.follow(f.last, rest)
		}
	}
	if parts[0] == "root" {
		return r.follow(r.root, rest)
	}
	if r.env.Data != nil {
		if v, ok := r.env.Data(parts[0]); ok {
			return r.follow(v, rest)
		}
	}
	return value.Undefined{}
}

// call evaluates the content of a tag or of parentheses: a helper's call or a path.
func (r *renderer) call(c *call, s *scope, block *blockNode) (any, error) {
	if c.known != userDefined {
		return r.builtin(c, s)
	}
	if c.path.simple() && r.env.Helper != nil {
		if h := r.env.Helper(c.path.parts[0]); h != nil {
			return r.helper(h, c, s, block)
		}
	}
	// A value takes no parameters, so this was meant to be a helper.
	if len(c.params) > 0 || len(c.hash) > 0 {
		return nil, fmt.Errorf("there is no helper %q", c.path.original)
	}
	return r.path(&c.path, s), nil
}

// helper evaluates the parameters and calls a registered helper. block is nil unless it was called as a block.
func (r *renderer) helper(h Helper, c *call, s *scope, block *blockNode) (any, error) {
	hc := &Call{Name: c.path.original, This: s.this, r: r, s: s, block: block, Args: make([]any, len(c.params))}
	for i := range c.params {
		v, err := r.operand(&c.params[i], s)
		if err != nil {
			return nil, err
		}
		hc.Args[i] = v
	}
	var err error
	if hc.Hash, err = r.hash(c.hash, s); err != nil {
		return nil, err
	}
	return h(r.ctx, hc)
}

// hash evaluates name=value pairs, nil for none. The last of two equal names counts.
func (r *renderer) hash(pairs []pair, s *scope) (*value.Object, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	h := value.NewObject(len(pairs))
	for i := range pairs {
		v, err := r.operand(&pairs[i].value, s)
		if err != nil {
			return nil, err
		}
		h.Set(pairs[i].name, v)
	}
	return h, nil
}

// block renders {{#…}}: a built-in helper, a registered one, or else a value of the context. A registered helper
// decides itself whether it renders its content (Call.Block), and its result is the output.
func (r *renderer) block(o *output, b *blockNode, s *scope) error {
	if b.call.known != userDefined {
		return r.builtinBlock(o, b, s)
	}
	// A helper's result is output; a value of the context decides whether the block is rendered.
	helper := false
	if r.env.Helper != nil && b.call.path.simple() {
		helper = r.env.Helper(b.call.path.parts[0]) != nil
	}
	v, err := r.call(&b.call, s, b)
	if err != nil {
		return err
	}
	if helper {
		return write(o, v)
	}
	return r.sectionBlock(o, b, s, v)
}

// sectionBlock renders {{#path}}: for each element of an array, else on the value
// unless it is false, null or missing.
func (r *renderer) sectionBlock(o *output, b *blockNode, s *scope, v any) error {
	switch v := v.(type) {
	case bool:
		if v {
			return r.inside(o, b.program, s, s.this, nil)
		}
		return r.inside(o, b.inverse, s, s.this, nil)
	case []any:
		if len(v) > 0 {
			return r.each(o, b, s, v)
		}
		return r.inside(o, b.inverse, s, s.this, nil)
	}
	if value.Missing(v) {
		return r.inside(o, b.inverse, s, s.this, nil)
	}
	return r.inside(o, b.program, s, v, nil)
}

// each renders the block for each element of an array or each member of an object, in order; nothing else has
// elements. Block parameters are the element and its key.
func (r *renderer) each(o *output, b *blockNode, s *scope, v any) error {
	// at returns the i-th of n elements, and its key: an index or a name.
	n, at := 0, func(int) (key, element any) { return nil, nil }
	switch v := v.(type) {
	case []any:
		n, at = len(v), func(i int) (any, any) { return value.Int(i), v[i] }
	case *value.Object:
		n, at = v.Len(), func(i int) (any, any) { return v.At(i) }
	}
	if n == 0 {
		return r.inside(o, b.inverse, s, s.this, nil)
	}
	if b.program == nil {
		return nil
	}
	for i := range n {
		if err := r.step(); err != nil {
			return err
		}
		key, element := at(i)
		f := &frame{up: s.frame, key: key, index: value.Int(i), first: i == 0, last: i == n-1}
		var values []any
		if len(b.program.params) > 0 {
			values = []any{element, key}
		}
		if err := r.program(o, b.program, r.enter(b.program, s, element, f, values)); err != nil {
			return err
		}
	}
	return nil
}

// partialBlockName is the name of the partial that renders the content of {{#> …}}.
const partialBlockName = "@partial-block"

// partial renders {{> name}} or {{#> name}}. The rules of handlebars.js:
//
//   - A registered partial sees its own context only: no block parameters, and ".." leads nowhere.
//   - An inline partial sees the scope in which it was defined.
//   - {{#> name}} renders its own content when there is no such partial; otherwise the partial can render it
//     as @partial-block, in the scope of the caller, and see the inline partials that it defines.
//   - A partial that stands alone on its line is indented like its tag.
func (r *renderer) partial(o *output, n *partialNode, s *scope) error {
	name, err := r.partialName(n, s)
	if err != nil {
		return err
	}
	// outer is the scope in which an inline partial was defined, nil for a registered one.
	body, outer, own := r.findPartial(name, s)
	if body == nil {
		if n.program == nil {
			return fmt.Errorf("there is no partial %q", name)
		}
		this, err := r.partialContext(n, s) // the block is what stands in for it
		if err != nil {
			return err
		}
		return r.inside(o, n.program, s, this, nil)
	}
	// A partial may include itself under a condition, so only the depth tells a loop.
	if r.partials++; r.partials > MaxPartials {
		return &LimitError{"partials are nested too deep (does " + name + " include itself?)", MaxPartials}
	}
	defer func(before string) { r.name = before; r.partials-- }(r.name)
	this, err := r.partialContext(n, s)
	if err != nil {
		return err
	}
	inner := &scope{this: this, frame: s.frame, inlines: s.inlines}
	if outer != nil { // an inline partial sees what stood around it
		inner.params, inner.up = outer.params, outer
		if r.same(this, outer.this) {
			inner.up = outer.up
		}
		if name == partialBlockName { // and in a block, the block means the one outside
			inner.inlines = outer.inlines
		}
	}
	// The content of {{#> …}} becomes a partial of its own, and so do the inline partials in it.
	if n.program != nil {
		inner.inlines = &inlines{up: inner.inlines, name: partialBlockName, body: n.program, scope: s}
		for _, in := range n.program.inlines {
			given, err := r.operand(&in.call.params[0], s)
			if err != nil {
				return err
			}
			inner.inlines = &inlines{up: inner.inlines, name: r.text(given), body: in.program, scope: s}
		}
	}
	if own {
		r.name = name
	}
	if n.indent == "" {
		return r.program(o, body, inner)
	}
	// Lines can be indented only when they are known, so the partial is rendered apart first.
	f, err := r.fragment(func(o *output) error { return r.program(o, body, inner) })
	if err != nil {
		return err
	}
	return o.indented(f, n.indent)
}

// partialName returns the partial's name, which a sub-expression may compute.
func (r *renderer) partialName(n *partialNode, s *scope) (string, error) {
	if n.name.sub == nil {
		return n.name.shown(), nil
	}
	v, err := r.operand(&n.name, s)
	return r.text(v), err
}

// charge counts work that belongs to no node; the next step checks the count.
func (r *renderer) charge(bytes int) {
	r.owed += bytes
	r.spent.steps += r.owed / bytesPerStep
	r.owed %= bytesPerStep
}

// Prices of work, in bytes of text that are gone through.
const (
	bytesPerStep = 64
	bytesPerLink = 8 // of a list that leads from one place of the template to those around it
)

// same is value.Same, paid for.
func (r *renderer) same(a, b any) bool {
	if x, ok := a.(string); ok {
		if y, ok := b.(string); ok && len(x) == len(y) {
			r.charge(len(x))
		}
	}
	return value.Same(a, b)
}

// text is value.Text, paid for.
func (r *renderer) text(v any) string {
	s := value.Text(v)
	r.charge(len(s))
	return s
}

// findPartial looks among those of the template, then among the registered ones; own
// tells the latter.
func (r *renderer) findPartial(name string, s *scope) (body *program, outer *scope, own bool) {
	// The innermost definition of a name counts.
	for in := s.inlines; in != nil; in = in.up {
		r.charge(bytesPerLink)
		if in.name == name {
			return in.body, in.scope, false
		}
	}
	if r.env.Partial != nil {
		if t := r.env.Partial(name); t != nil {
			return t.root, nil, true
		}
	}
	return nil, nil, false
}

// partialContext is the given value, or what is outside, with the name=value pairs.
func (r *renderer) partialContext(n *partialNode, s *scope) (any, error) {
	this := s.this
	if n.context != nil {
		v, err := r.operand(n.context, s)
		if err != nil {
			return nil, err
		}
		this = v
	}
	if len(n.hash) == 0 {
		return this, nil
	}
	h, err := r.hash(n.hash, s)
	if err != nil {
		return nil, err
	}
	// Pairs are added to a copy of the context when that is an object; they hide its members.
	object, _ := this.(*value.Object)
	r.spent.steps += object.Len() // Merge copies the members
	return object.Merge(h), nil
}
