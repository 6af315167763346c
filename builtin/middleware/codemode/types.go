package codemode

import (
	"bytes"
	"cmp"
	"encoding/json"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/action"
	"github.com/genkit-wasm/genkit-wasm/engine/model"
	"github.com/genkit-wasm/genkit-wasm/engine/tool"
)

// toolset is the tools that code may call, in their order.
type toolset []entry

type entry struct {
	definition model.ToolDefinition
	key        string // by which the registry has it
	action     action.Action
}

func (s toolset) at(key string) action.Action {
	for i := range s {
		if s[i].key == key {
			return s[i].action
		}
	}
	return nil
}

// Bounds of what is written of one tool.
const (
	maxToolTypes   = 4 << 10
	maxDescription = 600
	maxTypeDepth   = 8
)

// types declares the object tools in TypeScript. What tools say of themselves stands in comments, as theirs.
func (s toolset) types() string {
	var b strings.Builder
	b.WriteString("```ts\n")
	ins, outs, uses := make([]string, len(s)), make([]string, len(s)), map[string]int{}
	for i := range s {
		ins[i], outs[i] = typeOf(s[i].definition.InputSchema), typeOf(s[i].outputSchema())
		if ins[i] == "unknown" {
			ins[i] = "any"
		}
		uses[ins[i]]++
		uses[outs[i]]++
	}
	names := map[string]string{} // of types that several tools have
	for _, text := range slices.Concat(ins, outs) {
		if names[text] == "" && uses[text] > 1 && len(text) > 40 {
			names[text] = "T" + strconv.Itoa(len(names)+1)
			b.WriteString("type " + names[text] + " = " + text + ";\n")
		}
	}
	b.WriteString("declare const tools: {\n")
	for i := range s {
		d := &s[i].definition
		in, out := cmp.Or(names[ins[i]], ins[i]), cmp.Or(names[outs[i]], outs[i])
		if text := comment(d.Description, maxDescription); text != "" {
			b.WriteString("  /** " + text + " */\n")
		}
		b.WriteString("  " + property(d.Name) + "(input: " + in + "): Promise<" + out + ">;\n")
	}
	b.WriteString("};\n```")
	return b.String()
}

// outputSchema is the schema of what the code gets.
func (e *entry) outputSchema() json.RawMessage {
	if e.action.Desc().Kind == action.ToolV2 {
		return nil // parts may stand beside the output
	}
	return tool.OutputSchemaOf(e.action.Desc())
}

var identifier = regexp.MustCompile(`^[A-Za-z_$][A-Za-z0-9_$]*$`)

// property is a name as a member of a type.
func property(name string) string {
	if identifier.MatchString(name) {
		return name
	}
	return literal(name)
}

func literal(v any) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if e.Encode(v) != nil {
		return "unknown"
	}
	return strings.TrimSpace(b.String())
}

// comment is a text as one line that can't end its comment.
func comment(text string, most int) string {
	text = strings.Join(strings.Fields(strings.ReplaceAll(text, "*/", "* /")), " ")
	text = strings.ReplaceAll(text, "```", "'''")
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "") + "…"
	}
	return text
}

// typeOf writes a JSON Schema as a type, unknown where it says none or more than can be written briefly.
func typeOf(raw json.RawMessage) string {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var root any
	if len(raw) == 0 || d.Decode(&root) != nil {
		return "unknown"
	}
	w := &typeWriter{root: root}
	w.write(root, 0)
	if w.b.Len() > maxToolTypes {
		return "unknown"
	}
	return w.b.String()
}

type typeWriter struct {
	root any
	b    strings.Builder
}

func (w *typeWriter) write(schema any, depth int) {
	s, ok := schema.(map[string]any)
	if !ok || depth > maxTypeDepth || w.b.Len() > maxToolTypes {
		w.b.WriteString("unknown")
		return
	}
	if ref, ok := s["$ref"].(string); ok {
		w.write(w.find(ref), depth+1)
		return
	}
	if v, ok := s["const"]; ok {
		w.b.WriteString(literal(v))
		return
	}
	if list, ok := s["enum"].([]any); ok && len(list) > 0 {
		w.join(" | ", list, func(v any) { w.b.WriteString(literal(v)) })
		return
	}
	for _, keyword := range []string{"anyOf", "oneOf"} {
		if list, ok := s[keyword].([]any); ok && len(list) > 0 {
			w.b.WriteString("(")
			w.join(" | ", list, func(v any) { w.write(v, depth+1) })
			w.b.WriteString(")")
			return
		}
	}
	if list, ok := s["allOf"].([]any); ok && len(list) > 0 && s["properties"] == nil {
		w.b.WriteString("(")
		w.join(" & ", list, func(v any) { w.write(v, depth+1) })
		w.b.WriteString(")")
		return
	}
	if list, ok := s["type"].([]any); ok && len(list) > 0 {
		w.b.WriteString("(")
		w.join(" | ", list, func(v any) { w.typed(v, s, depth) })
		w.b.WriteString(")")
		return
	}
	w.typed(s["type"], s, depth)
}

func (w *typeWriter) join(between string, list []any, each func(any)) {
	for i, v := range list {
		if i > 0 {
			w.b.WriteString(between)
		}
		each(v)
	}
}

func (w *typeWriter) typed(kind any, s map[string]any, depth int) {
	if kind == nil && s["properties"] != nil {
		kind = "object"
	}
	switch kind {
	case "string", "number", "boolean", "null":
		w.b.WriteString(kind.(string)) //nolint:forcetypeassert // it is one of these
	case "integer":
		w.b.WriteString("number")
	case "array":
		w.b.WriteString("Array<")
		w.write(s["items"], depth+1)
		w.b.WriteString(">")
	case "object":
		w.object(s, depth)
	default:
		w.b.WriteString("unknown")
	}
}

func (w *typeWriter) object(s map[string]any, depth int) {
	properties, _ := s["properties"].(map[string]any)
	if len(properties) == 0 {
		if s["additionalProperties"] == false {
			w.b.WriteString("{}")
			return
		}
		w.b.WriteString("Record<string, ")
		w.write(s["additionalProperties"], depth+1)
		w.b.WriteString(">")
		return
	}
	required, _ := s["required"].([]any)
	names := make([]string, 0, len(properties))
	for name := range properties {
		names = append(names, name)
	}
	slices.Sort(names)
	w.b.WriteString("{ ")
	for i, name := range names {
		if i > 0 {
			w.b.WriteString(" ")
		}
		w.b.WriteString(property(name))
		if !slices.Contains(required, any(name)) {
			w.b.WriteString("?")
		}
		w.b.WriteString(": ")
		w.write(properties[name], depth+1)
		w.b.WriteString(";")
		if p, ok := properties[name].(map[string]any); ok {
			if text, ok := p["description"].(string); ok && text != "" {
				w.b.WriteString(" /* " + comment(text, 200) + " */")
			}
		}
	}
	w.b.WriteString(" }")
}

// find follows a reference within the schema, such as "#/$defs/city".
func (w *typeWriter) find(ref string) any {
	at := w.root
	path, ok := strings.CutPrefix(ref, "#/")
	if !ok {
		return nil
	}
	for name := range strings.SplitSeq(path, "/") {
		m, ok := at.(map[string]any)
		if !ok {
			return nil
		}
		at = m[strings.NewReplacer("~1", "/", "~0", "~").Replace(name)]
	}
	return at
}
