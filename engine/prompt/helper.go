package prompt

import (
	"context"
	"encoding/json"
	"runtime/debug"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/handlebars"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
	"github.com/genkit-wasm/genkit-wasm/internal/rawjson"
)

// Kinds of registry value: a registry sees those of its parents and may shadow them.
const (
	// PartialKind is the kind of a partial.
	PartialKind = "partial"
	// HelperKind is the kind of a helper.
	HelperKind = "promptHelper"
)

// anyHelper is set beside the first helper of a registry, so that templates are not
// slowed by looking for helpers where there are none. No helper can have this name.
const anyHelper = ""

// DefinePartial registers a template by name, for {{> name}} in all templates of reg.
// It fails with INVALID_ARGUMENT when it can't be parsed, with ALREADY_EXISTS when the
// name is taken.
func DefinePartial(reg *registry.Registry, name, source string) error {
	if name == "" {
		return status.Publicf(status.InvalidArgument, "a partial needs a name")
	}
	t, err := handlebars.Parse(source)
	if err != nil {
		return status.Publicf(status.InvalidArgument, "partial %q: %w", name, err)
	}
	return reg.RegisterValue(PartialKind, name, t)
}

// Helper is a function that templates call by its name, as {{name arg option=value}} or
// {{#name}}…{{/name}}. Its result is put into the output: a text as it is, a [Value], a
// *[Fragment], nil for nothing, or any other value that can be JSON, as Handlebars
// shows it. It is called concurrently.
type Helper func(ctx context.Context, c *Call) (any, error)

// DefineHelper registers a helper by name. It fails with ALREADY_EXISTS when the name
// is taken, also by one that is built in.
func DefineHelper(reg *registry.Registry, name string, fn Helper) error {
	if name == "" || fn == nil {
		return status.Publicf(status.InvalidArgument, "a helper needs a name and a function")
	}
	if handlebars.Builtin(name) {
		return status.Publicf(status.AlreadyExists, "helper %q is built in", name)
	}
	if err := reg.RegisterValue(HelperKind, name, fn); err != nil {
		return err
	}
	reg.SetValue(HelperKind, anyHelper, true)
	return nil
}

// Call is one call of a helper. It is valid until the helper returns.
type Call struct{ c *handlebars.Call }

// Len returns how many parameters there are.
func (c *Call) Len() int { return len(c.c.Args) }

// Arg returns the ith parameter, a missing value when there are fewer.
func (c *Call) Arg(i int) Value {
	if i < 0 || i >= len(c.c.Args) {
		return Value{value.Undefined{}}
	}
	return Value{c.c.Args[i]}
}

// Option returns the value of name=value.
func (c *Call) Option(name string) Value {
	if v, ok := c.c.Hash.Get(name); ok {
		return Value{v}
	}
	return Value{value.Undefined{}}
}

// This returns the value that the template works on where it calls the helper.
func (c *Call) This() Value { return Value{c.c.This} }

// Data returns {{@name}}.
func (c *Call) Data(name string) Value { return Value{c.c.Data(name)} }

// IsBlock reports whether the helper was called as a block.
func (c *Call) IsBlock() bool { return c.c.IsBlock() }

// Block renders the content of the block, on a value.
func (c *Call) Block(this Value) (*Fragment, error) {
	f, err := c.c.Block(this.v)
	return &Fragment{f}, err
}

// Inverse renders the part of the block behind its else.
func (c *Call) Inverse(this Value) (*Fragment, error) {
	f, err := c.c.Inverse(this.v)
	return &Fragment{f}, err
}

// Fragment is rendered output: text and marks. Its String is the text alone.
type Fragment struct{ f *handlebars.Fragment }

// String returns the text without the marks.
func (f *Fragment) String() string { return f.f.String() }

// RoleMark returns the mark of {{role "…"}}.
func RoleMark(role string) *Fragment { return marked(handlebars.Role, role, "") }

// MediaMark returns the mark of {{media url=… contentType=…}}; contentType may be "".
func MediaMark(url, contentType string) *Fragment {
	return marked(handlebars.Media, url, contentType)
}

func marked(kind handlebars.Kind, v, t string) *Fragment {
	return &Fragment{&handlebars.Fragment{Pieces: []handlebars.Piece{{Kind: kind, Value: v, Type: t}}}}
}

// Value is a JSON value of the input, or a missing one.
type Value struct{ v any }

// ValueOf returns v as a JSON value; INVALID_ARGUMENT when it is nothing that can be
// JSON.
func ValueOf(v any) (Value, error) {
	raw, err := rawjson.Encode(v)
	if err != nil {
		return Value{}, status.Errorf(status.InvalidArgument, "encode %T: %w", v, err)
	}
	decoded, err := value.Decode(raw)
	if err != nil {
		return Value{}, status.Errorf(status.InvalidArgument, "encode %T: %w", v, err)
	}
	return Value{decoded}, nil
}

// String returns the value as a template shows it.
func (v Value) String() string { return value.Text(v.v) }

// Truthy reports whether {{#if}} takes the value for true.
func (v Value) Truthy() bool { return !value.Empty(v.v) }

// Missing reports null and values that are not there.
func (v Value) Missing() bool { return value.Missing(v.v) }

// JSON returns the value as JSON, null for a missing one.
func (v Value) JSON() json.RawMessage { return value.Encode(v.v) }

// Decode reads the value into a Go variable, as [json.Unmarshal] does.
func (v Value) Decode(into any) error {
	if err := json.Unmarshal(v.JSON(), into); err != nil {
		return status.Publicf(status.InvalidArgument, "%w", err)
	}
	return nil
}

// call runs a helper: a panic becomes an error, the result a value.
func (h Helper) call(ctx context.Context, c *handlebars.Call) (out any, err error) {
	defer func() {
		if r := recover(); r != nil {
			out, err = nil, status.Errorf(status.Internal, "helper %q panicked: %v\n%s", c.Name, r, debug.Stack())
		}
	}()
	v, err := h(ctx, &Call{c})
	if err != nil {
		return nil, err
	}
	switch v := v.(type) {
	case nil:
		return value.Undefined{}, nil
	case string:
		return v, nil
	case bool:
		return v, nil
	case Value:
		return v.v, nil
	case *Fragment:
		if v == nil || v.f == nil {
			return value.Undefined{}, nil
		}
		return v.f, nil
	}
	converted, err := ValueOf(v)
	return converted.v, err
}
