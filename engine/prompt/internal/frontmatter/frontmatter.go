// Package frontmatter splits a prompt file into its YAML head and its template, and
// reads the head as JSON values.
//
// It owns the part of YAML that is understood: the core schema of YAML 1.2, as the JavaScript
// library reads it (no dates, no octal numbers with a plain 0, no merge keys), without
// keys that occur twice, and with bounds on size, depth and the expansion of aliases.
// Use:
//
//	doc := frontmatter.Split(source)
//	head, err := frontmatter.Decode(doc.Head, doc.Line)
//
// Functions here are safe for concurrent use.
package frontmatter

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/genkit-wasm/genkit-wasm/engine/prompt/internal/value"
)

// Limits of a head.
const (
	MaxBytes  = 64 << 10
	MaxDepth  = 64
	MaxValues = 10000 // once aliases are followed
)

// Document is a prompt file in two parts.
type Document struct {
	Head string
	Line int // where Head begins, from 1; 0 when there is none
	Body string
	// BodyLine is where Body begins.
	BodyLine int
}

// Error reports a fault in the head of a file, and its line.
type Error struct {
	Line int // from 1, in the file
	Err  error
}

func (e *Error) Error() string { return fmt.Sprintf("line %d: %v", e.Line, e.Err) }

// Unwrap returns the fault without the place.
func (e *Error) Unwrap() error { return e.Err }

// Split finds the head between two lines of "---" at the beginning of a source, behind
// blank lines and lines that begin with "#" (a licence). White space around the body is
// removed where there is a head, as in dotprompt. A source without such lines is all
// body.
func Split(source string) Document {
	source = strings.TrimPrefix(source, "\ufeff")
	all := Document{Body: source, BodyLine: 1}
	at, line := 0, 1
	for {
		text, next := lineAt(source, at)
		if fence(text) {
			at, line = next, line+1
			break
		}
		if trimmed := strings.TrimRight(text, " \t\r"); next == len(source) && text == source[at:] || (trimmed != "" && text[0] != '#') {
			return all
		}
		at, line = next, line+1
	}
	head, from := at, line
	for at < len(source) {
		text, next := lineAt(source, at)
		if !fence(text) {
			at, line = next, line+1
			continue
		}
		body := source[next:]
		trimmed := strings.TrimLeftFunc(body, value.IsSpace)
		return Document{
			Head: source[head:at], Line: from,
			Body:     strings.TrimRightFunc(trimmed, value.IsSpace),
			BodyLine: line + 1 + strings.Count(body[:len(body)-len(trimmed)], "\n"),
		}
	}
	return all
}

// lineAt returns the line that begins at i, without its end, and where the next one
// begins.
func lineAt(s string, i int) (string, int) {
	if n := strings.IndexByte(s[i:], '\n'); n >= 0 {
		return s[i : i+n], i + n + 1
	}
	return s[i:], len(s)
}

func fence(line string) bool {
	rest, ok := strings.CutPrefix(line, "---")
	return ok && strings.TrimRight(rest, " \t\r") == ""
}

// Head is a head that was read.
type Head struct {
	*value.Object
	node *yaml.Node
	line int
}

// Line returns where in the file the value of a path of keys is, or the nearest that
// there is around it.
func (h *Head) Line(path ...string) int {
	n, line := h.node, h.line
	for _, key := range path {
		for n != nil && n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		if n == nil || n.Kind != yaml.MappingNode {
			break
		}
		found := -1
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == key {
				found = i
			}
		}
		if found < 0 {
			break
		}
		line = h.line + n.Content[found].Line - 1
		n = n.Content[found+1]
	}
	return line
}

// Decode reads a head, which begins at a line of its file, as an object. Nothing but
// comments is an empty one. It fails with an [*Error].
func Decode(head string, line int) (*Head, error) {
	h := &Head{Object: &value.Object{}, line: line}
	var err error
	h.Object, h.node, err = decode(head, line)
	return h, err
}

func decode(head string, line int) (*value.Object, *yaml.Node, error) {
	if len(head) > MaxBytes {
		return nil, nil, &Error{line, fmt.Errorf("the front matter has %d bytes, the limit is %d", len(head), MaxBytes)}
	}
	var doc yaml.Node
	if err := unmarshal(head, &doc); err != nil {
		return nil, nil, syntaxError(err, line)
	}
	if len(doc.Content) == 0 {
		return &value.Object{}, nil, nil
	}
	d := decoder{line: line - 1}
	v, err := d.value(doc.Content[0], 0)
	if err != nil {
		return nil, nil, err
	}
	switch v := v.(type) {
	case nil:
		return &value.Object{}, nil, nil
	case *value.Object:
		return v, doc.Content[0], nil
	}
	return nil, nil, d.fail(doc.Content[0], "the front matter is no mapping of names to values")
}

// unmarshal turns a panic of the YAML library into an error.
func unmarshal(head string, doc *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("the YAML can't be read: %v", r)
		}
	}()
	return yaml.Unmarshal([]byte(head), doc)
}

var yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?`)

// syntaxError moves the line that the library names to where it is in the file.
func syntaxError(err error, line int) error {
	text := err.Error()
	if m := yamlLine.FindStringSubmatch(text); m != nil {
		text = text[len(m[0]):]
		if n, convErr := strconv.Atoi(m[1]); convErr == nil {
			line += n - 1
		}
	}
	return &Error{line, errors.New("the YAML can't be read: " + text)}
}

type decoder struct {
	line  int // added to the lines of nodes
	count int
}

func (d *decoder) fail(n *yaml.Node, format string, args ...any) error {
	return &Error{d.line + n.Line, fmt.Errorf(format, args...)}
}

func (d *decoder) value(n *yaml.Node, depth int) (any, error) {
	if d.count++; d.count > MaxValues {
		return nil, d.fail(n, "the front matter holds too many values, the limit is %d", MaxValues)
	}
	if depth > MaxDepth {
		return nil, d.fail(n, "the front matter is nested deeper than %d", MaxDepth)
	}
	switch n.Kind {
	case yaml.AliasNode:
		if n.Alias == nil {
			return nil, d.fail(n, "unknown alias %q", n.Value)
		}
		return d.value(n.Alias, depth+1)
	case yaml.MappingNode:
		return d.mapping(n, depth)
	case yaml.SequenceNode:
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := d.value(c, depth+1)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return d.scalar(n)
}

func (d *decoder) mapping(n *yaml.Node, depth int) (any, error) {
	o := value.NewObject(len(n.Content) / 2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, err := d.value(n.Content[i], depth+1)
		if err != nil {
			return nil, err
		}
		switch k.(type) {
		case []any, *value.Object:
			return nil, d.fail(n.Content[i], "a key is no text")
		}
		key := value.Text(k)
		if k == nil {
			key = "null"
		}
		if _, twice := o.Get(key); twice {
			return nil, d.fail(n.Content[i], "%q stands twice", key)
		}
		v, err := d.value(n.Content[i+1], depth+1)
		if err != nil {
			return nil, err
		}
		o.Set(key, v)
	}
	return o, nil
}

// The core schema of YAML 1.2.
var (
	decimal = regexp.MustCompile(`^[-+]?[0-9]+$`)
	octal   = regexp.MustCompile(`^0o[0-7]+$`)
	hexa    = regexp.MustCompile(`^0x[0-9a-fA-F]+$`)
	float   = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)
	special = regexp.MustCompile(`^([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$`)
)

func (d *decoder) scalar(n *yaml.Node) (any, error) {
	const quoted = yaml.SingleQuotedStyle | yaml.DoubleQuotedStyle | yaml.LiteralStyle | yaml.FoldedStyle
	if n.Style&quoted != 0 || (n.Style&yaml.TaggedStyle != 0 && n.ShortTag() == "!!str") {
		return n.Value, nil
	}
	if n.Style&yaml.TaggedStyle != 0 {
		switch n.ShortTag() {
		case "!!int", "!!float", "!!bool", "!!null":
		default:
			return nil, d.fail(n, "the tag %s is not understood", n.ShortTag())
		}
	}
	switch s := n.Value; {
	case s == "", s == "~", s == "null", s == "Null", s == "NULL":
		return nil, nil
	case s == "true", s == "True", s == "TRUE":
		return true, nil
	case s == "false", s == "False", s == "FALSE":
		return false, nil
	case decimal.MatchString(s):
		return number(s), nil
	case octal.MatchString(s), hexa.MatchString(s):
		u, err := strconv.ParseUint(s, 0, 64)
		if err != nil {
			return nil, d.fail(n, "the number %s is too large", s)
		}
		return value.Number(strconv.FormatUint(u, 10)), nil
	case special.MatchString(s):
		return nil, d.fail(n, "%s is no number that JSON knows", s)
	case float.MatchString(s):
		return number(s), nil
	default:
		return s, nil
	}
}

// number spells a YAML number as JSON does, its digits kept.
func number(s string) value.Number {
	sign := ""
	if s[0] == '-' || s[0] == '+' {
		sign, s = strings.TrimPrefix(s[:1], "+"), s[1:]
	}
	mantissa, exponent, hasExponent := strings.Cut(strings.ToLower(s), "e")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	if whole = strings.TrimLeft(whole, "0"); whole == "" {
		whole = "0"
	}
	text := sign + whole
	if fraction != "" {
		text += "." + fraction
	}
	if hasExponent {
		text += "e" + exponent
	}
	return value.Number(text)
}
