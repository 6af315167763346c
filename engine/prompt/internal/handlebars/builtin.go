package handlebars

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// roles are the roles that {{role}} takes.
var roles = []string{"system", "user", "model", "tool"}

// builtinBlock renders a block of a helper that is built in. Parameters have been counted by the parser (see
// arity), so indexing them is safe. A helper that is no block helper renders its value, and its content is
// ignored, as in handlebars.js.
func (r *renderer) builtinBlock(o *output, b *blockNode, s *scope) error {
	c := &b.call
	switch c.known {
	case helperIf, helperUnless:
		yes, err := r.condition(c, s)
		if err != nil {
			return err
		}
		return r.either(o, b, s, yes == (c.known == helperIf))
	case helperIfEquals, helperUnlessEquals: // dotprompt's, compared as === does
		left, err := r.operand(&c.params[0], s)
		if err != nil {
			return err
		}
		right, err := r.operand(&c.params[1], s)
		if err != nil {
			return err
		}
		return r.either(o, b, s, r.same(left, right) == (c.known == helperIfEquals))
	case helperWith:
		v, err := r.operand(&c.params[0], s)
		if err != nil {
			return err
		}
		if value.Empty(v) {
			return r.inside(o, b.inverse, s, s.this, nil)
		}
		return r.inside(o, b.program, s, v, []any{v})
	case helperEach:
		v, err := r.operand(&c.params[0], s)
		if err != nil {
			return err
		}
		return r.each(o, b, s, v)
	}
	// Helpers without a block: role, json and so on.
	v, err := r.builtin(c, s)
	if err != nil {
		return err
	}
	return write(o, v)
}

// either renders the block's program or its inverse on the present context.
func (r *renderer) either(o *output, b *blockNode, s *scope, yes bool) error {
	if yes {
		return r.inside(o, b.program, s, s.this, nil)
	}
	return r.inside(o, b.inverse, s, s.this, nil)
}

// condition reports whether the parameter of if or unless holds. False, null, "", [] and a missing value don't;
// the number 0 does with the option includeZero only.
func (r *renderer) condition(c *call, s *scope) (bool, error) {
	v, err := r.operand(&c.params[0], s)
	if err != nil {
		return false, err
	}
	// NaN can't occur, so a number that is not truthy is zero.
	if _, number := v.(value.Number); number && !value.Truthy(v) {
		h, err := r.hash(c.hash, s)
		if err != nil {
			return false, err
		}
		zero, _ := h.Get("includeZero")
		return value.Truthy(zero), nil
	}
	return !value.Empty(v), nil
}

// builtin evaluates a helper that gives a value.
func (r *renderer) builtin(c *call, s *scope) (any, error) {
	// Parameters are evaluated from left to right, also those that the helper does not use.
	args := make([]any, len(c.params))
	for i := range c.params {
		v, err := r.operand(&c.params[i], s)
		if err != nil {
			return nil, err
		}
		args[i] = v
	}
	h, err := r.hash(c.hash, s)
	if err != nil {
		return nil, err
	}
	switch c.known {
	case helperLookup:
		// As in handlebars.js, looking up in nothing gives that nothing.
		if !value.Truthy(args[0]) {
			return args[0], nil
		}
		return r.follow(args[0], []string{r.text(args[1])}), nil
	case helperLog:
		return value.Undefined{}, nil // templates write for the model, not into the log
	case helperJSON:
		indent, _ := h.Get("indent")
		n, _ := strconv.Atoi(value.Text(indent))
		return r.json(args[0], n)
	case helperRole:
		role := value.Text(args[0])
		if !slices.Contains(roles, role) {
			return nil, fmt.Errorf("role %q: want one of %v", clip(role), roles)
		}
		return mark(Piece{Kind: Role, Value: role}), nil
	case helperHistory:
		return mark(Piece{Kind: History}), nil
	case helperSection:
		return mark(Piece{Kind: Section, Value: value.Text(args[0])}), nil
	case helperMedia:
		// A missing pair gives a value whose text is empty.
		url, _ := h.Get("url")
		contentType, _ := h.Get("contentType")
		if value.Text(url) == "" {
			return nil, fmt.Errorf("media has no url")
		}
		return mark(Piece{Kind: Media, Value: value.Text(url), Type: value.Text(contentType)}), nil
	}
	return nil, fmt.Errorf("%s is a block: write {{#%s …}}", c.path.original, c.path.original)
}

// json writes a value as JSON text, and pays for its length; indent is the number of spaces, 0 for one line.
func (r *renderer) json(v any, indent int) (any, error) {
	if _, none := v.(value.Undefined); none {
		return v, nil
	}
	raw := value.AppendJSON(nil, v, indent)
	r.charge(len(raw))
	if len(raw) > MaxOutput {
		return nil, &LimitError{"the rendered text is too long, in bytes", MaxOutput}
	}
	return string(raw), nil
}

// mark is a helper's result of one piece.
func mark(p Piece) *Fragment { return &Fragment{Pieces: []Piece{p}} }

// clip shortens foreign text for an error.
func clip(s string) string {
	const longest = 40
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
