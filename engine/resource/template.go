package resource

import (
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/genkit-wasm/genkit-wasm/engine/status"
)

// Bounds of templates and URIs.
const (
	maxTemplateBytes = 2 << 10
	maxURIBytes      = 8 << 10
)

// Template is a parsed URI template.
type Template struct {
	pattern *regexp.Regexp
	names   []string // of the pattern's groups
}

// operator says how the values of an expression are written (RFC 6570, appendix A).
type operator struct {
	first, sep string
	named      bool
	reserved   bool
}

var operators = map[byte]operator{
	'+': {"", ",", false, true},
	'#': {"#", ",", false, true},
	'.': {".", ".", false, false},
	'/': {"/", "/", false, false},
	';': {";", ";", true, false},
	'?': {"?", "&", true, false},
	'&': {"&", "&", true, false},
}

// Characters that a value may hold: unreserved characters and escapes, for + and # the reserved
// ones too. Characters beyond ASCII are let through, since people write them.
const (
	unreserved = `(?:[A-Za-z0-9._~\-]|%[0-9A-Fa-f]{2}|[^\x00-\x7F])`
	reserved   = `(?:[A-Za-z0-9._~\-:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2}|[^\x00-\x7F])`
)

var variableName = regexp.MustCompile(`^(?:[A-Za-z0-9_]|%[0-9A-Fa-f]{2})(?:[A-Za-z0-9_.]|%[0-9A-Fa-f]{2})*$`)

// ParseTemplate reads a URI template of RFC 6570, levels 1 to 3: {var}, {+var},
// {#var}, {.var}, {/var}, {;var}, {?var} and {&var}, each with a list of variables. The
// modifiers of level 4 (prefix ":3" and explode "*") fail with INVALID_ARGUMENT: what
// they expand to can't be matched back without guessing.
//
// Matching goes backwards from what a template expands to. The variables of {;…},
// {?…} and {&…} may be absent but stand in the template's order; every other variable
// needs a value, of at least one character. {.var} takes no dot into its value. The
// pattern runs in linear time.
func ParseTemplate(text string) (*Template, error) {
	if len(text) > maxTemplateBytes {
		return nil, status.Publicf(status.InvalidArgument, "URI template of %d bytes exceeds the limit of %d", len(text), maxTemplateBytes)
	}
	t := &Template{}
	var pattern strings.Builder
	pattern.WriteString(`^`)
	for rest := text; rest != ""; {
		open := strings.IndexAny(rest, "{}")
		if open < 0 {
			pattern.WriteString(regexp.QuoteMeta(rest))
			break
		}
		pattern.WriteString(regexp.QuoteMeta(rest[:open]))
		end := strings.IndexByte(rest, '}')
		if rest[open] == '}' || end < 0 {
			return nil, status.Publicf(status.InvalidArgument, "URI template %q: unbalanced braces", text)
		}
		if err := t.expression(&pattern, rest[open+1:end]); err != nil {
			return nil, status.Publicf(status.InvalidArgument, "URI template %q: %w", text, err)
		}
		rest = rest[end+1:]
	}
	pattern.WriteString(`$`)
	var err error
	if t.pattern, err = regexp.Compile(pattern.String()); err != nil {
		return nil, status.Publicf(status.InvalidArgument, "URI template %q: %w", text, err)
	}
	return t, nil
}

func (t *Template) expression(pattern *strings.Builder, text string) error {
	op := operator{sep: ","}
	if text != "" {
		if found, ok := operators[text[0]]; ok {
			op, text = found, text[1:]
		}
	}
	class := unreserved
	if op.reserved {
		class = reserved
	}
	for i, name := range strings.Split(text, ",") {
		if !variableName.MatchString(name) {
			return status.Publicf(status.InvalidArgument, "%q is no variable of levels 1 to 3", name)
		}
		if slices.Contains(t.names, name) {
			return status.Publicf(status.InvalidArgument, "variable %q is used twice", name)
		}
		t.names = append(t.names, name)
		lead := op.sep
		if i == 0 {
			lead = op.first
		}
		switch {
		case op.named && op.first == "?":
			pattern.WriteString(`(?:[?&]` + regexp.QuoteMeta(name) + `=(` + class + `*))?`)
		case op.named:
			pattern.WriteString(`(?:` + regexp.QuoteMeta(lead) + regexp.QuoteMeta(name) + `(?:=(` + class + `*))?)?`)
		case op.first == ".":
			pattern.WriteString(`\.((?:[A-Za-z0-9_~\-]|%[0-9A-Fa-f]{2}|[^\x00-\x7F])+)`)
		default:
			pattern.WriteString(regexp.QuoteMeta(lead) + `(` + class + `+)`)
		}
	}
	return nil
}

// Match returns the variables that uri gives the template, decoded; false when it
// does not fit. Absent variables are left out.
func (t *Template) Match(uri string) (map[string]string, bool) {
	if len(uri) > maxURIBytes {
		return nil, false
	}
	groups := t.pattern.FindStringSubmatchIndex(uri)
	if groups == nil {
		return nil, false
	}
	variables := make(map[string]string, len(t.names))
	for i, name := range t.names {
		from, to := groups[2*i+2], groups[2*i+3]
		if from < 0 {
			continue
		}
		value, err := url.PathUnescape(uri[from:to])
		if err != nil {
			return nil, false
		}
		variables[name] = value
	}
	return variables, true
}
