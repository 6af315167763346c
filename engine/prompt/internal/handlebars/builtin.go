package handlebars

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// roles are the roles that {{role}} takes.
var roles = []string{"system", "user", "model", "tool"}

// builtinBlock renders a block of a helper that is built in.
func (r *renderer) builtinBlock(o *output, b *blockNode, s *scope) error {
	c := &b.call
	switch c.known {
	case helperIf, helperUnless:
		yes, err := r.condition(c, s)
		if err != nil {
			return err
		}
		return r.either(o, b, s, yes == (c.known == helperIf))
	case helperIfEquals, helperUnlessEquals:
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
	v, err := r.builtin(c, s)
	if err != nil {
		return err
	}
	return write(o, v)
}

func (r *renderer) either(o *output, b *blockNode, s *scope, yes bool) error {
	if yes {
		return r.inside(o, b.program, s, s.this, nil)
	}
	return r.inside(o, b.inverse, s, s.this, nil)
}

// condition is what if and unless ask.
func (r *renderer) condition(c *call, s *scope) (bool, error) {
	v, err := r.operand(&c.params[0], s)
	if err != nil {
		return false, err
	}
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
		if !value.Truthy(args[0]) {
			return args[0], nil
		}
		return r.follow(args[0], []string{r.text(args[1])}), nil
	case helperLog:
		return value.Undefined{}, nil // what a template says is for the model, not for the log
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
		url, _ := h.Get("url")
		contentType, _ := h.Get("contentType")
		if value.Text(url) == "" {
			return nil, fmt.Errorf("media has no url")
		}
		return mark(Piece{Kind: Media, Value: value.Text(url), Type: value.Text(contentType)}), nil
	}
	return nil, fmt.Errorf("%s is a block: write {{#%s …}}", c.path.original, c.path.original)
}

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

func mark(p Piece) *Fragment { return &Fragment{Pieces: []Piece{p}} }

// clip shortens foreign text for an error.
func clip(s string) string {
	const longest = 40
	if len(s) > longest {
		return s[:longest] + "…"
	}
	return s
}
