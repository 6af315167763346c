package prompt

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/content"
	"github.com/genkit-wasm/genkit-wasm/engine/generate"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/frontmatter"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/picoschema"
	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
	"github.com/genkit-wasm/genkit-wasm/engine/registry"
	"github.com/genkit-wasm/genkit-wasm/engine/schema"
	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// File is a prompt file that was read: front matter and template. It is immutable.
type File struct {
	// Path is how the file is called in errors.
	Path string

	head *frontmatter.Head
	body frontmatter.Document
}

// ParseFile reads the source of a prompt file. It fails with INVALID_ARGUMENT, naming
// path and line, when the front matter is no YAML or says something else than a prompt
// can mean. (Genkit JS takes the whole text for the template then.)
func ParseFile(path, source string) (*File, error) {
	f := &File{Path: path, body: frontmatter.Split(source), head: &frontmatter.Head{Object: &value.Object{}}}
	if f.body.Line == 0 {
		return f, nil
	}
	var err error
	if f.head, err = frontmatter.Decode(f.body.Head, f.body.Line); err != nil {
		if e, ok := errors.AsType[*frontmatter.Error](err); ok {
			err = &explained{fmt.Sprintf("%s:%d", path, e.Line), e.Err}
		}
		return nil, status.Publicf(status.InvalidArgument, "%w", err)
	}
	_, err = f.config("x", "")
	return f, err
}

// reserved are the keys of the front matter that metadata has by their names; others
// with a dot go to ext, all to raw.
var reserved = []string{"config", "description", "ext", "input", "model", "name", "output", "raw", "toolDefs", "tools", "variant", "version"}

// metadata is the front matter as dotprompt tells it, without the input. The output's
// schema is that of output, where given.
func (f *File) metadata(output *model.OutputOptions) *value.Object {
	m, ext := value.NewObject(16), &value.Object{}
	m.Set("ext", ext)
	m.Set("metadata", &value.Object{})
	m.Set("config", &value.Object{})
	groups := map[string]*value.Object{}
	for i := range f.head.Len() {
		key, v := f.head.At(i)
		if slices.Contains(reserved, key) {
			if key != "input" && key != "ext" && key != "raw" {
				m.Set(key, v)
			}
			continue
		}
		dot := strings.LastIndexByte(key, '.')
		if dot < 0 {
			continue
		}
		name := key[:dot]
		if groups[name] == nil {
			groups[name] = &value.Object{}
			ext.Set(name, groups[name])
		}
		groups[name].Set(key[dot+1:], v)
	}
	if f.body.Line > 0 {
		m.Set("raw", f.head.Object)
	}
	if _, has := f.head.Get("tools"); has {
		if _, given := m.Get("toolDefs"); !given {
			m.Set("toolDefs", []any{})
		}
	}
	if o, ok := m.Get("output"); ok && output != nil {
		if given, ok := o.(*value.Object); ok {
			shown := given.Merge(nil)
			setRaw(shown, "schema", output.JSONSchema)
			m.Set("output", shown)
		}
	}
	return m
}

// config is the file as a prompt of a name and a variant.
func (f *File) config(name, variant string) (Config, error) {
	r := reader{f: f}
	body := f.body.Body
	c := Config{
		name: name, variant: variant, Messages: MessagesTemplate(body),
		Model: r.text("model"), Description: r.text("description"), Config: r.object("config"),
		Tools: r.list("tools"), ToolChoice: model.ToolChoice(r.text("toolChoice")), MaxTurns: r.whole("maxTurns"),
		ReturnToolRequests: r.flag("returnToolRequests"), Use: r.middleware(), InputDefault: r.object("input", "default"),
	}
	switch c.ToolChoice {
	case "", model.ToolChoiceAuto, model.ToolChoiceRequired, model.ToolChoiceNone:
	default:
		r.fail("want auto, required or none", "toolChoice")
	}
	if format := r.text("output", "format"); format != "" {
		c.Output = &model.OutputOptions{Format: format}
	}
	if m := r.object("metadata"); m != nil {
		c.Metadata = content.Metadata{"metadata": m}
	}
	r.expect("input")
	r.expect("output")
	return c, r.err
}

// reader takes values out of the front matter and keeps the first fault.
type reader struct {
	f   *File
	err error
}

func (r *reader) fail(text string, path ...string) {
	if r.err == nil {
		r.err = status.Publicf(status.InvalidArgument, "%s:%d: %s: %s", r.f.Path, r.f.head.Line(path...), strings.Join(path, "."), text)
	}
}

// get returns the value at a path of keys, nil for none.
func (r *reader) get(path ...string) any {
	var v any = r.f.head.Object
	for _, key := range path {
		o, ok := v.(*value.Object)
		if !ok {
			return nil
		}
		v, _ = o.Get(key)
	}
	return v
}

// expect wants an object or nothing.
func (r *reader) expect(key string) {
	switch r.get(key).(type) {
	case nil, *value.Object:
	default:
		r.fail("want names and values", key)
	}
}

func (r *reader) text(path ...string) string {
	switch v := r.get(path...).(type) {
	case nil:
	case string:
		return v
	case value.Number, bool:
		return value.Text(v)
	default:
		r.fail("want a text", path...)
	}
	return ""
}

func (r *reader) object(path ...string) json.RawMessage {
	switch v := r.get(path...).(type) {
	case nil:
	case *value.Object:
		return value.Encode(v)
	default:
		r.fail("want names and values", path...)
	}
	return nil
}

func (r *reader) list(path ...string) []string {
	var list []string
	switch v := r.get(path...).(type) {
	case nil:
	case []any:
		for _, e := range v {
			s, ok := e.(string)
			if !ok || s == "" {
				r.fail("want a list of names", path...)
				return nil
			}
			list = append(list, s)
		}
	default:
		r.fail("want a list of names", path...)
	}
	return list
}

// whole returns a number without a fraction, nil for nothing.
func (r *reader) whole(path ...string) *int {
	switch v := r.get(path...).(type) {
	case nil:
	case value.Number:
		f, err := strconv.ParseFloat(string(v), 64)
		if n := int(f); err == nil && float64(n) == f {
			return &n
		}
		r.fail("want a whole number", path...)
	default:
		r.fail("want a number", path...)
	}
	return nil
}

func (r *reader) flag(path ...string) bool {
	switch v := r.get(path...).(type) {
	case nil:
	case bool:
		return v
	default:
		r.fail("want true or false", path...)
	}
	return false
}

// middleware reads use: a list of names or of {name, config}.
func (r *reader) middleware() []model.MiddlewareRef {
	list, ok := r.get("use").([]any)
	if !ok {
		if r.get("use") != nil {
			r.fail("want a list of names, or of name and config", "use")
		}
		return nil
	}
	var refs []model.MiddlewareRef
	for _, e := range list {
		ref := model.MiddlewareRef{}
		switch e := e.(type) {
		case string:
			ref.Name = e
		case *value.Object:
			name, _ := e.Get("name")
			ref.Name, _ = name.(string)
			if config, ok := e.Get("config"); ok && config != nil {
				ref.Config = value.Encode(config)
			}
		}
		if ref.Name == "" {
			r.fail("want a list of names, or of name and config", "use")
			return nil
		}
		refs = append(refs, ref)
	}
	return refs
}

// schemas converts the schemas of the front matter, named ones looked up in reg.
func (f *File) schemas(reg *registry.Registry, output *model.OutputOptions) (json.RawMessage, *model.OutputOptions, error) {
	in, err := f.schema(reg, "input")
	if err != nil {
		return nil, nil, err
	}
	out, err := f.schema(reg, "output")
	if err != nil || out == nil {
		return in, output, err
	}
	wanted := model.OutputOptions{}
	if output != nil {
		wanted = *output
	}
	wanted.JSONSchema = out
	return in, &wanted, nil
}

func (f *File) schema(reg *registry.Registry, key string) (json.RawMessage, error) {
	r, named := reader{f: f}, &namedSchemas{reg: reg}
	v, err := picoschema.Convert(r.get(key, "schema"), named.find)
	if err != nil {
		line := f.head.Line(key, "schema")
		if e, ok := errors.AsType[*picoschema.Error](err); ok {
			line = f.head.Line(append([]string{key, "schema"}, e.Path...)...)
		}
		code := status.InvalidArgument
		if errors.Is(err, status.ErrNotFound) {
			code = status.NotFound
		}
		return nil, status.Publicf(code, "%s:%d: %s %w", f.Path, line, key, err)
	}
	if v == nil {
		return nil, nil
	}
	return value.Encode(v), nil
}

// namedSchemas finds registered schemas for one schema of a file.
type namedSchemas struct {
	reg   *registry.Registry
	found map[string]*value.Object
	bytes int // of all that were put in, each time
}

// find returns a registered schema. Together they are bounded, before anything is
// written out: a short file may name a long schema often.
func (n *namedSchemas) find(name string) (*value.Object, error) {
	found, _ := n.reg.Value(generate.SchemaKind, name)
	raw, ok := found.(json.RawMessage)
	if !ok {
		return nil, bare{status.Publicf(status.NotFound, "there is no type and no schema %q", name)}
	}
	if n.bytes += len(raw); n.bytes > schema.MaxSchemaBytes {
		return nil, bare{status.Publicf(status.InvalidArgument, "the schemas that are named have more than %d bytes in all", schema.MaxSchemaBytes)}
	}
	if o := n.found[name]; o != nil {
		return o, nil
	}
	v, err := value.Decode(raw)
	if err != nil {
		return nil, bare{status.Publicf(status.InvalidArgument, "schema %q: %w", name, err)}
	}
	o, ok := v.(*value.Object)
	if !ok {
		o = &value.Object{} // true: anything
	}
	if n.found == nil {
		n.found = map[string]*value.Object{}
	}
	n.found[name] = o
	return o, nil
}

// bare is an error inside another one's text, where its code would be in the way.
type bare struct{ err *status.Error }

func (b bare) Error() string { return b.err.Message }
func (b bare) Unwrap() error { return b.err }
