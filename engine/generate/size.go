package generate

import (
	"context"
	"encoding/json"

	"github.com/genkit-wasm/genkit-wasm/engine/allowance"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
)

// CheckSize refuses options, as JSON, that ask for more than a generate call may, before
// they are decoded: INVALID_ARGUMENT. The limits are those that [Run] finds.
func CheckSize(ctx context.Context, reg *registry.Registry, options json.RawMessage, o ...Option) error {
	s := settings{}
	for _, option := range o {
		option(&s)
	}
	registered, _ := reg.Value(LimitsKind, LimitsName)
	limits, _ := registered.(allowance.Limits)
	return allowance.Check(ctx, s.limits.Or(limits), measure(options))
}

// measure counts the names, uses and values in options, in one pass over the text. The
// counts of invalid JSON mean nothing, as it is refused later.
func measure(options []byte) (size allowance.Size) {
	s := scanner{rest: options}
	s.each(func(name string) {
		switch name {
		case "use":
			size.Use += s.elements()
		case "tools":
			size.Tools += s.elements()
		case "resources":
			size.Resources += s.elements()
		case "messages", "docs", "resume":
			size.Values += s.values(valueDepth)
		default:
			s.skip()
		}
	})
	return size
}

// valueDepth is how deep parts lie: messages, message, content, part, toolResponse,
// content, part and its members.
const valueDepth = 8

// scanner reads JSON without decoding it.
type scanner struct{ rest []byte }

// elements reads a value and returns how many elements it has.
func (s *scanner) elements() (n int64) {
	s.each(func(string) {
		n++
		s.skip()
	})
	return n
}

// values reads a value and returns how many elements and members it has, as deep as
// given, without what is kept as it is written.
func (s *scanner) values(depth int) (n int64) {
	if depth == 0 {
		s.skip()
		return 0
	}
	s.each(func(name string) {
		n++
		switch name {
		case "data", "custom", "input", "output":
			s.skip()
		default:
			n += s.values(depth - 1)
		}
	})
	return n
}

// each reads a value; value, which has to read one, is called before each of its elements
// and members, with the name of the latter.
func (s *scanner) each(value func(name string)) {
	begin := s.peek()
	if begin != '{' && begin != '[' {
		s.skip()
		return
	}
	s.rest = s.rest[1:]
	for {
		switch s.peek() {
		case 0:
			return
		case '}', ']':
			s.rest = s.rest[1:]
			return
		case ',':
			s.rest = s.rest[1:]
		}
		before, name := len(s.rest), ""
		if begin == '{' {
			name = s.name()
			if s.peek() == ':' {
				s.rest = s.rest[1:]
			}
		}
		value(name)
		if len(s.rest) == before { // it is no JSON
			s.rest = nil
		}
	}
}

// name reads the name of a member.
func (s *scanner) name() (name string) {
	s.peek()
	before := s.rest
	s.skip()
	if raw := before[:len(before)-len(s.rest)]; json.Unmarshal(raw, &name) != nil {
		return ""
	}
	return name
}

// skip reads a value.
func (s *scanner) skip() {
	for depth := 0; ; {
		switch s.peek() {
		case 0:
			return
		case '{', '[':
			depth++
			s.rest = s.rest[1:]
		case '}', ']':
			if depth == 0 {
				return
			}
			depth--
			s.rest = s.rest[1:]
		case ',', ':':
			if depth == 0 {
				return
			}
			s.rest = s.rest[1:]
			continue
		case '"':
			s.text()
		default:
			s.word()
		}
		if depth == 0 {
			return
		}
	}
}

// text reads a string.
func (s *scanner) text() {
	for i := 1; i < len(s.rest); i++ {
		switch s.rest[i] {
		case '\\':
			i++
		case '"':
			s.rest = s.rest[i+1:]
			return
		}
	}
	s.rest = nil
}

// word reads a number or a literal.
func (s *scanner) word() {
	for i, c := range s.rest {
		switch c {
		case ' ', '\t', '\r', '\n', ',', ':', '}', ']', '{', '[', '"':
			s.rest = s.rest[i:]
			return
		}
	}
	s.rest = nil
}

// peek returns the next byte that is no white space; 0 at the end.
func (s *scanner) peek() byte {
	for i, c := range s.rest {
		switch c {
		case ' ', '\t', '\r', '\n':
		default:
			s.rest = s.rest[i:]
			return c
		}
	}
	s.rest = nil
	return 0
}
