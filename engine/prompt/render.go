package prompt

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/handlebars"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// rendering is the state of one rendering of a prompt. All templates of the prompt share it.
type rendering struct {
	reg     *registry.Registry
	d       *definition
	input   any
	raw     json.RawMessage // the same, for functions; nil until asked
	history []content.Message

	vars     *value.Object // the action context, once read
	state    any
	messages any // @metadata.messages, once made
	read     bool
}

// partial returns a registered partial.
func (s *rendering) partial(name string) *handlebars.Template {
	v, _ := s.reg.Value(PartialKind, name)
	t, _ := v.(*handlebars.Template)
	return t
}

func (s *rendering) helper(name string) handlebars.Helper {
	v, _ := s.reg.Value(HelperKind, name)
	if h, ok := v.(Helper); ok && h != nil {
		return h.call
	}
	return nil
}

// env returns the environment in which templates are rendered. The action context is read when a template
// asks for it.
func (s *rendering) env(ctx context.Context) handlebars.Env {
	env := handlebars.Env{Partial: s.partial, Data: func(name string) (any, bool) { return s.data(ctx, name) }}
	if some, _ := s.reg.Value(HelperKind, anyHelper); some != nil {
		env.Helper = s.helper
	}
	return env
}

// data returns {{@name}}: the state, a key of the action context, or the metadata.
func (s *rendering) data(ctx context.Context, name string) (any, bool) {
	if !s.read {
		s.read = true
		if v, err := value.Decode(action.Context(ctx)); err == nil {
			s.vars, _ = v.(*value.Object)
		}
		if raw := stateOf(ctx); len(raw) > 0 {
			s.state, _ = value.Decode(raw) // a value that can't be read counts as absent
		}
	}
	if name == "state" && s.state != nil {
		return s.state, true
	}
	if v, ok := s.vars.Get(name); ok {
		return v, true
	}
	if name == "metadata" {
		return s.metadata(), true
	}
	return nil, false
}

func (s *rendering) metadata() any {
	if s.messages == nil {
		s.messages = []any{}
		if raw, err := rawjson.Encode(s.history); err == nil && len(s.history) > 0 {
			if v, err := value.Decode(raw); err == nil {
				s.messages = v
			}
		}
	}
	m := value.NewObject(2)
	m.Set("prompt", s.d.head())
	m.Set("messages", s.messages)
	return m
}

// in returns the argument of a function that makes content.
func (s *rendering) in(ctx context.Context) Input {
	if s.raw == nil {
		s.raw = value.Encode(s.input)
	}
	return Input{JSON: s.raw, Context: action.Context(ctx), State: stateOf(ctx), History: s.history}
}

// render renders one template.
func (s *rendering) render(ctx context.Context, what string, t *handlebars.Template) ([]handlebars.Piece, error) {
	pieces, err := t.Render(ctx, s.env(ctx), s.input)
	if err == nil {
		return pieces, nil
	}
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil, status.Convert(err)
	}
	if _, own := errors.AsType[*status.Error](err); own { // a helper's: its code and whether it is public are its choice
		return nil, err
	}
	code := status.FailedPrecondition
	if _, limit := errors.AsType[*handlebars.LimitError](err); limit {
		code = status.ResourceExhausted
	}
	return nil, status.Publicf(code, "prompt %q: %w", s.d.key(), s.d.explain(what, err))
}

// parts renders content that comes to one message.
func (s *rendering) parts(ctx context.Context, what string, c *compiled) ([]content.Part, error) {
	switch {
	case c.template != nil:
		pieces, err := s.render(ctx, what, c.template)
		if err != nil {
			return nil, err
		}
		messages := toMessages(pieces, nil)
		if len(messages) != 1 {
			return nil, status.Publicf(status.FailedPrecondition, "prompt %q: the %s template must render to one message, got %d", s.d.key(), what, len(messages))
		}
		return messages[0].Content, nil
	case c.content.fn != nil:
		return guard(s.d.key(), what, func() ([]content.Part, error) { return c.content.fn(ctx, s.in(ctx)) })
	}
	return slices.Clone(c.content.parts), nil
}

// all renders the prompt's messages.
func (s *rendering) all(ctx context.Context) ([]content.Message, error) {
	var messages []content.Message
	if s.d.system != nil {
		parts, err := s.parts(ctx, "system", s.d.system)
		if err != nil {
			return nil, err
		}
		messages = append(messages, content.Message{Role: content.RoleSystem, Content: parts})
	}
	middle, err := s.middle(ctx)
	if err != nil {
		return nil, err
	}
	messages = append(messages, middle...)
	if s.d.prompt != nil {
		parts, err := s.parts(ctx, "prompt", s.d.prompt)
		if err != nil {
			return nil, err
		}
		messages = append(messages, content.Message{Role: content.RoleUser, Content: parts})
	}
	return messages, nil
}

func (s *rendering) middle(ctx context.Context) ([]content.Message, error) {
	m := &s.d.cfg.Messages
	switch {
	case s.d.messages != nil:
		pieces, err := s.render(ctx, "messages", s.d.messages)
		if err != nil {
			return nil, err
		}
		return toMessages(pieces, s.history), nil
	case m.fn != nil:
		return guard(s.d.key(), "messages", func() ([]content.Message, error) { return m.fn(ctx, s.in(ctx)) })
	case m.list != nil:
		return slices.Clone(m.list), nil
	}
	return s.history, nil
}

// historyPurpose marks the messages that {{history}} put in.
var historyPurpose = json.RawMessage(`"history"`)

// toMessages makes messages of rendered pieces, as dotprompt's parse.ts does it with
// marks in the text: text without a role is the user's, what is nothing but white space
// is left out, and history that was not placed stands before the last message of the
// user or behind all.
func toMessages(pieces []handlebars.Piece, history []content.Message) []content.Message {
	m := &maker{role: content.RoleUser, messages: make([]content.Message, 0, 2)}
	placed := false
	for i := range pieces {
		switch p := &pieces[i]; p.Kind {
		case handlebars.Role:
			m.end()
			m.role = content.Role(p.Value)
		case handlebars.History:
			m.end()
			for _, h := range history {
				h.Metadata = h.Metadata.With("purpose", historyPurpose)
				m.messages = append(m.messages, h)
			}
			placed = placed || len(history) > 0
			m.role = content.RoleModel
		default:
			m.pieces = append(m.pieces, p)
		}
	}
	m.end()
	if placed || len(history) == 0 {
		return m.messages
	}
	if n := len(m.messages); n > 0 && m.messages[n-1].Role == content.RoleUser {
		last := m.messages[n-1]
		return append(append(m.messages[:n-1:n-1], history...), last)
	}
	return append(m.messages, history...)
}

// maker collects the pieces of one message after another.
type maker struct {
	role     content.Role
	pieces   []*handlebars.Piece // since the last role or history
	messages []content.Message
}

// end closes the message, unless it is blank.
func (m *maker) end() {
	var parts []content.Part
	for _, p := range m.pieces {
		switch p.Kind {
		case handlebars.Media:
			parts = append(parts, content.Part{Media: &content.Media{URL: p.Value, ContentType: p.Type}})
		case handlebars.Section:
			parts = append(parts, section(p.Value))
		default:
			if strings.TrimFunc(p.Value, value.IsSpace) != "" {
				parts = append(parts, content.NewTextPart(p.Value))
			}
		}
	}
	m.pieces = m.pieces[:0]
	if len(parts) > 0 {
		m.messages = append(m.messages, content.Message{Role: m.role, Content: parts})
	}
}

// section is a part that something else fills in later.
func section(name string) content.Part {
	purpose, err := rawjson.Encode(name)
	if err != nil {
		purpose = json.RawMessage(`""`)
	}
	return content.Part{Metadata: content.Metadata{"purpose": purpose, "pending": content.True()}}
}
